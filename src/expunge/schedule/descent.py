"""How steps are taken: the optimiser, its calendar, and what is done to images on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import Enum

from expunge.core.errors import InvalidArgument

MOST_SAMPLES = 10_000
MOST_WORK = 10_000_000  # milestones looked at for all samples together


class OptimiserName(Enum):
    SGD = "sgd"
    ADAM = "adam"  # decay is part of the gradient
    ADAMW = "adamw"  # decay shrinks the weights by itself
    SIGN = "sign"  # the sign of the gradient, nothing else


class Calendar(Enum):
    """How the rate moves over the planned steps: a function of the calendar step alone."""

    CONSTANT = "constant"
    COSINE = "cosine"
    STEP = "step"
    WARM_UP = "warm-up"  # rises along a line over the first half, falls along one over the second


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """SGD with momentum, or AdamW, and the rate's calendar. Weight decay is the optimiser's own."""

    name: OptimiserName = OptimiserName.SGD
    rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    calendar: Calendar = Calendar.COSINE
    milestones: tuple[float, ...] = (0.5, 0.75)
    decay: float = 0.1

    def __post_init__(self) -> None:
        check(math.isfinite(self.rate) and self.rate >= 0, f"rate {self.rate} must be a finite number from 0")
        for name in ("momentum", "beta1", "beta2"):
            value = getattr(self, name)
            check(0 <= value < 1, f"{name} {value} must lie in [0, 1)")
        check(
            math.isfinite(self.weight_decay) and self.weight_decay >= 0,
            f"weight decay {self.weight_decay} must be a finite number from 0",
        )
        check(
            self.name is not OptimiserName.SIGN or self.momentum == self.weight_decay == 0,
            f"momentum {self.momentum} and weight decay {self.weight_decay} have no part in signs: set both to 0",
        )
        check(self.epsilon > 0, f"epsilon {self.epsilon} must be above 0")
        check(0 <= self.decay <= 1, f"decay {self.decay} must lie in [0, 1]")
        for item in fields(self):  # 1 and 1.0 are one rate, and one digest
            if item.type == "float":
                object.__setattr__(self, item.name, float(getattr(self, item.name)))
        check(
            all(0 < share < 1 for share in self.milestones) and list(self.milestones) == sorted(self.milestones),
            f"milestones {self.milestones} must be ascending shares of the training between 0 and 1",
        )

    def rate_at(self, step: int, total: int) -> float:
        """The rate of one calendar step; skipped steps consume theirs."""
        if self.calendar is Calendar.CONSTANT:
            return self.rate
        if self.calendar is Calendar.COSINE:
            return self.rate * 0.5 * (1.0 + math.cos(math.pi * step / total))
        if self.calendar is Calendar.WARM_UP:
            return self.rate * (1.0 - abs(2 * (step + 1) / (total + 1) - 1.0))
        passed = sum(step >= share * total for share in self.milestones)
        return self.rate * self.decay**passed

    def mean_rate(self, total: int) -> float:
        """Mean of the rate over a calendar of ``total`` steps; long ones are looked at in 10,000 places or fewer."""
        if self.calendar is Calendar.CONSTANT or total < 1:
            return self.rate
        count = min(total, MOST_SAMPLES, max(1, MOST_WORK // (1 + len(self.milestones))))
        return sum(self.rate_at((2 * at + 1) * total // (2 * count), total) for at in range(count)) / count


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random horizontal flips, and crops after padding by ``crop`` pixels; drawn per slot and epoch."""

    flip: bool = False
    crop: int = 0

    def __post_init__(self) -> None:
        check(0 <= self.crop <= 64, f"crop padding {self.crop} must lie between 0 and 64 pixels")

    @property
    def active(self) -> bool:
        return self.flip or self.crop > 0


def check(holds: bool, rule: str) -> None:
    """A field's rule, in words."""
    if not holds:
        raise InvalidArgument(rule)
