"""What a study varies: axes as data, and the cells that they span."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import canonical_json, sha256
from expunge.data.source import Source
from expunge.data.splits import SplitBy
from expunge.study.training_table import TrainingFields

SEED = "{seed}"


@dataclass(frozen=True)
class Data:
    """A data set, how it is split, and beside it rows that every model is scored on."""

    name: str
    source: Source
    split_seed: int
    split_by: SplitBy
    test: str | None = None  # where rows lie that are scored, never split


@dataclass(frozen=True)
class Forget:
    """A forget set by its rules; ``{seed}`` in a rule makes one for each seed. ``data`` is what it is for, or all."""

    name: str
    title: str
    rules: tuple[str, ...]
    data: tuple[str, ...]
    references: int | None = None  # as many as the study's unless said

    def rules_of(self, seed: int) -> tuple[str, ...]:
        return tuple(rule.replace(SEED, str(seed)) for rule in self.rules)


@dataclass(frozen=True)
class Axis:
    """One thing that a study varies: ``data``, ``training``, ``forget``, ``budget``, or a field of its trainings."""

    name: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not self.values or any(value in self.values[:at] for at, value in enumerate(self.values)):
            raise InvalidArgument(f"axis {self.name!r} has the values {self.values}: give one at least, and each once")

    def called(self, value: Any) -> str:
        """A value in the name of a cell: by its own name; a number or a word only where there are several."""
        if isinstance(value, Data | TrainingFields | Forget):
            return value.name
        text = f"{value:.12g}" if isinstance(value, float) else str(value)
        return text.replace(".", "_") if len(self.values) > 1 else ""


@dataclass(frozen=True)
class Cell:
    """One value of each axis, by the axis's name; ``called`` is what each adds to the cell's name."""

    values: Mapping[str, Any]
    called: Mapping[str, str]

    @cached_property
    def key(self) -> str:
        """SHA-256 of the parts, as hex: what hangs on the same values of the same axes is the same."""
        return sha256(canonical_json([[axis, repr(value)] for axis, value in self.values.items()])).hex()

    @property
    def name(self) -> str:
        return "-".join(part for part in self.called.values() if part)

    def only(self, *axes: str) -> Cell:
        """The part on these axes."""
        return Cell({axis: self.values[axis] for axis in axes}, {axis: self.called[axis] for axis in axes})

    def without(self, *axes: str) -> Cell:
        """The part on all other axes."""
        return self.only(*(axis for axis in self.values if axis not in axes))

    @property
    def data(self) -> Data:
        return self.values["data"]

    @property
    def training(self) -> TrainingFields:
        """With the fields that are axes of their own."""
        fields = {axis: value for axis, value in self.values.items() if axis not in OWN}
        return self.values["training"].changed(fields)

    @property
    def forget(self) -> Forget:
        return self.values["forget"]

    @property
    def budget(self) -> float:
        return self.values["budget"]


OWN = ("data", "training", "forget", "budget")  # the others are fields of trainings


def span(axes: Sequence[Axis]) -> list[Cell]:
    """Every cell whose training and forget set are for its data, the last axis fastest."""
    found: list[Cell] = []
    for values in product(*(axis.values for axis in axes)):
        told = [(axis, value) for axis, value in zip(axes, values, strict=True)]
        cell = Cell({axis.name: value for axis, value in told}, {axis.name: axis.called(value) for axis, value in told})
        wanted = (cell.values["training"].data, cell.forget.data)
        if all(not names or cell.data.name in names for names in wanted):
            found.append(cell)
    return found
