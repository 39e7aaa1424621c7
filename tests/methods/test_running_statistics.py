"""Running statistics of batch norms: who writes them, who takes them anew, and steps too small for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.methods.shared import FORGET, passes, plan_of, statistics
from torch import nn

from expunge.methods.contract import Parent
from expunge.methods.lookup import make_method
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.schedule.plan import Role
from expunge.train.objective import running_statistics
from expunge.train.state import weights_digest


def test_forget_passes_do_not_write_running_statistics(normed: Parent) -> None:
    """Only gradient ascent as published does, because it says so."""

    def buffers(name: str, **settings: str) -> list[torch.Tensor]:
        result = make_method(name, {"rate": "0.001", **settings})(normed, FORGET, budget=0.3)
        return statistics(result.model)

    original = statistics(normed.model)

    def same(found: list[torch.Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(original, found, strict=True))

    assert original
    assert same(buffers("gradient-ascent"))
    assert not same(buffers("fine-tune"))
    assert not same(buffers("gradient-ascent", batch_norm="as-published"))
    plus = make_method("neggrad-plus")(normed, FORGET, budget=0.3)
    assert passes(plus.model) == [count + plus.steps for count in passes(normed.model)]


def test_unwritten_passes_leave_every_kind_of_running_statistic() -> None:
    for kind, shape in ((nn.BatchNorm1d, (6, 3)), (nn.InstanceNorm1d, (6, 3, 4))):
        norm = kind(3, track_running_stats=True)
        before = {name: value.clone() for name, value in norm.state_dict().items()}
        with running_statistics(norm, written=False, rows=6):
            norm(torch.randn(shape, requires_grad=True)).sum().backward()
        assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
        norm(torch.randn(shape))
        assert not torch.equal(norm.running_mean, before["running_mean"])


def test_mixed_labels_with_fresh_statistics_hold_none_of_the_forget_set(normed: Parent) -> None:
    result = make_method("random-labels", {"recalibrate": "true"})(normed, FORGET, budget=0.5)
    assert "batch-norm statistics of the forget set" not in result.seen
    assert any("are taken anew from" in notice for notice in result.notices)


def test_recalibration_takes_a_tenth_of_the_budget_in_whole_batches(normed: Parent) -> None:
    """Training is 600 example-steps here: half of it leaves 30 for statistics, 90 rows, five batches of 16."""
    fine = make_method("fine-tune", {"recalibrate": "true"})(normed, FORGET, budget=0.5)
    assert "batch-norm statistics are taken anew from 80 retained rows" in fine.notices
    none = make_method("fine-tune", {"recalibrate": "true"})(normed, FORGET, budget=0.05)
    assert "batch-norm statistics are those of the original" in none.notices[-1]


def test_a_retain_set_too_small_for_a_step_is_zero_steps(normed: Parent) -> None:
    everybody = np.arange(150)
    result = make_method("fine-tune")(replace(normed, emptied=everybody[20:]), everybody[:19], budget=1.0)
    assert (result.steps, result.cost.example_steps) == (0, 0)
    assert weights_digest(result.model) == normed.weights_digest


def test_a_lone_retain_row_does_not_leave_ascent_alone(normed: Parent) -> None:
    """129 retained rows in batches of 16 end on one, which a batch norm cannot take: the whole step is left out."""
    forget = np.arange(21)
    method = make_method("neggrad-plus", {"balance": "0.5"})
    assert isinstance(method, NegGradPlus)
    plan = plan_of(replace(method, epochs=2), normed, forget)
    sizes = [{role: len(part.slots) for role, part in plan.step(index).parts.items()} for index in range(plan.total)]
    assert plan.total == 18
    assert all(set(parts) in ({Role.RETAIN, Role.FORGET}, set()) for parts in sizes)
    assert sizes[8] == sizes[17] == {}
