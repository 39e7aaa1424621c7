"""What a study found, as plain values: from the store's runs and evaluations to the figures of a leaderboard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from typing import Any, Literal, TypeVar

import numpy as np

from expunge.core.errors import DataError
from expunge.core.hashing import canonical_json, sha256
from expunge.core.statistics.unlearning_likelihood_ratio import FEWEST
from expunge.core.values import Undecided
from expunge.data.splits import split_rows
from expunge.measure.average_gap import AverageGap
from expunge.measure.contract import ProbeRole
from expunge.measure.lookup import probes, probes_asked
from expunge.measure.readings import READ
from expunge.methods.contract import Method
from expunge.methods.fields import searches
from expunge.methods.lookup import made_from
from expunge.records.evaluation import Evaluation
from expunge.records.figures import Figures, Means
from expunge.records.results import (
    Conclusion,
    Done,
    Mark,
    MarkName,
    ModelFigures,
    Noise,
    Problem,
    Row,
    Seed,
    Setting,
    Word,
)
from expunge.records.row_tuning import RowTuning
from expunge.records.run_file import RunFile
from expunge.records.study_store import Entry, JobOutcome, ScoreFile
from expunge.records.tuning import Tuning, nothing_forgets
from expunge.study.axes import Cell
from expunge.study.cells import Damaged, Found, Together, among, attacked, held
from expunge.study.digests import JobDocument, read_result
from expunge.study.figures import (
    SeedFigure,
    as_figure,
    difference,
    figure,
    gap_of_margins,
    noise_of_margins,
    published,
    shared_references,
    value_of,
    widened,
    written,
)
from expunge.study.grid import Grid, Laid, Planned
from expunge.study.job import Work
from expunge.study.opened import source_name
from expunge.study.scheduler import Outcomes
from expunge.study.store import Store
from expunge.study.study_file import Entrant, Study
from expunge.study.test_file import scored
from expunge.study.tuned_row import tuned_row
from expunge.train.run import Run

MARGIN = "mean-margin"
LITTLE_USED = 0.5  # of the budget: less is marked
Kind = TypeVar("Kind", RunFile, Evaluation, Tuning, ScoreFile)
Evaluated = tuple[Run, Evaluation]
WORDS: dict[str, Word] = {"supported": "Supported", "refuted": "Refuted", "undecided": "Undecided"}


class Gathered:
    """A study's part of the store, read into its results."""

    def __init__(self, study: Study, grid: Grid, store: Store, outcomes: Outcomes) -> None:
        self.study, self.grid, self.store, self.outcomes = study, grid, store, outcomes
        self.rows = {row.label: row for row in study.rows}
        self._read: dict[str, JobDocument] = {}
        self.settings = tuple(self.setting(laid) for laid in grid.settings)

    @cached_property
    def probed(self) -> tuple[str, ...]:
        """Probes with a figure of their own; costs and what is made of other figures are not measured like them."""
        measured = (*probes(), *probes_asked(self.study.probes))
        return tuple(probe.name for probe in measured if probe.role is not ProbeRole.COST and probe is not AverageGap)

    @property
    def complete(self) -> bool:
        """Whether every job ended, and none failed."""
        ended = set(self.outcomes.entries) | set(self.outcomes.left_out)
        failed = any(
            entry.outcome is JobOutcome.FAILED
            or (entry.work == Work.TRAIN.value and entry.outcome is JobOutcome.REFUSED)
            for entry in self.outcomes.entries.values()
        )
        return not failed and all(job.key in ended for job in self.grid.jobs)

    @property
    def digest(self) -> str:
        """Over the digests of all results by key: equal where every job came to the same."""
        told = sorted((entry.key, entry.outcome.value, entry.digest) for entry in self.outcomes.entries.values())
        return sha256(canonical_json([list(item) for item in told])).hex()

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(job=entry.title, status=_status(entry), reason=entry.reason)
            for entry in sorted(self.outcomes.entries.values(), key=lambda entry: entry.title)
            if entry.outcome is not JobOutcome.DONE
        )

    def read(self, kind: type[Kind], key: str) -> Kind:
        """What a job wrote that is done."""
        if key not in self._read:
            entry = self.outcomes.entries[key]
            try:
                self._read[key] = read_result(self.store.place(key), Work(entry.work), entry.digest)
            except DataError as error:
                raise Damaged(key, str(error)) from None
        found = self._read[key]
        assert isinstance(found, kind)
        return found

    def run(self, key: str) -> Run:
        return Run(self.store.place(key), self.read(RunFile, key))

    def setting(self, laid: Laid) -> Setting:
        seeds, cell = self.study.seeds, laid.cell
        together = self.together(laid)
        trained = next((self.run(key) for key in laid.originals.values() if self.outcomes.done(key)), None)
        evaluations = self.evaluations(laid)
        noises = [noise_of_margins(evaluation[MARGIN]) for evaluation in evaluations]
        known = [noise for noise in noises if noise is not None]
        forgotten = float(np.mean([laid.forgotten[seed] for seed in seeds]))
        return Setting(
            id=laid.name,
            data=cell.data.name,
            recipe=cell.training.name,
            model=None if trained is None else trained.told.recipe["model"],
            forget=cell.forget.name,
            title=self.title(cell),
            rules=cell.forget.rules,
            forgotten=round(forgotten),
            share=forgotten / laid.training_rows,
            training_rows=laid.training_rows,
            training_example_steps=None if trained is None else trained.result.example_steps,
            budget=cell.budget,
            originals=ModelFigures(
                figures=self.original(laid, evaluations, together),
                as_published=published(evaluations, lambda one: one.original),
            ),
            references=ModelFigures(
                figures=self.retrained(laid, evaluations, together),
                as_published=published(evaluations, lambda one: one.reference_mean),
            ),
            likeness=Noise(forgetting_gap=float(np.mean(known)) if known and len(known) == len(noises) else None),
            nothing_forgets=self.nothing_forgets(laid),
            rows=held([self.row(laid, label, planned, together) for label, planned in laid.runs.items()]),
        )

    def together(self, laid: Laid) -> Together | None:
        """What attacks look at side by side, where there are enough runs and all of one forget set."""
        (references, *others), seeds = dict.fromkeys(laid.references.values()), self.study.seeds
        done = [one.unlearn for planned in laid.runs.values() for one in planned if self.outcomes.done(one.unlearn)]
        beside = [key for key in references if self.outcomes.done(key)]
        if others or not done or min(len(seeds), len(beside)) < FEWEST:
            return None
        data = laid.cell.data
        dataset = self.grid.datasets[source_name(data.source.as_json())]
        if dataset.of_numbers:  # their margins hang on the references of a trial
            return None
        codes = split_rows(dataset, seed=data.split_seed, by=data.split_by)
        rows = {split: dataset.take(np.flatnonzero(codes == split.code)) for split in READ}
        return Together(rows, self.run(done[0]), [self.run(key) for key in beside])

    def nothing_forgets(self, laid: Laid) -> str | None:
        """In words, where all that was tuned on the setting's rehearsal gains nothing that carries over."""
        tunings = [self.read(Tuning, key) for key in laid.tunings.values() if self.outcomes.done(key)]
        return nothing_forgets(tunings) if len(tunings) == len(laid.tunings) else None

    def title(self, cell: Cell) -> str:
        """The forget set's, and what tells the cell from others on the same data."""
        told = {
            "forget": cell.forget.title,
            "training": cell.training.name,
            "budget": f"budget {100 * cell.budget:.4g} %",
        }
        varied = [axis.name for axis in self.study.axes if len(axis.values) > 1 and axis.name not in ("data", "forget")]
        return ", ".join(told.get(name, f"{name} {cell.values.get(name)}") for name in ("forget", *varied))

    def evaluations(self, laid: Laid) -> list[Evaluation]:
        """One for each seed, whichever method it is of: what they say of originals and references is the same."""
        found: dict[int, Evaluation] = {}
        for planned in laid.runs.values():
            for one in planned:
                if one.seed not in found and self.outcomes.done(one.evaluate):
                    found[one.seed] = self.read(Evaluation, one.evaluate)
        return [found[seed] for seed in sorted(found)]

    def original(self, laid: Laid, evaluations: Sequence[Evaluation], together: Together | None) -> Means:
        found = {name: figure([value_of(one[name].original) for one in evaluations]) for name in self.probed}
        margins = [one[MARGIN] for one in evaluations]
        gaps = [gap_of_margins(probe, probe.original) for probe in margins]
        found["forgetting-gap"] = figure(gaps, shared_references(margins), least=0.0)
        originals = [self.run(key) for key in laid.originals.values() if self.outcomes.done(key)]
        outside = self.scored(laid, laid.originals.values())
        return Means.of({**written({**found, **outside}), **attacked(together, originals).figures})

    def scored(self, laid: Laid, runs: Iterable[str]) -> dict[str, SeedFigure]:
        """How well runs answer the rows of a test file, where the data have one."""
        keys = [laid.scores[run] for run in dict.fromkeys(runs) if run in laid.scores]
        return scored([self.read(ScoreFile, key) for key in keys if self.outcomes.done(key)])

    def retrained(self, laid: Laid, evaluations: Sequence[Evaluation], together: Together | None) -> Means:
        """Over references: those of every seed are the same where the forget set is."""
        lineages: dict[str, dict[str, float | Undecided]] = {}
        for one in evaluations:
            for index, reference in enumerate(one.references):
                known = {name: value_of(one[name].references[index]) for name in (*self.probed, "average-gap")}
                lineages.setdefault(reference.weights_digest, known)
        found = {name: figure([known[name] for known in lineages.values()]) for name in (*self.probed, "average-gap")}
        outside = self.scored(laid, chain.from_iterable(laid.references.values()))
        return Means.of({**written({**found, **outside}), **({} if together is None else together.null)})

    def row(self, laid: Laid, label: str, planned: Sequence[Planned], together: Together | None) -> Row:
        entrant = self.rows[label]
        runs = [self.run(one.unlearn) for one in planned if self.outcomes.done(one.unlearn)]
        done = [
            (self.run(one.unlearn), self.read(Evaluation, one.evaluate))
            for one in planned
            if self.outcomes.done(one.unlearn) and self.outcomes.done(one.evaluate)
        ]
        told = runs[0].told.method if runs else None
        used = entrant.method if told is None else made_from(type(entrant.method), told.fields)
        seeds = tuple(self.seed(laid, one) for one in planned)
        counted = Conclusion.of(seeds)
        found = attacked(together, runs)
        method = type(entrant.method)
        tuning = self.tuning(laid, entrant)
        return Row(
            method=method.name,
            label=label,
            summary=(method.__doc__ or "").strip().splitlines()[0],
            citation=method.citation,
            guarantee=_lowest(done),
            needs=tuple(sorted(need.value for need in method.needs)),
            seen=tuple(dict.fromkeys(name for run in runs for name in run.forgetting.seen)),
            fields=used.told.fields,
            defaults=_defaults(method),
            tuning=tuning,
            figures=self.figures(done, self.scored(laid, [one.unlearn for one in planned]), found),
            verdicts=counted.verdicts,
            reasons=counted.reasons,
            marks=self.marks(planned, done, tuning),
            seeds=seeds,
            concluded=found.beside([evaluation for _, evaluation in done]),
            as_published=published([evaluation for _, evaluation in done], lambda one: one.unlearned),
        )

    def figures(self, done: Sequence[Evaluated], outside: Mapping[str, SeedFigure], more: Found) -> Figures:
        evaluations = [evaluation for _, evaluation in done]
        shared = {name: shared_references([one[name] for one in evaluations]) for name in self.probed}
        gaps = [gap_of_margins(one[MARGIN], one[MARGIN].unlearned) for one in evaluations]
        utility = [difference(one["test-accuracy"], -1.0) for one in evaluations]
        found = {name: figure([value_of(one[name].unlearned) for one in evaluations]) for name in self.probed}
        found["average-gap"] = widened([one["average-gap"].unlearned for one in evaluations])
        found["forgetting-gap"] = figure(gaps, shared[MARGIN], least=0.0)
        found["utility-gap"] = figure(utility, shared["test-accuracy"])
        found["cost"] = as_figure([run.result.example_steps / _training(run) for run, _ in done])
        found["seconds"] = as_figure([run.result.seconds for run, _ in done])
        differences = {
            name: figure([difference(one[name], 1.0) for one in evaluations], shared[name])
            for name in self.probed
            if name != MARGIN  # its unit is that of the forgetting gap
        }
        own = Figures.of({**written({**found, **outside}), **more.figures})
        return replace(own, differences=Means.of(written(differences)) if done else None)

    def seed(self, laid: Laid, one: Planned) -> Seed:
        for key in (one.unlearn, one.evaluate):
            entry = self.outcomes.entries.get(key)
            if entry is not None and entry.outcome is not JobOutcome.DONE:
                return Seed(seed=one.seed, status=_status(entry), reason=entry.reason)
        if not self.outcomes.done(one.evaluate):
            reason = self.outcomes.left_out.get(one.evaluate) or self.outcomes.left_out.get(one.unlearn)
            return Seed(seed=one.seed, status="missing", reason=reason or "not done yet")
        run, evaluation = self.run(one.unlearn), self.read(Evaluation, one.evaluate)
        verdict, reason = self.verdict(laid, one)
        done = Done(
            verdict=verdict,
            weights_digest=run.weights_digest,
            example_steps=run.result.example_steps,
            allowed=run.forgetting.allowed,
            seconds=run.result.seconds,
            guarantee=str(evaluation.guarantee),
            stopped=run.forgetting.stopped,
            notices=(*(run.told.notices or ()), *evaluation.notices),
            outcome=evaluation.outcome if verdict.lower() == evaluation.verdict.word else "unsaid",
            at_most=None if evaluation.memory is None else evaluation.memory.bound,
        )
        return Seed(seed=one.seed, status="done", reason=reason, done=done)

    def verdict(self, laid: Laid, one: Planned) -> tuple[Word, str]:
        """The evaluation's verdict, held to Holm over the methods of this setting at this seed."""
        others = [other for planned in laid.runs.values() for other in planned if other.seed == one.seed]
        found = [
            self.read(Evaluation, other.evaluate).verdict for other in others if self.outcomes.done(other.evaluate)
        ]
        told = among(self.read(Evaluation, one.evaluate).verdict, found)
        return WORDS[told.word], told.detail

    def marks(self, planned: Sequence[Planned], done: Sequence[Evaluated], tuning: RowTuning) -> tuple[Mark, ...]:
        found: dict[MarkName, list[str]] = {}
        for run, evaluation in done:
            for guard in evaluation.guards:
                if guard.fired and guard.name in ("collapse", "over-forgetting"):
                    name: MarkName = "collapsed" if guard.name == "collapse" else "over-forgotten"
                    found.setdefault(name, []).append(guard.detail)
            if run.told.parent is not None and run.weights_digest == run.told.parent.weights_digest:
                found.setdefault("changed nothing", []).append("the weights are the original's, bit for bit")
            spent, allowed = run.result.example_steps, run.forgetting.allowed
            if allowed is not None and spent < LITTLE_USED * allowed:
                found.setdefault("budget unused", []).append(
                    f"{spent:.6g} of {allowed:.6g} allowed example-steps; "
                    f"{run.forgetting.stopped or 'the method needs no more'}"
                )
        if tuning.state in ("untuned", "oracle-tuned") and done:
            found[tuning.state] = ["fields are the table's defaults or set by hand"] * len(done)
        search = tuning.search
        if search is not None and search.better is False and done:
            found["nothing better than doing nothing"] = [
                "no fields score better than the original by more than luck"
            ] * len(done)
        if search is not None and search.transferred is False and not search.kept_default and done:
            worse = "on a second set the chosen fields gain less than half as much"
            found["tuning did not transfer"] = [worse] * len(done)
        for one in planned:
            entry = self.outcomes.entries.get(one.unlearn)
            if entry is not None and entry.outcome is not JobOutcome.DONE:
                found.setdefault(_status(entry), []).append(entry.reason)
        return tuple(
            Mark(mark=name, count=len(details), of=len(planned), detail=details[0]) for name, details in found.items()
        )

    def tuning(self, laid: Laid, entrant: Entrant) -> RowTuning:
        if not entrant.method.takes_budget:
            return RowTuning(state="takes no budget")
        key = laid.tunings.get(entrant.label)
        if key is None:
            some = searches(type(entrant.method)) or entrant.by_hand
            return RowTuning(state="untuned" if some else "nothing to tune")
        if not self.outcomes.done(key):
            return RowTuning(state="untuned")
        return tuned_row(self.read(Tuning, key), entrant.method.name)


def _status(entry: Entry) -> Literal["refused", "failed"]:
    """Of a job that is not done."""
    return "refused" if entry.outcome is JobOutcome.REFUSED else "failed"


def _training(run: Run) -> float:
    """Example-steps of the training that a run's cost is a share of."""
    return math.nan if run.told.training_example_steps is None else run.told.training_example_steps


def _lowest(done: Sequence[Evaluated]) -> str | None:
    """The lowest that any seed earned."""
    earned = [evaluation.guarantee for _, evaluation in done]
    if not earned:
        return None
    lowest = min(earned, key=lambda guarantee: (guarantee.rank, str(guarantee) != "Empirical(no test passed yet)"))
    return str(lowest)


def _defaults(method: type[Method]) -> dict[str, Any]:
    try:
        return dict(method().told.fields)
    except TypeError:  # a method of somebody else's with a field that has no default
        return {}
