"""The forgotten examples, each with the model's confidence in its true label before, after and retrained; where
labels are numbers, with its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import DataError, ExpungeError, InvalidArgument, NotInstalled
from expunge.core.installed import needed_by
from expunge.core.wording import clean
from expunge.data.commitment import open_again
from expunge.data.dataset import ColumnKind, Dataset
from expunge.data.dates import shown_day
from expunge.data.encoding import Encoding
from expunge.data.forms import read
from expunge.data.parts import parts_of
from expunge.data.salts import salts_of
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.data.stored import read_commitment
from expunge.records.evaluation import Evaluation, ShownExample
from expunge.records.form import from_plain
from expunge.report.facts import Facts
from expunge.report.load import Section
from expunge.report.numerals import DASH, listed, shown
from expunge.report.picture import is_picture, picture

MOST_EXAMPLES = 24
FEW = 6  # that are shown at once, the rest is folded
MOST_RUNS = 6
LONGEST_ROW = 80
ABSENT = "this row is no longer in the data"


@dataclass(frozen=True)
class Confidence:
    """Who answers, how sure of the true label, and that as a bar's width; of a number the answer, without a bar.

    ``stands_out`` where no retrained model answers so.
    """

    name: str
    kind: str
    value: str
    width: str
    stands_out: bool = False


@dataclass(frozen=True)
class Example:
    """One card of the grid; ``person`` is whom several rows belong to, where that is known."""

    title: str
    who: tuple[str, ...]
    picture: str | None
    text: str
    confidences: tuple[Confidence, ...]
    person: str = ""


PeopleShown = tuple[tuple[str, tuple[Example, ...]], ...]


@dataclass(frozen=True)
class ExampleGrid:
    """The cards in their order, and what must be said about them."""

    examples: tuple[Example, ...]
    outstanding: str
    remarks: tuple[str, ...]
    holds_data: bool
    stretched: bool
    numbers: bool

    def shown(self, most: int) -> PeopleShown:
        """Those seen at once, person by person."""
        return _people(self.examples[: min(FEW, most)])

    def folded(self, most: int) -> PeopleShown:
        """The rest of so many."""
        return _people(self.examples[FEW:most])


def _people(examples: tuple[Example, ...]) -> PeopleShown:
    groups: dict[str, list[Example]] = {}
    for example in examples:
        groups.setdefault(example.person, []).append(example)
    return tuple((person, tuple(found)) for person, found in groups.items())


def grid(section: Section, *, data: str | None, show: bool, most: int = MOST_EXAMPLES) -> ExampleGrid | None:
    """The section's grid; none where no evaluation holds examples. ``show`` false keeps every trace of them out."""
    answers = [
        (label, run, run.evaluation.examples)
        for label, run in section.named
        if run.evaluation is not None and run.evaluation.examples
    ]
    if not answers or most < 1:
        return None
    first, chosen = answers[0][1], answers[0][2]
    numbers = any(item.answers is not None for item in chosen)
    if numbers and not show:
        return None  # an answer comes close to the label
    remarks = list[str]()
    rows, problem = training_rows(first, data) if show else (None, None)
    if problem is not None:
        remarks.append(problem)
    if len(answers) > MOST_RUNS:
        remarks.append(f"The first {MOST_RUNS} of {len(answers)} runs are shown.")
    told: dict[int, dict[str, ShownExample]] = {}
    for label, _, found in answers[:MOST_RUNS]:
        for item in found:
            told.setdefault(item.slot, {})[label] = item
    ordered = sorted(told, key=lambda slot: (-_change(next(iter(told[slot].values()))), slot))[:most]
    examples = tuple(_example(at, slot, told[slot], rows, show) for at, slot in enumerate(ordered, 1))
    drawn = [column for column in rows.columns if is_picture(column)] if rows is not None else []
    return ExampleGrid(
        examples=examples,
        outstanding=_outstanding([(label, run.evaluation) for label, run, _ in answers]),
        remarks=tuple(remarks),
        holds_data=show,
        stretched=any(column.kind is ColumnKind.ARRAY for column in drawn),
        numbers=numbers,
    )


def _change(item: ShownExample) -> float:
    """How far the answer before lies from the retrained one."""
    told = item if item.answers is None else item.answers
    return 0.0 if told.before is None or told.retrained is None else abs(told.before - told.retrained)


def _person(rows: Dataset, slot: int) -> str:
    """Whose row it is; empty where rows are nobody's."""
    return "" if rows.subjects[slot] == rows.ids[slot] else clean(str(rows.subjects[slot]), LONGEST_ROW)


def _outstanding(evaluations: Sequence[tuple[str, Evaluation | None]]) -> str:
    """How many rows are still known to each run; empty where no evaluation says so."""
    counts: list[str] = []
    for label, evaluation in evaluations:
        if evaluation is None or all(item.stands_out is None for item in evaluation.examples):
            continue
        shown_out = sum(item.still_known for item in evaluation.examples)
        count = shown_out if evaluation.memory is None else evaluation.memory.stands_out
        counts.append(f"{label} {count or 'none'}")
    if not counts:
        return ""
    return f"Rows that still stand out, answered as by no retrained model: {listed(counts)}. None is no proof."


def training_rows(run: Facts, data: str | None) -> tuple[Dataset | None, str | None]:
    """The training rows as they were committed, or a line that says why they are not shown."""
    if run.told.data.source is None and data is None:
        return None, "The run was trained on data in memory, so the examples’ content is not shown, confidences only."
    commitment = read_commitment(run.folder, run.told.data.roots)
    try:
        source = Source.from_json(run.told.data.source or {**(run.told.data.held or {}), "location": str(data)})
        if data is not None:
            source = replace(source, location=data)
        inputs: Encoding = from_plain(Encoding, run.told.recipe["inputs"], "inputs")
        classes = tuple(run.told.recipe["classes"])
        with needed_by("the data"):
            if run.told.data.in_parts:
                found = parts_of(run.told.data, data).again(inputs.columns, classes)
            else:
                found = read(source, columns=inputs.columns, classes=classes)
    except (InvalidArgument, KeyError, TypeError, ValueError):
        return None, "The data is no longer where the run found it, so confidences only are shown."
    except NotInstalled:
        return None, "A package that reads the data is not installed here, so confidences only are shown."
    except ExpungeError:
        return None, "The data can no longer be read as the run read it, so confidences only are shown."
    try:
        salts = salts_of(run.told.data)
    except (DataError, KeyError, TypeError, ValueError):
        return None, "The run’s secret salts are no longer where they were, so confidences only are shown."
    try:
        released = {Split(name): slots for name, slots in run.told.released.items()}
        forgotten = np.array(run.tombstones, dtype=np.int64)
        cut = source.rows is not None
        seated = open_again(found, commitment, forgotten, released, cut=cut, salts=salts)
    except DataError:
        return None, "The data no longer matches the run’s commitment, so confidences only are shown."
    return seated[Split.TRAIN], None


def _example(number: int, slot: int, told: Mapping[str, ShownExample], rows: Dataset | None, show: bool) -> Example:
    item = next(iter(told.values()))
    confidences = [_said("before", "original", item, "before")]
    for label, own in told.items():
        confidences.append(replace(_said(label, "run", own, "after"), stands_out=own.still_known))
    confidences.append(_said("retrained", "reference", item, "retrained"))
    if not show:
        return Example(f"example {number}", (), None, "", tuple(confidences))
    title = f"label {item.label:g}" if isinstance(item.label, float) else f"label {item.label}"
    if rows is None or slot >= len(rows):
        return Example(title, (f"slot {slot}",), None, "", tuple(confidences))
    if not bool(rows.present[slot]):
        return Example(title, (f"slot {slot}",), None, ABSENT, tuple(confidences))
    found, person = card(rows, slot, title, tuple(confidences)), _person(rows, slot)
    return replace(found, person=person, who=found.who[:1] if person else found.who)


def card(rows: Dataset, slot: int, title: str, confidences: tuple[Confidence, ...] = ()) -> Example:
    """A row that is there, as its picture or as a person would note it down."""
    names = dict.fromkeys((rows.ids[slot], rows.subjects[slot]))
    who = tuple(clean(name, LONGEST_ROW) for name in names)
    column = next((column for column in rows.columns if is_picture(column)), None)
    if column is not None and len(rows.columns) == 1:
        return Example(title, who, picture(rows.content[column.name][slot], column), "", confidences)
    return Example(title, who, None, _rendered(rows, slot), confidences)


def _said(name: str, kind: str, item: ShownExample | None, when: str) -> Confidence:
    """What was said of an example before, after, or by the retrained models."""
    value = None if item is None else getattr(item if item.answers is None else item.answers, when)
    if item is None or value is None:
        return Confidence(name, kind, DASH, "0")
    if item.answers is not None:
        return Confidence(name, kind, shown(value, "error"), "0")
    return Confidence(name, kind, shown(value, "fraction"), f"{100 * value:.1f}%")


def _rendered(rows: Dataset, slot: int) -> str:
    """A table's row as a person would note it down, cut at 80 characters."""
    parts: list[str] = []
    for column in rows.columns:
        value = rows.content[column.name][slot]
        if column.kind is ColumnKind.NUMERIC:
            text = f"{float(value):.6g}"
        elif column.kind is ColumnKind.DATE:
            text = shown_day(float(value))
        elif column.kind in (ColumnKind.CATEGORY, ColumnKind.TEXT):
            text = str(value)
        else:
            numbers = np.asarray(value).reshape(-1)
            text = ", ".join(f"{float(number):.4g}" for number in numbers[:8]) + (", …" if len(numbers) > 8 else "")
        parts.append(f"{column.name} {text}")
        if sum(map(len, parts)) > LONGEST_ROW:
            break
    return clean(" · ".join(parts), LONGEST_ROW)
