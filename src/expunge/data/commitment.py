"""The commitment: one salted leaf per row and an RFC 6962 root per split; what a run keeps instead of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from expunge.core.errors import DataError
from expunge.core.hashing import example_bytes, sha256, slot_bytes, u64
from expunge.core.merkle import leaf_hash, tree_hash
from expunge.data.dataset import Dataset
from expunge.data.salts import OPEN, SaltMode, Salts, open_salt
from expunge.data.splits import SPLITS, Split
from expunge.records.record import LEAF_FORMAT


def leaf(dataset: Dataset, row: int, slot: int, salt: bytes | None = None) -> bytes:
    """Leaf hash of a row that sits in ``slot``."""
    return leaf_of(example_bytes(dataset.example(row)), slot, open_salt(slot) if salt is None else salt)


def leaf_of(example: bytes, slot: int, salt: bytes) -> bytes:
    """Leaf hash of canonical example bytes."""
    commitment = sha256(b"expunge/salted/1", salt, example)
    return leaf_hash(LEAF_FORMAT.encode("ascii") + u64(slot) + commitment)


def leaves(dataset: Dataset) -> tuple[bytes, ...]:
    """Leaf hashes in slot order; a row's position is its slot."""
    return tuple(leaf(dataset, row, row) for row in range(len(dataset)))


def tombstones_digest(slots: Sequence[int] | np.ndarray) -> bytes:
    """Digest of the emptied slots, ascending."""
    ordered = np.unique(np.asarray(slots, dtype=np.int64))
    return sha256(b"expunge/tombstones/1", u64(len(ordered)), slot_bytes(ordered))


@dataclass(frozen=True)
class Commitment:
    """Which split every source row went to, and the leaves of each split in slot order."""

    assignment: np.ndarray
    leaves: tuple[tuple[bytes, ...], ...]

    @property
    def roots(self) -> dict[Split, bytes]:
        return {split: tree_hash(self.leaves[split.code]) for split in SPLITS}

    @property
    def root(self) -> bytes:
        """Root of the training examples: what seed and schedule hang on."""
        return tree_hash(self.leaves[Split.TRAIN.code])

    def source_rows(self, split: Split, slots: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows of the source that sit in these slots of a split: salts are counted by them."""
        return np.flatnonzero(self.assignment == split.code)[np.asarray(slots, dtype=np.int64)]


def commit(dataset: Dataset, assignment: np.ndarray, salts: Salts = OPEN) -> Commitment:
    """Commit every split of a source's rows."""
    return Commitment(
        assignment=assignment.astype(np.uint8),
        leaves=tuple(
            tuple(
                leaf(dataset, row, slot, _still_there(salts, row, slot))
                for slot, row in enumerate(np.flatnonzero(assignment == split.code).tolist())
            )
            for split in SPLITS
        ),
    )


def _still_there(salts: Salts, row: int, slot: int) -> bytes:
    found = salts.of(row, slot)
    if found is None:
        raise DataError(
            f"the salt of row {row} was destroyed in {salts.place}: a forgotten row cannot be committed again; commit "
            "the data without it under new salts, with `commit_only` and `salts` FILE"
        )
    return found


def open_again(
    dataset: Dataset,
    commitment: Commitment,
    forgotten: np.ndarray,
    released: Mapping[Split, Sequence[int]] | None = None,
    *,
    cut: bool = False,
    salts: Salts = OPEN,
) -> dict[Split, Dataset]:
    """Check rows read again against their leaves and seat them.

    ``forgotten`` are training slots; their rows may be missing, and so may the ``released`` slots of other splits: a
    forgotten person's rows that were never trained on. Rows keep their order; where ids are positions, a missing row
    does not move the others' ids. Anything else that differs is refused, and nothing is used.

    ``cut`` says that only the first so many rows of a source were read. Where forgotten ones are gone, as many rows
    from behind the cut have moved up; they were never committed and are left out again.

    Where a salt was destroyed nobody can say any more what the row was: one that still stands in its place is left
    out too. Only the salt of a row that may be missing can be.
    """
    may_miss = {(Split.TRAIN.code, int(slot)) for slot in forgotten}
    may_miss |= {(split.code, int(slot)) for split, slots in (released or {}).items() for slot in slots}
    source_row = _alignment(dataset, commitment, may_miss, cut, salts)
    original = np.flatnonzero(source_row >= 0)
    if len(original) != len(dataset):
        dataset = dataset.take(source_row[original])
        source_row[original] = np.arange(len(original))
    seated = _seat(dataset, source_row, original)
    return {split: seated.take(np.flatnonzero(commitment.assignment == split.code)) for split in SPLITS}


class _Way(Enum):
    """How a committed row was passed: by one that fits, by one that nobody can check, or by none."""

    FITS = "fits"
    UNKNOWN = "unknown"
    GONE = "gone"


def _alignment(
    dataset: Dataset, commitment: Commitment, may_miss: set[tuple[int, int]], cut: bool, salts: Salts
) -> np.ndarray:
    """For every committed row the row that was found for it, −1 where a forgotten one is gone.

    A forgotten row that is gone may have a twin behind it which, without ids of its own, looks the same. So all counts
    of rows used so far that are still possible are carried along (nearly always one), each with the way in which it
    was reached and the most rows that fit on it, and the way is read backwards from the end: a row that fits its own
    leaf is never given away to one that nobody can check.
    """
    seats = _seats(commitment.assignment)
    own_subjects = dataset.subjects != dataset.ids
    reached: list[dict[int, tuple[int, _Way]]] = []
    possible = {0: 0}  # by rows used, how many of them fit
    for position, code in enumerate(commitment.assignment.tolist()):
        slot = int(seats[position])
        salt, expected = salts.of(position, slot), commitment.leaves[code][slot]
        forgotten = (code, slot) in may_miss
        if salt is None and not forgotten:
            raise DataError(
                f"the salt of row {position} was destroyed in {salts.place}, but this run has not forgotten that row: "
                "open the run that did, or give a salt file that still holds it with `salts` FILE"
            )
        steps = {used: (fit, _Way.GONE) for used, fit in possible.items()} if forgotten else {}
        for used, fit in possible.items():
            if used >= len(dataset):
                continue
            if salt is None:
                step = fit, _Way.UNKNOWN
            elif leaf_of(example_bytes(_at(dataset, used, position, own_subjects)), slot, salt) == expected:
                step = fit + 1, _Way.FITS
            else:
                continue
            steps[used + 1] = max(steps.get(used + 1, step), step, key=_fitting)
        if not steps:
            used = max(possible)
            found = "is missing" if used >= len(dataset) else f"does not match (found {dataset.ids[used]!r})"
            raise DataError(
                f"row {position} of the committed data {found}: only rows that were already forgotten may be missing "
                "(of a person forgotten by subject:NAME all of them, else the training rows named), and every other "
                "row must be as it was committed, in the same order; give the data that the run was trained on with "
                f"`data`{_other_salts(salts)}"
            )
        reached.append(steps)
        possible = {used: fit for used, (fit, _) in steps.items()}
    used = len(dataset) if len(dataset) in possible else max(possible)
    if used < len(dataset) and not (cut and len(dataset) <= len(reached)):
        raise DataError(
            f"the data holds {len(dataset) - used} rows that were never committed, the first is "
            f"{dataset.ids[used]!r}: new data needs a new training"
        )
    source_row = np.full(len(reached), -1, dtype=np.int64)
    for position in range(len(reached) - 1, -1, -1):
        _, way = reached[position][used]
        used -= way is not _Way.GONE
        source_row[position] = used if way is _Way.FITS else -1
    return source_row


def _fitting(step: tuple[int, _Way]) -> tuple[int, bool]:
    fit, way = step
    return fit, way is _Way.FITS


def _other_salts(salts: Salts) -> str:
    """Leaves cannot tell whether it is the row or its salt that differs."""
    if salts.mode is SaltMode.OPEN:
        return ""
    return f", or, if the data are those, {salts.place} holds the salts of another data set: give its own with `salts`"


def _seats(assignment: np.ndarray) -> np.ndarray:
    seats = np.zeros(len(assignment), dtype=np.int64)
    for split in SPLITS:
        mask = assignment == split.code
        seats[mask] = np.arange(int(mask.sum()))
    return seats


def _at(dataset: Dataset, row: int, position: int, own_subjects: bool) -> dict[str, Any]:
    """The fields of one row under the id that its original position gives it."""
    fields = dataset.example(row)
    if dataset.positional:
        fields["id"] = f"row-{position}"
        if not own_subjects:
            fields["subject"] = fields["id"]
    return fields


def _seat(dataset: Dataset, source_row: np.ndarray, original: np.ndarray) -> Dataset:
    """Rows at their original positions; where nothing is left, an empty row that is marked absent."""
    if dataset.positional:
        ids = tuple(f"row-{position}" for position in original)
        dataset = replace(dataset, ids=ids, subjects=ids if dataset.subjects == dataset.ids else dataset.subjects)
    there = source_row >= 0
    if bool(there.all()):
        return dataset.take(source_row)
    content = {}
    for name, values in dataset.content.items():
        filler = "" if values.dtype.kind == "O" else 0
        seated = np.full((len(source_row), *values.shape[1:]), filler, dtype=values.dtype)
        seated[there] = values[source_row[there]]
        content[name] = seated
    labels = np.zeros(len(source_row), dtype=dataset.labels.dtype)
    labels[there] = dataset.labels[source_row[there]]
    pick = [int(row) for row in source_row]
    return replace(
        dataset,
        ids=tuple(dataset.ids[row] if row >= 0 else f"gone-{at}" for at, row in enumerate(pick)),
        subjects=tuple(dataset.subjects[row] if row >= 0 else f"gone-{at}" for at, row in enumerate(pick)),
        labels=labels,
        content=content,
        present=there,
    )
