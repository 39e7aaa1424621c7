"""What stands in the drawing: which probe is drawn, and every model that has both figures.

The membership AUC of the loss is drawn first: .5 means the same on every data set and it needs nothing but losses.
Where its own controls found it blind, or it could not be measured, the mean margin takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.values import Figure, Measurement
from expunge.records.evaluation import Probed
from expunge.report.axis import drawable
from expunge.report.comparison import cost_of_retraining
from expunge.report.load import Section
from expunge.report.numerals import bare, shown

ACROSS = (("loss-threshold", "Membership AUC on the forget set"), ("mean-margin", "Mean margin on the forget set"))
UP = "test-accuracy"


@dataclass(frozen=True)
class Point:
    """A model in the drawing; a run has a cost."""

    kind: str
    name: str
    across: Measurement
    up: Measurement
    share: float | None = None


def chosen_probe(section: Section) -> tuple[str, str] | None:
    """The first probe that can see something here, else the first that was measured at all."""
    measured = [(name, title) for name, title in ACROSS if any(p.kind == "run" for p in points_of(section, name))]
    first = section.evaluated[0].evaluation if section.evaluated else None
    sighted = [item for item in measured if first is not None and not first.warnings(item[0])]
    return next(iter(sighted + measured), None)


def points_of(section: Section, name: str) -> list[Point]:
    found: list[Point] = []
    retraining = cost_of_retraining(section, "example-steps")
    for run, label in zip(section.runs, section.labels, strict=True):
        if run.evaluation is None:
            continue
        across, up = run.evaluation.probe(name), run.evaluation.probe(UP)
        if across is None or up is None:
            continue
        if not found:
            found += _others(across, up)
        share = None if retraining is None else run.result.example_steps / retraining
        found += _point("run", label, across.unlearned, up.unlearned, share)
    return found


def _others(across: Probed, up: Probed) -> list[Point]:
    pairs = zip(across.references, up.references, strict=True)
    found = [point for pair in pairs for point in _point("reference", "retrained", *pair)]
    if across.original is not None and up.original is not None:
        found += _point("original", "original", across.original, up.original)
    return found


def _point(kind: str, name: str, across: Figure, up: Figure, share: float | None = None) -> list[Point]:
    if not isinstance(across, Measurement) or not isinstance(up, Measurement):
        return []
    if not drawable(across.value, up.value):
        return []
    return [Point(kind, name, across, up, share)]


def described(points: list[Point]) -> str:
    """The drawing in words, for those who do not see it."""
    told = [
        f"{point.name}: {bare(point.across.value, point.across.scale)} and {shown(point.up.value, point.up.scale)}"
        for point in points[:40]
    ]
    return "; ".join(told)
