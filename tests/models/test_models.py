"""The zoo, the resolver, fronts, ensembles and dropout."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.dropout import AddressedDropout, DropoutAddress, addressed, seeded_generators
from expunge.models.ensemble import Ensemble
from expunge.models.front import Front
from expunge.models.linear import features_of, head_of
from expunge.models.resolver import build, factory_digest, model_options, resolve
from expunge.models.zoo import ZOO, draw_weights
from expunge.schedule.recipe import Recipe, Voting
from expunge.train.state import weights_digest

SEED = sha256(b"models")
IMAGE = Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 255),))
TABLE = Encoding(
    (Column("age", ColumnKind.NUMERIC), Column("job", ColumnKind.CATEGORY), Column("height", ColumnKind.NUMERIC)),
    category_buckets=4,
)


def recipe(model: str, inputs: Encoding = IMAGE, **options: int | float | str | bool) -> Recipe:
    return Recipe(inputs=inputs, classes=(0, 1, 2), model=model, model_options=options)


@pytest.mark.parametrize("name", list(ZOO))
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_zoo_weights_are_a_function_of_the_seed(name: str, norm: str) -> None:
    wanted = recipe(name) if name == "linear" else recipe(name, width=8, norm=norm, dropout=0.2)
    first, again, other = build(wanted, SEED), build(wanted, SEED), build(wanted, sha256(b"other"))
    assert weights_digest(first) == weights_digest(again) != weights_digest(other)
    assert weights_digest(build(wanted, SEED, shard=1)) != weights_digest(first)
    assert first.eval()(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape == (3, 3)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("unit_rows", [True, False])
def test_linear_by_hand(constant: bool, unit_rows: bool) -> None:
    model = build(recipe("linear", constant=constant, unit_rows=unit_rows), SEED).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8)
    rows = [[float(np.float32(value) * np.float32(1 / 255)) for value in image.ravel()] for image in pixels]
    expected = []
    for row in rows:
        longer = row + [1.0] * constant
        length = max(1.0, sum(value * value for value in longer) ** 0.5) if unit_rows else 1.0
        expected.append([value / length for value in longer])
    found = features_of(model, torch.from_numpy(pixels))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)
    weight = head_of(model).weight.detach().numpy()
    assert [name for name, _ in model.named_parameters()] == ["body.head.weight"]
    assert weight.shape == (3, 64 + constant)
    with torch.no_grad():
        np.testing.assert_allclose(model(torch.from_numpy(pixels)).numpy(), np.array(expected) @ weight.T, rtol=1e-4)


def test_linear_rows_are_no_longer_than_one_and_short_ones_stay() -> None:
    model = build(recipe("linear", constant=False), SEED)
    short, long = torch.full((1, 1, 8, 8), 2, dtype=torch.uint8), torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    assert torch.equal(features_of(model, short), short.flatten(1).float() * (1 / 255))
    assert float(features_of(model, long).norm()) == pytest.approx(1.0, abs=1e-6)
    assert not features_of(model, torch.zeros_like(short)).any()


def test_linear_may_take_numbers_as_they_are() -> None:
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32))
    raw = build(recipe("linear", TABLE, standardise=False, unit_rows=False, constant=False), SEED)
    assert torch.equal(features_of(raw, rows), rows)
    assert not list(raw.buffers())
    assert list(build(recipe("linear", TABLE), SEED).buffers())
    with pytest.raises(InvalidArgument, match="constant 2 must be true or false"):
        build(recipe("linear", constant=2), SEED)
    with pytest.raises(InvalidArgument, match="is no linear model of one layer: train with `model` linear"):
        head_of(build(recipe("mlp"), SEED))


def test_initial_weights_by_hand() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    draw_weights(model, Stream(SEED, "init"))
    draws = [float(value) for value in Stream(SEED, "init").uniform(9)]
    bounds = [3.0**0.5] * 6 + [(1 / 3) ** 0.5] * 3
    expected = [(2 * draw - 1) * bound for draw, bound in zip(draws, bounds, strict=True)]
    found = torch.cat([model[0].weight.reshape(-1), model[1].weight.reshape(-1)])
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    assert not model[0].bias.any()
    assert not model[1].bias.any()


def test_building_leaves_global_generators_alone() -> None:
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    build(recipe("cnn"), SEED)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cnn", {"dropout": 1.0}, "dropout 1.0 must lie in"),
        ("mlp", {"norm": "layer"}, "norm 'layer' must be one of none, batch, group"),
        ("mlp", {"depth": 0}, "depth 0"),
        ("mlp", {"colour": 1}, "could not be called"),
        ("nobody", {}, "neither one of mlp, cnn, resnet18"),
        ("no_such_module:build", {}, "could not be imported"),
        ("math:pi", {}, "not a factory"),
        ("math:floor", {}, "could not be called"),
    ],
)
def test_models_that_cannot_be_built_are_refused(name: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        build(recipe(name, **options), SEED)  # type: ignore[arg-type]


def test_images_are_needed_for_convolutions() -> None:
    with pytest.raises(InvalidArgument, match="use `model` mlp"):
        build(recipe("cnn", TABLE), SEED)
    with pytest.raises(UnsupportedYet, match="language task"):
        resolve("hf:gpt2")


def test_anyones_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_models.py").write_text(
        "import torch\n"
        "def build(inputs, classes, width=5):\n"
        "    size = inputs[0] * inputs[1] * inputs[2]\n"
        "    layers = [torch.nn.Flatten(), torch.nn.Linear(size, width), torch.nn.Linear(width, classes)]\n"
        "    return torch.nn.Sequential(*layers)\n"
        "def short(inputs, classes):\n    return torch.nn.Flatten()\n"
        "def text(inputs, classes):\n    return 'no model'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    first, again = (build(recipe("their_models:build", width=4), SEED) for _ in range(2))
    assert weights_digest(first) == weights_digest(again)
    assert not first.addressed_dropout
    assert len(factory_digest("their_models:build")) == 64
    assert factory_digest("mlp") == "zoo"
    with pytest.raises(InvalidArgument, match=r"answers \(2, 64\) for 2 rows and 3 classes"):
        build(recipe("their_models:short"), SEED)
    with pytest.raises(InvalidArgument, match="returned a str"):
        build(recipe("their_models:text"), SEED)
    sys.modules.pop("their_models")


def test_a_factory_is_given_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class that knows its own sizes, a function that asks for one of them, one that takes whatever comes."""
    (tmp_path / "plain_models.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Sequential):\n"
        "    def __init__(self, outputs=3):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, outputs))\n"
        "def counted(classes):\n    return Net(classes)\n"
        "def whatever(**told):\n    assert set(told) == {'inputs', 'classes', 'width'}\n"
        "    return Net(told['classes'])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = {
        weights_digest(build(recipe(f"plain_models:{name}", **options), SEED))
        for name, options in (("Net", {}), ("Net", {"outputs": 3}), ("counted", {}), ("whatever", {"width": 2}))
    }
    assert len(digests) == 1
    with pytest.raises(
        InvalidArgument, match=r"could not be called with classes, colour \(TypeError: .*as inputs and .*"
    ):
        build(recipe("plain_models:counted", colour=1), SEED)
    with pytest.raises(InvalidArgument, match="for 2 rows and 3 classes"):
        build(recipe("plain_models:Net", outputs=4), SEED)
    sys.modules.pop("plain_models")


def test_options_from_the_command_line() -> None:
    assert model_options({"a": "3", "b": "0.5", "c": "true", "d": "batch"}) == {
        "a": 3,
        "b": 0.5,
        "c": True,
        "d": "batch",
    }


def test_front_scales_pixels() -> None:
    pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    inputs = Encoding((Column("image", ColumnKind.IMAGE, (1, 2), "HW", 1 / 255),))
    assert Front(inputs)(pixels).flatten().tolist() == pytest.approx([0.0, 1.0])


def test_front_standardises_numbers_only() -> None:
    front = Front(TABLE)
    rows = torch.tensor([[10.0, 1.0, 0, 1, 0, 0], [30.0, 3.0, 1, 0, 0, 0]])
    found = front(rows)
    assert found[:, :2].flatten().tolist() == pytest.approx([-1, -1, 1, 1], abs=1e-4)
    assert torch.equal(found[:, 2:], rows[:, 2:])
    assert not list(front.parameters())
    assert front.norm is not None
    assert "norm.running_mean" in front.state_dict()


def address(chairs: list[int], width: int = 6, step: int = 3) -> DropoutAddress:
    return DropoutAddress(SEED, "dropout", 0, step, np.array(chairs), width)


class TestAddressedDropout:
    layers = nn.Sequential(AddressedDropout(0.5), nn.Flatten(), AddressedDropout(0.25))
    layers.addressed_dropout = True  # type: ignore[assignment]

    def draw(self, where: DropoutAddress, rows: int) -> torch.Tensor:
        self.layers.train()
        with addressed(where, self.layers):
            return self.layers(torch.ones(rows, 5, 7))

    def test_an_empty_chair_moves_no_neighbour(self) -> None:
        full, some = self.draw(address([0, 1, 2, 3, 4, 5]), 6), self.draw(address([0, 2, 5]), 3)
        assert torch.equal(full[[0, 2, 5]], some)

    def test_steps_differ_and_repeat(self) -> None:
        everybody = [0, 1, 2, 3, 4, 5]
        first = self.draw(address(everybody), 6)
        assert torch.equal(first, self.draw(address(everybody), 6))
        assert not torch.equal(first, self.draw(address(everybody, step=4), 6))

    def test_share_and_scale(self) -> None:
        layer = AddressedDropout(0.3).train()
        holder = nn.Sequential(layer)
        holder.addressed_dropout = True  # type: ignore[assignment]
        with addressed(address(list(range(100)), width=100), holder):
            found = holder(torch.ones(100, 200))
        assert float((found == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
        assert float(found.max()) == pytest.approx(1 / 0.7, rel=1e-4)

    def test_without_draws_it_is_refused_and_in_eval_it_is_nothing(self) -> None:
        layer = AddressedDropout(0.5)
        with pytest.raises(RunError, match="eval mode"):
            layer.train()(torch.ones(1, 2))
        assert torch.equal(layer.eval()(torch.ones(1, 2)), torch.ones(1, 2))


def test_anyones_dropout_is_seeded_and_put_back() -> None:
    layer = nn.Dropout(0.5).train()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    results = []
    for _ in range(2):
        with addressed(address([0]), layer):
            results.append(layer(torch.ones(50)))
    assert torch.equal(results[0], results[1])
    assert torch.equal(before, torch.get_rng_state())
    with seeded_generators(7):
        first = random.random(), float(np.random.rand())  # noqa: NPY002
    with seeded_generators(7):
        assert first == (random.random(), float(np.random.rand()))  # noqa: NPY002


class Fixed(nn.Module):
    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("logits", torch.tensor(logits))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.logits  # type: ignore[return-value]


def test_mean_voting_averages_probabilities() -> None:
    members: list[nn.Module] = [Fixed([[2.0, 0.0]]), Fixed([[-1.0, 3.0]])]
    found = Ensemble(members, Voting.MEAN)(torch.zeros(1))
    expected = sum(torch.softmax(torch.tensor(z, dtype=torch.float64), 0) for z in ([2.0, 0.0], [-1.0, 3.0])) / 2
    assert found.exp()[0].tolist() == pytest.approx(expected.tolist())  # type: ignore[union-attr]


def test_majority_voting_counts_heads_and_breaks_ties_by_the_mean() -> None:
    sure, unsure = [[9.0, 0.0, 0.0]], [[0.0, 0.1, 0.0]]
    two_to_one = Ensemble([Fixed(sure), Fixed(unsure), Fixed(unsure)], Voting.MAJORITY)(torch.zeros(1))
    assert int(two_to_one.argmax()) == 1
    tie = Ensemble([Fixed(sure), Fixed(unsure)], Voting.MAJORITY)(torch.zeros(1))
    assert int(tie.argmax()) == 0
    assert tie.exp().sum().item() == pytest.approx(1.0)
