"""The fields of a recipe as people say them: a word or a number each, alike in Python and at the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, TypeVar, cast

from expunge.core.errors import InvalidArgument
from expunge.core.wording import choice
from expunge.data.encoding import Encoding
from expunge.records.catalogue import ACCUMULATED_MODELS, LINEAR_TASKS, NUMBER_TASKS
from expunge.schedule.recipe import (
    Augmentation,
    Calendar,
    MemoryLayout,
    Optimiser,
    OptimiserName,
    Placement,
    Precision,
    Profile,
    Scalar,
    Voting,
)
from expunge.schedule.stepless import refuse_steps

LARGEST = 1e300
REALS = ("rate", "momentum", "weight_decay", "perturbation")
TIERED = "tiers:"
OF_OPTIMISER = ("rate", "momentum", "weight_decay", "calendar")
CHOICES: dict[str, type[Enum]] = {
    "placement": Placement,
    "voting": Voting,
    "precision": Precision,
    "profile": Profile,
    "layout": MemoryLayout,
}
WHOLE = ("crop", "category_buckets", "text_buckets", "least_present")
Chosen = TypeVar("Chosen", bound=Enum)


@dataclass(frozen=True)
class Usual:
    """What is taken where nothing is said, ``rate`` and ``decay`` with sgd."""

    epochs: int
    rate: float
    decay: float


OF_CLASSES = Usual(epochs=8, rate=0.05, decay=5e-4)
OF_NUMBERS = Usual(epochs=32, rate=0.02, decay=0.01)  # tables of numbers are small, and noise in them is learnt too


@dataclass(frozen=True, kw_only=True)
class RecipeFields:
    """What a recipe holds beside columns and classes, as far as it is said. Unsaid are: a model that fits the data,
    epochs, a rate, a decay and a momentum that fit task and optimiser, the fewest rows of a step and the layout that
    fit the model, and for the rest what a recipe has unless told.
    ``placement`` may be ``tiers:FILE``; ``stages`` are the epochs of each slice's stage, such as (9, 1) or ``9,1``.
    """

    model: str | Callable[..., Any] | None = None
    model_options: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    task: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    optimiser: OptimiserName | Optimiser | str | None = None
    rate: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    calendar: Calendar | str | None = None
    flip: bool | None = None
    crop: int | None = None
    shards: int | None = None
    slices: int | None = None
    placement: Placement | str | None = None
    stages: Sequence[int] | str | None = None
    voting: Voting | str | None = None
    seed: int | None = None
    least_present: int | None = None
    category_buckets: int | None = None
    text_buckets: int | None = None
    precision: Precision | str | None = None
    profile: Profile | str | None = None
    threads: int | None = None
    layout: MemoryLayout | str | None = None
    perturbation: float | None = None

    def __post_init__(self) -> None:
        for name in REALS:
            value = getattr(self, name)
            require(name, value, value is None or _is_real(value), "a number")
        for name in WHOLE:
            value = getattr(self, name)
            require(name, value, value is None or type(value) is int, "a whole number")
        require("flip", self.flip, self.flip is None or type(self.flip) is bool, "true or false")
        require("task", self.task, self.task is None or isinstance(self.task, str), "a word such as classification")
        options = self.model_options
        plain = isinstance(options, Mapping) and all(isinstance(value, Scalar) for value in options.values())
        require("model_options", options, plain, "names with a number, a word, or true or false each")

    def said(self) -> dict[str, Any]:
        """The fields as a recipe takes them, without those that nothing is said of and that the recipe knows itself."""
        found: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        found = {name: value for name, value in found.items() if value is not None}
        found["model_options"] = dict(self.model_options)
        refuse_steps(self.model, found)
        if self.model in ACCUMULATED_MODELS:
            return found
        for name in (*OF_OPTIMISER, "flip", "crop"):
            found.pop(name, None)
        if isinstance(self.placement, str) and self.placement.startswith(TIERED):
            found |= {"placement": Placement.TIERS, "tiers": self.placement.removeprefix(TIERED)}
            if self.slices not in (None, 1):
                raise InvalidArgument(
                    f"`slices` {self.slices} with `placement` {self.placement}: each tier is a slice; leave it out"
                )
        for name, kind in CHOICES.items():
            if name in found:
                found[name] = chosen(kind, found[name], name)
        usual = OF_NUMBERS if self.task in NUMBER_TASKS else OF_CLASSES
        in_all = usual.epochs
        if self.stages is not None:
            found["stages"] = stages = _stages(self.stages)
            in_all = sum(stages)
        found.setdefault("epochs", in_all)
        augmentation = Augmentation(flip=self.flip or False, crop=self.crop or 0)
        return {**found, "optimiser": self._optimiser(usual), "augmentation": augmentation}

    def _optimiser(self, usual: Usual) -> Optimiser:
        if isinstance(self.optimiser, Optimiser):
            said = next((name for name in OF_OPTIMISER if getattr(self, name) is not None), None)
            if said is not None:
                raise InvalidArgument(f"`{said}` is said beside a whole Optimiser, which has one: say it there")
            return self.optimiser
        name = chosen(OptimiserName, self.optimiser or OptimiserName.SGD, "optimiser")
        signs = name is OptimiserName.SIGN
        momentum = (0.0 if signs else 0.9) if self.momentum is None else self.momentum
        return Optimiser(
            name=name,
            rate=(usual.rate if name is OptimiserName.SGD else 0.001) if self.rate is None else self.rate,
            momentum=momentum,
            beta1=momentum if name in (OptimiserName.ADAM, OptimiserName.ADAMW) else 0.9,
            weight_decay=(0.0 if signs else usual.decay) if self.weight_decay is None else self.weight_decay,
            calendar=Calendar.COSINE if self.calendar is None else chosen(Calendar, self.calendar, "calendar"),
        )


def usual_model(encoding: Encoding, task: str | None) -> str:
    """cnn for images, mlp for everything else, linear for a linear task on it."""
    otherwise = "linear" if task in LINEAR_TASKS else "mlp"
    return "cnn" if encoding.is_image else otherwise


def chosen(kind: type[Chosen], value: Any, name: str) -> Chosen:
    """A member of an enum, given itself or by its word."""
    return value if isinstance(value, kind) else choice(kind, str(value), f"`{name}`")


def _stages(said: Sequence[int] | str) -> tuple[int, ...]:
    """Epochs one by one, as they are or in one word with commas."""
    each = [int(one) if one.isdecimal() else one for one in said.split(",")] if isinstance(said, str) else said
    plain = isinstance(each, list | tuple) and len(each) > 0 and all(type(one) is int and one > 0 for one in each)
    require("stages", said, plain, "whole numbers of epochs from 1, such as 9,1")
    return tuple(cast("Sequence[int]", each))


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > LARGEST


def require(name: str, value: Any, holds: bool, what: str) -> None:
    """Refuse a value of another kind than its argument has."""
    if not holds:
        raise InvalidArgument(f"`{name}` {value!r:.80} must be {what}")


def require_kind(name: str, value: Any, kinds: tuple[type, ...], what: str) -> None:
    """The same by its type; true and false are no numbers."""
    require(name, value, isinstance(value, kinds) and (type(value) is not bool or bool in kinds), what)


def require_interval(interval: int | None, name: str = "checkpoint_interval") -> None:
    """Steps between checkpoints, or how many are kept, where that is said."""
    require(name, interval, interval is None or (type(interval) is int and interval >= 1), "a whole number from 1")
