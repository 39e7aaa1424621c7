"""Three full-batch steps of each sound public definition, written out from its formula, equal ours to 1e-10.

A small network in float64, plain descent (SGD without momentum and decay) unless the definition is about the step
itself. What is compared are definitions, as the specification states them; no code of others is run.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.methods.contract import Parent
from expunge.methods.lookup import find_method
from expunge.methods.random_labels import draw_labels
from expunge.schedule.recipe import Calendar, OptimiserName

FORGET = np.arange(12) * 7
STEPS, RATE = 3, 1.0
PLAIN: dict[str, Any] = {
    "rate": RATE,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.SGD,
    "batch_size": 1000,
    "epochs": STEPS,
}


@dataclass
class Hand:
    """Rows, labels, and the models that a formula may name."""

    parent: Parent
    student: nn.Module
    original: nn.Module
    step: int = 0
    forget: torch.Tensor = field(default_factory=lambda: torch.from_numpy(FORGET))

    @property
    def retain(self) -> torch.Tensor:
        return torch.from_numpy(np.setdiff1d(np.arange(len(self.parent.examples)), FORGET))

    def rows(self, slots: torch.Tensor) -> torch.Tensor:
        return self.parent.examples.inputs[slots]

    def own(self, slots: torch.Tensor) -> torch.Tensor:
        return self.parent.examples.labels[slots]

    def cross_entropy(self, slots: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        logits = self.student(self.rows(slots))
        wanted = self.own(slots) if labels is None else labels
        return -torch.log_softmax(logits, dim=1)[torch.arange(len(slots)), wanted].mean()

    def pull(self, slots: torch.Tensor, teacher: nn.Module, temperature: float = 1.0) -> torch.Tensor:
        """Σ_c t log(t/p), mean over rows."""
        with torch.no_grad():
            target = torch.softmax(teacher(self.rows(slots)) / temperature, dim=1)
        belief = torch.log_softmax(self.student(self.rows(slots)) / temperature, dim=1)
        return (target * (target.log() - belief)).sum(dim=1).mean()

    def drawn(self, epoch: int, choices: int = 3) -> torch.Tensor:
        parent = self.parent
        request = unlearning_digest(parent.recipe.digest, bytes.fromhex(parent.weights_digest), 0)
        seed = lineage_seed(request, parent.root, parent.beacon)
        return torch.from_numpy(draw_labels(seed, epoch, len(parent.examples), choices))


def scrub(hand: Hand) -> torch.Tensor:
    """A retain pass, forgetting passes left out: γ·CE + α·T²·KL."""
    return hand.cross_entropy(hand.retain) + 0.5 * 4 * hand.pull(hand.retain, hand.original, 2.0)


def scrub_in_turns(hand: Hand) -> torch.Tensor:
    """R, F, R: as the stretches F, R, F, R without the first pass, whose slope is 0."""
    return -4 * hand.pull(hand.forget, hand.original, 2.0) if hand.step % 2 == 0 else scrub(hand)


def bad_teacher(hand: Hand) -> torch.Tensor:
    assert hand.parent.initial is not None
    count = len(hand.forget) + len(hand.retain)
    bad, good = hand.pull(hand.forget, hand.parent.initial()), hand.pull(hand.retain, hand.original)
    return len(hand.forget) / count * bad + len(hand.retain) / count * good


def decoupled(hand: Hand) -> torch.Tensor:
    """KL to the original's softmax with the right class struck out."""
    with torch.no_grad():
        target = torch.softmax(hand.original(hand.rows(hand.forget)), dim=1)
        target[torch.arange(len(hand.forget)), hand.own(hand.forget)] = 0
        target = target / target.sum(dim=1, keepdim=True)
    belief = torch.log_softmax(hand.student(hand.rows(hand.forget)), dim=1)
    return (torch.special.xlogy(target, target) - target * belief).sum(dim=1).mean()


def mixed(labels: Callable[[Hand], torch.Tensor]) -> Callable[[Hand], torch.Tensor]:
    """Cross-entropy over everybody, with other labels for the forget set."""

    def loss(hand: Hand) -> torch.Tensor:
        everybody = torch.arange(len(hand.parent.examples))
        wanted = hand.own(everybody).clone()
        wanted[hand.forget] = labels(hand)[hand.forget]
        return hand.cross_entropy(everybody, wanted)

    return loss


def wrong(hand: Hand) -> torch.Tensor:
    drawn, own = hand.drawn(0, 2), hand.parent.examples.labels
    return torch.where(drawn >= own, drawn + 1, drawn)


def shrunk(hand: Hand) -> torch.Tensor:
    inputs = hand.rows(hand.forget).clone().requires_grad_()
    losses = nn.functional.cross_entropy(hand.original(inputs), hand.own(hand.forget), reduction="sum")
    (slope,) = torch.autograd.grad(losses, inputs)
    nearest = hand.original((inputs + 0.3 * slope.sign()).clamp(0, 1)).argmax(dim=1)
    return hand.cross_entropy(hand.forget, nearest)


def sparse(hand: Hand) -> torch.Tensor:
    size = sum(parameter.abs().sum() for parameter in hand.student.parameters())
    return hand.cross_entropy(hand.retain) + 1e-3 * (1 - hand.step / STEPS) * size


CASES: list[tuple[str, dict[str, Any], Callable[[Hand], torch.Tensor]]] = [
    ("fine-tune", {}, lambda hand: hand.cross_entropy(hand.retain)),
    ("noisy-gradient-descent", {"variance": 0.0}, lambda hand: hand.cross_entropy(hand.retain)),
    ("gradient-ascent", {}, lambda hand: -hand.cross_entropy(hand.forget)),
    (
        "neggrad-plus",
        {"balance": 0.8},
        lambda hand: 0.8 * hand.cross_entropy(hand.retain) - 0.2 * hand.cross_entropy(hand.forget),
    ),
    ("random-labels", {}, mixed(lambda hand: hand.drawn(0))),
    ("successive-random-labels", {}, mixed(lambda hand: hand.drawn(hand.step))),
    ("amnesiac", {}, mixed(wrong)),
    ("l1-sparse", {}, sparse),
    ("scrub", {"forget_epochs": 0}, scrub),
    ("bad-teacher", {"retain_share": 1.0}, bad_teacher),
    ("decoupled-distillation", {}, decoupled),
    ("boundary-shrink", {"radius": 0.3}, shrunk),
    ("fine-tune-last-layers", {"layers": 1}, lambda hand: hand.cross_entropy(hand.retain)),
    ("retrain-last-layers", {"layers": 1}, lambda hand: hand.cross_entropy(hand.retain)),
    ("sign-descent", {"optimiser": OptimiserName.SIGN, "rate": 1e-3}, lambda hand: hand.cross_entropy(hand.retain)),
]


@pytest.mark.parametrize(("name", "settings", "loss"), CASES, ids=[case[0] for case in CASES])
def test_the_update_is_its_formula(
    name: str,
    settings: dict[str, Any],
    loss: Callable[[Hand], torch.Tensor],
    problem: Callable[[str], Parent],
) -> None:
    parent = problem("double")
    fields = {**PLAIN, **settings}
    found = find_method(name)(**fields)(parent, FORGET, budget=10.0)
    assert found.steps == STEPS
    student = deepcopy(parent.model)
    if name == "retrain-last-layers":
        assert parent.initial is not None
        student[-1].load_state_dict(parent.initial()[-1].state_dict())  # type: ignore[index]
    moving = list(student[-1].parameters() if "last-layers" in name else student.parameters())  # type: ignore[index]
    hand = Hand(parent, student, deepcopy(parent.model))
    for step in range(STEPS):
        hand.step = step
        gradients = torch.autograd.grad(loss(hand), moving)
        with torch.no_grad():
            for parameter, gradient in zip(moving, gradients, strict=True):
                parameter -= fields["rate"] * (gradient.sign() if name == "sign-descent" else gradient)
    for ours, theirs in zip(found.model.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    moved = max(
        float((ours - before).detach().abs().max())
        for ours, before in zip(found.model.parameters(), parent.model.parameters(), strict=True)
    )
    assert moved > 1e-4


def test_scrub_takes_turns(problem: Callable[[str], Parent]) -> None:
    """Forget, retain, forget, retain: the first pass has no slope, the other three are written out."""
    parent = problem("double")
    fields = {**PLAIN, "epochs": 2, "forget_epochs": 2, "forget_batch_size": 1000}
    found = find_method("scrub")(**fields)(parent, FORGET, budget=10.0)
    assert found.steps == 4
    student = deepcopy(parent.model)
    hand = Hand(parent, student, deepcopy(parent.model))
    moving = list(student.parameters())
    for step in (1, 2, 3):
        hand.step = step
        gradients = torch.autograd.grad(scrub_in_turns(hand), moving)
        with torch.no_grad():
            for parameter, gradient in zip(moving, gradients, strict=True):
                parameter -= RATE * gradient
    for ours, theirs in zip(found.model.parameters(), moving, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
