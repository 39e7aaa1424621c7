"""Levels V2 to V4 of weights that follow from sums: the rows are added up again. On every machine the same bits."""

from __future__ import annotations

import numpy as np

from expunge.core.errors import RecordError
from expunge.core.wording import counted
from expunge.data.dataset import Dataset
from expunge.models.forest import Forest
from expunge.models.sums import OF_MAP, Begun, ForestSums, LinearSums, SumArrays, among, named, part
from expunge.records.arrays import arrays_digest
from expunge.records.limits import Code, refused
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing


def check_one_tree(opened: OpenedRecord, rows: Dataset) -> str:
    """A tree that the verifier draws grows again as it is on record."""
    state, summed = _state(opened), opened.accumulation
    assert isinstance(summed, ForestSums)
    encoded, present = summed.map.encode(rows), opened.present
    grower = summed.grower(summed.map.derived(encoded, present), encoded, rows.labels)
    tree = opened.supplied.chance.randrange(grower.trees)
    found, told = grower.grow(present, [tree]).arrays(), Forest.of(state).only(tree).arrays()
    _compare(found, told, f"tree {tree}")
    return f"tree {tree} of {grower.trees}, drawn here, grown again: {counted(len(found['tree']), 'node')}, bit for bit"


def check_against(opened: OpenedRecord, rows: Dataset) -> str:
    """The rows that are present, added up again, give the recorded sums, and these the weights."""
    state, summed, slots = _state(opened), opened.accumulation, np.flatnonzero(opened.present)
    encoded, begun = summed.map.encode(rows), None
    if isinstance(summed, LinearSums):
        wide = part(OF_MAP, state)
        constants = summed.drawn | summed.map.derived(encoded, among(slots, rows.labels))
        if summed.map.columns(wide, constants) is None:
            raise _others(f"rows that are present make other constants ({summed.map.moved(wide, constants)})")
        begun = Begun(named(OF_MAP, wide), 0)
    made = summed.anew(encoded, rows.labels, slots, begun, lambda begun: None)
    _compare(made.state, state, f"{counted(len(slots), 'row')}")
    _compare_weights(opened, made.weights)
    return f"{counted(len(slots), 'row')} added up again: the recorded sums and weights, bit for bit"


def check_anew(opened: OpenedRecord, rows: Dataset) -> str:
    """The rows alone, added up from nothing, give the weights; and the sums, where these hold nothing in reserve."""
    told, summed, slots = opened.record.sums, opened.accumulation, np.flatnonzero(opened.present)
    assert told is not None
    made = summed.anew(summed.map.encode(rows), rows.labels, slots, None, lambda begun: None)
    alike = arrays_digest(summed.constants(made.state)) == told.constants
    if alike and arrays_digest(made.state) != told.digest:
        raise _others(f"{counted(len(slots), 'row')} added up from nothing come to other sums than were signed")
    _compare_weights(opened, made.weights)
    spares = "" if alike else "; the recorded sums keep other columns in reserve, which have no part in the weights"
    return f"{counted(len(slots), 'row')} added up from nothing, without a state: the weights, bit for bit{spares}"


def _state(opened: OpenedRecord) -> SumArrays:
    if opened.sums is None:
        raise EvidenceMissing(
            "the recorded sums were not given, so there is nothing to compare with: give the folder that holds them "
            "with `checkpoints`, or ask for V4, which needs rows alone"
        )
    return opened.sums


def _compare(found: SumArrays, told: SumArrays, what: str) -> None:
    odd = [name for name in sorted(set(found) | set(told)) if not _same(found.get(name), told.get(name))]
    if odd:
        raise _others(f"{what} added up again come to other {' and '.join(odd)[:200]} than are on record")


def _same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is not None and other is not None and one.dtype == other.dtype and np.array_equal(one, other)


def _compare_weights(opened: OpenedRecord, weights: SumArrays) -> None:
    digest = arrays_digest(weights)
    if digest != opened.run.digest:
        raise _others(
            f"the rows that are present make weights {digest.hex()[:16]}…, the record is signed for "
            f"{opened.run.digest.hex()[:16]}…"
        )


def _others(reason: str) -> RecordError:
    return refused(
        Code.SUMS_MISMATCH, f"{reason}: rows are in the sums that are not present, or lack there, or sums were made up"
    )
