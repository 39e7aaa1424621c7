"""Starting and continuing a run folder: one writer at a time, the same command or none."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.core.errors import RunError
from expunge.core.files import PART, unfinished_name
from expunge.records.catalogue import ACCUMULATED_MODELS
from expunge.records.documents import declared
from expunge.records.run_file import CommitRequest, RunFile, TrainRequest
from expunge.schedule.recipe import MemoryLayout
from expunge.train.run import COMMITTED, Run, write_run_file
from expunge.train.state import read_tensors, tensors_digest

try:
    import fcntl
except ImportError:  # no advisory locks on this system: two writers are not told apart
    fcntl = None


@contextmanager
def writing(path: Path) -> Generator[None]:
    """Hold the folder against a second process."""
    new = not path.exists()
    try:
        path.mkdir(parents=True, exist_ok=True)
        handle = (path / ".lock").open("ab")
    except OSError as error:
        raise RunError(f"{path} cannot be used as `out` ({error.strerror or error}): choose another place") from error
    with handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise RunError(
                    f"{path} is being written by another process: wait for it or choose another `out`"
                ) from None
        try:
            yield
        except BaseException:
            if new and [item.name for item in path.iterdir()] == [".lock"]:  # refused before anything was written
                (path / ".lock").unlink()
                path.rmdir()
            raise


def sound(run: Run) -> Run:
    """A finished run whose weights are those it announces."""
    if tensors_digest(read_tensors(run.model_file)).hex() != run.weights_digest:
        raise RunError(f"{run.path} is finished but its weights were altered: remove the folder to make the run again")
    return run


def finished_or_other(path: Path, told: RunFile) -> Run | None:
    """The finished run that the same command made, if there is one; a folder with anything else in it is refused.

    The request is what decides the result, and what is compared. A folder that was committed is open to the trainings
    that keep to what was committed.
    """
    if (path / RunFile.NAME).exists():
        found = Run.open_any(path)
        there, asked = found.told.request, told.request
        if isinstance(there, TrainRequest) and isinstance(asked, CommitRequest):
            raise RunError(
                f"the training in {path} has begun already: a commitment comes before it; choose another `out`"
            )
        if found.told.status == COMMITTED and isinstance(asked, TrainRequest):
            _check_beacon(found, told)
            asked = asked.committed
        difference = there.difference(asked)
        if difference is not None:
            raise RunError(f"{path} holds another run ({difference}): choose another `out`, or remove that folder")
        return sound(found) if found.told.status == "finished" else None
    check_free(path)
    return None


def _check_beacon(found: Run, told: RunFile) -> None:
    """A beacon that was known by the commitment orders nothing; no record of the training could be signed."""
    since = None if told.beacon_described is None else told.beacon_described.not_before
    made = found.told.committed_at
    if since is not None and made is not None and since < made:
        raise RunError(
            f"the beacon is of {since}, {found.path} was committed at {made}: a beacon must come after the commitment; "
            "take a later one"
        )


def check_free(path: Path) -> None:
    """A folder without run.json must hold nothing else; hidden names are what killed processes leave."""
    foreign = [item.name for item in path.iterdir() if not item.name.startswith(".")] if path.is_dir() else []
    if foreign:
        raise RunError(f"{path} is not empty and not a run (it holds {foreign[0]!r}): choose another `out`")


def clear_left(path: Path) -> None:
    """Remove what killed processes left of a run's own files; call it while the folder is held."""
    for item in path.rglob(f".*{PART}"):
        inner, of = item.parent.relative_to(path), unfinished_name(item.name)
        if of is not None and item.is_file() and declared((inner / of).as_posix()) is not None:
            item.unlink(missing_ok=True)


def as_begun(path: Path, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's fields for a folder; a run that was begun in it before there were layouts goes on as contiguous."""
    steps = fields.get("model") not in ACCUMULATED_MODELS
    older = steps and (path / RunFile.NAME).is_file() and "layout" not in Run.open_any(path).told.recipe
    return {"layout": MemoryLayout.CONTIGUOUS, **fields} if older else dict(fields)


def start_or_continue(path: Path, told: RunFile) -> Run:
    """A new run, in a committed folder too, or the interrupted one of the same command; all else was refused before."""
    clear_left(path)
    if (path / RunFile.NAME).exists():
        found = Run.open_any(path)
        if found.told.status != COMMITTED:
            _check_trace(found, told)
            return found
    write_run_file(path, told)
    return Run(path, told)


def continued(told: RunFile, there: RunFile) -> RunFile:
    """run.json of a run that goes on: what stands there counts, and what an older version did not write is added."""
    beacon = there.beacon_described or told.beacon_described
    return replace(there, trace=there.trace or told.trace, beacon_described=beacon)


def _check_trace(found: Run, told: RunFile) -> None:
    there, asked = found.told.trace, told.trace
    if there is not None and there != asked:
        raise RunError(
            f"{found.path} was begun with `trace` {there}, {asked} is asked for: a trace is of one kind from the first "
            f"step; say `trace` {there}, or choose another `out`"
        )
