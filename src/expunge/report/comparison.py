"""The table of methods against retrained references; the page and the terminal print the same cells."""

from __future__ import annotations

from dataclasses import dataclass, field

from expunge.core.values import Certified, Exact, Figure, Guarantee, Measurement, Supported, Undecided, Verdict
from expunge.records.evaluation import Evaluation, Probed
from expunge.report.facts import Facts
from expunge.report.load import Section, replayed
from expunge.report.numerals import SPACE, bare, count, interval, percent, shown

NOT_EVALUATED = "not evaluated: run expunge evaluate RUN --reference RETRAINED"
DASH = "—"
COLUMNS = (
    ("forget-accuracy", "Forget accuracy"),
    ("retain-accuracy", "Retain accuracy"),
    ("test-accuracy", "Test accuracy"),
    ("mean-margin", "Mean margin, forget set"),
    ("loss-threshold", "Membership AUC (loss)"),
    ("membership-classifier", "Membership SVC"),
    ("average-gap", "Average gap"),
    ("example-steps", "Work (example-steps)"),
    ("seconds", "Time (seconds)"),
)
COSTS = ("example-steps", "seconds")


@dataclass(frozen=True)
class Cell:
    """What stands in one field: a value, what belongs below it, and the number of a note."""

    value: str
    below: str = ""
    note: int | None = None
    tone: str = ""

    def __str__(self) -> str:
        mark = "" if self.note is None else f"[{self.note}]"
        below = self.below if self.below.startswith("[") or not self.below else f"({self.below})"
        return " ".join(part for part in (self.value + mark, below) if part)


@dataclass(frozen=True)
class Row:
    """One model: ``kind`` is original, references or run; ``number`` counts the runs."""

    kind: str
    label: str
    below: tuple[str, ...]
    guarantee: Cell
    cells: tuple[Cell, ...]
    verdict: Cell
    number: int | None = None


@dataclass(frozen=True)
class Table:
    """Headings, rows and numbered notes."""

    headings: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    start: int

    def note(self, reason: str) -> int | None:
        """Number of the note that holds a reason, if one does."""
        text = _own_reason(reason)
        return self.notes.index(text) + self.start if text in self.notes else None


@dataclass
class Notes:
    """Reasons, numbered from ``start`` in the order in which they come up; the same reason has one number."""

    start: int = 1
    texts: list[str] = field(default_factory=list[str])

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + self.start


def compare(section: Section, start: int = 1) -> Table:
    """The section's table. Notes are numbered from ``start``."""
    notes = Notes(start)
    rows = [_original(section, notes), _references(section, notes)] if section.evaluated else []
    rows += [_run(section, at, notes) for at in range(len(section.runs))]
    headings = ("Run", "Guarantee", *(title for _, title in COLUMNS), "Verdict")
    return Table(headings, tuple(rows), tuple(notes.texts), start)


def cost_of_retraining(section: Section, name: str) -> float | None:
    """Mean of the references' example-steps or seconds."""
    models = section.references
    if not models:
        return None
    values = [model.example_steps if name == "example-steps" else model.seconds for model in models]
    mean = sum(values) / len(values)
    return mean if mean > 0 else None


def mean_of(figures: tuple[Figure, ...]) -> float | None:
    """Mean over references, where every one of them was measured."""
    values = [figure.value for figure in figures if isinstance(figure, Measurement)]
    return sum(values) / len(values) if values and len(values) == len(figures) else None


def _original(section: Section, notes: Notes) -> Row:
    evaluation = _evaluation(section)
    cells: list[Cell] = []
    for name, _ in COLUMNS:
        probe = evaluation.probe(name)
        if name in COSTS:
            value = evaluation.original.example_steps if name == "example-steps" else evaluation.original.seconds
            cells.append(_cost(section, name, value))
        elif probe is None or probe.original is None:
            cells.append(_dash("this probe was not applied to it", notes))
        else:
            cells.append(_figure(probe.original, notes))
    return Row("original", "Original", ("nothing forgotten",), Cell(""), tuple(cells), Cell(""))


def _references(section: Section, notes: Notes) -> Row:
    evaluation = _evaluation(section)
    number = len(section.references)
    below = ["never saw these"]
    below.append("mean, lowest to highest" if number > 1 else "one run" if number else "none was given")
    cells = tuple(_reference_cell(section, evaluation.probe(name), name, notes) for name, _ in COLUMNS)
    label = "Retrained reference" if number == 1 else f"Retrained references{SPACE}({number})"
    return Row("references", label, tuple(below), Cell(""), cells, Cell(""))


def _reference_cell(section: Section, probe: Probed | None, name: str, notes: Notes) -> Cell:
    if not section.references:
        return _dash("no retrained reference was given: run expunge evaluate again with --reference RETRAINED", notes)
    if name in COSTS:
        values = [model.example_steps if name == "example-steps" else model.seconds for model in section.references]
        spread = "" if min(values) == max(values) else f", {_range(values, name)}"
        return Cell(percent(1.0), bare(sum(values) / len(values), name) + spread)
    if probe is None:
        return _dash("this probe was not applied to it", notes)
    reasons = [figure.reason for figure in probe.references if isinstance(figure, Undecided)]
    mean = mean_of(probe.references)
    if mean is None:
        which = f"undecided for {len(reasons)} of {len(probe.references)} references"
        return _dash(f"{which}: {_own_reason(reasons[0])}", notes)
    first = probe.references[0]
    if len(probe.references) == 1 and isinstance(first, Measurement):
        return Cell(shown(mean, probe.scale), interval(first))
    values = [figure.value for figure in probe.references if isinstance(figure, Measurement)]
    return Cell(shown(mean, probe.scale), _range(values, probe.scale))


def _range(values: list[float], scale: str) -> str:
    low, high = bare(min(values), scale), bare(max(values), scale)
    return f"all {low}" if low == high else f"{low}{SPACE}to{SPACE}{high}"


def _run(section: Section, at: int, notes: Notes) -> Row:
    run = section.runs[at]
    evaluation = run.evaluation
    cells: list[Cell] = []
    for name, _ in COLUMNS:
        if name in COSTS:
            cells.append(
                _cost(section, name, run.result.example_steps if name == "example-steps" else run.result.seconds)
            )
            continue
        probe = None if evaluation is None else evaluation.probe(name)
        if evaluation is None:
            cells.append(_dash(NOT_EVALUATED, notes))
        elif probe is None:
            cells.append(_dash("this probe was not applied to it", notes))
        else:
            cells.append(_figure(probe.unlearned, notes))
    verdict = _verdict(evaluation.verdict, notes) if evaluation is not None else _dash(NOT_EVALUATED, notes)
    return Row("run", section.labels[at], (), _guarantee(section, run), tuple(cells), verdict, at + 1)


def _guarantee(section: Section, run: Facts) -> Cell:
    title, below = guarantee_words(run.earned)
    same = replayed(section, run)
    if same is not None:
        below = "same weights as retrained" if same else "weights differ from retrained"
    return Cell(title, below, tone="bad" if same is False else "")


def disagreements(section: Section) -> tuple[str, ...]:
    """Probes that read the original or the references differently in another evaluation of the section."""
    first = _evaluation(section)
    others = [run.evaluation for run in section.evaluated[1:] if run.evaluation is not None]
    found: list[str] = []
    for probe in first.probes:
        for other in others:
            twin = other.probe(probe.name)
            if twin is None or twin.original != probe.original or _sorted(other, twin) != _sorted(first, probe):
                found.append(probe.name)
                break
    return tuple(found)


def _sorted(evaluation: Evaluation, probe: Probed) -> list[tuple[str, str]]:
    digests = [model.weights_digest for model in evaluation.references]
    return sorted((digest, repr(figure)) for digest, figure in zip(digests, probe.references, strict=True))


def guarantee_words(guarantee: Guarantee) -> tuple[str, str]:
    """Its name, and what belongs to it."""
    if isinstance(guarantee, Exact):
        return "Exact", ""
    if isinstance(guarantee, Certified):
        return "Certified", f"ε = {guarantee.epsilon:g}, δ = {guarantee.delta:g}"
    passed = len(guarantee.passed)
    return "Empirical", f"{count(passed, 'test')} passed" if passed else "no test passed"


def _figure(figure: Figure, notes: Notes) -> Cell:
    if isinstance(figure, Undecided):
        return _dash(_own_reason(figure.reason), notes)
    return Cell(shown(figure.value, figure.scale), interval(figure))


def _own_reason(reason: str) -> str:
    """A reason that another probe gave, without that probe's name: two columns then share one note."""
    for name, _ in COLUMNS:
        reason = reason.removeprefix(f"{name}: ")
    return reason


def _dash(reason: str, notes: Notes) -> Cell:
    return Cell(DASH, note=notes.number(reason))


def _cost(section: Section, name: str, value: float) -> Cell:
    retraining = cost_of_retraining(section, name)
    if retraining is None:
        return Cell(bare(value, name), "" if section.references else "no reference to compare with")
    return Cell(percent(value / retraining), bare(value, name))


def _verdict(verdict: Verdict, notes: Notes) -> Cell:
    word, tone = verdict_words(verdict)
    reason = verdict_reason(verdict)
    return Cell(word, note=notes.number(reason) if reason else None, tone=tone)


def verdict_words(verdict: Verdict) -> tuple[str, str]:
    """A verdict's word, and the tone it is printed in."""
    name = type(verdict).__name__
    return name, {"Supported": "good", "Refuted": "bad"}.get(name, "open")


def verdict_reason(verdict: Verdict) -> str:
    """Why, in the words of the evaluation."""
    return verdict.detail if isinstance(verdict, Supported) else verdict.reason


def _evaluation(section: Section) -> Evaluation:
    found = section.evaluated[0].evaluation
    assert found is not None
    return found
