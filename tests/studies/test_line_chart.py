"""Lines over powers of ten: every value in its place, 0 below all others, and nothing that cannot be drawn."""

from __future__ import annotations

import itertools
import math
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.pages.line_chart import HEIGHT, WIDTH, Point, Series, line_chart_svg

from expunge.core.errors import InvalidArgument

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e6)), min_size=1, max_size=6)


def drawn(*series: Series) -> tree.Element:
    return tree.fromstring(line_chart_svg("Title", series, across="M", up="distance"))


def circles(root: tree.Element) -> list[tuple[float, float]]:
    return [(float(one.get("cx", "")), float(one.get("cy", ""))) for one in root.iter(f"{SVG}circle")][:-1]


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_higher_values_stand_higher_and_none_outside(values: list[float]) -> None:
    root = drawn(Series("a", tuple(Point(10.0**place, value) for place, value in enumerate(values))))
    spots = circles(root)
    assert len(spots) == len(values)
    for (x, y), value in zip(spots, values, strict=True):
        assert 0 < x < WIDTH
        assert 0 < y < HEIGHT
        for (_, other), against in zip(spots, values, strict=True):
            if value > against * 1.05:
                assert y < other
    assert all(after[0] > before[0] for before, after in itertools.pairwise(spots))


def test_a_decade_is_as_high_everywhere_and_zero_is_below_them_all() -> None:
    root = drawn(Series("a", (Point(1, 0.0), Point(2, 1e-6), Point(4, 1e-4), Point(8, 1e-2))))
    (_, zero), *rest = circles(root)
    steps = [before[1] - after[1] for before, after in itertools.pairwise(rest)]
    assert steps[0] == pytest.approx(steps[1], abs=0.2)
    assert zero > max(y for _, y in rest) + 10
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert "0" in words
    assert "10⁻⁶" in words
    assert "0" not in [text.text for text in drawn(Series("a", (Point(1, 1e-6),))).iter(f"{SVG}text")]


def test_named_places_keep_their_order() -> None:
    places = ("10 steps", "half", "all")
    root = drawn(Series("a", tuple(Point(place, 1.0) for place in places)))
    assert sorted(circles(root)) == circles(root)
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert [word for word in words if word in places] == list(places)


def test_intervals_and_bounds_are_drawn_as_what_they_are() -> None:
    measured = Series("measured", (Point(1, 1e-3, 1e-4, 1e-2), Point(10, 1e-3)))
    bound = Series("bound", (Point(1, 1e-1), Point(10, 1e-2)), dashed=True)
    root = drawn(measured, bound)
    whiskers = [one.get("d", "") for one in root.iter(f"{SVG}path") if "whisker" in one.get("class", "")]
    assert len(whiskers) == 1
    assert whiskers[0].count("M") == 1
    dashed = [one for one in root.iter(f"{SVG}path") if "dashed" in one.get("class", "")]
    assert len(dashed) == 2  # the line and its place in the legend
    titles = [one.text or "" for one in root.iter(f"{SVG}title")]
    assert "measured, 1: 0.001 [0.0001, 0.01]" in titles
    assert "bound: 1 0.1, 10 0.01" in titles[0]


def test_hostile_names_are_words_in_the_drawing() -> None:
    root = drawn(Series("<script>&", (Point("<b>", 1.0),)))
    assert not list(root.iter(f"{SVG}script"))
    assert "<script>&" in [text.text for text in root.iter(f"{SVG}text")]


def test_an_empty_line_is_left_out_and_nothing_at_all_is_refused() -> None:
    assert "left" not in line_chart_svg("T", [Series("left", ()), Series("a", (Point(1, 1.0),))], across="x", up="y")
    for wrong in ((), (Point(1, math.nan),), (Point(1, -1.0),), (Point(1, math.inf),)):
        with pytest.raises(InvalidArgument, match="cannot be drawn"):
            drawn(Series("a", wrong))
    with pytest.raises(InvalidArgument, match="all numbers or all names"):
        drawn(Series("a", (Point(1, 1.0), Point("b", 1.0))))


def test_the_drawing_stands_alone_in_light_and_dark() -> None:
    text = line_chart_svg("T", [Series("a", (Point(1, 1.0),))], across="x", up="y")
    assert "var(" not in text
    assert "prefers-color-scheme: dark" in text
    assert text == line_chart_svg("T", [Series("a", (Point(1, 1.0),))], across="x", up="y")


def test_marks_that_are_not_joined_have_no_line_and_lines_may_share_a_colour() -> None:
    points = (Point("a", 1e-3, 1e-4, 1e-2), Point("b", 1e-2))
    root = drawn(Series("marks", points, joined=False, colour=1), Series("bound", points, dashed=True, colour=1))
    lines = [one for one in root.iter(f"{SVG}path") if "series" in one.get("class", "")]
    assert [one.get("class") for one in lines] == ["series c1 dashed"] * 2  # the bound, and its place in the legend
    assert len([one for one in root.iter(f"{SVG}rect") if "spot" in one.get("class", "")]) == len(points) + 1
