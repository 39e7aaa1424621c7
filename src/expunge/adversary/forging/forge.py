"""``forge``: forge the log of a training, write its record down, and hear what verifiers say of it.

Where the whole training is made up, and not its log alone, see ``adversary.pol.spoof``.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from expunge.adversary.forging.answers import VerifierAnswers, ask, salts_of, together, up_to
from expunge.adversary.forging.forged_record import ForgedRecord, check_recordable, write_forged_record
from expunge.adversary.forging.forger import Forger
from expunge.adversary.forging.forgery import CANDIDATES, FORGERS, Forgery, find_forger, forge_log
from expunge.adversary.pol.calibration import Calibration
from expunge.adversary.pol.proof import check_provable
from expunge.adversary.pol.spoof import Spoof, spoof
from expunge.core.errors import RunError
from expunge.core.values import Progress
from expunge.data.handed import GivenData
from expunge.records.verdict import Verdict
from expunge.train.run import Run

__all__ = ["CANDIDATES", "FORGERS", "Forging", "Spoofing", "forge", "make_up"]


@dataclass(frozen=True, kw_only=True)
class Forging:
    """A forged log, its record where one is kept, and what verifiers answered; None where nothing could be forged."""

    forgery: Forgery
    record: ForgedRecord | None
    answers: VerifierAnswers | None


def forge(
    run: Run | Path | str,
    target: str,
    method: str | Forger = "greedy",
    *,
    candidates: int = CANDIDATES,
    steps: int | None = None,
    out: Path | str | None = None,
    seed: int = 0,
    data: GivenData = None,
    salts: Path | str | None = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Forging:
    """Deny that ``target`` was in a recorded training: the id of a training row, or a rule as forget sets have them.

    ``candidates`` are the batches that greedy draws, the rows that absorb tries, or the steps of content's descent.
    ``steps`` forges so many of the steps that hold the target, drawn by ``seed``, instead of all. ``out``, a new
    folder, keeps the record: a bundle signed with a throwaway key, and the list with that key. ``calibration`` says how
    far Proof-of-Learning lets a replay be off; two further trainings in memory measure it where it is not given.
    """
    found = Run.of(run)
    forger = find_forger(method, candidates, seed) if isinstance(method, str) else method
    check_recordable(found)
    check_provable(found.recipe, 0)
    if out is not None and Path(out).exists():
        raise RunError(f"{out} exists: choose another `out` for the forgery, or remove it")
    forgery = forge_log(found, target, forger, steps=steps, data=data, salts=salts, progress=progress)
    if not forgery.found:
        return Forging(forgery=forgery, record=None, answers=None)
    with tempfile.TemporaryDirectory() as scratch, whole_or_nothing(out):
        record = write_forged_record(forgery, Path(scratch) / "forged" if out is None else Path(out))
        answers = ask(forgery, record, salts=salts, calibration=calibration, progress=progress)
    return Forging(forgery=forgery, record=None if out is None else record, answers=answers)


@contextmanager
def whole_or_nothing(out: Path | str | None) -> Generator[None]:
    """A new folder that is not left behind half-written, so that the same command can be run again."""
    mine = out is not None and not Path(out).exists()
    try:
        yield
    except BaseException:
        if mine and out is not None:
            shutil.rmtree(out, ignore_errors=True)
        raise


@dataclass(frozen=True, kw_only=True)
class Spoofing:
    """A training that was made up, and what ``verify`` answers from V1 up to the level that refuses it."""

    spoof: Spoof
    verdicts: tuple[Verdict, ...]
    kept: bool


def make_up(
    run: Run | Path | str,
    name: str,
    *,
    out: Path | str | None = None,
    seed: int = 0,
    data: GivenData = None,
    salts: Path | str | None = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> Spoofing:
    """Make up a training that ends with the weights of a run, and ask both verifiers; ``out`` as for ``forge``."""
    found = Run.of(run)
    opened = found.data(data, salts=salts)
    with tempfile.TemporaryDirectory() as scratch, whole_or_nothing(out):
        folder = Path(scratch) / "spoofed" if out is None else Path(out)
        made = spoof(name, found, out=folder, seed=seed, data=dict(opened), calibration=calibration, progress=progress)
        assert made.bundle is not None
        assert made.trusted is not None
        rows = together(opened, found.commitment.assignment)
        verdicts = up_to(made.expected[1], made.bundle, made.trusted, rows, salts_of(found, salts))
    return Spoofing(spoof=made, verdicts=verdicts, kept=out is not None)
