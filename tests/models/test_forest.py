"""Trees that are counts: grown as a plain loop grows them, and without rows as if these had never been there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.hashing import array_bytes
from expunge.core.streams import Stream
from expunge.models import splits
from expunge.models.features.edges import bounds_of, table_of_edges
from expunge.models.forest import Forest, Grower, Nodes
from expunge.models.forest_faults import fault
from expunge.models.splits import best

ROOT = Path(__file__).parents[2]
SEED = bytes(range(32))
NUMBERS = 3
TAKEN_SLOT, GONE_SLOT = 40, 18


def made_rows(count: int = 600, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Coarse numbers, so that splits tie and rows repeat; a column that says nothing; categories; noisy labels."""
    stream = Stream(bytes([seed]) * 32, "test-forest")
    numbers = np.stack([stream.below(9, count) / 4 - 1, stream.below(5, count) * 10.0, np.full(count, 7.0)], axis=1)
    codes = np.stack([stream.below(2, count), stream.below(30, count)], axis=1) * 987654321987.0 + 5
    labels = (numbers[:, 0] > 0) * 1 + (codes[:, 0] > 5) * (numbers[:, 1] > 20)
    noise = stream.below(10, count) == 0
    return np.concatenate([numbers, codes], axis=1), np.where(noise, stream.below(classes, count), labels % classes)


def grower_of(present: np.ndarray, classes: int = 2, **options: Any) -> Grower:
    rows, labels = made_rows(len(present), classes)
    edges = table_of_edges(bounds_of(rows[present, :NUMBERS]))
    return Grower(SEED, rows, labels, edges, classes, **{"trees": 3, **options})


def digest(forest: Forest) -> str:
    state = hashlib.sha256()
    for name, values in sorted(forest.arrays().items()):
        state.update(name.encode() + array_bytes(values))
    return state.hexdigest()


def slow(grower: Grower, present: np.ndarray) -> Forest:
    """The same trees by recursion, a row and a question at a time."""
    edges = [[float(edge) for edge in own if edge != np.inf] for own in grower.edges]
    asked = [column for column in range(grower.rows.shape[1]) if column >= len(edges) or edges[column]]
    nodes: dict[tuple[int, int], tuple[list[int], tuple[int, int, int], list[list[int]]]] = {}
    seats = np.full((grower.trees, len(present)), -1)
    salts = [Stream(grower.seed, "forest", tree).word() for tree in range(grower.trees)]

    def mixed(word: int) -> int:
        word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ word >> 27) * 0x94D049BB133111EB) % 2**64
        return word ^ word >> 31

    def says_yes(tree: int, slot: int, column: int, split: int) -> bool:
        value = grower.rows[slot, column]
        if column < len(edges):
            return bool(value >= edges[column][split])
        return mixed((int(value) + salts[tree]) % 2**64) * 12 >> 64 == split

    def count(slots: list[int]) -> list[int]:
        return [sum(1 for slot in slots if grower.labels[slot] == label) for label in range(grower.classes)]

    def purity(counts: list[int]) -> float:
        return sum(one * one for one in counts) / sum(counts)

    def grow(tree: int, path: int, slots: list[int]) -> None:
        counts = count(slots)
        split, sides = (-2, -2, -2), []
        if len(slots) >= 8 and path < 2**grower.depth and max(counts) < len(slots) and asked:
            words = [int(word) for word in Stream(grower.seed, "forest", tree, path).words(120)]
            split, least = (-1, -1, -1), -1.0
            for candidate in range(60):
                column = asked[words[candidate] * len(asked) >> 64]
                choices = len(edges[column]) if column < len(edges) else 12
                which = words[60 + candidate] * choices >> 64
                yes = count([slot for slot in slots if says_yes(tree, slot, column, which)])
                no = [all_of - some for all_of, some in zip(counts, yes, strict=True)]
                sides.append(yes)
                if sum(yes) and sum(no) and purity(yes) + purity(no) > least:
                    split, least = (candidate, column, which), purity(yes) + purity(no)
        nodes[tree, path] = counts, split, sides
        if split[0] < 0:
            seats[tree, slots] = path
            return
        for answer in (0, 1):
            grow(tree, 2 * path + answer, [slot for slot in slots if says_yes(tree, slot, *split[1:]) == answer])

    for tree in range(grower.trees):
        grow(tree, 1, [int(slot) for slot in np.flatnonzero(present)])
    ordered = [(place, *nodes[place]) for place in sorted(nodes)]
    return Forest(
        Nodes(
            np.array([place[0] for place, *_ in ordered]),
            np.array([place[1] for place, *_ in ordered]),
            np.array([counts for _, counts, *_ in ordered]),
            np.array([split for *_, split, _ in ordered]),
            np.array([sides for *_, sides in ordered if sides]).reshape(-1, 60, grower.classes),
        ),
        np.array(salts, dtype=np.uint64).view(np.int64),
        grower.edges,
        seats,
    )


@pytest.fixture(scope="module")
def present() -> np.ndarray:
    return Stream(SEED, "test-present").below(10, 600) > 0


@pytest.fixture(scope="module")
def grower(present: np.ndarray) -> Grower:
    return grower_of(present)


@pytest.fixture(scope="module")
def forest(grower: Grower, present: np.ndarray) -> Forest:
    return grower.grow(present)


def left(grower: Grower, present: np.ndarray, gone: np.ndarray) -> tuple[Grower, np.ndarray]:
    """Who is left, and what grows them: edges are those of the rows that are left."""
    still = present.copy()
    still[gone] = False
    return replace(grower, edges=table_of_edges(bounds_of(grower.rows[still, :NUMBERS]))), still


@pytest.mark.parametrize(("classes", "depth"), [(2, 14), (3, 14), (3, 3)])
def test_grows_as_a_loop_grows(present: np.ndarray, classes: int, depth: int) -> None:
    some = present & (np.arange(600) < 200)
    own = grower_of(some, classes, depth=depth)
    grown = own.grow(some)
    assert (grown.nodes.path >= 2**depth).any() == (depth == 3)
    assert digest(grown) == digest(slow(own, some))
    assert grown.row_sums == sum(int(seat).bit_length() for seat in grown.seats.ravel() if seat > 0)


GONE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "1": lambda slots, labels: slots[17:18],
    "10": lambda slots, labels: slots[::50][:10],
    "100": lambda slots, labels: slots[::5][:100],
    "a class": lambda slots, labels: slots[labels[slots] == 1],
    "all but one": lambda slots, labels: slots[1:],
    "everybody": lambda slots, labels: slots,
}


@pytest.mark.parametrize("name", GONE)
def test_without_is_as_if_they_had_never_been_there(
    grower: Grower, present: np.ndarray, forest: Forest, name: str
) -> None:
    gone = GONE[name](np.flatnonzero(present), grower.labels)
    still = present.copy()
    still[gone] = False
    pruned = grower.without(forest, gone)
    grown = grower.grow(still)
    assert digest(pruned.forest) == digest(grown)
    assert digest(grower.without(forest, gone[::-1]).forest) == digest(grown)
    assert pruned.row_sums == counted(forest, grown, gone)
    assert not pruned.anew
    if len(gone) >= 10:
        assert pruned.rebuilt > 0  # so a twin that subtracts and keeps its splits would not pass


def counted(before: Forest, after: Forest, gone: np.ndarray) -> int:
    """Row-sums read off two forests: rows that go, at their nodes, and whoever sits below a split that is another."""
    was, now = (
        {(int(tree), int(path)): tuple(split) for tree, path, split in zip(one.tree, one.path, one.split, strict=True)}
        for one in (before.nodes, after.nodes)
    )
    found = sum(int(seat).bit_length() for seat in before.seats[:, gone].ravel())
    for (tree, path), rows in zip(now, after.nodes.counts.sum(axis=1), strict=True):
        above = [(tree, path >> step) for step in range(1, path.bit_length())]
        found += int(rows) * any(was.get(one) != now[one] for one in above)
    return found


def test_fifty_in_sequence(grower: Grower, present: np.ndarray, forest: Forest) -> None:
    still, rebuilt = present.copy(), 0
    for slot in np.flatnonzero(present)[::10][:50]:
        still[slot] = False
        pruned = grower.without(forest, np.array([slot]))
        forest, rebuilt = pruned.forest, rebuilt + pruned.rebuilt
    assert digest(forest) == digest(grower.grow(still))
    assert rebuilt > 0


def test_a_twin_of_somebody_who_is_left_changes_nothing(grower: Grower, present: np.ndarray) -> None:
    again = np.concatenate([np.arange(600), np.arange(100)])  # the first hundred sit here twice
    doubled = replace(grower, rows=grower.rows[again], labels=grower.labels[again])
    before = np.append(present, present[:100])
    gone = np.flatnonzero(before[600:])
    pruned = doubled.without(doubled.grow(before), gone).forest
    before[gone] = False
    assert digest(pruned) == digest(doubled.grow(before))


def test_another_process_with_other_threads_grows_the_same(forest: Forest) -> None:
    code = (
        "import numpy as np; from expunge.core.streams import Stream; from tests.models.test_forest import *; "
        "present = Stream(SEED, 'test-present').below(10, 600) > 0; print(digest(grower_of(present).grow(present)))"
    )
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert done.stdout.strip() == digest(forest)


def test_where_an_end_of_a_range_goes_all_grows_anew_and_it_says_so(
    grower: Grower, present: np.ndarray, forest: Forest
) -> None:
    gone = np.flatnonzero(present & (grower.rows[:, 0] == 1.0))
    other, still = left(grower, present, gone)
    pruned = other.without(forest, gone)
    assert pruned.anew
    assert digest(pruned.forest) == digest(other.grow(still))
    assert pruned.row_sums == pruned.forest.row_sums == int(pruned.forest.nodes.counts.sum())


def test_one_tree_is_grown_alone(grower: Grower, present: np.ndarray, forest: Forest) -> None:
    for tree in range(3):
        assert digest(grower.grow(present, only=[tree])) == digest(forest.only(tree))
    assert digest(forest.only(0)) != digest(forest.only(1))


def test_its_arrays_are_the_forest(forest: Forest) -> None:
    arrays = forest.arrays()
    assert digest(Forest.of(arrays)) == digest(forest)
    assert {name: values.dtype.name for name, values in arrays.items() if values.dtype != np.int64} == {
        "edges": "float64"
    }
    answering = {name: values for name, values in arrays.items() if name not in ("sides", "seats")}
    rows, _ = made_rows()
    assert np.array_equal(Forest.of(answering).probabilities(rows), forest.probabilities(rows))


def test_answers_are_means_of_smoothed_shares(grower: Grower, forest: Forest) -> None:
    answers = forest.probabilities(grower.rows)
    nodes = forest.nodes
    counts = {(t, p): list(map(int, one)) for t, p, one in zip(nodes.tree, nodes.path, nodes.counts, strict=True)}
    for slot in range(0, 600, 7):
        if forest.seats[0, slot] > 0:
            own = [counts[tree, int(forest.seats[tree, slot])] for tree in range(3)]
            means = [sum(Fraction(2 * one[label] + 1, 2 * sum(one) + 2) for one in own) / 3 for label in range(2)]
            assert answers[slot] == pytest.approx([float(mean) for mean in means], rel=1e-15)
    assert (answers.argmax(axis=1) == grower.labels).mean() > 0.85


def test_of_nobody_nothing_is_said(grower: Grower) -> None:
    nobody = grower.grow(np.zeros(600, dtype=bool))
    assert (nobody.probabilities(grower.rows) == 0.5).all()


def test_best_is_the_lowest_of_equals_and_least_impure() -> None:
    counts = np.array([[6, 4], [6, 4], [5, 5]])
    sides = np.array(
        [[[1, 1], [5, 1], [1, 3], [0, 0]], [[0, 0], [6, 4], [0, 0], [0, 0]], [[2, 2], [3, 3], [1, 1], [1, 1]]]
    )
    assert best(counts, sides).tolist() == [1, -1, 0]


def test_best_has_no_more_than_a_rounding_to_spare() -> None:
    draws = np.random.default_rng(3)
    counts = draws.integers(1, 2**20, (300, 3))
    sides = (counts[:, None] * draws.random((300, 60, 3))).astype(np.int64)

    def purity(parts: np.ndarray) -> Fraction:
        return Fraction(sum(int(one) ** 2 for one in parts), max(1, int(parts.sum())))

    for node, found in enumerate(best(counts, sides)):
        all_of = [purity(yes) + purity(counts[node] - yes) for yes in sides[node]]
        assert all_of[found] >= max(all_of) * (1 - Fraction(1, 2**51))


Arrays = dict[str, np.ndarray]


def inner(arrays: Arrays) -> int:
    """A node that is divided, below a root."""
    return int(np.flatnonzero((arrays["split"][:, 0] >= 0) & (arrays["path"] > 1))[0])


def leaf(arrays: Arrays) -> int:
    """One that asks nothing, with more than a row."""
    return int(np.flatnonzero((arrays["split"][:, 0] == -2) & (arrays["counts"].sum(axis=1) > 1))[0])


def entry(arrays: Arrays, node: int) -> int:
    """Where the sides of a node stand."""
    return int((arrays["split"][:node, 0] != -2).sum())


def add(name: str, at: Any, by: int) -> Callable[[Arrays], None]:
    def alter(arrays: Arrays) -> None:
        arrays[name][at(arrays) if callable(at) else at] += by

    return alter


def another_best(arrays: Arrays) -> None:
    """The second best is chosen, as the stream offers it."""
    node = inner(arrays)
    offered = grower_of(np.ones(600, dtype=bool)).questions.candidates(
        SEED, arrays["tree"][[node]], arrays["path"][[node]]
    )
    other = (arrays["split"][node, 0] + 1) % 60
    arrays["split"][node] = other, offered[0][0, other], offered[1][0, other]


def cut(arrays: Arrays) -> None:
    """What is divided last in the first tree becomes a leaf that asks nothing."""
    node = inner(arrays)
    arrays["sides"] = np.delete(arrays["sides"], entry(arrays, node), axis=0)
    arrays["split"][node] = -2


def orphan(arrays: Arrays) -> None:
    """The last leaf of the last tree goes."""
    for name in ("tree", "path", "counts", "split"):
        arrays[name] = arrays[name][:-1]


def moved_row(arrays: Arrays) -> None:
    """A row of one class is counted as one of the other, at a leaf."""
    node = leaf(arrays)
    arrays["counts"][node] = arrays["counts"][node][::-1]


def more_yes(arrays: Arrays) -> None:
    node = inner(arrays)
    arrays["sides"][entry(arrays, node), 0] = arrays["counts"][node] + 1


def another_side(arrays: Arrays) -> None:
    """The chosen candidate is said to divide otherwise, and no worse."""
    node = inner(arrays)
    arrays["sides"][entry(arrays, node), arrays["split"][node, 0]] = arrays["counts"][node] * (1, 0)


FAULTS: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "an array lacks": (lambda arrays: arrays.pop("seats"), "arrays of shapes"),
    "arrays of nothing": (
        lambda arrays: arrays.update({name: arrays[name][0] for name in ("tree", "path", "counts", "split", "sides")}),
        "arrays of shapes",
    ),
    "an array is flat": (lambda arrays: arrays.update(sides=arrays["sides"].ravel()), "arrays of shapes"),
    "reals": (lambda arrays: arrays.update(counts=arrays["counts"] + 0.0), "not whole numbers"),
    "a tree too many": (add("tree", -1, 1), "tree holds numbers"),
    "a count below 0": (add("counts", 0, -1000), "counts holds numbers"),
    "a path too long": (add("path", -1, 2**20), "path holds numbers"),
    "sides of nobody": (lambda arrays: arrays.update(sides=arrays["sides"][1:]), "sides are not of the nodes that ask"),
    "out of order": (lambda arrays: arrays["path"].__setitem__(slice(0, 2), (2, 1)), "not in the order"),
    "other salts": (add("salts", 0, 1), "salts are not the stream's"),
    "other edges": (add("edges", (0, 0), 1), "edges not those"),
    "asks nothing": (cut, "asks nothing although it may"),
    "no leaf": (orphan, "not a root for each tree and two for each node"),
    "too much yes": (more_yes, "said yes to by more rows"),
    "not the best": (another_best, "not the best of its counts"),
    "another column": (add("split", lambda arrays: (inner(arrays), 1), 1), "not the candidate that the stream offers"),
    "a leaf with a split": (add("split", lambda arrays: (leaf(arrays), 2), 1), "not the candidate"),
    "a class at a leaf": (moved_row, "do not add up"),
    "another side": (another_side, "do not add up"),
    "somebody in an empty chair": (lambda arrays: arrays["seats"].__setitem__((0, GONE_SLOT), 2), "seats a row"),
    "nobody in a chair": (lambda arrays: arrays["seats"].__setitem__((1, TAKEN_SLOT), -1), "has no seat at a leaf"),
    "a seat at a node that is divided": (lambda arrays: arrays["seats"].__setitem__((1, TAKEN_SLOT), 1), "no seat"),
    "another leaf": (
        lambda arrays: arrays["seats"].__setitem__((2, TAKEN_SLOT), arrays["seats"][2].max()),
        "as many as it seats",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_seen_without_rows(grower: Grower, present: np.ndarray, forest: Forest, name: str) -> None:
    auditor = replace(grower, rows=np.zeros((0, 5)), labels=np.zeros(0, dtype=np.int64))
    arrays = {known: values.copy() for known, values in forest.arrays().items()}
    assert fault(arrays, present, auditor) is None
    alter, words = FAULTS[name]
    alter(arrays)
    assert words in str(fault(arrays, present, auditor))


def test_a_row_that_was_left_in_is_seen(grower: Grower, present: np.ndarray, forest: Forest) -> None:
    still = present.copy()
    still[TAKEN_SLOT] = False
    assert fault(forest.arrays(), still, grower) == "the counts of a tree are not as many as the rows present"


def test_no_alteration_of_the_structure_passes_or_crashes(grower: Grower, present: np.ndarray, forest: Forest) -> None:
    draws = np.random.default_rng(5)
    honest = forest.arrays()
    for name in ("tree", "path", "counts", "split", "salts", "seats"):
        for _ in range(25):
            arrays = {known: values.copy() for known, values in honest.items()}
            at = draws.integers(arrays[name].size)
            arrays[name].flat[at] ^= int(draws.choice([-1, 1, 2, 7, 2**40, 2**62]))
            assert fault(arrays, present, grower), (name, at)


def test_options_and_rows_out_of_bounds_are_refused(
    grower: Grower, present: np.ndarray, forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidArgument, match="trees 0 of model_options must be a whole number from 1 to 100"):
        replace(grower, trees=0)
    with pytest.raises(InvalidArgument, match="depth 15 of model_options must be a whole number from 1 to 14"):
        replace(grower, depth=15)
    with pytest.raises(InvalidArgument, match="an empty chair is named"):
        grower.without(forest, np.flatnonzero(~present)[:1])
    monkeypatch.setattr("expunge.models.forest.MOST_ROWS", 599)
    with pytest.raises(DataError, match="600 rows are more than 599"):
        replace(grower, trees=1)


def test_large_tables_are_counted_in_pieces(
    grower: Grower, present: np.ndarray, forest: Forest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "LARGEST_TABLE", 700)
    assert digest(grower.grow(present)) == digest(forest)
