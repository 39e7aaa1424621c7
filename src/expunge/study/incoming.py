"""How deletion requests come in: their rate, the window in which they are collected, and random ones drawn."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.records.plan import Incoming

DAYS = {"day": 1.0, "week": 7.0, "month": 365.25 / 12, "year": 365.25}
LENGTHS = {"h": 1 / 24, "d": 1.0, "w": 7.0}
RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(day|week|month|year)\Z")
LENGTH = re.compile(r"([0-9]+(?:\.[0-9]+)?)([hdw])\Z")
DRAWS, FEWEST = 1000, 20
MOST_SLOTS_DRAWN = 5_000_000  # rows of all drawn requests: where each is of very many, fewer are drawn
LONGEST_HORIZON = 1200


@dataclass(frozen=True)
class Asking:
    """So many requests a month, collected for ``window`` days or carried out one by one, over ``horizon`` months."""

    a_month: float
    window: float | None
    horizon: int

    @classmethod
    def read(cls, requests: str, window: str | None, horizon: int) -> Asking:
        """``20/month`` and ``7d``."""
        rate, length = RATE.match(requests), None if window is None else LENGTH.match(window)
        if rate is None or float(rate[1]) <= 0:
            raise InvalidArgument(
                f"`requests` {requests[:80]!r} is no rate: say how many people ask, and in what time, such as 20/month "
                "(or /day, /week, /year)"
            )
        if window is not None and (length is None or float(length[1]) <= 0):
            raise InvalidArgument(
                f"`window` {window[:80]!r} is no duration: say for how long requests are collected, such as 12h, 7d or "
                "2w; leave it out to carry out each by itself"
            )
        if type(horizon) is not int or not 1 <= horizon <= LONGEST_HORIZON:
            raise InvalidArgument(f"`horizon` {horizon!r:.80} must be a whole number of months, 1 to {LONGEST_HORIZON}")
        days = None if length is None else float(length[1]) * LENGTHS[length[2]]
        return cls(float(rate[1]) * DAYS["month"] / DAYS[rate[2]], days, horizon)

    @property
    def mean(self) -> float | None:
        """How many ask in a window on average, nobody included."""
        return None if self.window is None else self.a_month * self.window / DAYS["month"]

    @property
    def batches(self) -> float:
        """How often a month there is something to carry out: windows in which anybody asks, or every request."""
        if self.window is None or self.mean is None:
            return self.a_month
        return DAYS["month"] / self.window * -math.expm1(-self.mean)

    def told(self, batches: Batches, shares: Sequence[float] = ()) -> Incoming:
        """The same as the plan says it, with what was drawn."""
        return Incoming(
            a_month=self.a_month,
            window=self.window,
            horizon=self.horizon,
            batches=self.batches,
            requests=float(batches.people.mean()),
            rows=float(batches.rows.mean()),
            drawn=len(batches.people),
            tier_shares=tuple(shares),
        )


@dataclass(frozen=True)
class Batches:
    """Random batches of requests: the rows of each, ``request`` numbering from 0 the batch that a slot is of."""

    request: np.ndarray
    slots: np.ndarray
    people: np.ndarray  # how many of each batch

    @property
    def rows(self) -> np.ndarray:
        """How many rows each batch has."""
        return np.bincount(self.request, minlength=len(self.people))

    def exhaust(self, held: np.ndarray) -> np.ndarray:
        """Which batches take away everybody who holds any of some ends; ``held`` is (slots, ends)."""
        found = np.zeros(len(self.people), dtype=bool)
        for column in held.T[held.any(axis=0)]:
            found |= np.bincount(self.request, column[self.slots], len(self.people)) == column.sum()
        return found


def draw(
    stream: Stream, units: np.ndarray, weights: np.ndarray, mean: float | None, present: np.ndarray | None = None
) -> Batches:
    """1,000 batches of people who ask, ``weights`` their chances; ``units`` number the person of each slot.

    ``mean`` is how many ask in a window, whose number is Poisson's; windows in which nobody asks are no batches. None
    is one person at a time. Nobody asks twice in a batch, and who asked in another may ask again.
    """
    slots = np.arange(len(units)) if present is None else present
    slots = slots[np.argsort(units[slots], kind="stable")]
    first = np.searchsorted(units[slots], np.arange(len(weights) + 1))
    chances = np.where(np.diff(first) > 0, weights, 0.0)
    able, cumulative = int(np.count_nonzero(chances)), np.cumsum(chances)
    counts = np.minimum(_sizes(stream, mean, DRAWS), able)
    drawn = max(FEWEST, min(DRAWS, int(MOST_SLOTS_DRAWN / (counts.mean() * len(slots) / able))))
    people = [_some(stream, cumulative, int(count)) for count in counts[:drawn]]
    rows = [np.concatenate([slots[first[one] : first[one + 1]] for one in batch.tolist()]) for batch in people]
    return Batches(np.repeat(np.arange(drawn), [len(own) for own in rows]), np.concatenate(rows), counts[:drawn])


def _sizes(stream: Stream, mean: float | None, count: int) -> np.ndarray:
    """How many ask in each of so many windows in which anybody does."""
    if mean is None:
        return np.ones(count, dtype=np.int64)
    first = max(1, int(mean - 12 * math.sqrt(mean)))
    some = np.arange(first, int(mean + 12 * math.sqrt(mean)) + 20)
    chance = np.exp(some * math.log(mean) - mean - np.array([math.lgamma(one + 1) for one in some.tolist()]))
    whole = np.cumsum(chance)
    places = np.searchsorted(whole, _uniform(stream, count) * whole[-1], side="right")
    return some[np.minimum(places, len(some) - 1)]


def _some(stream: Stream, cumulative: np.ndarray, count: int) -> np.ndarray:
    """So many different people, one after another, each by their chance among those who are left."""
    found = np.zeros(0, dtype=np.int64)
    while len(found) < count:
        more = np.searchsorted(cumulative, _uniform(stream, 2 * count - len(found)) * cumulative[-1], side="right")
        found = np.concatenate([found, more])
        _, places = np.unique(found, return_index=True)
        found = found[np.sort(places)]
    return found[:count]


def _uniform(stream: Stream, count: int) -> np.ndarray:
    """Reals in [0, 1) with 53 bits, one word each."""
    return (stream.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
