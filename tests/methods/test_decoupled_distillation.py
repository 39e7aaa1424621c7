"""Decoupled distillation: whose statistics it passes on, and what is left of a belief."""

from __future__ import annotations

import pytest
import torch
from tests.methods.shared import FORGET, Problem
from torch import nn
from torch.nn import functional

from expunge.methods.batch_norm import batch_norms
from expunge.methods.contract import Parent
from expunge.methods.decoupled_distillation import DecoupledDistillation
from expunge.methods.gradient_ascent import BatchNormMode
from expunge.schedule.recipe import Calendar
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch


def test_decoupled_distillation_passes_on_the_running_statistics(
    normed: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless as published: then a batch of forgotten rows is normed by itself."""
    modes: set[bool] = set()

    class Watching(Classification):
        def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            if torch.is_grad_enabled():
                modes.update(module.training for module in batch_norms(model))
                assert model.training  # dropout goes on
            return super().outputs(model, batch)

    monkeypatch.setitem(TASKS, "classification", Watching())
    for mode, expected in ((BatchNormMode.EVAL, {False}), (BatchNormMode.AS_PUBLISHED, {True})):
        modes.clear()
        DecoupledDistillation(epochs=2, batch_norm=mode)(normed, FORGET, budget=2.0)
        assert modes == expected


def test_decoupled_distillation_keeps_the_rest_of_the_belief(problem: Problem) -> None:
    """Carried on, the right class vanishes and the other two keep their odds."""
    parent = problem("double")
    method = DecoupledDistillation(rate=0.05, epochs=400, calendar=Calendar.CONSTANT, weight_decay=0)
    model = method(parent, FORGET[:2], budget=10.0).model
    rows = parent.examples.batch(FORGET[:2])
    with torch.no_grad():
        before, after = (one(rows["inputs"]).softmax(1) for one in (parent.model, model))
    wrong = functional.one_hot(rows["labels"], 3) == 0
    rest = before[wrong].reshape(2, 2)
    assert float(after[~wrong].max()) < 0.05 < float(before[~wrong].min())
    found = after[wrong].reshape(2, 2)
    torch.testing.assert_close(found / found.sum(1, keepdim=True), rest / rest.sum(1, keepdim=True), rtol=0, atol=1e-3)
