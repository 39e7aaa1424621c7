"""Rows at levels V2 and above: every one is the committed one, and no constant hangs on those that are gone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.data.encoding import Encoding
from expunge.data.salts import destroy_salts
from expunge.data.source import Source
from expunge.data.splits import Split, split_rows
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.records.keys import SigningKey
from expunge.records.record import Commit
from expunge.records.verdict import Level, Status, Verdict
from expunge.train.run import Run
from expunge.train.training import make_recipe, train

FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}


def codes(verdict: Verdict) -> list[str]:
    return [code.value for code in verdict.codes]


def save_pictures(path: Path, dataset: Dataset, keep: np.ndarray | None = None, *, named: bool = True) -> Path:
    rows = np.arange(len(dataset)) if keep is None else keep
    names = {"ids": np.array(dataset.ids)[rows], "subjects": np.array(dataset.subjects)[rows]} if named else {}
    np.savez(path, x=dataset.content["image"][rows], y=dataset.labels[rows], **names)
    return path


@pytest.fixture(scope="module")
def bundle(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory, owner: SigningKey) -> Path:
    folder = tmp_path_factory.mktemp("contents")
    run = train(pictures, out=folder / "run", **FIELDS)
    return sealed(story_of(run, owner), owner, folder)


def with_content(dataset: Dataset, values: np.ndarray, **others: Any) -> Dataset:
    return replace(dataset, content={"image": values}, **others)


def one_pixel(pictures: Dataset) -> Dataset:
    values = pictures.content["image"].copy()
    values[70, 3, 3] ^= 1
    return with_content(pictures, values)


def exchanged(pictures: Dataset) -> Dataset:
    values = pictures.content["image"].copy()
    values[[70, 71]] = values[[71, 70]]
    return with_content(pictures, values)


def label_flipped(pictures: Dataset) -> Dataset:
    labels = pictures.labels.copy()
    labels[70] = (labels[70] + 1) % 3
    return replace(pictures, labels=labels)


def other_owner(pictures: Dataset) -> Dataset:
    subjects = list(pictures.subjects)
    subjects[70] = "somebody-else"
    return replace(pictures, subjects=tuple(subjects))


def other_type(pictures: Dataset) -> Dataset:
    return with_content(pictures, pictures.content["image"].astype(np.int16))


@pytest.mark.parametrize("change", [one_pixel, exchanged, label_flipped, other_owner, other_type])
def test_a_row_that_is_not_the_committed_one_is_refused_with_its_id(
    change: Callable[[Dataset], Dataset], bundle: Path, pictures: Dataset, trusted: Any
) -> None:
    """Fixtures 4, 16 and 28 b: a pixel, a neighbour's content, a label, a person, a type of numbers."""
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V2", data=change(pictures))
    assert codes(verdict) == ["CONTENT_LEAF_MISMATCH"]
    where = "picture-0" if change is other_type else "picture-70"
    assert repr(where) in finding_of(verdict, "content").detail


def test_arrays_that_print_alike_are_told_apart(
    tmp_path: Path, owner: SigningKey, trusted: Any, pictures: Dataset
) -> None:
    """Fixture 25: NumPy abbreviates large arrays, so two may print the same and differ in most of their bytes."""
    values = np.random.default_rng(0).random((60, 40, 40)).astype(np.float32)
    columns = (Column("x", ColumnKind.ARRAY, (40, 40), "HW"),)
    dataset = replace(pictures.take(np.arange(60)), columns=columns, content={"x": values})
    run = train(dataset, out=tmp_path / "run", **FIELDS)
    other = values.copy()
    other[9, 4:-4, 4:-4] += 1
    assert str(other) == str(values)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    assert verified(bundle, trusted, "V2", data=dataset).status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V2", data=replace(dataset, content={"x": other}))
    assert codes(verdict) == ["CONTENT_LEAF_MISMATCH"]
    assert "'picture-9'" in finding_of(verdict, "content").detail


@pytest.mark.parametrize("named", [True, False])
def test_forgotten_rows_may_be_gone_from_the_file_and_no_others(
    named: bool, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """With ids of their own, and where ids are positions; other places than the owner's."""
    place = save_pictures(tmp_path / "all.npz", pictures, named=named)
    run = train(Source(location=str(place)), out=tmp_path / "run", **FIELDS)
    rule = "subject:someone-03" if named else "subject:row-30"
    after = unlearn(run, rule, out=tmp_path / "after")
    train_rows = np.flatnonzero(run.commitment.assignment == Split.TRAIN.code)
    gone = train_rows[after.tombstones]
    bundle = sealed(story_of(after, owner), owner, tmp_path)
    left = save_pictures(tmp_path / "left.npz", pictures, np.setdiff1d(np.arange(150), gone), named=named)
    for data in (place, left):
        verdict = verified(bundle, trusted, "V3", data=data)
        assert verdict.status is Status.ACCEPTED, verdict.as_json()
    detail = finding_of(verdict, "content").detail
    assert f"{len(gone)} training row{'s' * (len(gone) > 1)} forgotten, {len(gone)} of them compared with" in detail
    fewer = save_pictures(tmp_path / "fewer.npz", pictures, np.setdiff1d(np.arange(150), [*gone, 100]), named=named)
    assert codes(verified(bundle, trusted, "V2", data=fewer)) == ["CONTENT_LEAF_MISMATCH"]
    more = save_pictures(tmp_path / "more.npz", pictures, np.arange(150), named=named)
    found = dict(np.load(more))
    np.savez(more, **{name: np.concatenate([found[name], found[name][-1:]]) for name in found if name not in NAMED})
    if not named:
        assert codes(verified(bundle, trusted, "V2", data=more)) == ["CONTENT_LEAF_MISMATCH"]


NAMED = ("ids", "subjects")


def test_a_place_that_holds_nothing_cannot_be_run(bundle: Path, tmp_path: Path, trusted: Any) -> None:
    """Exit status 2: a wrong argument decides nothing."""
    with pytest.raises(InvalidArgument, match="does not exist"):
        verified(bundle, trusted, "V2", data=tmp_path / "nowhere.npz")


def test_without_data_the_rest_is_still_looked_at(bundle: Path, trusted: Any) -> None:
    verdict = verified(bundle, trusted, "V2")
    assert (verdict.status, verdict.reached) == (Status.UNDECIDED, Level.V1)
    assert finding_of(verdict, "content").reason == "evidence-missing"
    assert finding_of(verdict, "environment").outcome.value == "holds"


def test_secret_salts_come_in_a_file_of_their_own(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Without it nothing can be checked; of forgotten rows they may be destroyed, of others not."""
    salts = tmp_path / "pictures.salts"
    fixed = make_recipe(pictures, model="mlp", epochs=2, batch_size=16)
    train(pictures, out=tmp_path / "run", recipe=fixed, salts=salts, commit_only=True)
    run = train(pictures, out=tmp_path / "run", recipe=fixed, salts=salts, checkpoint_interval=4)
    after = unlearn(run, "subject:someone-03", out=tmp_path / "after", data=pictures)
    before = sealed(story_of(run, owner), owner, tmp_path / "before")
    bundle = sealed(story_of(after, owner), owner, tmp_path / "sealed")
    missing = verified(bundle, trusted, "V2", data=pictures)
    assert finding_of(missing, "content").reason == "evidence-missing"
    assert "`salts`" in finding_of(missing, "content").detail
    assert verified(bundle, trusted, "V2", data=pictures, salts=salts).status is Status.ACCEPTED
    destroy_salts(salts, run.commitment.source_rows(Split.TRAIN, after.tombstones))
    assert verified(bundle, trusted, "V3", data=pictures, salts=salts).status is Status.ACCEPTED
    gone = verified(before, trusted, "V2", data=pictures, salts=salts)
    assert (gone.status, finding_of(gone, "content").reason) == (Status.UNDECIDED, "evidence-missing")
    assert "was destroyed" in finding_of(gone, "content").detail
    other = bytearray(salts.read_bytes())
    other[-1] ^= 1
    (tmp_path / "other.salts").write_bytes(other)
    assert codes(verified(bundle, trusted, "V2", data=pictures, salts=tmp_path / "other.salts")) == [
        "CONTENT_LEAF_MISMATCH"
    ]
    (tmp_path / "short.salts").write_bytes(salts.read_bytes()[:-32])
    with pytest.raises(DataError, match="149 salts, the committed data have 150"):
        verified(bundle, trusted, "V2", data=pictures, salts=tmp_path / "short.salts")


def test_a_scale_that_was_fitted_is_refused(pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    """Fixture 31: pixels divided by the largest of all rows, the forgotten ones included, declared a constant."""
    column = pictures.columns[0]
    fitted = replace(pictures, columns=(replace(column, scale=1 / float(pictures.content["image"].max())),))
    run = train(fitted, out=tmp_path / "run", **FIELDS)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    for data in (fitted, pictures, save_pictures(tmp_path / "all.npz", pictures)):
        verdict = verified(bundle, trusted, "V2", data=data)
        assert codes(verdict) == ["PREPROCESSING_FITTED"]
        assert "its kind fixes 0.0039" in finding_of(verdict, "constants").detail


def test_a_layout_that_the_shape_does_not_give_is_refused(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    odd = replace(
        pictures,
        columns=(Column("image", ColumnKind.IMAGE, (8, 8, 1), "CHW", 1 / 255),),
        content={"image": pictures.content["image"][..., None]},
    )
    run = train(odd, out=tmp_path / "run", **FIELDS)
    verdict = verified(sealed(story_of(run, owner), owner, tmp_path), trusted, "V2", data=odd)
    assert codes(verdict) == ["PREPROCESSING_FITTED"]


def save_table(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def table(people: int = 60) -> list[dict[str, str]]:
    """Two numbers and a word per person; p07's weight is a word."""
    random = np.random.default_rng(3)
    return [
        {
            "person": f"p{row:02d}",
            "age": str(int(random.integers(20, 80))),
            "weight": f"{random.normal(70, 9):.1f}",
            "town": "abc"[row % 3],
            "label": "yes" if random.random() < 0.5 else "no",
        }
        for row in range(people)
    ]


def forgotten_table(
    tmp_path: Path, people: list[dict[str, str]], person: str, owner: SigningKey, **source: Any
) -> tuple[Path, Path]:
    """The bundle of a run that forgot one person, and the table without them."""
    place = save_table(tmp_path / "all.csv", people)
    described = Source(location=str(place), label="label", subject="person", **source)
    run = train(described, out=tmp_path / "run", **FIELDS)
    after = unlearn(run, f"subject:{person}", out=tmp_path / "after")
    left = save_table(tmp_path / "left.csv", [row for row in people if row["person"] != person])
    return sealed(story_of(after, owner), owner, tmp_path), left


def somebody_in_training(tmp_path: Path, rows: list[dict[str, str]]) -> str:
    place = save_table(tmp_path / "probe.csv", rows)
    run = train(Source(location=str(place), label="label", subject="person"), out=tmp_path / "probe", **FIELDS)
    return run.data()[Split.TRAIN].subjects[5]


FALSE: dict[str, dict[str, Any]] = {
    "a label that no column bears": {"label": "outcome"},
    "another column as label": {"label": "age"},
    "a column of words as label": {"label": "town"},
    "the label as the person": {"subject": "label"},
    "a person that no column bears": {"subject": "who"},
    "an id that no column bears": {"id": "number"},
    "no label": {"label": None},
    "a kind for a column that is not there": {"numeric": ["height"]},
    "an option of another form": {"image_size": 8},
}


@pytest.mark.parametrize("name", FALSE)
def test_columns_that_the_rows_never_had_are_the_owners_lie(
    name: str, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """The auditor's file is the owner's own: nothing is wrong with it, and a refusal with a code says so."""
    place = save_table(tmp_path / "all.csv", table())
    run = train(Source(location=str(place), label="label", subject="person"), out=tmp_path / "run", **FIELDS)
    story = story_of(run, owner)
    commit = story.link(0).predicate
    assert isinstance(commit, Commit)
    lied = sealed(story.changed(0, data__source={**commit.data.source, **FALSE[name]}), owner, tmp_path)
    assert verified(lied, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(lied, trusted, "V2", data=place)
    honest = FALSE[name] == {"numeric": ["height"]}  # kinds are read off the recipe: nothing hangs on this one
    assert codes(verdict) == ([] if honest else ["CONTENT_LEAF_MISMATCH"]), verdict.as_json()
    (tmp_path / "broken.csv").write_bytes(b"\xff\xfe no text")
    with pytest.raises(ExpungeError, match="is not UTF-8 text"):
        verified(lied, trusted, "V2", data=tmp_path / "broken.csv")


def test_a_table_is_no_array_whatever_the_commitment_says(
    pictures: Dataset, bundle: Path, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Another form than the committed one holds other rows, and an unreadable one decides nothing."""
    place = save_pictures(tmp_path / "all.npz", pictures)
    story = story_of(train(Source(location=str(place)), out=tmp_path / "run", **FIELDS), owner)
    lied = sealed(story.changed(0, data__source={"label": "outcome"}), owner, tmp_path)
    assert codes(verified(lied, trusted, "V2", data=place)) == ["CONTENT_LEAF_MISMATCH"]
    assert codes(verified(bundle, trusted, "V2", data=save_table(tmp_path / "t.csv", table()))) == [
        "CONTENT_LEAF_MISMATCH"
    ]
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError):
        verified(lied, trusted, "V2", data=tmp_path / "broken.npz")


def test_tables_without_the_forgotten_person_are_read_alike(tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    rows = table()
    bundle, left = forgotten_table(tmp_path, rows, somebody_in_training(tmp_path, rows), owner)
    verdict = verified(bundle, trusted, "V3", data=left)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    assert "3 columns and 2 classes" in finding_of(verdict, "preprocessing").detail


def test_a_kind_that_hung_on_a_forgotten_row_is_refused(tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    """One word among the weights made the column a category; without that person it would be numeric."""
    rows = table()
    person = somebody_in_training(tmp_path, rows)
    rows = [{**row, "weight": "heavy"} if row["person"] == person else row for row in rows]
    bundle, left = forgotten_table(tmp_path, rows, person, owner)
    for data in (left, tmp_path / "all.csv"):  # whether or not that person's row was handed over with the rest
        verdict = verified(bundle, trusted, "V2", data=data)
        assert codes(verdict) == ["PREPROCESSING_FITTED"]
        detail = finding_of(verdict, "preprocessing").detail
        assert "column 'weight' is category" in detail
        assert "numeric" in detail
    named, without = forgotten_table(tmp_path / "named", rows, person, owner, categorical=("weight",))
    assert verified(named, trusted, "V2", data=without).status is Status.ACCEPTED


def test_classes_may_only_be_lacking(tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    """A class that only the forgotten person had is gone; a word that made words of all numbers is not the same."""
    rows = [{**row, "label": "1" if row["label"] == "yes" else "2"} for row in table()]
    person = somebody_in_training(tmp_path, rows)
    for name, label, accepted in (("lacking", "3", True), ("words", "none", False)):
        other = [{**row, "label": label} if row["person"] == person else row for row in rows]
        bundle, left = forgotten_table(tmp_path / name, other, person, owner)
        for data in (tmp_path / name / "all.csv", left):
            verdict = verified(bundle, trusted, "V2", data=data)
            assert codes(verdict) == ([] if accepted else ["PREPROCESSING_FITTED"]), verdict.as_json()
            assert (verdict.status is Status.ACCEPTED) == accepted
    assert "a list may lack classes" in finding_of(verdict, "preprocessing").detail


def test_rows_behind_the_cut_have_no_part_in_what_is_inferred(tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    """The first 50 rows were committed; a novel behind them moves up when somebody goes, and changes nothing."""
    rows = table()
    person = somebody_in_training(tmp_path, rows[:50])
    rows[50]["town"] = "a word " * 400
    bundle, left = forgotten_table(tmp_path, rows, person, owner, rows=50)
    for data in (tmp_path / "all.csv", left):
        verdict = verified(bundle, trusted, "V2", data=data)
        assert verdict.status is Status.ACCEPTED, verdict.as_json()


def test_rows_in_memory_may_lack_a_class_too(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Five training rows alone are of class 1; without them labels are counted by other classes, and mean the same."""
    rows = np.flatnonzero(split_rows(pictures) == Split.TRAIN.code)[:5]
    labels = np.where(pictures.labels == 1, 2, pictures.labels)
    labels[rows] = 1
    dataset = replace(pictures, labels=labels)
    run = train(dataset, out=tmp_path / "run", **FIELDS)
    after = unlearn(run, "class:1", out=tmp_path / "after", data=dataset)
    assert after.tombstones.tolist() == [0, 1, 2, 3, 4]
    bundle = sealed(story_of(after, owner), owner, tmp_path)
    left = dataset.take(np.setdiff1d(np.arange(150), rows))
    lacking = replace(left, classes=(0, 2), labels=(left.labels == 2).astype(np.int64))
    assert verified(bundle, trusted, "V3", data=lacking).status is Status.ACCEPTED
    renamed = replace(left, classes=(2, 0), labels=(left.labels == 0).astype(np.int64))
    assert codes(verified(bundle, trusted, "V2", data=renamed)) == ["PREPROCESSING_FITTED"]


def test_the_built_in_digits_have_their_own_constant(tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    run = train(Source(location="digits", rows=80), out=tmp_path / "run", **FIELDS)
    verdict = verified(sealed(story_of(run, owner), owner, tmp_path), trusted, "V2", data="digits")
    assert verdict.status is Status.ACCEPTED, verdict.as_json()


def test_an_encoding_is_what_kinds_fix_for_every_kind(pictures: Dataset, bundle: Path, trusted: Any) -> None:
    """No other number is hidden in an encoding than those that the check looks at, and the counts of buckets."""
    described = to_plain(Encoding(pictures.columns))
    assert set(described) == {"columns", "category_buckets", "text_buckets"}
    assert set(described["columns"][0]) == {"name", "kind", "shape", "layout", "scale"}


def test_a_run_is_checked_against_its_own_leaves_and_no_other_runs(
    pictures_like: Callable[..., Dataset], bundle: Path, trusted: Any
) -> None:
    assert codes(verified(bundle, trusted, "V2", data=pictures_like(seed=4))) == ["CONTENT_LEAF_MISMATCH"]


def test_the_run_that_is_verified_is_not_needed(bundle: Path, pictures: Dataset, trusted: Any) -> None:
    """Nothing is read from the owner's run folder."""
    (bundle.parent / "run").rename(bundle.parent / "moved")
    try:
        assert verified(bundle, trusted, "V2", data=pictures).status is Status.ACCEPTED
    finally:
        (bundle.parent / "moved").rename(bundle.parent / "run")
    assert Run.open(bundle.parent / "run")
