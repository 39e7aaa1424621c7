"""What a request can come to, in one sentence that is said before anything is paid for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import DataError, RunError
from expunge.core.wording import counted
from expunge.data.forget_set import ForgetSet
from expunge.measure.row import MINIMUM
from expunge.measure.trial import SMALLEST_FORGET_SET
from expunge.methods.exact_replay import ExactReplay, planned
from expunge.train.run import Run

WITNESSES = 1
"""Fewest for a verdict."""
NEEDED = counted(WITNESSES, "witness")


@dataclass(frozen=True, kw_only=True)
class Possible:
    """The evidence that a request can get.

    ``references`` and ``witnesses`` are there already, those that lack take ``lacking``, and ``refused`` is why none
    can be trained here. ``replayed`` is the share of a retraining's work that exact-replay would redo, None where it
    cannot. ``exactly`` names the exact method that is chosen, if one is: it needs no test.
    """

    rows: int
    one_person: bool
    references: int
    witnesses: int
    cost: str = ""
    replayed: float | None = None
    exactly: str | None = None
    refused: str | None = None
    wanted: int = MINIMUM  # references that somebody asks for

    def __str__(self) -> str:
        rows, replay = counted(self.rows, "row"), ""
        if self.replayed is not None:
            replay = f"{ExactReplay.name} gives the bits of retraining for {self.replayed:.0%} of its work on this run"
        if self.exactly is not None:
            route = replay if replay and self.exactly == ExactReplay.name else f"{self.exactly} is exact"
            return f"{rows}: {route}, so that no test is needed"
        if self.rows < SMALLEST_FORGET_SET:
            whom = "one person" if self.one_person else "so few"
            cannot = f"no test can decide for {whom} ({SMALLEST_FORGET_SET} rows are needed)"
            ways = [*filter(None, [replay]), "forget several people in one run", "pool runs of one method"]
            return f"{rows}: {cannot}, and more references would not help; {', or '.join(ways)}"
        needs = f"{rows}: a verdict needs {MINIMUM} references and, shared by later requests, {NEEDED}"
        references, witnesses = self.lacking
        if not references and not witnesses:
            there = f"{counted(self.references, 'reference')} and {counted(self.witnesses, 'witness')}"
            return f"{needs}; {there} are there"
        if self.refused is not None:
            return f"{needs}; {self.refused}"
        what = [counted(lacks, name) for lacks, name in ((references, "reference"), (witnesses, "witness")) if lacks]
        return f"{needs}; {' and '.join(what)} to train: {self.cost}"

    @property
    def lacking(self) -> tuple[int, int]:
        """References and witnesses that are not there."""
        return max(0, self.wanted - self.references), max(0, WITNESSES - self.witnesses)


def possible_of(
    run: Run,
    forget: ForgetSet,
    *,
    references: int,
    witnesses: int,
    refused: str | None = None,
    exactly: str | None = None,
    wanted: int = MINIMUM,
) -> Possible:
    """Of a run that is to forget; ``references`` and ``witnesses`` are there, ``exactly`` names an exact method."""
    few = len(forget) < SMALLEST_FORGET_SET
    found = Possible(
        rows=len(forget),
        one_person=len(forget.rules) == 1 and forget.rules[0].startswith("subject:"),
        references=references,
        witnesses=witnesses,
        replayed=_replayed(run, forget) if few or exactly == ExactReplay.name else None,
        exactly=exactly,
        refused=refused,
        wanted=wanted,
    )
    return replace(found, cost=cost(run, sum(found.lacking)))


def possible_pool(runs: Sequence[Run], references: Sequence[int], witnesses: int) -> str:
    """Of several requests that are judged as one; so many ``references`` of each are there."""
    rows = sum(len(run.forget_set) for run in runs)
    lacking = sum(max(0, MINIMUM - found) for found in references) + max(0, WITNESSES - witnesses)
    needs = f"{rows} rows in {len(runs)} requests: a verdict on the method needs {MINIMUM} references of each and "
    there = f"{lacking} to train: {cost(runs[0], lacking)}" if lacking else "all are there"
    return f"{needs}{NEEDED}; {there}"


def cost(run: Run, trainings: int) -> str:
    """So many trainings, by the meter and the clock of the one that a run goes back to."""
    try:
        while run.told.operation == "unlearn":
            run = run.parent
    except RunError:
        return f"{trainings} × a training that is no longer at hand"
    if run.told.adopted is not None:
        return f"{trainings} × a training that nobody here counted"
    lasts = f"about {lasting(trainings * run.result.seconds)}{' one after another' if trainings > 1 else ''}"
    steps = f"{run.result.example_steps:,.0f} example-steps"
    return f"{trainings} × {steps if run.result.row_sums is None else run.result.work}, {lasts}"


def _replayed(run: Run, forget: ForgetSet) -> float | None:
    """The share of a retraining's work that exact-replay redoes; None where it cannot, or nobody can tell."""
    try:
        if run.told.adopted is not None or run.exact_ancestor.result.exact_refused is not None:
            return None
        emptied = np.union1d(forget.slots, run.tombstones)
        whole = run.schedule.work(emptied, least_present=run.recipe.least_present)
        return planned(run, forget.slots) / whole if whole else None
    except (DataError, RunError):  # whoever replays it is told what is wrong with it
        return None


def lasting(seconds: float) -> str:
    """So long, as people say it."""
    for least, name, unit in ((5400, "h", 3600), (90, "min", 60)):
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1.0, seconds):.0f} s"
