"""What requests for deletion will cost, route by route: one document, from which page, table and ``--json`` come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from expunge.records.document import Document
from expunge.records.form import Plain
from expunge.records.holds import NOTHING, Holds
from expunge.records.run_file import Predicted
from expunge.records.scalars import Amount, Digest, Name, Positive, Share, Words

PlanUnit = Literal["example_steps", "row_sums", "seconds"]
PLAN_UNITS: tuple[PlanUnit, ...] = ("example_steps", "row_sums", "seconds")


@dataclass(frozen=True, kw_only=True)
class Incoming(Plain):
    """How requests come in: so many ``a_month``, collected for ``window`` days or carried out one by one.

    ``batches`` are carried out a month, each of so many ``requests`` and ``rows`` on average; so many random
    ones were ``drawn`` to find costs. ``tier_shares`` of the requests fall on tier 0, 1, …
    """

    a_month: Positive
    window: Positive | None = None
    horizon: int
    batches: Positive
    requests: Positive
    rows: Positive
    drawn: int
    tier_shares: tuple[Share, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outlay(Plain):
    """What one batch costs: on average, in all but one of twenty, and in the worst of cases."""

    mean: Amount
    high: Amount
    worst: Amount


@dataclass(frozen=True, kw_only=True)
class Route(Plain):
    """One way to train, and to forget from then on. ``cost`` and ``retraining`` are in ``unit``, None where nobody can
    tell beforehand; operations are additions and multiplications, and never compared with example-steps.

    ``share`` is the mean cost by formula, of one retraining. ``states`` are kept, on so many bytes of ``disk``.
    Measured or None are ``seconds``; ``service`` and ``hygiene``, from the end of a window to weights without its rows,
    loading and writing included, and to the end of all old state; and ``accuracy`` on calibration rows. ``train`` is
    the command to type.
    """

    name: Name
    kind: Literal["plain", "replay", "tiers", "accumulated", "run"]
    unit: Literal["example-steps", "operations", "row-sums"]
    cost: Outlay | None = None
    retraining: Amount | None = None
    row_sums: Amount | None = None
    share: Share | None = None
    states: int | None = None
    disk: Amount | None = None
    seconds: Outlay | None = None
    retraining_seconds: Amount | None = None
    service: Amount | None = None
    hygiene: Amount | None = None
    accuracy: Share | None = None
    train: str
    notes: tuple[Words, ...] = ()

    @property
    def times(self) -> float | None:
        """How many times cheaper than one retraining a batch is on average."""
        if self.cost is None or self.retraining is None or not self.cost.mean:
            return None
        return self.retraining / self.cost.mean

    def stop(self, incoming: Incoming) -> bool:
        """Whether a month of batches costs more than one retraining without all of them."""
        return self.times is not None and incoming.batches > self.times

    def month(self, incoming: Incoming) -> float | None:
        """What a month of batches costs, in ``unit``."""
        return None if self.cost is None else incoming.batches * self.cost.mean

    def total(self, incoming: Incoming) -> float | None:
        """What all months cost: batch by batch, or one retraining a month where that is less."""
        month = self.month(incoming)
        return None if month is None else incoming.horizon * min(month, self.retraining or month)


@dataclass(frozen=True, kw_only=True)
class PlanAdvice(Plain):
    """The route to take, or of those that do not meet what is wanted the nearest, and why."""

    route: Name
    meets: bool
    why: Words
    train: str


@dataclass(frozen=True, kw_only=True)
class PlanFile(Document):
    """The whole plan. ``data`` is the last name of a place, ``model`` what the routes by replay train."""

    FORMAT: ClassVar[str] = "expunge/plan/1"
    NAME: ClassVar[str] = "plan.json"
    HOLDS: ClassVar[Holds] = NOTHING

    data: Name
    rows: int
    people: int
    model: Name
    incoming: Incoming
    floor: Share | None = None
    measured: bool
    routes: tuple[Route, ...]
    advice: PlanAdvice
    notices: tuple[Words, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlanKept(Plain):
    """A request that was carried out: what was predicted of it, and what it took."""

    run: Name
    weights: Digest
    method: Name
    predicted: Predicted
    spent: Predicted

    def ratio(self, unit: PlanUnit) -> float | None:
        """Spent, as a multiple of what was predicted; None where nothing was."""
        said, took = getattr(self.predicted, unit), getattr(self.spent, unit)
        return took / said if said and took is not None else None


@dataclass(frozen=True, kw_only=True)
class PlanCheck(Plain):
    """Predicted and actual costs of a run and its parents, the latest first, and their mean ratio by unit."""

    kept: tuple[PlanKept, ...]

    def mean(self, unit: PlanUnit) -> float | None:
        ratios = [ratio for one in self.kept if (ratio := one.ratio(unit)) is not None]
        return sum(ratios) / len(ratios) if ratios else None
