"""Level V4: training again from nothing gives what rewinding and retraining gave, and what a record must give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json
from tests.verify.levels.replaying import (
    finding_of,
    opened_record,
    replay_findings,
    sealed,
    story_of,
    verified,
)

from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.keys import SigningKey
from expunge.records.verdict import Level, Status
from expunge.schedule.placement import number_units
from expunge.schedule.plan import TrainingPlan
from expunge.schedule.recipe import Placement, Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.segment import StepSeen, Training, carry_out_segment
from expunge.train.state import Tensors, copied, read_tensors, tensors_digest, write_tensors
from expunge.train.training import make_recipe, train
from expunge.verify.state_files import StateFiles

ROOT = Path(__file__).parents[3]
NOBODY = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("twin") / "base"
    return train(pictures, out=out, model="mlp", epochs=3, batch_size=16, checkpoint_interval=5)


@pytest.mark.parametrize(
    ("shards", "slices", "forgotten"), [(1, 1, 1), (1, 4, 10), (4, 1, 100), (4, 4, 10), (8, 1, 1), (8, 4, 100)]
)
def test_the_twin_of_a_rewound_run_is_the_retrained_one(
    shards: int,
    slices: int,
    forgotten: int,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
) -> None:
    """Acceptance 2, a part of its grid; the whole is in ``python -m benchmarks.digests``."""
    fields = {"epochs": 2, "batch_size": 8, "placement": Placement.SLOT, "checkpoint_interval": 3}
    run = train(pictures, out=tmp_path / "run", model="mlp", shards=shards, slices=slices, **fields)
    rule = f"random:{forgotten}:7"
    rewound = unlearn(run, rule, out=tmp_path / "rewound", data=pictures)
    retrained = unlearn(run, rule, method="retrain", out=tmp_path / "retrained", data=pictures)
    assert rewound.weights_digest == retrained.weights_digest != run.weights_digest
    for one in (rewound, retrained):
        bundle = sealed(story_of(one, owner).without_states(), owner, tmp_path / f"b-{one.path.name}")
        verdict = verified(bundle, trusted, "V4", data=pictures)
        assert (verdict.status, verdict.reached) == (Status.ACCEPTED, Level.V4), verdict.as_json()


def test_a_wholly_emptied_batch_is_skipped_by_the_twin_too(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Everybody of step 4 goes: nothing moves in that step, and the calendar goes on."""
    ids = tmp_path / "ids.txt"
    rows = base.data(pictures)
    ids.write_text("\n".join(rows[Split.TRAIN].ids[slot] for slot in base.schedule.chairs(0, 4)), encoding="utf-8")
    run = unlearn(base, f"ids:{ids}", out=tmp_path / "run", data=pictures)
    plan = TrainingPlan(run.recipe, run.schedule, 0, run.tombstones)
    assert [step for step in range(plan.total) if not plan.step(step).parts] == [4]
    verdict = verified(sealed(story_of(run, owner), owner, tmp_path), trusted, "V4", data=pictures)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()


def test_no_file_of_a_state_is_opened(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """V4 needs no checkpoint: it does not look at those that are there."""
    bundle = sealed(story_of(base, owner), owner, tmp_path)

    def forbidden(self: StateFiles, shard: int, step: int) -> Tensors:
        raise AssertionError("a checkpoint was read")

    monkeypatch.setattr(StateFiles, "load", forbidden)
    verdict = verified(bundle, trusted, "V4", data=pictures)
    assert verdict.status is Status.ACCEPTED
    assert "without a checkpoint" in finding_of(verdict, "twin run", Level.V4).detail


@pytest.mark.parametrize("part", ["model", "optimiser"])
def test_the_last_state_counts_to_the_last_bit(
    part: str, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Fixture 7: a model that was tuned after the training; and moments that were exchanged, the weights intact."""
    total = base.schedule.total_steps(0)
    name = f"shard-0-step-{total:08d}.safetensors"
    state = read_tensors(base.path / "checkpoints" / name)
    key = next(key for key in sorted(state) if key.startswith(f"{part}."))
    state[key] = state[key] + 1e-4
    bundle = sealed(story_of(base, owner).with_state(total, state), owner, tmp_path / "sealed")
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V4", data=pictures)
    assert [code.value for code in verdict.codes] == ["REPLAY_STATE_MISMATCH"]
    said = {"model": "weights", "optimiser": "optimiser state"}[part]
    assert f"at step {total} ({said})" in finding_of(verdict, "twin run", Level.V4).detail


def test_progress_counts_all_shards(pictures: Dataset, tmp_path: Path, owner: SigningKey) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=1, batch_size=16, shards=3)
    total = sum(run.schedule.total_steps(shard) for shard in range(3))
    for level in (Level.V3, Level.V4):
        steps: list[tuple[int, int]] = []
        with opened_record(sealed(story_of(run, owner), owner, tmp_path / level.name), owner) as opened:
            moved = lambda done, of, steps=steps: steps.append((done, of))  # noqa: E731
            list(replay_findings(opened, level=level, data=pictures, progress=moved))
        assert steps == [(done, total) for done in range(1, total + 1)]


def training_of(run: Run, dataset: Dataset) -> Training:
    examples = Examples(run.recipe, run.data(dataset)[Split.TRAIN], torch.device("cpu"))
    return Training(recipe=run.recipe, schedule=run.schedule, examples=examples, emptied=run.tombstones)


def test_a_segment_is_a_piece_of_the_training(base: Run, pictures: Dataset) -> None:
    """From any recorded state to any later one, and from the initial weights; seen step by step."""
    training, seen = training_of(base, pictures), list[StepSeen]()
    states = {item.step: base.path / "checkpoints" / item.name for item in base.log.checkpoints(0)}
    found: dict[int, bytes] = {}

    def look(step: int, state: Tensors, steps: list[StepSeen]) -> None:
        found[step] = tensors_digest(copied(state))
        seen.extend(steps)

    with pinned(base.recipe):
        carry_out_segment(training, 0, (0, 24), look, at=[5, 10, 15, 20], gradients=True)
        for start, end in ((5, 20), (10, 15), (20, 24)):
            kept = found.pop(end)
            carry_out_segment(training, 0, (start, end), look, state=read_tensors(states[start]))
            assert found[end] == kept
    assert {step: tensors_digest(read_tensors(path)) for step, path in states.items()} == found
    content = (base.path / "trace" / "shard-0.bin").read_bytes()
    assert [step.losses for step in seen[:24]] == [content[at + 32 : at + 64] for at in range(0, len(content), 64)]
    assert all(step.gradient is not None for step in seen[:24])
    assert all(step.gradient is None for step in seen[24:])


def test_work_that_is_done_is_the_work_that_was_predicted(pictures: Dataset, tmp_path: Path) -> None:
    """Acceptance 3, its first half: example-steps done over predicted is 1 exactly, for every shape."""
    for shards, slices in ((1, 1), (2, 3), (4, 1)):
        run = train(
            pictures,
            out=tmp_path / f"run-{shards}-{slices}",
            model="mlp",
            epochs=2,
            batch_size=8,
            shards=shards,
            slices=slices,
            placement=Placement.SLOT,
            checkpoint_interval=10_000,
        )
        assert run_json(run)["example_steps"] == run.schedule.work(NOBODY)
        for count in (1, 7):
            after = unlearn(run, f"random:{count}:3", out=tmp_path / f"{shards}-{slices}-{count}", data=pictures)
            starts = starts_of(run.schedule, after.tombstones)
            assert run_json(after)["example_steps"] == run.schedule.work(after.tombstones, starts=starts)


def starts_of(schedule: Schedule, gone: np.ndarray) -> tuple[int, ...]:
    """By shard the end of the last stage before the first touched one: states at stage ends are all that is kept."""
    found: list[int] = []
    for shard in range(schedule.shards):
        touched = schedule.first_touch(shard, gone)
        ends = (0, *schedule.stage_ends(shard))
        found.append(ends[-1] if touched is None else max(end for end in ends if end <= touched))
    return tuple(found)


@pytest.mark.parametrize(("shards", "slices"), [(4, 1), (8, 1), (8, 4), (16, 4)])
def test_one_deletion_costs_what_the_formula_says(
    shards: int, slices: int, pictures_like: Callable[..., Dataset]
) -> None:
    """Acceptance 3, its second half: the mean over uniform single deletions is within 5 % of (2R+1)/(3RS)."""
    dataset = pictures_like(rows=640, people=640)
    recipe: Recipe = make_recipe(
        dataset, model="mlp", epochs=20, batch_size=4, shards=shards, slices=slices, placement=Placement.SLOT
    )
    schedule = Schedule.of(recipe, bytes(32), number_units(dataset.subjects))
    whole = schedule.work(NOBODY)
    costs = [schedule.work(np.array([slot]), starts=starts_of(schedule, np.array([slot]))) for slot in range(640)]
    assert np.mean(costs) / whole == pytest.approx((2 * slices + 1) / (3 * slices * shards), rel=0.05)


def test_another_process_gives_the_same_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """Acceptance 1, a part of it: the whole is in ``python -m benchmarks.digests``."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import json; from benchmarks.digests import states_of\n"
        "print(json.dumps(states_of([0, 1])))"
    )
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.digests import states_of

    here = states_of([0, 1])
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == here
    digests = [digest for states in here.values() for digest in states]
    assert len(digests) == len(set(digests)) > 16


def test_a_checkpoint_costs_no_more_than_what_is_in_it(pictures: Dataset, tmp_path: Path) -> None:
    """Acceptance 16: weights + optimiser + 2 KiB at most, for a model of many tensors."""
    run = train(pictures, out=tmp_path / "run", model="resnet18", model_options={"width": 4}, epochs=1, batch_size=60)
    path = max((run.path / "checkpoints").iterdir())
    state = read_tensors(path)
    parts: list[int] = []
    for prefix in ("model.", "optimiser."):
        part = tmp_path / f"{prefix}safetensors"
        write_tensors(part, {name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)})
        parts.append(part.stat().st_size)
    assert len(state) > 150
    assert sum(parts) - 2048 <= path.stat().st_size <= sum(parts) + 2048
