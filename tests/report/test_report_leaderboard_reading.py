"""Results of a study that are not as they should be: one sentence each, and nothing written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.report.study_results_example import example, opened

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.values import Undecided
from expunge.records.figures import Estimate
from expunge.report.leaderboard import leaderboard
from expunge.report.study_results import find_setting, read_results


@pytest.fixture
def small() -> dict[str, Any]:
    """One setting, four methods."""
    return example(settings=1, methods=4)


def place(results: dict[str, Any], *way: Any) -> Any:
    for step in way:
        results = results[step]
    return results


ROW = ("settings", 0, "rows", 3)
ALTERED: tuple[tuple[tuple[Any, ...], Any, str], ...] = (
    (("format",), "expunge/study-results/2", "expunge/study-results/2"),
    (("format",), None, "format None"),
    (("title",), 7, "title"),
    (("seeds",), "012", "a list"),
    (("seeds",), [0.5], "whole number"),
    (("complete",), "yes", "true or false"),
    (("settings",), [], "no setting"),
    (("cost", "seconds"), -1.0, "from 0"),
    (("cost", "jobs"), True, "whole number"),
    (("settings", 0, "share"), 5.0, "from 0 to 1"),
    ((*ROW, "method"), "", "1 to 4096"),
    ((*ROW, "label"), ["x"], "a text"),
    ((*ROW, "guarantee"), "Perfect", "Perfect"),
    ((*ROW, "guarantee"), "Exact", "did not earn"),
    ((*ROW, "verdicts"), {"Supported": 3}, "Supported"),
    ((*ROW, "verdicts"), [], "an object"),
    ((*ROW, "tuning", "state"), "somewhat tuned", "tuned"),
    ((*ROW, "marks"), [{"mark": "splendid", "count": 1, "of": 3, "detail": ""}], "splendid"),
    ((*ROW, "marks"), [{"mark": "collapsed", "count": 4, "of": 3, "detail": ""}], "4 of 3"),
    ((*ROW, "seeds", 0, "status"), "lost", "done"),
    ((*ROW, "seeds", 0, "status"), "refused", "has a verdict"),
    ((*ROW, "seeds", 0, "seed"), 1, "twice"),
    ((*ROW, "figures", "cost", "mean"), "0.1", "a number"),
    ((*ROW, "figures", "cost", "mean"), 99.0, "interval"),
    ((*ROW, "figures", "cost", "n"), 0, "n = 0"),
    ((*ROW, "figures", "cost", "values"), [1.0, None], "a number"),
    ((*ROW, "figures", "cost", "low"), None, "a number"),
    ((*ROW, "figures", "cost"), 0.1, "an object"),
    (("problems",), [{"job": "x", "status": "lost", "reason": ""}], "refused"),
)


@pytest.mark.parametrize(("way", "value", "said"), ALTERED)
def test_what_is_wrong_is_named(small, refused, tmp_path, way, value, said):
    place(small, *way[:-1])[way[-1]] = value
    with refused(DataError, said):
        leaderboard(opened(small), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
def test_numbers_that_are_none_are_refused(small, refused, number):
    place(small, *ROW)["figures"]["cost"]["mean"] = number
    with refused(DataError):
        opened(small)


def keys(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a key, one item of each list."""
    if isinstance(value, dict):
        return [(*way, key) for key in value] + [found for key in value for found in keys(value[key], (*way, key))]
    return keys(value[-1], (*way, -1)) if isinstance(value, list) and value else []


OPTIONAL = {
    "citation",
    "budget",
    "noise",
    "forgetting_gap",
    "differences",
    "values",
    "Supported",
    "Refuted",
    "Undecided",
}
OPTIONAL |= {"score", "default_score", "transfer_score", "transferred", "trials", "digest", "failures", "detail"}
OPTIONAL |= {"verdict", "reason", "weights_digest", "example_steps", "allowed", "seconds", "guarantee", "stopped"}
OPTIONAL |= {"notices", "training_example_steps"}


def refusal(results: dict[str, Any]) -> str | None:
    """The sentence with which results are refused; any other error goes through."""
    try:
        opened(results)
    except DataError as error:
        return str(error)
    return None


def test_every_key_that_is_needed_is_missed(small):
    """A key that is taken away is named, or may be absent; no other error ever comes out."""
    ways = keys(small)
    assert len(ways) > 200
    for way in ways:
        holder = ("fields", "defaults", "machine", "versions", "engine", "figures", "differences")
        altered = copy.deepcopy(small)
        del place(altered, *way[:-1])[way[-1]]
        said = refusal(altered)
        if said is None:
            assert way[-1] in OPTIONAL or (len(way) > 1 and way[-2] in holder), way
        else:
            assert str(way[-1]) in said or way[-1] in ("verdict", "format", "undecided"), (way, said)
            assert "\n" not in said


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [[]], {"mean": 1}])
def test_no_value_in_any_place_breaks_it(small, value):
    for way in keys(small):
        altered = copy.deepcopy(small)
        place(altered, *way[:-1])[way[-1]] = value
        assert "\n" not in (refusal(altered) or "")


def test_twins_are_refused(small, refused):
    small["settings"].append(small["settings"][0])
    with refused(DataError, "digits-mlp-random", "twice"):
        opened(small)
    small["settings"].pop()
    small["settings"][0]["rows"].append(small["settings"][0]["rows"][0])
    with refused(DataError, "retrain", "twice"):
        opened(small)


def test_what_was_not_trained_yet_may_be_absent(small, refused):
    small["settings"][0].update(model=None, training_example_steps=None)
    row = place(small, *ROW)
    done = row["seeds"][0]
    row.update(guarantee=None, verdicts={}, figures={}, marks=[])
    row["seeds"] = [{"seed": 0, "status": "missing", "reason": "left out: its training failed"}]
    setting = opened(small).settings[0]
    assert (setting.model, setting.training_example_steps, setting.rows[3].guarantee) == (None, None, None)
    row["seeds"] = [{**done, "verdict": None}]
    with refused(DataError, "no guarantee"):
        opened(small)


def test_the_originals_utility_gap_is_read_against_the_references(small):
    figures = place(small, "settings", 0, "original", "figures")
    written = opened(small).settings[0].original_figures["utility-gap"]
    assert isinstance(written, Estimate)
    assert written.mean == figures["utility-gap"]["mean"]
    del figures["utility-gap"]
    setting = opened(small).settings[0]
    found, own, theirs = setting.original_figures["utility-gap"], figures["test-accuracy"], setting.retrained
    assert isinstance(found, Estimate)
    assert found.mean == pytest.approx((theirs.mean("test-accuracy") or 0) - own["mean"])
    assert found.high - found.low == pytest.approx(own["high"] - own["low"])


def test_file_folder_and_values_give_the_same(small, tmp_path, refused):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(small), encoding="utf-8")
    assert opened(small) == read_results(path) == read_results(tmp_path) == read_results(str(path))
    path.write_text("{", encoding="utf-8")
    with refused(DataError, "results.json", "JSON"):
        read_results(path)
    path.write_text('{"format": NaN}', encoding="utf-8")
    with refused(DataError, "NaN"):
        read_results(path)
    with refused(RunError, "missing"):
        read_results(tmp_path / "nothing.json")


def test_a_file_in_the_way_is_named(small, tmp_path, refused):
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    with refused(InvalidArgument, "is a file"):
        leaderboard(opened(small), out=tmp_path / "out")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


def test_figures_are_read_as_they_are_written(small):
    setting = find_setting(opened(small), "digits-mlp-random")
    written = place(small, *ROW)
    row = next(row for row in setting.rows if row.method == written["method"])
    for name, figure in written["figures"].items():
        if name != "differences":
            assert row.figures[name] == Estimate(figure["mean"], figure["low"], figure["high"], figure["n"])
    assert isinstance(setting.retrained["utility-gap"], Undecided)
    assert isinstance(setting.retrained["no-such-figure"], Undecided)
    assert row.figures.mean("no-such-figure") is None


def test_a_difference_that_was_not_written_is_computed_without_an_interval(small):
    place(small, *ROW)["figures"].pop("differences")
    setting = opened(small).settings[0]
    row = setting.rows[3]
    found = setting.difference(row, "forget-accuracy")
    assert isinstance(found, Estimate)
    own, theirs = row.figures.mean("forget-accuracy"), setting.retrained.mean("forget-accuracy")
    assert own is not None
    assert theirs is not None
    assert found.mean == own - theirs
    assert found.n == 1


def test_an_unknown_setting_is_named(small, refused: Callable[..., Any]):
    with refused(DataError, "nowhere", "digits-mlp-random"):
        find_setting(opened(small), "nowhere")
