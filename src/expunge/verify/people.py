"""Whose forgotten rows are, as far as a bundle shows: by the units that were committed, the rows of one person each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from expunge.core.errors import RecordError
from expunge.records.bundle import UNIT_BYTES, UNITS, Bundle
from expunge.records.record import CommittedData


@dataclass(frozen=True, kw_only=True)
class People:
    """How many people rows belong to, how many of these people have rows that stay, and how many rows are theirs."""

    count: int
    in_part: int
    rows: int


def committed_units(bundle: Bundle, data: CommittedData) -> np.ndarray | None:
    """Unit of every training slot; None where the bundle lacks those committed, which is a finding of its own."""
    if data.count > bundle.limits.rows or UNITS not in bundle or bundle.size(UNITS) != UNIT_BYTES * data.count:
        return None
    try:
        if bundle.digest(UNITS) != data.units:
            return None
    except RecordError:
        return None
    return np.frombuffer(bundle.read(UNITS), dtype="<u8")


def people_of(slots: Collection[int], emptied: Collection[int], units: np.ndarray) -> People | None:
    """Whose ``slots`` are, where ``emptied`` are forgotten; None where every row is a unit of its own."""
    names, unit = np.unique(units, return_inverse=True)
    if len(names) == len(units):
        return None
    all_rows, gone = np.bincount(unit), np.bincount(unit[list(emptied)], minlength=len(names))
    theirs = np.unique(unit[list(slots)])
    stay = all_rows[theirs] > gone[theirs]
    return People(count=len(theirs), in_part=int(stay.sum()), rows=int(all_rows[theirs].sum()))
