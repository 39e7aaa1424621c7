"""Noise and tune: without noise it is fine-tuning; where noise goes, when, and how classes are weighted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from tests.methods.conftest import make_parent
from tests.methods.shared import FORGET, RETAIN, Problem, digest, edited, given_of, on_images, plan_of, tensors
from torch import nn

from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.methods.class_weights import class_weights
from expunge.methods.contract import Need
from expunge.methods.convolutions import kernels
from expunge.methods.fine_tune import FineTune
from expunge.methods.noise_and_tune import Layers, NoiseAndTune, disturb
from expunge.methods.prune_and_match import PruneAndMatch
from expunge.schedule.plan import Role
from expunge.tasks import TASKS
from expunge.train.objective import Extras, Loss, StepBatch

SIZE = 16


@on_images
def test_noise_and_tune_without_noise_on_equal_classes_is_fine_tuning(name: str, problem: Problem) -> None:
    parent = problem(name)
    labels = parent.examples.labels.numpy()
    least = np.bincount(labels).min()
    surplus = np.concatenate([np.flatnonzero(labels == one)[least - 2 :] for one in range(3)])
    quiet = NoiseAndTune(noise=0.0, last_noise=0.0)
    plain = FineTune(rate=7e-4, epochs=4)
    assert digest(quiet, parent, forget=surplus) == digest(plain, parent, forget=surplus)
    assert digest(quiet, parent) != digest(plain, parent)  # classes of this retain set are of unequal size
    assert digest(replace(quiet, balance=0.0), parent) == digest(plain, parent)
    for noise in ("noise", "last_noise"):
        assert digest(replace(quiet, **{noise: 0.1}), parent, forget=surplus) != digest(plain, parent, forget=surplus)


# Noise.


def test_noise_on_the_stem_alone_or_everywhere(pictures: Dataset) -> None:
    parent = make_parent(pictures, model="cnn", model_options={"width": 32}, epochs=1)
    before = tensors(parent.model)
    for layers, changed in ((Layers.STEM, {"body.0.weight"}), (Layers.ALL, {"body.0.weight", "body.3.weight"})):
        after = edited(NoiseAndTune(layers=layers, epochs=0), parent)
        assert {key for key in before if not torch.equal(before[key], after[key])} == changed
        for key in changed:
            drawn = (after[key] - before[key]).flatten().double().numpy() / 0.6
            assert kstest(drawn, "norm").pvalue > 1e-3


class Watching(NoiseAndTune):
    """Notes the stem before every step that is taken."""

    noted: ClassVar[list[torch.Tensor]] = []

    def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
        if next(student.parameters()).requires_grad:
            self.noted.append(next(iter(kernels(student).values())).detach().clone())
        return super().objective(student, batch, teacher)


@pytest.mark.parametrize(("budget", "epochs"), [(5.0, 4), (0.55, 3), (0.2, 1)])
def test_the_last_noise_comes_before_the_last_planned_epoch(
    budget: float, epochs: int, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a rate that moves nothing, noise is all that does."""
    parent = problem("convolved")
    monkeypatch.setattr(Watching, "noted", [])
    method = Watching(rate=1e-30, weight_decay=0.0, last_noise=0.1)
    result = method(parent, FORGET, budget=budget)
    seen = Watching.noted[-result.steps :]  # planning asks for the cost of steps before
    each = math.ceil(len(RETAIN) / SIZE)
    assert math.ceil(result.steps / each) == epochs
    assert (result.steps % each == 0) == (budget == 5.0)
    moved = [index for index in range(1, result.steps) if not torch.equal(seen[index - 1], seen[index])]
    assert moved == ([(epochs - 1) * each] if epochs > 1 else [])
    given = given_of(parent, method.needs)
    expected = given.student()
    stem = list(kernels(expected).values())[:1]
    disturb(stem, 0.6, Stream(given.seed, "unlearn/noise", 0, 0))
    if epochs > 1:
        assert torch.equal(seen[0], stem[0])
    disturb(stem, 0.1, Stream(given.seed, "unlearn/noise", 0, 1))
    assert torch.equal(seen[-1], stem[0])


# Weights of classes, which prune-and-match uses too.


@pytest.mark.parametrize("power", [1.0, 0.1])
def test_classes_are_weighted_by_their_counts(power: float, problem: Problem) -> None:
    parent = problem("plain")
    given = given_of(parent, frozenset({Need.RETAIN}))
    labels = parent.examples.labels.numpy()[RETAIN]
    counts = np.array([sum(int(label) == one for label in labels) for one in range(3)])
    assert len(set(counts)) > 1
    by_slot = class_weights(given, power)
    assert by_slot is not None
    first = [int(RETAIN[labels == label][0]) for label in range(3)]
    weights = by_slot[first]
    assert torch.equal(by_slot[torch.from_numpy(RETAIN)], weights[torch.from_numpy(labels)])
    assert not by_slot[torch.from_numpy(FORGET)].any()
    np.testing.assert_allclose(weights.numpy(), counts.astype(float) ** -power, rtol=1e-12)
    balanced = len(labels) / (3 * counts)
    if power == 1:
        np.testing.assert_allclose(weights.numpy() / weights.sum().item(), balanced / balanced.sum(), rtol=1e-12)
    method = NoiseAndTune()
    plan = plan_of(FineTune(epochs=1), parent)
    batch = StepBatch(plan.step(0), plan, parent.examples, TASKS["classification"], Extras(slot_weights=by_slot))
    model = given.student()
    value = method.objective(model, batch, None).value()
    rows = parent.examples.batch(plan.step(0).parts[Role.RETAIN].slots)
    expected = nn.functional.cross_entropy(model(rows["inputs"]), rows["labels"], weight=weights.float())
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


def test_a_class_that_nobody_retains_has_no_weight(problem: Problem) -> None:
    parent = problem("convolved")
    labels = parent.examples.labels.numpy()
    gone = np.flatnonzero(labels == 1)
    weights = class_weights(given_of(parent, frozenset({Need.RETAIN}), gone), 1.0)
    assert weights is not None
    assert not weights[torch.from_numpy(gone)].any()
    assert bool((weights[torch.from_numpy(np.setdiff1d(np.arange(150), gone))] > 0).all())
    assert bool(weights.isfinite().all())
    for method in (NoiseAndTune(), PruneAndMatch()):
        assert digest(method, parent, forget=gone) != parent.weights_digest
