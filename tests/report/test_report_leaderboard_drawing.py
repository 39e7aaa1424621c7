"""The dot plot of a study: what stands where, what is left out, and a file that stands alone."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.report.study_results_example import example, figure, opened, remembering, undecided

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.pages.dots_picture import dots_svg

from expunge.core.errors import DataError
from expunge.core.values import Undecided
from expunge.records.figures import Estimate
from expunge.report.dots import NARROW, SIZES, WIDE, DotPlot, dots
from expunge.report.leaderboard import PAGE, render
from expunge.report.scatter import CHARACTER
from expunge.report.study_text import between, number, signed, told

SVG = "{http://www.w3.org/2000/svg}"


def plot(results: dict[str, Any], at: int = 0) -> DotPlot:
    found = dots(opened(results).settings[at], SIZES)
    assert found is not None
    return found


def test_every_row_has_its_line_in_order_and_the_original_is_last():
    results = remembering()
    ranked = [row.label for row in opened(results).settings[0].ranked if row.took_part]
    for chart in plot(results).charts:
        assert [dot.name for dot in chart.dots] == [*ranked, "original, nothing forgotten"]
        heights = [dot.y for dot in chart.dots]
        assert heights == sorted(heights)
        assert chart.dots[-1].y < chart.bottom < chart.height
    outcomes = [dot.outcome for dot in plot(results).charts[0].dots]
    assert outcomes == ["same", "little left", "remembers", "remembers", "too much", "broke", "original"]


def test_marks_stand_where_their_figures_are_and_bounds_where_the_worst_seed_may_be():
    chart = plot(remembering()).charts[0]
    by_name = {dot.name: dot for dot in chart.dots}
    exact, kept, original = (by_name[name] for name in ("retrain", "fine-tune", "original, nothing forgotten"))
    whole = original.x - exact.x
    assert kept.x - exact.x == pytest.approx(0.9 * whole, abs=0.2)
    assert exact.value == "0 %"
    assert kept.bound is not None
    assert kept.bound - exact.x == pytest.approx(1.02 * whole, abs=0.2), "the worst of its seeds"
    assert chart.band is not None
    assert chart.band[0] == pytest.approx(exact.x - 0.1 * whole, abs=0.2)
    assert chart.band[1] == pytest.approx(0.22 * whole, abs=0.3)


def test_no_mark_and_no_line_leaves_the_scale():
    results = remembering()
    results["settings"][0]["rows"][1]["figures"]["memory"] = {"mean": 0.5, "low": -9.0, "high": 9.0, "n": 3}
    results["settings"][0]["rows"][2]["figures"]["memory"] = figure([7.0, 7.1, 7.2])
    for chart in plot(results).charts:
        for dot in chart.dots:
            ends = (dot.x, *(dot.line or ()), *(() if dot.bound is None else (dot.bound,)))
            assert all(chart.left <= end <= chart.right for end in ends)
    assert any(dot.value == "710 % →" for dot in plot(results).charts[0].dots)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_two_seeds_have_no_interval(seeds):
    results = remembering()
    for row in results["settings"][0]["rows"]:
        row["figures"]["memory"] = figure([0.1, 0.2, 0.4][:seeds])
    lines = [dot.line for dot in plot(results).charts[0].dots[:-1]]
    assert all((line is not None) == (seeds > 2) for line in lines)


def test_names_fit_beside_their_rows():
    for chart in plot(example()).charts:
        for dot in chart.dots:
            start = chart.names_at if chart.rise > 0 else chart.names_at - len(dot.name) * CHARACTER
            assert start >= 0
            assert start + len(dot.name) * CHARACTER <= chart.right


def test_what_has_no_figure_is_named():
    results = remembering()
    results["settings"][0]["rows"][1]["figures"]["memory"] = undecided("needs 1 witness, has 0")
    found = plot(results)
    assert found.missing == (results["settings"][0]["rows"][1]["label"],)
    assert found.missing[0] not in [dot.name for dot in found.charts[0].dots]


def test_studies_of_then_are_drawn_of_the_forgetting_gap_and_broken_models_stand_at_the_edge():
    found = plot(example())
    assert found.title.startswith("Forgetting gap")
    outcomes = {dot.name: dot.outcome for dot in found.charts[0].dots}
    assert outcomes["retrain"] == "recorded"
    assert outcomes["gradient-ascent"] == "broke"
    assert {"refuted then", "undecided then"} & set(outcomes.values())
    assert not found.bounds


def test_a_file_stands_alone_and_says_its_title_once():
    svg = dots_svg(opened(example()), "digits-mlp-class")
    root = ElementTree.fromstring(svg)
    width, height = (float(x) for x in (root.get("width") or "0", root.get("height") or "0"))
    assert root.get("viewBox") == f"0 0 {width:g} {height}"
    assert "var(" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not {"script", "image", "a", "foreignObject"} & {element.tag.removeprefix(SVG) for element in root.iter()}
    words = ["".join(element.itertext()) for element in root.iter(f"{SVG}text")]
    assert words.count("Digits, all methods: one whole class") == 1
    assert "Forgetting gap, in spreads of the margins" in words
    for element in root.iter(f"{SVG}text"):
        x, length = float(element.get("x") or 0), len("".join(element.itertext())) * CHARACTER
        left = {"middle": x - length / 2, "end": x - length}.get(element.get("text-anchor") or "", x)
        if element.get("class") != "heading":
            assert left >= 0, "".join(element.itertext())
            assert left + length <= width, "".join(element.itertext())
        assert float(element.get("y") or 0) <= height
    assert dots_svg(opened(example()), "digits-mlp-class") == svg


def test_an_element_for_a_page_has_no_style_of_its_own():
    page = render(opened(example()))[PAGE].decode()
    svg = page[page.index('<svg class="tradeoff') :].partition("</svg>")[0]
    assert "<style>" not in svg
    assert "xmlns" not in svg
    assert {WIDE.name, NARROW.name} == {chart.name for chart in plot(example()).charts}


def test_hostile_names_are_words_in_the_drawing():
    results = example(settings=1, methods=4)
    for row in results["settings"][0]["rows"]:
        row["label"] = f"<script>alert(1)</script>\u202e{row['label']}"
    svg = dots_svg(opened(results), "digits-mlp-random")
    ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert "\u202e" not in svg


def test_nothing_to_draw_is_said_and_wrong_asking_refused(refused):
    results = example(settings=1, methods=4)
    for row in results["settings"][0]["rows"]:
        row["figures"] = {}
    svg = dots_svg(opened(results), "digits-mlp-random")
    ElementTree.fromstring(svg)
    assert "Nothing can be drawn" in svg
    with refused(DataError, "no setting"):
        dots_svg(opened(results), "elsewhere")


def test_the_result_is_said_first_and_reading_is_folded(words):
    page = render(opened(remembering()))[PAGE]
    text = words(page).replace("\u00a0", " ")
    said = (
        "Forgotten by retrain, bit for bit. With prune-and-match at most 8 % of the memory is left. "
        "Four other methods did not: two still remember, one forgot too much, one broke."
    )
    assert said in text
    assert text.index(said) < text.index("had to forget parts of")
    assert "<details>\n<summary>How to read it</summary>" in page.decode()
    assert "earlier release" not in text
    assert "All methods that could be tuned ran on their defaults, untuned" in text
    assert '<span class="badge small open">untuned' not in page.decode()
    assert "still remembers 3" in text
    assert "Refuted" not in text


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
        (0.954, "memory", "95"),
        (1.11, "share", "111.0"),
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
    assert between(Estimate(0.9, 0.2, 1.6, 2), "percent") == "n\u00a0=\u00a02", "two seeds have no interval"
    assert between(Estimate(0.97, 0.9, 1.04, 3), "percent") == "[90.0,\u00a0100.0]", "nobody is right more than always"
    assert between(Estimate(1.05, 0.9, 1.2, 3), "share") == "[90.0,\u00a0120.0]", "work may be more than a training"
    assert between(Estimate(0.9, 0.2, 1.6, 2), "percent", clipped=False) == "[20.0,\u00a0160.0]"
    assert told(Undecided("no references"), "spreads") == "undecided (no references)"
    assert math.isclose(example(settings=1, methods=1)["settings"][0]["share"], 72 / 1438)
