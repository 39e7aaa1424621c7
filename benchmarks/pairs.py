"""Two ways of doing the same work, in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def ratios(first: Callable[[], None], second: Callable[[], None], pairs: int) -> list[float]:
    """first / second, pair by pair, after one warm-up of each; every other pair goes second first."""
    first()
    second()
    found: list[float] = []
    for number in range(pairs):
        if number % 2:
            below = seconds(second)
            above = seconds(first)
        else:
            above = seconds(first)
            below = seconds(second)
        found.append(above / below)
    return found


def ratio_row(name: str, found: list[float], bound: float) -> dict[str, object]:
    """A figure with its bound; the median decides."""
    value = statistics.median(found)
    return {
        "name": name,
        "value": value,
        "lowest": min(found),
        "highest": max(found),
        "pairs": len(found),
        "unit": "ratio",
        "bound": bound,
        "kept": value <= bound,
    }
