"""Where the labels of a drawing go: beside their marks, never on each other; the same input, the same places."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

GAP = 5.0
LAST, FEW = 400.0, 12
DISTANCES = (0.0, 10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0, 125.0, 150.0, 180.0, 215.0)
DIRECTIONS = tuple((math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in (0, 8, 12, 4, 14, 10, 2, 6))
NEAREST_LEADER = 14.0
LABEL, MARK, CROSSED = 1000.0, 20.0, 0.25  # burden of a square pixel covered, against one of a pixel further away


@dataclass(frozen=True)
class Box:
    """A rectangle by its corners."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Shared area; 0 where they do not touch."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def holds(self, other: Box) -> bool:
        return (
            self.left <= other.left
            and self.top <= other.top
            and self.right >= other.right
            and self.bottom >= other.bottom
        )

    def grown(self, by: float) -> Box:
        return Box(self.left - by, self.top - by, self.right + by, self.bottom + by)


def around(x: float, y: float, radius: float) -> Box:
    """The box of a round mark."""
    return Box(x - radius, y - radius, x + radius, y + radius)


@dataclass(frozen=True)
class Anchor:
    """A mark that wants a label of this size, between ``least`` and ``most`` where it may not lie anywhere."""

    x: float
    y: float
    radius: float
    width: float
    height: float
    least: float = -math.inf
    most: float = math.inf

    def within(self, bounds: Box) -> Box:
        """Where its label may lie: beyond the bounds too where that side of them is too narrow."""
        left, right = max(bounds.left, self.least), min(bounds.right, self.most)
        if math.isfinite(self.least):
            right = max(right, left + self.width)
        if math.isfinite(self.most):
            left = min(left, right - self.width)
        return Box(left, bounds.top, right, bounds.bottom)

    @property
    def box(self) -> Box:
        return around(self.x, self.y, self.radius)


@dataclass(frozen=True)
class Placed:
    """A label's box, and the line that leads to it where it stands away from its mark."""

    box: Box
    leader: tuple[float, float, float, float] | None


def place(anchors: Sequence[Anchor], bounds: Box, marks: Sequence[Box] = (), lines: Sequence[Box] = ()) -> list[Placed]:
    """One place for each anchor, in their order: near its mark and in nobody's way.

    Covering another label is worst, covering a mark is bad, crossing a thin line is worth a short way to avoid it.
    """
    solid = [*marks, *(anchor.box for anchor in anchors)]
    taken: list[Box] = []
    found: list[Placed] = []
    few = len(anchors) <= FEW
    for anchor in anchors:
        own_bounds = anchor.within(bounds)
        burden, box = math.inf, _pushed(anchor, own_bounds)
        for away, candidate in itertools.chain(_around(anchor), _anywhere(anchor, own_bounds) if few else ()):
            if burden <= away or (away == LAST and burden < LAST):
                break
            if not own_bounds.holds(candidate):
                continue
            own = away + sum(LABEL * candidate.grown(1.5).overlap(other) for other in taken)
            own += sum(MARK * candidate.overlap(other) for other in solid)
            own += sum(CROSSED * candidate.overlap(other) for other in lines)
            if own < burden - 1e-9:
                burden, box = own, candidate
        taken.append(box)
        found.append(Placed(box, _leader(anchor, box)))
    return found


def _around(anchor: Anchor) -> Iterator[tuple[float, Box]]:
    """Places in rings around the mark: how far away, and where."""
    for distance in DISTANCES:
        reach = anchor.radius + GAP + distance
        for across, down in DIRECTIONS:
            x = anchor.x + across * reach + _sign(across) * anchor.width / 2
            y = anchor.y + down * reach + _sign(down) * anchor.height / 2
            box = Box(x - anchor.width / 2, y - anchor.height / 2, x + anchor.width / 2, y + anchor.height / 2)
            yield distance, box


def _anywhere(anchor: Anchor, bounds: Box) -> Iterator[tuple[float, Box]]:
    """Places in rows from top to bottom, for corners where all rings run out of the drawing."""
    top = bounds.top
    while top + anchor.height <= bounds.bottom:
        left = bounds.left
        while left + anchor.width <= bounds.right:
            yield LAST, Box(left, top, left + anchor.width, top + anchor.height)
            left += 12.0
        top += anchor.height / 2


def _sign(value: float) -> float:
    return 0.0 if abs(value) < 0.2 else math.copysign(1.0, value)


def _pushed(anchor: Anchor, bounds: Box) -> Box:
    """Where nothing fits at all: inside the bounds as far as it goes."""
    left = max(bounds.left, min(anchor.x - anchor.width / 2, bounds.right - anchor.width))
    top = max(bounds.top, min(anchor.y - anchor.height / 2, bounds.bottom - anchor.height))
    return Box(left, top, left + anchor.width, top + anchor.height)


def _leader(anchor: Anchor, box: Box) -> tuple[float, float, float, float] | None:
    x, y = min(max(anchor.x, box.left), box.right), min(max(anchor.y, box.top), box.bottom)
    distance = math.hypot(x - anchor.x, y - anchor.y)
    if distance - anchor.radius < NEAREST_LEADER:
        return None
    edge = anchor.radius / distance
    return anchor.x + (x - anchor.x) * edge, anchor.y + (y - anchor.y) * edge, x, y
