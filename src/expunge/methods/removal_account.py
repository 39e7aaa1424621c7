"""What certified removals have spent: bounds on the gradient that they left, class by class, kept in run.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from expunge.core.errors import UnsupportedEver
from expunge.train.newton_removal import Bound, Removal

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
        found = tuple(float(value) for value in torch.linalg.vector_norm(left, dim=1))
        return cls(decay=decay, training=found, spent=found)

    def after(self, removal: Removal, forgotten: int, retained: int, bound: Bound) -> Account:
        """The account once a removal is paid."""
        added = [float(value) for value in removal.added]
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
        return {
            "kind": KIND,
            "decay": self.decay,
            "training": list(self.training),
            "spent": list(self.spent),
            "removals": [dict(entry) for entry in self.removals],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], *, decay: float) -> Account:
        """The parent's account, which must be about the same objective."""
        if value.get("kind") != KIND or value.get("decay") != decay:
            raise UnsupportedEver(
                f"the account of this run is about decay {value.get('decay')} and kind {value.get('kind')!r}, the "
                f"request about decay {decay} and kind {KIND!r}: leave decay out, or use --method retrain"
            )
        return cls(
            decay=decay,
            training=tuple(float(item) for item in value["training"]),
            spent=tuple(float(item) for item in value["spent"]),
            removals=tuple(value["removals"]),
        )


def allowance(sigma: float, epsilon: float, delta: float, classes: int) -> float:
    """What each class may spend: ``σε/c`` with ``c = √(2 ln(1.5/δ))``, at its even share of ε and δ."""
    return sigma * (epsilon / classes) / math.sqrt(2.0 * math.log(1.5 * classes / delta))
