"""The results of a study as frozen values, and the order in which its rows stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from expunge.core.values import Undecided

FIGURES = (
    "forget-accuracy",
    "retain-accuracy",
    "test-accuracy",
    "membership-classifier",
    "loss-threshold",
    "mean-margin",
    "average-gap",
    "forgetting-gap",
    "utility-gap",
    "cost",
    "seconds",
)
MARKS = (
    "collapsed",
    "untuned",
    "budget unused",
    "changed nothing",
    "tuning did not transfer",
    "refused",
    "failed",
    "over-forgotten",
    "oracle-tuned",
)
VERDICTS = ("Supported", "Refuted", "Undecided")
STATES = ("tuned", "nothing to tune", "takes no budget", "untuned", "oracle-tuned")
NOT_MEASURED = Undecided("this figure was not measured in this study")


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds (or over references) with its 95 % t-interval; with n = 1 the interval is empty."""

    mean: float
    low: float
    high: float
    n: int


Figure = Estimate | Undecided


@dataclass(frozen=True)
class Figures:
    """Figures by name; one that is absent is undecided."""

    found: Mapping[str, Figure]

    def __getitem__(self, name: str) -> Figure:
        return self.found.get(name, NOT_MEASURED)

    def mean(self, name: str) -> float | None:
        figure = self[name]
        return figure.mean if isinstance(figure, Estimate) else None


@dataclass(frozen=True)
class Mark:
    """Something a reader must know before the figures; ``count`` of ``of`` seeds show it."""

    mark: str
    count: int
    of: int
    detail: str


@dataclass(frozen=True)
class Tuning:
    """What the search did; absent scores are None."""

    state: str
    trials: int
    score: float | None
    default_score: float | None
    transfer_score: float | None
    transferred: bool | None
    example_steps: float
    digest: str
    failures: tuple[tuple[str, str], ...]
    kept_default: bool
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Seed:
    """One run of a method, or why there is none."""

    seed: int
    status: str
    verdict: str
    reason: str
    guarantee: str
    weights_digest: str
    example_steps: float | None
    allowed: float | None
    seconds: float | None
    stopped: str
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """One method in one setting. ``method`` is its name as written, ``label`` what a page shows."""

    method: str
    label: str
    summary: str
    citation: str
    guarantee: str
    needs: tuple[str, ...]
    seen: tuple[str, ...]
    fields: Mapping[str, str]
    defaults: Mapping[str, str]
    tuning: Tuning
    figures: Figures
    differences: Figures
    verdicts: Mapping[str, int]
    reasons: tuple[str, ...]
    marks: tuple[Mark, ...]
    seeds: tuple[Seed, ...]

    def has(self, mark: str) -> bool:
        return any(found.mark == mark for found in self.marks)

    def count(self, status: str) -> int:
        return sum(seed.status == status for seed in self.seeds)

    @property
    def took_part(self) -> bool:
        """Whether any seed was done: the others have no figures at all."""
        return self.count("done") > 0


@dataclass(frozen=True)
class Setting:
    """Data, recipe and forget set: what makes rows comparable. ``noise``: how far honest retrainings lie apart."""

    id: str
    data: str
    recipe: str
    model: str
    forget: str
    title: str
    rules: tuple[str, ...]
    forgotten: int
    share: float
    training_rows: int
    training_example_steps: float | None
    budget: float | None
    original: Figures
    retrained: Figures
    noise: float | None
    rows: tuple[Row, ...]

    @cached_property
    def ranked(self) -> tuple[Row, ...]:
        """Rows by the share of seeds refuted, then by forgetting gap; last the collapsed and those that did not run."""
        return tuple(sorted(self.rows, key=_place))

    def number(self, row: Row) -> int:
        """The row's number in table and drawing, from 1."""
        return self.ranked.index(row) + 1

    @cached_property
    def original_figures(self) -> Figures:
        """The original's, with its utility gap against the references where the study left that to the reader."""
        own, mean = self.original["test-accuracy"], self.retrained.mean("test-accuracy")
        if "utility-gap" in self.original.found or mean is None or not isinstance(own, Estimate):
            return self.original
        gap = Estimate(mean - own.mean, mean - own.high, mean - own.low, own.n)
        return Figures({**self.original.found, "utility-gap": gap})

    def difference(self, row: Row, name: str) -> Figure:
        """Own figure minus the references' mean; without an interval where the study wrote none."""
        found = row.differences[name]
        own, theirs = row.figures.mean(name), self.retrained.mean(name)
        if isinstance(found, Estimate) or own is None or theirs is None:
            return found
        return Estimate(own - theirs, own - theirs, own - theirs, 1)


def _place(row: Row) -> tuple[bool, bool, float, bool, float, str]:
    gap = row.figures.mean("forgetting-gap")
    verdicts = [seed.verdict for seed in row.seeds if seed.verdict]
    refuted = verdicts.count("Refuted") / len(verdicts) if verdicts else 0.0
    return not row.took_part, row.has("collapsed"), refuted, gap is None, gap or 0.0, row.label


@dataclass(frozen=True)
class Problem:
    """A job that gave no result, and why."""

    job: str
    status: str
    reason: str


@dataclass(frozen=True)
class StudyCost:
    """What the whole study took."""

    jobs: int
    reused: int
    refused: int
    failed: int
    left_out: int
    example_steps: float
    seconds: float
    job_seconds: float


@dataclass(frozen=True)
class Study:
    """A whole results.json."""

    name: str
    title: str
    date: str
    command: str
    machine: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    engine: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    references: int
    digest: str
    complete: bool
    cost: StudyCost
    settings: tuple[Setting, ...]
    problems: tuple[Problem, ...]

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Every method once, in the order of the file."""
        return tuple(dict.fromkeys(row.method for setting in self.settings for row in setting.rows))

    def rows_of(self, method: str) -> tuple[tuple[Setting, Row], ...]:
        return tuple((setting, row) for setting in self.settings for row in setting.rows if row.method == method)


def guarantee_rank(guarantee: str) -> int | None:
    """2 for Exact, 1 for Certified, 0 for Empirical; None for what is no guarantee."""
    kind = guarantee.split("(", 1)[0].strip()
    return {"Exact": 2, "Certified": 1, "Empirical": 0}.get(kind)
