"""Bars of cost: work as a share of retraining, one bar for each run."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.report.comparison import cost_of_retraining
from expunge.report.load import Section
from expunge.report.numerals import percent, shown

MOST_BARS = 24


@dataclass(frozen=True)
class Bar:
    """A run's work beside retraining's; ``width`` is a share of the longest bar."""

    name: str
    kind: str
    width: str
    share: str
    detail: str


def cost_bars(section: Section) -> tuple[Bar, ...]:
    """Retraining first, then every run; none where no reference says what retraining costs."""
    work, seconds = (cost_of_retraining(section, name) for name in ("example-steps", "seconds"))
    if work is None:
        return ()
    runs = section.named[:MOST_BARS]
    longest = max([work, *(run.result.example_steps for _, run in runs)])
    bars = [_bar("retraining", "reference", work, work, seconds or 0.0, longest)]
    bars += [_bar(label, "run", run.result.example_steps, work, run.result.seconds, longest) for label, run in runs]
    return tuple(bars)


def _bar(name: str, kind: str, steps: float, work: float, seconds: float, longest: float) -> Bar:
    detail = f"{shown(steps, 'example-steps')}, {shown(seconds, 'seconds')}"
    return Bar(name, kind, f"{100 * steps / longest:.1f}%", percent(steps / work), detail)
