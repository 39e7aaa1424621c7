"""What the forging study measures at one point of one training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.adversary.forging.absorption import Absorb, likeness
from expunge.adversary.forging.altered_content import Content
from expunge.adversary.forging.forger import ForgedBatch, Forger
from expunge.adversary.forging.forgers import Greedy, GreedyKeep, Nearest, Swap, distances, gradient_distances
from expunge.adversary.forging.matching import Matching
from expunge.adversary.forging.replay_noise import replay_noise
from expunge.adversary.forging.step_state import Apart, StepState
from expunge.core.hashing import canonical_json, sha256
from expunge.core.streams import Stream, stable_order
from expunge.data.commitment import commit
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.data.splits import Split, split_rows
from expunge.models.resolver import build_empty
from expunge.records.form import to_plain
from expunge.schedule.digests import executed_digest
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Part, Role, TrainingPlan
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.names import parameter_names
from expunge.train.profile import pinned
from expunge.train.segment import StepSeen, Training, carry_out_segment
from expunge.train.state import Tensors, copied, load_weights, read_tensors, write_tensors
from expunge.train.training import make_recipe
from studies.forging_bound import covariance_trace, expected_square
from studies.forging_settings import (
    BATCH,
    EARLY,
    EPOCH,
    EPOCHS,
    FIRST_STEPS,
    FITTED,
    HALF,
    PAST,
    TENTH,
    Extent,
    Setting,
)

Row = dict[str, Any]
PLANNED = 5000  # epochs of the recipe: more than are ever carried out
ABSORB_TRIES = 100


def training(setting: Setting, seed: int, extent: Extent) -> Training:
    """What the steps of a training are a function of."""
    dataset = read(Source(location=extent.data))
    if extent.rows is not None:
        dataset = dataset.take(np.arange(min(extent.rows, len(dataset))))
    assignment = split_rows(dataset)
    train = dataset.take(np.flatnonzero(assignment == Split.TRAIN.code))
    recipe = make_recipe(
        dataset,
        model=setting.model,
        model_options=dict(setting.options),
        epochs=PLANNED,
        batch_size=BATCH,
        optimiser=setting.optimiser,
        seed=seed,
    )
    schedule = Schedule.of(recipe, commit(dataset, assignment).root, number_units(train.subjects))
    examples = Examples(recipe, train, torch.device("cpu"))
    return Training(recipe=recipe, schedule=schedule, examples=examples, emptied=np.zeros(0, dtype=np.int64))


def training_rows(extent: Extent) -> int:
    """How many rows the trainings have."""
    return len(training(extent.settings[0], 0, extent).examples)


class _Fitted(Exception):
    """Every training row is answered right."""


def prepare(setting: Setting, seed: int, extent: Extent, folder: Path) -> dict[str, int]:
    """Train as far as the points ask for and keep the states; the step of each point.

    A model is fitted at the end of the first epoch after which it answers every training row right, or of the last one
    that is allowed.
    """
    found = training(setting, seed, extent)
    per_epoch = found.schedule.stages[0][0].steps_per_epoch
    with pinned(found.recipe):
        steps = {EARLY: FIRST_STEPS, EPOCH: per_epoch, EPOCHS: 10 * per_epoch}
        if not steps.keys() >= set(setting.points):
            fitted = _fitting(found, per_epoch, extent.longest)
            steps |= {TENTH: fitted // 10, HALF: fitted // 2, FITTED: fitted, PAST: 10 * fitted}
        wanted = {point: steps[point] for point in setting.points}
        carry_out_segment(found, 0, (0, max(wanted.values())), _keeper(folder), at=sorted(set(wanted.values())))
    return wanted


def _keeper(folder: Path) -> Any:
    def look(step: int, tensors: Tensors, seen: list[StepSeen]) -> None:
        write_tensors(folder / f"step-{step:08d}.safetensors", copied(tensors))

    return look


def _fitting(found: Training, per_epoch: int, longest: int) -> int:
    model, reached = build_empty(found.recipe).eval(), 0

    def look(step: int, tensors: Tensors, seen: list[StepSeen]) -> None:
        nonlocal reached
        reached = step
        own = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
        load_weights(model, own, "the state")
        with torch.no_grad():
            right = model(found.examples.inputs).argmax(dim=1) == found.examples.labels
        if bool(right.all()):
            raise _Fitted

    ends = [per_epoch * epoch for epoch in range(1, longest + 1)]
    with suppress(_Fitted):
        carry_out_segment(found, 0, (0, ends[-1]), look, at=ends)
    return reached


def measure(setting: Setting, seed: int, point: str, step: int, extent: Extent, folder: Path) -> dict[str, Any]:
    """Every figure of one point: what forgers reach, what replays are off, what is absorbed, what the bound says."""
    found = training(setting, seed, extent)
    tensors = read_tensors(folder / f"step-{step:08d}.safetensors")
    part = TrainingPlan(found.recipe, found.schedule, 0, found.emptied).step(step).parts[Role.RETAIN]
    state = StepState(found, 0, step, tensors, part)
    picks = _picks(state, part.slots, extent.targets)
    measured: list[Row] = []
    for place, target in enumerate(picks):
        for forger in _forgers(setting, point, extent, few=place < extent.few):
            measured.append(_forge(state, forger, target))
        measured.append(_at_equal_cost(state, measured, target))
    result: dict[str, Any] = {"step": step, "noise": _noise(state), "absorbed": _absorbed(state)}
    if setting.axes and point in (EARLY, FITTED):
        result["bound"] = _bound(state, extent)
    if setting.axes and point == EARLY:
        for size in extent.batches:
            measured += _sized(state, size, extent)
    return {**result, "rows": measured}


def _forgers(setting: Setting, point: str, extent: Extent, *, few: bool) -> Iterator[Forger]:
    limit = extent.limit or extent.most
    for count in setting.candidates:
        if count <= limit:
            yield Greedy(candidates=count)
    if setting.axes and point == EARLY and few:
        yield Greedy(candidates=extent.most)
    yield Nearest()
    yield Swap()
    if point in (EARLY, FITTED) and extent.few:
        yield Matching()
        if setting.axes:
            yield GreedyKeep(candidates=min(limit, 100))
    if setting.axes and point in (EARLY, FITTED) and few:
        yield Content(steps=min(limit, 100))
    if point in (FITTED, PAST):
        yield Absorb(candidates=min(limit, ABSORB_TRIES) if few else min(limit, 10))


def _picks(state: StepState, slots: np.ndarray, count: int) -> list[int]:
    """Members of a batch that are to be denied, drawn once for a step."""
    words = Stream(state.training.schedule.seed, "study/targets", 0, state.index).words(len(slots))
    return [int(slot) for slot in slots[stable_order(words)][:count]]


def _forge(state: StepState, forger: Forger, target: int) -> Row:
    """One target, one forger. Greedy's least l2 and least l∞ may be those of different candidates."""
    batch = state.part.slots
    pool = np.setdiff1d(np.arange(len(state.training.examples)), [target])
    row: Row = {"batch": len(batch), "forger": forger.name, "candidates": _count(forger), "target": target}
    with pinned(state.recipe):
        if isinstance(forger, Greedy):
            before = state.spent.forwards
            tried = list(distances(state, forger.proposals(state, batch, pool)))
            least = Apart(min(one.l2 for one in tried), min(one.largest for one in tried))
            return {**row, **_told(least), "example_steps": float(state.spent.forwards - before)}
        forged: ForgedBatch = forger.batch(state, batch, pool)
        if forged.slots is None:
            return {**row, "l2": None, "largest": None, "example_steps": forged.example_steps, "absorbed": False}
        after = state.after(forged.slots, chairs=forged.chairs, contents=forged.contents, digests=True)
        alike = likeness(after, state.honest, parameter_names(state.recipe))
        return {
            **row,
            **_told(after.apart(state.honest)),
            "example_steps": forged.example_steps,
            "absorbed": alike.state,
        }


def _count(forger: Forger) -> int | None:
    found = getattr(forger, "candidates", getattr(forger, "steps", None))
    return None if found is None else int(found)


def _told(apart: Apart) -> Row:
    return {"l2": apart.l2, "largest": apart.largest}


def _at_equal_cost(state: StepState, measured: list[Row], target: int) -> Row:
    """Greedy with as many candidates as pay for the same target's swap, rounded up in greedy's favour."""
    swap = next(row for row in reversed(measured) if row["forger"] == "swap" and row["target"] == target)
    count = int(np.ceil(swap["example_steps"] / len(state.part.slots)))
    return {**_forge(state, Greedy(candidates=count), target), "forger": "greedy at swap's cost"}


def _sized(state: StepState, size: int, extent: Extent) -> list[Row]:
    """The batch-size axis: at one and the same state, so that only the size differs."""
    order = state.training.schedule.epoch_order(0, state.part.epoch)
    per_batch = min(size, extent.targets)
    found: list[Row] = []
    for number in range(-(-extent.targets // per_batch)):
        slots = order[number * size : (number + 1) * size]
        own = StepState(state.training, 0, state.index, state.tensors, _part(state.part, slots))
        targets = _picks(own, slots, min(per_batch, extent.targets - number * per_batch))
        for place, target in enumerate(targets):
            few = number == 0 and place < extent.few
            forgers: list[Forger] = [Greedy(candidates=1), Swap()]
            if few or size <= BATCH:
                forgers.append(Greedy(candidates=min(400, extent.limit or 400)))
            rows = [_forge(own, forger, target) for forger in forgers]
            rows.append(_at_equal_cost(own, rows, target))
            found += [{**row, "axis": "batch size"} for row in rows]
    return found


def _part(part: Part, slots: np.ndarray) -> Part:
    return replace(part, slots=slots, chairs=np.arange(len(slots)), width=len(slots))


def _noise(state: StepState) -> dict[str, dict[str, float]]:
    return to_plain(replay_noise(state).kinds)


def _absorbed(state: StepState) -> dict[str, Any]:
    """For every member of the batch its nearest swap, and its chair left empty: what changes, and who would see it."""
    batch, names = state.part.slots, parameter_names(state.recipe)
    found: list[dict[str, Any]] = []
    with pinned(state.recipe):
        free, apart = gradient_distances(state, batch, np.setdiff1d(np.arange(len(state.training.examples)), batch))
        for chair in range(len(batch)):
            swapped = batch.copy()
            swapped[chair] = free[int(np.argmin(apart[chair]))]
            alike = likeness(state.after(swapped, digests=True), state.honest, names)
            left = np.delete(np.arange(len(batch)), chair)
            empty = state.after(batch[left], chairs=state.part.chairs[left], digests=True)
            scheduled, stated = (executed_digest(0, state.index, slots) for slots in (batch, swapped))
            found.append(
                {
                    "swap": vars(alike),
                    "empty": vars(likeness(empty, state.honest, names)),
                    "schedule": scheduled == stated,
                }
            )
    return {"swaps": found}


def _bound(state: StepState, extent: Extent) -> list[dict[str, Any]]:
    """Pairs of independent batches against what the spread of the gradients says, for every batch size."""
    everybody = np.arange(len(state.training.examples))
    with pinned(state.recipe):
        trace = covariance_trace(state.gradients(everybody).numpy())
        found: list[dict[str, Any]] = []
        for size in extent.batches:
            for replaced in (False, True):
                address = sha256(canonical_json({"batch": size, "replacement": replaced}))
                draws = Stream(sha256(address, state.training.schedule.seed), "study/pairs", 0, state.index)
                squares = [_squared_distance(state, draws, size, replaced=replaced) for _ in range(extent.pairs)]
                population = None if replaced else len(everybody)
                found.append(
                    {
                        "batch": size,
                        "replacement": replaced,
                        "expected": state.rate**2 * expected_square(trace, size, population=population),
                        "squares": squares,
                    }
                )
    return found


def _squared_distance(state: StepState, draws: Stream, size: int, *, replaced: bool) -> float:
    """Of the weights after one step with either of two batches; the second is greedy's one candidate."""
    count = len(state.training.examples)
    batches = [
        draws.below(count, size) if replaced else stable_order(draws.words(count))[:size].astype(np.int64)
        for _ in range(2)
    ]
    first, second = (state.after(slots) for slots in batches)
    return first.apart(second).l2 ** 2
