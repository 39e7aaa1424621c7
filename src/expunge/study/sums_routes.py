"""Routes by models that are functions of sums: a batch is subtracted, then everything is derived again, by formula."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.wording import counted
from expunge.data.dataset import Dataset
from expunge.models.features.choice import feature_map
from expunge.models.features.contract import FeatureMap
from expunge.models.forest import Forest
from expunge.models.sums import accumulation_of
from expunge.records.catalogue import ACCUMULATED_MODELS
from expunge.records.plan import Outlay, Route
from expunge.study.incoming import Batches
from expunge.study.routes import PlannedOn, outlay
from expunge.train.run import Run

FOREST = "forest"
FORESTED = 100  # drawn batches that are taken out of a forest
REFINEMENTS = 5  # that a solution takes until its rounding is proven, about
SAMPLE = 1000  # rows by which words are counted
NUMBER = 8  # bytes


@dataclass(frozen=True)
class SumsCost:
    """What a model of sums over ``count`` rows costs: each row that is added or subtracted, and what is derived then.

    ``ends`` says who holds an end of a range: where all who hold one go, everything is accumulated again.
    """

    model: str
    map: FeatureMap
    classes: int
    count: int
    feature: float
    ends: np.ndarray

    @classmethod
    def of(cls, model: str, made: FeatureMap, rows: Dataset, present: np.ndarray) -> SumsCost:
        """Of the slots ``present`` of some rows, as far as their map tells before training."""
        feature = made.work(made.encode(rows.take(present[:SAMPLE])))
        ends = np.zeros((len(rows), 0), dtype=bool)
        if type(made).extremes is not FeatureMap.extremes:
            encoded, there = made.encode(rows), np.zeros(len(rows), dtype=bool)
            there[present] = True
            ends = made.extremes(encoded, made.derived(encoded, there)) & there[:, None]
        return cls(model, made, len(rows.classes), len(present), feature, ends)

    @property
    def row(self) -> float:
        """Operations of a row: its features, and the products of each two, or those that it holds."""
        if self.model == "naive-bayes":
            return self.feature
        return len(self.map.views(np.zeros((1, 1)))) * (self.feature + self.map.summed**2)

    @property
    def derived(self) -> float:
        """Operations of what is derived: a factor, d³/3, and each column's proven refinements; or shares of counts."""
        if self.model == "naive-bayes":
            return 2.0 * self.map.summed * self.classes
        columns = self.classes if self.classes > 2 else 1
        return self.map.width**3 / 3 + 8.0 * REFINEMENTS * columns * self.map.width**2

    @property
    def disk(self) -> float:
        columns = self.classes if self.model == "naive-bayes" else self.map.summed
        return float(NUMBER * self.map.summed * columns)

    def operations(self, rows: np.ndarray | int) -> np.ndarray:
        """Of forgetting so many rows at once."""
        return np.asarray(rows) * self.row + self.derived

    def alone(self, units: np.ndarray) -> int:
        """How many people are the only ones who hold an end."""
        holders = (np.unique(units[column]) for column in self.ends.T[self.ends.any(axis=0)])
        return len({int(who[0]) for who in holders if len(who) == 1})

    def cost(self, batches: Batches, units: np.ndarray) -> Outlay:
        """Of drawn batches; where an end of a range goes with one, of all rows again."""
        again = batches.exhaust(self.ends)
        worst = float(self.operations(self.count)) if self.alone(units) else 0.0
        return outlay(self.operations(np.where(again, self.count, batches.rows)), worst)


def sums_of(on: PlannedOn) -> Iterator[SumsCost]:
    """Models of sums that the data admit."""
    for model in ACCUMULATED_MODELS if on.rows.classes else ():
        try:
            made = feature_map(model, on.recipe.inputs, {})
        except InvalidArgument:
            continue
        yield SumsCost.of(model, made, on.rows, np.arange(len(on.rows)))


def summed(told: SumsCost, batches: Batches, units: np.ndarray, train: str) -> Route:
    """A route by what its sums cost; what a forest grows again is not known before there is one."""
    alone, notes = told.alone(units), list[str]()
    if alone:
        people = counted(alone, "person") if alone == 1 else f"{alone:,} people"
        notes.append(f"{people} alone hold an end of a column's range: without them sums are accumulated again")
    if told.model == FOREST:
        notes.append("what forgetting costs in a forest is known once it has grown: `measure`, or plan on the run")
        return Route(name=told.model, kind="accumulated", unit="row-sums", train=train, notes=tuple(notes))
    return Route(
        name=told.model,
        kind="accumulated",
        unit="operations",
        cost=told.cost(batches, units),
        retraining=float(told.operations(told.count)),
        row_sums=float(batches.rows.mean()),
        disk=told.disk,
        train=train,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class Grown:
    """What drawn batches cost in a forest that has grown: row-sums and seconds; and the row-sums of growing it."""

    cost: Outlay
    seconds: Outlay
    whole: float

    def told(self, route: Route) -> Route:
        """The route of a forest, with what nobody knew before it had grown."""
        return replace(route, cost=self.cost, retraining=self.whole, row_sums=self.cost.mean, notes=route.notes[:-1])


def grown(run: Run, rows: Dataset, batches: Batches) -> Grown:
    """Take some of the drawn batches out of the run's own trees; the worst that can be is growing all of them again."""
    from expunge.train.accumulate import kept_sums

    state = kept_sums(run.path, run.result.sums)
    sums, present = accumulation_of(run.recipe, bytes.fromhex(run.lineage_seed)), np.ones(len(rows), dtype=bool)
    present[run.tombstones] = False
    encoded, costs, seconds = sums.map.encode(rows), list[int](), list[float]()
    for batch in range(min(FORESTED, len(batches.people))):
        gone, left = np.unique(batches.slots[batches.request == batch]), present.copy()
        left[gone] = False
        begun = time.perf_counter()
        costs.append(sums.without(state, encoded, rows.labels, gone, np.flatnonzero(left)).row_sums)
        seconds.append(time.perf_counter() - begun)
    whole = float(Forest.of(state).row_sums)
    return Grown(outlay(np.array(costs), whole), outlay(np.array(seconds), 0.0), whole)
