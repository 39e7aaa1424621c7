"""The contract for the method that needs a recorded run: what is in memory for the others lies in a folder here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import given_of
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.values import Exact
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.splits import Split
from expunge.methods.contract import Given, Need, Parent
from expunge.methods.exact_replay import ExactReplay, planned
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples
from expunge.train.run import Run
from expunge.train.state import weights_digest
from expunge.train.training import train


@pytest.fixture(scope="module")
def recorded(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Parent]:
    out = tmp_path_factory.mktemp("recorded") / "base"
    run = train(pictures, out=out, model="mlp", epochs=6, batch_size=16, slices=3, checkpoint_interval=2)
    rows = run.data(pictures)[Split.TRAIN]
    return run, Parent(
        recipe=run.recipe,
        schedule=run.schedule,
        root=run.root,
        beacon=run.beacon,
        units=run.units,
        examples=Examples(run.recipe, rows, torch.device("cpu")),
        model=run.model(),
        weights_digest=run.weights_digest,
        emptied=np.zeros(0, dtype=np.int64),
        exact_refused=None,
        folder=run.path,
    )


@pytest.fixture
def late(recorded: tuple[Run, Parent]) -> np.ndarray:
    """Slots of the last slice: something can be reused."""
    return np.flatnonzero(recorded[0].schedule.cells[:, 1] == 2)[:3]


def test_its_work_is_known_before_it_is_done(recorded: tuple[Run, Parent], pictures: Dataset, tmp_path: Path) -> None:
    """To the last example-step, where slices, shards or kept checkpoints save some of it."""
    sharded = train(pictures, out=tmp_path / "two", model="mlp", epochs=2, batch_size=16, shards=2, slices=2)
    for run in (recorded[0], sharded):
        cells = run.schedule.cells
        for number, slots in enumerate((np.flatnonzero((cells == cells.max(axis=0)).all(axis=1))[:3], np.arange(3))):
            forget = ForgetSet(slots, ("ids",), run.root.hex())
            out = tmp_path / f"{run.path.name}-{number}"
            forgot = unlearn(run, forget, method="exact-replay", out=out, data=pictures)
            assert planned(run, slots) == forgot.result.example_steps
            again = np.setdiff1d(np.arange(10, 14), slots)
            assert planned(forgot, again) <= forgot.schedule.work(np.union1d(slots, again))
        assert planned(run, np.arange(3)) < run.schedule.work(np.arange(3)) or run is recorded[0]


def test_it_equals_retraining_and_reuses(recorded: tuple[Run, Parent], late: np.ndarray) -> None:
    _, parent = recorded
    before = weights_digest(parent.model)
    first, again, retrained = (method(parent, late) for method in (ExactReplay(), ExactReplay(), Retrain()))
    assert weights_digest(first.model) == weights_digest(again.model) == weights_digest(retrained.model) != before
    assert weights_digest(parent.model) == before
    assert isinstance(first.guarantee, Exact)
    assert first.seen == ()
    assert first.cost.example_steps < retrained.cost.example_steps
    assert first.steps == retrained.steps - first.reused[0]
    assert first.cost.prepaid == ("checkpoints",)
    assert not any(module.training for module in first.model.modules())


def test_touched_first_in_the_last_step_all_but_one_step_is_reused(recorded: tuple[Run, Parent]) -> None:
    """Made so by a schedule of one epoch in which the slot sits in the last batch."""
    run, parent = recorded
    everything = run.schedule.work(np.zeros(0, dtype=np.int64))
    order = run.schedule.epoch_order(0, 0)
    slot = order[-1:]
    touched = run.schedule.first_touch(0, slot)
    assert touched == (len(order) - 1) // run.recipe.batch_size
    result = ExactReplay()(parent, slot)
    start = max((item.step for item in run.log.checkpoints(0) if item.step <= touched), default=0)
    assert result.reused == {0: start}
    assert result.cost.example_steps == run.schedule.work(slot, starts=(start,)) < everything


def test_only_what_is_declared_is_read_and_counted(
    recorded: tuple[Run, Parent], late: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, parent = recorded
    given: list[Given] = []
    read: list[np.ndarray] = []
    counted: list[int] = []
    real_init, real_plain = Given.__init__, Examples.batch

    def remember(self: Given, *arguments: Any, **named: Any) -> None:
        real_init(self, *arguments, **named)
        given.append(self)

    def plain(self: Examples, slots: np.ndarray) -> Any:
        read.append(slots)
        return real_plain(self, slots)

    class Counting(Classification):
        def outputs(self, model: nn.Module, batch: Any) -> torch.Tensor:
            counted.append(len(batch))
            return super().outputs(model, batch)

    monkeypatch.setattr(Given, "__init__", remember)
    monkeypatch.setattr(Examples, "batch", plain)
    monkeypatch.setitem(TASKS, "classification", Counting())
    result = ExactReplay()(parent, late)
    assert given[0].used == ExactReplay.needs == {Need.RETAIN, Need.INIT, Need.CHECKPOINTS}
    assert not np.isin(late, np.concatenate(read)).any()
    assert result.cost.example_steps == sum(counted)


@pytest.mark.parametrize("name", ["forget", "retain", "original", "ancestor"])
def test_what_was_not_declared_cannot_be_reached(name: str, recorded: tuple[Run, Parent]) -> None:
    _, parent = recorded
    closed = given_of(parent, frozenset(), np.array([1]))
    with pytest.raises(InvalidArgument, match="without declaring it"):
        getattr(closed, name)
    with pytest.raises(InvalidArgument, match="ask for rows by their slots"):
        closed.examples.inputs  # noqa: B018
