"""Training again without the forget set: what every other method is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import RunError
from expunge.core.values import Exact
from expunge.methods.contract import Given, Method, Need, Outcome, Parent, check
from expunge.schedule.schedule import Schedule
from expunge.train.shards import Carried, anybody, carry_out_shards, interval_of
from expunge.train.trace import Trace

SAME_NOISE = (
    "this training draws its lineage's noise again: whoever holds it beside an earlier certified model of it can "
    "take the noise out, so publish one of them only"
)


@dataclass(frozen=True, kw_only=True)
class Retrain(Method):
    """The recipe on the retain set: same schedule, empty chairs.

    ``training_seed`` retrains under another seed of the recipe instead: a reference of another lineage, for
    measurements that need to know how far honest retrainings lie apart.
    """

    name = "retrain"
    needs = frozenset({Need.RETAIN, Need.INIT})
    work = "the whole training on those who stay"
    ceiling = Exact
    takes_budget = False
    takes_shards = True
    takes_sums = True
    training_seed: int | None = None

    def __post_init__(self) -> None:
        check(
            self.training_seed is None or 0 <= self.training_seed < 2**53,
            f"training_seed {self.training_seed} must be a whole number from 0 to 2^53 − 1",
        )

    def unlearn(self, given: Given) -> Outcome:
        given.declare(Need.RETAIN)
        given.declare(Need.INIT)
        recipe, schedule = given.recipe, given.schedule
        if self.training_seed is not None:
            recipe = replace(recipe, seed=self.training_seed)
            schedule = given.schedule_of(recipe)
        carried = carry_out_shards(
            recipe,
            schedule,
            given.examples,
            given.emptied,
            recording=given.recording,
            progress=given.progress,
            noise=given.noise,
        )
        return exact_outcome(given, carried, schedule, {})

    def traces(self, parent: Parent, asked: Trace) -> Trace:
        return Trace.OFF if parent.recipe.accumulated else asked

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        refuse_nobody(parent, forget)

    def seen(self, parent: Parent) -> tuple[str, ...]:
        return ()


def refuse_nobody(parent: Parent, forget: np.ndarray) -> None:
    """Rows so few that no step can be taken on them are no training set."""
    emptied = np.union1d(forget, parent.emptied)
    shards = range(parent.schedule.shards)
    if not any(anybody(parent.recipe, parent.schedule, shard, emptied) for shard in shards):
        raise RunError("fewer rows remain than a step needs: nothing can be trained on them; forget fewer, or add rows")


def exact_outcome(
    given: Given, carried: Carried, schedule: Schedule, reused: Mapping[int, int], notices: tuple[str, ...] = ()
) -> Outcome:
    """The shards' models as one, with the work that was done for them; a run that was continued tells the same."""
    given.meter.thirds += carried.thirds
    given.meter.row_sums += carried.row_sums or 0
    if given.recipe.perturbation and schedule.seed == given.schedule.seed:
        notices += (SAME_NOISE,)
    alive = [shard for shard, member in enumerate(carried.members) if member is not None]
    asked = None if given.recording is None else given.recording.interval
    return Outcome(
        model=given.assemble(carried.members),
        steps=sum(schedule.total_steps(shard) - reused.get(shard, 0) for shard in alive),
        alive=tuple(member is not None for member in carried.members),
        recorded=given.recording is not None,
        interval=None if given.recipe.accumulated else interval_of(schedule, asked),
        notices=(*notices, *carried.notices),
        exact=given.exact_refused is None,
        exact_refused=given.exact_refused,
        reused={shard: reused.get(shard, 0) for shard in alive},
        seconds=carried.seconds,
        sums=carried.sums,
    )
