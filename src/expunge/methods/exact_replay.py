"""Redo only what the forgotten examples touched: rewinding, slices and shards by one rule."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import RunError
from expunge.core.files import link_or_copy
from expunge.core.values import Exact
from expunge.methods.contract import Given, Method, Need, Outcome, Parent
from expunge.methods.retrain import exact_outcome
from expunge.train.checkpoint import Checkpoint, read_checkpoint
from expunge.train.log import Log
from expunge.train.recorder import adopt
from expunge.train.shards import Recording, StartingPoint, carry_out_shards

WAY_OUT = "use --method retrain, which needs no checkpoint"


@dataclass(frozen=True, kw_only=True)
class ExactReplay(Method):
    """In each shard that holds F, load the last checkpoint before the first step that touches F and redo the rest.

    The result is bit-identical to ``retrain``. Shards without F keep their bytes (SISA; Bourtoule et al., 2021, is
    the case of shards and slices; rewinding the case of one shard and one slice).
    """

    name = "exact-replay"
    aliases = ("rewind", "sisa", "sharded")
    needs = frozenset({Need.RETAIN, Need.INIT, Need.CHECKPOINTS})
    ceiling = Exact
    takes_budget = False
    takes_shards = True
    citation = "Bourtoule et al., S&P 2021"

    def unlearn(self, given: Given) -> Outcome:
        given.declare(Need.RETAIN)
        given.declare(Need.INIT)
        folder = given.ancestor
        if folder is None:
            raise RunError(f"exact-replay needs the recorded run's checkpoints, this parent has no folder: {WAY_OUT}")
        if given.replay_refused is not None:
            raise RunError(f"exact-replay cannot redo a part of this run, because {given.replay_refused}: {WAY_OUT}")
        log = Log(folder / "log.jsonl")
        kept: list[Checkpoint] = []
        starts: dict[int, StartingPoint] = {}
        for shard in range(given.schedule.shards):
            reusable = reusable_checkpoints(given, log, shard)
            kept.extend(reusable)
            if reusable:
                last = reusable[-1]
                starts[shard] = StartingPoint(last, _checked(folder, last))
        recording = None
        if given.workspace is not None:
            trace = given.trace and (folder / "trace").is_dir()
            recording = Recording(given.workspace, given.checkpoint_interval, trace)
            adopt(
                given.workspace,
                Log(given.workspace / "log.jsonl"),
                source=folder,
                kept=kept,
                link=link_or_copy,
                trace=trace,
            )
        carried = carry_out_shards(
            given.recipe,
            given.schedule,
            given.examples,
            given.emptied,
            given.task,
            recording=recording,
            starts=starts,
            progress=given.progress,
        )
        return exact_outcome(given, carried)

    def seen(self, parent: Parent) -> tuple[str, ...]:
        return ()


def reusable_checkpoints(given: Given, log: Log, shard: int) -> list[Checkpoint]:
    """A shard's checkpoints up to the first step that holds a newly forgotten example."""
    touched = given.schedule.first_touch(shard, given.newly_emptied)
    return [item for item in log.checkpoints(shard) if touched is None or item.step <= touched]


def _checked(folder: Path, checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint, if it is the one that was logged."""
    path = folder / "checkpoints" / checkpoint.name
    if read_checkpoint(path, checkpoint) is None:
        raise RunError(f"{path} is missing or does not match the digest in the run's log: {WAY_OUT}")
    return path
