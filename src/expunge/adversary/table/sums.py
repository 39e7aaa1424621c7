"""Attacks on weights that follow from sums: sums made up or of other rows, penalties and weights that are not theirs.

Everything is signed consistently, down to the digest of the sums, which the auditor is handed beside the bundle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from expunge.adversary.table.scene import Scene
from expunge.adversary.table.story import Handed, RunStory
from expunge.core.rounded import solve
from expunge.data.splits import Split
from expunge.models.sums import PENALTY, Accumulation, SumArrays, accumulation_of
from expunge.records.arrays import arrays_digest
from expunge.records.documents import SUMS
from expunge.records.record import SumsPart
from expunge.train.run import Run
from expunge.train.state import read_tensors, write_tensors

FAR = 2**17  # a feature so large that its square shows among those of all rows


def forged_sums(scene: Scene, out: Path) -> Handed:
    """36: one row's label counts as another, in sums that are otherwise right; the weights follow."""
    return _handed(scene, scene.summed, out, _relabelled(_state(scene.summed.run)))


def row_left_in(scene: Scene, out: Path) -> Handed:
    """37: one row of the person is still in the sums, whose record says that it was taken out with the others."""
    run = scene.summed.run
    rows, summed = run.data()[Split.TRAIN], _summed(run)
    left = np.setdiff1d(np.arange(len(rows)), run.tombstones[1:])
    made = summed.anew(summed.map.encode(rows), rows.labels, left, None, lambda begun: None)
    return _handed(scene, scene.summed, out, made.state)


def nothing_taken_out(scene: Scene, out: Path) -> Handed:
    """37 (b): the sums that hold everybody, under a record that says that somebody was taken out."""
    return _handed(scene, scene.summed, out, _state(scene.summed.run.parent))


def out_of_range(scene: Scene, out: Path) -> Handed:
    """38: a row that is there weighs as if one of its features were beyond what a map makes."""
    state = _state(scene.summed.run)
    products = state["sums_products"].copy()
    products[0, 0] += FAR**2
    return _handed(scene, scene.summed, out, state | {"sums_products": products})


def other_penalty(scene: Scene, out: Path) -> Handed:
    """39: the right sums, solved under half of the penalty that follows from them."""
    story, state = scene.summed, _state(scene.summed.run)
    summed = _summed(story.run)
    found = summed.penalty(state)
    assert found is not None
    penalty = np.maximum(1, found // 2)
    weights = solve(state["sums_products"], penalty, state["sums_targets"]).weights
    return _handed(scene, story, out, state, summed.weights(state) | {"weights": weights}, penalty)


def other_weights(scene: Scene, out: Path) -> Handed:
    """40: the right sums, and the weights that knew the person."""
    story = scene.summed
    return _handed(scene, story, out, _state(story.run), _arrays(story.run.parent.path / "model.safetensors"))


def sums_of_others(scene: Scene, out: Path) -> Handed:
    """41: the right weights, and sums that do not make them."""
    story = scene.summed
    state = _relabelled(_state(story.run))
    return _handed(scene, story, out, state, _arrays(story.run.path / "model.safetensors"))


def swapped_tombstones(scene: Scene, out: Path) -> Handed:
    """42: other people were taken out than the record and its request say, as many rows of them."""
    story, gone = scene.summed, len(scene.summed.record.data.tombstones)
    others = np.setdiff1d(np.arange(story.record.data.count), story.record.data.tombstones)[:gone]
    slots = tuple(int(slot) for slot in others)
    return _handed(scene, story.changed(data__tombstones=slots, requests__0__slots=slots), out, _state(story.run))


def seat_kept(scene: Scene, out: Path) -> Handed:
    """43: a leaf of the forest still seats a row whose chair is said to be empty."""
    story, state = scene.grown, _state(scene.grown.run)
    seats = state["seats"].copy()
    slot = story.record.data.tombstones[0]
    seats[:, slot] = _state(story.run.parent)["seats"][:, slot]
    return _handed(scene, story, out, state | {"seats": seats})


def honest_sums(story: Callable[[Scene], RunStory]) -> Callable[[Scene, Path], Handed]:
    """What an honest owner hands over, told through the same tools."""
    return lambda scene, out: _handed(scene, story(scene), out, _state(story(scene).run))


def _handed(
    scene: Scene,
    story: RunStory,
    out: Path,
    state: SumArrays,
    weights: SumArrays | None = None,
    penalty: np.ndarray | None = None,
) -> Handed:
    """The record over these sums, with the weights and the penalty that follow from them unless others are told."""
    summed = _summed(story.run)
    penalty = summed.penalty(state) if penalty is None else penalty
    told = SumsPart(
        digest=arrays_digest(state),
        constants=arrays_digest(summed.constants(state)),
        penalty=None if penalty is None else arrays_digest({PENALTY: penalty}),
    )
    model = summed.weights(state) if weights is None else weights
    (out / SUMS).parent.mkdir(parents=True)
    write_tensors(out / SUMS, {name: _tensor(value) for name, value in state.items()})
    changed = story.with_model({name: _tensor(value) for name, value in model.items()}).changed(sums=told)
    return replace(scene.hand_over(changed, out), checkpoints=(out / SUMS).parent)


def _relabelled(state: SumArrays) -> SumArrays:
    """One row of the first class counts among the second."""
    targets = state["sums_targets"].copy()
    targets[-1, :2] += (-2, 2)
    return state | {"sums_targets": targets}


def _summed(run: Run) -> Accumulation:
    return accumulation_of(run.recipe, run.schedule.seed)


def _state(run: Run) -> SumArrays:
    return _arrays(run.path / SUMS)


def _arrays(path: Path) -> SumArrays:
    return {name: value.numpy() for name, value in read_tensors(path).items()}


def _tensor(value: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(value))
