"""What a run says of how well it learnt, and that saying it changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import retold, run_json

from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.train import answers, training
from expunge.train.examples import Examples
from expunge.train.training import make_recipe, train


def test_a_run_says_what_it_learnt(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=2, without="subject:someone-00")
    rows, model = run.data(pictures), run.model()
    for told, split in zip(run.told.learnt or (), (Split.TRAIN, Split.CALIBRATION), strict=True):
        there = np.setdiff1d(np.arange(len(rows[split])), run.tombstones if split is Split.TRAIN else [])
        encoded = torch.from_numpy(run.recipe.inputs.encode(rows[split]))
        with torch.no_grad():
            right = [int(model(encoded[at : at + 1]).argmax()) == rows[split].labels[at] for at in there]
        assert (told.split, told.rows) == (split.value, len(there))
        assert told.figures == {"accuracy": pytest.approx(np.mean(right), abs=1e-12)}
    monkeypatch.setattr(answers, "ASKED", 7)
    few = train(pictures, out=tmp_path / "few", model="mlp", epochs=2, without="subject:someone-00")
    assert [told.rows for told in few.told.learnt or ()] == [7, 7]
    monkeypatch.setattr(training, "learnt", lambda *_: None)
    silent = train(pictures, out=tmp_path / "silent", model="mlp", epochs=2, without="subject:someone-00")
    assert silent.told.learnt is None
    assert "learnt" not in (silent.path / "run.json").read_text(encoding="utf-8")
    for other in (few, silent):
        assert other.weights_digest == run.weights_digest
        assert other.result.example_steps == run.result.example_steps
        assert [event.digest for event in other.log.checkpoints(0)] == [
            event.digest for event in run.log.checkpoints(0)
        ]
    assert retold(run, learnt=run_json(few)["learnt"]).told.learnt == few.told.learnt


def test_a_look_at_the_result_changes_nothing_of_it(pictures: Dataset) -> None:
    class Counts(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return torch.eye(3)[:1].expand(len(rows), 3)

    model, recipe = Counts(), make_recipe(pictures, model="mlp")
    examples = Examples(recipe, pictures, torch.device("cpu"))
    found = answers.learnt(recipe, model, examples, np.arange(20), pictures.take(np.arange(0)))
    assert [(told.split, told.rows) for told in found] == [("train", 20)]
    assert found[0].figures["accuracy"] == np.mean(pictures.labels[:20] == 0)
    assert float(model.calls) == 0
