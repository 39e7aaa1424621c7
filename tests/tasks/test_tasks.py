"""Tasks: losses, their derivatives, margins and beliefs, against autograd and a loop over rows and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.errors import UnsupportedYet
from expunge.core.statistics import margins as signals
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.records.catalogue import LINEAR_TASKS, NUMBER_TASKS, TASK_NAMES
from expunge.schedule.recipe import Recipe
from expunge.tasks import TASKS
from expunge.tasks.linear import LinearTask, Logistic, Squared
from expunge.tasks.task import ClassTask, labelled

SCORES = torch.from_numpy(np.random.default_rng(5).normal(0, 3, (20, 4)))
LABELS = torch.from_numpy(np.random.default_rng(6).integers(0, 4, 20))
ROWS = labelled(SCORES, LABELS)
LINEAR = [TASKS[name] for name in LINEAR_TASKS]
OF_CLASSES = [task for task in TASKS.values() if isinstance(task, ClassTask)]


def by_name(task: object) -> str:
    return getattr(task, "name", str(task))


def test_the_catalogue_names_every_task() -> None:
    """The catalogue imports no torch, so it holds the names alone."""
    assert tuple(TASKS) == TASK_NAMES
    assert {name for name, task in TASKS.items() if isinstance(task, LinearTask)} == set(LINEAR_TASKS)
    assert {name for name, task in TASKS.items() if not isinstance(task, ClassTask)} == set(NUMBER_TASKS)


def slow(name: str, scores: list[float], label: int) -> float:
    """One example's loss by its definition."""
    if name == "classification":
        return math.log(sum(math.exp(score) for score in scores)) - scores[label]
    if name == "squared":
        return sum(0.5 * (score - (column == label)) ** 2 for column, score in enumerate(scores))
    return sum(math.log(1 + math.exp(-score if column == label else score)) for column, score in enumerate(scores))


@pytest.mark.parametrize("task", OF_CLASSES, ids=by_name)
def test_losses_by_hand(task: ClassTask) -> None:
    expected = [slow(task.name, row, label) for row, label in zip(SCORES.tolist(), LABELS.tolist(), strict=True)]
    assert task.losses(nn.Identity(), ROWS).tolist() == pytest.approx(expected, abs=1e-12)
    assert task.loss_of(SCORES.bfloat16(), ROWS).dtype == torch.float32
    moved = task.at(nn.Identity(), labelled(torch.zeros(20, 4), LABELS), SCORES)
    assert moved.tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("task", LINEAR, ids=by_name)
def test_derivatives_equal_autograd(task: LinearTask) -> None:
    scores = SCORES.clone().requires_grad_()
    (first,) = torch.autograd.grad(task.each(scores, LABELS).sum(), scores, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), scores) if first.requires_grad else (torch.zeros_like(scores),)
    torch.testing.assert_close(task.slopes(SCORES, LABELS), first.detach(), rtol=0, atol=1e-12)
    torch.testing.assert_close(task.curvatures(SCORES, LABELS), second, rtol=0, atol=1e-12)


@pytest.mark.parametrize("task", LINEAR, ids=by_name)
def test_the_second_derivative_moves_no_faster_than_stated(task: LinearTask) -> None:
    scores = torch.linspace(-8, 8, 4001, dtype=torch.float64)[:, None].expand(-1, 2)
    curvatures = task.curvatures(scores, torch.zeros(4001, dtype=torch.long))[:, 0]
    steepest = float((curvatures.diff() / scores[:, 0].diff()).abs().max())
    assert steepest <= task.lipschitz + 1e-12
    if isinstance(task, Logistic):
        assert steepest == pytest.approx(1 / (6 * math.sqrt(3)), abs=1e-4)


def test_extreme_scores_stay_finite() -> None:
    rows = labelled(torch.tensor([[1e4, -1e4], [-1e4, 1e4]], dtype=torch.float64), torch.tensor([0, 0]))
    for task in TASKS.values():
        assert bool(torch.isfinite(task.losses(nn.Identity(), rows)).all())
        assert all(np.isfinite(values).all() for values in task.signals(nn.Identity(), rows).values())


@pytest.mark.parametrize("task", OF_CLASSES, ids=by_name)
def test_signals_are_those_of_the_beliefs(task: ClassTask) -> None:
    """What a probe computes from the beliefs in NumPy is what the task says, bit for bit, of any of the rows."""
    rows, labels = labelled(SCORES.float(), LABELS), LABELS.numpy()
    told = task.signals(nn.Identity(), rows)
    found, beliefs = told["margin"], task.beliefs(SCORES.float().double()).numpy()
    assert {name: values.dtype for name, values in told.items()} == dict.fromkeys(told, np.dtype(np.float64))
    wanted = {
        "beliefs": beliefs,
        "loss": signals.losses(beliefs, labels),
        "margin": signals.margins(beliefs, labels),
        "correct": signals.correct(beliefs, labels),
    }
    assert told.keys() == wanted.keys()
    for start, end in ((0, 20), (3, 4), (5, 18)):
        part = task.signals(nn.Identity(), rows.take(slice(start, end)))
        assert all(np.array_equal(part[name], values[start:end]) for name, values in wanted.items())
    probabilities = signals.probabilities(beliefs)
    own = probabilities[np.arange(20), LABELS.numpy()]
    assert found.tolist() == pytest.approx(np.log(own / (1 - own)).tolist(), abs=1e-8)
    assert (beliefs.argmax(axis=1) == SCORES.numpy().argmax(axis=1)).all()


def test_beliefs_by_hand() -> None:
    """One against all: each class's own probability over their sum; squared: the posterior of unit Gaussians."""
    alone = 1 / (1 + np.exp(-SCORES.numpy()))
    normalised = alone / alone.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(signals.probabilities(Logistic().beliefs(SCORES).numpy()), normalised, atol=1e-12)
    codes = np.eye(4)
    likelihood = np.exp(-0.5 * ((SCORES.numpy()[:, None] - codes) ** 2).sum(axis=2))
    posterior = likelihood / likelihood.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(signals.probabilities(Squared().beliefs(SCORES).numpy()), posterior, atol=1e-12)


@pytest.mark.parametrize("name", LINEAR_TASKS)
def test_shards_are_refused_where_softmax_means_nothing(name: str) -> None:
    inputs = Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 255),))
    with pytest.raises(UnsupportedYet, match=r"with 2 shards.*mean of softmax.*use one shard"):
        Recipe(inputs=inputs, classes=(0, 1), task=name, shards=2)
    assert Recipe(inputs=inputs, classes=(0, 1), task=name, slices=3).slices == 3


def test_a_batch_takes_and_replaces_with_its_slots() -> None:
    rows = labelled(SCORES, LABELS, torch.arange(20) + 100)
    some = rows.take(torch.tensor([7, 3, 3]))
    assert torch.equal(some["inputs"], SCORES[[7, 3, 3]])
    assert torch.equal(ClassTask.labels(some), LABELS[[7, 3, 3]])
    assert some.slots is not None
    assert some.slots.tolist() == [107, 103, 103]
    cut = rows.take(slice(18, 25))
    assert (len(cut), cut.of_slots(torch.arange(200.0)).tolist()) == (2, [118.0, 119.0])
    other = rows.replace(labels=torch.zeros_like(LABELS))
    assert other.slots is rows.slots
    assert other["inputs"] is SCORES
    assert not ClassTask.labels(other).any()
    assert torch.equal(ClassTask.labels(rows), LABELS)
    with pytest.raises(AssertionError, match="no data set"):
        labelled(SCORES, LABELS).of_slots(torch.zeros(20))
