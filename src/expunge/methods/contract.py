"""The contract of a method: a frozen dataclass whose fields are its hyper-parameters, sealed by the base.

The sealed call validates, hands over only what ``needs`` names, meters, and returns ``Unlearned``. A method does not
know the probes, and no method can claim more than its ceiling.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from torch import nn

from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedEver, UnsupportedYet
from expunge.core.values import Certified, Cost, Empirical, Exact, Guarantee, Progress
from expunge.methods.batch_norm import batch_norms
from expunge.methods.given import Given, Need, Parent
from expunge.records.run_file import MethodFile
from expunge.tasks import TASKS
from expunge.tasks.task import Task
from expunge.train.initial_weights import opened_beside
from expunge.train.meter import Meter
from expunge.train.shards import Recording
from expunge.train.state import check_finite, weights_of
from expunge.train.trace import Trace

__all__ = ["DEFAULT_BUDGET", "Given", "Method", "Need", "Outcome", "Parent", "Unlearned", "check"]

DEFAULT_BUDGET = 0.10


@dataclass(frozen=True, kw_only=True)
class Upshot:
    """What came of a method's work. ``alive`` says which shards have anybody left."""

    model: nn.Module
    steps: int
    stopped: str | None = None
    alive: tuple[bool, ...] = (True,)
    exact_refused: str | None = None
    recorded: bool = False  # whether checkpoints of a whole trajectory lie in the workspace
    interval: int | None = None  # steps between them
    notices: tuple[str, ...] = ()
    reused: Mapping[int, int] = field(default_factory=dict[int, int])
    account: Mapping[str, Any] | None = None  # plain JSON for run.json: what certified removals have spent
    seen: tuple[str, ...] = ()  # what it depends on that was computed from the forget set
    sums: str | None = None  # digest of what was summed, of an accumulated model


@dataclass(frozen=True, kw_only=True)
class Outcome(Upshot):
    """What a method hands back to the sealed call; ``seen`` beside what its needs say already."""

    exact: bool = False
    seconds: float | None = None  # where it is not the meter's, because an interrupted run was continued
    certified: Certified | None = None


@dataclass(frozen=True, kw_only=True)
class Unlearned(Upshot):
    """What a method returns."""

    guarantee: Guarantee
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base of all methods. Subclasses set the class variables and write ``unlearn``; the call is sealed."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Need]]
    ceiling: ClassVar[type[Guarantee]] = Empirical
    task: ClassVar[type[Task]] = Task  # the kind of task that it works on
    takes_budget: ClassVar[bool] = True
    takes_shards: ClassVar[bool] = False
    takes_sums: ClassVar[bool] = False  # whether it knows accumulated models, whose weights nothing moves
    citation: ClassVar[str] = ""
    work: ClassVar[str] = ""  # what it costs in example-steps, in words

    @abstractmethod
    def unlearn(self, given: Given) -> Outcome:
        """Do the work. Called by the sealed call only."""

    def traces(self, parent: Parent, asked: Trace) -> Trace:
        """The trace that a recorded result carries; only methods that carry out a training plan have one."""
        return Trace.OFF

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:  # noqa: B027 - most methods refuse nothing more
        """Raise, in one sentence with the way out, what this method cannot do; nothing is written by then."""

    @property
    def reach(self) -> type[Guarantee]:
        """The highest guarantee that these fields allow; never above ``ceiling`` unless the class says why."""
        return self.ceiling

    def earns(self, parent: Parent) -> Guarantee:
        """What a result on this parent may be called, as far as that is known beforehand."""
        exact = self.reach is Exact and parent.exact_refused is None
        return Exact(parent.recipe.base) if exact else Empirical()

    @final
    def __call__(
        self,
        parent: Parent,
        forget: np.ndarray,
        *,
        budget: float | None = None,
        seed: int = 0,
        workspace: Path | None = None,
        progress: Progress | None = None,
        checkpoint_interval: int | None = None,
        trace: Trace = Trace.LOSSES,
    ) -> Unlearned:
        slots = self.validate(parent, forget, budget=budget, seed=seed)
        share = (DEFAULT_BUDGET if budget is None else budget) if self.takes_budget else None
        recipe, schedule = parent.recipe, parent.schedule
        allowed = None if share is None else share * schedule.work(parent.emptied, least_present=recipe.least_present)
        meter = Meter(allowed)
        recording = None
        if workspace is not None:
            recording = Recording(workspace, checkpoint_interval, trace, parent.continues)
        given = Given(
            parent,
            slots,
            self.needs,
            seed=seed,
            meter=meter,
            recording=recording,
            progress=progress,
            trusted=self.reach is not Empirical,
        )
        outcome = self.unlearn(given)
        if outcome.sums is None:
            check_finite(weights_of(outcome.model))
        refused = parent.exact_refused or outcome.exact_refused or opened_beside(recipe)
        guarantee: Guarantee = Empirical()
        if outcome.exact and self.reach is Exact and refused is None:
            guarantee = Exact(recipe.base)
        elif outcome.certified is not None and self.reach is Certified:
            guarantee = outcome.certified
        cost = Cost(
            example_steps=meter.example_steps,
            seconds=round(meter.seconds if outcome.seconds is None else outcome.seconds, 3),
            allowed=allowed,
            prepaid=("checkpoints",) if Need.CHECKPOINTS in self.needs else (),
            row_sums=meter.row_sums if recipe.accumulated else None,
        )
        told: dict[str, Any] = {one.name: getattr(outcome, one.name) for one in fields(Upshot)}
        told |= {
            "model": outcome.model.eval(),
            "exact_refused": refused if self.reach is Exact else None,
            "seen": () if isinstance(guarantee, Exact) else (*self.seen(parent), *outcome.seen),
        }
        return Unlearned(**told, guarantee=guarantee, cost=cost)

    def seen(self, parent: Parent) -> tuple[str, ...]:
        """What the result still depends on that was computed from the forget set."""
        found = ["original weights"]
        if batch_norms(parent.model):
            found.append("batch-norm statistics of the original")
        if Need.FORGET in self.needs:
            found.append("forget examples")
        return tuple(found)

    @final
    def validate(self, parent: Parent, forget: np.ndarray, *, budget: float | None, seed: int) -> np.ndarray:
        """The forget set's slots, ascending; what cannot be done is refused before anything is written."""
        slots = np.unique(np.asarray(forget, dtype=np.int64))
        if len(slots) == 0:
            raise InvalidArgument("the forget set is empty: name at least one example that must go")
        count = len(parent.examples)
        if slots[0] < 0 or slots[-1] >= count:
            raise InvalidArgument(f"the forget set names slot {slots[-1]}, the data set has slots 0 to {count - 1}")
        twice = np.intersect1d(slots, parent.emptied)
        if len(twice):
            raise InvalidArgument(f"slot {twice[0]} is already forgotten by this run: leave it out of the forget set")
        if len(slots) + len(parent.emptied) >= count:
            raise InvalidArgument("the forget set leaves nobody: delete the model instead of unlearning")
        if parent.recipe.accumulated and not self.takes_sums:
            raise UnsupportedEver(
                f"method {self.name!r} on a run of model {parent.recipe.model!r}: its weights are a function of sums "
                "over rows, and moved ones are of no rows at all; use exact-replay, which takes rows out of the sums"
            )
        if parent.recipe.shards > 1 and not self.takes_shards:
            raise UnsupportedYet(
                f"method {self.name!r} on a run with {parent.recipe.shards} shards: approximate methods have no rule "
                "for several shards so far; use exact-replay or retrain"
            )
        if not isinstance(TASKS[parent.recipe.task], self.task):
            raise UnsupportedEver(
                f"method {self.name!r} on the task {parent.recipe.task!r}: it needs {self.task.takes}; use fine-tune, "
                "exact-replay or retrain, which take any task"
            )
        if budget is not None:
            if not self.takes_budget:
                raise InvalidArgument(
                    f"method {self.name!r} has no budget: it does all the work that its guarantee needs"
                )
            if not 0 <= budget <= 10:
                raise InvalidArgument(f"budget {budget:.4g} must be a share of the training's work from 0 to 10")
        if not 0 <= seed < 2**63:
            raise InvalidArgument(f"seed {seed} must be a whole number from 0 to 2^63 − 1")
        if Need.CHECKPOINTS in self.needs and parent.replay_refused is not None:
            raise RunError(
                f"method {self.name!r} cannot redo a part of this run, because {parent.replay_refused}: use `method` "
                "retrain, which needs no checkpoint"
            )
        if Need.CALIBRATION in self.needs and (parent.calibration is None or not len(parent.calibration.readable)):
            raise DataError(
                f"method {self.name!r} needs calibration rows, and this run has none: train on more rows, of which one "
                "in twenty is kept for that, or use another method"
            )
        self.refuse(parent, slots)
        return slots

    @property
    def told(self) -> MethodFile:
        """Name and fields, as run.json and records hold them."""
        return MethodFile(name=self.name, fields={item.name: _plain(getattr(self, item.name)) for item in fields(self)})


def _plain(value: Any) -> Any:
    """As JSON holds it: the words of choices, and of infinity, which JSON has no number for."""
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def check(holds: bool, rule: str) -> None:
    """A field's rule; the message states the value and the rule."""
    if not holds:
        raise InvalidArgument(rule)
