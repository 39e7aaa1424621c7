"""Guards, notices and every probe of an evaluation, one line each."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.values import Measurement, Undecided
from expunge.report.comparison import mean_of, verdict_reason, verdict_words
from expunge.report.evaluation import Evaluation, Figure, Guard, Probe
from expunge.report.load import Section
from expunge.report.numerals import count, interval, probability, shown

MOST_LINES = 60


@dataclass(frozen=True)
class Line:
    """One probe: what it said, of whom, and what follows. ``missing`` says that there is a reason, not a value."""

    name: str
    summary: str
    role: str
    value: str
    missing: bool
    counted: str
    original: str
    references: str
    verdict: str
    tone: str
    reason: str


@dataclass(frozen=True)
class Detail:
    """One evaluated run."""

    label: str
    trial: str
    fired: tuple[Guard, ...]
    quiet: tuple[str, ...]
    notices: tuple[str, ...]
    lines: tuple[Line, ...]
    left_out: int


def details(section: Section) -> tuple[Detail, ...]:
    """All evaluated runs of a section."""
    found: list[Detail] = []
    for run, label in zip(section.runs, section.labels, strict=True):
        if run.evaluation is not None:
            found.append(_detail(label, run.evaluation))
    return tuple(found)


def _detail(label: str, evaluation: Evaluation) -> Detail:
    fired = tuple(guard for guard in evaluation.guards if guard.fired)
    fired_names = {guard.name for guard in fired}
    quiet = dict.fromkeys(guard.name for guard in evaluation.guards if guard.name not in fired_names)
    lines = tuple(_line(probe) for probe in evaluation.probes[:MOST_LINES])
    left_out = max(0, len(evaluation.probes) - MOST_LINES)
    return Detail(label, _trial(evaluation), fired[:MOST_LINES], tuple(quiet), evaluation.notices[:MOST_LINES], lines, left_out)


def _trial(evaluation: Evaluation) -> str:
    counts = dict(evaluation.counts)
    parts = [
        f"{count(counts['forget'], 'example')} to forget",
        f"{counts['retain']:,} retained",
        f"{counts['holdout']:,} in the holdout ({counts['attack']:,} to fit attacks, {counts['scored']:,} scored)",
        count(len(evaluation.references), "retrained reference"),
    ]
    if counts["excluded_holdout"]:
        parts.append(f"{count(counts['excluded_holdout'], 'holdout row')} of forgotten people left out")
    if counts["duplicates"]:
        parts.append(f"{count(counts['duplicates'], 'forgotten example')} with an exact duplicate that stays")
    if evaluation.dropped_classes:
        parts.append(f"classes left out of test accuracy: {', '.join(evaluation.dropped_classes)}")
    return "; ".join(parts) + "."


def _line(probe: Probe) -> Line:
    verdict, tone = verdict_words(probe.verdict)
    reason = verdict_reason(probe.verdict)
    p = None if isinstance(probe.verdict, Undecided) else probe.verdict.p
    if p is not None:
        reason = f"{reason} (p = {probability(p)})".replace("= <", "< ").strip()
    mean = probe.reference_mean if probe.reference_mean is not None else mean_of(probe.references)
    return Line(
        name=probe.name,
        summary=probe.summary,
        role=f"{probe.role}, required" if probe.required else probe.role,
        value=_said(probe.unlearned),
        missing=isinstance(probe.unlearned, Undecided),
        counted=_counted(probe.unlearned),
        original="—" if probe.original is None or isinstance(probe.original, Undecided) else _said(probe.original),
        references="—" if mean is None else shown(mean, probe.scale),
        verdict=verdict,
        tone=tone,
        reason=reason,
    )


def _said(figure: Figure) -> str:
    if isinstance(figure, Undecided):
        return figure.reason
    return " ".join(part for part in (shown(figure.value, figure.scale), interval(figure)) if part)


def _counted(figure: Figure) -> str:
    return f"n = {count(figure.n, figure.unit)}" if isinstance(figure, Measurement) else ""
