"""Pseudo-forget sets: two disjoint sets of the kind and size of the requests that are expected, drawn by a seed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream, stable_order
from expunge.data.dataset import Dataset
from expunge.study.axes import Forget

SIZE = re.compile(r"(?P<amount>\d{1,15}(?:\.\d{1,15})?)(?P<percent>%?)\Z", re.ASCII)
TWINS = 4  # two for each of two pseudo-forget sets
LARGEST_SEED = 2**32 - 1  # of what the sampler takes


class RequestKind(Enum):
    """What a request names: rows of anybody, a whole class, or all rows of a person."""

    RANDOM = "random"
    CLASS = "class"
    SUBJECT = "subject"


def pseudo_sets(
    train: Dataset,
    *,
    kind: RequestKind | str,
    size: str | None = None,
    seed: int = 0,
    avoid: np.ndarray | Sequence[int] = (),
    forgotten: np.ndarray | Sequence[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Two disjoint sets of training slots, ascending, that hold no slot to avoid and none forgotten before.

    ``size`` is a share such as ``10%`` of the rows not forgotten, or a count; of a person, it is the row count that is
    looked for. A class has the size it has. ``avoid`` holds the forget sets that the tuning will serve, and only
    those: a class or a person of whom a single row is to be avoided is not taken.
    """
    check_seed(seed)
    kind = find_kind(kind)
    gone = np.unique(np.asarray(forgotten, dtype=np.int64))
    spared = np.unique(np.asarray(avoid, dtype=np.int64))
    for name, slots in (("avoid", spared), ("forgotten", gone)):
        if len(slots) and not 0 <= slots[0] <= slots[-1] < len(train):
            raise InvalidArgument(f"{name} names slot {slots[-1]}, the data set has slots 0 to {len(train) - 1}")
    there = np.setdiff1d(np.flatnonzero(train.present), gone)
    free = np.zeros(len(train), dtype=bool)
    free[np.setdiff1d(there, spared)] = True
    if kind is not RequestKind.CLASS and size is None:
        raise InvalidArgument(f"kind {kind.value!r} needs a size: a share such as 10%, or a number of rows")
    wanted = 0 if kind is RequestKind.CLASS or size is None else _rows(size, len(there))
    stream = rehearsal_stream(seed, kind.value)
    drawn = {RequestKind.RANDOM: _random, RequestKind.CLASS: _classes, RequestKind.SUBJECT: _people}[kind](
        train, there, free, wanted, stream
    )
    if len(drawn[0]) + len(drawn[1]) >= int(free.sum()):
        raise InvalidArgument(
            f"two pseudo-forget sets of {len(drawn[0])} and {len(drawn[1])} rows leave none of {int(free.sum())} to "
            "compare retained rows on: ask for a smaller size, or avoid fewer rows"
        )
    return np.sort(drawn[0]), np.sort(drawn[1])


def find_kind(kind: RequestKind | str) -> RequestKind:
    """A kind by its word."""
    if isinstance(kind, RequestKind):
        return kind
    for known in RequestKind:
        if known.value == kind:
            return known
    raise InvalidArgument(f"kind {kind!r} is not one of {', '.join(known.value for known in RequestKind)}")


def twin_seeds(seed: int, training_seed: int) -> list[int]:
    """Training seeds of the four twins: none that of the run, nor small, as those of references mostly are."""
    check_seed(seed)
    words = rehearsal_stream(seed, "twin-seeds").words(TWINS + 1)
    return [int(word >> np.uint64(11)) for word in words if int(word >> np.uint64(11)) != training_seed][:TWINS]


def rehearsal_stream(seed: int, purpose: str) -> Stream:
    """What a rehearsal draws for a purpose."""
    return Stream(sha256(b"expunge/rehearsal/1", u64(seed)), f"rehearsal/{purpose}")


def check_seed(seed: int) -> None:
    """One seed draws the sets, the twins' seeds and the sampler."""
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidArgument(f"seed {seed} of a tuning must be a whole number from 0 to 2^32 − 1")


def _rows(size: str, count: int) -> int:
    parsed = SIZE.match(size)
    amount = float(parsed["amount"]) if parsed else 0.0
    if parsed and parsed["percent"] and 0 < amount < 100:
        return max(1, round(count * amount / 100))
    if parsed and not parsed["percent"] and amount == int(amount) and amount >= 1:
        return int(amount)
    raise InvalidArgument(f"size {size[:40]!r} must be a share such as 10%, or a whole number of rows from 1")


def _random(
    train: Dataset, there: np.ndarray, free: np.ndarray, wanted: int, stream: Stream
) -> tuple[np.ndarray, np.ndarray]:
    slots = np.flatnonzero(free)
    if 2 * wanted > len(slots):
        raise InvalidArgument(
            f"two pseudo-forget sets of {wanted} rows need {2 * wanted}, {len(slots)} may be taken: ask for a smaller "
            "size, or avoid fewer rows"
        )
    order = slots[stable_order(stream.words(len(train))[slots])]
    return order[:wanted], order[wanted : 2 * wanted]


def _classes(
    train: Dataset, there: np.ndarray, free: np.ndarray, wanted: int, stream: Stream
) -> tuple[np.ndarray, np.ndarray]:
    count = len(train.classes)
    sizes = np.bincount(train.labels[there], minlength=count)
    whole = np.bincount(train.labels[free], minlength=count) == sizes
    order = [int(label) for label in stable_order(stream.words(count)) if sizes[label] and whole[label]]
    if len(order) < 2:
        raise InvalidArgument(
            f"kind 'class' needs two whole classes with no row to avoid, {len(order)} of {count} are left: avoid the "
            "class requests alone, or rehearse random ones"
        )
    first, second = (there[train.labels[there] == label] for label in order[:2])
    return first, second


def _people(
    train: Dataset, there: np.ndarray, free: np.ndarray, wanted: int, stream: Stream
) -> tuple[np.ndarray, np.ndarray]:
    names, first, group = np.unique(np.array(train.subjects), return_index=True, return_inverse=True)
    keys = np.empty(len(names), dtype=np.uint64)
    keys[stable_order(first)] = stream.words(len(names))  # by appearance: how names sort has no part in it
    sizes = np.bincount(group[there], minlength=len(names))
    whole = np.bincount(group[free], minlength=len(names)) == sizes
    people = np.flatnonzero(whole & (sizes > 0))
    if len(people) < 2:
        raise InvalidArgument(
            f"kind 'subject' needs two people with no row to avoid, {len(people)} of {len(names)} are left: avoid the "
            "requests of people alone, or rehearse random ones"
        )
    order = people[np.lexsort((keys[people], np.abs(sizes[people] - wanted)))]
    one, other = (there[group[there] == person] for person in order[:2])
    return one, other


def expected(forget: Forget, slots: np.ndarray) -> tuple[RequestKind, str]:
    """Kind and size of requests like this one; a saved set, or one of several kinds, is rehearsed at random."""
    heads = {rule.partition(":")[0] for rule in forget.rules}
    names = {kind.value: kind for kind in RequestKind}
    kind = names[heads.pop()] if len(heads) == 1 and heads <= set(names) else RequestKind.RANDOM
    return kind, "whole" if kind is RequestKind.CLASS else str(len(slots))
