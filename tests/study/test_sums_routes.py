"""Routes by models of sums: their formulas, ends of ranges that go, and requests that are carried out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import expunge
from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.features.choice import feature_map
from expunge.study.advice import advised
from expunge.study.incoming import Asking, draw
from expunge.study.planner import plan
from expunge.study.run_plan import plan_of_run, predicted
from expunge.study.sums_routes import SumsCost
from expunge.train.run import Run

Refused = Callable[..., AbstractContextManager[object]]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Visits of 100 people; the largest number is one person's alone, the least many have."""
    drawn, file = random.Random(0), tmp_path_factory.mktemp("sums") / "visits.csv"
    rows = [
        f"p{at % 100},{9 if at == 7 else max(-1, drawn.gauss(at % 2, 1)):.3f},{drawn.choice('abc')},{'yn'[at % 2]}"
        for at in range(300)
    ]
    file.write_text("\n".join(["who,size,kind,outcome", *rows]) + "\n")
    return file


def trained(table: Path, model: str, **options: int) -> Run:
    out = table.parent / model
    return expunge.train(table, out=out, label="outcome", subject="who", model=model, model_options=options)


@pytest.fixture(scope="module")
def ridge(table: Path) -> Run:
    return trained(table, "ridge", width=64)


@pytest.fixture(scope="module")
def forest(table: Path) -> Run:
    return trained(table, "forest", trees=3)


def people_of(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    """Everybody, with their slots."""
    subjects = np.array(run.data()[Split.TRAIN].subjects)
    return ((name, np.flatnonzero(subjects == name)) for name in dict.fromkeys(subjects.tolist()))


def test_operations_are_the_formula(ridge: Run) -> None:
    rows = ridge.data()[Split.TRAIN]
    told = SumsCost.of("ridge", feature_map("ridge", ridge.recipe.inputs, {"width": 64}), rows, np.arange(len(rows)))
    for k in (1, 7):
        assert told.operations(k) == pytest.approx(k * (64 + 64**2) + 64**3 / 3 + 8 * 5 * 1 * 64**2)
    assert told.disk == 8 * 64**2
    bayes = SumsCost.of("naive-bayes", feature_map("naive-bayes", ridge.recipe.inputs, {}), rows, np.arange(len(rows)))
    assert bayes.disk == 8 * 1024 * 2


def test_whoever_holds_an_end_alone_costs_everything(ridge: Run) -> None:
    replay, _ = plan_of_run(ridge, Asking.read("20/month", None, 24)).routes
    assert replay.notes == ("1 person alone hold an end of a column's range: without them sums are accumulated again",)
    assert replay.cost is not None
    assert replay.cost.worst == replay.retraining
    batches = draw(Stream(bytes(32), "plan"), ridge.units, np.ones(100), None)
    rows = ridge.data()[Split.TRAIN]
    told = SumsCost.of("ridge", feature_map("ridge", ridge.recipe.inputs, {"width": 64}), rows, np.arange(len(rows)))
    holder = ridge.units[rows.content["size"] == 9][0]
    went = [holder in ridge.units[batches.slots[batches.request == batch]] for batch in range(len(batches.people))]
    assert any(went)
    assert batches.exhaust(told.ends).tolist() == went


def test_row_sums_of_a_ridge_are_predicted_exactly(ridge: Run, tmp_path: Path) -> None:
    last: Run | None = None
    for name, slots in list(people_of(ridge))[:8]:
        expected = predicted(ridge, slots, "exact-replay")
        last = unlearn(ridge, f"subject:{name}", out=tmp_path / name)
        assert (last.result.row_sums, last.result.example_steps) == (expected.row_sums, expected.example_steps)
    assert last is not None
    assert any(predicted(ridge, slots, "exact-replay").row_sums > len(slots) for _, slots in people_of(ridge))
    following = predicted(last, np.setdiff1d(np.arange(3), last.tombstones), "exact-replay")
    assert following.seconds is not None
    assert predicted(ridge, slots, "retrain").row_sums == len(ridge.units) - len(slots)


def test_twenty_requests_of_a_forest_lie_in_the_simulated_range(forest: Run, tmp_path: Path) -> None:
    replay, retrain = plan_of_run(forest, Asking.read("20/month", None, 24)).routes
    assert replay.cost is not None
    took: list[int] = []
    for name, slots in list(people_of(forest))[:20]:
        child = unlearn(forest, f"subject:{name}", out=tmp_path / name)
        took.append(child.result.row_sums or 0)
        assert predicted(forest, slots, "exact-replay").row_sums == took[-1]
    assert sum(row_sums <= replay.cost.high for row_sums in took) >= 18
    assert replay.retraining == forest.result.row_sums
    assert replay.cost.worst >= max(took)
    assert retrain.cost is not None
    assert retrain.row_sums == retrain.cost.mean
    assert (replay.times or 0) > 1
    name, slots = next(iter(people_of(forest)))
    again = unlearn(forest, f"subject:{name}", method="retrain", out=tmp_path / "again")
    assert predicted(forest, slots, "retrain").row_sums == pytest.approx(again.result.row_sums, rel=0.05)


def test_measured_sums_have_seconds_and_a_forest_its_cost(table: Path, refused: Refused) -> None:
    found = plan(
        table, label="outcome", subject="who", requests="20/month", model="mlp", epochs=1, measure=True, rows=200
    )
    assert {route.name for route in found.routes if route.kind == "replay" and route.accuracy is not None} == {
        "mlp, 4 × 1",
        "mlp, 12 × 1",
    }
    for route in found.routes:
        assert route.seconds is not None
        assert (route.hygiene or 0) > (route.service or 0) >= route.seconds.mean
        assert route.disk
    with refused(InvalidArgument, "`floor` 1.1 is met by no route: the nearest is "):
        advised(found.routes, 1.1)
    sums = {route.name: route for route in found.routes if route.kind == "accumulated"}
    assert list(sums) == ["ridge", "naive-bayes", "forest"]
    for route in sums.values():
        assert route.cost is not None
        assert route.accuracy is not None
        assert route.retraining_seconds
    assert sums["forest"].unit == "row-sums"
    assert not sums["forest"].notes[-1:] or "once it has grown" not in sums["forest"].notes[-1]


def test_images_are_planned_with_the_map_that_they_admit() -> None:
    found = plan("digits", requests="20/month", model="mlp", epochs=1, rows=300)
    assert [route.name for route in found.routes if route.kind == "accumulated"] == ["ridge"]
    assert found.advice.route == "ridge"
