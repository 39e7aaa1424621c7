"""Guards, notices and every probe in detail; what several evaluations say alike is said once, with their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from expunge.core.values import Figure, Measurement, Undecided
from expunge.core.wording import counted
from expunge.records.evaluation import Evaluation, Probed
from expunge.report.comparison import ComparisonTable, mean_of, verdict_reason, verdict_words
from expunge.report.load import Section
from expunge.report.numerals import DASH, SPACE, few, interval, probability, shown

MOST_LINES = 120
MOST_PROBES = 60
MOST_NAMED = 6
LONG = 50


@dataclass(frozen=True)
class SharedRemark:
    """A sentence, what it is about, and which runs it holds for."""

    about: str
    text: str
    runs: str


@dataclass(frozen=True)
class ProbeLine:
    """What one probe said of one run. ``note`` is the number of the table's note that says why a value is missing."""

    run: str
    value: str
    note: int | None
    counted: str
    verdict: str
    tone: str
    reason: str


@dataclass(frozen=True)
class Test:
    """One probe: what it is, what it said of the original and of retraining, and a line for each run."""

    name: str
    summary: str
    role: str
    original: str
    references: str
    lines: tuple[ProbeLine, ...]


@dataclass(frozen=True)
class Details:
    """Everything the section's evaluations say beyond the table."""

    trials: tuple[SharedRemark, ...]
    fired: tuple[SharedRemark, ...]
    quiet: tuple[str, ...]
    notices: tuple[SharedRemark, ...]
    tests: tuple[Test, ...]
    left_out: int


_Named = Sequence[tuple[str, Evaluation]]


def details(section: Section, table: ComparisonTable) -> Details | None:
    """None where nothing was evaluated. Reasons that are notes of the table are referred to by their numbers."""
    named = section.evaluations
    if not named:
        return None
    fired = _told(named, lambda e: [(guard.name, guard.detail) for guard in e.guards if guard.fired])
    guards = [guard for _, evaluation in named for guard in evaluation.guards]
    loud = {guard.name for guard in guards if guard.fired}
    names = list(dict.fromkeys(probe.name for _, evaluation in named for probe in evaluation.probes))
    return Details(
        trials=_told(named, lambda e: [("", _trial(e))]),
        fired=fired,
        quiet=tuple(dict.fromkeys(guard.name for guard in guards if guard.name not in loud)),
        notices=_told(named, lambda e: [("", notice) for notice in e.notices]),
        tests=tuple(_test(name, named, table) for name in names[:MOST_PROBES]),
        left_out=max(0, len(names) - MOST_PROBES),
    )


def _told(named: _Named, tell: Callable[[Evaluation], Iterable[tuple[str, str]]]) -> tuple[SharedRemark, ...]:
    """Each sentence once, with the runs that it was said of."""
    found: dict[tuple[str, str], list[str]] = {}
    for label, evaluation in named:
        for said in dict.fromkeys(tell(evaluation)):
            found.setdefault(said, []).append(label)
    remarks = [SharedRemark(about, text, _who(runs, len(named))) for (about, text), runs in found.items()]
    return tuple(remarks[:MOST_LINES])


def _who(runs: list[str], all_runs: int) -> str:
    if len(runs) == all_runs:
        return "all runs" if all_runs > 1 else ""
    return few(runs, MOST_NAMED)


def _trial(evaluation: Evaluation) -> str:
    counts = evaluation.trial
    parts = [
        f"{counted(counts.forget, 'example')} to forget",
        f"{counts.retain:,} retained",
        f"{counts.holdout:,} in the holdout ({counts.attack:,} to fit attacks, {counts.scored:,} scored)",
        counted(len(evaluation.references), "retrained reference"),
    ]
    if counts.excluded_holdout:
        parts.append(f"{counted(counts.excluded_holdout, 'holdout row')} of forgotten people, or like theirs, left out")
    if counts.duplicates:
        parts.append(f"{counted(counts.duplicates, 'forgotten example')} with an exact duplicate that stays")
    if counts.dropped_classes:
        parts.append(f"classes left out of test accuracy: {', '.join(counts.dropped_classes)}")
    return "; ".join(parts) + "."


def _test(name: str, named: _Named, table: ComparisonTable) -> Test:
    found = [(label, probe) for label, evaluation in named if (probe := evaluation.probe(name)) is not None]
    first = found[0][1]
    mean = first.reference_mean if first.reference_mean is not None else mean_of(first.references)
    required = {probe.required for _, probe in found}
    return Test(
        name=name,
        summary=first.summary,
        role=first.role + (", required" if required == {True} else ", required of some" if True in required else ""),
        original=DASH if first.original is None or isinstance(first.original, Undecided) else _said(first.original),
        references=DASH if mean is None else shown(mean, first.scale),
        lines=_lines(found, table),
    )


def _lines(found: list[tuple[str, Probed]], table: ComparisonTable) -> tuple[ProbeLine, ...]:
    """One line for each run; a reason that another run had before is not spelled out again."""
    lines: list[ProbeLine] = []
    first: dict[str, str] = {}
    for label, probe in found:
        line = _line(label, probe, table)
        before = first.setdefault(line.reason, label)
        repeated = before != label and len(line.reason) > LONG
        lines.append(replace(line, reason=f"as for {before}") if repeated else line)
    return tuple(lines)


def _line(label: str, probe: Probed, table: ComparisonTable) -> ProbeLine:
    verdict, tone = verdict_words(probe.verdict)
    reason = verdict_reason(probe.verdict).removeprefix(f"{probe.name}: ")
    p = None if isinstance(probe.verdict, Undecided) else probe.verdict.p
    if p is not None:
        reason = f"{reason} (p {probability(p)})".strip()
    figure = probe.unlearned
    note = table.note(figure.reason) if isinstance(figure, Undecided) else None
    judged = probe.role in ("utility", "forgetting")
    return ProbeLine(
        run=label,
        value=DASH if note is not None else _said(figure),
        note=note,
        counted=f"n{SPACE}={SPACE}{counted(figure.n, figure.unit)}"
        if isinstance(figure, Measurement) and figure.n > 1
        else "",
        verdict=verdict if judged or verdict != "Undecided" else "",
        tone=tone if judged else "",
        reason=reason,
    )


def _said(figure: Figure) -> str:
    if isinstance(figure, Undecided):
        return f"{DASH} {figure.reason}"
    return " ".join(part for part in (shown(figure.value, figure.scale), interval(figure)) if part)
