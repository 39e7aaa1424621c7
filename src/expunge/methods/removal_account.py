"""What certified removals have spent: bounds on the gradient that they left, class by class, kept in run.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.special import log_ndtr, ndtr

from expunge.core.errors import DataError, UnsupportedEver
from expunge.train.newton_removal import Removal, RemovalBound

KIND = "gradient-residual/1"


@dataclass(frozen=True, kw_only=True)
class Account:
    """Sums only grow. ``training`` is the gradient that training left, ‖∇L_b(w)‖ on all rows, for every class."""

    decay: float
    training: tuple[float, ...]
    spent: tuple[float, ...]
    removals: tuple[Mapping[str, Any], ...] = ()

    @property
    def worst(self) -> float:
        """The most that any class has spent."""
        return max(self.spent)

    @classmethod
    def opened(cls, left: torch.Tensor, decay: float) -> Account:
        """A new account, with the gradient that training left: it is never 0, and missing in the usual accounts."""
        found = tuple(rounded_up(float(value)) for value in torch.linalg.vector_norm(left, dim=1))
        return cls(decay=decay, training=found, spent=found)

    def after(self, removal: Removal, forgotten: int, retained: int, bound: RemovalBound) -> Account:
        """The account once a removal is paid."""
        added = [rounded_up(float(value)) for value in removal.added]
        entry = {
            "forgotten": forgotten,
            "retained": retained,
            "steps": removal.steps,
            "bound": bound.value,
            "added": added,
        }
        spent = tuple(before + more for before, more in zip(self.spent, added, strict=True))
        return replace(self, spent=spent, removals=(*self.removals, entry))

    def as_json(self) -> dict[str, Any]:
        """Not by the form: the parent's account is refused with sentences of its own, about this request."""
        return {
            "kind": KIND,
            "decay": self.decay,
            "training": list(self.training),
            "spent": list(self.spent),
            "removals": [dict(entry) for entry in self.removals],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, decay: float, classes: int) -> Account:
        """The parent's account, which must be about the same objective, and add up.

        Not by the form, whose refusals know the file alone: these also say what to ask for instead.
        """
        if not isinstance(value, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise DataError("the account of this run is no table: run.json was altered")
        if value.get("kind") != KIND or value.get("decay") != decay:
            raise UnsupportedEver(
                f"the account of this run is about decay {value.get('decay')} and kind {value.get('kind')!r}, the "
                f"request about decay {decay} and kind {KIND!r}: leave decay out, or use `method` retrain"
            )
        try:
            training = tuple(float(item) for item in value["training"])
            spent = tuple(float(item) for item in value["spent"])
            removals = tuple(value["removals"])
            added = [tuple(float(item) for item in entry["added"]) for entry in removals]
            sums = [sum(parts) for parts in zip(training, *added, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the account of this run cannot be read ({error}): run.json was altered") from None
        whole = len(spent) == len(sums) == classes and bool(removals)
        parts = [item for entry in (training, spent, *added) for item in entry]
        if not whole or not all(math.isfinite(item) and item >= 0 for item in parts):
            raise DataError(
                f"the account of this run is not one of {classes} classes and their sums: run.json was altered"
            )
        if not all(math.isclose(said, true, rel_tol=1e-9) for said, true in zip(spent, sums, strict=True)):
            raise DataError("the account of this run does not add up: run.json was altered")
        return cls(decay=decay, training=training, spent=spent, removals=removals)


def rounded_up(value: float) -> float:
    """To two digits, never down: the account is published, and its last digits would be a function of who left."""
    if not value > 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / unit * (1 - 1e-12)) * unit


def allowance(sigma: float, epsilon: float, delta: float, classes: int) -> float:
    """What each class may spend, at its even share of ε and δ.

    ``σε/c`` with ``c = √(2 ln(1.5/δ))`` where that holds, which is for small ε; never more than the largest shift of
    Gaussian noise that is (ε, δ)-indistinguishable by the exact profile (Balle & Wang, 2018).
    """
    share, part = epsilon / classes, delta / classes
    return min(sigma * share / math.sqrt(2.0 * math.log(1.5 / part)), sigma * _largest_shift(share, part))


def _largest_shift(epsilon: float, delta: float) -> float:
    """By bisection, from below: shifts of noise of variance 1."""
    low, high = 0.0, 1.0
    while profile(high, epsilon) <= delta:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if profile(middle, epsilon) <= delta else (low, middle)
    return low


def profile(shift: float, epsilon: float) -> float:
    """The smallest δ for which N(0, 1) and N(shift, 1) are (ε, δ)-indistinguishable."""
    if shift == 0:
        return 0.0
    near, far = shift / 2 - epsilon / shift, -shift / 2 - epsilon / shift
    return float(ndtr(near) - np.exp(epsilon + log_ndtr(far)))
