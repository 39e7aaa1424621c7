"""The cost meter: example-steps, counted in exact thirds, row-sums, and seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager


class Meter:
    """Counts work. Forward and backward of one example is 1, a forward pass alone 1/3.

    A row-sum is one row added to sums, or subtracted from them; it is never converted into the other.
    """

    def __init__(self, allowed: float | None = None) -> None:
        self.thirds = 0
        self.row_sums = 0
        self.allowed = allowed
        self.kept = 0  # thirds held back for work that is sure to come
        self._seconds_before = 0.0
        self._started = time.perf_counter()

    def steps(self, examples: int) -> None:
        """Examples that went forward and backward."""
        self.thirds += 3 * examples

    def forwards(self, examples: int) -> None:
        """Examples that went forward only."""
        self.thirds += examples

    @property
    def example_steps(self) -> float:
        whole, rest = divmod(self.thirds, 3)
        return whole + rest / 3 if rest else float(whole)

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    @contextmanager
    def apart(self) -> Generator[None]:
        """What is done meanwhile takes none of the operation's own seconds."""
        before = time.perf_counter()
        try:
            yield
        finally:
            self._started += time.perf_counter() - before

    def fits(self, thirds: int) -> bool:
        """Whether so much more work stays within the budget."""
        return thirds <= self.left

    @property
    def left(self) -> float:
        """Thirds of an example-step that may still be spent, less what is held back."""
        return math.inf if self.allowed is None else 3 * self.allowed + 1e-6 - self.thirds - self.kept

    def continue_from(self, thirds: int, seconds: float) -> None:
        """Take up where an interrupted run stopped."""
        self.thirds = thirds
        self._seconds_before = seconds
        self._started = time.perf_counter()
