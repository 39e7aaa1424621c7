"""The step runner: any piece of any plan; what stops a loop, and what may watch its passes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.data.dataset import Dataset
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Part, Plan, Role, StatedPlan, Step, TrainingPlan
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.tasks import TASKS
from expunge.train.examples import Examples
from expunge.train.loop import Hooks, LoopEnd, Recorder, carry_out
from expunge.train.meter import Meter
from expunge.train.objective import Loss, StepBatch, training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import pinned
from expunge.train.segment import StepRunner, StepSeen
from expunge.train.state import Tensors, copied, tensors_digest
from expunge.train.training import make_recipe

CPU = torch.device("cpu")
NOBODY = np.zeros(0, dtype=np.int64)


class Problem:
    """A small training of two shards, of which one is carried out."""

    def __init__(self, pictures: Dataset) -> None:
        options = {"norm": "batch", "dropout": 0.2, "width": 8}
        self.recipe: Recipe = make_recipe(
            pictures, model="mlp", model_options=options, epochs=2, batch_size=16, shards=2
        )
        self.schedule = Schedule.of(self.recipe, bytes(32), number_units(pictures.subjects))
        self.examples = Examples(self.recipe, pictures, CPU)
        self.plan = TrainingPlan(self.recipe, self.schedule, 1, NOBODY)

    def runner(self) -> StepRunner:
        return StepRunner(self.recipe, self.examples, build(self.recipe, self.schedule.seed, 1))

    def whole(self) -> dict[int, tuple[bytes, list[StepSeen]]]:
        """By step the state's digest and what was seen of the step before it."""
        found: dict[int, tuple[bytes, list[StepSeen]]] = {}

        def look(step: int, state: Tensors, seen: list[StepSeen]) -> None:
            found[step] = (tensors_digest(state), seen)

        with pinned(self.recipe):
            self.runner().run(self.plan, look=look, at=range(self.plan.total + 1), gradients=True)
        return found


@pytest.fixture(scope="module")
def problem(pictures: Dataset) -> Problem:
    return Problem(pictures)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (3, 3), (2, 7), (5, None)])
def test_a_piece_is_what_the_whole_has_there(problem: Problem, start: int, end: int | None) -> None:
    """From a state of the way to a state of the way, at the rates of the whole; nothing else is carried out."""
    whole, total = problem.whole(), problem.plan.total
    states: dict[int, Tensors] = {}
    shown: list[tuple[int, bytes, list[StepSeen]]] = []
    moved: list[tuple[int, int]] = []
    with pinned(problem.recipe):
        problem.runner().run(
            problem.plan, 0, start, look=lambda step, state, seen: states.update({step: copied(state)})
        )
        runner = problem.runner()
        runner.take_up(states[start], "here")
        runner.run(
            problem.plan,
            start,
            end,
            look=lambda step, state, seen: shown.append((step, tensors_digest(state), seen)),
            at={start + 1},
            gradients=True,
            progress=lambda done, of: moved.append((done, of)),
        )
    last = total if end is None else end
    expected = sorted({start + 1, last} & set(range(start, last + 1)))
    assert [step for step, _, _ in shown] == expected
    assert all(digest == whole[step][0] for step, digest, _ in shown)
    seen = [one for _, _, found in shown for one in found]
    assert seen == [one for step in range(start + 1, last + 1) for one in whole[step][1]]
    assert moved == [(done, last) for done in range(start + 1, last + 1)]
    rows = sum(len(problem.plan.step(index).parts[Role.RETAIN].slots) for index in range(start, last))
    assert runner.meter.example_steps == rows


def test_stated_steps_and_other_rows(problem: Problem) -> None:
    """Any plan, and other rows than the runner's own: the third step once more, stated by hand."""
    whole = problem.whole()
    step = problem.plan.step(2)
    stated = StatedPlan(1, problem.schedule.seed, (step.parts[Role.RETAIN],), (step.rate,), first=2)
    assert stated.step(2) == step
    darker = problem.examples.only(np.arange(150))
    darker.inputs = problem.examples.inputs // 2
    with pinned(problem.recipe):
        runner = problem.runner()
        runner.run(problem.plan, 0, 2)
        before = copied(runner.state)
        runner.run(stated, 2, examples=darker)
        other = tensors_digest(runner.state)
        runner.take_up(before, "here")
        runner.run(stated, 2)
    assert tensors_digest(runner.state) == whole[3][0] != other
    with pytest.raises(RunError, match="there: tensors"):
        runner.take_up({}, "there")


# Hooks.stop.


def trained(problem: Problem, hooks: Hooks, recorder: Recorder | None = None) -> tuple[LoopEnd, nn.Module]:
    model = build(problem.recipe, problem.schedule.seed, 1).train()
    with pinned(problem.recipe):
        outcome = carry_out(
            problem.plan,
            student=model,
            objective=training_objective,
            optimiser=make_optimiser(problem.recipe.optimiser, model),
            recipe=problem.recipe,
            task=TASKS[problem.recipe.task],
            examples=problem.examples,
            meter=Meter(),
            hooks=hooks,
            recorder=recorder,
        )
    return outcome, model


def test_the_loop_ends_after_the_step_that_is_named(problem: Problem) -> None:
    asked: list[int] = []

    def stop(done: int) -> str | None:
        asked.append(done)
        return "three are enough" if done == 3 else None

    outcome, _ = trained(problem, Hooks(stop=stop))
    assert outcome == LoopEnd(3, "three are enough")
    assert asked == [0, 1, 2, 3]
    assert trained(problem, Hooks(stop=lambda done: "nothing to do"))[0] == LoopEnd(0, "nothing to do")
    assert trained(problem, Hooks(stop=lambda done: None))[0] == LoopEnd(problem.plan.total)


def test_a_stop_of_ones_own_ends_the_step_runner_and_is_its_reason(problem: Problem) -> None:
    """After the step named, with the state of there; the end that was asked for is said where it comes first."""
    hooks = Hooks(stop=lambda done: "three are enough" if done == 3 else None)
    with pinned(problem.recipe):
        runner = problem.runner()
        assert runner.run(problem.plan, hooks=hooks) == LoopEnd(3, "three are enough")
        assert tensors_digest(runner.state) == problem.whole()[3][0]
        assert problem.runner().run(problem.plan, end=3, hooks=hooks) == LoopEnd(3, "three are enough")
        assert problem.runner().run(problem.plan, end=2, hooks=hooks) == LoopEnd(2, "steps 0 to 2 were asked for")
        assert problem.runner().run(problem.plan) == LoopEnd(problem.plan.total)


# Watching.


class Watch(Recorder):
    """What goes into the first dense layer and what comes back, by slot, a step at a time."""

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer
        self.now: list[Part] = []
        self.factors: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self.apart: list[float] = []
        self.visits: list[list[int]] = []

    @contextmanager
    def watching(self, model: nn.Module, part: Part) -> Generator[None]:
        def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if self.now[-1] is not part:
                return
            came, slots = inputs[0].detach(), part.slots.tolist()
            output.register_hook(lambda back: self.factors.extend(zip(slots, came, back, strict=True)))

        self.now.append(part)
        try:
            with self.layer.register_forward_hook(note):
                yield
        finally:
            self.now.pop()

    def before_update(self, student: nn.Module) -> None:
        assert not self.now
        assert self.layer.weight.grad is not None
        total = torch.stack([torch.outer(back, came) for _, came, back in self.factors]).sum(0)
        gradient = self.layer.weight.grad
        self.apart.append(float((total - gradient).abs().max() / gradient.abs().max()))
        self.visits.append(sorted(slot for slot, _, _ in self.factors))
        self.factors.clear()


def first_dense(model: nn.Module) -> nn.Linear:
    return next(module for module in model.modules() if isinstance(module, nn.Linear))


def test_what_is_watched_sums_to_the_gradient_and_changes_no_bit(problem: Problem) -> None:
    with pinned(problem.recipe):
        runner = problem.runner()
        watch = Watch(first_dense(runner.model))
        runner.run(problem.plan, recorder=watch)
    assert tensors_digest(runner.state) == problem.whole()[problem.plan.total][0]
    members = [problem.plan.step(index).parts[Role.RETAIN].slots for index in range(problem.plan.total)]
    assert watch.visits == [sorted(slots.tolist()) for slots in members]
    assert max(watch.apart) < 1e-6


class Both:
    """A plan whose steps have a forget part too: the members of the step after it."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.shard, self.seed, self.total = plan, plan.shard, plan.seed, 2

    def purpose(self, kind: str, role: Role) -> str:
        return f"{kind}/{role.value}"

    def step(self, index: int) -> Step:
        step, after = self.plan.step(index), self.plan.step(index + 1)
        return replace(step, parts={Role.RETAIN: step.parts[Role.RETAIN], Role.FORGET: after.parts[Role.RETAIN]})


def test_two_parts_of_a_step_are_told_apart(problem: Problem) -> None:
    """Passes of one model over two parts lie within one another until both have gone backward."""

    def objective(student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        return batch.retain_loss(student) - 0.5 * batch.forget_loss(student)

    with pinned(problem.recipe):
        runner = StepRunner(
            problem.recipe, problem.examples, build(problem.recipe, problem.schedule.seed, 1), objective=objective
        )
        watch = Watch(first_dense(runner.model))
        runner.run(Both(problem.plan), recorder=watch)
    expected = [
        sorted(slot for at in (index, index + 1) for slot in problem.plan.step(at).parts[Role.RETAIN].slots.tolist())
        for index in range(2)
    ]
    assert watch.visits == expected
    assert max(watch.apart) < 1e-6


def test_a_pass_that_fails_leaves_nothing_behind(problem: Problem) -> None:
    with pinned(problem.recipe):
        runner = problem.runner()
        watch = Watch(first_dense(runner.model))
        handle = runner.model.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("broken")))
        with pytest.raises(RunError, match="broken"):
            runner.run(problem.plan, recorder=watch)
        handle.remove()
    assert not watch.now
    assert not watch.layer._forward_hooks
