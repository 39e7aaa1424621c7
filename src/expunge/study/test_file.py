"""Rows that every model of a study is scored on: a file of their own, never split and never seen by tuning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from expunge.data.dataset import Dataset
from expunge.data.handed import hand_over
from expunge.records.scalars import Large
from expunge.records.study_store import ScoreFile
from expunge.schedule.recipe import Recipe
from expunge.study.axes import Data
from expunge.study.figures import SeedFigure, as_figure
from expunge.study.job import WHOLE, Job, JobMeans, PlannedData, ScoreRun, ScoreSpec
from expunge.study.opened import deal, read_scored
from expunge.study.training_job import software
from expunge.train.answering import looked_at

FIGURE = "test-file-"  # what the names of its figures begin with


def rows_to_score(data: Data, recipe: Recipe) -> tuple[PlannedData, Dataset]:
    """The rows of a test file as models of this recipe read them; what does not fit is refused."""
    assert data.test is not None
    source = looked_at(hand_over(data.test).filled({**data.source.as_json(), "rows": None})).said
    rows = read_scored(source, recipe)
    planned = PlannedData(source=source.as_json(), roots=deal(rows, 0, None).roots, split_seed=Large(0), split_by=WHOLE)
    return planned, rows


def score_jobs(test: PlannedData | None, runs: Iterable[Job]) -> dict[str, ScoreRun]:
    """A job for every run, by the key of the run's own; none where the data have no test file."""
    if test is None:
        return {}
    spec = ScoreSpec(test=test.roots.train, software=software())
    means = JobMeans(data=test)
    return {
        run.key: ScoreRun(title=f"score {run.title}", spec=spec, inputs={"run": (run.key,)}, means=means)
        for run in runs
    }


def scored(found: Sequence[ScoreFile]) -> dict[str, SeedFigure]:
    """A figure over runs of each that their task has, by its name."""
    names = dict.fromkeys(name for one in found for name in one.figures)
    return {FIGURE + name: as_figure([one.figures[name] for one in found if name in one.figures]) for name in names}
