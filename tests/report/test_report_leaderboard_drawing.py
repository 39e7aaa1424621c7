"""The drawings of a study: what stands where, labels that can be read, and a file that stands alone."""

from __future__ import annotations

import itertools
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.study_results_example import example, figure, opened, undecided

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.pages.tradeoff_picture import STANDALONE, tradeoff_svg

import expunge.report.scatter as module
from expunge.core.errors import DataError, InvalidArgument
from expunge.core.values import Undecided
from expunge.records.figures import Estimate
from expunge.report.bent_axis import BentAxis, gap_axis
from expunge.report.labels import Box, Placed
from expunge.report.leaderboard import PAGE, render
from expunge.report.scatter import Chart
from expunge.report.study_text import between, number, signed, told
from expunge.report.tradeoff import COST, SIZES, UTILITY, tradeoff

TWINS = ("retrain", "exact-replay", "fine-tune")
SVG = "{http://www.w3.org/2000/svg}"


def drawing(results: dict[str, Any], at: int = 0, against: str = UTILITY, sizes: Any = SIZES) -> Any:
    found = tradeoff(opened(results).settings[at], against, sizes)
    assert found is not None
    return found


def check_labels(chart: Chart) -> None:
    for box in chart.boxes:
        assert chart.plot.grown(0.01).holds(box)
    for one, other in itertools.combinations(chart.boxes, 2):
        assert one.overlap(other) == 0.0


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("against", [UTILITY, COST])
def test_labels_of_thirty_methods_stay_inside_and_apart(at, against):
    for chart in drawing(example(), at, against, (*SIZES, STANDALONE)).charts:
        check_labels(chart)
        told_numbers = {int(text) for label in chart.labels for text in label.words.split() if text.isdigit()}
        assert len(told_numbers) + len(chart.labels) >= 20
        for spot in chart.spots:
            assert chart.plot.left <= spot.x <= chart.plot.right
            assert chart.plot.top <= spot.y <= chart.plot.bottom


@settings(max_examples=40, deadline=None)
@given(
    figures=st.lists(
        st.tuples(st.floats(0, 200), st.floats(-0.2, 1), st.floats(0, 2)), min_size=30, max_size=30, unique=True
    )
)
def test_labels_never_cover_each_other(figures):
    results = placed(figures)
    for against in (UTILITY, COST):
        for chart in drawing(results, 0, against, (*SIZES, STANDALONE)).charts:
            check_labels(chart)


def test_a_label_without_room_is_left_out(monkeypatch):
    box = Box(100.0, 100.0, 160.0, 115.0)
    monkeypatch.setattr(module, "place", lambda anchors, *more: [Placed(box, None) for _ in anchors])
    chart = drawing(example()).charts[0]
    assert chart.boxes == (box,)
    assert len(chart.labels) == 1
    assert len(chart.spots) == 28, "the marks stay"


def test_marks_that_coincide_share_a_label():
    found = drawing(placed([(5.0, 0.1, 0.1)] * 3 + [(9.0, 0.2, 0.1)]))
    chart = found.charts[1]
    at = next(spot for spot in chart.spots if spot.words.startswith("fine-tune:"))
    twins = [spot for spot in chart.spots if (spot.x, spot.y) == (at.x, at.y)]
    assert len(twins) == 3
    numbers = {number for number, name in found.numbers if name in TWINS}
    assert any({int(text) for text in label.words.split() if text.isdigit()} == numbers for label in chart.labels)


def placed(figures: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """One setting whose methods have these gaps, losses and costs."""
    results = example(settings=1)
    rows = [row for row in results["settings"][0]["rows"] if row["figures"]]
    results["settings"][0]["rows"] = rows
    for row, (gap, lost, cost) in zip(rows, figures, strict=False):
        row["marks"] = []
        row["figures"].update(
            {"forgetting-gap": figure([gap]), "utility-gap": figure([lost, lost + 0.001]), "cost": figure([cost])}
        )
    return results


def test_marks_stand_where_their_figures_are_and_like_retraining_is_bottom_left():
    results = placed([(1.0, 0.01, 0.1), (2.0, 0.02, 0.2), (4.0, 0.04, 0.4)])
    results["settings"][0]["rows"] = results["settings"][0]["rows"][:3]
    chart = drawing(results).charts[0]
    spots = sorted((spot for spot in chart.spots if spot.kind != "original"), key=lambda spot: spot.x)
    assert [spot.words.split(":")[0] for spot in spots] == ["retrain", "exact-replay", "fine-tune"]
    assert (spots[2].x - spots[1].x) == pytest.approx(2 * (spots[1].x - spots[0].x), abs=0.3)
    assert (spots[1].y - spots[2].y) == pytest.approx(2 * (spots[0].y - spots[1].y), abs=0.3)
    areas = [spot.radius**2 for spot in spots]
    assert areas[2] / areas[1] == pytest.approx(2, rel=0.05)
    assert chart.zero > spots[0].y, "losing accuracy stands above the line"
    names = {label.words for label in chart.labels}
    assert names == {"retrain", "exact-replay", "fine-tune", "original"}


def test_whiskers_are_the_intervals_and_one_seed_has_none():
    results = placed([(1.0, 0.01, 0.1), (2.0, 0.02, 0.2)])
    results["settings"][0]["rows"][1]["figures"]["utility-gap"] = figure([0.02])
    spots = {spot.words.split(":")[0]: spot for spot in drawing(results).charts[0].spots}
    assert spots["exact-replay"].whiskers == ""
    assert re.fullmatch(r"M[\d.]+ [\d.]+V[\d.]+", spots["retrain"].whiskers), "the gap has n = 1, the loss two seeds"
    assert "n\u00a0=\u00a01" in spots["exact-replay"].words


def test_a_gap_below_zero_is_not_drawn():
    results = placed([(1.0, 0.01, 0.1)])
    results["settings"][0]["rows"][0]["figures"]["forgetting-gap"] = figure([0.1, 3.0, 0.2])
    chart = drawing(results).charts[0]
    spot = next(spot for spot in chart.spots if spot.words.startswith("retrain:"))
    left = float(spot.whiskers[1:].split(" ")[0])
    assert chart.band is not None
    assert left == chart.band[0], "the whisker ends at zero, where the band begins"


def test_marks_are_drawn_differently():
    chart = drawing(example()).charts[0]
    kinds = {spot.words.split(":")[0]: spot.kind for spot in chart.spots}
    assert kinds["retrain"] == "guaranteed"
    assert kinds["amnesiac"] == "untuned"
    assert kinds["gradient-ascent"] == "collapsed"
    assert kinds["masked-small-gradients"] == "oracle"
    assert kinds["scrub"] == "run"
    assert kinds["original"] == "original"
    svg = tradeoff_svg(opened(example()), "digits-mlp-random")
    for kind in set(kinds.values()):
        assert f'class="spot {kind}"' in svg


def test_front_worst_and_original_are_named_the_others_numbered():
    results = example()
    found = drawing(results)
    names = {label.words for label in found.charts[0].labels}
    assert {"retrain", "exact-replay", "fine-tune-last-layers", "original"} <= names
    assert {"gradient-ascent ↑", "fisher-noise"} <= names, "the first stands at the edge"
    assert "l1-sparse" not in names
    numbers = dict(found.numbers)
    ranked = opened(results).settings[0].ranked
    assert [numbers[at] for at in sorted(numbers)] == [row.label for row in ranked if row.took_part]
    assert {label.words for label in found.charts[1].labels if not label.words[0].isdigit()} == {"original"}


def test_the_band_is_the_noise_among_retrainings_and_absent_where_unknown():
    chart = drawing(example()).charts[0]
    assert chart.band is not None
    retrain = next(spot for spot in chart.spots if spot.words.startswith("exact-replay:"))
    assert chart.band[0] < retrain.x < chart.band[0] + chart.band[1]
    assert drawing(example(), 2).charts[0].band is None


def test_what_cannot_be_drawn_is_named():
    results = example(settings=1, methods=8)
    rows = results["settings"][0]["rows"]
    rows[3]["figures"]["utility-gap"] = undecided("not measured")
    rows[4]["figures"]["forgetting-gap"] = figure([1e9, 1e9])
    found = drawing(results)
    assert set(found.missing) == {"fine-tune", "noisy-gradient-descent"}
    assert "fine-tune:" not in found.description


def test_a_collapsed_model_far_away_does_not_press_the_others_together():
    results = example(settings=1)
    ascent = next(row for row in results["settings"][0]["rows"] if row["method"] == "gradient-ascent")
    ascent["figures"]["forgetting-gap"] = figure([2000.0, 2500.0])
    found = drawing(results)
    chart = found.charts[0]
    spots = {spot.words.split(":")[0]: spot for spot in chart.spots}
    assert spots["gradient-ascent"].x == chart.plot.right
    assert spots["boundary-expand"].x > chart.plot.left + 0.6 * (chart.plot.right - chart.plot.left)
    assert "gradient-ascent → ↑" in {label.words for label in chart.labels}
    assert found.beyond
    assert not drawing(example(settings=1, methods=5)).beyond


def test_training_anew_is_a_line_in_the_drawing_of_cost():
    chart = drawing(example(), 0, COST).charts[0]
    retrain = next(spot for spot in chart.spots if spot.words.startswith("retrain:"))
    assert chart.whole is not None
    assert chart.whole < retrain.y < chart.zero
    assert all(spot.kind != "original" for spot in chart.spots)


@pytest.mark.parametrize("against", [UTILITY, COST])
def test_a_file_stands_alone(against):
    svg = tradeoff_svg(opened(example()), "digits-mlp-class", against=against)
    root = ElementTree.fromstring(svg)
    width, height = (float(x) for x in (root.get("width") or "0", root.get("height") or "0"))
    assert root.get("viewBox") == f"0 0 {width:g} {height:g}"
    assert "var(" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not {"script", "image", "a", "foreignObject"} & {element.tag.removeprefix(SVG) for element in root.iter()}
    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    for name in (
        "Digits, all methods: one whole class",
        "Forgetting gap (spreads of the margins)",
        "1 retrain",
    ):
        assert name in words
    for element in root.iter(f"{SVG}text"):
        x, length = float(element.get("x") or 0), len("".join(element.itertext())) * 6.9
        left = {"middle": x - length / 2, "end": x - length}.get(element.get("text-anchor") or "", x)
        if element.get("class") != "heading":
            assert left >= 0, "".join(element.itertext())
            assert left + length <= width, "".join(element.itertext())
        assert float(element.get("y") or 0) <= height
    assert root.find(f"{SVG}title") is not None
    assert tradeoff_svg(opened(example()), "digits-mlp-class", against=against) == svg


def test_an_element_for_a_page_has_no_style_of_its_own():
    page = render(opened(example()))[PAGE].decode()
    svg = page[page.index('<svg class="tradeoff') :].partition("</svg>")[0]
    assert "<style>" not in svg
    assert "xmlns" not in svg


def test_hostile_names_are_words_in_the_drawing():
    results = example(settings=1, methods=4)
    for row in results["settings"][0]["rows"]:
        row["label"] = f"<script>alert(1)</script>\u202e{row['label']}"
    svg = tradeoff_svg(opened(results), "digits-mlp-random")
    ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert "\u202e" not in svg


def test_nothing_to_draw_is_said_and_wrong_asking_refused(refused):
    results = example(settings=1, methods=4)
    for row in results["settings"][0]["rows"]:
        row["figures"] = {}
    svg = tradeoff_svg(opened(results), "digits-mlp-random")
    ElementTree.fromstring(svg)
    assert "Nothing can be drawn" in svg
    with refused(DataError, "no setting"):
        tradeoff_svg(opened(results), "elsewhere")
    with refused(InvalidArgument, "utility-gap"):
        tradeoff_svg(opened(results), "digits-mlp-random", against="beauty")


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), bend=st.sampled_from([0.01, 1.0]), p=st.booleans()
)
def test_axes_hold_zero_and_all_values_in_order(values, bend, p):
    found = gap_axis(values, 10.0, 500.0, percent=p, bend=bend)
    places = [found.at(value) for value in sorted([0.0, *values])]
    assert places == sorted(places)
    assert places[0] >= 10.0
    assert places[-1] <= 500.0
    ticks = found.ticks(7)
    assert len({label for _, label in ticks}) == len(ticks) >= 2
    assert any(label.startswith("0") for _, label in ticks)
    assert all(10.0 <= place <= 500.0 for place, _ in ticks)
    assert all(right - left >= 15 for (left, _), (right, _) in itertools.pairwise(ticks))


def test_axes_bend_only_where_figures_differ_much():
    assert not isinstance(gap_axis([0.05, 0.02, -0.01], 0, 100, percent=True, bend=0.01), BentAxis)
    bent = gap_axis([0.5, 60.0], 0, 1000, percent=False, bend=1.0)
    assert isinstance(bent, BentAxis)
    assert bent.at(1.0) - bent.at(0.0) > 5 * (bent.at(60.0) - bent.at(59.0))
    assert bent.at(40.0) - bent.at(20.0) == pytest.approx(bent.at(20.0) - bent.at(10.0), abs=2)
    assert [label for _, label in bent.ticks(7)] == ["0", "1", "5", "10", "20", "50"]


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (0.0004, "spreads", "0.000"),
        (-0.0001, "spreads", "0.000"),
        (0.0996, "spreads", "0.10"),
        (0.083, "spreads", "0.083"),
        (1.234, "spreads", "1.23"),
        (12.34, "spreads", "12.3"),
        (1234.5, "spreads", "1,234"),
        (1e17, "spreads", "1.00e+17"),
        (-0.0123, "points", "−1.2"),
        (0.0972, "percent", "9.7"),
        (0.61234, "auc", "0.612"),
        (0.17, "seconds", "0.170"),
    ],
)
def test_numbers(value, style, text):
    assert number(value, style) == text


def test_intervals_and_signs():
    assert signed(0.012, "points") == "+1.2"
    assert signed(-0.012, "points") == "−1.2"
    assert signed(0.0001, "points") == "0.0"
    assert between(Estimate(1.0, 0.5, 1.5, 3), "spreads") == "[0.50,\u00a01.50]"
    assert between(Estimate(1.0, 1.0, 1.0, 1), "spreads") == "n\u00a0=\u00a01"
    assert between(Estimate(1.0, 0.999, 1.001, 3), "spreads") == "", "its ends are the same as printed"
    assert told(Undecided("no references"), "spreads") == "undecided (no references)"
    assert math.isclose(example(settings=1, methods=1)["settings"][0]["share"], 72 / 1438)
