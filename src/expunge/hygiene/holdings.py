"""What a run folder still holds of forgotten rows: states, weights, traces and what was read off them.

A state holds a row from the first step that the row sat in: every step after it depends on it, in the weights, in the
optimiser's moments and in running statistics alike. Before that step nothing of it is there, so such states may stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json, sha256
from expunge.records.catalogue import EXACT_METHODS
from expunge.records.tensors import TensorFile
from expunge.records.trace_file import TraceMode
from expunge.schedule.seats import first_steps
from expunge.train.log import Log
from expunge.train.run import Run

CHECKPOINT = re.compile(r"shard-(?P<shard>0|[1-9][0-9]*)-step-(?P<step>[0-9]{8,16})\.safetensors\Z")
TRACE = re.compile(r"shard-(?P<shard>0|[1-9][0-9]*)\.bin\Z")
NOTES = frozenset(  # files of a run in which nothing of any row stands
    [
        *("run.json", "log.jsonl", "forget.json", "entry.json", "noise.key", "assignment.bin", "units.bin"),
        *("leaves.bin", "leaves-calibration.bin", "leaves-holdout.bin"),
        *("hygiene.json", "hygiene-intent.json", "retired.json"),
    ]
)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


class Remedy(Enum):
    """What ends it."""

    REMOVE = "remove"  # the file goes
    CUT = "cut"  # the file is cut to its first ``keep`` bytes, which came before the first touched step
    REDACT = "redact"  # the examples of an evaluation go, its figures stay
    SALTS = "salts"  # the salts of these rows are overwritten
    LEFTOVER = "leftover"  # what a killed process left of a salt file is overwritten and removed
    OWNER = "owner"  # not ours to touch: whoever owns it removes it


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A file that holds forgotten rows. ``what`` names no path, since a record repeats it; ``bytes`` is what goes."""

    path: Path
    what: str
    why: str
    slots: int
    digest: str | None
    bytes: int
    remedy: Remedy
    keep: int = 0
    rows: tuple[int, ...] = ()  # of the source, where salts go

    def as_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "what": self.what,
            "why": self.why,
            "slots": self.slots,
            "digest": self.digest,
            "bytes": self.bytes,
            "remedy": self.remedy.value,
        }


def is_recorded(run: Run) -> bool:
    """Whether its states are those of a training, so that the schedule says what each has seen."""
    told = run.told
    return told.operation != "unlearn" or (told.trajectory != "none" and run.method in EXACT_METHODS)


def held_by(run: Run, forgotten: np.ndarray) -> np.ndarray:
    """Those of the forgotten slots that this run did not forget."""
    return np.setdiff1d(forgotten, run.tombstones)


def holdings_of(run: Run, forgotten: np.ndarray) -> Iterator[Holding]:
    """Every file of a run's folder that holds some of these slots."""
    held = held_by(run, forgotten)
    if len(held) and is_recorded(run):
        yield from _trained(run, held)
    elif len(held):
        yield from _descended(run, held)
    elif not is_recorded(run):
        why = "the method looked at them while it forgot them"
        yield from _states(run, why, len(forgotten))
    yield from _beliefs(run, forgotten)
    yield from _evaluation(run, forgotten)


def digests_of(run: Run, forgotten: np.ndarray) -> dict[str, str]:
    """Digests of the states and weights of a run that hold some of these slots, and what each is, there or not."""
    held = held_by(run, forgotten)
    if not len(held):
        return {}
    touched = _touched(run, held) if is_recorded(run) else None
    found = {
        digest: f"the state of {run.path} after step {step}"
        for (shard, step), digest in logged_states(run).items()
        if touched is None or (shard in touched and int((touched[shard] < step).sum()))
    }
    digest = run.told.weights_digest
    if digest is not None and (touched is None or _members(run, touched)):
        found[str(digest)] = f"the model of {run.path}"
    return found


def _trained(run: Run, held: np.ndarray) -> Iterator[Holding]:
    """Files of a training: states after the first touched step, the weights, and the trace from that step on."""
    touched = _touched(run, held)
    logged = logged_states(run)
    for path in _files(run.path / "checkpoints"):
        named = CHECKPOINT.match(path.name)
        shard, step = (int(named["shard"]), int(named["step"])) if named else (-1, 0)
        if shard in touched:
            seen = int((touched[shard] < step).sum())
            if seen:
                yield _state(path, shard, step, _since(touched[shard], shard), seen, logged.get((shard, step)))
        elif not is_note(path):
            yield unfinished(path, len(held))
    members = _members(run, touched)
    if members and (run.path / "model.safetensors").is_file():
        first = min(members, key=lambda shard: int(touched[shard].min()))
        seen = sum(len(touched[shard]) for shard in members)
        yield _model(run, _since(touched[first], first), seen)
    yield from _traces(run, touched)


def _touched(run: Run, held: np.ndarray) -> dict[int, np.ndarray]:
    """By shard the first steps of the slots that it holds."""
    schedule = run.schedule
    touched = {shard: first_steps(schedule, shard, held) for shard in range(schedule.shards)}
    if run.recipe.perturbation:  # noise in the loss weighs 1/n, so every step knows how many rows there were
        return {shard: np.zeros_like(steps) for shard, steps in touched.items()}
    return touched


def _members(run: Run, touched: dict[int, np.ndarray]) -> list[int]:
    """Shards of the model in which one of the slots sat."""
    alive = (True,) * len(touched) if run.told.result is None else run.told.result.alive
    return [shard for shard, steps in touched.items() if alive[shard] and len(steps)]


def _descended(run: Run, held: np.ndarray) -> Iterator[Holding]:
    """Files of a run whose weights came from a model that was trained on the rows and never let go of them."""
    why = "its weights came from a model that was trained on them"
    yield from _states(run, why, len(held))
    if (run.path / "model.safetensors").is_file():
        yield _model(run, why, len(held))


def _states(run: Run, why: str, count: int) -> Iterator[Holding]:
    """States of a method that takes steps of its own: each of them may have seen everything."""
    logged = logged_states(run)
    for path in _files(run.path / "checkpoints"):
        named = CHECKPOINT.match(path.name)
        if named is None:
            yield unfinished(path, count)
            continue
        shard, step = int(named["shard"]), int(named["step"])
        yield _state(path, shard, step, why, count, logged.get((shard, step)))


def _traces(run: Run, touched: dict[int, np.ndarray]) -> Iterator[Holding]:
    size = run.trace.width or TraceMode.LOSSES.width
    for path in _files(run.path / "trace"):
        named = TRACE.match(path.name)
        shard = int(named["shard"]) if named else -1
        if shard not in touched or not len(touched[shard]):
            continue
        keep, there = int(touched[shard].min()) * size, path.stat().st_size
        if there > keep:
            seen = int((touched[shard] < there // size).sum())
            yield Holding(
                path=path,
                what=f"trace of shard {shard} from step {keep // size} on: digests of losses",
                why=_since(touched[shard], shard),
                slots=max(1, seen),
                digest=sha256(read_bytes(path, "the trace")).hex(),
                bytes=there - keep,
                remedy=Remedy.CUT,
                keep=keep,
            )


def _beliefs(run: Run, forgotten: np.ndarray) -> Iterator[Holding]:
    path = run.path / "beliefs.safetensors"
    if path.is_file():
        yield Holding(
            path=path,
            what="a model's answers to every row, kept for measuring",
            why="they were read off the rows themselves",
            slots=len(forgotten),
            digest=None,
            bytes=path.stat().st_size,
            remedy=Remedy.REMOVE,
        )


def _evaluation(run: Run, forgotten: np.ndarray) -> Iterator[Holding]:
    path = run.path / "evaluation.json"
    if not path.is_file():
        return
    content = read_bytes(path, "the evaluation")
    shown = shown_slots(parse_json(content), forgotten)
    if shown:
        yield Holding(
            path=path,
            what="examples of an evaluation: labels and confidences",
            why="they describe single rows",
            slots=shown,
            digest=sha256(content).hex(),
            bytes=len(content),
            remedy=Remedy.REDACT,
        )


def shown_slots(evaluation: Any, forgotten: np.ndarray) -> int:
    """How many of the slots an evaluation shows as examples."""
    examples = cast("dict[str, Any]", evaluation).get("examples") if isinstance(evaluation, dict) else None
    if not isinstance(examples, list):
        return 0
    found = {item.get("slot") for item in cast("list[Any]", examples) if isinstance(item, dict)}
    return len(found & {int(slot) for slot in forgotten})


def _model(run: Run, why: str, seen: int) -> Holding:
    path = run.path / "model.safetensors"
    digest = run.told.weights_digest
    return _tensors(path, "model", why, seen, None if digest is None else str(digest))


def _state(path: Path, shard: int, step: int, why: str, seen: int, digest: str | None) -> Holding:
    return _tensors(path, f"state of shard {shard} after step {step}", why, seen, digest)


def _tensors(path: Path, what: str, why: str, seen: int, named: str | None) -> Holding:
    """``named`` is the digest that the run gives it; what goes is declared by the digest that it has."""
    inside, digest = inside_of(path)
    if named is not None and digest != named:
        why += "; it is not what the run says any more"
    return Holding(
        path=path,
        what=f"{what}: {inside}",
        why=why,
        slots=seen,
        digest=digest,
        bytes=path.stat().st_size,
        remedy=Remedy.REMOVE,
    )


def inside_of(path: Path) -> tuple[str, str | None]:
    """What a file of tensors holds, and the digest of its content; None for what is no such file, or damaged."""
    try:
        with path.open("rb") as stream:
            file = TensorFile(stream, path.stat().st_size, path.name)
            names, digest = [tensor.name for tensor in file.tensors], file.digest().hex()
    except (ExpungeError, OSError):
        return "a damaged file", None
    parts = ["weights"]
    if any(name.endswith(STATISTICS) for name in names):
        parts.append("running statistics")
    if any(name.startswith("optimiser") for name in names):
        parts.append("optimiser state")
    return ", ".join(parts), digest


def is_note(path: Path) -> bool:
    """Whether it is the unfinished copy of a file in which nothing of any row stands."""
    return path.name.startswith(".") and path.name.endswith(".part") and path.name[1:-5] in NOTES


def unfinished(path: Path, count: int) -> Holding:
    return Holding(
        path=path,
        what="a file that nobody finished writing",
        why="what it holds cannot be told",
        slots=count,
        digest=None,
        bytes=path.stat().st_size,
        remedy=Remedy.REMOVE,
    )


def _since(steps: np.ndarray, shard: int) -> str:
    return f"trained on them, first in step {int(steps.min())} of shard {shard}" if len(steps) else "trained on them"


def logged_states(run: Run) -> dict[tuple[int, int], str]:
    """Digests of states by shard and step, as the run's log names them."""
    log = Log(run.path / "log.jsonl", writer=False)
    return {(shard, item.step): item.digest for shard in range(run.recipe.shards) for item in log.checkpoints(shard)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
