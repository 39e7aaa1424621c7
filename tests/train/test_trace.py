"""The trace against slow twins: every digest made again by hand, killed trainings, and traces that are taken over."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import retold, run_json
from torch import nn

from expunge.core.errors import RunError
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.schedule.digests import epoch_digest
from expunge.schedule.plan import Step, TrainingPlan
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples
from expunge.train.log import RunLog
from expunge.train.loop import Hooks, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import pinned
from expunge.train.recorder import FolderRecorder
from expunge.train.run import Run
from expunge.train.trace import ShardTrace, Trace
from expunge.train.training import train

EMPTY = hashlib.sha256(b"").digest()


def traced(run: Run | Path) -> dict[str, bytes]:
    folder = run if isinstance(run, Path) else run.path
    return {path.name: path.read_bytes() for path in sorted((folder / "trace").iterdir())}


# The slow twins: nothing of ours but the model, the rows and the schedule's order.


def slots_hash(tag: bytes, shard: int, number: int, slots: Sequence[int]) -> bytes:
    found = hashlib.sha256(tag + struct.pack("<IQI", shard, number, len(slots)))
    for slot in slots:
        found.update(struct.pack("<Q", slot))
    return found.digest()


def tensors_hash(tensors: dict[str, torch.Tensor]) -> bytes:
    found = hashlib.sha256(b"expunge/tensors/1" + struct.pack("<I", len(tensors)))
    for name in sorted(tensors):
        value = tensors[name]
        for text in (name.encode(), str(value.dtype).split(".")[1].encode()):
            found.update(struct.pack("<Q", len(text)) + text)
        found.update(struct.pack("<I", value.dim()) + b"".join(struct.pack("<Q", size) for size in value.shape))
        found.update(value.contiguous().numpy().tobytes())
    return found.digest()


def by_hand(run: Run, data: Dataset, shard: int, mode: Trace) -> tuple[bytes, bytes]:
    """Step records and epoch records of a shard, by a bare loop that trains it again."""
    recipe, schedule = run.recipe, run.schedule
    rows = run.data(data)[Split.TRAIN]
    examples = Examples(recipe, rows, torch.device("cpu"))
    gone = set(run.tombstones.tolist())
    model = build(recipe, schedule.seed, shard).train()
    described = recipe.optimiser
    if described.name is OptimiserName.SGD:
        optimiser: torch.optim.Optimizer = torch.optim.SGD(
            model.parameters(), lr=0.0, momentum=0.9, weight_decay=described.weight_decay, foreach=False
        )
    else:
        optimiser = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=described.weight_decay, foreach=False)
    steps, epochs, step, epoch = b"", b"", 0, 0
    total = schedule.total_steps(shard)
    for stage in schedule.stages[shard]:
        for _ in range(stage.epochs):
            members: list[int] = []
            order = schedule.epoch_order(shard, epoch).tolist()
            for start in range(0, len(order), recipe.batch_size):
                present = [slot for slot in order[start : start + recipe.batch_size] if slot not in gone]
                present = present if len(present) >= recipe.least_present else []
                members += present
                steps += slots_hash(b"expunge/executed/1", shard, step, present)
                losses, gradient = EMPTY, EMPTY
                if present:
                    optimiser.param_groups[0]["lr"] = described.rate_at(step, total)
                    found = nn.functional.cross_entropy(
                        model(examples.inputs[present]), examples.labels[present], reduction="none"
                    )
                    losses = hashlib.sha256(b"".join(struct.pack("<f", loss) for loss in found.tolist())).digest()
                    optimiser.zero_grad()
                    found.mean().backward()
                    gradient = tensors_hash(
                        {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
                    )
                    optimiser.step()
                steps += losses + (gradient if mode is Trace.GRADIENTS else b"")
                step += 1
            epochs += slots_hash(b"expunge/epoch/1", shard, epoch, sorted(members))
            epoch += 1
    assert step == total
    return steps, epochs


SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "shards and slices": {"shards": 2, "slices": 3, "epochs": 4, "checkpoint_interval": 2},
    "empty chairs": {"without": ["subject:someone-02", "random:20:3"], "shards": 2, "slices": 2},
    "skipped steps": {"without": "random:70%:5", "batch_size": 4, "least_present": 2, "checkpoint_interval": 5},
    "another optimiser": {"optimiser": Optimiser(name=OptimiserName.ADAMW, rate=0.01), "checkpoint_interval": 1},
}


@pytest.mark.parametrize("mode", [Trace.LOSSES, Trace.GRADIENTS])
@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_record_is_what_one_makes_by_hand(shape: str, mode: Trace, pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "epochs": 3, "batch_size": 16, "trace": mode, **SHAPES[shape]}
    run = train(pictures, out=tmp_path / "run", **fields)
    found = traced(run)
    assert set(found) == {f"{name}-{shard}.bin" for shard in range(run.recipe.shards) for name in ("shard", "epochs")}
    skipped = 0
    for shard in range(run.recipe.shards):
        with pinned(run.recipe):
            steps, epochs = by_hand(run, pictures, shard, mode)
        assert found[f"shard-{shard}.bin"] == steps
        assert found[f"epochs-{shard}.bin"] == epochs
        assert len(steps) == run.schedule.total_steps(shard) * mode.width
        assert len(epochs) == 32 * sum(run.recipe.stage_epochs)
        records = [steps[at : at + mode.width] for at in range(0, len(steps), mode.width)]
        skipped += sum(record[32:] == EMPTY * (mode.width // 32 - 1) for record in records)
    assert (skipped > 0) == (shape == "skipped steps")
    assert run.trace is mode
    assert run_json(run)["trace"] == mode.value
    assert run_json(run)["checkpoint_interval"] == fields.get("checkpoint_interval", 100)


def test_the_digest_of_an_epoch_does_not_depend_on_its_order() -> None:
    members = np.array([7, 2, 900, 4])
    assert epoch_digest(3, 11, members) == slots_hash(b"expunge/epoch/1", 3, 11, [2, 4, 7, 900])
    assert epoch_digest(3, 11, members) == epoch_digest(3, 11, np.sort(members)[::-1])
    assert len({epoch_digest(0, 0, members), epoch_digest(1, 0, members), epoch_digest(0, 1, members)}) == 3


def test_the_mode_decides_no_weight(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16}
    runs = {mode: train(pictures, out=tmp_path / mode.value, trace=mode, **fields) for mode in Trace}
    assert len({run.weights_digest for run in runs.values()}) == 1
    assert not (tmp_path / "off" / "trace").exists()
    losses, gradients = (traced(runs[mode])["shard-0.bin"] for mode in (Trace.LOSSES, Trace.GRADIENTS))
    assert [gradients[at : at + 64] for at in range(0, len(gradients), 96)] == [
        losses[at : at + 64] for at in range(0, len(losses), 64)
    ]


def test_the_interval_is_that_of_the_longest_shard(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=60, batch_size=1, shards=2)
    longest = max(run.schedule.total_steps(shard) for shard in range(2))
    assert run_json(run)["checkpoint_interval"] == max(100, -(-longest // 64))
    for shard in range(2):
        steps = [item.step for item in run.log.checkpoints(shard)]
        interval = run_json(run)["checkpoint_interval"]
        assert steps == sorted({*range(interval, run.schedule.total_steps(shard), interval), steps[-1]})


class _Watching(torch.optim.SGD):
    """Plain descent that remembers the gradients it was given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.parameters(), lr=0.1)
        self.model, self.given = model, list[bytes]()

    def step(self, closure: Any = None) -> Any:
        self.given.append(
            tensors_hash({name: p.grad for name, p in self.model.named_parameters() if p.grad is not None})
        )
        return super().step(closure)


def test_the_gradient_is_what_the_optimiser_is_given(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    """After the hooks that change it, and without the parameters that have none."""
    recipe, schedule = small_run.recipe, small_run.schedule
    plan = TrainingPlan(recipe, schedule, 0, np.arange(9))
    model = build(recipe, schedule.seed).train()
    frozen = next(iter(model.parameters())).requires_grad_(False)
    optimiser = _Watching(model)

    def halve(step: Step) -> None:
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(0.5)

    trace = ShardTrace(tmp_path, schedule, plan, Trace.GRADIENTS)
    recorder = FolderRecorder(tmp_path, shard=0, total=plan.total, log=RunLog(tmp_path / "log.jsonl"), trace=trace)
    before = frozen.clone()
    carry_out(
        plan,
        student=model,
        objective=training_objective,
        optimiser=optimiser,
        recipe=recipe,
        task=Classification(),
        examples=Examples(recipe, small_run.data(pictures)[Split.TRAIN], torch.device("cpu")),
        meter=Meter(),
        recorder=recorder,
        hooks=Hooks(before_update=halve),
    )
    recorder.close()
    content = traced(tmp_path)["shard-0.bin"]
    assert [content[at + 64 : at + 96] for at in range(0, len(content), 96)] == optimiser.given
    assert len(optimiser.given) == plan.total
    assert torch.equal(frozen, before)


# Killed and continued.


@pytest.mark.parametrize("mode", ["losses", "gradients"])
@pytest.mark.parametrize("kind", ["step", "write"])
def test_killed_with_minus_nine_and_continued_to_the_same_bytes(kind: str, mode: str, tmp_path: Path) -> None:
    """After every step once, and in the middle of every write to trace and log."""
    script = Path(__file__).parent / "killed_training.py"
    done = subprocess.run([sys.executable, script, tmp_path, mode, kind], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) >= 15
    assert all(moment["killed"] and moment["same"] for moment in found), found
    assert {moment["status"] for moment in found} == {"running"}


def interrupted(pictures: Dataset, out: Path, at: int, **fields: Any) -> Path:
    def moved(done: int, total: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=out, progress=moved, **fields)
    return out


FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 4, "batch_size": 16, "checkpoint_interval": 3}


@pytest.mark.parametrize("mode", [Trace.LOSSES, Trace.GRADIENTS])
def test_a_run_begun_before_epochs_were_recorded_is_continued(mode: Trace, pictures: Dataset, tmp_path: Path) -> None:
    straight = train(pictures, out=tmp_path / "straight", trace=mode, **FIELDS)
    folder = interrupted(pictures, tmp_path / "old", 23, trace=mode, **FIELDS)
    (folder / "trace" / "epochs-0.bin").unlink()
    manifest = json.loads((folder / "run.json").read_text())
    old = {name: value for name, value in manifest.items() if name not in ("trace", "beacon_described")}
    (folder / "run.json").write_text(json.dumps(old))
    run = train(pictures, out=folder, trace=mode, **FIELDS)
    assert traced(run) == traced(straight)
    assert run_json(run)["trace"] == mode.value
    assert run_json(run)["beacon_described"]["source"] == "zero"


def test_a_trace_is_of_one_kind_from_the_first_step(pictures: Dataset, tmp_path: Path) -> None:
    folder = interrupted(pictures, tmp_path / "run", 10, **FIELDS)
    before = traced(folder)
    for mode in (Trace.GRADIENTS, Trace.OFF):
        with pytest.raises(RunError, match=f"begun with `trace` losses, {mode.value} is asked for: .*`trace` losses"):
            train(pictures, out=folder, trace=mode, **FIELDS)
    assert traced(folder) == before
    done = train(pictures, out=folder, **FIELDS)
    assert run_json(train(pictures, out=folder, trace=Trace.OFF, **FIELDS)) == run_json(done), (
        "nothing is left to trace"
    )


@pytest.mark.parametrize("name", ["shard-0.bin", "epochs-0.bin"])
def test_a_trace_that_lost_its_end_is_refused_or_made_again(name: str, pictures: Dataset, tmp_path: Path) -> None:
    straight = train(pictures, out=tmp_path / "straight", **FIELDS)
    folder = interrupted(pictures, tmp_path / "run", 23, **FIELDS)
    path = folder / "trace" / name
    path.write_bytes(path.read_bytes()[:32])
    if name == "shard-0.bin":
        with pytest.raises(RunError, match="is shorter than the 21 steps that the checkpoint holds: it was altered"):
            train(pictures, out=folder, **FIELDS)
    else:
        assert traced(train(pictures, out=folder, **FIELDS)) == traced(straight)


def test_an_altered_step_of_an_epoch_that_goes_on_is_refused(pictures: Dataset, tmp_path: Path) -> None:
    folder = interrupted(pictures, tmp_path / "run", 23, **FIELDS)
    path = folder / "trace" / "shard-0.bin"
    content = bytearray(path.read_bytes())
    content[17 * 64] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="step 17 was carried out with other rows than the schedule gives"):
        train(pictures, out=folder, **FIELDS)


# Taken over by exact-replay.


@pytest.mark.parametrize("mode", [Trace.LOSSES, Trace.GRADIENTS])
@pytest.mark.parametrize("layout", [(1, 1), (1, 3), (3, 2)])
def test_replayed_and_retrained_have_one_trace(
    mode: Trace, layout: tuple[int, int], pictures: Dataset, tmp_path: Path
) -> None:
    fields = {**FIELDS, "shards": layout[0], "slices": layout[1], "trace": mode, "checkpoint_interval": 1}
    base = train(pictures, out=tmp_path / "base", **fields)
    asked: dict[str, Any] = {"data": pictures, "trace": mode}
    replayed = unlearn(base, "random:1:4", out=tmp_path / "replayed", **asked)
    retrained = unlearn(base, "random:1:4", method="retrain", out=tmp_path / "retrained", **asked)
    assert sum(run_json(replayed)["reused_steps"].values()) > 0, "otherwise nothing is taken over"
    assert traced(replayed) == traced(retrained)
    assert run_json(replayed)["notices"] == []
    assert {run_json(run)["trace"] for run in (base, replayed, retrained)} == {mode.value}
    with pinned(base.recipe):
        for shard in range(layout[0]):
            steps, epochs = by_hand(replayed, pictures, shard, mode)
            assert (traced(replayed)[f"shard-{shard}.bin"], traced(replayed)[f"epochs-{shard}.bin"]) == (steps, epochs)


@pytest.mark.parametrize("mode", [Trace.LOSSES, Trace.GRADIENTS])
def test_an_interrupted_replay_continues_its_trace(mode: Trace, pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", **{**FIELDS, "slices": 2, "trace": mode})
    last = int(np.flatnonzero(base.schedule.cells[:, 1] == 1)[0])
    rule = f"subject:{base.data(pictures)[Split.TRAIN].subjects[last]}"
    asked: dict[str, Any] = {"data": pictures, "trace": mode, "checkpoint_interval": 2}
    straight = unlearn(base, rule, out=tmp_path / "straight", **asked)
    assert run_json(straight)["reused_steps"]["0"] >= base.schedule.stages[0][0].end_step
    for calls in range(1, run_json(straight)["steps"], 3):
        made = 0

        def moved(done: int, total: int, calls: int = calls) -> None:
            nonlocal made
            made += 1
            if made == calls:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            unlearn(base, rule, out=tmp_path / f"cut-{calls}", progress=moved, **asked)
        run = unlearn(base, rule, out=tmp_path / f"cut-{calls}", **asked)
        assert traced(run) == traced(straight)
        assert len(run.log.requests()) == 1


@pytest.fixture(scope="module")
def sliced(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[Trace, Run]:
    """A training of two slices by kind of trace."""
    folder = tmp_path_factory.mktemp("sliced")
    return {mode: train(pictures, out=folder / mode.value, **{**FIELDS, "slices": 2, "trace": mode}) for mode in Trace}


def late(run: Run, pictures: Dataset) -> str:
    slot = int(np.flatnonzero(run.schedule.cells[:, 1] == 1)[0])
    return f"subject:{run.data(pictures)[Split.TRAIN].subjects[slot]}"


@pytest.mark.parametrize("asked", list(Trace))
@pytest.mark.parametrize("kept", list(Trace))
def test_a_replay_keeps_to_the_kind_that_it_takes_over(
    kept: Trace, asked: Trace, sliced: dict[Trace, Run], pictures: Dataset, tmp_path: Path
) -> None:
    base = sliced[kept]
    run = unlearn(base, late(base, pictures), out=tmp_path / "run", data=pictures, trace=asked)
    found = Trace.OFF if asked is Trace.OFF else kept
    assert run.trace is found
    assert (run.path / "trace").exists() == (found is not Trace.OFF)
    assert run_json(run)["reused_steps"]["0"] > 0
    if found is asked:
        assert run_json(run)["notices"] == []
    else:
        (notice,) = run_json(run)["notices"]
        assert "no trace is kept" in notice if found is Trace.OFF else f"the trace is of {found.value}" in notice
    retrained = unlearn(
        base, late(base, pictures), method="retrain", out=tmp_path / "again", data=pictures, trace=found
    )
    assert retrained.weights_digest == run.weights_digest
    if found is not Trace.OFF:
        assert traced(run) == traced(retrained)


def copied(run: Run, folder: Path) -> Run:
    shutil.copytree(run.path, folder)
    return Run.open(folder)


def test_a_parent_of_an_older_version_is_replayed(sliced: dict[Trace, Run], pictures: Dataset, tmp_path: Path) -> None:
    base = copied(sliced[Trace.LOSSES], tmp_path / "base")
    (base.path / "trace" / "epochs-0.bin").unlink()
    newer = ("trace", "checkpoint_interval", "beacon_described")
    manifest = {name: value for name, value in run_json(base).items() if name not in newer}
    (base.path / "run.json").write_text(json.dumps(manifest))
    old = Run.open(base.path)
    assert old.trace is Trace.LOSSES
    assert old.beacon_described == sliced[Trace.LOSSES].beacon_described
    run = unlearn(old, late(old, pictures), out=tmp_path / "run", data=pictures)
    expected = unlearn(sliced[Trace.LOSSES], late(old, pictures), out=tmp_path / "expected", data=pictures)
    assert traced(run) == traced(expected)
    shutil.rmtree(old.path / "trace")
    assert Run.open(old.path).trace is Trace.OFF
    bare = unlearn(old, late(old, pictures), out=tmp_path / "bare", data=pictures)
    assert bare.trace is Trace.OFF
    assert bare.weights_digest == run.weights_digest


def test_a_parent_with_a_damaged_trace_is_refused(sliced: dict[Trace, Run], pictures: Dataset, tmp_path: Path) -> None:
    def refused(name: str, words: str, change: Any) -> None:
        base = copied(sliced[Trace.LOSSES], tmp_path / f"{name}-{words[:5]}")
        path = base.path / "trace" / name
        change(path)
        out = tmp_path / f"{name}-{words[:5]}-out"
        with pytest.raises(RunError, match=words):
            unlearn(base, late(base, pictures), out=out, data=pictures)
        untraced = tmp_path / f"{name}-{words[:5]}-untraced"
        assert unlearn(base, late(base, pictures), out=untraced, data=pictures, trace=Trace.OFF).trace is Trace.OFF

    refused("shard-0.bin", "is shorter than its checkpoints: .* `trace` off", lambda path: path.write_bytes(b"short"))
    refused("epochs-0.bin", "is shorter than its checkpoints: .* `trace` off", lambda path: path.write_bytes(b"short"))
    refused("shard-0.bin", "could not be read .* `trace` off", lambda path: path.unlink())


def test_an_approximate_run_has_no_trace(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    for mode in Trace:
        run = unlearn(small_run, "class:1", method="fine-tune", out=tmp_path / mode.value, data=pictures, trace=mode)
        assert run.trace is Trace.OFF
        assert run_json(run)["trace"] == "off"
        assert run_json(run)["checkpoint_interval"] is None
        assert not (run.path / "trace").exists()


def test_run_json_with_a_trace_that_nobody_knows_is_refused(small_run: Run) -> None:
    from expunge.core.errors import InvalidArgument

    altered = retold(small_run, trace="weights")
    with pytest.raises(InvalidArgument, match="trace 'weights' is not one of losses, gradients, off"):
        altered.trace  # noqa: B018


def test_the_schedule_and_the_trace_agree_on_epochs(sliced: dict[Trace, Run]) -> None:
    """Counted through the slices' stages."""
    run = sliced[Trace.LOSSES]
    schedule: Schedule = run.schedule
    assert len(traced(run)["epochs-0.bin"]) == 32 * sum(stage.epochs for stage in schedule.stages[0])
    for epoch, expected in enumerate(schedule.shard_slots(0) for _ in range(schedule.stages[0][1].epochs)):
        number = schedule.stages[0][1].first_epoch + epoch
        record = traced(run)["epochs-0.bin"][32 * number :][:32]
        assert record == slots_hash(b"expunge/epoch/1", 0, number, sorted(expected.tolist()))


def test_an_optimiser_of_ours_leaves_the_gradient_alone() -> None:
    """The digest is made beside the loop, from the very tensors that the optimiser takes."""
    for name in OptimiserName:
        plain = {"momentum": 0.0, "weight_decay": 0.0} if name is OptimiserName.SIGN else {"weight_decay": 0.1}
        model = nn.Linear(3, 2)
        optimiser = make_optimiser(Optimiser(name=name, rate=0.1, **plain), model)
        for _ in range(3):
            model(torch.ones(4, 3)).square().mean().backward()
            given = {key: value.grad for key, value in model.named_parameters()}
            before = {key: value.clone() for key, value in given.items() if value is not None}
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            assert all(torch.equal(value, before[key]) for key, value in given.items() if value is not None)
