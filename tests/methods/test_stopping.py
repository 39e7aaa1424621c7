"""A method that says itself when it is done: it ends there, the run says why, and a killed one ends alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import run_json
from tests.methods.shared import FORGET, Problem, continues
from torch import nn

from expunge.data.dataset import Dataset
from expunge.methods.contract import Given, Parent
from expunge.methods.fine_tune import FineTune
from expunge.methods.objective_method import Prepared
from expunge.methods.unlearn import unlearn
from expunge.train.loop import Hooks
from expunge.train.run import Run
from expunge.train.state import weights_digest

WHY = "five steps are enough"


@dataclass(frozen=True, kw_only=True)
class Brief(FineTune):
    """Fine-tuning that ends after five steps."""

    name = "brief"

    def prepare(self, given: Given, student: nn.Module) -> Prepared:
        return Prepared(hooks=Hooks(stop=lambda done: WHY if done >= 5 else None))


@pytest.fixture
def parent(problem: Problem) -> Parent:
    return problem("normed")


def test_it_ends_after_the_step_and_says_why(parent: Parent) -> None:
    brief, whole = Brief()(parent, FORGET, budget=0.5), FineTune()(parent, FORGET, budget=0.5)
    assert (brief.steps, brief.stopped) == (5, WHY)
    assert whole.steps > 5
    assert brief.cost.example_steps < whole.cost.example_steps


@pytest.mark.parametrize("stop", [3, 4])
def test_killed_before_the_end_it_ends_alike(parent: Parent, stop: int, tmp_path: Path) -> None:
    again = continues(Brief(), parent, tmp_path / "own", stop=stop, budget=0.5)
    assert (again.steps, again.stopped) == (5, WHY)


def test_killed_at_the_end_it_takes_no_step_more(parent: Parent, tmp_path: Path) -> None:
    """The state of the step that it ended with is on disk, the result is not."""

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Brief()(parent, FORGET, budget=0.5, workspace=tmp_path, checkpoint_interval=5, progress=kill)
    taken: list[int] = []
    again = Brief()(
        parent,
        FORGET,
        budget=0.5,
        workspace=tmp_path,
        checkpoint_interval=5,
        progress=lambda done, total: taken.append(done),
    )
    assert taken == []
    assert (again.steps, again.stopped) == (5, WHY)
    assert weights_digest(again.model) == weights_digest(Brief()(parent, FORGET, budget=0.5).model)


def test_the_run_records_the_reason(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    run = unlearn(small_run, "subject:someone-04", method=Brief(), out=tmp_path / "out", budget=0.9, data=pictures)
    assert (run_json(run)["steps"], run_json(run)["stopped"]) == (5, WHY)
