"""Fine-tuning by the signs of the gradient."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.methods.contract import check
from expunge.methods.fields import Between, tuned
from expunge.methods.fine_tune import FineTune
from expunge.schedule.recipe import OptimiserName


@dataclass(frozen=True, kw_only=True)
class SignDescent(FineTune):
    """Fine-tune on the retain set by the sign of each gradient coordinate alone (Fan et al., 2024).

    The lower level of the search for worst-case forget sets, as a method of its own. Without momentum and decay no
    weight moves by more than the rate in a step, and the scale of the loss does not matter.
    """

    name = "sign-descent"
    aliases = ()
    citation = "Fan et al., ECCV 2024"
    rate: float = tuned(1e-4, Between(1e-6, 1e-2))
    momentum: float = 0.0
    weight_decay: float | None = 0.0
    optimiser: OptimiserName = OptimiserName.SIGN

    def __post_init__(self) -> None:
        super().__post_init__()
        way = "signs know neither momentum nor decay; use fine-tune with another optimiser"
        check(self.momentum == 0, f"momentum {self.momentum} must be 0: {way}")
        check(self.weight_decay == 0, f"weight_decay {self.weight_decay} must be 0: {way}")
        check(self.optimiser is OptimiserName.SIGN, f"optimiser {self.optimiser.value} must be sign: {way}")
