"""model.json of an exported model: how its rows are read and prepared, and what can be said of it, without its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from expunge.core.errors import DataError
from expunge.records.document import Sealed
from expunge.records.form import Many, Plain
from expunge.records.holds import Holds, rows
from expunge.records.scalars import Bound, Digest, Words
from expunge.records.values import WrittenGuarantee

MOST_ENTRIES = 1_000_000
Deviation = Annotated[float, Bound("a number above 0", lambda value: value if value > 0 else None)]


@dataclass(frozen=True, kw_only=True)
class InFront(Plain):
    """What is done to encoded rows in front of a model: (entries · ``scale`` − ``mean``) / ``std``.

    One mean and deviation stand for all entries; else there is one for each channel, or for each of the first entries
    of a row, and those behind them stay as they are.
    """

    scale: float
    mean: Annotated[tuple[float, ...], Many(MOST_ENTRIES)]
    std: Annotated[tuple[Deviation, ...], Many(MOST_ENTRIES)]

    def check(self, where: str) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise DataError(f"{where} has {len(self.mean)} means and {len(self.std)} deviations: the file was altered")


@dataclass(frozen=True, kw_only=True)
class Behind(Plain):
    """What is done to the answers of a model of numbers: answer · ``unit`` + ``mean``, in the labels' own units."""

    mean: float
    unit: Deviation


@dataclass(frozen=True, kw_only=True)
class ModelFile(Sealed):
    """``weights`` is the digest of the tensors beside it, ``trained`` that by which their run and records name them.

    ``front`` has an entry for each shard that answers, and so has ``back`` where one of ours stands behind a model of
    numbers. ``reading`` is what a source says of columns.
    """

    FORMAT: ClassVar[str] = "expunge/model/1"
    NAME: ClassVar[str] = "model.json"
    HOLDS: ClassVar[Holds] = rows("what stands in front of an exported model", "means were taken over the rows")

    how: Words
    recipe: Mapping[str, Any]
    reading: Mapping[str, Any]
    front: tuple[InFront, ...]
    back: tuple[Behind, ...] | None = None
    weights: Digest
    trained: Digest
    dataset_root: Digest
    guarantee: WrittenGuarantee
    says: Words

    def check(self, where: str) -> None:
        if not self.front:
            raise DataError(f"{where} front is of no shard: the file was altered")
