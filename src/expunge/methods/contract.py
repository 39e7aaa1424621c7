"""The contract of a method: a frozen dataclass whose fields are its hyper-parameters, sealed by the base.

The sealed call validates, hands over only what ``needs`` names, meters, and returns ``Unlearned``. A method does not
know the probes, and no method can claim more than its ceiling.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from torch import nn

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.core.values import Cost, Empirical, Exact, Guarantee
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import TASKS
from expunge.tasks.task import Task
from expunge.train.examples import Examples
from expunge.train.log import Log
from expunge.train.loop import NoRecorder, Progress, Recorder
from expunge.train.meter import Meter
from expunge.train.recorder import FolderRecorder
from expunge.train.run import assemble
from expunge.train.state import check_finite, weights_of

DEFAULT_BUDGET = 0.10


class Need(Enum):
    """What a method may see. Nothing else is handed over."""

    FORGET = "forget"
    RETAIN = "retain"
    ORIGINAL = "original"
    INIT = "init"
    CHECKPOINTS = "checkpoints"
    GRADIENTS = "gradients"
    INPUTS = "inputs"
    CALIBRATION = "calibration"


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The run that is to forget, as a method may come to know it."""

    recipe: Recipe
    schedule: Schedule
    root: bytes
    beacon: bytes
    units: np.ndarray
    examples: Examples
    model: nn.Module
    weights_digest: str
    emptied: np.ndarray
    exact_refused: str | None = "the environment was not examined"  # why nothing computed here may be called exact
    continues: bool = True  # whether a checkpoint holds all of the model's state
    replay_refused: str | None = None  # why the ancestor's checkpoints may not be continued here
    folder: Path | None = None  # of the nearest trained or exact ancestor: its checkpoints may be reused
    ancestor_emptied: np.ndarray | None = None  # its empty chairs, where they are fewer than ``emptied``


@dataclass(frozen=True, kw_only=True)
class Unlearned:
    """What a method returns. ``alive`` says which shards have anybody left; ``seen`` what the result depends on."""

    model: nn.Module
    guarantee: Guarantee
    cost: Cost
    seen: tuple[str, ...]
    steps: int
    stopped: str | None = None
    alive: tuple[bool, ...] = (True,)
    exact_refused: str | None = None
    recorded: bool = False
    notices: tuple[str, ...] = ()
    reused: Mapping[int, int] = field(default_factory=dict[int, int])


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a method hands back to the sealed call."""

    model: nn.Module
    steps: int
    stopped: str | None = None
    alive: tuple[bool, ...] = (True,)
    exact: bool = False
    exact_refused: str | None = None
    recorded: bool = False  # whether checkpoints of a whole trajectory lie in the workspace
    notices: tuple[str, ...] = ()
    reused: Mapping[int, int] = field(default_factory=dict[int, int])
    seconds: float | None = None  # where it is not the meter's, because an interrupted run was continued


class Given:
    """The guarded view of a parent: reading what was not declared in ``needs`` is an error."""

    def __init__(
        self,
        parent: Parent,
        forget: np.ndarray,
        needs: frozenset[Need],
        *,
        seed: int,
        meter: Meter,
        workspace: Path | None,
        progress: Progress | None,
        checkpoint_interval: int | None,
        trace: bool,
    ) -> None:
        self.recipe = parent.recipe
        self.schedule = parent.schedule
        self.task: Task = TASKS[parent.recipe.task]
        self.device = parent.examples.device
        self.meter = meter
        self.workspace = workspace
        self.progress = progress
        self.checkpoint_interval = checkpoint_interval
        self.trace = trace
        self.count = len(parent.examples)
        self.seed = lineage_seed(
            unlearning_digest(parent.recipe.digest, bytes.fromhex(parent.weights_digest), seed),
            parent.root,
            parent.beacon,
        )
        self.root = parent.root
        self.beacon = parent.beacon
        self.units = parent.units
        self.exact_refused = parent.exact_refused
        self.continues = parent.continues
        self.used: set[Need] = set()
        self._parent = parent
        self._forget = forget
        self._needs = needs

    def _use(self, need: Need) -> None:
        if need not in self._needs:
            raise InvalidArgument(f"the method reads {need.value!r} without declaring it in `needs`: declare it")
        self.used.add(need)

    @property
    def forget(self) -> np.ndarray:
        """Slots that must go, ascending."""
        self._use(Need.FORGET)
        return self._forget

    @property
    def retain(self) -> np.ndarray:
        """Slots that stay, ascending; those forgotten earlier are in neither set."""
        self._use(Need.RETAIN)
        return np.setdiff1d(np.arange(self.count), np.union1d(self._forget, self._parent.emptied))

    @property
    def emptied(self) -> np.ndarray:
        """Every chair that is empty once F is gone. Positions tell nothing of anybody's content."""
        return np.union1d(self._forget, self._parent.emptied)

    @property
    def newly_emptied(self) -> np.ndarray:
        """The chairs that are empty now and were not in the ancestor whose checkpoints may be reused."""
        before = self._parent.emptied if self._parent.ancestor_emptied is None else self._parent.ancestor_emptied
        return np.setdiff1d(self.emptied, before)

    @property
    def examples(self) -> Examples:
        """Rows behind a guard that opens for the declared sets only."""
        slots: list[np.ndarray] = []
        if Need.FORGET in self._needs:
            slots.append(self._forget)
        if Need.RETAIN in self._needs:
            slots.append(np.setdiff1d(np.arange(self.count), self.emptied))
        joined = np.concatenate(slots) if slots else np.zeros(0, dtype=np.int64)
        return self._parent.examples.only(joined)

    def student(self) -> nn.Module:
        """A copy of the original's weights to work on."""
        return deepcopy(self._parent.model)

    @property
    def original(self) -> nn.Module:
        """A frozen copy of the original in eval mode."""
        self._use(Need.ORIGINAL)
        teacher = deepcopy(self._parent.model).eval()
        return teacher.requires_grad_(False)

    def assemble(self, members: list[nn.Module | None]) -> nn.Module:
        """The shards' models as one."""
        return assemble(self.recipe, members)

    def declare(self, need: Need) -> None:
        """Say that a need is made use of that is not a value by itself (gradients, checkpoints, init)."""
        self._use(need)

    @property
    def ancestor(self) -> Path | None:
        """Folder of the nearest trained or exact ancestor."""
        self._use(Need.CHECKPOINTS)
        return self._parent.folder

    def recorder(self, total: int) -> Recorder:
        """Keeps one state of an unlearning loop, so that a killed run continues."""
        if self.workspace is None:
            return NoRecorder()
        return FolderRecorder(
            self.workspace,
            shard=0,
            total=total,
            log=Log(self.workspace / "log.jsonl"),
            interval=self.checkpoint_interval,
            latest_only=True,
            restores=self.continues,
        )


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Base of all methods. Subclasses set the class variables and write ``unlearn``; the call is sealed."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[frozenset[Need]]
    ceiling: ClassVar[type[Exact] | type[Empirical]] = Empirical
    takes_budget: ClassVar[bool] = True
    takes_shards: ClassVar[bool] = False
    citation: ClassVar[str] = ""

    @abstractmethod
    def unlearn(self, given: Given) -> Outcome:
        """Do the work. Called by the sealed call only."""

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
        trace: bool = True,
    ) -> Unlearned:
        slots = self.validate(parent, forget, budget=budget, seed=seed)
        share = (DEFAULT_BUDGET if budget is None else budget) if self.takes_budget else None
        recipe, schedule = parent.recipe, parent.schedule
        allowed = None if share is None else share * schedule.work(parent.emptied, least_present=recipe.least_present)
        meter = Meter(allowed)
        given = Given(
            parent,
            slots,
            self.needs,
            seed=seed,
            meter=meter,
            workspace=workspace,
            progress=progress,
            checkpoint_interval=checkpoint_interval,
            trace=trace,
        )
        outcome = self.unlearn(given)
        check_finite(weights_of(outcome.model))
        refused = parent.exact_refused or outcome.exact_refused
        earned_exact = outcome.exact and self.ceiling is Exact and refused is None
        cost = Cost(
            example_steps=meter.example_steps,
            seconds=round(meter.seconds if outcome.seconds is None else outcome.seconds, 3),
            allowed=allowed,
            prepaid=("checkpoints",) if Need.CHECKPOINTS in self.needs else (),
        )
        return Unlearned(
            model=outcome.model.eval(),
            guarantee=Exact() if earned_exact else Empirical(),
            cost=cost,
            seen=self.seen(parent),
            steps=outcome.steps,
            stopped=outcome.stopped,
            alive=outcome.alive,
            exact_refused=refused if self.ceiling is Exact else None,
            recorded=outcome.recorded,
            notices=outcome.notices,
            reused=outcome.reused,
        )

    def seen(self, parent: Parent) -> tuple[str, ...]:
        """What the result still depends on that was computed from the forget set."""
        found = ["original weights"]
        if any(isinstance(m, nn.modules.batchnorm._NormBase) for m in parent.model.modules()):  # pyright: ignore[reportPrivateUsage]
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
        if parent.recipe.shards > 1 and not self.takes_shards:
            raise UnsupportedYet(
                f"method {self.name!r} on a run with {parent.recipe.shards} shards: approximate methods have no rule "
                "for several shards so far; use exact-replay or retrain"
            )
        if budget is not None:
            if not self.takes_budget:
                raise InvalidArgument(f"method {self.name!r} has no budget: it does all the work that exactness needs")
            if not 0 <= budget <= 10:
                raise InvalidArgument(f"budget {budget:.4g} must be a share of the training's work from 0 to 10")
        if not 0 <= seed < 2**63:
            raise InvalidArgument(f"seed {seed} must be a whole number from 0 to 2^63 − 1")
        if Need.CHECKPOINTS in self.needs and parent.replay_refused is not None:
            raise RunError(
                f"method {self.name!r} cannot redo a part of this run, because {parent.replay_refused}: use --method "
                "retrain, which needs no checkpoint"
            )
        return slots

    def as_json(self) -> dict[str, Any]:
        """Name and fields, as run.json and records hold them."""
        return {
            "name": self.name,
            "fields": {
                item.name: value.value if isinstance(value := getattr(self, item.name), Enum) else value
                for item in fields(self)
            },
        }


def check(holds: bool, rule: str) -> None:
    """A field's rule; the message states the value and the rule."""
    if not holds:
        raise InvalidArgument(rule)
