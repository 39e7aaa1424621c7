"""The drawing: what stands where, and labels that do not lie on each other."""

from __future__ import annotations

import io
import itertools
from base64 import b64decode

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from expunge.core.values import Undecided
from expunge.core.wording import clean, without_places
from expunge.data.dataset import Column, ColumnKind
from expunge.report.axis import axis, drawable
from expunge.report.chart import Drawing, draw
from expunge.report.labels import Anchor, Box, place
from expunge.report.load import load
from expunge.report.picture import is_picture, picture, png
from expunge.report.report import render

PLOT = Box(52.0, 34.0, 340.0, 368.0)


def drawing(*folders):
    found = draw(load(folders).sections[0])
    assert isinstance(found, Drawing)
    return found


def sizes(chart):
    """Boxes of the label lines, from their anchors and letters."""
    boxes = []
    for text in chart.labels:
        width = len(text.words) * 6.9
        left = {"start": text.x, "middle": text.x - width / 2, "end": text.x - width}[text.anchor]
        boxes.append(Box(left, text.y - 10, left + width, text.y + 3))
    return boxes


def test_points_stand_where_their_figures_are(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder, shift=0.2)
    chart = drawing(folder).charts[0]
    across = next(probe for probe in content["probes"] if probe["name"] == "loss-threshold")
    kinds = {kind: [mark for mark in chart.spots if mark.kind == kind] for kind in ("run", "original", "reference")}
    assert [len(kinds[kind]) for kind in ("run", "original", "reference")] == [1, 1, 5]
    run, original = kinds["run"][0], kinds["original"][0]
    scale = (original.x - run.x) / (across["original"]["value"] - across["unlearned"]["value"])
    for mark, reference in zip(kinds["reference"], across["references"], strict=True):
        assert mark.x - run.x == pytest.approx(scale * (reference["value"] - across["unlearned"]["value"]), abs=0.2)
    assert run.y > original.y, "less accurate stands lower"
    assert run.across is not None
    assert run.across[1] - run.across[0] == pytest.approx(0.06 * scale, abs=0.3)
    assert chart.band == (
        min(mark.x for mark in kinds["reference"]),
        pytest.approx(
            max(mark.x for mark in kinds["reference"]) - min(mark.x for mark in kinds["reference"]), abs=0.11
        ),
    )


def test_area_is_cost(world):
    cheap, dear = world.unlearned("a", example_steps=1035.2), world.unlearned("b", "fine-tune", example_steps=10352.0)
    world.evaluate(cheap, shift=0.05)
    world.evaluate(dear, shift=0.1)
    radii = sorted(mark.radius for mark in drawing(cheap, dear).charts[0].spots if mark.kind == "run")
    assert (radii[1] / radii[0]) ** 2 == pytest.approx(10, rel=0.05)


def test_the_margin_takes_over_where_the_membership_test_is_blind_or_missing(world):
    folder = world.unlearned("salun")
    content = world.evaluate(folder)
    assert drawing(folder).title.startswith("Membership AUC")
    blind = {"name": "positive control", "fired": True, "detail": "loss-threshold: probe is blind here"}
    world.evaluate(folder, guards=[blind])
    assert drawing(folder).title.startswith("Mean margin")
    both = {"name": "positive control", "fired": True, "detail": "mean-margin: probe is blind here"}
    world.evaluate(folder, guards=[blind, both])
    found = drawing(folder)
    assert found.title.startswith("Membership AUC")
    assert found.warnings == ("loss-threshold: probe is blind here",)
    for probe in content["probes"]:
        if probe["name"] == "loss-threshold":
            probe["unlearned"] = {"undecided": "fewer than 20 examples"}
    world.sign(folder, content)
    assert drawing(folder).title.startswith("Mean margin")


def test_no_drawing_where_nothing_was_measured_and_missing_runs_are_named(world):
    first, second = world.unlearned("a"), world.unlearned("b", "fine-tune")
    assert draw(load([first, second]).sections[0]) == Undecided("no run was evaluated")
    assert b"Not drawn: no run was evaluated." in render(load([first, second]))
    world.evaluate(first)
    assert drawing(first, second).missing == "fine-tune"
    assert b"Not drawn, because a figure is missing: fine-tune." in render(load([first, second]))


def test_one_reference_is_a_line_and_none_is_no_band(world):
    folder = world.unlearned("salun")
    world.evaluate(folder, references=1)
    band = drawing(folder).charts[0].band
    assert band is not None
    assert band[1] == 2.0
    world.evaluate(folder, references=0)
    assert drawing(folder).charts[0].band is None
    assert b"<svg" in render(load([folder]))


def test_marks_that_coincide_share_a_label_and_many_marks_have_numbers(world):
    folders = [world.unlearned(f"run-{index}", "fine-tune", seed=index) for index in range(14)]
    for folder in folders[:3]:
        world.evaluate(folder)
    lines = [text.words for text in drawing(*folders[:3]).charts[0].labels]
    assert any("seed 0" in line for line in lines)
    assert any("seed 2" in line for line in lines)
    for index, folder in enumerate(folders):
        world.evaluate(folder, shift=0.03 * index)
    many = drawing(*folders)
    assert many.numbered
    assert {text.words for text in many.charts[0].labels} >= {str(number) for number in range(2, 15)}
    assert b'<span class="number">14</span>' in render(load(folders))


@pytest.mark.parametrize("spread", [0.0, 0.004, 0.03])
def test_labels_stay_inside_and_apart_for_ten_methods(world, spread):
    names = ["fine-tune", "gradient-ascent", "neggrad-plus", "random-labels", "saliency-unlearning", "exact-replay"]
    folders = [world.unlearned(f"run-{index}", name) for index, name in enumerate(names)]
    for index, folder in enumerate(folders):
        world.evaluate(folder, shift=spread * index + 0.01)
    for chart in drawing(*folders).charts:
        boxes = sizes(chart)
        for box in boxes:
            assert box.left >= -1
            assert box.right <= chart.width + 1
            assert box.top >= 0
            assert box.bottom <= chart.height
        for one, other in itertools.combinations(boxes, 2):
            assert one.overlap(other) == 0.0


@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.floats(PLOT.left, PLOT.right), st.floats(PLOT.top, PLOT.bottom), st.floats(3.5, 14)), max_size=8
    )
)
def test_labels_never_cover_each_other(points):
    anchors = [Anchor(x, y, radius, 120.0, 15.0) for x, y, radius in points]
    placed = place(anchors, PLOT)
    assert placed == place(anchors, PLOT)
    for one, other in itertools.combinations(placed, 2):
        assert one.box.overlap(other.box) == 0.0
    for found in placed:
        assert PLOT.grown(0.001).holds(found.box)


def test_a_label_that_fits_nowhere_is_pushed_inside():
    box = place([Anchor(60.0, 40.0, 5.0, 280.0, 330.0)], PLOT)[0].box
    assert PLOT.holds(box)


@given(low=st.floats(-1e5, 1e5), span=st.floats(0, 1e5), percent=st.booleans())
def test_ticks_are_round_few_and_inside(low, span, percent):
    found = axis([low, low + span], 0.0, 100.0, percent=percent)
    ticks = found.ticks(5)
    assert 2 <= len(ticks) <= 7
    assert all(-0.01 <= place <= 100.01 for place, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_what_cannot_be_drawn():
    assert drawable(1.0, -1e6)
    assert not drawable(1e7)
    assert not drawable(float("inf"))


@pytest.mark.parametrize(
    ("shape", "layout", "mode"),
    [
        ((5, 4), "HW", "L"),
        ((5, 4, 3), "HWC", "RGB"),
        ((3, 5, 4), "CHW", "RGB"),
        ((5, 4, 4), "HWC", "RGB"),
        ((1, 5, 4), "CHW", "L"),
    ],
)
def test_pictures_of_every_layout_decode_to_their_pixels(shape, layout, mode):
    pixels = np.random.Generator(np.random.Philox(key=1)).integers(0, 256, shape).astype(np.uint8)
    column = Column("image", ColumnKind.IMAGE, shape, layout, 1 / 255)
    decoded = Image.open(io.BytesIO(b64decode(picture(pixels, column).split(",")[1])))
    assert decoded.mode == mode
    expected = pixels if layout == "HW" else pixels.transpose(1, 2, 0) if layout == "CHW" else pixels
    expected = expected[..., :3] if mode == "RGB" else expected.reshape(5, 4)
    assert np.array_equal(np.asarray(decoded), expected)


def test_pixels_are_scaled_by_the_columns_constant_and_reals_to_their_range():
    column = Column("image", ColumnKind.IMAGE, (1, 3), "HW", 1 / 16)
    decoded = Image.open(io.BytesIO(b64decode(picture(np.array([[0, 8, 16]], np.uint8), column).split(",")[1])))
    assert np.asarray(decoded).tolist() == [[0, 128, 255]]
    real = Column("x", ColumnKind.ARRAY, (1, 3), "HW")
    decoded = Image.open(io.BytesIO(b64decode(picture(np.array([[-1.0, 0.0, 1.0]]), real).split(",")[1])))
    assert np.asarray(decoded).tolist() == [[0, 128, 255]]
    flat = Image.open(io.BytesIO(b64decode(picture(np.ones((1, 3)), real).split(",")[1])))
    assert np.asarray(flat).tolist() == [[0, 0, 0]]
    assert not is_picture(Column("x", ColumnKind.NUMERIC))
    assert not is_picture(Column("x", ColumnKind.ARRAY, (7,)))


def test_large_pictures_are_reduced_by_means():
    column = Column("image", ColumnKind.IMAGE, (300, 130), "HW", 1 / 255)
    pixels = np.tile(np.arange(130, dtype=np.uint8), (300, 1))
    decoded = np.asarray(Image.open(io.BytesIO(b64decode(picture(pixels, column).split(",")[1]))))
    assert decoded.shape == (64, 27)
    assert (np.diff(decoded[0].astype(int)) > 0).all()
    assert abs(float(decoded.mean()) - float(pixels.mean())) < 1.5


def test_a_picture_of_many_blocks_is_sound():
    pixels = np.random.Generator(np.random.Philox(key=2)).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


@given(text=st.text(max_size=60))
def test_cleaned_text_can_be_written_and_does_not_steer(text):
    found = clean(text, 40)
    found.encode("utf-8")
    assert len(found) <= 41
    assert not any(ord(character) < 32 or character in "\u202e\u2066\u200b" for character in found)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("reference /home/a/runs/r1 counts once", "reference …/r1 counts once"),
        ("at C:\\Users\\a\\run and ~/runs/b", "at …/run and …/b"),
        ("1/3 of and/or 2/5", "1/3 of and/or 2/5"),
        ("see docs/guide.md", "see docs/guide.md"),
        ("[-0.1, 0.2] / δ", "[-0.1, 0.2] / δ"),
    ],
)
def test_paths_are_cut_to_their_last_name(text, kept):
    assert without_places(text) == kept
