"""The divergence that teachers pull by: its scale, its gradient, and no gradient at all between equals."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from expunge.methods.divergence import divergence


def logits(rows: int = 7, classes: int = 10, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (3 * torch.randn(rows, classes, generator=generator, dtype=torch.float64) for _ in range(2))
    return student.requires_grad_(), teacher


def test_divergence_is_summed_over_classes_and_averaged_over_rows() -> None:
    """The default of ``F.kl_div`` divides by the classes too: ten times too small."""
    student, teacher = logits()
    ours = divergence(teacher, student).mean()
    log_p, log_t = student.log_softmax(1), teacher.log_softmax(1)
    by_hand = (log_t.exp() * (log_t - log_p)).sum() / 7
    torch.testing.assert_close(ours, by_hand, rtol=1e-12, atol=1e-12)
    defective = functional.kl_div(log_p, log_t, log_target=True, reduction="none").mean()
    assert float((ours / defective).detach()) == pytest.approx(10, rel=1e-9)


def test_divergence_gradients() -> None:
    """(p − t)/B on the logits."""
    student, teacher = logits()
    (found,) = torch.autograd.grad(divergence(teacher, student).mean(), student)
    expected = (student.softmax(1) - teacher.softmax(1)) / 7
    torch.testing.assert_close(found, expected.detach(), rtol=1e-12, atol=1e-12)
    struck = teacher.clone()
    struck[:, 2] = -torch.inf
    (found,) = torch.autograd.grad(divergence(struck, student).mean(), student)
    torch.testing.assert_close(found, ((student.softmax(1) - struck.softmax(1)) / 7).detach(), rtol=1e-12, atol=1e-12)
    assert bool((struck.softmax(1)[:, 2] == 0).all())
    assert bool(divergence(struck, student).isfinite().all())


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_beliefs_give_no_gradient_at_all(kind: torch.dtype) -> None:
    """Through a log-softmax, rounding errors are left."""
    generator = torch.Generator().manual_seed(1)
    values = (8 * torch.randn(500, 10, generator=generator)).to(kind).requires_grad_()
    teacher = values.detach()
    (found,) = torch.autograd.grad(divergence(teacher / 3, values / 3).mean(), values)
    assert not found.any()
    usual = functional.kl_div(values.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    (found,) = torch.autograd.grad(usual, values)
    assert found.any()
