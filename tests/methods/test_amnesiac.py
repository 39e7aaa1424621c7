"""Amnesiac labels: never the right one, uniform, drawn once, and what they pull towards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from tests.methods.shared import FORGET, RETAIN, digest, given_of
from torch.nn import functional

from expunge.methods.contract import Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.random_labels import Amnesiac, LabelOrder, RandomLabels, draw_labels
from expunge.schedule.plan import Walk
from expunge.schedule.recipe import OptimiserName
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch


def labelled(parent: Parent, method: RandomLabels, epoch: int = 0) -> torch.Tensor:
    """The labels that the method gives to every row in an epoch."""
    rows = parent.examples.batch(np.arange(len(parent.examples)))
    return method.relabel(given_of(parent, method.needs))(rows, epoch)["labels"]


def test_no_drawn_label_is_right(parent: Parent) -> None:
    labels, true = labelled(parent, Amnesiac()), parent.examples.labels
    assert bool((labels[FORGET] != true[FORGET]).all())
    assert torch.equal(labels[RETAIN], true[RETAIN])
    assert torch.equal(labelled(parent, Amnesiac(), 2), labels)
    assert bool(((labels >= 0) & (labels < 3)).all())
    assert bool((labelled(parent, RandomLabels())[FORGET] == true[FORGET]).any())  # drawn from all classes


@pytest.mark.parametrize("classes", [2, 5])
def test_wrong_labels_are_uniform(classes: int) -> None:
    method = Amnesiac()
    assert method.choices(classes) == classes - 1
    for own in range(classes):
        drawn = torch.from_numpy(draw_labels(bytes([own]) * 32, 0, 20_000, method.choices(classes)))
        counts = np.bincount(method.label(drawn, torch.full((20_000,), own)).numpy(), minlength=classes)
        assert counts[own] == 0
        assert counts.sum() == 20_000
        if classes > 2:
            assert chisquare(np.delete(counts, own)).pvalue > 1e-4


def test_the_expected_gradient_of_wrong_labels() -> None:
    """p − (1 − y)/(C − 1) on the logits, over all draws."""
    method, classes = Amnesiac(), 6
    logits = torch.randn(4, classes, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    own = torch.tensor([0, 5, 2, 2])
    total = torch.zeros_like(logits)
    for draw in range(method.choices(classes)):
        labels = method.label(torch.full((4,), draw), own)
        total += torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), logits)[0]
    spread = (1 - functional.one_hot(own, classes).double()) / (classes - 1)
    torch.testing.assert_close(total / (classes - 1), (logits.softmax(1) - spread).detach(), rtol=1e-12, atol=1e-12)


def test_amnesiac_trains_on_the_labels_that_it_drew(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row under one label through all epochs, retained rows under their own."""
    seen: dict[bytes, set[int]] = {}

    class Watching(Classification):
        def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            for row, label in zip(batch["inputs"], batch["labels"], strict=True):
                seen.setdefault(row.numpy().tobytes(), set()).add(int(label))
            return super().loss_of(outputs, batch)

    monkeypatch.setitem(TASKS, "classification", Watching())
    expected = labelled(parent, Amnesiac())
    for order in LabelOrder:
        seen.clear()
        Amnesiac(order=order)(parent, FORGET, budget=1.0)
        for slot, row in enumerate(parent.examples.inputs):
            assert seen[row.numpy().tobytes()] == {int(expected[slot])}


def test_true_labels_make_amnesiac_plain_training(parent: Parent) -> None:
    class Everybody(FineTune):
        name = "everybody"
        needs = Amnesiac.needs

        @property
        def walk(self) -> Walk:
            return Walk.MIXED

    class Honest(Amnesiac):
        name = "honest"

        def label(self, drawn: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
            return own

    plain = Everybody(rate=1e-4, epochs=3, optimiser=OptimiserName.ADAM)
    assert digest(Honest(), parent, 2.0) == digest(plain, parent, 2.0)
    assert digest(Amnesiac(), parent, 2.0) != digest(plain, parent, 2.0)
