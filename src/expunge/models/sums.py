"""Models that are functions of sums over rows: what a row adds, what is derived of it, what is answered. No torch.

Each row is added once, in no order; an empty chair adds nothing. All sums are whole numbers that float64 holds exactly
on the way, so that no machine, thread count or order of rows has a part in them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.penalties import PENALTIES
from expunge.core.rounded import solve
from expunge.core.wording import counted
from expunge.models.features.choice import map_of
from expunge.models.features.contract import LARGEST, MOST_ROWS, Constants, Encoded
from expunge.models.features.edges import MOST_EDGES
from expunge.models.features.table import TableMap
from expunge.models.forest import Forest, Grower
from expunge.schedule.recipe import Recipe

ARITHMETIC = 1  # raised whenever sums, or what is derived of them, come to other bits
BLOCK = 4096  # slots between two states that an interrupted accumulation goes on from
LEAST_BELIEF = 2.0**-10
OF_MAP, OF_SUMS = "map_", "sums_"  # before the names of arrays
PENALTY = "penalty"  # under which name its digest is taken
BOUNDS = "map_bounds"  # of a forest, whose edges are of them

SumArrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Summed:
    """What was summed, as it is kept; what answers by it; and the rows that were added or subtracted."""

    state: SumArrays
    weights: SumArrays
    row_sums: int
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Begun:
    """What an interrupted accumulation has summed: everybody present among the first ``slots``."""

    state: SumArrays
    slots: int


Offer = Callable[[Begun], None]


class Accumulation(ABC):
    """The model of a recipe, of the lineage ``seed``. ``rows`` are encoded ones, by their slots."""

    options: ClassVar[tuple[str, ...]] = ("width",)
    in_parts: ClassVar[bool] = False  # whether a part of it can be made again on its own

    def __init__(self, recipe: Recipe, seed: bytes = bytes(32)) -> None:
        odd = sorted(recipe.model_options.keys() - set(self.options))
        if odd:
            raise InvalidArgument(
                f"`model_options` {odd[0]!r} with model {recipe.model!r}: it has {', '.join(self.options)}, no other"
            )
        self.map = map_of(recipe)
        self.recipe = recipe
        self.seed = seed
        self.classes = len(recipe.classes)

    @abstractmethod
    def anew(self, rows: Encoded, labels: np.ndarray, present: np.ndarray, begun: Begun | None, offer: Offer) -> Summed:
        """Sum everybody present, from where it was ``begun``; what there is by now is offered now and then."""

    @abstractmethod
    def without(
        self, state: SumArrays, rows: Encoded, labels: np.ndarray, gone: np.ndarray, left: np.ndarray
    ) -> Summed:
        """Take rows out of what was summed; the same arrays as ``anew`` over those that are left."""

    @abstractmethod
    def constants(self, state: SumArrays) -> SumArrays:
        """What of the state is no sum, but what rows were summed by."""

    @abstractmethod
    def weights(self, state: SumArrays) -> SumArrays:
        """What answers, by the state alone."""

    def penalty(self, state: SumArrays) -> np.ndarray | None:
        """What the weights of the state are solved under, if they are solved for."""
        return None

    @abstractmethod
    def answers(self, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        """(rows, classes) logarithms of probabilities, float64."""


class LinearSums(Accumulation):
    """Sums of terms that are linear in the rows' features, or products of two of them."""

    @cached_property
    def drawn(self) -> Constants:
        return self.map.drawn(self.seed)

    @abstractmethod
    def terms(self, features: np.ndarray, labels: np.ndarray) -> SumArrays:
        """What some rows add: (columns, …) int64."""

    @abstractmethod
    def held(self, sums: SumArrays) -> np.ndarray:
        """How much the rows hold of each column."""

    @abstractmethod
    def derived(self, sums: SumArrays) -> SumArrays:
        """What answers, of sums over the columns that answer."""

    def taken(self, sums: SumArrays, columns: np.ndarray) -> SumArrays:
        """Some columns of sums, in this order."""
        return {name: value[columns] for name, value in sums.items()}

    def anew(self, rows: Encoded, labels: np.ndarray, present: np.ndarray, begun: Begun | None, offer: Offer) -> Summed:
        check_rows(len(labels))
        if begun is None:
            spares = self.map.derived(rows, among(present, labels), spares=True)
            begun = Begun(named(OF_MAP, self.drawn | spares), 0)
        wide, sums = part(OF_MAP, begun.state), part(OF_SUMS, begun.state)
        for slots in range(begun.slots, len(labels), BLOCK):
            block = present[(present >= slots) & (present < slots + BLOCK)]
            terms = self._terms(rows, labels, block, wide)
            sums = {name: sums.get(name, 0) + value for name, value in terms.items()}
            offer(Begun(named(OF_MAP, wide) | named(OF_SUMS, sums), slots + len(labels[slots : slots + BLOCK])))
        constants = self.drawn | self.map.derived(rows, among(present, labels))
        return self._made(wide, sums, constants, len(present))

    def without(
        self, state: SumArrays, rows: Encoded, labels: np.ndarray, gone: np.ndarray, left: np.ndarray
    ) -> Summed:
        wide, sums = part(OF_MAP, state), part(OF_SUMS, state)
        constants = self.drawn | self.map.derived(rows, among(left, labels))
        if self.map.columns(wide, constants) is None:
            again = self.anew(rows, labels, left, None, lambda begun: None)
            why = f"accumulated again and not subtracted from: {self.map.moved(wide, constants)}"
            return Summed(again.state, again.weights, again.row_sums, (why,))
        for start in range(0, len(gone), BLOCK):
            terms = self._terms(rows, labels, gone[start : start + BLOCK], wide)
            sums = {name: value - terms[name] for name, value in sums.items()}
        wide, order = self.map.lighter(wide, self.held(sums))
        return self._made(wide, self.taken(sums, order), constants, len(gone))

    def _terms(self, rows: Encoded, labels: np.ndarray, slots: np.ndarray, wide: Constants) -> SumArrays:
        found: SumArrays = {}
        for view in self.map.views(rows[slots]):
            features = self.map.features(view, wide)
            if (largest := int(np.abs(features).max(initial=0))) > LARGEST:
                raise RunError(
                    f"a feature is {largest}, and ±{LARGEST} is the most that sums are exact for: the map "
                    f"{self.map.name!r} is not one to sum by"
                )
            found = {name: found.get(name, 0) + value for name, value in self.terms(features, labels[slots]).items()}
        return found

    def constants(self, state: SumArrays) -> SumArrays:
        return {name: value for name, value in state.items() if name.startswith(OF_MAP)}

    def weights(self, state: SumArrays) -> SumArrays:
        wide, sums = part(OF_MAP, state), part(OF_SUMS, state)
        return self._made(wide, sums, self.map.answering(wide, self.held(sums)), 0).weights

    def _answering(self, state: SumArrays) -> SumArrays:
        """Sums over the columns that answer."""
        wide, sums = part(OF_MAP, state), part(OF_SUMS, state)
        columns = self.map.columns(wide, self.map.answering(wide, self.held(sums)))
        assert columns is not None, "what answers is among what was summed"
        return self.taken(sums, columns)

    def _made(self, wide: Constants, sums: SumArrays, constants: Constants, summed: int) -> Summed:
        columns = self.map.columns(wide, constants)
        assert columns is not None, "what answers is among what was summed"
        weights = named(OF_MAP, constants) | self.derived(self.taken(sums, columns))
        return Summed(named(OF_MAP, wide) | named(OF_SUMS, sums), weights, summed)

    def features(self, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        return self.map.features(rows, part(OF_MAP, weights)).astype(np.float64)


class RidgeSums(LinearSums):
    """Least squares on y = ±1, one column a class, one alone for two: A = Σ φφᵀ, B = Σ φyᵀ; weights as rounded once."""

    def terms(self, features: np.ndarray, labels: np.ndarray) -> SumArrays:
        targets = np.arange(self.classes) if self.classes > 2 else np.array([1])
        signs = np.where(labels[:, None] == targets, 1, -1)
        return {"products": product(features, features), "targets": product(features, signs)}

    def held(self, sums: SumArrays) -> np.ndarray:
        return sums["products"].diagonal()

    def taken(self, sums: SumArrays, columns: np.ndarray) -> SumArrays:
        return {"products": sums["products"][np.ix_(columns, columns)], "targets": sums["targets"][columns]}

    def derived(self, sums: SumArrays) -> SumArrays:
        penalty = self._penalty(sums["products"], sums["targets"])
        return {"weights": solve(sums["products"], penalty, sums["targets"]).weights}

    def penalty(self, state: SumArrays) -> np.ndarray:
        sums = self._answering(state)
        return self._penalty(sums["products"], sums["targets"])

    def _penalty(self, products: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """What the sums' diagonal is raised by, as the map says it."""
        kind, shift = self.map.penalty(self.classes)
        return PENALTIES[kind](products, targets, shift)

    def answers(self, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        scores = self.features(weights, rows) @ weights["weights"].astype(np.float64)
        if scores.shape[1] == 1:
            scores = np.concatenate([-scores, scores], axis=1)
        beliefs = np.clip((1 + scores) / 2, LEAST_BELIEF, 1)
        return np.log(beliefs / beliefs.sum(axis=1, keepdims=True))


class PatchSums(RidgeSums):
    """The same on patches; a recipe states which filters these are looked at through."""

    options = ("width", "filters")


class BayesSums(LinearSums):
    """Presences a class and column, and rows a class, which are those of the constant; each count is raised by one."""

    def terms(self, features: np.ndarray, labels: np.ndarray) -> SumArrays:
        return {"counts": product(features != 0, labels[:, None] == np.arange(self.classes))}

    def held(self, sums: SumArrays) -> np.ndarray:
        return sums["counts"].sum(axis=1)

    def derived(self, sums: SumArrays) -> SumArrays:
        return {"weights": sums["counts"]}

    def answers(self, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        counts = weights["weights"] + 1.0
        shares = np.log(counts / counts[:-1].sum(axis=0))
        shares[-1] = np.log(counts[-1] / counts[-1].sum())
        scores = self.features(weights, rows) @ shares
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class ForestSums(Accumulation):
    """A forest: its counts are sums, and where the best split of a node changes, what lies below grows again."""

    options = ("trees", "depth")
    in_parts = True

    def __init__(self, recipe: Recipe, seed: bytes = bytes(32)) -> None:
        super().__init__(recipe, seed)
        self.grower()

    def anew(self, rows: Encoded, labels: np.ndarray, present: np.ndarray, begun: Begun | None, offer: Offer) -> Summed:
        there = among(present, labels)
        constants = self.map.derived(rows, there)
        grown = self.grower(constants, rows, labels).grow(there)
        offer(Begun({}, len(labels)))
        return self._made(grown, constants, grown.row_sums)

    def without(
        self, state: SumArrays, rows: Encoded, labels: np.ndarray, gone: np.ndarray, left: np.ndarray
    ) -> Summed:
        constants = self.map.derived(rows, among(left, labels))
        pruned = self.grower(constants, rows, labels).without(Forest.of(state), gone)
        again = "the least or greatest value of a column is another now: every tree grew again"
        below = f"{counted(pruned.rebuilt, 'subtree')} grew again, because the best split of a node is another now"
        why = again if pruned.anew else below if pruned.rebuilt else None
        return self._made(pruned.forest, constants, pruned.row_sums, why)

    def constants(self, state: SumArrays) -> SumArrays:
        return {name: state[name] for name in (BOUNDS, "edges", "salts")}

    def weights(self, state: SumArrays) -> SumArrays:
        return {name: value for name, value in state.items() if name not in (BOUNDS, "sides", "seats")}

    def answers(self, weights: Mapping[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
        return np.log(Forest.of(weights).probabilities(rows))

    def grower(
        self, constants: Constants | None = None, rows: Encoded | None = None, labels: np.ndarray | None = None
    ) -> Grower:
        """What grows the trees by edges that are derived; without rows it knows what may be asked of them."""
        assert isinstance(self.map, TableMap), "a forest takes tables"
        seen = np.zeros((0, len(self.map.entries))) if rows is None else rows
        assert isinstance(seen, np.ndarray), "a forest asks about no words"
        edges = np.zeros((self.map.numbers, MOST_EDGES)) if constants is None else constants["edges"]
        options = cast("dict[str, int]", dict(self.recipe.model_options))
        known = np.zeros(0, dtype=np.int64) if labels is None else labels
        return Grower(self.seed, seen, known, edges, self.classes, **options)

    def _made(self, forest: Forest, constants: Constants, row_sums: int, notice: str | None = None) -> Summed:
        state = {**forest.arrays(), BOUNDS: constants["bounds"]}
        return Summed(state, self.weights(state), row_sums, () if notice is None else (notice,))


ACCUMULATIONS: Mapping[str, type[Accumulation]] = {
    "ridge": RidgeSums,
    "patch-ridge": PatchSums,
    "naive-bayes": BayesSums,
    "forest": ForestSums,
}


def accumulation_of(recipe: Recipe, seed: bytes = bytes(32)) -> Accumulation:
    """How the model of a recipe is summed; what it cannot be summed of is refused."""
    return ACCUMULATIONS[recipe.model](recipe, seed)


def product(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """featuresᵀ · others, exactly: no partial sum of a block reaches what its floats hold of whole numbers."""
    largest = int(np.abs(features).max(initial=1)) * int(np.abs(others).max(initial=1)) * max(1, len(features))
    kind = np.float32 if largest < 2**24 else np.float64
    one = features.astype(kind)
    other = one if others is features else others.astype(kind)
    return (one.T @ other).astype(np.int64)


def among(slots: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Booleans over all slots: whether each is one of these."""
    return np.bincount(slots, minlength=len(labels)).astype(bool)


def check_rows(count: int) -> None:
    """More rows than sums are exact for."""
    if count > MOST_ROWS:
        raise InvalidArgument(
            f"{count:,} rows to sum: with features up to {LARGEST} sums are exact up to {MOST_ROWS:,} rows; train on "
            "fewer (`rows`), or use another model"
        )


def named(prefix: str, arrays: Mapping[str, np.ndarray]) -> SumArrays:
    return {prefix + name: value for name, value in arrays.items()}


def part(prefix: str, arrays: Mapping[str, np.ndarray]) -> SumArrays:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
