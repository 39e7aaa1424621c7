"""Hygiene: what is listed is what differs from a training without the rows, and destroying it leaves what must stay."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from expunge.audit import retire
from expunge.audit.attest import attest
from expunge.audit.bundle import open_bundle
from expunge.audit.declaration import Declaration, Destroyed, Window, read_declaration, write_declaration
from expunge.audit.holdings import Remedy, first_steps, holdings_of
from expunge.audit.hygiene import Kinship, Survey, forgotten_rows, survey
from expunge.audit.keys import Role, keygen
from expunge.audit.retire import declare_window, destroy, open_window
from expunge.audit.verdict import Level
from expunge.audit.verify import verify
from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.hashing import canonical_json, plain_json, sha256
from expunge.data.dataset import Dataset
from expunge.data.salts import draw_salts, read_salts
from expunge.methods.unlearn import unlearn
from expunge.train.run import Run, write_manifest
from expunge.train.training import train

PERSON, ANOTHER, THIRD = "subject:someone-03", "subject:someone-07", "subject:someone-11"
SHAPE: dict[str, Any] = {"model": "mlp", "epochs": 3, "batch_size": 16, "shards": 2, "slices": 2}
WHOLE = {**SHAPE, "shards": 1}  # approximate methods take no shards


@pytest.fixture(scope="module")
def original(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(pictures, out=tmp_path_factory.mktemp("original") / "base", checkpoint_interval=3, **SHAPE).path


@pytest.fixture(scope="module")
def original_whole(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(pictures, out=tmp_path_factory.mktemp("whole") / "base", checkpoint_interval=3, **WHOLE).path


@pytest.fixture
def whole(original_whole: Path, tmp_path: Path) -> Path:
    """The same of one shard."""
    shutil.copytree(original_whole, tmp_path / "whole" / "base")
    signed(tmp_path / "whole" / "base")
    return tmp_path / "whole"


@pytest.fixture
def runs(original: Path, tmp_path: Path) -> Path:
    """A folder of runs with the original in it, whose record is taken as signed."""
    shutil.copytree(original, tmp_path / "runs" / "base")
    signed(tmp_path / "runs" / "base")
    return tmp_path / "runs"


@pytest.fixture
def forgot(runs: Path, pictures: Dataset) -> Run:
    return unlearn(runs / "base", PERSON, out=runs / "forgot", data=pictures)


def signed(run: Path) -> None:
    (run / "record").mkdir()
    (run / "record" / "envelope.json").write_text("{}")


def named(found: Survey) -> set[str]:
    """Files by their run's and their own name."""
    return {"/".join(holding.path.parts[-3:]).split("runs/")[-1] for holding in found.holdings}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("shape", [{}, {"shards": 1, "slices": 1}, {"shards": 3}, {"slices": 3, "shards": 1}])
def test_a_state_is_listed_exactly_where_it_differs_from_a_training_without_the_rows(
    shape: dict[str, int], pictures: Dataset, tmp_path: Path
) -> None:
    base = train(pictures, out=tmp_path / "base", checkpoint_interval=2, **{**SHAPE, **shape})
    forgot = unlearn(base, [PERSON, ANOTHER], out=tmp_path / "forgot", data=pictures)
    without = unlearn(
        base, [PERSON, ANOTHER], out=tmp_path / "without", method="retrain", data=pictures, checkpoint_interval=2
    )
    listed = {holding.path.name for holding in survey(forgot).holdings if holding.path.parent.name == "checkpoints"}
    differing = {
        checkpoint.name
        for shard in range(base.recipe.shards)
        for checkpoint, clean in zip(base.log.checkpoints(shard), without.log.checkpoints(shard), strict=True)
        if checkpoint.digest != clean.digest
    }
    assert listed == differing != set()
    kinds = {(place.kinship, place.path.name) for place in survey(forgot).places}
    assert kinds == {(Kinship.PARENT, "base")}, "neither the run nor its twin hold anything"


def test_first_steps_are_those_of_a_search_through_every_step(original: Path) -> None:
    schedule = Run.open(original).schedule
    slots = np.arange(0, schedule.count, 7)
    for shard in range(schedule.shards):
        own = np.intersect1d(slots, schedule.shard_slots(shard))
        searched = [next(step for step, chairs in schedule.batches(shard) if slot in chairs) for slot in own]
        assert first_steps(schedule, shard, slots).tolist() == searched
        assert min(searched) == schedule.first_touch(shard, slots)


def test_every_holding_says_what_it_is_why_how_much_and_how_many_rows(forgot: Run) -> None:
    found = {holding.path.name: holding for holding in survey(forgot).holdings}
    base = Run.open(forgot.path.parent / "base")
    model = found["model.safetensors"]
    assert (model.digest, model.what) == (base.weights_digest, "model: weights")
    assert model.slots == len(forgot.tombstones)
    assert model.bytes == (base.path / "model.safetensors").stat().st_size
    states = [holding for name, holding in found.items() if "-step-" in name]
    logged = {item.name: item.digest for shard in range(2) for item in base.log.checkpoints(shard)}
    for state in states:
        assert state.digest == logged[state.path.name]
        assert state.what.endswith("weights, optimiser state")
    counts = [state.slots for state in states]
    assert counts == sorted(counts)
    assert 1 <= counts[0] <= counts[-1] == len(forgot.tombstones)
    traces = [holding for holding in found.values() if holding.remedy is Remedy.CUT]
    assert [trace.path.parent.name for trace in traces] == ["trace"]
    assert traces[0].keep + traces[0].bytes == traces[0].path.stat().st_size


def test_running_statistics_are_named(pictures: Dataset, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers.csv"
    rows = [f"p-{row // 3:02d},{row % 7},{row % 11},{'ab'[row % 2]}" for row in range(90)]
    numbers.write_text("\n".join(["person,one,two,label", *rows]) + "\n")
    from expunge.data.source import Source

    base = train(
        Source(location=str(numbers), label="label", subject="person"), out=tmp_path / "base", model="mlp", epochs=1
    )
    run = unlearn(base, "subject:p-05", out=tmp_path / "forgot")
    assert any("running statistics" in holding.what for holding in survey(run).holdings)


def test_siblings_children_and_unfinished_runs_are_found_others_are_not(
    whole: Path, pictures: Dataset, pictures_like: Callable[..., Dataset]
) -> None:
    runs, forgot = whole, unlearn(whole / "base", PERSON, out=whole / "forgot", data=pictures)
    unlearn(runs / "base", ANOTHER, out=runs / "other", data=pictures)
    unlearn(runs / "base", ANOTHER, out=runs / "approximate", method="gradient-ascent", data=pictures)
    child = unlearn(forgot, ANOTHER, out=runs / "child", data=pictures)
    train(pictures, out=runs / "reference", without=PERSON, **WHOLE)
    train(pictures_like(rows=60, people=6), out=runs / "stranger", model="mlp", epochs=1)
    killed = train(pictures, out=runs / "killed", seed=5, checkpoint_interval=3, **WHOLE)
    write_manifest(killed.path, {**killed.manifest, "status": "running"})
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    os.symlink(runs / "base", runs / "link")
    found = survey(forgot)
    assert {place.path.name: place.kinship for place in found.places} == {
        "base": Kinship.PARENT,
        "other": Kinship.BESIDE,
        "approximate": Kinship.BESIDE,
        "killed": Kinship.BESIDE,
    }
    assert {place.path.name for place in survey(child).places} == {
        *("base", "forgot", "other", "approximate", "reference", "killed")
    }, "the child has forgotten somebody else as well"
    unseen = "\n".join(found.unseen)
    assert "broken" in unseen
    assert "link is a link" in unseen
    approximate = next(place for place in found.places if place.path.name == "approximate")
    assert [holding.why for holding in approximate.holdings] == [
        "its weights came from a model that was trained on them"
    ]


def test_runs_elsewhere_are_found_only_in_the_folders_that_are_named(
    forgot: Run, pictures: Dataset, tmp_path: Path
) -> None:
    train(pictures, out=tmp_path / "attic" / "copy", seed=9, **SHAPE)
    assert "copy" not in {place.path.name for place in survey(forgot).places}
    assert "copy" in {place.path.name for place in survey(forgot, folders=[tmp_path / "attic"]).places}


def test_a_parent_that_is_not_there_is_said_and_not_taken_for_clean(forgot: Run) -> None:
    shutil.move(forgot.path.parent / "base", forgot.path.parent.parent / "moved")
    found = survey(forgot)
    assert found.clean
    assert any("the parent of" in sentence and "nothing of it was looked at" in sentence for sentence in found.unseen)


def test_an_approximate_method_leaves_a_question_that_files_do_not_answer(whole: Path, pictures: Dataset) -> None:
    runs = whole
    run = unlearn(runs / "base", PERSON, out=runs / "approximate", method="gradient-ascent", data=pictures)
    assert any("made by gradient-ascent" in note for note in survey(run).notes)
    half = unlearn(runs / "base", PERSON, out=runs / "half", method="gradient-ascent", data=pictures)
    write_manifest(half.path, {name: value for name, value in half.manifest.items() if name != "trajectory"})
    (half.path / "checkpoints").mkdir(exist_ok=True)
    (half.path / "checkpoints" / ".shard-0-step-00000001.safetensors.part").write_bytes(b"half")
    assert "half" in {place.path.name for place in survey(run).places}, "its states looked at the rows"


def test_exports_and_evaluations_with_examples_are_seen(forgot: Run) -> None:
    base = forgot.path.parent / "base"
    (base / "export.onnx").write_bytes(b"weights in another form")
    shown = {"examples": [{"slot": int(forgot.tombstones[0]), "label": 1}], "verdict": 0.5}
    (forgot.path / "evaluation.json").write_text(plain_json({**shown, "digest": "0"}))
    found = survey(forgot)
    assert any("export.onnx" in sentence for sentence in found.unseen)
    (evaluation,) = [holding for holding in found.holdings if holding.remedy is Remedy.REDACT]
    assert (evaluation.path.name, evaluation.slots) == ("evaluation.json", 1)
    destroy(found)
    left = json.loads((forgot.path / "evaluation.json").read_text())
    assert (left["examples"], left["verdict"]) == ([], 0.5)
    unsigned = {name: value for name, value in left.items() if name != "digest"}
    assert left["digest"] == sha256(b"expunge/evaluation/1", canonical_json(unsigned)).hex()
    assert survey(forgot).clean


def test_tunings_are_listed_unless_their_twins_were_trained_without_the_rows(forgot: Run, pictures: Dataset) -> None:
    runs = forgot.path.parent
    for folder, rules in (("tuned", [THIRD]), ("spared", [PERSON, THIRD])):
        unlearn(runs / "base", rules, out=runs / folder / "twin-1", method="retrain", data=pictures)
        request = {"data_root": forgot.manifest["dataset_root"], "avoid": {"count": 0, "digest": "0"}}
        (runs / folder / "trials.jsonl").write_text(json.dumps({"request": request}) + "\n")
        (runs / folder / "tuning.json").write_text(json.dumps({"data_root": forgot.manifest["dataset_root"]}))
    found = survey(forgot)
    assert {(place.kinship, place.path.name) for place in found.places} == {
        (Kinship.PARENT, "base"),
        (Kinship.BESIDE, "twin-1"),
        (Kinship.TUNING, "tuned"),
    }
    destroy(found)
    assert sorted(path.name for path in (runs / "tuned").glob("t*.json*")) == []
    assert sorted(path.name for path in (runs / "spared").glob("t*.json*")) == ["trials.jsonl", "tuning.json"]
    assert survey(forgot).clean


def test_bundles_beside_the_runs_lose_the_old_weights_states_and_trace_and_stay_bundles(
    runs: Path, pictures: Dataset, tmp_path: Path
) -> None:
    key = keygen(tmp_path / "keys", "example.com/unlearning")
    shutil.rmtree(runs / "base" / "record")
    log = tmp_path / "log"
    for name in ("given", "given.zip"):
        attest(runs / "base", key=key, out=runs / name, log=log, origin="example.com/unlearning", checkpoints=True)
    forgot = unlearn(runs / "base", PERSON, out=runs / "forgot", data=pictures)
    attest(forgot, key=key, out=runs / "new", log=log, checkpoints=True)
    (runs / "photos.zip").write_bytes(b"no bundle")
    found = survey(forgot)
    held = {place.path.name: place for place in found.places if place.kinship is Kinship.BUNDLE}
    assert set(held) == {"given", "given.zip"}
    base = {item.path.name for place in found.places if place.path.name == "base" for item in place.holdings}
    inside = {item.path.name for item in held["given"].holdings}
    assert inside == {name for name in base if name.endswith(".safetensors")} | {"trace.bin"}
    assert [item.remedy for item in held["given.zip"].holdings] == [Remedy.OWNER]
    assert not any("photos" in sentence for sentence in found.unseen)
    destroy(found)
    with open_bundle(runs / "given") as bundle:
        assert not inside & {Path(name).name for name in bundle.names}
        assert "envelope.json" in bundle
    verdict = verify(runs / "given", keys=[key.trusted("example.com/unlearning", role) for role in Role])
    assert verdict.reached is Level.V0
    assert verify(runs / "new", keys=[key.trusted("example.com/unlearning", role) for role in Role]).reached is Level.V1
    assert {place.path.name for place in survey(forgot).places} == {"given.zip"}
    (runs / "broken").mkdir()
    (runs / "broken" / "envelope.json").write_text("{}")
    assert any("broken could not be looked into" in sentence for sentence in survey(forgot).unseen)


def test_a_destruction_cut_short_in_a_bundle_is_finished_too(
    runs: Path, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keygen(tmp_path / "keys", "example.com/unlearning")
    shutil.rmtree(runs / "base" / "record")
    attest(runs / "base", key=key, out=runs / "given", log=tmp_path / "log", origin="example.com/unlearning")
    forgot = unlearn(runs / "base", PERSON, out=runs / "forgot", data=pictures)

    def dying(folder: Path, declaration: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "write_declaration", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    declared = destroy(survey(forgot))
    assert "model in a bundle: weights" in {item.what for item in declared.retired}
    assert survey(forgot).clean


def test_results_of_studies_are_named_and_left_to_their_owner(forgot: Run) -> None:
    runs = forgot.path.parent
    entry = runs / "study" / "store" / "ab" / "abcd"
    shutil.copytree(runs / "base", entry)
    (runs / "study" / "store" / "store.json").write_text("{}")
    found = survey(forgot)
    (study,) = [place for place in found.places if place.kinship is Kinship.STUDY]
    assert [holding.remedy for holding in study.holdings] == [Remedy.OWNER]
    before = files(entry)
    destroy(found)
    assert files(entry) == before
    assert not survey(forgot).clean


def test_the_data_are_compared_only_when_asked_for(pictures: Dataset, runs: Path, forgot: Run) -> None:
    assert any("the data (handed over in memory)" in sentence for sentence in survey(forgot).unseen)
    (place,) = [place for place in survey(forgot, data=pictures).places if place.kinship is Kinship.DATA]
    released = sum(map(len, forgot.released.values()))
    assert place.holdings[0].slots == len(forgot.tombstones) + released == len(forgotten_rows(forgot))
    assert place.holdings[0].remedy is Remedy.OWNER
    erased = pictures.take(np.setdiff1d(np.arange(len(pictures)), forgotten_rows(forgot)))
    assert Kinship.DATA not in {place.kinship for place in survey(forgot, data=erased).places}
    changed = replace(erased, labels=1 - erased.labels % 2)
    assert any("does not match" in sentence for sentence in survey(forgot, data=changed).unseen)


def test_rows_whose_salts_are_gone_are_still_seen_in_the_data(pictures: Dataset, tmp_path: Path) -> None:
    """Nobody can compare them with their leaves any more; that they stand there can be counted."""
    salts = draw_salts(tmp_path / "people.salts", len(pictures))
    base = train(pictures, out=tmp_path / "runs" / "base", salts=salts.path, **WHOLE)
    forgot = unlearn(base, PERSON, out=tmp_path / "runs" / "forgot", data=pictures)
    destroy(survey(forgot), unrecorded=True)
    (place,) = survey(forgot, data=pictures).places
    assert place.kinship is Kinship.DATA
    assert place.holdings[0].slots == len(forgotten_rows(forgot))
    assert "rows stand in their places" in place.holdings[0].why
    erased = pictures.take(np.setdiff1d(np.arange(len(pictures)), forgotten_rows(forgot)))
    assert survey(forgot, data=erased).clean
    assert unlearn(forgot, ANOTHER, out=tmp_path / "next", data=erased).weights_digest


def test_secret_salts_are_listed_and_destroyed_last(forgot: Run, tmp_path: Path) -> None:
    rows = int(forgot.manifest["data"]["rows"])
    salts = draw_salts(tmp_path / "people.salts", rows)
    described = {**forgot.manifest["data"], "salts": "secret", "salt_file": str(salts.path)}
    write_manifest(forgot.path, {**forgot.manifest, "data": described})
    forgot = Run.open(forgot.path)
    found = survey(forgot)
    assert found.ours[-1].remedy is Remedy.SALTS
    assert found.ours[-1].slots == len(forgotten_rows(forgot))
    declared = destroy(found)
    assert read_salts(salts.path, rows).destroyed == list(forgotten_rows(forgot))
    assert declared.retired[-1] == Destroyed(f"salts of {len(forgotten_rows(forgot))} rows")
    assert survey(forgot).clean
    salts.path.unlink()
    assert any("salt file" in sentence for sentence in survey(forgot).unseen)


def test_destroying_leaves_nothing_listed_and_says_what_went(forgot: Run) -> None:
    base = forgot.path.parent / "base"
    before, found = files(base), survey(forgot)
    own = files(forgot.path)
    declared = destroy(found)
    assert survey(forgot).clean
    assert list(declared.retired) == [Destroyed(holding.what, holding.digest) for holding in found.holdings]
    assert read_declaration(forgot.path) == declared
    left = files(base)
    removed = {str(item.path.relative_to(base)) for item in found.holdings if item.remedy is Remedy.REMOVE}
    assert set(before) - set(left) == removed
    for holding in found.holdings:
        if holding.remedy is Remedy.CUT:
            name = str(holding.path.relative_to(base))
            assert left[name] == before[name][: holding.keep]
            del before[name]
    assert all(left[name] == content for name, content in before.items() if name not in removed)
    assert {name: content for name, content in files(forgot.path).items() if name in own} == own
    retired = json.loads(left["retired.json"])
    assert {item["file"] for item in retired["gone"]} >= removed
    assert retired["for"] == forgot.weights_digest


def test_the_new_run_forgets_the_next_person_bit_for_bit_after_the_old_state_is_gone(
    forgot: Run, pictures: Dataset
) -> None:
    runs = forgot.path.parent
    expected = unlearn(forgot, ANOTHER, out=runs.parent / "expected", data=pictures)
    again = unlearn(forgot, ANOTHER, out=runs.parent / "again", method="retrain", data=pictures)
    destroy(survey(forgot))
    replayed = unlearn(forgot.path, ANOTHER, out=runs / "next", data=pictures)
    assert replayed.weights_digest == expected.weights_digest == again.weights_digest
    assert replayed.manifest["reused_steps"] == expected.manifest["reused_steps"]
    assert (replayed.path / "trace" / "shard-0.bin").read_bytes() == (again.path / "trace" / "shard-0.bin").read_bytes()


def test_an_approximate_run_is_still_replayed_from_what_the_original_keeps(whole: Path, pictures: Dataset) -> None:
    runs = whole
    run = unlearn(runs / "base", PERSON, out=runs / "approximate", method="gradient-ascent", data=pictures)
    expected = unlearn(run, ANOTHER, out=runs.parent / "expected", data=pictures)
    destroy(survey(run))
    replayed = unlearn(run, ANOTHER, out=runs / "next", data=pictures)
    assert replayed.weights_digest == expected.weights_digest
    assert replayed.manifest["reused_steps"] == expected.manifest["reused_steps"]


def test_the_parent_is_refused_afterwards_in_one_sentence(forgot: Run, pictures: Dataset, refused: Any) -> None:
    base = forgot.path.parent / "base"
    destroy(survey(forgot))
    parent = Run.open(base)
    assert forgot.parent.weights_digest == parent.weights_digest
    with refused(RunError, "was retired"):
        parent.model()
    with refused(RunError, "was retired"):
        unlearn(base, ANOTHER, out=base.parent / "no", data=pictures)
    with refused(RunError, "was retired"):
        train(pictures, out=base, checkpoint_interval=3, **SHAPE)
    assert isinstance(forgot.model(), torch.nn.Module)


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_destruction_cut_short_at_any_point_is_known_and_finished(
    original: Path, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def world(name: str) -> Run:
        shutil.copytree(original, tmp_path / name / "base")
        signed(tmp_path / name / "base")
        return unlearn(tmp_path / name / "base", PERSON, out=tmp_path / name / "forgot", data=pictures)

    whole = world("whole")
    declared = destroy(survey(whole))
    end, write, unlink = retire._end, retire.write_declaration, retire.write_text
    assert end is not None
    for at in itertools.count():
        run = world(f"killed-{at}")
        calls = itertools.count()

        def dying(original: Callable[..., None], at: int = at, calls: Any = calls) -> Callable[..., None]:
            def call(*arguments: Any) -> None:
                if next(calls) == at:
                    raise Killed
                original(*arguments)

            return call

        for name, function in (("_end", end), ("write_declaration", write), ("write_text", unlink)):
            monkeypatch.setattr(retire, name, dying(function))
        try:
            destroy(survey(run))
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.undo()
        interrupted = (run.path / "hygiene-intent.json").is_file()
        assert survey(run).interrupted == interrupted == (at > 0)
        assert not survey(run).clean
        assert not (run.path / "hygiene.json").is_file()
        assert destroy(survey(run)) == declared
        assert survey(run).clean
        expected = {name: content for name, content in files(whole.path.parent / "base").items() if name != "run.json"}
        found = files(run.path.parent / "base")
        assert {name: found.get(name) for name in expected} == expected
        assert Run.open(run.path).model() is not None
    assert at > 5, "it was cut short at every point"


def test_what_was_moved_away_meanwhile_is_not_called_destroyed(
    forgot: Run, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    def dying(step: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "_end", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    base = forgot.path.parent / "base"
    shutil.move(base, forgot.path.parent.parent / "moved")
    with refused(RunError, "is not there, and nothing says that it was"):
        destroy(survey(forgot))
    shutil.move(forgot.path.parent.parent / "moved", base)
    destroy(survey(forgot))
    assert survey(forgot).clean


@pytest.mark.parametrize("damage", ["weights", "state", "missing"])
def test_nothing_is_destroyed_while_the_new_run_is_not_sound(forgot: Run, damage: str, refused: Any) -> None:
    states = sorted((forgot.path / "checkpoints").glob("*"))
    target = forgot.path / "model.safetensors" if damage == "weights" else states[-1]
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.unlink()
    if damage != "missing":
        target.write_bytes(content)
    before = files(forgot.path.parent / "base")
    with refused(RunError, "altered" if damage == "weights" else "nothing is destroyed while"):
        destroy(survey(forgot))
    assert files(forgot.path.parent / "base") == before
    assert not (forgot.path / "hygiene.json").exists()


def test_a_parent_without_a_signed_record_is_destroyed_only_when_that_is_said(forgot: Run, refused: Any) -> None:
    shutil.rmtree(forgot.path.parent / "base" / "record")
    with refused(RunError, "has no signed record", "expunge attest", "--unrecorded"):
        destroy(survey(forgot))
    destroy(survey(forgot), unrecorded=True)
    assert survey(forgot).clean


def test_a_run_that_is_being_written_is_left_alone(forgot: Run, refused: Any) -> None:
    from expunge.train.folder import writing

    before = files(forgot.path.parent / "base")
    with writing(forgot.path.parent / "base"), refused(RunError, "is being written by another process"):
        destroy(survey(forgot))
    assert files(forgot.path.parent / "base") == before


def test_runs_that_are_kept_stay_listed_and_whole(forgot: Run, pictures: Dataset, refused: Any) -> None:
    other = unlearn(forgot.path.parent / "base", ANOTHER, out=forgot.path.parent / "other", data=pictures)
    before = files(other.path)
    destroy(survey(forgot, keep=[other.path]))
    assert files(other.path) == before
    found = survey(forgot, keep=[other.path])
    assert {place.path.name for place in found.places} == {"other"}
    assert not found.ours
    assert all(holding.why.endswith("kept as you asked") for holding in found.holdings)
    with refused(InvalidArgument, "--keep", "none of the folders"):
        survey(forgot, keep=[forgot.path.parent / "nowhere"])


def test_a_window_destroys_nothing_and_says_until_when(forgot: Run, refused: Any) -> None:
    before = files(forgot.path.parent / "base")
    declared = declare_window(forgot, 30, now="2026-01-31T12:00:00Z")
    assert declared == Declaration(window=Window(30, "2026-03-02T12:00:00Z")) == read_declaration(forgot.path)
    assert files(forgot.path.parent / "base") == before
    assert open_window(survey(forgot), now="2026-03-02T11:59:59Z") is not None
    assert open_window(survey(forgot), now="2026-03-02T12:00:00Z") is None
    destroyed = destroy(survey(forgot))
    assert destroyed.window is None
    assert destroyed.retired
    for days in (0, -1, 3651):
        with refused(InvalidArgument, "audit window", str(days)):
            declare_window(forgot, days)
    signed(forgot.path)
    with refused(RunError, "is signed and cannot name a window"):
        declare_window(forgot, 30)
    assert any("does not list what is destroyed from now on" in note for note in survey(forgot).notes)


def test_a_second_destruction_adds_to_the_first(forgot: Run, pictures: Dataset) -> None:
    first = destroy(survey(forgot))
    late = train(pictures, out=forgot.path.parent / "late", seed=3, **SHAPE)
    second = destroy(survey(forgot))
    assert second.retired[: len(first.retired)] == first.retired
    assert late.weights_digest in {item.digest for item in second.retired}
    assert destroy(survey(forgot)) == second, "nothing left, nothing added"


def test_only_a_run_that_forgot_is_looked_at(runs: Path, refused: Any) -> None:
    with refused(InvalidArgument, "has forgotten nothing"):
        survey(runs / "base")


@pytest.mark.parametrize(
    "change",
    [
        {"format": "expunge/hygiene/2"},
        {"retired": None},
        {"retired": [{"what": "model"}]},
        {"retired": [{"what": "model", "digest": "00"}]},
        {"window": {"days": 0, "until": "2026-01-31T12:00:00Z"}},
        {"window": {"days": 3, "until": "tomorrow"}},
        {"window": 3},
        {"more": 1},
    ],
)
def test_an_altered_declaration_is_refused(change: dict[str, Any], tmp_path: Path, refused: Any) -> None:
    declaration = Declaration((Destroyed("model", "00" * 32), Destroyed("salts of 2 rows")))
    write_declaration(tmp_path, declaration)
    assert read_declaration(tmp_path) == declaration
    (tmp_path / "hygiene.json").write_text(plain_json({**declaration.as_json(), **change}))
    with refused(DataError, "no declaration of hygiene"):
        read_declaration(tmp_path)


def test_a_run_with_noise_in_its_loss_holds_the_rows_from_its_first_step(pictures: Dataset, tmp_path: Path) -> None:
    base = train(
        pictures,
        out=tmp_path / "base",
        model="linear",
        task="logistic",
        perturbation=0.5,
        epochs=2,
        batch_size=16,
        checkpoint_interval=2,
    )
    forgot = unlearn(base, PERSON, out=tmp_path / "forgot", data=pictures, method="retrain")
    listed = {holding.path.name for holding in holdings_of(base, forgot.tombstones)}
    states = {item.name for item in base.log.checkpoints(0) if item.step > 0}
    assert states <= listed
