"""What forgetting by replay costs on average, by formula: shares of the whole training that are done again.

``requests`` rows, drawn independently over all of them, are forgotten in one batch; a subject of several scattered rows
costs as many. Shards and the slices in them are alike in size. A share of 1 is one retraining.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from expunge.core.errors import InvalidArgument

MOST_SHARDS = 4096


def share_of_stages(
    shards: int,
    rows: Sequence[float],
    epochs: Sequence[int],
    asked: Sequence[float],
    requests: int,
    *,
    rewind: bool = False,
) -> float:
    """The share where slice i holds ``rows[i]`` of all rows, its stage takes ``epochs[i]`` epochs, and a request is for
    one of its rows with probability ``asked[i]``.

    A shard goes on from the end of the last stage before any of the rows sat; with ``rewind`` from the last step
    before, as if every state were kept.
    """
    seen = list(accumulate(rows))
    work = [many * share for many, share in zip(epochs, seen, strict=True)]
    untouched, expected = 1.0, 0.0
    for stage, share in enumerate(asked):
        hit = share / shards
        after = untouched - hit
        expected += (untouched**requests - after**requests) * sum(work[stage:])
        if rewind and hit:  # m rows in one epoch leave 1/(m + 1) of it before the first of them
            kept = (untouched ** (requests + 1) - after ** (requests + 1)) / ((requests + 1) * hit) - after**requests
            expected -= kept * seen[stage]
        untouched = after
    return expected / sum(work)


def share_of_slices(shards: int, slices: int, requests: int) -> float:
    """The same where slices are alike, their stages take equally many epochs, and any row may be asked for."""
    untouched = sum(stage * (1 - stage / (shards * slices)) ** requests for stage in range(1, slices + 1))
    return 1 - 2 * untouched / (slices * (slices + 1))


def share_of_tiers(shards: int, asked: float, last: float) -> float:
    """The law of tiers: one request, for the last tier with probability ``asked``, whose stage is the share ``last`` of
    the training; every other request costs its whole shard.
    """
    return (1 - asked * (1 - last)) / shards


def fewest_shards(slices: int, requests: int, times: float) -> int | None:
    """How many shards it takes until forgetting is ``times`` cheaper than retraining; None where no number does."""
    return next(
        (shards for shards in range(1, MOST_SHARDS + 1) if share_of_slices(shards, slices, requests) * times <= 1), None
    )


def least_asked(shards: int, last: float, times: float) -> float | None:
    """The share of requests that must be for the last tier until one costs ``times`` less; None where no share does."""
    if not 0 < last < 1:
        raise InvalidArgument(f"the last stage is {last:g} of the training: a stage is a share between 0 and 1 of it")
    needed = (1 - shards / times) / (1 - last)
    return None if needed > 1 else max(0.0, needed)
