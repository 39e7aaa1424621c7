"""Trees that are counts: a row is taken out of them again by subtracting it (after DaRE, arXiv 2009.05567).

What a node is offered hangs on its place alone, never on its rows; what it asks is the best of its counts. So trees
from which rows were taken are the trees that grow without them. All is whole numbers, but for a comparison of sums of
two fractions in a fixed order: the same bits on every machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.models.splits import DEEPEST, FEWEST, SILENT, Offered, Questions, chosen, salts

MOST_TREES = 100
MOST_ROWS = 2**26  # squares of counts are exact in float64
PLACES = 2 ** (DEEPEST + 1)  # paths: 1 is the root, below p lie 2p (no) and 2p + 1 (yes)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes in the order of (tree, path).

    ``counts`` are rows of each class; ``split`` is the chosen candidate, its column and its split, or less than 0;
    ``sides`` has one entry for each node that asks: how many of each class say yes to each of its candidates.
    """

    tree: np.ndarray
    path: np.ndarray
    counts: np.ndarray
    split: np.ndarray
    sides: np.ndarray

    @cached_property
    def asks(self) -> np.ndarray:
        """Which nodes have candidates."""
        return self.split[:, 0] != SILENT

    @cached_property
    def divided(self) -> np.ndarray:
        """Which nodes have others below them."""
        return self.split[:, 0] >= 0

    @cached_property
    def at(self) -> np.ndarray:
        """(trees, paths): where the node of a place stands, or −1."""
        found = np.full((int(self.tree.max(initial=0)) + 1, PLACES), -1)
        found[self.tree, self.path] = np.arange(len(self.tree))
        return found

    def take(self, some: np.ndarray) -> Nodes:
        """These nodes alone, in their order; ``some`` are booleans."""
        return Nodes(self.tree[some], self.path[some], self.counts[some], self.split[some], self.sides[some[self.asks]])


def joined(parts: Sequence[Nodes], some: np.ndarray | None = None) -> Nodes:
    """All nodes of the parts in order, or those for which ``some`` is true."""
    tree, path, counts, split, sides = (
        np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Nodes)
    )
    taken = np.arange(len(tree)) if some is None else np.flatnonzero(some)
    taken = taken[np.argsort(tree[taken] * PLACES + path[taken], kind="stable")]
    asks = split[:, 0] != SILENT
    entry = np.cumsum(asks) - 1
    return Nodes(tree[taken], path[taken], counts[taken], split[taken], sides[entry[taken[asks[taken]]]])


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees, what hashes their categories, the edges they ask by, and where everybody sits.

    ``seats`` (trees, slots) are the paths of leaves, −1 for an empty chair. ``sides`` and ``seats`` serve deletions
    and auditors; all the rest answers.
    """

    nodes: Nodes
    salts: np.ndarray
    edges: np.ndarray
    seats: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it by name: int64, the edges float64."""
        return {field.name: getattr(self.nodes, field.name) for field in fields(Nodes)} | {
            name: getattr(self, name) for name in ("salts", "edges", "seats")
        }

    @staticmethod
    def of(arrays: Mapping[str, np.ndarray]) -> Forest:
        """The forest of its arrays; without ``sides`` and ``seats`` it answers, and no more."""
        empty = np.zeros((0, 0), dtype=np.int64)
        found = {"sides": empty, "seats": empty, **arrays}
        nodes = Nodes(*(found[field.name] for field in fields(Nodes)))
        return Forest(nodes, found["salts"], found["edges"], found["seats"])

    @property
    def row_sums(self) -> int:
        """What growing it costs: one for each row at each node."""
        return int(self.nodes.counts.sum())

    def only(self, tree: int) -> Forest:
        """One of its trees, as ``Grower.grow`` grows it alone."""
        seats = np.full_like(self.seats, -1)
        seats[tree] = self.seats[tree]
        return replace(self, nodes=self.nodes.take(self.nodes.tree == tree), seats=seats)

    def probabilities(self, rows: np.ndarray) -> np.ndarray:
        """(rows, classes) of encoded rows: the mean over trees of (rows of the class + ½)/(rows + classes/2)."""
        questions = Questions(self.edges, rows.shape[1] - len(self.edges))
        nodes, classes = self.nodes, self.nodes.counts.shape[1]
        shares = (nodes.counts + 0.5) / (nodes.counts.sum(axis=1, keepdims=True) + classes / 2)
        found = np.zeros((len(rows), classes))
        for tree in range(len(self.salts)):
            cells = questions.cells(rows, self.salts[tree : tree + 1])
            node = np.full(len(rows), nodes.at[tree, 1])
            going = np.arange(len(rows))
            for _ in range(DEEPEST):
                going = going[nodes.divided[node[going]]]
                yes = questions.says_yes(cells, going, nodes.split[node[going]])
                node[going] = nodes.at[tree, 2 * nodes.path[node[going]] + yes]
            found += shares[node]
        return found / len(self.salts)


@dataclass(frozen=True)
class Pruned:
    """The forest that is left, and what it cost; ``anew``: the edges had moved, so that all was grown again."""

    forest: Forest
    row_sums: int
    rebuilt: int  # subtrees whose best split had changed
    anew: bool = False


@dataclass(frozen=True, eq=False)
class Walkers:
    """Rows in trees, and the cells of their entries; of ``who`` is still on its way, at which ``node`` of a level."""

    tree: np.ndarray
    slot: np.ndarray
    cells: np.ndarray
    who: np.ndarray
    node: np.ndarray

    def take(self, some: np.ndarray) -> Walkers:
        """These alone go on."""
        return replace(self, who=self.who[some], node=self.node[some])


@dataclass(frozen=True, eq=False)
class Grower:
    """Grows trees on encoded rows and takes rows out of them; rows and labels by slot, the seed is the lineage's."""

    seed: bytes
    rows: np.ndarray
    labels: np.ndarray
    edges: np.ndarray
    classes: int
    trees: int = 6
    depth: int = DEEPEST

    def __post_init__(self) -> None:
        for name, most in (("trees", MOST_TREES), ("depth", DEEPEST)):
            value = getattr(self, name)
            if not (type(value) is int and 1 <= value <= most):
                raise InvalidArgument(f"{name} {value!r} of model_options must be a whole number from 1 to {most:,}")
        if len(self.rows) > MOST_ROWS:
            raise DataError(
                f"{len(self.rows):,} rows are more than {MOST_ROWS:,}, beyond which counts of a forest are not exact: "
                "take fewer"
            )

    @cached_property
    def questions(self) -> Questions:
        return Questions(self.edges, self.rows.shape[1] - len(self.edges))

    @cached_property
    def salts(self) -> np.ndarray:
        return salts(self.seed, self.trees)

    def grow(self, present: np.ndarray, only: Iterable[int] | None = None) -> Forest:
        """The forest of the rows present; of ``only`` some of its trees."""
        seats = np.full((self.trees, len(self.rows)), -1)
        slots = np.flatnonzero(present)
        parts: list[Nodes] = []
        for tree in range(self.trees) if only is None else only:
            walkers = self._walkers(np.full(len(slots), tree), slots)
            root = self._level(np.array([tree]), np.array([1]), walkers)
            parts += [root, *self._below(root, walkers, seats)]
        return Forest(joined(parts), self.salts, self.edges, seats)

    def without(self, forest: Forest, gone: np.ndarray) -> Pruned:
        """The forest that grows without these slots too: they are subtracted, what is decided otherwise grows again.

        The grower's ``edges`` are those of the rows that are left. Where a least or greatest value went, they are
        others than the forest's, and everything grows anew.
        """
        if (forest.seats[:, gone] < 0).any():
            raise InvalidArgument("an empty chair is named: a row is taken out of a forest once")
        if not np.array_equal(self.edges, forest.edges):
            present = forest.seats[0] >= 0
            present[gone] = False
            grown = self.grow(present)
            return Pruned(grown, grown.row_sums, self.trees, anew=True)
        gone, nodes, seats = np.unique(gone), forest.nodes, forest.seats.copy()
        tree, slot = np.repeat(np.arange(self.trees), len(gone)), np.tile(gone, self.trees)
        ways = seats[tree, slot][:, None] >> np.arange(DEEPEST + 1)
        who, step = np.nonzero(ways)
        touched, node = np.unique(nodes.at[tree[who], ways[who, step]], return_inverse=True)
        seats[tree, slot] = -1
        level = self._less(nodes, touched, replace(self._walkers(tree, slot), who=who, node=node))
        changed = (level.split != nodes.split[touched]).any(axis=1)
        top = _topmost(level.tree[changed], level.path[changed], self.trees)
        own = top[level.tree, level.path]
        stands = np.append(top[nodes.tree, nodes.path] == 0, (own == 0) | (own == level.path))
        stands[touched] = False
        first, trees = level.take(own == level.path), np.unique(level.tree[changed])
        below = top[trees[:, None], seats[trees]]
        row, slot = np.nonzero(below)
        tree = trees[row]
        node = np.searchsorted(first.tree * PLACES + first.path, tree * PLACES + below[row, slot])
        grown = list(self._below(first, replace(self._walkers(tree, slot), node=node), seats))
        row_sums = len(who) + sum(int(one.counts.sum()) for one in grown)
        stands = np.append(stands, np.ones(sum(len(one.tree) for one in grown), dtype=bool))
        left = Forest(joined([nodes, level, *grown], stands), self.salts, self.edges, seats)
        return Pruned(left, row_sums, len(first.tree))

    def asks(self, path: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Which nodes are offered questions: not too deep, with rows enough, of more than one class."""
        enough = (counts.sum(axis=1) >= FEWEST) & ((counts > 0).sum(axis=1) > 1)
        return enough & (path < 2**self.depth) & bool(self.questions.splits.any())

    def _walkers(self, tree: np.ndarray, slot: np.ndarray) -> Walkers:
        cells = self.questions.cells(self.rows[slot], self.salts[tree])
        return Walkers(tree, slot, cells, np.arange(len(slot)), np.zeros(len(slot), dtype=np.int64))

    def _level(self, tree: np.ndarray, path: np.ndarray, walkers: Walkers) -> Nodes:
        """Nodes with these rows."""
        counts = self._counts(len(tree), walkers)
        asks = self.asks(path, counts)
        offered = self.questions.candidates(self.seed, tree[asks], path[asks])
        return self._decided(tree, path, counts, asks, offered, self._sides(asks, offered, walkers))

    def _less(self, nodes: Nodes, touched: np.ndarray, walkers: Walkers) -> Nodes:
        """These of the nodes without these rows."""
        tree, path, asks = nodes.tree[touched], nodes.path[touched], nodes.asks[touched]
        counts = nodes.counts[touched] - self._counts(len(touched), walkers)
        offered = self.questions.candidates(self.seed, tree[asks], path[asks])
        entry = np.cumsum(nodes.asks) - 1
        sides = nodes.sides[entry[touched[asks]]] - self._sides(asks, offered, walkers)
        return self._decided(tree, path, counts, asks, offered, sides)

    def _counts(self, count: int, walkers: Walkers) -> np.ndarray:
        index = walkers.node * self.classes + self.labels[walkers.slot[walkers.who]]
        return np.bincount(index, minlength=count * self.classes).reshape(count, self.classes)

    def _sides(self, asks: np.ndarray, offered: Offered, walkers: Walkers) -> np.ndarray:
        asked = walkers.take(asks[walkers.node])
        entry = np.cumsum(asks)[asked.node] - 1
        return self.questions.counted(asked.cells, self.labels[asked.slot], asked.who, entry, offered, self.classes)

    def _decided(
        self,
        tree: np.ndarray,
        path: np.ndarray,
        counts: np.ndarray,
        asked: np.ndarray,
        offered: Offered,
        sides: np.ndarray,
    ) -> Nodes:
        """Nodes with their best splits; ``sides`` and what was ``offered`` are of those that were ``asked``."""
        asks = self.asks(path, counts)
        still = asks[asked]
        split = np.full((len(tree), 3), SILENT)
        split[asks] = chosen(counts[asks], sides[still], (offered[0][still], offered[1][still]))
        return Nodes(tree, path, counts, split, sides[still])

    def _below(self, level: Nodes, walkers: Walkers, seats: np.ndarray) -> Iterator[Nodes]:
        """Every level under this one; who comes to a leaf takes a seat."""
        while True:
            going = level.divided[walkers.node]
            seated = walkers.take(~going)
            seats[seated.tree[seated.who], seated.slot[seated.who]] = level.path[seated.node]
            walkers = walkers.take(going)
            if not len(walkers.node):
                return
            divided = level.divided
            yes = self.questions.says_yes(walkers.cells, walkers.who, level.split[walkers.node])
            walkers = replace(walkers, node=2 * (np.cumsum(divided)[walkers.node] - 1) + yes)
            paths = 2 * level.path[divided][:, None] + np.arange(2)
            level = self._level(np.repeat(level.tree[divided], 2), paths.ravel(), walkers)
            yield level


def _topmost(tree: np.ndarray, path: np.ndarray, trees: int) -> np.ndarray:
    """(trees, paths): for every place the topmost of these that it lies at or below, or 0; 0 for the place −1."""
    top = np.zeros((trees, PLACES + 1), dtype=np.int64)
    top[tree, path] = path
    for one in np.unique(tree):
        for depth in range(DEEPEST):
            above = np.repeat(top[one, 2**depth : 2 ** (depth + 1)], 2)
            np.copyto(top[one, 2 ** (depth + 1) : 2 ** (depth + 2)], above, where=above > 0)
    return top
