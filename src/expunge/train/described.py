"""The data of a run as run.json describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.data.commitment import Commitment
from expunge.data.salts import Salts
from expunge.data.source import Source
from expunge.data.splits import SPLITS
from expunge.data.stored import roots_of
from expunge.records.run_file import Counts, DataFile
from expunge.records.scalars import Large


def described_data(
    source: Source | None,
    commitment: Commitment,
    salts: Salts,
    *,
    split_seed: int,
    split_by: str,
    held: Mapping[str, Any] | None = None,
) -> DataFile:
    """The data as run.json describes them: where they came from and what they were committed to."""
    return DataFile(
        source=None if source is None else source.as_json(),
        rows=len(commitment.assignment),
        counts=counts_of(commitment),
        roots=roots_of(commitment),
        split_seed=Large(split_seed),
        split_by=split_by,
        salts=salts.mode.value,
        note=salts.mode.note,
        salt_file=None if salts.place is None else str(salts.place),
        held=held,
    )


def counts_of(commitment: Commitment) -> Counts:
    """Rows of each split."""
    train, calibration, holdout = (len(commitment.leaves[split.code]) for split in SPLITS)
    return Counts(train=train, calibration=calibration, holdout=holdout)
