"""Training again without the forget set: what every other method is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from expunge.core.values import Exact
from expunge.methods.contract import Given, Method, Need, Outcome, Parent, check
from expunge.schedule.schedule import Schedule
from expunge.train.shards import Carried, Recording, carry_out_shards

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
            schedule = Schedule.of(recipe, given.root, given.units, given.beacon)
        recording = None
        if given.workspace is not None:
            recording = Recording(given.workspace, given.checkpoint_interval, given.trace, given.continues)
        carried = carry_out_shards(
            recipe,
            schedule,
            given.examples,
            given.emptied,
            given.task,
            recording=recording,
            progress=given.progress,
            noise=given.noise,
        )
        return exact_outcome(given, carried, schedule, {})

    def seen(self, parent: Parent) -> tuple[str, ...]:
        return ()


def exact_outcome(
    given: Given, carried: Carried, schedule: Schedule, reused: Mapping[int, int], notices: tuple[str, ...] = ()
) -> Outcome:
    """The shards' models as one, with the work that was done for them; a run that was continued tells the same."""
    given.meter.thirds += carried.thirds
    if given.recipe.perturbation and schedule.seed == given.schedule.seed:
        notices += (SAME_NOISE,)
    alive = [shard for shard, member in enumerate(carried.members) if member is not None]
    return Outcome(
        model=given.assemble(carried.members),
        steps=sum(schedule.total_steps(shard) - reused.get(shard, 0) for shard in alive),
        alive=tuple(member is not None for member in carried.members),
        recorded=given.workspace is not None,
        notices=notices,
        exact=given.exact_refused is None,
        exact_refused=given.exact_refused,
        reused={shard: reused.get(shard, 0) for shard in alive},
        seconds=carried.seconds,
    )
