"""Where the labels of a drawing go: beside their marks, never on each other; the same input, the same places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

GAP = 5.0
DISTANCES = (0.0, 10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0, 125.0, 150.0, 180.0, 215.0)
DIRECTIONS = tuple((math.cos(turn * math.pi / 8), math.sin(turn * math.pi / 8)) for turn in (0, 8, 12, 4, 14, 10, 2, 6))
NEAREST_LEADER = 14.0


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


@dataclass(frozen=True)
class Anchor:
    """A mark that wants a label of this size."""

    x: float
    y: float
    radius: float
    width: float
    height: float

    @property
    def box(self) -> Box:
        return Box(self.x - self.radius, self.y - self.radius, self.x + self.radius, self.y + self.radius)


@dataclass(frozen=True)
class Placed:
    """A label's box, and the line that leads to it where it stands away from its mark."""

    box: Box
    leader: tuple[float, float, float, float] | None


def place(anchors: Sequence[Anchor], bounds: Box, obstacles: Sequence[Box] = ()) -> list[Placed]:
    """One place for each anchor, in their order: the nearest one that is free, else the one least in the way."""
    marks = [anchor.box for anchor in anchors]
    taken: list[Box] = []
    found: list[Placed] = []
    for anchor in anchors:
        best: tuple[float, Box] | None = None
        for candidate in _candidates(anchor):
            if not bounds.holds(candidate):
                continue
            crowd = sum(candidate.grown(1.5).overlap(box) for box in taken)
            crowd += sum(candidate.overlap(box) for box in (*marks, *obstacles))
            if best is None or crowd < best[0] - 1e-9:
                best = (crowd, candidate)
            if crowd == 0:
                break
        box = best[1] if best is not None else _pushed(anchor, bounds)
        taken.append(box)
        found.append(Placed(box, _leader(anchor, box)))
    return found


def _candidates(anchor: Anchor) -> list[Box]:
    found: list[Box] = []
    for distance in DISTANCES:
        reach = anchor.radius + GAP + distance
        for across, down in DIRECTIONS:
            x = anchor.x + across * reach + _sign(across) * anchor.width / 2
            y = anchor.y + down * reach + _sign(down) * anchor.height / 2
            found.append(Box(x - anchor.width / 2, y - anchor.height / 2, x + anchor.width / 2, y + anchor.height / 2))
    return found


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
