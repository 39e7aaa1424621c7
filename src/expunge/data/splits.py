"""Training, calibration and holdout: 80/5/15 % by a seed of its own, so that a training seed moves nobody."""

from __future__ import annotations

from enum import Enum

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream, stable_order
from expunge.data.dataset import Dataset


class Split(Enum):
    """What a row is for; ``code`` is how it is stored."""

    TRAIN = "train"
    CALIBRATION = "calibration"  # stop rules and tuning; methods may see it
    HOLDOUT = "holdout"  # probes only

    @property
    def code(self) -> int:
        return SPLITS.index(self)


SPLITS = (Split.TRAIN, Split.CALIBRATION, Split.HOLDOUT)
SHARES = (0.80, 0.05, 0.15)
SMALLEST_GROUP = 5


class SplitBy(Enum):
    """Whether rows or whole subjects are dealt out."""

    ROWS = "rows"
    SUBJECT = "subject"


def split_rows(dataset: Dataset, *, seed: int = 0, by: SplitBy = SplitBy.ROWS) -> np.ndarray:
    """Split code of every row.

    By rows, a subject with five rows or more keeps at least one in training: its row with the lowest key is seated
    first. By subject, all rows of a subject go together.
    """
    stream = split_stream(seed, by.value)
    codes = _by_rows(dataset, stream) if by is SplitBy.ROWS else _by_subject(dataset, stream)
    if not (codes == Split.TRAIN.code).any():
        raise InvalidArgument(f"{len(dataset)} rows leave nothing to train on after the 80/5/15 split: add rows")
    return codes


def split_stream(seed: int, dealt: str) -> Stream:
    """What rows are dealt out by; ``dealt`` says in which way."""
    if not 0 <= seed < 2**64:
        raise InvalidArgument(f"split seed {seed} must lie between 0 and 2^64 − 1")
    return Stream(sha256(b"expunge/split/1", u64(seed)), f"split/{dealt}")


def _counts(total: int) -> tuple[int, int]:
    train = max(1, round(SHARES[0] * total))
    calibration = min(total - train, round(SHARES[1] * total))
    return train, calibration


def _by_rows(dataset: Dataset, stream: Stream) -> np.ndarray:
    count = len(dataset)
    order = stable_order(stream.words(count))
    _, group, sizes = np.unique(np.array(dataset.subjects), return_inverse=True, return_counts=True)
    first_seat: dict[int, int] = {}
    for row in order:
        first_seat.setdefault(int(group[row]), int(row))
    priority = np.ones(count, dtype=np.int64)
    for index, row in first_seat.items():
        if sizes[index] >= SMALLEST_GROUP:
            priority[row] = 0
    order = order[stable_order(priority[order])]
    train, calibration = _counts(count)
    codes = np.empty(count, dtype=np.uint8)
    codes[order[:train]] = Split.TRAIN.code
    codes[order[train : train + calibration]] = Split.CALIBRATION.code
    codes[order[train + calibration :]] = Split.HOLDOUT.code
    return codes


def _by_subject(dataset: Dataset, stream: Stream) -> np.ndarray:
    """Subjects in key order go to training until it holds 80 % of the rows, then calibration, then holdout."""
    names, first, group = np.unique(np.array(dataset.subjects), return_index=True, return_inverse=True)
    by_appearance = stable_order(first)
    keys = np.empty(len(names), dtype=np.uint64)
    keys[by_appearance] = stream.words(len(names))
    sizes = np.bincount(group, minlength=len(names))
    train, calibration = _counts(len(dataset))
    codes = np.empty(len(names), dtype=np.uint8)
    seated = 0
    for index in stable_order(keys):
        codes[index] = (
            Split.TRAIN.code
            if seated < train
            else Split.CALIBRATION.code
            if seated < train + calibration
            else Split.HOLDOUT.code
        )
        seated += int(sizes[index])
    return codes[group]
