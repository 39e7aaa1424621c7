"""When forgetting by small steps may stop: rows that must go are answered like rows that were never trained on.

No reference and no test row has a part in it. It is no verdict: a model may pass that has forgotten nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from expunge.core.statistics.arrays import Array
from expunge.core.statistics.roc import delong_interval
from expunge.core.values import Figure, Undecided

LOOKS = 10
"""At most, the one before the first step among them."""
FEWEST, MOST = 480, 800
"""Rows a side. Where the area is .5, one look passes with probability .957 at 480, .966 at 500, .9994 at 800."""
TOLERANCE = 0.09
LOST = 0.01


@dataclass(frozen=True)
class StopLook:
    """The area of the attack by loss, and the shares of forgotten, matched and retained rows that are answered right.

    ``area`` has its interval at level 1 − .05 / ``LOOKS``, so that all looks together err as one at .95 does.
    """

    area: Figure
    forgotten: float
    matched: float
    retained: float

    @property
    def alike(self) -> bool:
        """Whether the whole interval lies within ``TOLERANCE`` of .5."""
        area = self.area
        return not isinstance(area, Undecided) and max(0.5 - area.low, area.high - 0.5) <= TOLERANCE + 1e-9

    @property
    def harder(self) -> bool:
        """Whether the forgotten rows are answered worse than those they are held against."""
        return self.forgotten < self.matched

    def keeps(self, first: StopLook) -> bool:
        """Whether retained rows are answered as in the first look, up to a point of accuracy."""
        return self.retained >= first.retained - LOST - 1e-9

    def passes(self, first: StopLook) -> bool:
        """Whether to stop here."""
        return self.alike and self.keeps(first)

    def __str__(self) -> str:
        if isinstance(self.area, Undecided):
            return self.area.reason
        return (
            f"AUC {self.area.value:.3f} [{self.area.low:.3f}, {self.area.high:.3f}] of {self.area.n // 2} rows a side"
        )


def look(forgotten: Mapping[str, Array], matched: Mapping[str, Array], retained: Mapping[str, Array]) -> StopLook:
    """Of a model's signals on rows that must go, rows never trained on that they are held against, and some that stay.

    Higher area = the forgotten rows are known better; with fewer than ``FEWEST`` rows a side it is undecided.
    """
    fewest = min(len(forgotten["loss"]), len(matched["loss"]))
    area = (
        delong_interval(-forgotten["loss"], -matched["loss"], 1 - 0.05 / LOOKS)
        if fewest >= FEWEST
        else Undecided(f"{fewest} matched rows a side, the stop rule needs {FEWEST}")
    )
    return StopLook(area, *(float(one["correct"].mean()) for one in (forgotten, matched, retained)))
