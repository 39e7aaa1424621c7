"""What is seen of recorded sums without a row: honest ones have no fault, each way of making them up has its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.train.summed_rows import SEED, recipe_of, table, texts

from expunge.data.dataset import Dataset
from expunge.models.sums import Accumulation, SumArrays, accumulation_of
from expunge.models.sums_faults import FORGED, fault, seated
from expunge.records.arrays import arrays_digest

GONE = (3, 40, 41)
Changed = Callable[[SumArrays], SumArrays]


def made_of(model: str, dataset: Dataset, **options: int) -> tuple[Accumulation, SumArrays, SumArrays, np.ndarray]:
    """How it is summed, the state and the weights of all rows but some, and who is present."""
    summed = accumulation_of(recipe_of(dataset, model, **options), SEED)
    present = np.ones(len(dataset), dtype=bool)
    present[list(GONE)] = False
    rows = summed.map.encode(dataset)
    made = summed.anew(rows, dataset.labels, np.flatnonzero(present), None, lambda begun: None)
    return summed, made.state, made.weights, present


KINDS: dict[str, Callable[[], tuple[Accumulation, SumArrays, SumArrays, np.ndarray]]] = {
    "table": lambda: made_of("ridge", table(), width=200),
    "words": lambda: made_of("ridge", texts(), width=32),
    "bayes": lambda: made_of("naive-bayes", texts(), width=32),
    "forest": lambda: made_of("forest", table(), trees=2, depth=3),
}


def altered(name: str, change: Callable[[np.ndarray], None]) -> Changed:
    def make(state: SumArrays) -> SumArrays:
        value = state[name].copy()
        change(value)
        return state | {name: value}

    return make


def added(name: str, *places: tuple[tuple[int, ...], int]) -> Changed:
    """More at some places of an array."""

    def change(value: np.ndarray) -> None:
        for place, more in places:
            value[place] += more

    return altered(name, change)


FAULTS: dict[str, tuple[str, Changed, str]] = {
    "another number of rows": ("table", added("sums_products", ((-1, -1), 1)), "157"),
    "not symmetric": ("table", added("sums_products", ((0, 1), 1)), "not the same both ways round"),
    "beyond a map": ("table", added("sums_products", ((0, 0), 157 * 2047**2)), "none is above"),
    "targets beyond a map": ("table", added("sums_targets", ((0, 0), 2**40), ((0, 1), -(2**40))), "the most with"),
    "least whole number": ("table", added("sums_products", ((0, 0), -(2**63) + 1)), "none is above"),
    "classes that do not make up all": ("table", added("sums_targets", ((5, 0), 2)), "do not make up the sum"),
    "odd sums of two classes": ("words", added("sums_targets", ((2, 0), 1)), "two classes do not make up"),
    "columns too few": ("table", lambda state: state | {"sums_targets": state["sums_targets"][1:]}, "of shapes"),
    "reals": ("table", lambda state: state | {"sums_targets": state["sums_targets"] * 1.0}, "not whole numbers"),
    "an array more": ("table", lambda state: state | {"map_more": np.zeros(3)}, FORGED),
    "an array of no kind": ("table", lambda state: state | {"more": np.zeros(3)}, FORGED),
    "constants that the seed did not draw": ("table", added("map_hash_key", ((0,), 1)), FORGED),
    "edges of no range": ("table", added("map_edges", ((0, 0), 1)), FORGED),
    "a range without an end": ("table", altered("map_bounds", lambda value: value.fill(np.inf)), FORGED),
    "words out of order": (
        "words",
        altered("map_buckets", lambda value: value.__setitem__([0, 1], value[[1, 0]])),
        FORGED,
    ),
    "a word twice": ("words", altered("map_buckets", lambda value: value.put(1, value[0])), FORGED),
    "a word below none": ("words", altered("map_buckets", lambda value: value.put(0, -1)), FORGED),
    "rows of classes": ("bayes", added("sums_counts", ((-1, 0), 1)), "157 are present"),
    "more presences than rows": ("bayes", added("sums_counts", ((0, 0), 1000)), "or in more than it has"),
    "fewer presences than none": ("bayes", added("sums_counts", ((0, 0), -1000)), "in fewer rows than none"),
    "counts of a forest": ("forest", added("counts", ((0, 0), 1)), "add up"),
    "edges of a forest": ("forest", added("edges", ((0, 0), 1)), FORGED),
    "bounds of a forest": ("forest", added("map_bounds", ((1, 0), 1)), FORGED),
    "no bounds": ("forest", lambda state: {name: state[name] for name in state if name != "map_bounds"}, FORGED),
    "no edges": ("forest", lambda state: {name: state[name] for name in state if name != "edges"}, FORGED),
    "a seat too many": ("forest", altered("seats", lambda value: value[:, GONE[0]].fill(2)), "seats a row"),
}


@pytest.fixture(scope="module", params=KINDS)
def made(request: pytest.FixtureRequest) -> tuple[Accumulation, SumArrays, SumArrays, np.ndarray]:
    return KINDS[request.param]()


def test_honest_sums_have_no_fault_and_make_their_weights_alone(
    made: tuple[Accumulation, SumArrays, SumArrays, np.ndarray],
) -> None:
    summed, state, weights, present = made
    assert fault(summed, state, present) is None
    assert seated(state, present) == 0
    assert arrays_digest(summed.weights(state)) == arrays_digest(weights)
    assert set(summed.constants(state)) < set(state)
    others = present.copy()
    others[GONE[0]] = True
    assert fault(summed, state, others) is not None, "another number of rows"


@pytest.mark.parametrize("name", FAULTS)
def test_each_way_of_making_sums_up_is_named(name: str) -> None:
    kind, change, words = FAULTS[name]
    summed, state, _, present = KINDS[kind]()
    found = fault(summed, change(state), present)
    assert found is not None
    assert words in found


def test_a_forgotten_row_at_a_leaf_is_counted() -> None:
    _, state, _, present = KINDS["forest"]()
    assert seated(FAULTS["a seat too many"][1](state), present) == 1


def test_a_penalty_follows_from_the_sums_that_answer() -> None:
    """The slow twin: by whole numbers of any size, over the words that most rows hold."""
    summed, state, _, _ = KINDS["table"]()
    diagonal = [int(value) for value in state["sums_products"].diagonal()]
    expected = [max(1, sum(diagonal) // len(diagonal) // 2**10)] * (len(diagonal) - 1) + [1]
    found = summed.penalty(state)
    assert found is not None
    assert found.tolist() == expected
    words, bayes = KINDS["words"](), KINDS["bayes"]()
    penalty = words[0].penalty(words[1])
    assert penalty is not None
    assert len(penalty) == 32 < len(words[1]["sums_targets"])
    assert bayes[0].penalty(bayes[1]) is None
