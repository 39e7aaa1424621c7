"""A figure over seeds: its mean and 95 % interval, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from expunge.core.values import Undecided

LEVEL = 0.95


@dataclass(frozen=True)
class Mean:
    """Mean of one value a seed, with Student's interval; of one value alone the interval is the value."""

    values: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        mean, count = float(np.mean(self.values)), len(self.values)
        spread = float(np.std(self.values, ddof=1)) if count > 1 else 0.0
        reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * spread / count**0.5 if count > 1 else 0.0
        return {"mean": mean, "low": mean - reach, "high": mean + reach, "n": count, "values": list(self.values)}


Figure = Mean | Undecided


def as_figure(values: Sequence[float]) -> Figure:
    """A figure of plain values."""
    return Mean(tuple(values)) if values else Undecided("nothing was measured")


def figure(measured: Sequence[Mapping[str, Any]]) -> Figure:
    """A figure of measurements as evaluations hold them; where one is undecided, so is the whole."""
    reason = next((str(item["undecided"]) for item in measured if "value" not in item), None)
    return as_figure([float(item["value"]) for item in measured]) if reason is None else Undecided(reason)


def gap_of_margins(probe: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """|mean margin − the references' mean| in units of the references' spread over the forget examples."""
    own, mean, unit = probe[model], probe["reference_mean"], probe["one_unit"]
    if "value" not in own:
        return own
    if mean is None or not unit:
        return {"undecided": "there are no references to compare with, or their margins do not vary"}
    return {"value": abs(own["value"] - mean) / unit}


def noise_of_margins(probe: Mapping[str, Any]) -> float | None:
    """What honest retrainings differ by: the mean gap of each to the others; None below two references."""
    values = [float(item["value"]) for item in probe["references"] if "value" in item]
    if len(values) < 2 or len(values) < len(probe["references"]) or not probe["one_unit"]:
        return None
    total = sum(values)
    gaps = [abs(value - (total - value) / (len(values) - 1)) for value in values]
    return sum(gaps) / len(gaps) / float(probe["one_unit"])
