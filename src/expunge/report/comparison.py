"""The table of methods against retrained references; the page and the terminal print the same cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from expunge.core.values import ClaimVerdict, Figure, Measurement, Supported, Undecided
from expunge.records.evaluation import Compared, Evaluation, MemoryEvidence, Probed
from expunge.records.run_file import Result
from expunge.report.facts import Facts
from expunge.report.load import Section, replayed
from expunge.report.numerals import DASH, SPACE, bare, interval, listed, percent, shown
from expunge.report.outcome import FAILED, OUTCOMES, badge_of, outcome_of, tone_of

NOT_EVALUATED = "not evaluated: run expunge references RUN, then expunge evaluate RUN"
MEMORY = ("memory", "Memory left, with bound")
AREA = ("loss-threshold", "Membership AUC (loss)")
SPENT = (("example-steps", "Work (example-steps)"), ("seconds", "Time (seconds)"))
COLUMNS = (
    ("forget-accuracy", "Forget accuracy"),
    ("retain-accuracy", "Retain accuracy"),
    ("test-accuracy", "Test accuracy"),
    ("mean-margin", "Mean margin, forget set"),
    AREA,
    ("membership-classifier", "Membership SVC"),
    ("average-gap", "Average gap"),
    *SPENT,
)
COLUMNS_OF_NUMBERS = (
    ("forget-error", "Mean absolute error, forget set"),
    ("test-error", "Mean absolute error, holdout"),
    ("retain-r2", "R², retain set"),
    ("test-r2", "R², holdout"),
    AREA,
    *SPENT,
)
TONES = {"Supported": "good", "Refuted": "bad", "Undecided": "open"}
PROBES = tuple(name for name, _ in (MEMORY, *COLUMNS, *COLUMNS_OF_NUMBERS))
COSTS = ("example-steps", "seconds")


@dataclass(frozen=True)
class MemoryBar:
    """A share of the memory on a scale of 100 units: the value, how far it may reach, and the band of retraining."""

    kind: str
    value: float
    bound: float
    band: tuple[float, float]


@dataclass(frozen=True)
class TableCell:
    """What stands in one field: a value with what stands beside and below it, or lines with their tones.

    ``note`` is the number of a note; ``sort`` orders the fields of a column; ``bar`` draws what is told.
    """

    value: str = ""
    below: str = ""
    note: int | None = None
    tone: str = ""
    beside: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    sort: str | None = None
    bar: MemoryBar | None = None

    def __str__(self) -> str:
        mark = "" if self.note is None else f"[{self.note}]"
        below = self.below if self.below.startswith("[") or not self.below else f"({self.below})"
        return " ".join(part for part in (self.value + mark, below) if part)


@dataclass(frozen=True)
class ModelRow:
    """One model: ``kind`` is original, references or run; ``number`` counts the runs."""

    kind: str
    label: str
    below: tuple[str, ...]
    guarantee: TableCell
    cells: tuple[TableCell, ...]
    verdict: TableCell
    number: int | None = None


@dataclass(frozen=True)
class ComparisonTable:
    """Headings, rows and numbered notes."""

    headings: tuple[str, ...]
    rows: tuple[ModelRow, ...]
    notes: tuple[str, ...]
    start: int

    def note(self, reason: str) -> int | None:
        """Number of the note that holds a reason, if one does."""
        text = own_reason(reason)
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


def compared_sections(sections: Sequence[Section]) -> list[tuple[Section, ComparisonTable]]:
    """Every section with its table; notes are numbered through all of them."""
    start, found = 1, list[tuple[Section, ComparisonTable]]()
    for section in sections:
        table = compare(section, Notes(start))
        found.append((section, table))
        start += len(table.notes)
    return found


def compare(section: Section, notes: Notes | None = None) -> ComparisonTable:
    """The section's table. ``notes`` may hold some already; what is said there too has their number."""
    notes, first = Notes() if notes is None else notes, section.evaluation
    rows = [] if first is None else [_original(section, first, notes), _references(section, first, notes)]
    rows += [_run(section, at, notes) for at in range(len(section.runs))]
    for text in left_out(
        (title.partition(",")[0], own_reason(reason))
        for name, title in (() if first is None else _columns(section))
        if (reason := _why_empty(section, name)) is not None
    ):
        notes.number(text)
    return ComparisonTable(headings(columns_of(section)), tuple(rows), tuple(notes.texts), notes.start)


def left_out(columns: Iterable[tuple[str, str]]) -> list[str]:
    """Which columns would hold only dashes, and why: one text for each reason."""
    found: dict[str, list[str]] = {}
    for title, reason in columns:
        found.setdefault(reason, []).append(title)
    return [f"{listed(titles)} {'is' if len(titles) == 1 else 'are'} left out: {why}" for why, titles in found.items()]


def columns_of(section: Section) -> tuple[tuple[str, str], ...]:
    """Probes with their titles, without those that would hold only dashes."""
    every = section.evaluation is None
    return tuple(column for column in _columns(section) if every or _why_empty(section, column[0]) is None)


def _columns(section: Section) -> tuple[tuple[str, str], ...]:
    """Accuracies, or where labels are numbers how far off the answers are; memory first, where it was asked for."""
    found = COLUMNS_OF_NUMBERS if section.numbers else COLUMNS
    asked = section.evaluation is None or any(one.probe(MEMORY[0]) for _, one in section.evaluations)
    return (MEMORY, *found) if asked else found


def _why_empty(section: Section, name: str) -> str | None:
    """Why a column would hold nothing but dashes, if it would."""
    probes = [probe for _, evaluation in section.evaluations if (probe := evaluation.probe(name)) is not None]
    figures = [one for probe in probes for one in (probe.unlearned, probe.original, *probe.references)]
    if name in COSTS or any(isinstance(one, Measurement) for one in figures):
        return None
    return next((one.reason for one in figures if isinstance(one, Undecided)), "it was not measured")


def headings(columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Of a table with these columns."""
    return ("Run", "Guarantee", *(title for _, title in columns), "Verdict")


def cost_of_retraining(section: Section, name: str) -> float | None:
    """Mean of the references' example-steps or seconds."""
    models = section.references
    if not models:
        return None
    values = [spent(model, name) for model in models]
    mean = sum(values) / len(values)
    return mean if mean > 0 else None


def spent(model: Compared | Result, name: str) -> float:
    """A model's example-steps or seconds."""
    return model.example_steps if name == "example-steps" else model.seconds


def mean_of(figures: tuple[Figure, ...]) -> float | None:
    """Mean over references, where every one of them was measured."""
    values = [figure.value for figure in figures if isinstance(figure, Measurement)]
    return sum(values) / len(values) if values and len(values) == len(figures) else None


def _original(section: Section, evaluation: Evaluation, notes: Notes) -> ModelRow:
    cells: list[TableCell] = []
    for name, _ in columns_of(section):
        probe = evaluation.probe(name)
        if name in COSTS and probe is not None and isinstance(probe.original, Undecided):
            cells.append(_dash(probe.original.reason, notes))
        elif name in COSTS:
            cells.append(_cost(section, name, evaluation.original))
        elif probe is None or probe.original is None:
            cells.append(_dash("this probe was not applied to it", notes))
        elif name == MEMORY[0] and isinstance(probe.original, Measurement):
            bar = _bar(section, "original", probe.original.value, probe.original.value)
            cells.append(TableCell(shown(probe.original.value, probe.scale), bar=bar))
        else:
            cells.append(_figure(probe.original, notes))
    return ModelRow("original", "Original", ("nothing forgotten",), TableCell(""), tuple(cells), TableCell(""))


def _references(section: Section, evaluation: Evaluation, notes: Notes) -> ModelRow:
    number = len(section.references)
    below = ["never saw these"]
    below.append("mean, lowest to highest" if number > 1 else "one run" if number else "none was given")
    cells = tuple(_reference_cell(section, evaluation.probe(name), name, notes) for name, _ in columns_of(section))
    label = "Retrained reference" if number == 1 else f"Retrained references{SPACE}({number})"
    return ModelRow("references", label, tuple(below), TableCell(""), cells, TableCell(""))


def _reference_cell(section: Section, probe: Probed | None, name: str, notes: Notes) -> TableCell:
    if not section.references:
        return _dash("no retrained reference was given: run expunge evaluate again with --reference RETRAINED", notes)
    unknown = None if probe is None else next((one for one in probe.references if isinstance(one, Undecided)), None)
    if name in COSTS and unknown is None:
        values = [spent(model, name) for model in section.references]
        spread = "" if min(values) == max(values) else f", {_range(values, name)}"
        return TableCell(percent(1.0), bare(sum(values) / len(values), name) + spread)
    if probe is None:
        return _dash("this probe was not applied to it", notes)
    reasons = [figure.reason for figure in probe.references if isinstance(figure, Undecided)]
    mean = mean_of(probe.references)
    if mean is None:
        which = f"undecided for {len(reasons)} of {len(probe.references)} references"
        return _dash(f"{which}: {own_reason(reasons[0])}", notes)
    first = probe.references[0]
    if len(probe.references) == 1 and isinstance(first, Measurement):
        return TableCell(shown(mean, probe.scale), interval(first))
    values = [figure.value for figure in probe.references if isinstance(figure, Measurement)]
    memory = section.memory
    if name == MEMORY[0] and memory is not None:
        spread = f"{bare(mean, probe.scale)}{SPACE}±{SPACE}{shown(memory.spread, probe.scale)}"
        return TableCell(spread, bar=_bar(section, "reference", 0.0, 0.0))
    return TableCell(shown(mean, probe.scale), _range(values, probe.scale))


def _range(values: list[float], scale: str) -> str:
    low, high = bare(min(values), scale), bare(max(values), scale)
    return f"all {low}" if low == high else f"{low}{SPACE}to{SPACE}{high}"


def _run(section: Section, at: int, notes: Notes) -> ModelRow:
    run = section.runs[at]
    evaluation = run.evaluation
    cells: list[TableCell] = []
    for name, _ in columns_of(section):
        if name in COSTS:
            cells.append(_cost(section, name, run.result))
            continue
        probe = None if evaluation is None else evaluation.probe(name)
        if evaluation is None:
            cells.append(_dash(NOT_EVALUATED, notes))
        elif probe is None:
            cells.append(_dash("this probe was not applied to it", notes))
        elif name == MEMORY[0] and evaluation.memory is not None:
            cells.append(_memory(section, run, evaluation.memory))
        else:
            cells.append(_figure(probe.unlearned, notes))
    label, verdict = section.labels[at], _verdict(section, run, notes)
    return ModelRow("run", label, (), _earned(section, run), tuple(cells), verdict, at + 1)


def _memory(section: Section, run: Facts, told: MemoryEvidence) -> TableCell:
    outcome = outcome_of(section, run)
    kind = "bad" if outcome in FAILED else "same" if outcome == "same" else "run"
    below = f"at most {shown(told.bound, 'memory')}"
    return TableCell(shown(told.left, "memory"), below, bar=_bar(section, kind, told.left, told.bound))


def _bar(section: Section, kind: str, value: float, bound: float) -> MemoryBar | None:
    """On the one scale of a section, which holds every value and 0 and 100 %."""
    told = [one.memory for _, one in section.evaluations if one.memory is not None]
    if section.memory is None:
        return None
    spread = section.memory.spread
    least = max(-1.0, min([-spread, *(one.left for one in told)]))
    most = min(2.0, max([1.0, *(max(one.left, one.bound, one.original) for one in told)]))

    def at(share: float) -> float:
        return round(100 * (min(max(share, least), most) - least) / (most - least), 1)

    return MemoryBar(kind, at(value), at(max(value, bound)), (at(-spread), at(spread)))


def _earned(section: Section, run: Facts) -> TableCell:
    same = replayed(section, run)
    replay = {True: "same weights as retrained", False: "weights differ from retrained", None: run.earned.detail}
    return TableCell(run.earned.word, replay[same], tone="bad" if same is False else "")


def disagreements(section: Section) -> tuple[str, ...]:
    """Probes that read the original or the references differently in another evaluation of the section."""
    evaluations = [evaluation for _, evaluation in section.evaluations]
    names = [probe.name for evaluation in evaluations[:1] for probe in evaluation.probes]
    measured = {name: [(one, probe) for one in evaluations if (probe := one.probe(name)) is not None] for name in names}
    return tuple(name for name, found in measured.items() if len({_beside(one, probe) for one, probe in found}) > 1)


def _beside(evaluation: Evaluation, probe: Probed) -> object:
    """What a probe said of the original and of every reference."""
    digests = [model.weights_digest for model in evaluation.references]
    references = sorted((digest, repr(figure)) for digest, figure in zip(digests, probe.references, strict=True))
    return probe.original, tuple(references)


def _figure(figure: Figure, notes: Notes) -> TableCell:
    if isinstance(figure, Undecided):
        return _dash(own_reason(figure.reason), notes)
    return TableCell(shown(figure.value, figure.scale), interval(figure))


def own_reason(reason: str, names: Collection[str] = PROBES) -> str:
    """A reason that another column gave, without that column's name: both then share one note."""
    name, _, rest = reason.partition(": ")
    return rest if name in names and rest else reason


def _dash(reason: str, notes: Notes) -> TableCell:
    return TableCell(DASH, note=notes.number(reason))


def _cost(section: Section, name: str, model: Compared | Result) -> TableCell:
    value, retraining = spent(model, name), cost_of_retraining(section, name)
    if retraining is None:
        return TableCell(bare(value, name), "" if section.references else "no reference to compare with")
    return TableCell(percent(value / retraining), bare(value, name))


def _verdict(section: Section, run: Facts, notes: Notes) -> TableCell:
    """The outcome in words; a note says why where no column does."""
    outcome, evaluation = outcome_of(section, run), run.evaluation
    note = None
    if evaluation is None and outcome == "unsaid":
        return _dash(NOT_EVALUATED, notes)
    if outcome == "recorded":
        note = notes.number(f"{OUTCOMES[outcome].after} {OUTCOMES[outcome].command}")
    elif evaluation is not None and outcome not in ("same", "remembers", "little left"):
        note = notes.number(evaluation.reason)
    return TableCell(badge_of(outcome, evaluation).capitalize(), note=note, tone=tone_of(outcome, evaluation))


def verdict_words(verdict: ClaimVerdict) -> tuple[str, str]:
    """A verdict's word, and the tone it is printed in."""
    name = type(verdict).__name__
    return name, TONES[name]


def verdict_reason(verdict: ClaimVerdict) -> str:
    """Why, in the words of the evaluation."""
    return verdict.detail if isinstance(verdict, Supported) else verdict.reason
