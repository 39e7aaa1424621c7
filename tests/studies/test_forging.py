"""The forging study: what is measured, how cells are made of it, and that it goes on where it was interrupted."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.forging_measure import measure, prepare
from studies.forging_models import headed
from studies.forging_settings import (
    EARLY,
    FITTED,
    FULL,
    PAST,
    POINTS,
    QUICK,
    SETTINGS,
    Extent,
    Setting,
)
from studies.keep import RESULTS
from studies.pages.forging_pictures import forging_pictures
from studies.pages.forging_study import forging_page

from studies import forging, forging_logs
from studies import forging_summary as summary

TINY = Setting(
    name="mlp", model="mlp", options={"width": 4}, rate=0.3, points=(EARLY, FITTED), candidates=(1, 3), axes=True
)
EXTENT = Extent(
    seeds=2, targets=2, few=1, pairs=3, batches=(16, 64), most=4, longest=1, limit=3, logs=1, settings=(TINY,)
)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Everything that is measured of one setting, in miniature."""
    found: list[dict[str, Any]] = []
    for seed in range(EXTENT.seeds):
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        for point, step in prepare(TINY, seed, EXTENT, folder).items():
            values = measure(TINY, seed, point, step, EXTENT, folder)
            found.append({"setting": TINY.name, "seed": seed, "point": point, **values})
    order = {point: place for place, point in enumerate(POINTS)}
    return json.loads(json.dumps(sorted(found, key=lambda one: order[one["point"]])))


# What is measured.


def test_every_axis_of_the_specification_is_measured() -> None:
    plain, other = SETTINGS[:2]
    assert (plain.model, other.model) == ("cnn", "mlp")
    for setting in (plain, other):
        assert setting.points == POINTS
        assert setting.candidates == (1, 10, 100, 400)
        assert setting.axes
    assert (FULL.most, FULL.batches) == (4000, (16, 64, 256, 1000))
    assert FULL.seeds >= 5
    assert FULL.targets >= 20
    assert FULL.seeds * FULL.few >= 20
    assert FULL.seeds * FULL.pairs >= 200
    assert FULL.seeds * FULL.logs >= 200
    assert {setting.momentum for setting in SETTINGS} == {0.0, 0.9}
    assert any(setting.options.get("norm") == "batch" and setting.momentum for setting in SETTINGS)
    assert {setting.options.get("head") for setting in SETTINGS} == {None, "logits", "softmax"}
    assert QUICK.settings
    assert all(setting in SETTINGS for setting in QUICK.settings)


def test_rows_tell_who_was_denied_how_near_it_came_and_what_it_cost(points: Sequence[dict[str, Any]]) -> None:
    rows = [row for point in points for row in point["rows"]]
    forgers = {row["forger"] for row in rows}
    assert {"greedy", "nearest", "swap", "matching", "content", "greedy-keep", summary.EQUAL} <= forgers
    for row in rows:
        if row["l2"] is not None:
            assert 0 <= row["largest"] <= row["l2"]
        if row["forger"] == "greedy":
            assert row["example_steps"] == row["candidates"] * row["batch"]
        if row["forger"] == summary.EQUAL:
            assert 1375 <= row["example_steps"] < 1438 + row["batch"]
    sizes = {row["batch"] for row in rows if row.get("axis") == "batch size"}
    assert sizes == {16, 64}
    early = [point for point in points if point["point"] == EARLY]
    assert {row["candidates"] for point in early for row in point["rows"] if row["forger"] == "greedy"} >= {1, 3, 4}
    assert all(point["step"] == 10 for point in early)


def test_the_bound_is_measured_on_pairs_of_each_size(points: Sequence[dict[str, Any]]) -> None:
    parts = [part for point in points for part in point["bound"]]
    assert {(part["batch"], part["replacement"]) for part in parts} == {
        (size, replaced) for size in (16, 64) for replaced in (False, True)
    }
    assert all(len(part["squares"]) == 3 for part in parts)
    for part in parts:
        assert 0.2 < np.mean(part["squares"]) / part["expected"] < 5


def test_every_member_is_swapped_and_every_chair_emptied_once(points: Sequence[dict[str, Any]]) -> None:
    for point in points:
        swaps = point["absorbed"]["swaps"]
        assert len(swaps) == 64
        assert not any(pair["schedule"] for pair in swaps)
        assert not any(pair["empty"]["losses"] for pair in swaps)


def test_the_same_command_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, points: Sequence[dict[str, Any]]
) -> None:
    calls: list[str] = []

    def counted(name: str, answer: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls.append(name)
            return answer

        return call

    kept = {name: value for name, value in points[0].items() if name not in ("setting", "seed", "point")}
    monkeypatch.setattr(forging, "prepare", counted("prepare", {EARLY: 10}))
    monkeypatch.setattr(forging, "measure", counted("measure", kept))
    monkeypatch.setattr(forging, "logs", counted("logs", [{"model": "mlp"}]))
    for _ in range(2):
        assert forging._prepared(TINY, 0, EXTENT, tmp_path) == {EARLY: 10}
        assert forging._measured(TINY, 0, EARLY, 10, EXTENT, tmp_path)["rows"] == kept["rows"]
        assert forging._stated(0, EXTENT, tmp_path) == [{"model": "mlp"}]
    assert calls == ["prepare", "measure", "logs"]
    forging._prepared(TINY, 1, EXTENT, tmp_path)
    forging._prepared(replace(TINY, rate=0.1), 0, EXTENT, tmp_path)
    forging._prepared(TINY, 0, replace(EXTENT, targets=5), tmp_path)
    assert calls == ["prepare", "measure", "logs", *["prepare"] * 3]


def test_both_heads_are_one_network() -> None:
    import torch

    heads = [headed((1, 8, 8), 10, width=2, head=head).eval() for head in ("logits", "softmax")]
    body = {name.removeprefix("0."): value for name, value in heads[1].state_dict().items()}
    heads[0].load_state_dict(body)
    rows = torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        assert torch.allclose(heads[1](rows), heads[0](rows).softmax(dim=1))
    with pytest.raises(AssertionError, match="must be one of"):
        headed((1, 8, 8), 10, head="sigmoid")


def test_logs_are_forged_and_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forging_logs, "METHODS", ("swap", "order"))
    found = forging_logs.logs(1, 2)
    assert [(log["model"], log["method"]) for log in found] == [("mlp", "swap"), ("mlp", "order")]
    for log, code in zip(found, ("SCHEDULE_BATCH_MISMATCH", "SCHEDULE_ORDER_MISMATCH"), strict=True):
        assert (log["refused"], log["level"], log["codes"], log["expected"]) == (True, "V1", [code], code)
        assert log["deceived"] == (log["distance"] <= log["delta"])
        assert log["refused_by"] == ([] if log["deceived"] else ["weights"])
        assert log["honest_believed"]
        assert 0 < log["step_distance"] <= log["delta"]
        assert log["segments"] == 2
    assert [log["steps"] for log in found] == [8, 16]


# What is made of it.


def test_cells_are_medians_over_targets_and_seeds(points: Sequence[dict[str, Any]]) -> None:
    table = summary.cells(points)
    for cell in table:
        own = [
            row[cell["distance"]]
            for point in points
            for row in point["rows"]
            if point["point"] == cell["point"]
            and row["batch"] == cell["batch"]
            and row["forger"] == cell["forger"]
            and row.get("axis", "progress") == cell["axis"]
            and (cell["candidates"] is None or row["candidates"] == cell["candidates"])
        ]
        reached = [value for value in own if value is not None]
        assert (cell["targets"], cell["forged"]) == (len(own), len(reached))
        if reached:
            assert cell["median"] == pytest.approx(float(np.median(reached)))
            assert (cell["least"], cell["most"]) == (min(reached), max(reached))
        assert cell["seeds"] == 2
    keys = [
        tuple(cell[name] for name in ("point", "axis", "batch", "forger", "candidates", "distance")) for cell in table
    ]
    assert len(set(keys)) == len(keys)


def test_the_slope_of_a_power_law_is_its_power() -> None:
    sizes = [16, 64, 256, 1000]
    assert summary.slope(sizes, [3 * size**-0.5 for size in sizes]) == pytest.approx(-0.5)
    generator = np.random.Generator(np.random.Philox(key=1))
    bounds = [
        {
            "setting": "cnn",
            "point": EARLY,
            "replacement": True,
            "batch": size,
            "pairs": 300,
            "squares": list(generator.exponential(1 / size, size=300)),
        }
        for size in sizes
    ]
    for cell in bounds:
        cell["rms"] = math.sqrt(np.mean(cell["squares"]))
        cell["expected_rms"] = cell["batch"] ** -0.5
        cell["ratio"] = cell["rms"] / cell["expected_rms"]
    (found,) = summary.slopes(bounds)
    assert found["low"] < -0.5 < found["high"]
    assert found["expected"] == pytest.approx(-0.5)
    assert found["pairs"] == 300


def test_bounds_are_pooled_over_seeds() -> None:
    def part(seed: int, squares: list[float], expected: float) -> dict[str, Any]:
        told = {"batch": 16, "replacement": True, "squares": squares, "expected": expected}
        return {"setting": "cnn", "seed": seed, "point": EARLY, "bound": [told]}

    (found,) = summary.bound_cells([part(0, [1.0, 3.0], 2.0), part(1, [4.0, 8.0], 6.0)])
    assert found["pairs"] == 4
    assert found["rms"] == pytest.approx(2.0)
    assert found["expected_rms"] == pytest.approx(2.0)
    assert found["ratio"] == pytest.approx(1.0)


def pair(swap: float, greedy: float, target: int = 1) -> list[dict[str, Any]]:
    row = {"batch": 64, "candidates": 22, "target": target}
    return [{**row, "forger": "swap", "l2": swap}, {**row, "forger": summary.EQUAL, "l2": greedy}]


def test_equal_cost_is_compared_target_by_target() -> None:
    rows = [*pair(1.0, 2.0, 1), *pair(3.0, 1.0, 2), *pair(0.0, 1.0, 3), *pair(1.0, 1.0, 4)]
    (found,) = summary.at_equal_cost([{"setting": "cnn", "seed": 0, "point": EARLY, "rows": rows}])
    assert (found["targets"], found["not_worse"], found["share"]) == (4, 3, 0.75)
    assert found["low"] < 0.75 < found["high"]
    assert found["median_advantage"] == pytest.approx(1.5)


def swap(**changed: bool) -> dict[str, Any]:
    same = dict.fromkeys(("weights", "buffers", "optimiser", "losses", "gradient"), True)
    return {"swap": {**same, **changed}, "empty": {**same, "weights": False}, "schedule": False}


def test_absorbed_swaps_are_counted_by_who_sees_them() -> None:
    swaps = [
        swap(),
        swap(gradient=False),
        swap(losses=False, gradient=False),
        swap(optimiser=False, gradient=False),
        swap(buffers=False),
        swap(weights=False, gradient=False),
    ]
    (found,) = summary.absorption_cells([{"setting": "cnn", "seed": 0, "point": FITTED, "absorbed": {"swaps": swaps}}])
    wanted = {
        "swaps": 6,
        "weights_unchanged": 5,
        "seen_in_optimiser": 1,
        "seen_in_buffers": 1,
        "seen_in_losses": 1,
        "seen_in_gradient": 3,
        "state_unchanged": 3,
        "seen_by_nothing_but_the_schedule": 1,
        "schedule_agrees": 0,
        "empty_chairs_weights_unchanged": 0,
        "seeds_with_any": 1,
    }
    assert {name: found[name] for name in wanted} == wanted


def acceptance(**changed: Any) -> dict[str, Any]:
    """The checks on figures that pass them all, but for what is changed."""
    sizes = [16, 64, 256, 1000]
    slope, ratio = changed.get("slope", -0.5), changed.get("ratio", 1.0)
    bounds = [
        {
            "setting": "cnn",
            "point": EARLY,
            "replacement": True,
            "batch": size,
            "pairs": changed.get("pairs", 300),
            "rms": ratio * size**slope,
            "expected_rms": size**slope,
            "ratio": ratio,
            "squares": [(ratio * size**slope) ** 2] * 4,
        }
        for size in sizes
    ]
    fell = [
        {
            "setting": "cnn",
            "point": EARLY,
            "candidates": [1, 10, 400],
            "medians": [3, 2, 1],
            "falls": changed.get("falls", True),
            "first_to_last": 3.0,
        }
    ]
    share = changed.get("share", 0.95)
    equal = [{"setting": "cnn", "point": EARLY, "axis": "progress", "targets": 100, "not_worse": 95, "share": share}]
    (hidden,) = summary.absorption_cells(
        [{"setting": "cnn", "seed": 0, "point": PAST, "absorbed": {"swaps": changed.get("swaps", [swap()])}}]
    )
    log = {"method": "swap", "deceived": True, "refused": True, "level": "V1", "codes": ["X"], "expected": "X"}
    stated = [{**log, **changed.get("log", {})}, *[log] * changed.get("others", 0)]
    return summary.acceptance(bounds, fell, equal, [hidden], stated)


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({}, ""),
        ({"slope": -0.65}, "5"),
        ({"ratio": 1.2}, "5"),
        ({"pairs": 150}, "5"),
        ({"falls": False}, "6"),
        ({"share": 0.89}, "6"),
        ({"log": {"deceived": False}}, ""),
        ({"log": {"refused": False}, "others": 99}, "8"),
        ({"log": {"level": "V2"}, "others": 99}, "8"),
        ({"swaps": [swap(weights=False)]}, "11"),
        ({"swaps": [swap(), {**swap(), "schedule": True}]}, "11"),
    ],
)
def test_checks_fail_for_what_they_are_about(changed: dict[str, Any], failing: str) -> None:
    found = acceptance(**changed)
    assert [number for number, check in found.items() if not check["passed"]] == ([failing] if failing else [])
    assert all(check["said"] for check in found.values())


def a_log(**changed: Any) -> dict[str, Any]:
    log = {"model": "mlp", "seed": 1, "method": "swap", "steps": 8, "segments": 2, "honest_believed": True}
    log |= {"deceived": True, "refused_by": [], "step_distance": 0.01, "distance": 0.1, "delta": 0.2}
    return {**log, "refused": True, "level": "V1", "codes": ["X"], "expected": "X", **changed}


def test_logs_are_counted_by_what_either_verifier_says_and_why() -> None:
    refused = a_log(deceived=False, refused_by=["weights"], distance=0.4, seed=3)
    (found,) = summary.log_cells([a_log(), refused, a_log(step_distance=0.3, codes=["X", "Y"])])
    wanted = {
        "logs": 3,
        "seeds": 2,
        "steps": 24,
        "honest_believed": 3,
        "valid_step_by_step": 2,
        "published_accepts": 2,
        "published_refuses_by": {"weights": 1},
        "verify_refuses": 3,
        "as_expected": 2,
        "largest_share_of_delta": 2.0,
        "median_growth": 10.0,
    }
    assert {name: found[name] for name in wanted} == wanted


def test_points_stand_in_the_order_of_the_training() -> None:
    rows = pair(1.0, 2.0)
    points = [{"setting": "cnn", "seed": 0, "point": point, "rows": rows} for point in reversed(POINTS)]
    assert [cell["point"] for cell in summary.at_equal_cost(points)] == list(POINTS)
    greedy = {"setting": "cnn", "axis": "progress", "forger": "greedy", "distance": "l2"}
    table = [
        {**greedy, "point": point, "candidates": count, "median": 1 / count}
        for point in POINTS[::-1]
        for count in (1, 2)
    ]
    assert [cell["point"] for cell in summary.falls(table)] == list(POINTS)
    assert all(cell["falls"] and cell["first_to_last"] == 2 for cell in summary.falls(table))


def test_results_are_kept_as_a_table_a_page_and_drawings(points: list[dict[str, Any]], tmp_path: Path) -> None:
    cnn = [{**point, "setting": "cnn"} for point in points]
    extent = replace(EXTENT, settings=(replace(TINY, name="cnn"), TINY))
    found = forging.results([*cnn, *points], [a_log()], extent)
    table, whole = forging.write(found, tmp_path)
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(found["cells"])
    assert {row["distance"] for row in rows} == {"l2", "largest"}
    kept = json.loads(whole.read_text(encoding="utf-8"))
    assert kept["format"] == forging.FORMAT
    assert "squares" not in whole.read_text(encoding="utf-8")
    proofs = json.loads((RESULTS / "proof_of_learning.json").read_text(encoding="utf-8"))
    page = "\n".join(forging_page(kept, proofs, "pictures"))
    for name, drawing in forging_pictures(kept).items():
        assert f"(pictures/{name})" in page
        assert drawing.startswith("<svg")
    for words in ("## Absorption", "replay noise", "| mlp | swap | 1 | 8 | 1 | 1 | 1 | 1 | 0.05 | 0.5, 0.5 |"):
        assert words in page
    assert forging_pictures(kept) == forging_pictures(json.loads(json.dumps(kept)))
