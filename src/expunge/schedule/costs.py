"""What forgetting by replay costs on average, by formula: shares of the whole training that are done again.

``requests`` rows, drawn independently over all of them, are forgotten in one batch; a subject of several scattered rows
costs as many. Shards and the slices in them are alike in size. A share of 1 is one retraining.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from expunge.core.errors import InvalidArgument


def share_of_stages(
    shards: int, rows: Sequence[float], epochs: Sequence[int], asked: Sequence[float], requests: int
) -> float:
    """The share where slice i holds ``rows[i]`` of all rows, its stage takes ``epochs[i]`` epochs, and a request is for
    one of its rows with probability ``asked[i]``; a shard goes on from the end of the last stage before any of them.
    """
    work, untouched, expected = works(rows, epochs), 1.0, 0.0
    for stage, share in enumerate(asked):
        after = untouched - share / shards
        expected += (untouched**requests - after**requests) * sum(work[stage:])
        untouched = after
    return expected / sum(work)


def works(rows: Sequence[float], epochs: Sequence[int]) -> list[float]:
    """What each stage takes: its epochs over all rows that were dealt to it or to a slice before."""
    return [many * share for many, share in zip(epochs, accumulate(rows), strict=True)]


def least_asked(shards: int, last: float, times: float) -> float | None:
    """The share of requests that must be for the last tier until one costs ``times`` less; None where no share does.

    ``last`` is the share of its stage in the training. Every other request costs its whole shard: the law of tiers.
    """
    if not 0 < last < 1:
        raise InvalidArgument(f"the last stage is {last:g} of the training: a stage is a share between 0 and 1 of it")
    needed = (1 - shards / times) / (1 - last)
    return None if needed > 1 else max(0.0, needed)
