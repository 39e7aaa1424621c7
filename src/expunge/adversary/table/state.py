"""Attacks on what was computed: weights kept, touched up or trained otherwise, and states altered beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from expunge.adversary.table.retelling import ShardTale, enact, saved
from expunge.adversary.table.scene import PERSON, Scene
from expunge.adversary.table.story import Handed, RunStory
from expunge.records.bundle import checkpoint_name
from expunge.records.record import Operation
from expunge.records.states import MODEL_PREFIX
from expunge.schedule.recipe import Precision, Recipe
from expunge.train.state import Tensors, as_model_part, read_tensors


def nothing_done(scene: Scene, out: Path) -> Handed:
    """6: the original's weights under a new record that says that the person's chairs were empty."""
    return _kept(scene, out, scene.base.tale.only.states)


def one_ulp(scene: Scene, out: Path) -> Handed:
    """6 (b): the same, with one weight moved to the next number that there is in every state that must differ."""
    touched = _first_touched(scene)
    states = scene.base.tale.only.states
    return _kept(
        scene, out, {step: moved_by_one_ulp(state) if step > touched else state for step, state in states.items()}
    )


def fine_tuned(scene: Scene, out: Path) -> Handed:
    """7: fine-tuned on everybody else, and told as a retraining from nothing, through states on the way there."""
    story, states = scene.story, scene.base.tale.only.states
    tuned = scene.forgot(scene.base.run, "fine-tuned", [PERSON], method="fine-tune")
    goal = as_model_part(read_tensors(tuned.path / "model.safetensors"))
    told = _with_states(story.tale.only, scene.base.tale.only, led_to(goal, states, _first_touched(scene)))
    retold = story.retold(
        story.tale.with_shard(told),
        operation=Operation.RETRAIN,
        algorithm__name="retrain",
        algorithm__fields={},
        reuse=tuple(replace(reuse, step=0, leaf=None) for reuse in story.record.reuse),
    )
    return scene.hand_over(retold, out)


def trained_as(change: Callable[[Recipe], Recipe]) -> Callable[[Scene, Path], Handed]:
    """The committed recipe is named, and another one was carried out."""

    def make(scene: Scene, out: Path) -> Handed:
        story, told = scene.base, scene.base.tale.only
        done = enact(story.run, told.states.keys(), recipe=change(story.run.recipe))
        tale = story.tale.with_shard(replace(told, states=done.states, losses=done.losses))
        return scene.hand_over(story.retold(tale), out)

    return make


def with_optimiser(**fields: float) -> Callable[[Recipe], Recipe]:
    """A recipe with another rate, momentum or decay."""
    return lambda recipe: replace(recipe, optimiser=replace(recipe.optimiser, **fields))


def in_half_precision(recipe: Recipe) -> Recipe:
    """The same in bfloat16."""
    return replace(recipe, precision=Precision.BFLOAT16)


def other_optimiser_state(scene: Scene, out: Path) -> Handed:
    """15: a checkpoint's momentum was altered after its leaf was signed."""
    return _file_altered(scene, scene.story, "optimiser.", out)


def other_buffers(scene: Scene, out: Path) -> Handed:
    """15: running means of a batch norm were altered after the leaf was signed."""
    return _file_altered(scene, scene.normed, MODEL_PREFIX, out)


def signed_optimiser_state(scene: Scene, out: Path) -> Handed:
    """15 (b): the momentum was altered first, and the leaf is signed over it."""
    return _leaf_signed(scene, scene.story, "optimiser.", out)


def signed_buffers(scene: Scene, out: Path) -> Handed:
    """15 (b): the running means were altered first, and the leaf is signed over them."""
    return _leaf_signed(scene, scene.normed, MODEL_PREFIX, out)


def moved_by_one_ulp(state: Mapping[str, torch.Tensor]) -> Tensors:
    """The same state with the first weight of its first tensor at the next float32."""
    name = min(name for name in state if name.startswith(MODEL_PREFIX))
    value = state[name].clone()
    flat = value.reshape(-1)
    flat[0] = torch.nextafter(flat[0], torch.tensor(float("inf")))
    return {**state, name: value}


def led_to(goal: Mapping[str, torch.Tensor], states: Mapping[int, Tensors], since: int) -> dict[int, Tensors]:
    """States whose weights are bent more and more behind step ``since``, until the last has those of ``goal``."""
    last = max(states)
    way = {name: value - states[last][name] for name, value in goal.items()}
    found = dict(states)
    for step, state in states.items():
        if step > since:
            share = (step - since) / (last - since)
            bent = {name: state[name] + share * apart for name, apart in way.items()}
            found[step] = {**state, **(goal if step == last else bent)}
    return found


def _first_touched(scene: Scene) -> int:
    """The first step that held the person: no state behind it may be the original's."""
    (reuse,) = scene.story.record.reuse
    assert reuse.first_touched is not None
    return reuse.first_touched


def _kept(scene: Scene, out: Path, states: Mapping[int, Tensors]) -> Handed:
    """The forgotten run's record over states of the original; its trace says who was present without the person."""
    story = scene.story
    tale = story.tale.with_shard(_with_states(story.tale.only, scene.base.tale.only, states))
    return scene.hand_over(story.retold(tale), out)


def _with_states(told: ShardTale, original: ShardTale, states: Mapping[int, Tensors]) -> ShardTale:
    return replace(told, losses=original.losses, states=states)


def _altered(story: RunStory, prefix: str) -> tuple[int, Tensors]:
    """A step in the middle, and its state with other numbers in what the weights do not show."""
    states, buffers = story.tale.only.states, story.tale.buffers
    step = sorted(states)[len(states) // 2]
    state = dict(states[step])
    names = (
        [f"{MODEL_PREFIX}{name}" for name in buffers]
        if prefix == MODEL_PREFIX
        else [n for n in state if n.startswith(prefix)]
    )
    name = next(name for name in sorted(names) if state[name].is_floating_point() and state[name].dim() > 0)
    state[name] = state[name] * 1.5
    return step, state


def _file_altered(scene: Scene, story: RunStory, prefix: str, out: Path) -> Handed:
    step, state = _altered(story, prefix)
    return scene.hand_over(story.with_files({checkpoint_name(0, step): saved(state)}), out)


def _leaf_signed(scene: Scene, story: RunStory, prefix: str, out: Path) -> Handed:
    return scene.hand_over(story.with_state(*_altered(story, prefix)), out)
