"""Commit, then draw: a commitment alone, secret salts, a beacon, and what must not change between them."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json

import expunge
from expunge.core.beacon import Beacon
from expunge.core.clock import is_utc_second
from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.core.streams import lineage_seed
from expunge.data.dataset import Dataset
from expunge.data.salts import destroy_salts, draw_salts, read_salts
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.measure.evaluate import evaluate
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.train.run import Run
from expunge.train.training import train

FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16}
VALUE, OTHER = "ab" * 32, "cd" * 32


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# A commitment alone.


def test_a_commitment_is_data_and_recipe_and_no_training(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    assert sorted(path.name for path in run.path.iterdir() if not path.name.startswith(".")) == [
        "assignment.bin",
        "leaves-calibration.bin",
        "leaves-holdout.bin",
        "leaves.bin",
        "run.json",
        "units.bin",
    ]
    found = Run.open_any(run.path)
    assert run_json(found)["status"] == "committed"
    assert (run_json(found)["beacon"], run_json(found)["lineage_seed"]) == (None, None)
    straight = train(pictures, out=tmp_path / "straight", **FIELDS)
    assert found.commitment.roots == straight.commitment.roots
    assert found.recipe == straight.recipe
    assert np.array_equal(found.units, straight.units)
    again = folder_bytes(run.path)
    train(pictures, out=run.path, commit_only=True, **FIELDS)
    assert folder_bytes(run.path) == again


def test_what_is_committed_only_is_no_run_yet(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    base = train(pictures, out=tmp_path / "base", **FIELDS)
    words = re.escape(
        f"{run.path} holds a commitment and no model so far: run its training command without `commit_only`"
    )
    with pytest.raises(RunError, match=words):
        expunge.load(run.path)
    with pytest.raises(RunError, match=words):
        unlearn(run.path, "class:1", out=tmp_path / "child", data=pictures)
    with pytest.raises(RunError, match=words):
        Run.open_any(run.path).schedule  # noqa: B018
    with pytest.raises(RunError, match=r"holds another run \(method 'nothing' there, .* asked for\)"):
        unlearn(base, "class:1", out=run.path, data=pictures)
    with pytest.raises(RunError, match="has begun already: a commitment comes before it; choose another `out`"):
        train(pictures, out=tmp_path / "base", commit_only=True, **FIELDS)


def test_its_training_is_the_training(pictures: Dataset, tmp_path: Path) -> None:
    """Without a beacon, and without the salts of a file: the same bytes as if nothing had been committed before."""
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    run = train(pictures, out=tmp_path / "run", **FIELDS)
    straight = train(pictures, out=tmp_path / "straight", **FIELDS)
    timed = {"seconds"}
    assert {name: value for name, value in run_json(run).items() if name not in timed} == {
        name: value for name, value in run_json(straight).items() if name not in timed
    }
    assert run_json(run)["beacon_described"] == {
        "source": "zero",
        "value": "00" * 32,
        "round": None,
        "not_before": None,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 3}, "recipe epochs 2 there, 3 asked for"),
        ({"seed": 1}, "recipe seed 0 there, 1 asked for"),
        ({"split_seed": 1}, "roots calibration "),
        ({"model": "cnn"}, "recipe model 'mlp' there, 'cnn' asked for"),
    ],
)
@pytest.mark.parametrize("commit_only", [False, True])
def test_recipe_and_data_stay_what_was_committed(
    change: dict[str, Any], words: str, commit_only: bool, pictures: Dataset, tmp_path: Path
) -> None:
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    before = folder_bytes(tmp_path / "run")
    with pytest.raises(RunError, match=rf"holds another run \({words}.*choose another `out`"):
        train(pictures, out=tmp_path / "run", commit_only=commit_only, **{**FIELDS, **change})
    assert folder_bytes(tmp_path / "run") == before


def test_changed_rows_are_not_what_was_committed(pictures: Dataset, pictures_like: Any, tmp_path: Path) -> None:
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    with pytest.raises(RunError, match=r"holds another run \(roots "):
        train(pictures_like(seed=1), out=tmp_path / "run", **FIELDS)


def test_everybody_is_committed_and_some_may_be_left_out_of_the_training(pictures: Dataset, tmp_path: Path) -> None:
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    run = train(pictures, out=tmp_path / "run", without="class:1", beacon=VALUE, **FIELDS)
    assert len(run.tombstones) > 0
    for words in ({"without": "class:1"}, {"beacon": VALUE}):
        with pytest.raises(InvalidArgument, match="a commitment is over all rows and before any beacon"):
            train(pictures, out=tmp_path / "other", commit_only=True, **words, **FIELDS)
    assert not (tmp_path / "other").exists()


def test_the_noise_key_is_committed_to(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "linear", "task": "logistic", "perturbation": 0.5, "epochs": 1}
    held = train(pictures, out=tmp_path / "run", commit_only=True, **fields)
    key = (held.path / "noise.key").read_bytes()
    assert stat.S_IMODE((held.path / "noise.key").stat().st_mode) == 0o600
    run = train(pictures, out=tmp_path / "run", **fields)
    assert run_json(run)["noise_commitment"] == run_json(held)["noise_commitment"]
    assert (run.path / "noise.key").read_bytes() == key
    other = train(pictures, out=tmp_path / "other", commit_only=True, **fields)
    assert run_json(other)["noise_commitment"] != run_json(held)["noise_commitment"]
    with pytest.raises(RunError, match="holds another run \\(noise commitment "):
        train(pictures, out=tmp_path / "other", noise_key=run.path / "noise.key", **fields)


def test_a_killed_commitment_is_made_again(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.train import committed

    monkeypatch.setattr(committed, "utc_now", lambda: "2026-11-30T12:00:00Z")
    whole = train(pictures, out=tmp_path / "whole", salts=tmp_path / "a.salts", commit_only=True, **FIELDS)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    for name in ("write_commitment", "reveal_key", "write_run_file"):
        folder = tmp_path / name
        with monkeypatch.context() as killed:
            killed.setattr(committed, name, kill)
            with pytest.raises(Killed):
                train(pictures, out=folder, salts=tmp_path / "a.salts", commit_only=True, **FIELDS)
        if (folder / "run.json").exists():
            with pytest.raises(RunError, match="was interrupted or failed: run its command again"):
                expunge.load(folder)
        train(pictures, out=folder, salts=tmp_path / "a.salts", commit_only=True, **FIELDS)
        assert folder_bytes(folder) == folder_bytes(whole.path)


# The beacon.


def test_the_beacon_enters_the_seed_and_nothing_else(pictures: Dataset, tmp_path: Path) -> None:
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    run = train(pictures, out=tmp_path / "run", beacon=VALUE, **FIELDS)
    plain = train(pictures, out=tmp_path / "plain", **FIELDS)
    assert run_json(run)["lineage_seed"] == lineage_seed(run.recipe.digest, run.root, bytes.fromhex(VALUE)).hex()
    assert run.schedule.seed.hex() == run_json(run)["lineage_seed"] != run_json(plain)["lineage_seed"]
    assert run.weights_digest != plain.weights_digest
    assert run.root == plain.root
    described = run_json(run)["beacon_described"]
    assert (described["source"], described["value"], described["round"]) == ("given", VALUE, None)
    assert is_utc_second(described["not_before"])
    assert run_json(run)["beacon_note"].startswith("beacon given, not before ")
    direct = train(pictures, out=tmp_path / "direct", beacon=VALUE, **FIELDS)
    assert direct.weights_digest == run.weights_digest
    child = unlearn(run, "subject:someone-02", out=tmp_path / "child", data=pictures)
    assert child.beacon_described == run.beacon_described
    assert run_json(child)["beacon_note"] == run_json(run)["beacon_note"]
    again = unlearn(run, "subject:someone-02", method="retrain", out=tmp_path / "again", data=pictures)
    assert child.weights_digest == again.weights_digest


def test_the_value_decides_sameness_and_not_when_it_was_told(pictures: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "beacon.json"
    told = {"source": "drand", "value": VALUE, "round": 9, "not_before": "2026-01-31T12:00:00Z"}
    path.write_text(json.dumps(told))
    run = train(pictures, out=tmp_path / "run", beacon=path, **FIELDS)
    assert run_json(run)["beacon_described"] == told
    for same in (path, VALUE, VALUE.upper(), Beacon(value=bytes.fromhex(VALUE), source="elsewhere")):
        assert run_json(train(pictures, out=tmp_path / "run", beacon=same, **FIELDS)) == run_json(run)
    for other in (OTHER, None):
        with pytest.raises(RunError, match=r"holds another run \(beacon 'abab.*asked for\)"):
            train(pictures, out=tmp_path / "run", beacon=other, **FIELDS)


def test_an_interrupted_training_keeps_its_beacon(pictures: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    early = Beacon(value=bytes.fromhex(VALUE), source="given", not_before="2999-01-31T12:00:00Z")
    train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=tmp_path / "run", beacon=early, progress=stop, checkpoint_interval=2, **FIELDS)
    with pytest.raises(RunError, match=r"holds another run \(beacon "):
        train(pictures, out=tmp_path / "run", beacon=OTHER, **FIELDS)
    with pytest.raises(RunError, match="has begun already"):
        train(pictures, out=tmp_path / "run", commit_only=True, **FIELDS)
    run = train(pictures, out=tmp_path / "run", beacon=VALUE, **FIELDS)
    assert run.beacon_described == early
    assert run.weights_digest == train(pictures, out=tmp_path / "b", beacon=VALUE, **FIELDS).weights_digest


def test_what_run_json_says_of_its_beacon_must_agree(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", beacon=VALUE, **FIELDS)
    path = run.path / "run.json"
    path.write_text(json.dumps({**run_json(run), "beacon": OTHER}))
    with pytest.raises(RunError, match=r"two beacons are named: run.json was altered"):
        Run.open(run.path).schedule  # noqa: B018
    older = {name: value for name, value in run_json(run).items() if name != "beacon_described"}
    path.write_text(json.dumps(older))
    found = Run.open(run.path)
    assert (found.beacon.hex(), found.beacon_described.source, found.beacon_described.not_before) == (
        VALUE,
        "given",
        None,
    )
    child = unlearn(found, "class:1", method="fine-tune", out=tmp_path / "child", data=pictures)
    assert run_json(child)["beacon"] == VALUE
    assert child.beacon == found.beacon


# Secret salts.


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["who", "age", "town", "sick"])
        for row in range(160):
            writer.writerow([f"person-{row // 8:02d}", 20 + row % 13, f"town-{row % 4}", "ab"[(row * 7) % 13 % 2]])
    return path


ARGUMENTS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "category_buckets": 8}


def source_of(table: Path) -> Source:
    return Source(location=str(table), label="sick", subject="who")


@pytest.fixture
def secret(table: Path, tmp_path: Path) -> Run:
    """A training under secret salts, committed first."""
    asked: dict[str, Any] = {"out": tmp_path / "base", "salts": tmp_path / "apart" / "people.salts", **ARGUMENTS}
    train(source_of(table), commit_only=True, **asked)
    return train(source_of(table), beacon=VALUE, **asked)


def test_root_and_seed_are_a_function_of_data_and_salt_file_alone(secret: Run, table: Path, tmp_path: Path) -> None:
    salts = tmp_path / "apart" / "people.salts"
    assert run_json(secret)["data"]["salts"] == "secret"
    assert run_json(secret)["data"]["salt_file"] == str(salts)
    assert run_json(secret)["data"]["note"] == "leaves hidden: salts are secret, in a file kept apart"
    assert stat.S_IMODE(salts.stat().st_mode) == 0o600
    for content in folder_bytes(secret.path).values():
        assert read_salts(salts, 160).content[:32] not in content
    shutil.copy(salts, tmp_path / "copy.salts")
    again = train(source_of(table), out=tmp_path / "again", salts=tmp_path / "copy.salts", beacon=VALUE, **ARGUMENTS)
    for name in ("dataset_root", "lineage_seed", "weights_digest"):
        assert run_json(again)[name] == run_json(secret)[name]
    opened = train(source_of(table), out=tmp_path / "open", beacon=VALUE, **ARGUMENTS)
    other = train(
        source_of(table), out=tmp_path / "other", salts=tmp_path / "other.salts", commit_only=True, **ARGUMENTS
    )
    assert len({run_json(run)["dataset_root"] for run in (secret, opened, other)}) == 3


def test_the_file_is_used_again_and_never_overwritten(secret: Run, table: Path, tmp_path: Path) -> None:
    salts = tmp_path / "apart" / "people.salts"
    before = salts.read_bytes()
    reference = train(source_of(table), out=tmp_path / "ref", salts=salts, commit_only=True, seed=1, **ARGUMENTS)
    assert salts.read_bytes() == before
    assert reference.root == secret.root, "a reference must be over the same data set"
    (tmp_path / "notes.txt").write_text("not salts")
    with pytest.raises(DataError, match=r"notes.txt is no salt file"):
        train(source_of(table), out=tmp_path / "no", salts=tmp_path / "notes.txt", commit_only=True, **ARGUMENTS)
    assert (tmp_path / "notes.txt").read_text() == "not salts"
    assert not (tmp_path / "no").exists()


def test_the_salts_asked_for_must_be_of_the_kind_committed(secret: Run, table: Path, tmp_path: Path) -> None:
    salts = tmp_path / "apart" / "people.salts"
    with pytest.raises(
        RunError, match=f"under secret salts, open ones are asked for: give their file with `salts` {salts}"
    ):
        train(source_of(table), out=secret.path, beacon=VALUE, **ARGUMENTS)
    train(source_of(table), out=tmp_path / "open", commit_only=True, **ARGUMENTS)
    with pytest.raises(RunError, match=r"under open salts, those of .* are asked for: leave `salts` out"):
        train(source_of(table), out=tmp_path / "open", salts=salts, **ARGUMENTS)
    other = tmp_path / "other.salts"
    draw_salts(other, 160)
    with pytest.raises(RunError, match=r"holds another run \(roots "):
        train(source_of(table), out=secret.path, salts=other, beacon=VALUE, **ARGUMENTS)
    os.rename(salts, tmp_path / "moved.salts")
    with pytest.raises(DataError, match=r"people.salts is missing: .*`salts` FILE"):
        train(source_of(table), out=secret.path, salts=salts, beacon=VALUE, **ARGUMENTS)
    with pytest.raises(DataError, match=r"people.salts is missing"):
        train(source_of(table), out=secret.path, salts=salts, commit_only=True, **ARGUMENTS)
    assert not salts.exists(), "no new salts are drawn for a folder that has some"
    done = train(source_of(table), out=secret.path, salts=tmp_path / "moved.salts", beacon=VALUE, **ARGUMENTS)
    assert done.weights_digest == secret.weights_digest


@pytest.mark.parametrize("draw", [False, True])
def test_where_salts_may_not_lie(draw: bool, secret: Run, table: Path, tmp_path: Path) -> None:
    for place, words in (
        (secret.path / "a.salts", f"lies in the run folder {secret.path}: whoever is given the leaves"),
        (tmp_path / "new" / "a.salts", f"lies in {tmp_path / 'new'}: whoever is given the leaves"),
    ):
        with pytest.raises(InvalidArgument, match=re.escape(words)):
            train(source_of(table), out=tmp_path / "new", salts=place, commit_only=draw, **ARGUMENTS)
        assert not place.exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    with pytest.raises(ExpungeError):
        train(source_of(table), out=tmp_path / "full", salts=tmp_path / "f.salts", commit_only=draw, **ARGUMENTS)
    assert not (tmp_path / "f.salts").exists(), "what is refused draws nothing"
    with pytest.raises(
        InvalidArgument, match=r"g.salts does not exist: `expunge\.train\(…, commit_only=True, salts=.*\)` draws"
    ):
        train(source_of(table), out=tmp_path / "g", salts=tmp_path / "g.salts", **ARGUMENTS)


def break_salts(kind: str, path: Path) -> None:
    match kind:
        case "missing":
            path.unlink()
        case "damaged":
            path.write_bytes(path.read_bytes()[:-5])
        case "of fewer rows":
            path.write_bytes(path.read_bytes()[:-32])
        case "of another data set":
            path.unlink()
            draw_salts(path, 160)


READERS: dict[str, Callable[[Run, Path], object]] = {
    "data": lambda run, out: run.data(),
    "unlearn": lambda run, out: unlearn(run, "subject:person-03", out=out),
    "evaluate": lambda run, out: evaluate(run, []),
}


@pytest.mark.parametrize("kind", ["missing", "damaged", "of fewer rows", "of another data set"])
@pytest.mark.parametrize("reader", list(READERS))
def test_without_its_salts_nobody_reads_the_data(kind: str, reader: str, secret: Run, tmp_path: Path) -> None:
    run = secret
    if reader == "evaluate":
        run = unlearn(secret, "subject:person-03", out=tmp_path / "child")
    break_salts(kind, tmp_path / "apart" / "people.salts")
    words = {
        "missing": "is missing: without it no row can be checked against its leaf; .*`salts` FILE",
        "damaged": "is no salt file, or a damaged one .*`salts` FILE",
        "of fewer rows": "holds 159 salts, the committed data have 160 rows: it belongs to another data set.*`salts`",
        "of another data set": "row 0 of the committed data does not match .*salts of another data set.*`salts`",
    }[kind]
    with pytest.raises(DataError, match=words) as refused:
        READERS[reader](run, tmp_path / "out")
    assert "people.salts" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_salts_that_moved_are_named_once(secret: Run, tmp_path: Path) -> None:
    os.rename(tmp_path / "apart" / "people.salts", tmp_path / "moved.salts")
    child = unlearn(secret, "subject:person-03", out=tmp_path / "child", salts=tmp_path / "moved.salts")
    assert run_json(child)["data"]["salt_file"] == str(tmp_path / "moved.salts")
    assert child.data()[Split.TRAIN].present.all()
    assert run_json(unlearn(child, "subject:person-04", out=tmp_path / "next"))["data"] == run_json(child)["data"]
    assert secret.data(salts=tmp_path / "moved.salts")[Split.TRAIN].present.all()


def test_open_runs_have_no_use_for_salts(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    draw_salts(tmp_path / "a.salts", 150)
    with pytest.raises(InvalidArgument, match=r"has no use here: the run's salts are open; leave `salts` out"):
        unlearn(small_run, "class:1", out=tmp_path / "child", data=pictures, salts=tmp_path / "a.salts")
    assert not (tmp_path / "child").exists()


def take_away(table: Path, who: str) -> None:
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith(who)), encoding="utf-8")


def salted_rows(run: Run) -> list[int]:
    """Rows of the source that a run has forgotten, in whichever split."""
    found = run.commitment.source_rows(Split.TRAIN, run.tombstones).tolist()
    for split, slots in run.released.items():
        found += run.commitment.source_rows(split, slots).tolist()
    return sorted(found)


@pytest.mark.parametrize("rows_are_gone", [True, False])
def test_with_rows_and_salts_gone_everything_goes_on(
    rows_are_gone: bool, secret: Run, table: Path, tmp_path: Path
) -> None:
    """Who forgot them is read again, unlearned further and evaluated, as if nothing had been destroyed."""
    salts, forget, further = tmp_path / "apart" / "people.salts", "subject:person-03", "subject:person-07"
    child = unlearn(secret, forget, out=tmp_path / "child")
    without: dict[str, Any] = {"salts": salts, "beacon": OTHER, "without": forget, **ARGUMENTS}
    left_out = train(source_of(table), out=tmp_path / "without", **without)
    expected = unlearn(child, further, out=tmp_path / "expected")
    reference = unlearn(child, further, method="retrain", out=tmp_path / "reference")
    before = to_plain(evaluate(expected, [reference]))
    assert len(salted_rows(child)) == 8, "all rows of the person, whatever the split"
    assert destroy_salts(salts, salted_rows(child)) == 8
    if rows_are_gone:
        take_away(table, "person-03")
    rows = Run.open(child.path).data()
    assert int((~rows[Split.TRAIN].present).sum()) == len(child.tombstones)
    again = unlearn(Run.open(child.path), further, out=tmp_path / "again")
    assert again.weights_digest == expected.weights_digest
    assert train(source_of(table), out=tmp_path / "without", **without).weights_digest == left_out.weights_digest
    after = to_plain(evaluate(again, [reference]))
    timed = {"seconds"}
    for mine, other in zip(after["probes"], before["probes"], strict=True):
        assert mine["name"] in timed or mine == other
    with pytest.raises(DataError, match="6 of 6 forgotten rows are no longer in the data"):
        evaluate(Run.open(child.path), [left_out])
    with pytest.raises(DataError, match=r"the salt of row 24 was destroyed in .*people.salts, but this run has not"):
        secret.data()
    full = hundred_and_sixty(table) if rows_are_gone else source_of(table)
    with pytest.raises(DataError, match=r"the salt of row 24 was destroyed in .*cannot be committed again"):
        train(full, out=tmp_path / "new", salts=salts, **ARGUMENTS)


def hundred_and_sixty(table: Path) -> Source:
    """The table with other rows in the place of those that are gone, so that it has as many as there are salts."""
    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    other = table.with_name("other.csv")
    other.write_text("".join([*lines, *lines[1:9]]), encoding="utf-8")
    return source_of(other)


def test_the_report_shows_rows_of_a_salted_run_or_says_why_not(secret: Run, table: Path, tmp_path: Path) -> None:
    child = unlearn(secret, "subject:person-03", out=tmp_path / "child")
    reference = unlearn(secret, "subject:person-03", method="retrain", out=tmp_path / "ref")
    evaluate(child, [reference])
    shown = expunge.report([child.path], out=tmp_path / "a.html").read_text(encoding="utf-8")
    assert "leaves hidden: salts are secret" in shown
    assert "person-03" in shown
    assert "secret salts are no longer where they were" not in re.sub(r"\s+", " ", shown)
    assert "no longer matches" not in shown
    (tmp_path / "apart" / "people.salts").unlink()
    hidden = expunge.report([child.path], out=tmp_path / "b.html").read_text(encoding="utf-8")
    assert "secret salts are no longer where they were" in re.sub(r"\s+", " ", hidden)
