"""What is fixed before a training: the salts of its rows, its beacon, and a folder that holds a commitment alone."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from expunge.core.beacon import ZERO, Beacon, read_beacon
from expunge.core.clock import utc_now
from expunge.core.errors import InvalidArgument, RunError
from expunge.data.commitment import Commitment
from expunge.data.salts import OPEN, Salts, SecretSalts, check_apart, draw_salts, read_salts
from expunge.data.stored import write_commitment
from expunge.records.run_file import RunFile
from expunge.train.folder import check_free, finished_or_other, writing
from expunge.train.perturbation import keep_key, reveal_key
from expunge.train.run import COMMITTED, Run, write_run_file


def chosen_beacon(given: Beacon | Path | str | None) -> Beacon:
    """The beacon itself, 64 hexadecimal digits, or a JSON file; zeros where none is given."""
    if given is None or isinstance(given, Beacon):
        return given or ZERO
    return read_beacon(given)


def chosen_salts(folder: Path, given: Path | str | None, rows: int, *, draw: bool) -> Salts:
    """What the rows are committed under: open salts, or those of a file, which ``draw`` makes where there is none.

    A folder that was begun keeps to its kind of salts.
    """
    begun = (folder / "run.json").is_file()
    if begun:
        _check_kind(folder, given)
    if given is None:
        return OPEN
    check_apart(given)
    if Path(os.path.abspath(folder)) in Path(os.path.abspath(given)).parents:
        raise InvalidArgument(
            f"salt file {given} lies in {folder}: whoever is given the leaves must not get the salts; keep it elsewhere"
        )
    if begun or Path(given).exists():
        return _secret(read_salts(given, rows))
    if not draw:
        raise InvalidArgument(
            f"salt file {given} does not exist: `expunge.train(…, commit_only=True, salts={given})` draws one"
        )
    check_free(folder)
    return draw_salts(given, rows)


def _secret(salts: SecretSalts) -> SecretSalts:
    """Leaves that are called hidden must be: every verifier who is given the salts refuses others."""
    odd = salts.hiding_nothing
    if odd:
        raise InvalidArgument(
            f"salt file {salts.place} hides nothing of row {odd[0]}: its salt is an open one that everybody can "
            "compute, or that of another row; name a file that does not exist, and `commit_only` draws secret salts "
            "into it, or leave `salts` out"
        )
    return salts


def _check_kind(folder: Path, given: Path | str | None) -> None:
    described = Run.open_any(folder).told.data
    if described.secret and given is None:
        raise RunError(
            f"{folder} was committed under secret salts, open ones are asked for: give their file with `salts` "
            f"{described.salt_file}, or choose another `out`"
        )
    if not described.secret and given is not None:
        raise RunError(
            f"{folder} was committed under open salts, those of {given} are asked for: leave `salts` out, or choose "
            "another `out`"
        )


def hold(
    folder: Path,
    told: RunFile,
    commitment: Commitment,
    units: np.ndarray,
    key: bytes | None,
    tiers: np.ndarray | None,
) -> Run:
    """Write the commitment and train nothing; the same command gives the same folder, where the training goes on."""
    with writing(folder):
        finished_or_other(folder, told)
        if key is not None:
            keep_key(folder, key)
        if not (folder / RunFile.NAME).exists():
            write_run_file(folder, told)
        reveal_key(folder)
        write_commitment(folder, commitment, units, tiers)
        there = Run.open_any(folder).told
        committed = replace(there, status=COMMITTED, committed_at=there.committed_at or utc_now())
        write_run_file(folder, committed)
        return Run(folder, committed)
