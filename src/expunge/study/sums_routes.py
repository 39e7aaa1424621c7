"""Routes by models that are functions of sums: a batch is subtracted, then everything is derived again, by formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.wording import counted
from expunge.data.dataset import Dataset
from expunge.models.features.choice import feature_map
from expunge.models.features.contract import FeatureMap
from expunge.models.features.words import SPARE, WordMap
from expunge.records.plan import Outlay, Route
from expunge.study.incoming import Batches
from expunge.study.routes import PlannedOn, outlay

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
    def of(cls, model: str, made: FeatureMap, rows: Dataset, trained: np.ndarray) -> SumsCost:
        """Of some rows, as far as their map tells before training."""
        feature = made.work(made.encode(rows.take(trained[:SAMPLE])))
        ends = np.zeros((len(rows), 0), dtype=bool)
        if type(made).extremes is not FeatureMap.extremes:
            encoded, present = made.encode(rows), np.zeros(len(rows), dtype=bool)
            present[trained] = True
            ends = made.extremes(encoded, made.derived(encoded, present))
        return cls(model, made, len(rows.classes), len(trained), feature, ends[trained])

    @property
    def width(self) -> int:
        """Columns that are summed."""
        return self.map.width * SPARE[0] // SPARE[1] if isinstance(self.map, WordMap) else self.map.width

    @property
    def row(self) -> float:
        """Operations of a row: its features, and the products of each two, or those that it holds."""
        if self.model == "naive-bayes":
            return self.feature
        return len(self.map.views(np.zeros((1, 1)))) * (self.feature + self.width**2)

    @property
    def derived(self) -> float:
        """Operations of what is derived: a factor, d³/3, and each column's proven refinements; or shares of counts."""
        if self.model == "naive-bayes":
            return 2.0 * self.width * self.classes
        columns = self.classes if self.classes > 2 else 1
        return self.map.width**3 / 3 + 8.0 * REFINEMENTS * columns * self.map.width**2

    @property
    def disk(self) -> float:
        columns = self.classes if self.model == "naive-bayes" else self.width
        return float(NUMBER * self.width * columns)

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


def accumulated(on: PlannedOn, model: str, train: str) -> Route | None:
    """The route of a model of sums; None where the data do not admit it."""
    try:
        made = feature_map(model, on.recipe.inputs, {})
    except InvalidArgument:
        return None
    return summed(SumsCost.of(model, made, on.rows, on.trained), on.batches, on.units, train)


def summed(told: SumsCost, batches: Batches, units: np.ndarray, train: str) -> Route:
    """A route by what its sums cost; what a forest grows again is not known before there is one."""
    alone, notes = told.alone(units), list[str]()
    if alone:
        people = counted(alone, "person") if alone == 1 else f"{alone:,} people"
        notes.append(f"{people} alone hold an end of a column's range: without them sums are accumulated again")
    if told.model == "forest":
        notes.append("what forgetting costs in a forest is known once it has grown: plan on the run")
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
