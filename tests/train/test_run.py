"""Run folders: opened again, continued, refused when altered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.run_log import Checkpointed, Event
from expunge.schedule.recipe import Profile
from expunge.train.load import load
from expunge.train.log import RunLog
from expunge.train.run import Run
from expunge.train.state import tensors_digest, weights_digest
from expunge.train.training import train


@pytest.fixture
def run(small_run: Run, tmp_path: Path) -> Run:
    """A copy that may be damaged."""
    shutil.copytree(small_run.path, tmp_path / "copy")
    return Run.open(tmp_path / "copy")


def rewrite(run: Run, **change: Any) -> None:
    manifest = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**manifest, **change}))


def test_what_info_promises_is_at_the_top(small_run: Run) -> None:
    for name in ("weights_digest", "dataset_root", "recipe", "guarantee", "example_steps", "seconds"):
        assert name in run_json(small_run)
    assert type(run_json(small_run)["example_steps"]) is float
    assert run_json(small_run)["guarantee"] == {"kind": "exact"}


def test_the_meter_equals_the_schedule(small_run: Run) -> None:
    assert run_json(small_run)["example_steps"] == small_run.schedule.work(np.zeros(0, dtype=np.int64))


def test_loaded_weights_have_their_digest(small_run: Run) -> None:
    model = small_run.model()
    assert weights_digest(model) == small_run.weights_digest
    assert not model.training


def test_digests_see_names_types_shapes_and_every_bit() -> None:
    base = {"a": torch.zeros(2, 3)}
    others = [
        {"b": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2)},
        {"a": torch.zeros(2, 3, dtype=torch.float64)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(0)},
        {"a": torch.tensor([[0, 0, 0], [0, 0, -0.0]])},
    ]
    assert len({tensors_digest(tensors) for tensors in [base, *others]}) == 6


def test_rows_are_checked_when_a_run_is_opened_again(small_run: Run, pictures: Dataset, pictures_like: Any) -> None:
    rows = small_run.data(pictures)
    assert {split: len(found) for split, found in rows.items()} == {
        Split.TRAIN: 120,
        Split.CALIBRATION: 8,
        Split.HOLDOUT: 22,
    }
    with pytest.raises(DataError, match="does not match"):
        small_run.data(pictures_like(seed=1))
    with pytest.raises(DataError, match="hand the same data over again with `data`"):
        small_run.data()


def test_forgotten_rows_may_be_missing_afterwards(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    child = unlearn(small_run, "subject:someone-02", out=tmp_path / "child", data=pictures)
    train_rows = small_run.data(pictures)[Split.TRAIN]
    gone = {train_rows.ids[slot] for slot in child.forget_set.slots}
    left = pictures.take(np.array([row for row, name in enumerate(pictures.ids) if name not in gone]))
    found = child.data(left)[Split.TRAIN]
    assert int((~found.present).sum()) == len(gone)
    with pytest.raises(DataError, match="only rows that were already forgotten may be missing"):
        small_run.data(left)
    grandchild = unlearn(child, "subject:someone-03", out=tmp_path / "grandchild", data=left)
    both = unlearn(
        small_run,
        ["subject:someone-02", "subject:someone-03"],
        method="retrain",
        out=tmp_path / "both",
        data=pictures,
    )
    assert grandchild.weights_digest == both.weights_digest


def test_a_training_seed_moves_nobody_between_splits(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    other = train(pictures, out=tmp_path / "other", model="mlp", epochs=4, batch_size=16, seed=9)
    assert run_json(other)["data"]["roots"] == run_json(small_run)["data"]["roots"]
    assert other.weights_digest != small_run.weights_digest
    split = train(pictures, out=tmp_path / "split", model="mlp", epochs=4, batch_size=16, split_seed=9)
    assert run_json(split)["data"]["roots"] != run_json(small_run)["data"]["roots"]


def test_a_run_stands_wherever_its_folder_may_be_named(small_run: Run) -> None:
    assert Path(small_run) == small_run.path
    assert Run.open(small_run).told == small_run.told
    assert repr(small_run) == f"Run({str(small_run.path)!r}, train, finished)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "expunge/run/9"}, "another version wrote it"),
        ({"status": "running"}, "was interrupted"),
        ({"recipe_digest": "00" * 32}, "does not match its digest"),
    ],
)
def test_altered_manifests_are_refused(run: Run, change: dict[str, Any], words: str) -> None:
    rewrite(run, **change)
    with pytest.raises(RunError, match=words):
        load(run.path).recipe  # noqa: B018


def test_altered_files_are_refused(run: Run, pictures: Dataset) -> None:
    weights = run.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(RunError, match="does not hold the weights"):
        run.model()
    weights.write_bytes(b"\x80\x04no pickle is ever read")
    with pytest.raises(RunError, match="not a readable safetensors file"):
        run.model()
    weights.unlink()
    with pytest.raises(RunError, match="is missing"):
        run.model()
    leaves = run.path / "leaves.bin"
    leaves.write_bytes(bytes(32) + leaves.read_bytes()[32:])
    with pytest.raises(RunError, match="do not match their roots"):
        run.data(pictures)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no run\.json"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(RunError, match="another version wrote it"):
        load(tmp_path)


def test_another_command_does_not_overwrite_a_run(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "batch_size": 16}
    with pytest.raises(RunError, match="recipe epochs 4 there, 5 asked for"):
        train(pictures, out=small_run.path, epochs=5, **fields)
    assert train(pictures, out=small_run.path, epochs=4, **fields).weights_digest == small_run.weights_digest
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match=r"not empty and not a run \(it holds 'letter.txt'\)"):
        train(pictures, out=tmp_path, epochs=4, **fields)


def test_a_recipe_for_other_classes_is_refused(pictures: Dataset, pictures_like: Any, tmp_path: Path) -> None:
    from expunge.train.training import make_recipe

    recipe = make_recipe(pictures, model="mlp", epochs=1)
    with pytest.raises(InvalidArgument, match=r"made for the classes \[0, 1, 2\], the data have \[0, 1, 2, 3\]"):
        train(pictures_like(classes=4), out=tmp_path / "run", recipe=recipe)
    with pytest.raises(InvalidArgument, match=r"give a recipe or the fields \['epochs'\], not both"):
        train(pictures, out=tmp_path / "run", recipe=recipe, epochs=2)
    run = train(pictures, out=tmp_path / "run", recipe=recipe)
    assert run.recipe == recipe


@pytest.mark.parametrize("forget", [[1, 2], ["subject:p1", 2], [None]])
def test_rules_that_are_no_text_are_refused(
    small_run: Run, pictures: Dataset, tmp_path: Path, forget: list[Any]
) -> None:
    with pytest.raises(InvalidArgument, match=r"`forget` \S+ must be a rule, as text: one of subject:NAME"):
        unlearn(small_run, forget, out=tmp_path / "child", data=pictures)


def test_training_says_when_it_takes_few_steps(pictures: Dataset, tmp_path: Path) -> None:
    """Once, before the first of them; a longer one says nothing."""
    said: list[str] = []
    for epochs in (1, 60):
        train(pictures, out=tmp_path / str(epochs), model="mlp", epochs=epochs, batch_size=64, tell=said.append)
    few = [sentence for sentence in said if "steps in all" in sentence]
    steps = -(-len(Run.open(tmp_path / "1").data(pictures)[Split.TRAIN]) // 64)
    assert few == [f"{steps} steps in all, in which a model may learn little: more `epochs` take more"]


def test_a_forget_set_of_other_data_is_refused(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    from expunge.data.forget_set import ForgetSet

    foreign = ForgetSet(np.array([1, 2]), ("elsewhere",), "00" * 32)
    with pytest.raises(InvalidArgument, match="the forget set belongs to the data set 000000000000"):
        unlearn(small_run, foreign, out=tmp_path / "child", data=pictures)


def test_two_writers_are_told_apart(pictures: Dataset, tmp_path: Path) -> None:
    from expunge.train.folder import writing

    with writing(tmp_path), pytest.raises(RunError, match="being written by another process"):
        train(pictures, out=tmp_path, model="mlp", epochs=1)


def test_continuing_in_another_environment_is_refused(pictures: Dataset, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    fields: dict[str, Any] = {"out": tmp_path / "run", "model": "mlp", "epochs": 1}
    with pytest.raises(KeyboardInterrupt):
        train(pictures, progress=stop, **fields)
    run = Run.open_any(tmp_path / "run")
    rewrite(run, environment={**run_json(run)["environment"], "torch": "1.0"})
    with pytest.raises(RunError, match=r"torch '1.0' then, '.*' now.*choose a new `out`"):
        train(pictures, **fields)


def test_replaying_in_another_environment_is_refused(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    rewrite(run, environment={**run_json(run)["environment"], "processor": "abacus"})
    with pytest.raises(RunError, match=r"processor 'abacus' then.*use `method` retrain"):
        unlearn(run.path, "subject:someone-01", out=tmp_path / "child", data=pictures)
    retrained = unlearn(run.path, "subject:someone-01", method="retrain", out=tmp_path / "again", data=pictures)
    assert str(retrained.guarantee) == "Exact"


def test_a_lost_checkpoint_is_named(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=6, batch_size=16, slices=3)
    for path in (base.path / "checkpoints").iterdir():
        path.write_bytes(b"")
    rules = f"subject:{last_slice_person(base, pictures)}"
    child = unlearn(base, rules, out=tmp_path / "child", data=pictures)
    fresh = unlearn(base, rules, method="retrain", out=tmp_path / "fresh", data=pictures)
    assert child.weights_digest == fresh.weights_digest
    (notice,) = run_json(child)["notices"]
    assert "is missing or damaged: the initial weights is used instead" in notice
    assert run_json(child)["reused_steps"] == {"0": 0}


def test_the_last_good_checkpoint_is_used_instead_of_a_damaged_one(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=6, batch_size=16, slices=3, checkpoint_interval=5)
    rules = f"subject:{last_slice_person(base, pictures)}"
    before = unlearn(base, rules, out=tmp_path / "before", data=pictures)
    used = run_json(before)["reused_steps"]["0"]
    (base.path / "checkpoints" / f"shard-0-step-{used:08d}.safetensors").unlink()
    after = unlearn(base, rules, out=tmp_path / "after", data=pictures)
    assert after.weights_digest == before.weights_digest
    assert run_json(after)["reused_steps"]["0"] < used
    assert len(run_json(after)["notices"]) == 1
    assert run_json(before)["notices"] == []


def test_a_refused_command_leaves_nothing_and_its_correction_works(pictures: Dataset, tmp_path: Path) -> None:
    from expunge.core.errors import ExpungeError
    from expunge.methods.lookup import make_method

    out = tmp_path / "out"
    with pytest.raises(ExpungeError):
        train(pictures, out=out, model="mlp", epochs=1, device="cuda:99")
    with pytest.raises(ExpungeError):
        train(pictures, out=out, model="nobody", epochs=1)
    assert not out.exists()
    base = train(pictures, out=out, model="mlp", epochs=1, shards=2)
    child = tmp_path / "child"
    for wrong in ({"method": "fine-tune"}, {"budget": 0.1}, {"budget": float("nan"), "method": "ft"}, {"seed": -1}):
        with pytest.raises(ExpungeError):
            unlearn(base, "class:1", out=child, data=pictures, **wrong)
        assert not child.exists()
    assert unlearn(base, "class:1", out=child, data=pictures).weights_digest
    other = make_method("retrain", {"training_seed": "3"})
    with pytest.raises(RunError, match="method name 'exact-replay' there, 'retrain' asked for"):
        unlearn(base, "class:1", method=other, out=child, data=pictures)


def test_retraining_needs_no_ancestor(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=1)
    tuned = unlearn(base, "class:1", method="ft", out=tmp_path / "tuned", data=pictures)
    shutil.rmtree(base.path)
    again = unlearn(tuned.path, "subject:someone-03", method="retrain", out=tmp_path / "again", data=pictures)
    assert str(again.guarantee) == "Exact"
    with pytest.raises(RunError, match="is no longer at"):
        unlearn(tuned.path, "subject:someone-03", out=tmp_path / "replayed", data=pictures)


@pytest.mark.parametrize(
    ("fields", "words"), [({"batch_size": 1}, "batch size 1"), ({"least_present": 1}, "least present 1")]
)
def test_a_batch_norm_over_one_row_is_refused(
    fields: dict[str, int], words: str, pictures: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        train(pictures, out=tmp_path / "run", model="mlp", model_options={"norm": "batch"}, epochs=1, **fields)
    assert not (tmp_path / "run").exists()


def last_slice_person(base: Run, pictures: Dataset) -> str:
    rows = base.data(pictures)[Split.TRAIN]
    slot = int(np.flatnonzero(base.schedule.cells[:, 1] == base.recipe.slices - 1)[0])
    return rows.subjects[slot]


def test_only_one_thread_and_the_exact_profile_earn_exact(pictures: Dataset, tmp_path: Path) -> None:
    two = train(pictures, out=tmp_path / "two", model="mlp", epochs=1, threads=2)
    assert "2 threads" in run_json(two)["exact_refused"]
    assert run_json(two)["guarantee"]["kind"] == "empirical"
    speed = train(pictures, out=tmp_path / "speed", model="mlp", epochs=1, profile=Profile.SPEED)
    assert "speed profile" in run_json(speed)["exact_refused"]
    replayed = unlearn(speed, "subject:someone-01", out=tmp_path / "child", data=pictures)
    assert run_json(replayed)["guarantee"]["kind"] == "empirical"
    assert "speed profile" in run_json(replayed)["exact_refused"]
    retrained = unlearn(speed, "subject:someone-01", method="retrain", out=tmp_path / "retrained", data=pictures)
    assert run_json(retrained)["guarantee"]["kind"] == "empirical"


def test_the_speed_profile_lays_channels_last_and_learns(pictures: Dataset, tmp_path: Path) -> None:
    from expunge.models.resolver import build_empty

    speed = train(pictures, out=tmp_path / "speed", model="cnn", epochs=8, batch_size=16, profile=Profile.SPEED)
    wide = build_empty(speed.recipe).state_dict()
    name = next(name for name, value in wide.items() if value.dim() == 4 and value.shape[1] > 1)
    assert wide[name].is_contiguous(memory_format=torch.channels_last)
    model, rows = speed.model(), speed.data(pictures)[Split.TRAIN]
    assert weights_digest(model) == speed.weights_digest
    with torch.no_grad():
        right = model(torch.from_numpy(speed.recipe.inputs.encode(rows))).argmax(1).numpy() == rows.labels
    assert right.mean() > 0.9


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "no device"])
def test_devices_that_are_not_there_are_refused(pictures: Dataset, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="device"):
        train(pictures, out=tmp_path / "run", model="mlp", epochs=1, device=name)


def test_the_log_is_a_chain(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    for number in range(3):
        log.add(Event(event="note", rest={"number": number}))
    assert [event.rest["number"] for event in RunLog(log.path).events] == [0, 1, 2]
    with log.path.open("ab") as handle:
        handle.write(b'{"event":"no')
    cut = RunLog(log.path)
    cut.add(Event(event="note", rest={"number": 3}))
    assert [event.rest["number"] for event in RunLog(log.path).events] == [0, 1, 2, 3]
    lines = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(RunError, match="line 2 does not continue the chain"):
        RunLog(log.path)


def test_lines_of_the_log_are_what_they_always_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.train.log.utc_now", lambda: "2026-01-31T12:00:00Z")
    log = RunLog(tmp_path / "log.jsonl")
    log.add_request(slots=[3, 5], root="1" * 64, model=None, cases=["case-7"])
    log.add(Checkpointed(shard=1, step=12, digest="2" * 64, thirds=7, seconds=0.5))
    first, second = log.path.read_bytes().splitlines(keepends=True)
    assert first == (
        b'{"cases":["case-7"],"event":"request","initiator":"person","model":null,"previous":"","receipts":[],'
        b'"received":"2026-01-31T12:00:00Z","root":"' + b"1" * 64 + b'","slots":[3,5]}\n'
    )
    assert second == (
        b'{"digest":"' + b"2" * 64 + b'","event":"checkpoint","previous":"' + sha256(first).hex().encode() + b'",'
        b'"seconds":0.5,"shard":1,"step":12,"thirds":7}\n'
    )
    assert RunLog(log.path).events == log.events
    assert [item.name for item in RunLog(log.path).checkpoints(1)] == ["shard-1-step-00000012.safetensors"]


@pytest.mark.parametrize(
    "told",
    [{}, {"event": 3}, {"event": ["request"]}, {"event": "request"}, {"event": "checkpoint", "shard": 0, "step": "1"}],
)
def test_a_line_that_nobody_here_writes_is_refused_where_the_log_is_opened(
    tmp_path: Path, told: dict[str, Any]
) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps({"previous": "", **told}) + "\n")
    with pytest.raises(RunError, match="line 1 does not continue the chain: the log was altered; choose a new `out`"):
        RunLog(tmp_path / "log.jsonl")


def test_a_loss_that_is_not_finite_ends_the_run(pictures: Dataset, tmp_path: Path) -> None:
    from expunge.schedule.recipe import Optimiser

    with pytest.raises(RunError, match=r"the loss became .* at step .* no result is written"):
        train(pictures, out=tmp_path / "run", model="mlp", epochs=9, optimiser=Optimiser(rate=1e12))
    assert run_json(Run.open_any(tmp_path / "run"))["status"] == "running"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_full_disk_loses_nothing(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.train import recorder

    fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 3}
    whole = train(pictures, out=tmp_path / "whole", **fields)
    written: list[Path] = []
    real = recorder.write_tensors

    def full(path: Path, tensors: Any) -> None:
        if len(written) == 2:
            raise RunError(f"{path} could not be written (No space left on device)")
        written.append(path)
        real(path, tensors)

    monkeypatch.setattr(recorder, "write_tensors", full)
    with pytest.raises(RunError, match="No space left on device"):
        train(pictures, out=tmp_path / "full", **fields)
    monkeypatch.undo()
    assert [item.step for item in Run.open_any(tmp_path / "full").log.checkpoints(0)] == [3, 6]
    assert train(pictures, out=tmp_path / "full", **fields).weights_digest == whole.weights_digest


def test_numbers_too_large_to_train_on_end_in_a_sentence(tmp_path: Path) -> None:
    from expunge.data.dataset import Column, ColumnKind, make_dataset

    values = np.arange(60, dtype=np.float64)
    values[3] = 1e30
    table = make_dataset(
        labels=[row % 2 for row in range(60)],
        columns=[Column("size", ColumnKind.NUMERIC)],
        content={"size": values},
        where="test",
    )
    with pytest.raises(RunError, match=r"not finite: no result is written.*numbers too large"):
        train(table, out=tmp_path / "run", model="mlp", epochs=1)


def test_too_few_left_for_a_step_is_said(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", model_options={"norm": "batch"}, epochs=1)
    with pytest.raises(RunError, match="fewer rows remain than a step needs"):
        unlearn(base, "random:119:1", method="retrain", out=tmp_path / "child", data=pictures)


def test_a_finished_run_that_was_damaged_is_not_answered(run: Run, pictures: Dataset) -> None:
    weights = run.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(RunError, match="is finished but its weights were altered"):
        train(pictures, out=run.path, model="mlp", epochs=4, batch_size=16)
