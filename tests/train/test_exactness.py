"""Models that cannot be continued to the same bits earn no Exact, and the run says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from expunge.data.dataset import Dataset
from expunge.train.exactness import differing
from expunge.train.training import train

MODELS = """
import random
import torch
from torch import nn

class Base(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layer = nn.Linear(64, classes)
    def forward(self, inputs):
        return self.layer(inputs.flatten(1))

class Counting(Base):
    calls = 0
    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return super().forward(inputs) * (1 + self.calls)

class Hidden(Base):
    def __init__(self, classes):
        super().__init__(classes)
        self.register_buffer("scale", torch.ones(1), persistent=False)
    def forward(self, inputs):
        if self.training:
            self.scale *= 1.5
        return super().forward(inputs) * self.scale

class OwnGenerator(Base):
    def __init__(self, classes):
        super().__init__(classes)
        self.generator = torch.Generator().manual_seed(1)
    def forward(self, inputs):
        if self.training:
            inputs = inputs * (torch.rand(inputs.shape, generator=self.generator) > 0.5)
        return super().forward(inputs)

class Dropping(Base):
    def forward(self, inputs):
        if self.training and random.random() > 2:
            return inputs
        return super().forward(nn.functional.dropout(inputs, 0.5, self.training))

def make(kind):
    return lambda inputs, classes: kind(classes)

counting, hidden, own_generator, dropping = (make(k) for k in (Counting, Hidden, OwnGenerator, Dropping))
"""


@pytest.mark.parametrize(
    ("name", "exact"), [("counting", False), ("hidden", False), ("own_generator", False), ("dropping", True)]
)
def test_state_outside_the_checkpoint_is_found(
    name: str, exact: bool, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = train(pictures, out=tmp_path / "run", model=f"odd_models:{name}", epochs=1, batch_size=16)
    assert (run.manifest["exact_refused"] is None) == exact
    if not exact:
        assert "does not continue from a checkpoint to the same bits" in run.manifest["exact_refused"]
        assert run.manifest["guarantee"]["kind"] == "empirical"


def test_anyones_dropout_replays_to_the_bit(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.methods.unlearn import unlearn

    (tmp_path / "odd_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    state = torch.get_rng_state()
    base = train(pictures, out=tmp_path / "base", model="odd_models:dropping", epochs=4, slices=2)
    replayed = unlearn(base, "random:2:1", out=tmp_path / "e", data=pictures)
    retrained = unlearn(base, "random:2:1", method="retrain", out=tmp_path / "r", data=pictures)
    assert replayed.weights_digest == retrained.weights_digest
    assert torch.equal(state, torch.get_rng_state())


def test_differing_fields_are_named() -> None:
    assert differing({"torch": "2", "numpy": "2"}, {"torch": "1", "numpy": "2"}) == ["torch '1' then, '2' now"]
    assert differing({"a": 1}, {"a": 1}) == []
