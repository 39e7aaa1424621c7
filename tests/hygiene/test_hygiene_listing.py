"""What hygiene lists is what differs from a training without the rows."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json
from tests.hygiene.worlds import ANOTHER, PERSON, SHAPE, THIRD, WHOLE, files

from expunge.attest.attest import attest
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import canonical_json, plain_json, sha256
from expunge.data.dataset import Dataset
from expunge.hygiene.holdings import holdings_of
from expunge.hygiene.places import Kinship
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle
from expunge.records.holds import Remedy
from expunge.records.keys import KeyRole, keygen
from expunge.records.verdict import Level
from expunge.schedule.seats import first_steps
from expunge.train.run import Run, write_run_file
from expunge.train.training import train
from expunge.verify.verify import verify


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
    write_run_file(killed.path, replace(killed.told, status="running", result=None))
    (runs / "broken").mkdir()
    (runs / "broken" / "run.json").write_text("{")
    os.symlink(runs / "base", runs / "link")
    (runs.parent / "afar").mkdir()
    shutil.copytree(runs / "base", runs.parent / "afar" / "base")
    os.symlink(runs.parent / "afar" / "base", runs / "away")
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
    assert "away is a link" in unseen
    assert "link is a link" not in unseen, "what it leads to was looked at"
    assert "stranger" not in unseen, "leaves tell that its rows are others"
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
    assert not found.holdings
    assert not found.clean
    assert any("the parent of" in sentence and "nothing of it was looked at" in sentence for sentence in found.unclear)


def test_an_approximate_method_leaves_a_question_that_files_do_not_answer(whole: Path, pictures: Dataset) -> None:
    runs = whole
    run = unlearn(runs / "base", PERSON, out=runs / "approximate", method="gradient-ascent", data=pictures)
    assert any("made by gradient-ascent" in note for note in survey(run).notes)
    half = unlearn(runs / "base", PERSON, out=runs / "half", method="gradient-ascent", data=pictures)
    write_run_file(half.path, replace(half.told, trajectory=None))
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
    assert not survey(forgot).clean, "nobody knows what was exported"
    (base / "export.onnx").unlink()
    assert survey(forgot).clean


def test_tunings_are_listed_unless_their_twins_were_trained_without_the_rows(forgot: Run, pictures: Dataset) -> None:
    runs = forgot.path.parent
    for folder, rules in (("tuned", [THIRD]), ("spared", [PERSON, THIRD])):
        unlearn(runs / "base", rules, out=runs / folder / "twin-1", method="retrain", data=pictures)
        request = {"data_root": run_json(forgot)["dataset_root"], "avoid": {"count": 0, "digest": "0"}}
        (runs / folder / "trials.jsonl").write_text(json.dumps({"request": request}) + "\n")
        (runs / folder / "tuning.json").write_text(json.dumps({"data_root": run_json(forgot)["dataset_root"]}))
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
    with zipfile.ZipFile(runs / "again.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for path in sorted((runs / "given").rglob("*.*")):
            target.write(path, path.relative_to(runs / "given").as_posix())
    found = survey(forgot)
    held = {place.path.name: place for place in found.places if place.kinship is Kinship.BUNDLE}
    assert set(held) == {"given", "given.zip"}
    base = {item.path.name for place in found.places if place.path.name == "base" for item in place.holdings}
    inside = {item.path.name for item in held["given"].holdings}
    assert inside == {name for name in base if name.endswith(".safetensors")} | {"trace.bin"}
    assert [item.remedy for item in held["given.zip"].holdings] == [Remedy.OWNER]
    assert not any("photos" in sentence for sentence in found.unseen)
    (told,) = [sentence for sentence in found.unseen if "again.zip" in sentence]
    assert told.endswith("is not packed as attest packs: look yourself")
    destroy(found)
    with open_bundle(runs / "given") as bundle:
        assert not inside & {Path(name).name for name in bundle.names}
        assert "envelope.json" in bundle
    verdict = verify(runs / "given", keys=[key.trusted("example.com/unlearning", role) for role in KeyRole])
    assert verdict.reached is Level.V0
    assert (
        verify(runs / "new", keys=[key.trusted("example.com/unlearning", role) for role in KeyRole]).reached is Level.V1
    )
    assert {place.path.name for place in survey(forgot).places} == {"given.zip"}
    (runs / "broken").mkdir()
    (runs / "broken" / "envelope.json").write_text("{}")
    assert any("broken could not be looked into" in sentence for sentence in survey(forgot).unseen)


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


def test_only_a_run_that_forgot_is_looked_at(runs: Path, refused: Any) -> None:
    with refused(InvalidArgument, "has forgotten nothing"):
        survey(runs / "base")


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
    assert not survey(forgot).unclear, "its key is no stray"
