"""The loop, its terms and its rows against plain torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.models.resolver import build
from expunge.schedule.placement import number_units
from expunge.schedule.plan import Part, Role, TrainingPlan
from expunge.schedule.recipe import Augmentation, Optimiser, OptimiserName
from expunge.schedule.schedule import Schedule
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples, augment
from expunge.train.loop import carry_out
from expunge.train.meter import Meter
from expunge.train.objective import Loss, Term, running_statistics, training_objective
from expunge.train.optimiser import make_optimiser
from expunge.train.training import make_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", list(OptimiserName))
def test_the_loop_equals_a_bare_one(pictures: Dataset, name: OptimiserName) -> None:
    """Written out by hand over the same batches: the same bits."""
    plain = {"momentum": 0.0, "weight_decay": 0.0} if name is OptimiserName.SIGN else {}
    described = Optimiser(name=name, rate=0.01, **plain)
    recipe = make_recipe(pictures, model="cnn", epochs=2, batch_size=32, optimiser=described)
    schedule = Schedule.of(recipe, bytes(32), number_units(pictures.subjects))
    emptied = np.array([1, 5, 100])
    plan = TrainingPlan(recipe, schedule, 0, emptied)
    examples = Examples(recipe, pictures, CPU)
    own, bare = build(recipe, schedule.seed).train(), build(recipe, schedule.seed).train()
    meter = Meter()
    carry_out(
        plan,
        student=own,
        objective=training_objective,
        optimiser=make_optimiser(recipe.optimiser, own),
        recipe=recipe,
        task=Classification(),
        examples=examples,
        meter=meter,
    )
    optimiser: torch.optim.Optimizer
    if name is OptimiserName.SIGN:
        optimiser = torch.optim.SGD(bare.parameters(), lr=0.0, foreach=False)
    elif name is OptimiserName.SGD:
        optimiser = torch.optim.SGD(bare.parameters(), lr=0.0, momentum=0.9, weight_decay=5e-4, foreach=False)
    else:
        kind = torch.optim.Adam if name is OptimiserName.ADAM else torch.optim.AdamW
        optimiser = kind(bare.parameters(), lr=0.0, weight_decay=5e-4, foreach=False)
    worked = 0
    for step in range(schedule.total_steps(0)):
        slots = np.setdiff1d(schedule.chairs(0, step), emptied)
        slots = schedule.chairs(0, step)[np.isin(schedule.chairs(0, step), slots)]
        worked += len(slots)
        optimiser.param_groups[0]["lr"] = recipe.optimiser.rate_at(step, schedule.total_steps(0))
        losses = nn.functional.cross_entropy(bare(examples.inputs[slots]), examples.labels[slots], reduction="none")
        optimiser.zero_grad()
        losses.mean().backward()
        if name is OptimiserName.SIGN:
            for parameter in bare.parameters():
                parameter.grad.sign_()  # type: ignore[union-attr]
        optimiser.step()
    assert all(torch.equal(a, b) for a, b in zip(own.state_dict().values(), bare.state_dict().values(), strict=True))
    assert meter.example_steps == worked


def test_terms_of_weight_zero_are_not_computed() -> None:
    def explode() -> torch.Tensor:
        raise AssertionError("computed")

    nothing, one = Loss((Term(1.0, {"one": 30}, explode),)), Loss((Term(1.0, {"two": 3}, lambda: torch.tensor(2.0)),))
    total = 1.0 * one - 0.0 * nothing + 0 * nothing
    value = total.value()
    assert value is not None
    assert value.item() == 2.0
    assert total.thirds == 3
    assert (0.0 * one).value() is None


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_losses_add_up(first: float, second: float) -> None:
    one, two = (Loss((Term(1.0, {v: 3}, lambda v=v: torch.tensor(v, dtype=torch.float64)),)) for v in (3.0, 5.0))
    value = (first * one - second * two).value()
    assert (0.0 if value is None else value.item()) == pytest.approx(first * 3 - second * 5, abs=1e-12)


def test_the_meter_counts_in_thirds() -> None:
    meter = Meter(allowed=10)
    meter.steps(7)
    meter.forwards(2)
    assert meter.example_steps == pytest.approx(7 + 2 / 3)
    assert meter.fits(7)
    assert not meter.fits(8)
    meter.forwards(1)
    assert meter.example_steps == 8.0


def test_running_statistics_are_not_written_by_forget_passes() -> None:
    norm = nn.BatchNorm1d(3)
    rows = torch.arange(12.0).reshape(4, 3)
    with running_statistics(norm, written=False, rows=4):
        found = norm(rows)
    assert torch.equal(norm.running_mean, torch.zeros(3))  # type: ignore[arg-type]
    assert norm.num_batches_tracked.item() == 0  # type: ignore[union-attr]
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    with running_statistics(norm, written=False, rows=1):
        torch.testing.assert_close(norm(rows[:1]), rows[:1], atol=1e-4, rtol=1e-4)
    assert norm.training
    assert norm.track_running_stats
    norm(rows)
    assert norm.num_batches_tracked.item() == 1  # type: ignore[union-attr]


def slow_augment(picture: np.ndarray, word: int, flip: bool, crop: int) -> np.ndarray:
    """One picture at a time."""
    channels, height, width = picture.shape
    if flip and word >> 63:
        picture = picture[:, :, ::-1]
    if crop:
        down = ((word >> 32) & 0xFFFF) * (2 * crop + 1) >> 16
        right = ((word >> 16) & 0xFFFF) * (2 * crop + 1) >> 16
        padded = np.zeros((channels, height + 2 * crop, width + 2 * crop), dtype=picture.dtype)
        padded[:, crop : crop + height, crop : crop + width] = picture
        picture = padded[:, down : down + height, right : right + width]
    return picture


@given(st.booleans(), st.integers(0, 3), st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
def test_augmentation_equals_its_slow_twin(flip: bool, crop: int, words: list[int]) -> None:
    pictures = np.arange(len(words) * 2 * 5 * 4, dtype=np.uint8).reshape(len(words), 2, 5, 4)
    found = augment(torch.from_numpy(pictures), np.array(words, dtype=np.uint64), Augmentation(flip=flip, crop=crop))
    for row, word in enumerate(words):
        assert np.array_equal(found[row].numpy(), slow_augment(pictures[row], word, flip, crop))


def test_augmentation_is_addressed_by_slot_and_epoch(pictures: Dataset) -> None:
    recipe = make_recipe(pictures, model="mlp", augmentation=Augmentation(flip=True, crop=2))
    examples = Examples(recipe, pictures, CPU)

    def rows(slots: list[int], epoch: int) -> torch.Tensor:
        part = Part(np.array(slots), np.arange(len(slots)), len(slots), epoch, epoch)
        return examples.augmented(part, seed=bytes(32), purpose="augment", shard=0)["inputs"]

    assert torch.equal(rows([3, 9, 40], 0)[[0, 2]], rows([3, 40], 0))
    assert not torch.equal(rows(list(range(50)), 0), rows(list(range(50)), 1))


def test_rows_outside_the_guard_are_refused(pictures: Dataset, pictures_like: Callable[..., Dataset]) -> None:
    recipe = make_recipe(pictures, model="mlp")
    examples = Examples(recipe, pictures, CPU).only(np.array([1, 2, 3]))
    assert len(examples.batch(np.array([1, 3]))) == 2
    with pytest.raises(InvalidArgument, match="slot 4 was asked for but may not be read here"):
        examples.batch(np.array([1, 4]))


def test_flips_need_images(tmp_path: object) -> None:
    from expunge.data.dataset import Column, ColumnKind, make_dataset

    table = make_dataset(
        labels=[0, 1, 0, 1],
        columns=[Column("age", ColumnKind.NUMERIC)],
        content={"age": np.arange(4.0)},
        where="test",
    )
    recipe = make_recipe(table, model="mlp", augmentation=Augmentation(flip=True))
    assert recipe.least_present == 2
    with pytest.raises(InvalidArgument, match="flips and crops need images"):
        Examples(recipe, table, CPU)


def test_margins_of_the_task_equal_their_definition(pictures: Dataset) -> None:
    class Echo(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return inputs

    from expunge.tasks.task import labelled

    logits = torch.randn(20, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 4
    task = Classification()
    found = task.signals(Echo(), labelled(logits, labels))
    p = torch.softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(torch.from_numpy(found["margin"]), torch.log(p / (1 - p)), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.from_numpy(found["loss"]), -torch.log(p), rtol=1e-12, atol=1e-12)
    assert (found["correct"] == (logits.argmax(1) == labels).numpy()).all()
    torch.testing.assert_close(task.losses(Echo(), labelled(logits, labels)), -torch.log(p))
    other = task.at(Echo(), labelled(torch.zeros_like(logits), labels), logits)
    torch.testing.assert_close(other, -torch.log(p))
    assert Role.RETAIN.value == "retain"
