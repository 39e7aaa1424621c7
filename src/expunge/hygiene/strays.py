"""What lies in a run's folder and is not what the run put there: copies, exports, and files that were overwritten.

Every file that is to stay is compared with what the run says of it, and every file of tensors with the weights and
states that hold the forgotten rows. What nothing can be told of is said, never taken for clean.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from expunge.core.files import unfinished_name
from expunge.hygiene.holdings import Holding, held_by, inside_of, is_note, logged_states, unfinished
from expunge.records.bundle import MODEL
from expunge.records.documents import BASE, SUMS, declared, state_name
from expunge.records.holds import Held, Remedy
from expunge.records.tensors import TENSORS
from expunge.train.run import Run


def strays(
    run: Run, listed: Collection[Path], tainted: Mapping[str, str], forgotten: np.ndarray
) -> Iterator[Holding | str]:
    """Holdings among the files that are not ``listed`` so far, and a sentence for each of which nothing can be told.

    ``tainted`` says by digest which weights and states hold the forgotten rows.
    """
    announced = _announced(run)
    for path in sorted(run.path.rglob("*")):
        name = path.relative_to(run.path).as_posix()
        if path.is_symlink():
            yield f"{path} is a link and was not followed: look where it leads, and remove it yourself"
        elif (
            path in listed
            or not path.is_file()
            or _is_own(name, run)
            or is_note(run, path)
            or (name == BASE and inside_of(path)[1] not in tainted)
        ):
            continue
        elif unfinished_name(path.name) is not None:
            yield unfinished(path, len(forgotten))
        elif name in announced:
            yield from _compared(run, path, announced[name], tainted, forgotten)
        elif path.suffix == TENSORS:
            yield _stray(path, name, tainted, forgotten)
        else:
            yield f"{path}: not written by Expunge, so look yourself, and move it elsewhere if it holds nothing"


def may_stray(run: Run, name: str) -> bool:
    """Whether a file of this name in the run's own folder could be a stray: nothing that the run itself needs."""
    if unfinished_name(name.rpartition("/")[2]) is not None:
        return True
    return name.endswith(TENSORS) and name not in _announced(run) and not _is_own(name, run)


def is_read_off(name: str) -> bool:
    """Whether a file was read off rows: no record needs it."""
    named = declared(name)
    return named is not None and named.holds.held is Held.ROWS


def _announced(run: Run) -> dict[str, str]:
    """Files of tensors that the run needs, by name, with the digests that it gives them."""
    found = {state_name(shard, step): digest for (shard, step), digest in logged_states(run).items()}
    result = run.told.result
    if result is not None and result.sums is not None:
        found[SUMS] = result.sums
    return found if result is None else {**found, MODEL: result.weights_digest}


def _is_own(name: str, run: Run) -> bool:
    """A file that is declared, and was looked into or has nothing to look for. Weights and states are compared."""
    named = declared(name)
    if named is None or name in (BASE, SUMS) or (named.shard or 0) >= run.recipe.shards:
        return False
    return named.holds.held is not Held.STATES or named.holds.remedy is Remedy.CUT


def _compared(run: Run, path: Path, named: str, tainted: Mapping[str, str], forgotten: np.ndarray) -> Iterator[Holding]:
    """A file that stays must be what the run says, and that must not be what holds the rows."""
    inside, digest = inside_of(path)
    kind = "model" if path.name == MODEL else "state"
    if digest == named and (digest not in tainted or len(held_by(run, forgotten)) or run.told.tells_seen):
        return  # a training without the rows may come to the same bits as the one with them
    if digest == named:
        why = f"the method changed nothing: it is {tainted[named]}; forget with exact-replay, or another method"
    elif digest is not None and digest in tainted:
        why = f"it was overwritten with {tainted[digest]}; make the run again, or restore that file"
    else:
        why = "it is not what the run says, and what it holds cannot be told; make the run again, or restore that file"
    yield _holding(path, f"{kind}: {inside}", why, digest, Remedy.OWNER, forgotten)


def _stray(path: Path, name: str, tainted: Mapping[str, str], forgotten: np.ndarray) -> Holding | str:
    inside, digest = inside_of(path)
    if digest is not None and digest in tainted:
        why = f"it is {tainted[digest]}"
        return _holding(path, f"copy of an old state: {inside}", why, digest, Remedy.REMOVE, forgotten)
    named = declared(name)
    if named is not None and named.step is not None:
        why = "the run's log does not name it, so what it holds cannot be told"
        return _holding(path, f"state that no log names: {inside}", why, digest, Remedy.REMOVE, forgotten)
    return f"{path}: weights that Expunge did not write, so look yourself, and move them elsewhere if they hold nothing"


def _holding(path: Path, what: str, why: str, digest: str | None, remedy: Remedy, forgotten: np.ndarray) -> Holding:
    return Holding(
        path=path,
        what=what,
        why=why,
        slots=len(forgotten),
        digest=digest,
        bytes=path.stat().st_size,
        remedy=remedy,
    )
