"""``predict`` and ``score``: what a run's model answers to rows that it never saw, and how well."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike

from expunge.data.handed import AnyData, Names
from expunge.train.answering import Answering, Predictions
from expunge.train.export import ExportedModel
from expunge.train.load import load
from expunge.train.run import Run

AnyModel = Run | ExportedModel | PathLike[str] | str


def predict(run: AnyModel, data: AnyData, *, id: str | Names | None = None, device: str | None = None) -> Predictions:
    """What the model of a run, or one that was exported, answers to rows in whatever form ``train`` takes.

    Columns are read as the run's own; a label is not needed, and columns that the model does not know are passed over.
    ``id`` names the rows, as in the run unless said.
    """
    return _answering(run, device).predict(data, id=id)


def score(run: AnyModel, data: AnyData, *, label: str | None = None, device: str | None = None) -> dict[str, float]:
    """How well the model of a run, or one that was exported, answers rows whose labels are there.

    The figures of its task by name, such as ``accuracy``, a share of these rows. ``label`` names their column, as in
    the run unless said.
    """
    return _answering(run, device).score(data, label=label)


def _answering(run: AnyModel, device: str | None) -> Answering:
    found = run if isinstance(run, Run | ExportedModel) else load(run)
    if isinstance(found, Run):
        return found.answering(device)
    return found.answering if device is None else replace(found.answering, device=device)
