"""Ways to unlearn, one idea per file. ``METHODS`` is the one visible table."""

from __future__ import annotations

from expunge.methods.contract import Method, Need, Parent, Unlearned
from expunge.methods.exact_replay import ExactReplay
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.random_labels import RandomLabels, SuccessiveRandomLabels
from expunge.methods.retrain import Retrain
from expunge.methods.saliency_unlearning import SaliencyUnlearning

METHODS: tuple[type[Method], ...] = (
    Retrain,
    ExactReplay,
    FineTune,
    GradientAscent,
    NegGradPlus,
    RandomLabels,
    SuccessiveRandomLabels,
    SaliencyUnlearning,
)

__all__ = ["METHODS", "Method", "Need", "Parent", "Unlearned"]
