"""From a study to its jobs: every training, retrained reference, tuning, unlearning and evaluation, each once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
import scipy
import sklearn

from expunge.core.errors import ExpungeError, InvalidArgument
from expunge.core.statistics.likelihood_ratio import FEWEST
from expunge.core.values import Exact
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.forms import read
from expunge.data.splits import Split
from expunge.measure.lookup import probes_asked
from expunge.methods.fields import searches
from expunge.models.resolver import factory_digest
from expunge.records.evaluation import RULES_VERSION
from expunge.records.scalars import Large
from expunge.schedule.recipe import Recipe
from expunge.study.axes import Cell, Data, Forget, span
from expunge.study.job import (
    Evaluate,
    EvaluateSpec,
    Job,
    JobMeans,
    PlannedData,
    Tune,
    TuneMeans,
    TuneSpec,
    Unlearn,
    UnlearnMeans,
    UnlearnSpec,
)
from expunge.study.opened import Opened, deal, source_name
from expunge.study.others import further_probes, source_of
from expunge.study.pseudo_sets import RequestKind, expected, pseudo_sets, twin_seeds
from expunge.study.search import check_tunable, optuna_version
from expunge.study.study_file import Entrant, Study
from expunge.study.test_file import rows_to_score, score_jobs
from expunge.study.training_job import (
    HALF_SEEDS,
    REFERENCE_SEEDS,
    WITNESS_SEEDS,
    half_sets,
    listed,
    named,
    training_job,
)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Planned:
    """A run of a method at one seed: keys of its unlearning and of its evaluation."""

    seed: int
    unlearn: str
    evaluate: str


@dataclass(frozen=True)
class Laid:
    """A cell laid out: one leaderboard, and keys of the jobs behind it."""

    cell: Cell
    forgotten: Mapping[int, int]  # rows by seed
    training_rows: int
    originals: Mapping[int, str]
    references: Mapping[int, tuple[str, ...]]
    witnesses: tuple[str, ...]
    runs: Mapping[str, tuple[Planned, ...]]  # by label
    tunings: Mapping[str, str]  # by label
    scores: Mapping[str, str]  # by the key of the run that is scored on rows from outside

    @property
    def name(self) -> str:
        """No other has it."""
        return self.cell.name


@dataclass(frozen=True)
class Grid:
    """All jobs in an order in which they can be done, and where their results belong."""

    jobs: tuple[Job, ...]
    settings: tuple[Laid, ...]
    datasets: Mapping[str, Dataset]  # by ``source_name``


def lay_out(study: Study) -> Grid:
    """Read the data, resolve the forget sets, and list the jobs of every cell."""
    laid = _Layout(study)
    for cell in span(study.axes):
        laid.add(cell)
    if not laid.settings:
        raise study.said(
            InvalidArgument(
                "the grid is empty: no training and forget set are for the same data; look at their data entries"
            ),
            "forget",
        )
    names = [setting.name for setting in laid.settings]
    twice = next((name for at, name in enumerate(names) if name in names[:at]), None)
    if twice is not None:
        raise study.said(
            InvalidArgument(f"two settings would be called {twice!r}: rename data, trainings or forget sets"), "forget"
        )
    return Grid(tuple(laid.jobs.values()), tuple(laid.settings), laid.datasets)


class _Layout:
    """A study on its way to its jobs."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.jobs: dict[str, Job] = {}
        self.settings: list[Laid] = []
        self.datasets: dict[str, Dataset] = {}
        self._made: dict[tuple[str, str], Any] = {}

    def job(self, made: Job) -> str:
        self.jobs.setdefault(made.key, made)
        return made.key

    def said(self, make: Callable[[], Value], *path: str | int) -> Value:
        try:
            return make()
        except ExpungeError as error:
            raise self.study.said(error, *path) from None

    def rehearsed(self, forget: Forget, make: Callable[[], Value]) -> Value:
        """What a rehearsal needs for a forget set; a study file has no say in its size, so the way out is another."""
        try:
            return make()
        except ExpungeError as error:
            told = str(error).rpartition(": ")[0] or str(error)
            found = InvalidArgument(
                f"forget {forget.name!r} cannot be rehearsed for [tuning] ({told}): leave [tuning] out, or forget fewer"
            )
            raise self.study.said(found, "forget", forget.name) from None

    def once(self, make: Callable[[Cell], Value], cell: Cell) -> Value:
        """What hangs on some axes alone is made for the first of all cells that have the same part on these."""
        name = (make.__name__, cell.key)
        if name not in self._made:
            self._made[name] = make(cell)
        return self._made[name]

    def add(self, cell: Cell) -> None:
        self.once(self.opened, cell.only("data"))
        sets = self.once(self.sets, cell.only("data", "forget"))
        self.once(self.trained, cell.without("forget", "budget")).add(cell, sets)

    def opened(self, cell: Cell) -> Opened:
        data = cell.data
        dataset = self.said(partial(read, data.source), "data", data.name, "location")
        self.datasets[source_name(data.source.as_json())] = dataset
        return self.said(partial(deal, dataset, data.split_seed, data.split_by), "data", data.name)

    def sets(self, cell: Cell) -> dict[int, ForgetSet]:
        """What is to be forgotten, by seed."""
        forget, opened = cell.forget, self.once(self.opened, cell.only("data"))
        nobody = np.zeros(0, dtype=np.int64)

        def of(seed: int) -> ForgetSet:
            rows = opened.rows[Split.TRAIN]
            return choose(forget.rules_of(seed), rows, root=opened.roots.train, forgotten=nobody)

        return {seed: self.said(partial(of, seed), "forget", forget.name, "rules") for seed in self.study.seeds}

    def trained(self, cell: Cell) -> _On:
        return _On(self, cell, self.once(self.opened, cell.only("data")))


class _On:
    """Jobs of one training on one data set."""

    def __init__(self, layout: _Layout, cell: Cell, opened: Opened) -> None:
        study, data = layout.study, cell.data
        self.layout, self.opened, self.title = layout, opened, cell.name
        self.training = layout.said(lambda: cell.training, "training", cell.values["training"].name)
        self.described = PlannedData(
            source=data.source.as_json(),
            roots=opened.roots,
            split_seed=Large(data.split_seed),
            split_by=data.split_by.value,
        )
        self.tiers = layout.said(partial(self.training.tiers, opened), "training", self.training.name)
        self.originals = {seed: self.train(seed, f"train {self.title}, seed {seed}") for seed in study.seeds}
        self.test = None if data.test is None else self.scored(data)
        if study.tuning is not None:
            layout.said(partial(check_tunable, self.recipe(study.seeds[0]), study.budgets), "tuning")

    def train(self, seed: int, title: str, without: ForgetSet | None = None, *, replayed: bool | None = None) -> str:
        return self.layout.job(
            training_job(
                self.recipe(seed),
                self.described,
                title,
                without=without,
                factory=self.factory,
                device=self.training.device,
                checkpoint_interval=self.training.checkpoint_interval if without is None and replayed is None else None,
                replayed=replayed,
                tiers=self.tiers,
            )
        )

    def scored(self, data: Data) -> PlannedData:
        """The rows that its models are scored on."""
        make = partial(rows_to_score, data, self.recipe(self.layout.study.seeds[0]))
        planned, rows = self.layout.said(make, "data", data.name, "test")
        self.layout.datasets[source_name(planned.source)] = rows
        return planned

    def recipe(self, seed: int) -> Recipe:
        make = partial(self.training.recipe, self.opened.dataset, seed, self.tiers)
        return self.layout.said(make, "training", self.training.name)

    @cached_property
    def factory(self) -> str:
        """Digest of the source that makes the model: a model that was edited is another model."""
        return factory_digest(self.recipe(self.layout.study.seeds[0]).model)

    def add(self, cell: Cell, sets: Mapping[int, ForgetSet]) -> None:
        study, forget, budget = self.layout.study, cell.forget, cell.budget
        avoid = np.unique(np.concatenate([found.slots for found in sets.values()]))  # no rehearsal plays what must go
        references = {seed: self.references(forget, sets[seed]) for seed in study.seeds}
        tunings: dict[str, str] = {}
        runs: dict[str, tuple[Planned, ...]] = {}
        for row in study.rows:
            tuned = self.tune(row, forget, sets[study.seeds[0]].slots, budget, avoid)
            if tuned is not None:
                tunings[row.label] = tuned
            runs[row.label] = tuple(
                self.planned(row, forget, seed, sets[seed], budget, references[seed], tuned) for seed in study.seeds
            )
        keys = *self.originals.values(), *chain(*references.values()), *(one.unlearn for one in chain(*runs.values()))
        self.layout.settings.append(
            Laid(
                cell=cell,
                forgotten={seed: len(found) for seed, found in sets.items()},
                training_rows=len(self.opened.rows[Split.TRAIN]),
                originals=self.originals,
                references=references,
                witnesses=self.witnesses,
                runs=runs,
                tunings=tunings,
                scores={
                    run: self.layout.job(job)
                    for run, job in score_jobs(self.test, [self.layout.jobs[key] for key in keys]).items()
                },
            )
        )

    def claimed(self, seed: int) -> dict[str, tuple[str, ...]]:
        """The original whose power fixes the claim of all seeds: the first's, so that a cell has one claim."""
        study = self.layout.study
        if study.claim is not None or not study.witnesses or seed == study.seeds[0]:
            return {}
        return {"claimed": (self.originals[study.seeds[0]],)}

    @cached_property
    def witnesses(self) -> tuple[str, ...]:
        """Trainings with everybody, which all forget sets share."""
        return tuple(
            self.train(WITNESS_SEEDS + number, f"train {self.title}, witness {number + 1}", replayed=False)
            for number in range(self.layout.study.witnesses)
        )

    @cached_property
    def halves(self) -> tuple[str, ...]:
        """Trainings without half of the rows, as many as scores need, where a probe that the study asks for does."""
        if not any(probe.halves_needed for probe in probes_asked(self.layout.study.probes)):
            return ()
        sets = half_sets(bytes.fromhex(self.opened.roots.train), len(self.opened.rows[Split.TRAIN]))
        return tuple(
            self.train(HALF_SEEDS + number, f"train {self.title}, half model {number + 1}", without, replayed=False)
            for number, without in enumerate(islice(sets, 2 * FEWEST))
        )

    def references(self, forget: Forget, without: ForgetSet) -> tuple[str, ...]:
        named = f"retrain {self.title} without {forget.name}"
        return tuple(
            self.train(REFERENCE_SEEDS + number, f"{named}, reference {number + 1}", without)
            for number in range(forget.references if forget.references is not None else self.layout.study.references)
        )

    def planned(
        self,
        row: Entrant,
        forget: Forget,
        seed: int,
        chosen: ForgetSet,
        budget: float,
        references: tuple[str, ...],
        tuned: str | None,
    ) -> Planned:
        told = f", budget {budget:.4g}" if len(self.layout.study.budgets) > 1 and row.method.takes_budget else ""
        where = f"{row.label}, {self.title} {forget.name}, seed {seed}{told}"
        inputs = {"original": (self.originals[seed],)}
        if row.method.ceiling is Exact and row.method.name != "retrain":  # what it must equal bit for bit
            references += (self.train(seed, f"retrain {self.title} without {forget.name}, seed {seed}", chosen),)
        unlearn = self.layout.job(
            Unlearn(
                title=f"unlearn {where}",
                spec=UnlearnSpec(
                    method=row.method.told,
                    source=source_of(type(row.method)),
                    forget=named(chosen),
                    budget=budget if row.method.takes_budget else None,
                    seed=Large(seed),
                ),
                inputs=inputs if tuned is None else {**inputs, "tuning": (tuned,)},
                means=UnlearnMeans(data=self.described, slots=listed(chosen.slots)),
            )
        )
        evaluate = self.layout.job(
            Evaluate(
                title=f"evaluate {where}",
                spec=EvaluateSpec(
                    tolerances=RULES_VERSION,
                    software={"scipy": scipy.__version__, "scikit_learn": sklearn.__version__},
                    claim=self.layout.study.claim,
                    probes=further_probes() or None,
                    asked=self.layout.study.probes or None,
                    as_published=self.layout.study.as_published or None,
                ),
                inputs={
                    "run": (unlearn,),
                    **inputs,
                    **{"references": references, "witnesses": self.witnesses},
                    **self.claimed(seed),
                    **({"halves": self.halves} if self.halves else {}),
                },
                means=JobMeans(data=self.described),
            )
        )
        return Planned(seed, unlearn, evaluate)

    def tune(self, row: Entrant, forget: Forget, slots: np.ndarray, budget: float, avoid: np.ndarray) -> str | None:
        """The tuning of a row, if it is to be tuned: fields set by hand are not, nor is what has none to choose."""
        study, asked = self.layout.study, self.layout.study.tuning
        searched = bool(searches(type(row.method)))
        if asked is None or row.by_hand or not row.method.takes_budget or not searched:
            return None
        kind, size = expected(forget, slots)
        one, other = self.layout.rehearsed(
            forget,
            partial(
                pseudo_sets,
                self.opened.rows[Split.TRAIN],
                kind=kind,
                size=None if kind is RequestKind.CLASS else size,
                avoid=avoid,
                seed=asked.seed,
            ),
        )
        first, told = study.seeds[0], f"rehearsal:{kind.value}"
        seeds = twin_seeds(asked.seed, first)
        named = f"train {self.title} for the rehearsal of {forget.name}"
        twins = tuple(
            self.train(seed, f"{named}, twin {number}", ForgetSet(slots, (told,), self.opened.roots.train))
            for number, (slots, seed) in enumerate(zip((one, one, other, other), seeds, strict=True), 1)
        )
        return self.layout.job(
            Tune(
                title=f"tune {row.label}, {self.title} {forget.name}",
                spec=TuneSpec(
                    method=row.method.name,
                    source=source_of(type(row.method)),
                    optuna=optuna_version(),
                    kind=kind.value,
                    size=size,
                    avoid=tombstones_digest(avoid).hex(),
                    budget=budget,
                    trials=asked.trials,
                    seed=Large(asked.seed),
                ),
                inputs={"original": (self.originals[first],), "twins": twins},
                means=TuneMeans(data=self.described, avoid=listed(avoid)),
            )
        )
