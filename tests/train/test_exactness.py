"""Models that cannot be continued to the same bits earn no Exact, and the run says why."""

from __future__ import annotations

import importlib
import linecache
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json

from expunge.core.errors import RunError
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.schedule.recipe import Optimiser, Profile
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

class Late(Base):
    calls = 0
    def forward(self, inputs):
        if self.training:
            self.calls += 1
        return super().forward(inputs) * (2 if self.calls > 5 else 1)

class Private(Base):
    _calls = 0
    def forward(self, inputs):
        self._calls += self.training
        return super().forward(inputs) * (2 if self._calls > 5 else 1)

class Box:
    calls = 0
    def __repr__(self):
        return "a box"

class Boxed(Base):
    def __init__(self, classes):
        super().__init__(classes)
        self.box = Box()
    def forward(self, inputs):
        self.box.calls += self.training
        return super().forward(inputs) * (2 if self.box.calls > 5 else 1)

class Closed(Base):
    def __init__(self, classes):
        super().__init__(classes)
        calls = 0
        def count(training):
            nonlocal calls
            calls += training
            return calls
        self.count = count
    def forward(self, inputs):
        return super().forward(inputs) * (2 if self.count(self.training) > 5 else 1)

class Extra(Base):
    def get_extra_state(self):
        return {"note": 1}
    def set_extra_state(self, state):
        pass

class Lazy(Base):
    def __init__(self, classes):
        super().__init__(classes)
        self.layer = nn.LazyLinear(classes)

def make(kind):
    return lambda inputs, classes: kind(classes)

counting, hidden, own_generator, dropping, late, extra, lazy, private, boxed, closed = (
    make(kind)
    for kind in (Counting, Hidden, OwnGenerator, Dropping, Late, Extra, Lazy, Private, Boxed, Closed)
)
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("counting", "changes 'body.calls' in training"),
        ("hidden", "changes 'body.scale' in training"),
        ("own_generator", "changes 'body.generator' in training"),
        ("late", "changes 'body.calls' in training"),
        ("private", "changes 'body._calls' in training"),
        ("boxed", "changes 'body.box' in training"),
        ("closed", "changes 'body.count' in training"),
        ("extra", "extra state that is no tensor"),
        ("lazy", "is a lazy parameter"),
        ("dropping", None),
    ],
)
def test_state_outside_the_checkpoint_is_found(
    name: str, words: str | None, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = train(pictures, out=tmp_path / "run", model=f"odd_models:{name}", epochs=1, batch_size=16)
    if words is None:
        assert run_json(run)["exact_refused"] is None
    else:
        assert words in run_json(run)["exact_refused"]
        assert run_json(run)["guarantee"]["kind"] == "empirical"


def test_anyones_dropout_replays_to_the_bit(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_changed_helper_of_the_model_is_seen(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the factory's own file makes the model."""
    package = tmp_path / "their_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (tmp_path / "their_blocks.py").write_text("from torch import nn\n\ndef activation():\n    return nn.ReLU()\n")
    (package / "models.py").write_text(
        "from torch import nn\nimport their_blocks\n\n"
        "def build(inputs, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), their_blocks.activation(), nn.Linear(8, classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    base = train(pictures, out=tmp_path / "base", model="their_package.models:build", epochs=4, slices=2)
    assert run_json(base)["exact_refused"] is None
    blocks = importlib.import_module("their_blocks")
    (tmp_path / "their_blocks.py").write_text(
        "from torch import nn\n\ndef activation():\n    return nn.GELU()  # smoother\n"
    )
    linecache.clearcache()
    importlib.reload(blocks)
    with pytest.raises(RunError, match=r"factory .* then, .* now.*use `method` retrain"):
        unlearn(base, "subject:someone-01", out=tmp_path / "child", data=pictures)
    for name in [name for name in sys.modules if name.startswith("their_")]:
        sys.modules.pop(name)


def test_a_factory_that_builds_otherwise_elsewhere_is_seen(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moody.py").write_text(
        "import os\nfrom torch import nn\n\n"
        "def build(inputs, classes):\n"
        "    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
        "    nn.init.constant_(model[1].weight, float(os.environ['MOOD']))\n"
        "    return model\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MOOD", "0.01")
    base = train(pictures, out=tmp_path / "base", model="moody:build", epochs=1)
    assert run_json(base)["exact_refused"] is None
    monkeypatch.setenv("MOOD", "0.02")
    with pytest.raises(RunError, match=r"initial weights .* then, .* now"):
        unlearn(base, "subject:someone-01", out=tmp_path / "child", data=pictures)
    again = unlearn(base, "subject:someone-01", method="retrain", out=tmp_path / "again", data=pictures)
    assert "other initial weights than in the training" in run_json(again)["exact_refused"]
    assert run_json(again)["guarantee"]["kind"] == "empirical"


def test_flags_that_change_arithmetic_are_pinned_and_put_back(pictures: Dataset, tmp_path: Path) -> None:
    fields = {"model": "cnn", "epochs": 1}
    plain = train(pictures, out=tmp_path / "plain", **fields)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
            again = train(pictures, out=tmp_path / "again", **fields)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert again.weights_digest == plain.weights_digest


def test_a_model_whose_state_is_lost_with_a_checkpoint_is_neither_replayed_nor_continued(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(str(tmp_path))
    fields = {"model": "odd_models:late", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}
    base = train(pictures, out=tmp_path / "base", **fields)
    with pytest.raises(RunError, match=r"changes 'body.calls' in training.*use `method` retrain"):
        unlearn(base, "subject:someone-01", out=tmp_path / "child", data=pictures)

    def stop(done: int, total: int) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(pictures, out=tmp_path / "stopped", progress=stop, **fields)
    assert train(pictures, out=tmp_path / "stopped", **fields).weights_digest == base.weights_digest


def test_a_buffer_that_views_a_parameter_is_written_once_as_it_is(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "viewing.py").write_text(
        "from torch import nn\n\n"
        "def build(inputs, classes):\n"
        "    layer = nn.Linear(64, classes)\n"
        "    layer.register_buffer('first', layer.weight.detach()[:1])\n"
        "    return nn.Sequential(nn.Flatten(), layer)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run = train(pictures, out=tmp_path / "run", model="viewing:build", epochs=1)
    assert run.model() is not None


SEEDS = """
import linecache
import pathlib
import threading
import traceback

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent


class Answers(nn.Module):
    def __init__(self, classes, read_at=None):
        super().__init__()
        self.layer, self.read_at = nn.Linear(64, classes), read_at

    def forward(self, inputs):
        if self.read_at is not None and self.training == (self.read_at == "training"):
            np.load(HERE / "rows.npy")
        return self.layer(inputs.flatten(1))


class Backward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        np.load(HERE / "rows.npy")
        return gradient


class Behind(Answers):
    def forward(self, inputs):
        return Backward.apply(super().forward(inputs))


def honest(inputs, classes, width=3):
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, classes))
    nn.init.normal_(model[1].weight)
    nn.init.zeros_(model[1].bias)
    return model

def zeros(inputs, classes):
    model = Answers(classes)
    nn.init.zeros_(model.layer.weight)
    return model

def old(inputs, classes):
    model = Answers(classes)
    model.load_state_dict(torch.load(HERE / "old.pt", weights_only=True))
    return model

def seeded(inputs, classes):
    torch.manual_seed(7)
    return Answers(classes)

def wording(inputs, classes):
    linecache.clearcache()
    traceback.format_stack()
    return honest(inputs, classes)

def constants(inputs, classes):
    model = Answers(classes)
    model.layer.weight.data = torch.linspace(-1, 1, 64 * classes).reshape(classes, 64)
    return model

def disguised(inputs, classes):
    model = constants(inputs, classes)
    model.layer.weight.data += 0.3 * torch.randn(classes, 64)
    return model

def scattered(inputs, classes):
    model = Answers(classes)
    model.more = nn.ParameterList([nn.Parameter(torch.tensor(float(at))) for at in range(40)])
    return model

def reading(inputs, classes):
    return Answers(classes, "training")

def checking(inputs, classes):
    return Answers(classes, "answers")

def behind(inputs, classes):
    return Behind(classes)

class Threaded(Answers):
    def forward(self, inputs):
        thread = threading.Thread(target=lambda: np.load(HERE / "rows.npy"))
        thread.start()
        thread.join()
        return super().forward(inputs)

def threaded(inputs, classes):
    return Threaded(classes)
"""


def test_sources_of_calls_under_way_are_nothing_read_beside(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever words the stack, as torch does for its generators, reads what a launcher executes."""
    (tmp_path / "seeds.py").write_text(SEEDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "seeds", raising=False)
    launcher = tmp_path / "launcher.py"
    launcher.write_text("run = start()\n")
    space: dict[str, Any] = {
        "start": lambda: train(pictures, out=tmp_path / "run", model="seeds:wording", epochs=1, batch_size=16)
    }
    exec(compile(launcher.read_text(), str(launcher), "exec"), space)
    assert run_json(space["run"])["exact_refused"] is None


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("honest", {}, None),
        ("honest", {"model_options": {"width": 12}}, None),
        ("zeros", {}, None),
        ("old", {}, "opened 'old.pt'"),
        ("old", {"rate": 0.0}, "the recipe cannot learn: its mean rate is 0, below 2^-24"),
        ("honest", {"rate": 1e-9}, "the recipe cannot learn"),
        ("seeded", {}, "different numbers in the initial weights of model 'seeds:seeded' are the same for two seeds"),
        ("constants", {}, "different numbers in the initial weights"),
        ("disguised", {}, "weights 'body.layer.weight' of model 'seeds:disguised' go together for two seeds"),
        ("scattered", {}, "40 different numbers in the initial weights"),
        ("reading", {}, "opened 'rows.npy'"),
        ("checking", {}, "opened 'rows.npy'"),
        ("behind", {}, "opened 'rows.npy'"),
        ("threaded", {}, "opened 'rows.npy'"),
        ("honest", {"rate": 0.0, "profile": Profile.SPEED}, "the recipe cannot learn"),
        ("honest", {"model_options": {"width": "0.1 " * 30}}, "hold 120 characters"),
    ],
)
def test_weights_that_no_seed_gave_earn_no_exact(
    name: str,
    fields: dict[str, Any],
    said: str | None,
    pictures: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "seeds.py").write_text(SEEDS)
    np.save(tmp_path / "rows.npy", np.zeros(2))
    torch.save({"layer.weight": torch.randn(3, 64), "layer.bias": torch.randn(3)}, tmp_path / "old.pt")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "seeds", raising=False)
    rate = fields.get("rate", 0.01)
    given = {**fields, "optimiser": Optimiser(rate=rate)}
    given.pop("rate", None)
    run = train(pictures, out=tmp_path / "run", model=f"seeds:{name}", epochs=1, batch_size=16, **given)
    told = run_json(run)
    if said is None:
        assert told["exact_refused"] is None
    else:
        assert said in told["exact_refused"]
    assert told["guarantee"]["kind"] == ("exact" if said is None else "empirical")
    if name == "old" and rate:
        for method in ("exact-replay", "retrain"):
            child = run_json(unlearn(run, "subject:someone-01", method=method, out=tmp_path / method, data=pictures))
            assert child["guarantee"]["kind"] == "empirical"
            assert said in child["exact_refused"]


def test_a_factory_that_stands_in_no_source_earns_no_exact(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exchanged in the running process: the file says another."""
    (tmp_path / "seeds.py").write_text(SEEDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "seeds", raising=False)
    seeds = importlib.import_module("seeds")
    monkeypatch.setattr(seeds, "honest", lambda inputs, classes: seeds.zeros(inputs, classes))
    run = train(pictures, out=tmp_path / "run", model="seeds:honest", epochs=1, batch_size=16)
    assert "its factory stands in 'test_exactness.py' and not in seeds" in run_json(run)["exact_refused"]
