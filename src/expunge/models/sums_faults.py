"""What an auditor without rows sees in recorded sums: whether any rows that are present could have them. No torch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from expunge.models.features.contract import LARGEST
from expunge.models.forest_faults import fault as fault_of_forest
from expunge.models.sums import (
    BOUNDS,
    OF_MAP,
    OF_SUMS,
    Accumulation,
    ForestSums,
    LinearSums,
    RidgeSums,
    SumArrays,
    part,
)

FORGED = "its constants are not those of the seed, or none that rows can have"


def fault(accumulation: Accumulation, state: SumArrays, present: np.ndarray) -> str | None:
    """Why these are no sums over the slots ``present`` (booleans), or None; that they are the rows' is not seen."""
    if isinstance(accumulation, ForestSums):
        return _of_forest(accumulation, dict(state), present)
    assert isinstance(accumulation, LinearSums)
    return next(_misshapen(accumulation, state), None) or next(_faults(accumulation, state, present), None)


def seated(state: SumArrays, present: np.ndarray) -> int:
    """How many rows that are not present sit at leaves of a forest."""
    seats = state.get("seats", np.zeros((0, 0)))
    return int((seats[:, ~present] >= 0).any(axis=0).sum()) if seats.shape[1:] == present.shape else 0


def _of_forest(accumulation: ForestSums, state: SumArrays, present: np.ndarray) -> str | None:
    bounds = state.pop(BOUNDS, np.zeros((0, 0)))
    if "edges" not in state or not accumulation.map.can_be_derived({"bounds": bounds, "edges": state["edges"]}):
        return FORGED
    return fault_of_forest(state, present, accumulation.grower({"edges": state["edges"]}))


def _misshapen(accumulation: LinearSums, state: SumArrays) -> Iterator[str]:
    summed = accumulation.map.summed
    if isinstance(accumulation, RidgeSums):
        columns = 1 if accumulation.classes == 2 else accumulation.classes
        needed = {"products": (summed, summed), "targets": (summed, columns)}
    else:
        needed = {"counts": (summed, accumulation.classes)}
    sums = part(OF_SUMS, state)
    shapes = {name: value.shape for name, value in sums.items()}
    if shapes != needed:
        yield f"they are of shapes {shapes}, those of the recipe are {needed}"
    if any(value.dtype != np.int64 for value in sums.values()):
        yield "they are not whole numbers of 64 bits"
    wide = part(OF_MAP, state)
    drawn = {name: wide.pop(name, np.zeros(0)) for name in accumulation.drawn}
    alike = all(
        drawn[name].dtype == value.dtype and np.array_equal(drawn[name], value)
        for name, value in accumulation.drawn.items()
    )
    if len(state) != len(sums) + len(wide) + len(drawn) or not (alike and accumulation.map.can_be_derived(wide)):
        yield FORGED


def _faults(accumulation: LinearSums, state: SumArrays, present: np.ndarray) -> Iterator[str]:
    sums, rows = part(OF_SUMS, state), int(present.sum())
    if isinstance(accumulation, RidgeSums):
        terms = rows * len(accumulation.map.views(np.zeros((0, 1))))
        yield from _of_products(sums["products"], sums["targets"], terms, accumulation.classes)
        return
    counts = sums["counts"]
    if counts[-1].sum() != rows:
        yield f"they are of {counts[-1].sum():,} rows, {rows:,} are present"
    if (counts < 0).any() or (counts > counts[-1]).any():
        yield "a class holds a column in fewer rows than none, or in more than it has"


def _of_products(products: np.ndarray, targets: np.ndarray, terms: int, classes: int) -> Iterator[str]:
    constant = products[-1]
    if constant[-1] != terms:
        yield f"they are of {constant[-1]:,} terms, the rows that are present have {terms:,}"
    if not np.array_equal(products, products.T):
        yield "products of two columns are not the same both ways round"
    largest = max(int(products.max()), -int(products.min()))
    if largest > terms * LARGEST**2:
        yield f"a sum of products is {largest:,}, with features up to {LARGEST:,} none is above {terms * LARGEST**2:,}"
    if max(int(targets.max()), -int(targets.min())) > terms * LARGEST:
        yield f"a sum of targets is above {terms * LARGEST:,}, the most with features up to {LARGEST:,}"
    others = constant if classes == 2 else (classes - 2) * constant  # each row adds to one class, and takes from others
    if classes == 2 and ((targets[:, 0] + others) % 2).any():
        yield "sums of two classes do not make up the sum over all rows"
    if classes > 2 and not np.array_equal(targets.sum(axis=1), -others):
        yield "sums of the classes do not make up the sum over all rows"
