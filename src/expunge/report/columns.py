"""The columns of a leaderboard's tables: what is judged, and what is printed beside it."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.records.over_trainings import DIVERGING, TOLD_APART
from expunge.report.study_text import STYLES


@dataclass(frozen=True)
class Heading:
    """A column; ``first`` is the direction in which a first click sorts."""

    key: str
    title: str
    unit: str
    first: str


HEADINGS = (
    Heading("method", "Method", "", "ascending"),
    Heading("guarantee", "Guarantee", "", "descending"),
    Heading("verdict", "Verdict", "seeds", "descending"),
    Heading("forgetting-gap", "Forgetting gap", "spreads", "ascending"),
    Heading("utility-gap", "Utility gap", "points lost", "ascending"),
    Heading("average-gap", "Avg. gap", "points", "ascending"),
    Heading("forget-accuracy", "Forget accuracy", "%, against retrained", "descending"),
    Heading("test-accuracy", "Test accuracy", "%", "descending"),
    Heading("membership-classifier", "Membership", "% seen as strangers", "descending"),
    Heading("cost", "Cost", "% of training", "ascending"),
    Heading("seconds", "Time", "seconds", "ascending"),
    Heading("tuning", "Tuning", "", "ascending"),
)
MEMORY = Heading("memory", "Memory left", "%", "ascending")
JUDGED = (
    MEMORY,
    Heading("typicality", "Typicality", "log of distance", "ascending"),
    Heading("retain-r2", "Retain R²", "", "descending"),
    Heading("test-r2", "Test R²", "", "descending"),
    Heading("head-refit", "Head refit", "% right", "ascending"),
)
"""What may be judged and is measured in some studies only."""
METHOD = Heading("concluded", "Verdict on the method", "over trainings", "descending")
BESIDE = (
    Heading("test-file-accuracy", "Test file", "% right", "descending"),
    Heading("test-file-mae", "Test file", "mean absolute error", "ascending"),
    Heading("test-file-r2", "Test file", "R²", "descending"),
    Heading("mean-margin", "Mean margin", "forget set", "ascending"),
    Heading("margin-above-holdout", "Margin", "above the holdout’s", "ascending"),
    Heading("loss-threshold", "Loss attack", "AUC", "ascending"),
    Heading("relative-membership", "RMIA", "AUC", "ascending"),
    Heading("difference", "Difference", "AUC, both versions known", "ascending"),
    Heading("tug-of-war", "Tug-of-war", "1 as retrained", "descending"),
    Heading("per-class-accuracy", "Worst class", "points against retrained", "descending"),
    Heading("calibration", "Calibration error", "%", "ascending"),
    Heading("brier-score", "Brier score", "", "ascending"),
    Heading("test-loss", "Loss", "holdout", "ascending"),
    Heading("forget-error", "Forget error", "mean, absolute", "descending"),
    Heading("retain-error", "Retain error", "mean, absolute", "ascending"),
    Heading("test-error", "Test error", "mean, absolute", "ascending"),
    Heading("forget-r2", "Forget R²", "", "ascending"),
    Heading("head-refit-margin", "Head refit", "mean margin", "ascending"),
    Heading("relearn", "Relearning", "log of steps", "descending"),
    Heading("relearn-log-rank", "Relearning", "log-rank z", "descending"),
    Heading("relearn-transfer", "Relearning", "rise on the other half", "ascending"),
    Heading("likelihood-ratio", "LiRA", "AUC", "ascending"),
    Heading("likelihood-ratio-offline", "LiRA offline", "AUC", "ascending"),
    Heading("epsilon-lower-bound", "ε", "at least", "ascending"),
    Heading(TOLD_APART, "U-LiRA", "right, .5 as retrained", "ascending"),
    Heading(DIVERGING, "KLoM", "nats above the null", "ascending"),
    Heading("weight-distance", "Weights", "distance", "ascending"),
    Heading("feature-similarity", "Features", "CKA", "descending"),
    Heading("activation-distance", "Features", "distance", "ascending"),
)
"""What decides nothing; probes of third parties follow under their names."""
FIGURE_KEYS = tuple(heading.key for heading in HEADINGS if heading.key in STYLES)
OLDER = ("forgetting-gap", "average-gap", "membership-classifier", "mean-margin", "loss-threshold")
"""Printed beside where it was asked how much of the memory is left; earlier studies are told by the first three."""
KNOWN = {heading.key: heading for heading in (*HEADINGS, *JUDGED, METHOD, *BESIDE)}


def heading_of(key: str) -> Heading:
    """Of a figure's column."""
    return KNOWN.get(key) or Heading(key, key, "", "descending")
