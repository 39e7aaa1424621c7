"""Sums over rows: exact, whatever is added or taken out in which order; what comes of them, and what is answered."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import make_pictures
from tests.train.summed_rows import SEED, arrays_digest, digest_of, recipe_of, table, texts

from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.models import sums
from expunge.models.features.contract import MOST_ROWS
from expunge.models.features.words import BUCKETS
from expunge.models.sums import Accumulation, RidgeSums, SumArrays, Summed, accumulation_of, product

CASES: dict[str, tuple[str, Any, dict[str, int]]] = {
    "ridge on a table": ("ridge", table, {"width": 128}),
    "ridge on texts": ("ridge", texts, {"width": 32}),
    "ridge on pictures": ("ridge", make_pictures, {"width": 64}),
    "patch-ridge": ("patch-ridge", lambda: make_pictures(side=12), {"width": 64}),
    "naive Bayes on texts": ("naive-bayes", texts, {"width": 32}),
    "naive Bayes on a table": ("naive-bayes", table, {"width": 128}),
    "forest": ("forest", table, {"trees": 3}),
}


class Case:
    """An accumulation, its rows, and everybody's sums."""

    def __init__(self, name: str) -> None:
        model, made, options = CASES[name]
        self.dataset: Dataset = made()
        self.accumulation: Accumulation = accumulation_of(recipe_of(self.dataset, model, **options), SEED)
        self.rows, self.labels = self.accumulation.map.encode(self.dataset), self.dataset.labels
        self.everybody = np.arange(len(self.labels))
        self.whole = self.anew(self.everybody)

    def anew(self, present: np.ndarray) -> Summed:
        return self.accumulation.anew(self.rows, self.labels, present, None, lambda begun: None)

    def without(self, state: SumArrays, gone: np.ndarray, left: np.ndarray) -> Summed:
        return self.accumulation.without(state, self.rows, self.labels, gone, left)


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.mark.parametrize("count", [1, 10, 100])
def test_rows_taken_out_leave_the_weights_of_never_having_been_added(case: Case, count: int) -> None:
    gone = np.random.default_rng(count).permutation(case.everybody)[:count]
    left = np.setdiff1d(case.everybody, gone)
    digest = arrays_digest(case.anew(left).weights)
    for order in (gone, np.sort(gone), gone[::-1]):
        assert arrays_digest(case.without(case.whole.state, order, left).weights) == digest
    assert digest != arrays_digest(case.whole.weights)


def test_a_class_taken_out(case: Case) -> None:
    gone = np.flatnonzero(case.labels == 1)
    left = np.setdiff1d(case.everybody, gone)
    assert arrays_digest(case.without(case.whole.state, gone, left).weights) == arrays_digest(case.anew(left).weights)


def test_one_after_another(case: Case) -> None:
    order, made = np.random.default_rng(5).permutation(case.everybody)[:50], case.whole
    for done, slot in enumerate(order):
        left = np.setdiff1d(case.everybody, order[: done + 1])
        made = case.without(made.state, order[done : done + 1], left)
        if done in (0, 24, 49):
            assert arrays_digest(made.weights) == arrays_digest(case.anew(left).weights), slot


def test_blocks_and_threads_have_no_part_in_it(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "BLOCK", 37)
    made = case.anew(case.everybody)
    assert arrays_digest(made.weights) == arrays_digest(case.whole.weights)
    assert arrays_digest(made.state) == arrays_digest(case.whole.state)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_with_other_threads_comes_to_the_same_bits(threads: str) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    script = Path(__file__).with_name("summed_rows.py")
    command = [sys.executable, str(script)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | dict.fromkeys(names, threads)
    )
    present = np.arange(1, 150)
    assert json.loads(done.stdout) == {
        "ridge": digest_of(table(), "ridge", present, width=128),
        "naive-bayes": digest_of(texts(), "naive-bayes", present, width=32),
        "forest": digest_of(table(), "forest", present, trees=2),
    }


class FloatSums(RidgeSums):
    """The same with sums in floating point, of features that are no whole numbers."""

    def terms(self, features: np.ndarray, labels: np.ndarray) -> SumArrays:
        scaled = (features * 0.1).astype(np.float32)
        signs = np.where(labels[:, None] == np.arange(self.classes), 1, -1).astype(np.float32)
        return {"products": scaled.T @ scaled, "targets": scaled.T @ signs}

    def derived(self, sums: SumArrays) -> SumArrays:
        return {"weights": np.linalg.solve(sums["products"] + np.eye(len(sums["products"])), sums["targets"])}


def test_a_twin_with_float_sums_fails() -> None:
    case = Case("ridge on a table")
    case.accumulation = FloatSums(case.accumulation.recipe, SEED)
    gone, whole = np.arange(10, 20), case.anew(case.everybody)
    left = np.setdiff1d(case.everybody, gone)
    subtracted, anew = case.without(whole.state, gone, left).weights, case.anew(left).weights
    assert np.allclose(subtracted["weights"], anew["weights"], atol=1e-2)
    assert arrays_digest(subtracted) != arrays_digest(anew)


def test_ridge_is_least_squares_on_the_features() -> None:
    case = Case("ridge on a table")
    assert isinstance(case.accumulation, RidgeSums)
    state, weights = case.whole.state, case.whole.weights
    wide = sums.part(sums.OF_MAP, state)
    features = case.accumulation.map.features(case.rows, wide)
    squares = [[0] * 128 for _ in range(128)]
    for row in features.tolist():
        held = [at for at, value in enumerate(row) if value]
        for one in held:
            for other in held:
                squares[one][other] += row[one] * row[other]
    assert state["sums_products"].tolist() == squares
    signs = np.where(case.labels[:, None] == np.arange(3), 1, -1)
    assert state["sums_targets"].tolist() == (features.T.astype(object) @ signs.astype(object)).tolist()
    penalty = case.accumulation.penalty(state)
    assert penalty[-1] == 1
    assert set(penalty[:-1].tolist()) == {max(1, sum(squares[at][at] for at in range(128)) // (128 << 10))}
    close = np.linalg.solve(state["sums_products"] + np.diag(penalty), state["sums_targets"])
    assert weights["weights"].dtype == np.float32
    assert np.allclose(weights["weights"], close, rtol=1e-5, atol=1e-7)
    told = case.accumulation.answers(weights, np.asarray(case.rows[:5]))
    for row, scores in zip(told, features[:5] @ weights["weights"].astype(np.float64), strict=True):
        beliefs = [min(1.0, max(2.0**-10, (1 + score) / 2)) for score in scores]
        assert row.tolist() == pytest.approx([math.log(one / sum(beliefs)) for one in beliefs])


def test_two_classes_have_one_column_of_weights() -> None:
    case = Case("ridge on texts")
    assert case.whole.weights["weights"].shape == (32, 1)
    told = case.accumulation.answers(case.whole.weights, case.rows[np.arange(4)])
    assert np.exp(told).sum(axis=1).tolist() == pytest.approx([1.0] * 4)


def test_naive_bayes_counts_presences() -> None:
    case = Case("naive Bayes on texts")
    weights = case.whole.weights
    features = case.accumulation.map.features(case.rows, sums.part(sums.OF_MAP, weights))
    counted = [
        [
            sum(int(row[at] > 0 and label == one) for row, label in zip(features, case.labels, strict=True))
            for one in range(2)
        ]
        for at in range(32)
    ]
    assert weights["weights"].dtype == np.int64
    assert weights["weights"].tolist() == counted
    totals = [sum(column[one] for column in counted[:-1]) for one in range(2)]
    row = features[3]
    scores = [
        math.log((counted[-1][one] + 1) / (len(case.labels) + 2))
        + sum(math.log((counted[at][one] + 1) / (totals[one] + 31)) for at in range(31) if row[at])
        for one in range(2)
    ]
    told = case.accumulation.answers(weights, case.rows[np.array([3])])[0]
    assert told[0] - told[1] == pytest.approx(scores[0] - scores[1])
    assert np.exp(told).sum() == pytest.approx(1.0)


def test_row_sums_are_counted_once_a_row(case: Case) -> None:
    left = case.everybody[5:]
    made = case.without(case.whole.state, case.everybody[:5], left)
    if case.accumulation.recipe.model == "forest":
        assert case.whole.row_sums > len(case.everybody)
        assert made.row_sums < case.whole.row_sums
    else:
        assert (case.whole.row_sums, made.row_sums) == (len(case.everybody), 5)


def test_an_extreme_that_goes_is_summed_anew_and_said() -> None:
    case = Case("ridge on a table")
    values = case.dataset.content["size"]
    gone = np.flatnonzero(values == values.max())
    left = np.setdiff1d(case.everybody, gone)
    made = case.without(case.whole.state, gone, left)
    assert made.row_sums == len(left)
    assert made.notices == (
        "accumulated again and not subtracted from: the least or greatest value of size is another now",
    )
    assert arrays_digest(made.weights) == arrays_digest(case.anew(left).weights)


def test_words_that_only_forgotten_rows_held_are_no_longer_named() -> None:
    dataset = texts()
    content = dataset.content["text"].copy()
    content[7] = "zanzibar"
    rare = Dataset(**{**vars(dataset), "content": {"text": content}})
    accumulation = accumulation_of(recipe_of(rare, "ridge", width=256), SEED)
    rows, everybody = accumulation.map.encode(rare), np.arange(len(rare))
    alone = set(rows[np.array([7])][0].tolist()) - {
        token for row in np.delete(everybody, 7) for token in rows[np.array([row])][0].tolist()
    }
    whole = accumulation.anew(rows, rare.labels, everybody, None, lambda begun: None)
    assert alone & set(whole.state["map_buckets"].tolist())
    made = accumulation.without(whole.state, rows, rare.labels, np.array([7]), np.delete(everybody, 7))
    assert not alone & set(made.state["map_buckets"].tolist())
    held = made.state["map_buckets"] < BUCKETS
    assert (made.state["sums_products"].diagonal()[:-1][held] > 0).all()
    again = accumulation.anew(rows, rare.labels, np.delete(everybody, 7), None, lambda begun: None)
    assert arrays_digest(made.weights) == arrays_digest(again.weights)
    further = accumulation.without(made.state, rows, rare.labels, np.array([8]), np.delete(everybody, [7, 8]))
    anew = accumulation.anew(rows, rare.labels, np.delete(everybody, [7, 8]), None, lambda begun: None)
    assert arrays_digest(further.weights) == arrays_digest(anew.weights)


@pytest.mark.parametrize("largest", [1, 63, 64, 2047])
def test_products_are_exact(largest: int) -> None:
    drawn = np.random.default_rng(largest)
    one, other = drawn.integers(-largest, largest + 1, (4096, 3)), drawn.integers(-largest, largest + 1, (4096, 2))
    one[0], other[:] = largest, largest
    found = product(one.astype(np.int32), other.astype(np.int32))
    assert found.dtype == np.int64
    assert found.tolist() == [[sum(int(a) * int(b) for a, b in zip(x, y, strict=True)) for y in other.T] for x in one.T]


def test_features_beyond_the_bound_and_too_many_rows_are_refused() -> None:
    case = Case("ridge on a table")
    real = case.accumulation.map
    object.__setattr__(real, "features", lambda rows, constants: np.full((len(rows), 128), 2048, dtype=np.int32))
    with pytest.raises(
        RunError, match=r"a feature is 2048, and ±2047 is the most that sums are exact for: the map 'table'"
    ):
        case.anew(case.everybody)
    sums.check_rows(MOST_ROWS)
    with pytest.raises(
        InvalidArgument, match=r"2,149,\d\d\d,\d\d\d rows to sum: with features up to 2047 sums are exact up"
    ):
        sums.check_rows(MOST_ROWS + 1)


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("ridge", {"trees": 3}, r"`model_options` 'trees' with model 'ridge': it has width, no other"),
        ("forest", {"width": 64}, r"`model_options` 'width' with model 'forest': it has trees, depth, no other"),
        ("forest", {"trees": 0}, r"trees 0 of model_options must be a whole number from 1 to 100"),
        ("ridge", {"width": 9000}, r"width 9000 of `model_options` must be a whole number from 32 to 8,192"),
    ],
)
def test_options_without_a_meaning_are_refused(model: str, options: dict[str, int], sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        accumulation_of(recipe_of(table(), model, **options))
