"""The grid of forgotten examples: their rows as they were, or nothing of them at all."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image

from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.report.load import load
from expunge.report.report import render, report

HOSTILE = '<script>alert("x")</script>'


def test_pictures_are_the_rows_themselves(world, parsed, words):
    folder = world.unlearned("salun")
    world.evaluate(folder)
    found = [attributes for tag, attributes in parsed(render(load([folder]))).seen if tag == "img"]
    assert len(found) == 5
    for attributes, slot in zip(found, (1, 2, 3, 5, 8), strict=True):
        picture = Image.open(io.BytesIO(b64decode(str(attributes["src"]).split(",")[1])))
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), world.train.content["x"][slot])
        assert world.train.ids[slot] in words(render(load([folder])))


def test_rows_of_tables_are_short_and_readable(make_world, forms, words):
    world = make_world(forms["patients"])
    folder = world.unlearned("salun", rules=["subject:p-03"])
    world.evaluate(folder)
    text = words(render(load([folder])))
    example = world.train.example(1)
    assert f"age {example['content.age']:.6g} · town {example['content.town']} · note slept well" in text
    rows = re.findall(r'<p class="row">(.*?)</p>', render(load([folder])).decode())
    assert len(rows) == 5
    assert all(len(row) <= 81 for row in rows)


def test_without_examples_no_trace_of_the_people_is_left(evaluated, world, tmp_path):
    page = report(evaluated, out=tmp_path / "a.html", examples=False).read_text(encoding="utf-8")
    assert "<img" not in page
    assert "person-" not in page
    assert "picture-" not in page
    assert not re.search(r"label \d", page)
    assert "Made without examples" in page
    assert "subject:…" in page
    assert "example 1" in page
    assert "99.0\u00a0%" in page, "confidences stay"
    whole = render(load(evaluated)).decode()
    assert "This page holds data of people who asked to be forgotten" in whole
    assert "This page holds data" not in page


@pytest.mark.parametrize("change", ["gone", "altered", "memory", "unreadable"])
def test_data_that_is_gone_leaves_confidences_and_one_line(world, change, words):
    folder = world.unlearned("salun")
    world.evaluate(folder)
    source = world.source.location
    if change == "gone":
        shutil.move(source, source + ".away")
    elif change == "altered":
        stored = dict(np.load(source))
        stored["x"] = stored["x"] ^ 1
        np.savez(source, **stored)
    elif change == "unreadable":
        with open(source, "wb") as broken:
            broken.write(b"nothing")
    else:
        manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        manifest["data"]["source"] = None
        (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    page = render(load([folder]))
    said = {
        "gone": "no longer where the run found it",
        "altered": "no longer matches the run’s commitment",
        "memory": "trained on data in memory",
        "unreadable": "can no longer be read",
    }[change]
    assert said in words(page)
    assert "<img" not in page.decode()
    assert "50.0 %" in words(page)
    if change in ("gone", "memory"):
        shown = load([folder], data=source + ".away" * (change == "gone"))
        assert (change == "gone") or "<img" in render(shown).decode()


def test_moved_data_is_found_by_its_new_place(world, tmp_path):
    folder = world.unlearned("salun")
    world.evaluate(folder)
    place = tmp_path / "elsewhere.npz"
    shutil.move(world.source.location, place)
    assert "<img" in report([folder], out=tmp_path / "a.html", data=str(place)).read_text(encoding="utf-8")


def test_a_forgotten_row_that_was_deleted_is_said_to_be_gone(make_world, forms, words):
    world = make_world(forms["patients"])
    folder = world.unlearned("salun")
    world.evaluate(folder)
    position = int(np.flatnonzero(world.commitment.assignment == Split.TRAIN.code)[2])
    with open(world.source.location, encoding="utf-8") as table:
        lines = table.read().splitlines()
    del lines[1 + position]
    with open(world.source.location, "w", encoding="utf-8") as table:
        table.write("\n".join(lines) + "\n")
    text = words(render(load([folder])))
    assert text.count("this row is no longer in the data") == 1
    assert text.count("slept well") == 4


def test_hostile_rows_are_words_too(make_world, tmp_path, words):
    def build(path):
        with path.open("w", encoding="utf-8", newline="") as table:
            rows = [[f"{HOSTILE} {row}", row, row % 2, f"who-{row}<b>"] for row in range(60)]
            csv.writer(table).writerows([["note", "number", "outcome", "person"], *rows])
        return Source(location=str(path), label="outcome", subject="person", categorical=("note",))

    world = make_world(build)
    folder = world.unlearned("salun")
    world.evaluate(folder)
    page = render(load([folder]))
    assert "<script" not in page.decode()
    assert words(page).count("alert(") == 5
    assert "<b>" not in re.sub(r"<b>(label|example)", "", page.decode()).replace("<b>Guard", "")


def test_the_grid_is_capped(make_world, forms, parsed, words):
    world = make_world(forms["images"], rows=200)
    folders = [world.unlearned(f"run-{index}", seed=index, slots=range(60)) for index in range(8)]
    for folder in folders:
        world.evaluate(folder)
    page = render(load(folders))
    tags = parsed(page).seen
    assert sum(tag == "img" for tag, _ in tags) == 24
    assert "The first 6 of 8 runs are shown." in words(page)
