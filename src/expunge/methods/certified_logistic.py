"""Certified removal from a linear head by Newton steps, with an account of what they may leave."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from expunge.core.errors import UnsupportedEver
from expunge.core.values import Certified, Empirical, Guarantee
from expunge.methods.contract import Given, Method, Need, Outcome, Parent, check
from expunge.methods.removal_account import Account, allowance
from expunge.methods.removal_request import RETRAIN, RemovalRequest
from expunge.models.linear import head_of
from expunge.schedule.recipe import Recipe
from expunge.tasks.linear import LinearTask
from expunge.train.newton_removal import Removal, RemovalBound, gradient, newton_steps

CHEAP = 0.01  # of the allowance: so much a single step may spend where steps are not set
OUTSIDE = (
    "the certificate is about the linear weights on fixed features: whatever made the features is outside it and must "
    "not have seen the forget set"
)
WITHOUT_NOISE = (
    "trained without perturbation, so nothing hides what the removal leaves: no certificate; train with `perturbation`"
)


@dataclass(frozen=True)
class Solved:
    """A removal, the account once it is paid, and how many rows' gradients it took."""

    removal: Removal
    account: Account
    gradients: int


@dataclass(frozen=True, kw_only=True)
class CertifiedLogistic(Method):
    """One or two Newton steps on a convex linear head; certified while the gradients left stay under the noise.

    Training must have minimised ``Σ ℓ + (λn/2)‖w‖² + b·w`` with secret ``b ~ N(0, σ²I)``: a recipe with a perturbation
    σ, its weight decay λ, and full batches. The account starts with the gradient that training left, measured on F and
    R, and every removal adds its bound; ε and δ are split evenly over the classes. ``steps`` None takes one step, or
    two where features outnumber a tenth of the rows or one would spend more than a hundredth of what ε and δ allow: a
    second step costs three passes over R and spends some thousand times less. A ``decay`` other than the training's
    earns no certificate, which would be about another objective. Work: 1 for each gradient of a row, 1
    for each Hessian of a row.
    """

    name = "certified-logistic"
    aliases = ("newton",)
    needs = frozenset({Need.FORGET, Need.RETAIN, Need.GRADIENTS})
    ceiling = Certified
    task = LinearTask
    takes_budget = False
    citation = "Guo et al., ICML 2020"
    work = "1 a forgotten row, then 1 a retained row for the first step and 3 for a second"
    epsilon: float = 1.0
    delta: float = 1e-4
    bound: RemovalBound = RemovalBound.DATA_DEPENDENT
    steps: int | None = None
    decay: float | None = None

    def __post_init__(self) -> None:
        check(math.isfinite(self.epsilon) and self.epsilon > 0, f"epsilon {self.epsilon} must be a number above 0")
        check(0 < self.delta < 1, f"delta {self.delta} must lie strictly between 0 and 1")
        check(self.steps in (None, 1, 2), f"steps {self.steps} must be 1 or 2")
        check(
            self.decay is None or (math.isfinite(self.decay) and self.decay > 0),
            f"decay {self.decay} must be a number above 0: it is the weight decay of the training",
        )

    def earns(self, parent: Parent) -> Guarantee:
        return Certified(self.epsilon, self.delta) if self._covered(parent.recipe) else Empirical()

    def _covered(self, recipe: Recipe) -> bool:
        """Whether the training put noise into this very objective."""
        return recipe.perturbation > 0 and self.decay in (None, recipe.optimiser.weight_decay)

    def refuse(self, parent: Parent, forget: np.ndarray) -> None:
        retain = np.setdiff1d(np.arange(len(parent.examples)), np.union1d(forget, parent.emptied))
        found = parent.recipe, parent.model, parent.examples, forget, retain, parent.noise, parent.account
        self._solve(RemovalRequest(*found))

    def unlearn(self, given: Given) -> Outcome:
        given.declare(Need.GRADIENTS)
        student = given.student()
        found = given.recipe, student, given.examples, given.forget, given.retain, given.noise, given.account
        solved = self._solve(RemovalRequest(*found))
        given.meter.steps(solved.gradients + solved.removal.hessians)
        weight = head_of(student).weight
        with torch.no_grad():
            weight.copy_(solved.removal.weights)
        sigma, trained = given.recipe.perturbation, given.recipe.optimiser.weight_decay
        told, certified = WITHOUT_NOISE, None
        if self._covered(given.recipe):
            certified = Certified(self.epsilon, self.delta)
            allowed = allowance(sigma, self.epsilon, self.delta, len(weight))
            told = f"{solved.account.worst:.3g} of {allowed:.3g} is spent of the gradient that the worst class may keep"
        elif sigma:
            told = f"removed under a weight decay of {self.decay:g}, trained under {trained:g}: no certificate"
        return Outcome(
            model=student,
            steps=solved.removal.steps,
            certified=certified,
            account=solved.account.as_json(),
            notices=(told, OUTSIDE),
        )

    def _solve(self, request: RemovalRequest) -> Solved:
        """The removal and the account after it; whatever forbids a certificate is raised here."""
        request.check(self.name)
        task, sigma = request.task, request.recipe.perturbation
        decay = request.recipe.optimiser.weight_decay if self.decay is None else self.decay
        forget, retain = request.rows(request.forget), request.rows(request.retain)
        weights = request.weight.double().cpu()
        allowed = allowance(sigma, self.epsilon, self.delta, len(weights)) if sigma else math.inf
        limit = f"epsilon {self.epsilon:g} and delta {self.delta:g} allow {allowed:.3g}"
        kept: torch.Tensor | None = None
        if request.account is None:
            kept = gradient(task, weights, retain, decay)
            left = kept + gradient(task, weights, forget, decay)
            before = Account.opened(left if request.noise is None else left + torch.from_numpy(request.noise), decay)
        else:
            before = Account.from_json(request.account, decay=decay, classes=len(weights))
        if not before.worst <= allowed:
            raise UnsupportedEver(
                f"the account of this run stands at {before.worst:.3g}, {limit}: train to the optimum (full batches, a "
                f"constant rate, more epochs) or with a larger perturbation, {RETRAIN}"
            )
        steps = newton_steps(
            task, weights, retain, forget, decay, bound=self.bound, stored=request.weight.dtype, kept=kept
        )
        removal = next(steps)
        after = before.after(removal, len(forget), len(retain), self.bound)
        wide = task.lipschitz > 0 and retain.features.shape[1] > len(retain) / 10
        dear = after.worst - before.worst > CHEAP * allowed
        if self.steps == 2 or (self.steps is None and (wide or dear)):
            second = next(steps)
            further = before.after(second, len(forget), len(retain), self.bound)
            if self.steps == 2 or further.worst < after.worst:  # the worst-case bound squares what a step left
                removal, after = second, further
        if not after.worst <= allowed:
            raise UnsupportedEver(
                f"after this removal the account would stand at {after.worst:.3g}, {limit} ({before.worst:.3g} was "
                "spent before): use `method` retrain, which opens a new account"
            )
        gradients = removal.gradients + (len(retain) if request.account is None else 0)
        return Solved(removal, after, gradients)
