"""Which method is to forget: the cheapest that earns what is asked for on this run, and why the others are out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.values import Certified, Empirical, Exact, Guarantee
from expunge.data.handed import GivenData
from expunge.methods import METHODS
from expunge.methods.adopted import budget_of, refuse_adopted
from expunge.methods.contract import DEFAULT_BUDGET, Method, Need, Parent
from expunge.methods.unlearn import not_exact_before, parent_of
from expunge.records.record import GuaranteeKind
from expunge.records.run_file import Predicted
from expunge.study.run_plan import predicted
from expunge.train.profile import pinned
from expunge.train.run import Run

WAYS = ("exact-replay", "retrain", "certified-logistic", "light-perturbation")
KINDS: dict[GuaranteeKind, type[Exact] | type[Certified] | type[Empirical]] = {
    GuaranteeKind.EXACT: Exact,
    GuaranteeKind.CERTIFIED: Certified,
    GuaranteeKind.EMPIRICAL: Empirical,
}
NOTHING = Predicted(example_steps=0)
WAY_OUT = re.compile(r"(?:;|:| or|,) (?:or )?(?:use|ask for|train) ")  # of a method's own refusal: it knows its flags


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A method that might answer a request: what it would cost and earn on this run, or why it is out."""

    method: Method
    cost: Predicted = NOTHING
    earns: Guarantee | None = None
    why: str | None = None

    def reaches(self, asked: GuaranteeKind) -> bool:
        """Whether it earns so much or more."""
        return self.earns is not None and self.earns.rank >= KINDS[asked].rank

    def left_out(self, chosen: Candidate | None = None) -> str:
        """Why it is not the one that is taken."""
        if self.earns is None:
            return str(self.why)
        if chosen is not None and chosen.earns is not None and self.earns.rank >= chosen.earns.rank:
            return f"it would cost {cost_of(self.cost)}"
        return f"it earns {self.earns.word} here" + (f", because {self.why}" if self.why else "")


def candidates_of(run: Run, slots: np.ndarray, data: GivenData, device: str | None = None) -> tuple[Candidate, ...]:
    """Every method that a guarantee may ask for, as this run takes it."""
    parent = parent_of(run, data=data, device=device)
    with pinned(parent.recipe):
        return tuple(_candidate(run, parent, way(), slots, data) for way in METHODS if way.name in WAYS)


def _candidate(run: Run, parent: Parent, method: Method, slots: np.ndarray, data: GivenData) -> Candidate:
    try:
        refuse_adopted(run, method)
        method.validate(parent, slots, budget=budget_of(run, method, None), seed=0)
    except ExpungeError as error:
        return Candidate(method=method, why=WAY_OUT.split(str(error))[0])
    earns, why = method.earns(parent), parent.exact_refused
    if isinstance(earns, Exact) and Need.CHECKPOINTS in method.needs:
        why = not_exact_before(run.exact_ancestor)
        earns = earns if why is None else Empirical()
    why = why if method.reach is Exact else None
    return Candidate(method=method, cost=expected(run, slots, method, data), earns=earns, why=why)


def expected(run: Run, slots: np.ndarray, method: Method, data: GivenData = None) -> Predicted:
    """What a request should cost by a method: as the planner says it of exact ones, by its own rule of any other."""
    if method.reach is Exact:
        return predicted(run, slots, method.name, data)
    if method.takes_budget:
        whole = run.schedule.work(run.tombstones, least_present=run.recipe.least_present)
        return Predicted(example_steps=DEFAULT_BUDGET * whole)
    stay = len(run.units) - len(np.union1d(slots, run.tombstones))
    return Predicted(example_steps=len(slots) + (1 if run.told.account else 2) * stay)


def cheapest(run: Run, asked: GuaranteeKind, candidates: Sequence[Candidate]) -> Candidate:
    """The one to take; where none earns what is asked for, what is missing and the next guarantee down.

    A run that was trained for certificates is retrained only where exactness is asked for: that draws the noise of its
    lineage again, which would void the certificates before.
    """
    fit = [one for one in candidates if one.reaches(asked)]
    if run.recipe.perturbation and asked is not GuaranteeKind.EXACT:
        fit = [one for one in fit if not isinstance(one.earns, Exact)]
    if fit:
        return min(fit, key=lambda one: (one.cost.example_steps, one.cost.row_sums))
    less = [one for one in candidates if not one.reaches(asked)]
    missing = "; ".join(f"{one.method.name}: {one.left_out()}" for one in less)
    said = f"no method earns `guarantee` {asked.value} on {run.path} ({missing})"
    if len(less) < len(candidates):  # a certificate that is spent
        raise InvalidArgument(
            f"{said}: retrain opens a new account, and `guarantee` exact takes it; publish no certified model of this "
            "lineage beside what that gives"
        )
    for kind in (kind for kind in KINDS if KINDS[kind].rank < KINDS[asked].rank):
        if (found := next((one for one in less if one.reaches(kind)), None)) is not None:
            raise InvalidArgument(f"{said}: the next one down is `guarantee` {kind.value}, by {found.method.name}")
    raise RunError(f"{said}: no lower one is earned either; name a method yourself with `expunge unlearn`")


def cost_of(cost: Predicted) -> str:
    """Work in words: never in both units."""
    if cost.row_sums:
        return f"{cost.row_sums:,.0f} row-sums"
    return f"{cost.example_steps:,.0f} example-steps"
