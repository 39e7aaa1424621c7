"""``predict`` and ``score``: what a run's model answers to rows that it never saw, and how well."""

from __future__ import annotations

from pathlib import Path

from expunge.core.values import Figure
from expunge.data.handed import AnyData, Names
from expunge.train.answering import Predictions
from expunge.train.run import Run


def predict(
    run: Run | Path | str, data: AnyData, *, id: str | Names | None = None, device: str | None = None
) -> Predictions:
    """What the model of a run answers to rows in whatever form ``train`` takes.

    Columns are read as the run's own; a label is not needed, and columns that the model does not know are passed over.
    ``id`` names the rows, as in the run unless said.
    """
    return Run.of(run).answering(device).predict(data, id=id)


def score(
    run: Run | Path | str, data: AnyData, *, label: str | None = None, device: str | None = None
) -> dict[str, Figure]:
    """How well the model of a run answers rows whose labels are there: a share of right answers, with its interval.

    ``label`` names their column, as in the run unless said.
    """
    return Run.of(run).answering(device).score(data, label=label)
