"""The first so many rows of any form: those and no others decide what is inferred, and a run opens on them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.conftest import run_json

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.data.dataset import ColumnKind, Dataset
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.report.load import load
from expunge.report.report import report
from expunge.train.run import Run
from expunge.train.training import train

COUNT, KEPT = 60, 43  # behind the cut lie another class, words among the numbers, a longer text


def line(row: int) -> dict[str, Any]:
    inside = row < KEPT
    return {
        "name": f"id-{row}",
        "who": f"person-{row // 4}",
        "age": str(20 + row % 9) if inside else "unknown",
        "note": f"town-{row % 3}" if inside else "a long text of many words " * 9,
        "label": f"class-{row % 3}" if inside else "class-9",
    }


def write_csv(folder: Path, count: int) -> Source:
    lines = [line(row) for row in range(count)]
    text = "\n".join([",".join(lines[0]), *(",".join(cells.values()) for cells in lines)]) + "\n"
    (folder / "rows.csv").write_text(text, encoding="utf-8")
    return Source(location=str(folder / "rows.csv"), label="label", id="name", subject="who")


def write_parquet(folder: Path, count: int) -> Source:
    lines = [line(row) for row in range(count)]
    columns = {name: [cells[name] for cells in lines] for name in lines[0]}
    columns["age"] = [20 + row % 9 for row in range(count)]
    pq.write_table(pa.table(columns), folder / "rows.parquet", row_group_size=10)
    return Source(location=str(folder / "rows.parquet"), label="label", id="name", subject="who")


def write_arrays(folder: Path, count: int) -> Source:
    lines = [line(row) for row in range(count)]
    pixels = np.arange(count * 12, dtype=np.uint8).reshape(count, 4, 3)
    labels = np.array([int(cells["label"][-1]) for cells in lines])
    names = {"ids": np.array([cells["name"] for cells in lines]), "subjects": np.array([c["who"] for c in lines])}
    np.savez(folder / "rows.npz", x=pixels, y=labels, **names)
    return Source(location=str(folder / "rows.npz"))


def write_plain_arrays(folder: Path, count: int) -> Source:
    np.savez(folder / "plain.npz", x=np.arange(count, dtype=np.float32), y=np.arange(count) // 30)
    return Source(location=str(folder / "plain.npz"))


def write_images(folder: Path, count: int) -> Source:
    for row in range(count):
        path = folder / "images" / f"class-{row // 10}" / f"{row // 4:02d}_{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 4 if row < KEPT else 9  # of another size, which alone would be refused
        Image.fromarray(np.full((side, side), row, dtype=np.uint8)).save(path)
    return Source(location=str(folder / "images"), subject="prefix")


def write_saved(folder: Path, count: int) -> Source:
    datasets = pytest.importorskip("datasets", reason="the extra 'language' is not installed")
    datasets.disable_progress_bars()
    lines = [line(row) for row in range(count)]
    columns = {name: [cells[name] for cells in lines] for name in lines[0]}
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder / "saved"))
    return Source(location=str(folder / "saved"), id="name", subject="who")


WRITERS = [write_csv, write_parquet, write_arrays, write_plain_arrays, write_images, write_saved]
Writer = Callable[[Path, int], Source]
by_form = pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__.removeprefix("write_"))


def limited(source: Source, rows: Any) -> Source:
    return Source(**{**{name: getattr(source, name) for name in source.__dataclass_fields__}, "rows": rows})


def same(one: Dataset, other: Dataset) -> None:
    for name in ("ids", "subjects", "classes", "columns", "positional"):
        assert getattr(one, name) == getattr(other, name), name
    for name, values in (("labels", other.labels), ("present", other.present)):
        np.testing.assert_array_equal(getattr(one, name), values)
    assert set(one.content) == set(other.content)
    for name, values in other.content.items():
        np.testing.assert_array_equal(one.content[name], values)


@by_form
@pytest.mark.parametrize("rows", [31, 40, KEPT])
def test_it_is_as_if_only_these_rows_were_there(write: Writer, rows: int, tmp_path: Path) -> None:
    """The slow twin: a source in which nothing else was ever written."""
    (tmp_path / "long").mkdir()
    (tmp_path / "short").mkdir()
    same(read(limited(write(tmp_path / "long", COUNT), rows)), read(write(tmp_path / "short", rows)))


def test_one_class_among_the_first_is_said_of_the_first(refused: Any, tmp_path: Path) -> None:
    for source in (write_plain_arrays(tmp_path, COUNT), write_images(tmp_path, COUNT), write_csv(tmp_path, COUNT)):
        with refused(DataError, f"{source.location} (the first 1 of its rows) holds one class only"):
            read(limited(source, 1))


@by_form
def test_as_many_as_there_are_is_all_of_them(write: Writer, tmp_path: Path) -> None:
    source = write(tmp_path, KEPT)
    same(read(limited(source, KEPT)), read(source))


def test_the_digits_keep_their_people() -> None:
    everybody, first = read(Source(location="digits")), read(Source(location="digits", rows=1000))
    same(first, everybody.take(np.arange(1000)))
    assert read(Source(location="digits", rows=3)).classes == (0, 1, 2), "of these rows only"


def test_what_is_inferred_is_inferred_from_these(tmp_path: Path) -> None:
    source = write_csv(tmp_path, COUNT)
    kinds = {column.name: column.kind for column in read(limited(source, KEPT)).columns}
    assert kinds == {"age": ColumnKind.NUMERIC, "note": ColumnKind.CATEGORY}
    kinds = {column.name: column.kind for column in read(source).columns}
    assert kinds == {"age": ColumnKind.CATEGORY, "note": ColumnKind.TEXT}
    assert read(limited(source, KEPT)).classes == ("class-0", "class-1", "class-2")


@by_form
def test_more_than_there_are(write: Writer, refused: Any, tmp_path: Path) -> None:
    source = limited(write(tmp_path, 20), 21)
    with refused(InvalidArgument, "`rows` 21 is more than the 20 rows of", source.location, "at most 20, or leave it"):
        read(source)


def test_more_than_the_digits_are(refused: Any) -> None:
    with refused(InvalidArgument, "`rows` 1798 is more than the 1797 rows of digits: ask for at most 1797"):
        read(Source(location="digits", rows=1798))


@pytest.mark.parametrize("rows", [0, -3, True, 2.0, "7"])
def test_numbers_that_count_no_rows(refused: Any, rows: Any) -> None:
    with refused(InvalidArgument, f"rows {rows!r} must be a whole number from 1: leave it out to take all rows"):
        Source(location="digits", rows=rows)


def test_json_with_and_without_the_field(refused: Any) -> None:
    source = Source(location="digits", rows=200)
    assert Source.from_json(json.loads(json.dumps(source.as_json()))) == source
    older = {name: value for name, value in Source(location="digits").as_json().items() if name != "rows"}
    assert Source.from_json(older) == Source(location="digits")
    for value in ("200", True, 2.0):
        with refused(DataError, "'rows'", repr(value), "altered"):
            Source.from_json({**older, "rows": value})


def trained(source: Source, folder: Path, **fields: Any) -> Run:
    return train(source, out=folder, model="mlp", epochs=1, batch_size=8, category_buckets=4, text_buckets=4, **fields)


@by_form
def test_a_run_opens_on_the_same_rows(write: Writer, tmp_path: Path) -> None:
    source = limited(write(tmp_path, COUNT), KEPT)
    run = trained(source, tmp_path / "run")
    assert run_json(run)["data"]["rows"] == KEPT
    assert run_json(run)["data"]["source"]["rows"] == KEPT
    again = Run.open(run.path).data()
    assert sum(len(rows) for rows in again.values()) == KEPT
    assert trained(source, tmp_path / "run").weights_digest == run.weights_digest
    (tmp_path / "short").mkdir()
    alone = trained(write(tmp_path / "short", KEPT), tmp_path / "alone")
    if "images" not in source.location:  # a folder of fewer images has other paths of none
        assert alone.weights_digest == run.weights_digest
    with pytest.raises(RunError, match="holds another run"):
        trained(limited(source, KEPT - 1), tmp_path / "run")


def test_an_older_run_still_opens(tmp_path: Path) -> None:
    run = trained(write_csv(tmp_path, KEPT), tmp_path / "run")
    manifest = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    del manifest["data"]["source"]["rows"]
    (run.path / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert sum(len(rows) for rows in Run.open(run.path).data().values()) == KEPT


def keep(path: Path, stays: Callable[[str], bool]) -> None:
    head, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([head, *filter(stays, lines)]), encoding="utf-8")


@pytest.fixture
def people(tmp_path: Path) -> Source:
    """A table without ids, all of whose rows could be trained on."""
    lines = [
        "who,age,town,sick",
        *(f"p-{row // 4:02d},{20 + row % 9},t-{row % 5},{'ab'[row % 2]}" for row in range(80)),
    ]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Source(location=str(tmp_path / "people.csv"), label="sick", subject="who", rows=60)


@pytest.mark.parametrize("behind", [20, 2, 0])
def test_rows_that_moved_up_are_left_out_again(people: Source, behind: int, tmp_path: Path) -> None:
    """Whether as many rows lie behind the cut as are gone, fewer, or none."""
    path = Path(people.location)
    if behind < 20:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[: 1 + 60 + behind]), encoding="utf-8")
    base = trained(people, tmp_path / "base")
    before = base.data()[Split.TRAIN]
    run = unlearn(base, "subject:p-03", out=tmp_path / "run")
    keep(path, lambda text: not text.startswith("p-03"))
    rows = run.data()
    train_rows = rows[Split.TRAIN]
    assert sum(len(found) for found in rows.values()) == 60
    assert np.flatnonzero(~train_rows.present).tolist() == run_json(run)["tombstones"]
    kept = np.flatnonzero(train_rows.present)
    assert [train_rows.ids[slot] for slot in kept] == [before.ids[slot] for slot in kept]
    assert not {"p-15", "p-16", "p-17", "p-18", "p-19"} & {name for found in rows.values() for name in found.subjects}
    more = unlearn(run, "subject:p-05", out=tmp_path / "more")
    without = trained(limited(people, None), tmp_path / "other") if behind == 20 else None
    assert without is None or run_json(without)["dataset_root"] != run_json(base)["dataset_root"]
    assert set(run_json(run)["tombstones"]) < set(run_json(more)["tombstones"])
    with pytest.raises(DataError, match=r"is missing|does not match"):
        base.data()


def test_other_rows_are_still_refused(people: Source, tmp_path: Path) -> None:
    path = Path(people.location)
    base = trained(people, tmp_path / "base")
    run = unlearn(base, "subject:p-03", out=tmp_path / "run")
    whole = path.read_text(encoding="utf-8")
    keep(path, lambda text: not text.startswith(("p-03", "p-04")))
    with pytest.raises(DataError, match="does not match"):
        run.data()
    path.write_text(whole.replace("p-07,", "p-99,"), encoding="utf-8")
    with pytest.raises(DataError, match="does not match"):
        run.data()
    path.write_text(whole, encoding="utf-8")
    everything = read(limited(people, None))
    with pytest.raises(DataError, match="the data holds 20 rows that were never committed"):
        run.data(everything)
    assert load([run.path]).runs[0].weights_digest == run.weights_digest
    assert report([run.path], out=tmp_path / "page.html").exists()


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    import sys

    from expunge.cli.main import main

    def command(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    arguments = ("train", "digits", "--model", "mlp", "--epochs", 1)
    assert command(*arguments, "--rows", 200, "--out", tmp_path / "run") == 0
    assert run_json(Run.open(tmp_path / "run"))["data"]["rows"] == 200
    capsys.readouterr()
    for rows, words in ((0, "rows 0 must be a whole number from 1"), (9999, "--rows 9999 is more than the 1797 rows")):
        assert command(*arguments, "--rows", rows, "--out", tmp_path / "none") == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
