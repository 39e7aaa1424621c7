"""What a run folder still holds of forgotten rows, as its files are declared: states, weights, traces and readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.core.files import read_bytes, unfinished_name
from expunge.core.hashing import sha256
from expunge.records.catalogue import Execution
from expunge.records.documents import LOG, declared, lying, shown_rows
from expunge.records.holds import Held, Named, Remedy
from expunge.records.tensors import TensorFile
from expunge.records.trace_file import TraceMode
from expunge.schedule.seats import first_steps
from expunge.train.log import RunLog
from expunge.train.run import Run

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A file that holds forgotten rows. ``what`` names no path, since a record repeats it; ``bytes`` is what goes."""

    path: Path
    what: str
    why: str
    slots: int
    digest: str | None = None
    bytes: int
    remedy: Remedy
    keep: int = 0  # bytes that stay, where it is cut
    rows: tuple[int, ...] = ()  # of the source, where salts go


@dataclass(frozen=True)
class _Seen:
    """Which of the slots the states of a run have seen.

    ``first`` has by shard the first steps of those that sit there, ``members`` are the shards of its model. Both are
    None where steps tell nothing: every state may have seen all ``count``.
    """

    why: str
    count: int
    model: bool = True
    first: Mapping[int, np.ndarray] | None = None
    members: tuple[int, ...] | None = None

    def by(self, shard: int, step: float) -> int:
        """How many the state of a shard after a step has seen."""
        if self.first is None:
            return self.count
        return int((self.first[shard] < step).sum()) if shard in self.first else 0

    def since(self, shard: int) -> str:
        if self.first is None:
            return self.why
        return f"{self.why}, first in step {int(self.first[shard].min())} of shard {shard}"


def held_by(run: Run, forgotten: np.ndarray) -> np.ndarray:
    """Those of the forgotten slots that this run did not forget."""
    return np.setdiff1d(forgotten, run.tombstones)


def holdings_of(run: Run, forgotten: np.ndarray) -> Iterator[Holding]:
    """Every file of a run's folder that holds some of these slots."""
    seen = _seen(run, forgotten)
    logged = {} if seen is None else logged_states(run)
    for path, named in lying(run.path):
        if named is None:
            if seen is not None and not is_note(run, path):
                yield unfinished(path, seen.count)
        elif named.holds.held is Held.ROWS:
            yield from _read_off(path, named, forgotten)
        elif named.holds.held is Held.SUMS:
            if len(held := held_by(run, forgotten)):
                yield whole(path, named, len(held), inside_of(path)[1])
        elif seen is not None and named.holds.remedy is Remedy.CUT:
            yield from _cut(run, path, named, seen)
        elif seen is not None and named.shard is not None and named.step is not None:
            if seen.first is not None and named.shard not in seen.first:
                yield unfinished(path, seen.count)
            elif count := seen.by(named.shard, named.step):
                digest = logged.get((named.shard, named.step))
                yield _tensors(path, named.what, seen.since(named.shard), count, digest)
        elif seen is not None and seen.model:
            yield from _model(run, path, named, seen)


def digests_of(run: Run, forgotten: np.ndarray) -> dict[str, str]:
    """Digests of the states and weights of a run that hold some of these slots, and what each is, there or not."""
    seen = _seen(run, forgotten)
    if seen is None or not seen.model:
        return {}
    found = {
        digest: f"the state of {run.path} after step {step}"
        for (shard, step), digest in logged_states(run).items()
        if seen.by(shard, step)
    }
    digest = run.told.weights_digest
    if digest is not None and seen.members != ():
        found[digest] = f"the model of {run.path}"
    if run.told.result is not None and run.told.result.sums is not None:
        found[run.told.result.sums] = f"the sums of {run.path}"
    return found


def _seen(run: Run, forgotten: np.ndarray) -> _Seen | None:
    held = held_by(run, forgotten)
    if not len(held):
        looked = "the method looked at them while it forgot them"
        return None if run.told.tells_seen else _Seen(looked, len(forgotten), model=False)
    if run.told.execution is Execution.SOLVE:
        return _Seen("its weights are of sums that hold them", len(held))
    if not run.told.replayable:
        return _Seen("its weights came from a model that was trained on them", len(held))
    schedule = run.schedule
    first = {shard: first_steps(schedule, shard, held) for shard in range(schedule.shards)}
    if run.recipe.perturbation:  # noise in the loss weighs 1/n, so every step knows how many rows there were
        first = {shard: np.zeros_like(steps) for shard, steps in first.items()}
    alive = (True,) * len(first) if run.told.result is None else run.told.result.alive
    members = tuple(shard for shard, steps in first.items() if alive[shard] and len(steps))
    return _Seen("trained on them", len(held), first=first, members=members)


def _model(run: Run, path: Path, named: Named, seen: _Seen) -> Iterator[Holding]:
    why, count = seen.why, seen.count
    if seen.first is not None and seen.members is not None:
        if not seen.members:
            return
        steps = {shard: seen.first[shard] for shard in seen.members}
        why = seen.since(min(steps, key=lambda shard: int(steps[shard].min())))
        count = sum(map(len, steps.values()))
    yield _tensors(path, named.what, why, count, run.told.weights_digest)


def _cut(run: Run, path: Path, named: Named, seen: _Seen) -> Iterator[Holding]:
    """A record for each step: those from the first step of one of the slots on."""
    steps = None if seen.first is None or named.shard is None else seen.first.get(named.shard)
    if steps is None or named.shard is None or not len(steps):
        return
    size = run.trace.width or TraceMode.LOSSES.width
    keep, there = int(steps.min()) * size, path.stat().st_size
    if there > keep:
        yield Holding(
            path=path,
            what=f"{named.what} from step {keep // size} on: digests of losses",
            why=seen.since(named.shard),
            slots=max(1, seen.by(named.shard, there // size)),
            digest=sha256(read_bytes(path, "the trace")).hex(),
            bytes=there - keep,
            remedy=named.holds.remedy,
            keep=keep,
        )


def _read_off(path: Path, named: Named, forgotten: np.ndarray) -> Iterator[Holding]:
    count, digest = len(forgotten), None
    if named.holds.shown is not None:
        content = read_bytes(path, "the document")
        count, digest = len(shown_rows(content, named.holds) & set(forgotten.tolist())), sha256(content).hex()
    if count:
        yield whole(path, named, count, digest)


def whole(path: Path, named: Named, slots: int, digest: str | None = None) -> Holding:
    """A file that ends as it is declared."""
    holds, size = named.holds, path.stat().st_size
    return Holding(
        path=path, what=named.what, why=holds.why, slots=slots, digest=digest, bytes=size, remedy=holds.remedy
    )


def _tensors(path: Path, what: str, why: str, seen: int, named: str | None) -> Holding:
    """``named`` is the digest that the run gives it; what goes is declared by the digest that it has."""
    inside, digest = inside_of(path)
    if named is not None and digest != named:
        why += "; it is not what the run says any more"
    size = path.stat().st_size
    return Holding(
        path=path, what=f"{what}: {inside}", why=why, slots=seen, digest=digest, bytes=size, remedy=Remedy.REMOVE
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


def is_note(run: Run, path: Path) -> bool:
    """Whether it is the unfinished copy of a file in which nothing of any row stands."""
    name = path.relative_to(run.path).as_posix()
    named = declared(name.removesuffix(path.name) + (unfinished_name(path.name) or ""))
    return named is not None and named.holds.held is Held.NOTHING


def unfinished(path: Path, count: int) -> Holding:
    """What nobody finished writing."""
    return Holding(
        path=path,
        what="a file that nobody finished writing",
        why="what it holds cannot be told",
        slots=count,
        bytes=path.stat().st_size,
        remedy=Remedy.REMOVE,
    )


def logged_states(run: Run) -> dict[tuple[int, int], str]:
    """Digests of states by shard and step, as the run's log names them."""
    log = RunLog(run.path / LOG, writer=False)
    return {(shard, item.step): item.digest for shard in range(run.recipe.shards) for item in log.checkpoints(shard)}
