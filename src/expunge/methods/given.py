"""What a method is given: its parent's rows, models and streams, behind a guard that opens for what it declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream, lineage_seed, stable_order, unlearning_digest
from expunge.core.values import Progress
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.models.resolver import build
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.tasks.task import Batch, Task
from expunge.train.examples import Examples
from expunge.train.loading import assemble
from expunge.train.log import RunLog
from expunge.train.loop import Recorder
from expunge.train.meter import Meter
from expunge.train.recorder import FolderRecorder
from expunge.train.shards import Recording

CHUNK = 256  # rows at once where nothing depends on their number


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
    calibration: Examples | None = None  # rows never trained on, and of nobody forgotten by name; never the holdout
    continues: bool = True  # whether a checkpoint holds all of the model's state
    replay_refused: str | None = None  # why the ancestor's checkpoints may not be continued here
    folder: Path | None = None  # of the nearest trained or exact ancestor: its checkpoints may be reused
    ancestor_emptied: np.ndarray | None = None  # its empty chairs, where they are fewer than ``emptied``
    initial: Callable[[], nn.Module] | None = None  # makes the initial weights; by the recipe unless said
    account: Mapping[str, Any] | None = None  # what certified removals have spent so far
    noise: np.ndarray | None = None  # the secret perturbation that the run was trained under
    tiers: np.ndarray | None = None  # of the units, where the recipe deals by them


def calibration_of(
    recipe: Recipe, rows: Mapping[Split, Dataset], released: Mapping[str, Sequence[int]], device: torch.device
) -> Examples:
    """The calibration rows, without those of people forgotten by name: these may be gone when it is done again."""
    found = Examples(recipe, rows[Split.CALIBRATION], device)
    return found.only(np.setdiff1d(found.readable, released.get(Split.CALIBRATION.value, ())))


def in_batches(examples: Examples, slots: np.ndarray, size: int = CHUNK) -> Iterator[Batch]:
    """Some rows as they are, a few at a time."""
    for start in range(0, len(slots), size):
        yield examples.batch(slots[start : start + size])


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
        recording: Recording | None = None,
        progress: Progress | None = None,
        trusted: bool = False,
    ) -> None:
        self.recipe = parent.recipe
        self.schedule = parent.schedule
        self.task: Task = TASKS[parent.recipe.task]
        self.device = parent.examples.device
        self.meter = meter
        self.recording = recording
        self.progress = progress
        self.count = len(parent.examples)
        self.seed = lineage_seed(
            unlearning_digest(parent.recipe.digest, bytes.fromhex(parent.weights_digest), seed),
            parent.root,
            parent.beacon,
        )
        self.exact_refused = parent.exact_refused
        self.used: set[Need] = set()
        self._parent = parent
        self._forget = forget
        self._needs = needs
        self._trusted = trusted
        self._examples: Examples | None = None

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
    def calibration(self) -> Examples:
        """Rows that were never trained on and that no probe reads; ``readable`` names those that may be read."""
        self._use(Need.CALIBRATION)
        assert self._parent.calibration is not None, "the sealed call lets no method pass that lacks what it needs"
        return self._parent.calibration

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
    def account(self) -> Mapping[str, Any] | None:
        """What certified removals have spent so far."""
        self._trust("the account of removals")
        return self._parent.account

    @property
    def noise(self) -> np.ndarray | None:
        """The secret perturbation that the run was trained under."""
        self._trust("the secret noise")
        return self._parent.noise

    def _trust(self, what: str) -> None:
        if not self._trusted:
            raise InvalidArgument(f"the method reads {what}, which only exact and certified methods are given")

    @property
    def examples(self) -> Examples:
        """Rows behind a guard that opens for the declared sets only."""
        if self._examples is not None:
            return self._examples
        slots: list[np.ndarray] = []
        if Need.FORGET in self._needs:
            slots.append(self._forget)
        if Need.RETAIN in self._needs:
            slots.append(np.setdiff1d(np.arange(self.count), self.emptied))
        joined = np.concatenate(slots) if slots else np.zeros(0, dtype=np.int64)
        self._examples = self._parent.examples.only(joined)
        return self._examples

    @property
    def subtracted(self) -> Examples:
        """Rows that stay and rows that go, for whoever takes these out of sums."""
        self._trust("the rows that go")
        before = self._parent.ancestor_emptied
        gone = self._parent.emptied if before is None else before
        return self._parent.examples.only(np.setdiff1d(np.arange(self.count), gone))

    def schedule_of(self, recipe: Recipe) -> Schedule:
        """Who would sit where under another recipe on the same data."""
        parent = self._parent
        return Schedule.of(recipe, parent.root, parent.units, parent.beacon, parent.tiers)

    def student(self) -> nn.Module:
        """A copy of the original's weights to work on."""
        return deepcopy(self._parent.model)

    @property
    def original(self) -> nn.Module:
        """A frozen copy of the original in eval mode."""
        self._use(Need.ORIGINAL)
        teacher = deepcopy(self._parent.model).eval()
        return teacher.requires_grad_(False)

    def initial(self) -> nn.Module:
        """The recipe's initial weights, drawn again."""
        self._use(Need.INIT)
        made = self._parent.initial() if self._parent.initial else build(self.recipe, self.schedule.seed)
        return made.to(self.device)

    def stream(self, purpose: str, index: int = 0) -> Stream:
        """Random words for this request under ``unlearn/purpose``; the method's name has no part in them."""
        return Stream(self.seed, f"unlearn/{purpose}", 0, index)

    def sample(self, slots: np.ndarray, count: int) -> np.ndarray:
        """``count`` of some slots, ascending, by the same keys whoever asks."""
        if count >= len(slots):
            return np.sort(slots)
        keys = self.stream("sample").words(self.count)
        return np.sort(slots[stable_order(keys[slots])][: max(0, count)])

    def batches(self, slots: np.ndarray, size: int = CHUNK) -> Iterator[Batch]:
        """Some rows as they are, a few at a time."""
        return in_batches(self.examples, slots, size)

    def affordable(self, count: int, thirds_each: int) -> int:
        """How many of ``count`` rows the rest of the budget covers at so many thirds of an example-step each."""
        covered = self.meter.left / thirds_each
        return count if covered >= count else max(0, int(covered))

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
        if self.recording is None:
            return Recorder()
        return FolderRecorder(
            self.recording.folder,
            shard=0,
            total=total,
            log=RunLog(self.recording.folder / "log.jsonl"),
            interval=self.recording.interval,
            kept=(),
            restores=self.recording.restores,
        )
