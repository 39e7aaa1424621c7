"""results.json: what a study found, setting by setting, and the order in which its rows stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, get_args

from expunge.core.errors import DataError
from expunge.core.text_table import TextTable
from expunge.core.wording import LONGEST_NAME, clean
from expunge.records.document import Document
from expunge.records.figures import NOT_MEASURED, Estimate, Figures, MeanFigure, Means, over_seeds
from expunge.records.form import INLINE, NULL, Plain
from expunge.records.holds import NOTHING, Holds
from expunge.records.outcome import OutcomeName
from expunge.records.over_trainings import OverTrainings, table_over_trainings
from expunge.records.published import over_runs
from expunge.records.row_tuning import RowTuning
from expunge.records.scalars import Amount, Name, Remark, Share, Short, Words, shown, sized

LONGEST_WRITTEN = 4096  # characters of a method's or a setting's name as it is written; pages show fewer
ALTERED = "the file was altered or badly written"
Word = Literal["Supported", "Refuted", "Undecided"]
MarkName = Literal[
    "collapsed",
    "untuned",
    "budget unused",
    "changed nothing",
    "nothing better than doing nothing",
    "tuning did not transfer",
    "refused",
    "failed",
    "over-forgotten",
    "oracle-tuned",
]
VERDICTS, MARKS = get_args(Word), get_args(MarkName)

ANY_TEXT = f"must be a text of 1 to {LONGEST_WRITTEN} characters: the file was altered"
WRITTEN = replace(sized(1, LONGEST_WRITTEN), said=ANY_TEXT)
WrittenName = Annotated[str, WRITTEN]  # tells things apart, however strange
Shown = Annotated[str, WRITTEN, shown(LONGEST_NAME)]


@dataclass(frozen=True, kw_only=True)
class Mark(Plain):
    """Something a reader must know before the figures; ``count`` of ``of`` seeds show it."""

    mark: MarkName
    count: int
    of: int
    detail: Remark | None = None

    def check(self, where: str) -> None:
        if self.count > self.of:
            raise DataError(f"{where} counts {self.count} of {self.of} seeds: {ALTERED}")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A run that was done: work in example-steps, time in seconds; ``at_most`` so much of the memory may be left."""

    verdict: Word | None
    weights_digest: Remark
    example_steps: Amount
    allowed: Amount | None = field(default=None, metadata=NULL)
    seconds: Amount
    guarantee: Remark
    stopped: Remark | None = field(default=None, metadata=NULL)
    notices: tuple[Remark, ...] | None = None
    outcome: OutcomeName | None = None
    at_most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Seed(Plain):
    """One run of a method, or why there is none."""

    seed: int
    status: Literal["done", "refused", "failed", "missing"]
    reason: Remark | None = None
    done: Done | None = field(default=None, metadata=INLINE)

    def check(self, where: str) -> None:
        if self.status != "done" and self.done is not None:
            raise DataError(f"{where} is {self.status} and has a verdict: {ALTERED}")
        if self.done is not None:
            _ranked(self.done.guarantee, where)


@dataclass(frozen=True)
class Conclusion:
    """What the runs of a cell come to: how many were given which verdict, and why. Computed, never written by hand.

    ``OverTrainings`` is what they say of the method.
    """

    verdicts: Mapping[str, int]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, seeds: Iterable[Seed]) -> Conclusion:
        done = [seed for seed in seeds if seed.done is not None]
        verdicts = Counter(seed.done.verdict for seed in done if seed.done is not None and seed.done.verdict)
        return cls(dict(sorted(verdicts.items())), tuple(dict.fromkeys(seed.reason or "" for seed in done)))


@dataclass(frozen=True, kw_only=True)
class Row(Plain):
    """One method in one setting. ``method`` is its name as written, ``label`` what a page shows.

    ``verdicts`` counts those of its runs, ``concluded`` is what they say of the method; earlier files have none.
    """

    method: WrittenName
    label: Shown
    summary: Words
    citation: Remark | None = None
    guarantee: Short | None
    needs: tuple[Name, ...]
    seen: tuple[Name, ...]
    fields: Mapping[str, Any]
    defaults: Mapping[str, Any]
    tuning: RowTuning
    figures: Figures
    verdicts: Mapping[str, int]
    reasons: tuple[Remark, ...]
    marks: tuple[Mark, ...]
    seeds: tuple[Seed, ...]
    concluded: OverTrainings | None = None
    as_published: Means | None = None  # as papers print them; no intervals

    def has(self, mark: str) -> bool:
        return any(found.mark == mark for found in self.marks)

    def count(self, status: str) -> int:
        return sum(seed.status == status for seed in self.seeds)

    def judged(self, verdict: str) -> int:
        """How many seeds were given this verdict."""
        return self.verdicts.get(verdict, 0)

    @property
    def outcomes(self) -> tuple[OutcomeName, ...]:
        """What came out for each seed that is done; none by the rules of earlier releases."""
        return tuple(
            seed.done.outcome for seed in self.seeds if seed.done is not None and seed.done.outcome is not None
        )

    @property
    def took_part(self) -> bool:
        """Whether any seed was done: the others have no figures at all."""
        return self.count("done") > 0

    def check(self, where: str) -> None:
        _once([str(seed.seed) for seed in self.seeds], f"{where} seeds")
        told = Conclusion.of(self.seeds).verdicts
        for word in dict.fromkeys((*VERDICTS, *self.verdicts)):
            if self.judged(word) != told.get(word, 0):
                raise DataError(
                    f"{where} counts {self.judged(word)} {clean(word, LONGEST_NAME)}, its seeds say "
                    f"{told.get(word, 0)}: the file was altered"
                )
        if self.guarantee is None:
            if self.took_part:
                raise DataError(f"{where} has runs that are done and no guarantee: the file was altered")
            return
        rank = _ranked(self.guarantee, where)
        if any((guarantee_rank(seed.done.guarantee) or 0) < rank for seed in self.seeds if seed.done is not None):
            claimed = clean(self.guarantee, 40)
            raise DataError(f"{where} claims {claimed}, one of its seeds did not earn it: it was altered")


@dataclass(frozen=True, kw_only=True)
class ModelFigures(Plain):
    """Figures of models that no method made: of the originals, or of the references."""

    figures: Means
    as_published: Means | None = None


@dataclass(frozen=True, kw_only=True)
class Noise(Plain):
    """How far honest retrainings lie from each other, in units of the forgetting gap."""

    forgetting_gap: Amount | None = field(default=None, metadata=NULL)


@dataclass(frozen=True, kw_only=True)
class Setting(Plain):
    """Data, recipe and forget set: what makes rows comparable."""

    id: WrittenName
    data: Shown
    recipe: Shown
    model: Shown | None
    forget: Shown
    title: Shown
    rules: tuple[Words, ...]
    forgotten: int
    share: Share
    training_rows: int
    training_example_steps: Amount | None = field(default=None, metadata=NULL)
    budget: Amount | None = field(default=None, metadata=NULL)
    originals: ModelFigures = field(metadata={"name": "original"})
    references: ModelFigures = field(metadata={"name": "retrained"})
    likeness: Noise | None = field(default=None, metadata={"name": "noise", **NULL})
    nothing_forgets: Remark | None = None
    rows: tuple[Row, ...]

    @property
    def original(self) -> Means:
        return self.originals.figures

    @property
    def retrained(self) -> Means:
        return self.references.figures

    @property
    def noise(self) -> float | None:
        """How far honest retrainings lie apart."""
        return None if self.likeness is None else self.likeness.forgetting_gap

    @cached_property
    def ranked(self) -> tuple[Row, ...]:
        """Rows by what came out, then by how much is left; last the collapsed and those that did not run."""
        return tuple(sorted(self.rows, key=_place))

    @property
    def table(self) -> TextTable:
        """Its rows in their order, with the figures that rank them."""
        rows = tuple(
            (
                row.label,
                (row.guarantee or "–").partition("(")[0],
                over_seeds(row.figures["forgetting-gap"]),
                over_seeds(row.figures["utility-gap"], percent=True),
                over_seeds(row.figures["cost"], percent=True),
                " ".join(f"{name} {count}" for name, count in row.verdicts.items()) or "–",
                ", ".join(mark.mark for mark in row.marks),
            )
            for row in self.ranked
        )
        headers = ("row", "guarantee", "forgetting gap", "utility gap", "cost", "verdicts", "marks")
        return TextTable(f"{self.id}: {self.title}, {self.forgotten} rows", headers, rows)

    @property
    def over_trainings(self) -> TextTable:
        """What is said of methods and not of runs."""
        told = [(row.label, row.concluded, row.figures) for row in self.ranked if row.concluded is not None]
        return table_over_trainings(self.id, told)

    @property
    def published(self) -> TextTable:
        """As papers print it; no row where a study did not ask for that."""
        models = (("original", self.originals), ("retrained", self.references))
        rows = ((row.label, row) for row in self.ranked)
        return over_runs([(label, one.as_published) for label, one in (*models, *rows)])

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """Of runs, of methods, and as papers print them."""
        return self.table, self.over_trainings, self.published

    def number(self, row: Row) -> int:
        """The row's number in table and drawing, from 1."""
        return self.ranked.index(row) + 1

    @cached_property
    def original_figures(self) -> Means:
        """The original's, with its utility gap against the references where the study left that to the reader."""
        own, mean = self.original["test-accuracy"], self.retrained.mean("test-accuracy")
        if "utility-gap" in self.original.found or mean is None or not isinstance(own, Estimate):
            return self.original
        return replace(self.original, utility_gap=Estimate(mean - own.mean, mean - own.high, mean - own.low, own.n))

    @cached_property
    def further(self) -> tuple[str, ...]:
        """Names of the probes whose figures have no place of their own."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.figures.further))

    def difference(self, row: Row, name: str) -> MeanFigure:
        """Own figure minus the references' mean; without an interval where the study wrote none."""
        found = NOT_MEASURED if row.figures.differences is None else row.figures.differences[name]
        own, theirs = row.figures.mean(name), self.retrained.mean(name)
        if isinstance(found, Estimate) or own is None or theirs is None:
            return found
        return Estimate(own - theirs)

    def check(self, where: str) -> None:
        _once([f"{row.method}, {row.label}" for row in self.rows], f"{where} rows")


def _place(row: Row) -> tuple[bool, bool, float, bool, float, str]:
    gap = row.figures.mean("memory" if row.outcomes else "forgetting-gap")
    worst = row.judged("Refuted") / max(1, sum(row.verdicts.values()))  # by the rules of earlier releases
    if row.outcomes:
        worst = sum(map(get_args(OutcomeName).index, row.outcomes)) / len(row.outcomes)
    return not row.took_part, row.has("collapsed"), worst, gap is None, abs(gap or 0.0), row.label


@dataclass(frozen=True, kw_only=True)
class Problem(Plain):
    """A job that gave no result, and why."""

    job: Shown
    status: Literal["refused", "failed"]
    reason: Remark


@dataclass(frozen=True, kw_only=True)
class StudyCost(Plain):
    """What the whole study took, in example-steps and seconds."""

    jobs: int
    reused: int
    refused: int
    failed: int
    left_out: int | None = None
    example_steps: Amount
    seconds: Amount
    job_seconds: Amount


@dataclass(frozen=True, kw_only=True)
class Results(Document):
    """The whole file. All that may differ between two identical studies stands apart from ``settings``."""

    FORMAT: ClassVar[str] = "expunge/study-results/1"
    NAME: ClassVar[str] = "results.json"
    HOLDS: ClassVar[Holds] = NOTHING
    AGAIN: ClassVar[str] = ", or it is no study's results; run expunge study again"

    name: WrittenName
    title: Shown
    date: Short
    command: Remark
    machine: Mapping[str, Any]
    versions: Mapping[str, Any]
    engine: Mapping[str, Any]
    seeds: tuple[int, ...]
    references: int
    witnesses: int | None = None
    digest: Short
    complete: bool
    cost: StudyCost
    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...]

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Every method once, in the order of the file."""
        return tuple(dict.fromkeys(row.method for setting in self.settings for row in setting.rows))

    def _repr_html_(self) -> str:
        tables = (table for setting in self.settings for table in setting.tables)
        return "".join(table.as_html() for table in tables if table.rows)

    def rows_of(self, method: str) -> tuple[tuple[Setting, Row], ...]:
        return tuple((setting, row) for setting in self.settings for row in setting.rows if row.method == method)

    def check(self, where: str) -> None:
        _once([setting.id for setting in self.settings], f"{where} settings")
        if not self.settings:
            raise DataError(f"{where} holds no setting: there is nothing to rank; run expunge study again")


def guarantee_rank(guarantee: str | None) -> int | None:
    """2 for Exact, 1 for Certified, 0 for Empirical; None for what is no guarantee."""
    kind = (guarantee or "").split("(", 1)[0].strip()
    return {"Exact": 2, "Certified": 1, "Empirical": 0}.get(kind)


def _ranked(guarantee: str, where: str) -> int:
    rank = guarantee_rank(guarantee)
    if rank is None:
        raise DataError(f"{where} guarantee {clean(guarantee, 40)!r} is none of Exact, Certified(…), Empirical")
    return rank


def _once(names: Sequence[str], where: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{where} names {clean(twice, LONGEST_NAME)!r} twice: each may stand once")
