"""Bit-exactness: twice the same, killed and continued, and exact replay against retraining."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import run_json

from expunge.data.dataset import Dataset
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.schedule.recipe import Augmentation, Optimiser, OptimiserName
from expunge.train.run import Run
from expunge.train.trace import Trace
from expunge.train.training import train

COMMAND = [sys.executable, "-m", "expunge.cli.main"]


def command(*arguments: str, kill: tuple[Path, float] | None = None) -> int:
    """Run the command line in a process of its own; ``kill``: with -9, so long after it first wrote to a folder."""
    written = None if kill is None else contents(kill[0])
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if kill is not None:
        while process.poll() is None and contents(kill[0]) == written:
            time.sleep(0.005)
        time.sleep(kill[1])
        process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=280)
    assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    return process.returncode


def contents(folder: Path) -> dict[Path, int]:
    found: dict[Path, int] = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a half-written file takes its name
            found[path] = path.stat().st_mtime_ns
    return found


TRAIN = ("train", "digits", "--model", "mlp", "--epochs", "12", "--model-option", "dropout=0.2")


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same in this process."""
    fields: dict[str, Any] = {"model": "mlp", "epochs": 12, "model_options": {"dropout": 0.2}}
    return train("digits", out=tmp_path_factory.mktemp("once") / "base", checkpoint_interval=20, **fields)


def test_two_processes_give_the_same_bytes(once: Run, tmp_path: Path) -> None:
    command(*TRAIN, "--out", str(tmp_path / "again"))
    again = Run.open(tmp_path / "again")
    assert again.weights_digest == once.weights_digest
    assert run_json(again)["dataset_root"] == run_json(once)["dataset_root"]
    assert trace(again.path) == trace(once.path)


def test_killed_at_random_moments_and_continued(once: Run, tmp_path: Path) -> None:
    """Also in the middle of a file: whatever is left, the same command ends in the same bytes."""
    folder = tmp_path / "killed"
    arguments = (*TRAIN, "--checkpoint-interval", "5", "--out", str(folder))
    moments = random.Random(0)
    killed = 0
    for _ in range(12):
        killed += command(*arguments, kill=(folder, 0.4 * moments.random())) != 0
        if (folder / "run.json").exists() and run_json(Run.open_any(folder))["status"] == "finished":
            break
    command(*arguments)
    assert killed > 0
    assert Run.open(folder).weights_digest == once.weights_digest
    assert trace(folder) == trace(once.path)


def test_a_killed_process_leaves_what_can_be_continued_at_every_step(pictures: Dataset, tmp_path: Path) -> None:
    """The same in one process: stop after every step once, continue, compare."""

    class Stopped(Exception):
        pass

    def run(folder: Path, stop: int | None) -> Run:
        def moved(done: int, total: int) -> None:
            if done == stop:
                raise Stopped

        return train(pictures, out=folder, model="mlp", epochs=2, batch_size=16, checkpoint_interval=3, progress=moved)

    straight = run(tmp_path / "straight", None)
    for stop in range(1, straight.schedule.total_steps(0), 2):
        folder = tmp_path / f"stopped-{stop}"
        with pytest.raises(Stopped):
            run(folder, stop)
        assert run(folder, None).weights_digest == straight.weights_digest
        assert trace(folder) == trace(straight.path)


def test_damaged_checkpoints_are_passed_over(pictures: Dataset, tmp_path: Path) -> None:
    """A file that was cut short or altered is never continued from; an earlier one is."""
    fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 3}
    whole = train(pictures, out=tmp_path / "whole", **fields)
    folder = tmp_path / "damaged"
    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=folder, progress=interrupt_at(10), **fields)
    found = sorted((folder / "checkpoints").glob("*.safetensors"))
    assert len(found) == 3
    content = bytearray(found[-1].read_bytes())
    content[-1] ^= 1
    found[-1].write_bytes(bytes(content))
    found[-2].write_bytes(found[-2].read_bytes()[:50])
    assert train(pictures, out=folder, **fields).weights_digest == whole.weights_digest


def interrupt_at(step: int) -> Callable[[int, int], None]:
    def moved(done: int, total: int) -> None:
        if done == step:
            raise KeyboardInterrupt

    return moved


def interrupt_after(calls: int) -> Callable[[int, int], None]:
    """Interrupts once so many steps were made, wherever they began."""
    made = 0

    def moved(done: int, total: int) -> None:
        nonlocal made
        made += 1
        if made == calls:
            raise KeyboardInterrupt

    return moved


def trace(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted((folder / "trace").glob("*.bin")))


def forget_rules(dataset: Dataset, folder: Path, seed: int) -> list[str]:
    """One person, ten random examples, a class."""
    return [f"subject:someone-{seed % 15:02d}", f"random:10:{seed}", f"class:{seed % 3}"]


@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    seed=st.integers(0, 2**40),
    name=st.sampled_from([OptimiserName.SGD, OptimiserName.ADAM, OptimiserName.ADAMW]),
    layout=st.sampled_from([(1, 1), (1, 3), (2, 1), (3, 2)]),
    model=st.sampled_from(["mlp", "cnn"]),
)
def test_exact_replay_equals_retraining(
    pictures: Dataset, seed: int, name: OptimiserName, layout: tuple[int, int], model: str
) -> None:
    """With momentum, weight decay, augmentation, batch norm and dropout on, over shards and slices."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = train(
            pictures,
            out=folder / "base",
            model=model,
            model_options={"norm": "batch", "dropout": 0.3, "width": 6},
            epochs=3,
            batch_size=16,
            seed=seed,
            shards=layout[0],
            slices=layout[1],
            optimiser=Optimiser(name=name, rate=0.01, momentum=0.9, weight_decay=0.01),
            augmentation=Augmentation(flip=True, crop=1),
            checkpoint_interval=5,
        )
        for number, rule in enumerate(forget_rules(pictures, folder, seed)):
            replayed = unlearn(base, rule, method="exact-replay", out=folder / f"e{number}", data=pictures)
            retrained = unlearn(base, rule, method="retrain", out=folder / f"r{number}", data=pictures)
            assert replayed.weights_digest == retrained.weights_digest != base.weights_digest
            assert trace(replayed.path) == trace(retrained.path)
            assert run_json(replayed)["example_steps"] <= run_json(retrained)["example_steps"]
            assert str(replayed.guarantee) == str(retrained.guarantee) == "Exact"


@pytest.fixture(scope="module")
def sharded(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        pictures,
        out=tmp_path_factory.mktemp("sharded") / "base",
        model="mlp",
        epochs=6,
        batch_size=16,
        shards=3,
        slices=3,
        checkpoint_interval=2,
    )


def test_only_what_was_touched_is_redone(sharded: Run, pictures: Dataset, tmp_path: Path) -> None:
    """Executed steps equal those counted from the schedule; other shards keep their bytes."""
    child = unlearn(sharded, "subject:someone-03", method="exact-replay", out=tmp_path / "child", data=pictures)
    slots = child.forget_set.slots
    schedule = sharded.schedule
    starts: list[int] = []
    for shard in range(3):
        touched = schedule.first_touch(shard, slots)
        steps = [item.step for item in sharded.log.checkpoints(shard)]
        starts.append(max((step for step in steps if touched is None or step <= touched), default=0))
    assert run_json(child)["example_steps"] == schedule.work(slots, starts=tuple(starts))
    assert run_json(child)["reused_steps"] == {str(shard): start for shard, start in enumerate(starts)}
    assert sum(schedule.first_touch(shard, slots) is not None for shard in range(3)) == 1
    before, after = sharded.model().state_dict(), child.model().state_dict()
    changed = {name.split(".")[1] for name in before if not np.array_equal(before[name], after[name])}
    (touched_shard,) = (str(s) for s in range(3) if schedule.first_touch(s, slots) is not None)
    assert changed == {touched_shard}


def test_an_untouched_chair_changes_nothing_before_it(sharded: Run, pictures: Dataset, tmp_path: Path) -> None:
    """The steps before the first touched one are the parent's to the byte."""
    child = unlearn(sharded, "random:1:5", method="retrain", out=tmp_path / "child", data=pictures)
    for shard in range(3):
        touched = sharded.schedule.first_touch(shard, child.forget_set.slots)
        own, parent = ((run.path / "trace" / f"shard-{shard}.bin").read_bytes() for run in (child, sharded))
        if touched is None:
            assert own == parent
        else:
            start = touched * Trace.LOSSES.width
            assert own[:start] == parent[:start]
            assert own[start:][: Trace.LOSSES.width] != parent[start:][: Trace.LOSSES.width]


def test_a_shard_with_nobody_left_is_not_asked(sharded: Run, pictures: Dataset, tmp_path: Path) -> None:
    rows = sharded.data(pictures)
    train_rows = next(iter(rows.values()))
    people = sorted({train_rows.subjects[slot] for slot in sharded.schedule.shard_slots(1)})
    rules = [f"subject:{name}" for name in people]
    child = unlearn(sharded, rules, method="exact-replay", out=tmp_path / "child", data=pictures)
    again = unlearn(sharded, rules, method="retrain", out=tmp_path / "again", data=pictures)
    assert run_json(child)["alive"] == [True, False, True]
    assert child.weights_digest == again.weights_digest
    assert len(next(iter(child.model().children()))) == 2  # type: ignore[arg-type]


def test_forgetting_again_and_again(pictures: Dataset, tmp_path: Path) -> None:
    """Requests one after the other equal one retraining without all of them; the parents may be gone."""
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=3, batch_size=16, shards=2, slices=2)
    run = base
    for number, name in enumerate(["someone-01", "someone-07", "someone-12"]):
        run = unlearn(run, f"subject:{name}", out=tmp_path / f"child-{number}", data=pictures)
    together = unlearn(
        base,
        ["subject:someone-01", "subject:someone-07", "subject:someone-12"],
        method="retrain",
        out=tmp_path / "together",
        data=pictures,
    )
    assert run.weights_digest == together.weights_digest
    os.rename(tmp_path / "base", tmp_path / "moved")
    again = unlearn(Run.open(run.path), "subject:someone-03", out=tmp_path / "last", data=pictures)
    assert run_json(again)["tombstones"] == sorted(
        {*run_json(together)["tombstones"], *(int(slot) for slot in again.forget_set.slots)}
    )


def test_exact_after_approximate_goes_back_to_the_recorded_trajectory(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=3, batch_size=16)
    tuned = unlearn(base, "subject:someone-01", method="fine-tune", out=tmp_path / "tuned", data=pictures)
    replayed = unlearn(tuned, "subject:someone-02", method="exact-replay", out=tmp_path / "exact", data=pictures)
    fresh = unlearn(
        base, ["subject:someone-01", "subject:someone-02"], method="retrain", out=tmp_path / "fresh", data=pictures
    )
    assert replayed.weights_digest == fresh.weights_digest


def test_a_reference_of_another_lineage_can_be_replayed_from(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=3, batch_size=16, slices=3)
    other = unlearn(base, "subject:someone-01", method=Retrain(training_seed=5), out=tmp_path / "other", data=pictures)
    replayed = unlearn(other, "subject:someone-02", method="exact-replay", out=tmp_path / "replayed", data=pictures)
    retrained = unlearn(other, "subject:someone-02", method="retrain", out=tmp_path / "retrained", data=pictures)
    both = ["subject:someone-01", "subject:someone-02"]
    direct = unlearn(base, both, method=Retrain(training_seed=5), out=tmp_path / "direct", data=pictures)
    assert replayed.weights_digest == retrained.weights_digest == direct.weights_digest
    assert {str(run.guarantee) for run in (other, replayed, retrained, direct)} == {"Exact"}


def test_interrupted_unlearning_continues(pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", model="mlp", epochs=6, batch_size=16, shards=2, slices=2)
    plain = train(
        pictures, out=tmp_path / "plain", model="cnn", model_options={"norm": "batch"}, epochs=6, batch_size=16
    )
    for method, parent in (("exact-replay", base), ("retrain", base), ("salun", plain), ("neggrad-plus", plain)):
        fields: dict[str, Any] = {"method": method, "data": pictures, "checkpoint_interval": 2}
        if method not in ("exact-replay", "retrain"):
            fields["budget"] = 0.5
        straight = unlearn(parent, "subject:someone-04", out=tmp_path / f"{method}-straight", **fields)
        folder = tmp_path / f"{method}-stopped"
        with pytest.raises(KeyboardInterrupt):
            unlearn(
                parent,
                "subject:someone-04",
                out=folder,
                progress=interrupt_after(run_json(straight)["steps"] // 2),
                **fields,
            )
        (folder / "checkpoints" / ".shard-0-step-00000003.safetensors.part").write_bytes(b"half of a killed write")
        continued = unlearn(parent, "subject:someone-04", out=folder, **fields)
        assert continued.weights_digest == straight.weights_digest
        assert run_json(continued)["steps"] >= 0
        assert not list(folder.rglob("*.part")), "what a killed process left goes when the run is taken up again"
        if method not in ("exact-replay", "retrain"):
            assert run_json(continued)["example_steps"] == run_json(straight)["example_steps"]
            assert list((folder / "checkpoints").glob("*")) == []


def test_bfloat16_repeats(pictures: Dataset, tmp_path: Path) -> None:
    from expunge.schedule.recipe import Precision

    fields: dict[str, Any] = {"model": "cnn", "epochs": 2, "batch_size": 16, "precision": Precision.BFLOAT16}
    first, again = (train(pictures, out=tmp_path / name, **fields) for name in ("a", "b"))
    assert first.weights_digest == again.weights_digest
    full = train(pictures, out=tmp_path / "c", model="cnn", epochs=2, batch_size=16)
    assert full.weights_digest != first.weights_digest
    replayed, retrained = (
        unlearn(first, "subject:someone-04", method=method, out=tmp_path / method, data=pictures)
        for method in ("exact-replay", "retrain")
    )
    assert replayed.weights_digest == retrained.weights_digest
