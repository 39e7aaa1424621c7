"""Identities and closed forms that each method must meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tests.methods.shared import FORGET, MakeParent, digest, gradient_of, plan_of, renamed_linear
from torch import nn

from expunge.core.errors import RunError
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.methods.contract import Method, Parent, Unlearned
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.magnitude import largest, smallest
from expunge.methods.neggrad_plus import NegGradPlus
from expunge.methods.random_labels import LabelOrder, RandomLabels, SuccessiveRandomLabels, draw_labels
from expunge.methods.saliency_unlearning import SaliencyUnlearning
from expunge.schedule.plan import Role, Walk
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch
from expunge.train.objective import StepBatch
from expunge.train.state import weights_digest

# Between methods, to the bit.


def test_neggrad_plus_at_balance_one_is_fine_tuning(parent: Parent, normed: Parent) -> None:
    for one in (parent, normed):
        assert digest(NegGradPlus(balance=1.0), one) == digest(FineTune(), one)


def test_neggrad_plus_at_balance_zero_is_ascent(parent: Parent) -> None:
    ascent, plus = GradientAscent(rate=0.01, epochs=None), NegGradPlus(rate=0.01, balance=0.0)
    assert digest(ascent, parent) == digest(plus, parent)


def test_a_full_mask_is_successive_random_labels(parent: Parent) -> None:
    """Under a mask of everything, with the budget that the mask itself took added."""
    training = parent.schedule.work(np.zeros(0, dtype=np.int64))
    masked = SaliencyUnlearning(keep=1.0)(parent, FORGET, budget=0.5 + len(FORGET) / training)
    plain = SuccessiveRandomLabels(rate=0.013)(parent, FORGET, budget=0.5)
    assert weights_digest(masked.model) == weights_digest(plain.model)
    assert masked.cost.example_steps == plain.cost.example_steps + len(FORGET)


def test_one_epoch_of_successive_labels_is_labels_drawn_once(parent: Parent) -> None:
    assert digest(SuccessiveRandomLabels(epochs=1), parent) == digest(RandomLabels(epochs=1), parent)
    assert digest(SuccessiveRandomLabels(epochs=2), parent) != digest(RandomLabels(epochs=2), parent)


def test_true_labels_make_random_labels_plain_training(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    class Everybody(FineTune):
        """Fine-tuning on the whole data set, in the mixed order."""

        name = "everybody"
        needs = RandomLabels.needs

        @property
        def walk(self) -> Walk:
            return Walk.MIXED

    labels = parent.examples.labels.numpy()
    monkeypatch.setattr("expunge.methods.random_labels.draw_labels", lambda *arguments: labels.copy())
    assert digest(RandomLabels(), parent) == digest(Everybody(), parent)


def test_methods_do_not_share_their_names_with_the_streams(parent: Parent) -> None:
    """Another name and other fields draw the same batches."""

    class Renamed(FineTune):
        name = "another-name"

    assert digest(Renamed(), parent) == digest(FineTune(), parent)


# The mask.


@pytest.mark.parametrize("optimiser", [name for name in OptimiserName if name is not OptimiserName.SIGN])
def test_masked_weights_keep_their_bits(optimiser: OptimiserName, normed: Parent) -> None:
    """With momentum and weight decay on: a gradient mask alone would let them shrink."""
    method = SaliencyUnlearning(keep=0.3, rate=0.01, optimiser=optimiser, weight_decay=0.1)
    result = method(normed, FORGET, budget=1.0).model
    model = normed.model
    rows = normed.examples.batch(np.sort(FORGET))
    gradients = torch.autograd.grad(
        nn.functional.cross_entropy(model(rows["inputs"]), rows["labels"], reduction="sum"), list(model.parameters())
    )
    flat = torch.cat([gradient.abs().reshape(-1) for gradient in gradients])
    kept = round(0.3 * flat.numel())
    before = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    after = torch.cat([p.detach().reshape(-1) for p in result.parameters()])
    order = sorted(range(flat.numel()), key=lambda index: (-float(flat[index]), index))
    moved, still = order[:kept], order[kept:]
    assert torch.equal(before[still], after[still])
    assert float((before[moved] != after[moved]).float().mean()) > 0.5


def test_largest_by_hand() -> None:
    gradients = [torch.tensor([3.0, -1.0]), torch.tensor([[2.0], [-2.0], [0.5], [-4.0]])]
    masks = largest(gradients, 3)
    assert [mask.flatten().tolist() for mask in masks] == [[True, False], [True, False, False, True]]


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.integers(0, 40), st.integers(0, 40), st.booleans())
def test_ranks_against_sorting(values: list[int], count: int, cut: int, up: bool) -> None:
    """Many ties: the same choice as sorting by magnitude, then by index."""
    count, cut = min(count, len(values)), min(cut, len(values))
    whole = torch.tensor(values, dtype=torch.float32)
    masks = (largest if up else smallest)([whole[:cut], whole[cut:]], count)
    order = sorted(range(len(values)), key=lambda index: (-abs(values[index]) if up else abs(values[index]), index))
    chosen = torch.cat(masks)
    assert sorted(torch.nonzero(chosen)[:, 0].tolist()) == sorted(order[:count])


# Labels.


def test_labels_are_uniform_and_fresh() -> None:
    first, again, other = (
        draw_labels(bytes(32), 0, 20_000, 5),
        draw_labels(bytes(32), 0, 20_000, 5),
        draw_labels(bytes(32), 1, 20_000, 5),
    )
    assert np.array_equal(first, again)
    assert chisquare(np.bincount(first, minlength=5)).pvalue > 1e-4
    assert abs(float((first == other).mean()) - 0.2) < 0.015


def test_forget_then_retain_uses_drawn_labels_for_forget_rows_only(
    parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, set[int]] = {}

    class Watching(Classification):
        def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            for row, label in zip(batch["inputs"], batch["labels"], strict=True):
                seen.setdefault(hash(row.numpy().tobytes()), set()).add(int(label))
            return super().loss_of(outputs, batch)

    monkeypatch.setitem(TASKS, "classification", Watching())
    RandomLabels(order=LabelOrder.FORGET_THEN_RETAIN)(parent, FORGET, budget=0.6)
    examples = parent.examples
    truth = {
        hash(row.numpy().tobytes()): int(label) for row, label in zip(examples.inputs, examples.labels, strict=True)
    }
    forgotten = {hash(examples.inputs[slot].numpy().tobytes()) for slot in FORGET}
    assert all(labels == {truth[row]} for row, labels in seen.items() if row not in forgotten)
    assert all(len(labels) == 1 for labels in seen.values())
    assert any(labels != {truth[row]} for row, labels in seen.items() if row in forgotten)


# Gradients against their closed forms, in float64.


def test_objective_gradients(pictures: Dataset, parent_of: MakeParent) -> None:
    """Cross-entropy p − y on the logits; balance·∇R − (1 − balance)·∇F."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    parent = parent_of(pictures, model=model)
    parent.examples.inputs = parent.examples.inputs.double() / 255
    plan = plan_of(NegGradPlus(epochs=1), parent)
    step = plan.step(0)

    def batch() -> StepBatch:
        return StepBatch(step, plan, parent.examples, Classification())

    def by_hand(slots: np.ndarray) -> torch.Tensor:
        rows = parent.examples.batch(slots)
        flat = rows["inputs"].flatten(1)
        p = torch.softmax(model[1](flat), 1)
        delta = (p - nn.functional.one_hot(rows["labels"], 3)) / len(slots)
        return torch.cat([(delta.T @ flat).reshape(-1), delta.sum(0)]).detach()

    retain, forget = (by_hand(step.parts[role].slots) for role in (Role.RETAIN, Role.FORGET))
    for balance in (0.5, 0.8, 0.999):
        found = gradient_of(NegGradPlus(balance=balance).objective(model, batch(), None), model)
        torch.testing.assert_close(found, balance * retain - (1 - balance) * forget, rtol=1e-12, atol=1e-12)
    for method, expected in ((FineTune(), retain), (GradientAscent(), -forget)):
        found = gradient_of(method.objective(model, batch(), None), model)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "method", [FineTune(), GradientAscent(rate=0.01), NegGradPlus(balance=0.6)], ids=lambda m: m.name
)
def test_renaming_the_classes_renames_the_result(method: Method, pictures: Dataset, parent_of: MakeParent) -> None:
    """Permuting class numbers and output rows together permutes the result."""
    order = torch.tensor([2, 0, 1])
    weight = torch.linspace(-0.1, 0.1, 192, dtype=torch.float64).reshape(3, 64)
    parents = (renamed_linear(pictures, parent_of, weight, names) for names in (None, order))
    results = [method(parent, FORGET, budget=0.5).model[1].weight.detach() for parent in parents]  # type: ignore
    torch.testing.assert_close(results[1][order], results[0], rtol=0, atol=1e-10)


# Least squares, where every path has a closed form.


class Squared(Classification):
    """½ (x·w − y)², so that descent and ascent are linear recursions."""

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.5 * (outputs[:, 0] - batch["labels"].double()) ** 2


ROWS, WIDTH = 40, 4


@pytest.fixture
def linear(parent_of: MakeParent, monkeypatch: pytest.MonkeyPatch) -> Parent:
    generator = np.random.default_rng(5)
    table = make_dataset(
        labels=[int(value) for value in generator.integers(0, 3, ROWS)],
        columns=[Column("x", ColumnKind.ARRAY, (WIDTH,))],
        content={"x": generator.normal(size=(ROWS, WIDTH))},
        where="test",
    )
    model = nn.Linear(WIDTH, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(generator.normal(size=(1, WIDTH))))
    parent = parent_of(table, model=model, epochs=1000, batch_size=ROWS)
    parent.examples.inputs = torch.from_numpy(table.content["x"])
    monkeypatch.setitem(TASKS, "classification", Squared())
    return parent


STEPS, RATE = 30, 0.05
SMALL = np.arange(8)
PLAIN: dict[str, Any] = {
    "rate": RATE,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "calendar": Calendar.CONSTANT,
    "epochs": STEPS,
}


def parts(parent: Parent) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = parent.examples.inputs.numpy(), parent.examples.labels.numpy().astype(float)
    retain = np.setdiff1d(np.arange(ROWS), SMALL)
    theta = parent.model.weight.detach().numpy()[0].copy()  # type: ignore[union-attr]
    return x[retain], y[retain], x[SMALL], y[SMALL], theta


def weights(result: Unlearned) -> np.ndarray:
    return result.model.weight.detach().numpy()[0]  # type: ignore[union-attr]


def test_descent_path(linear: Parent) -> None:
    """θ_K = θ_R + (I − ηH_R)^K (θ_D − θ_R)."""
    xr, yr, _, _, theta = parts(linear)
    hessian = xr.T @ xr / len(xr)
    best = np.linalg.lstsq(xr, yr, rcond=None)[0]
    expected = best + np.linalg.matrix_power(np.eye(WIDTH) - RATE * hessian, STEPS) @ (theta - best)
    result = FineTune(**PLAIN)(linear, SMALL, budget=5.0)
    assert result.steps == STEPS
    assert result.stopped == f"own epochs ({STEPS}) are done"
    np.testing.assert_allclose(weights(result), expected, rtol=0, atol=1e-12)


def test_ascent_path(linear: Parent) -> None:
    """θ_K = θ_F* + (I + ηH_F)^K (θ_D − θ_F*)."""
    _, _, xf, yf, theta = parts(linear)
    hessian = xf.T @ xf / len(xf)
    best = np.linalg.lstsq(xf, yf, rcond=None)[0]
    expected = best + np.linalg.matrix_power(np.eye(WIDTH) + RATE * hessian, STEPS) @ (theta - best)
    result = GradientAscent(**PLAIN)(linear, SMALL, budget=5.0)
    np.testing.assert_allclose(weights(result), expected, rtol=1e-10, atol=1e-10)


def test_neggrad_plus_converges_where_its_matrix_is_positive(linear: Parent) -> None:
    xr, yr, xf, yf, _ = parts(linear)

    def matrix(balance: float) -> np.ndarray:
        return balance * xr.T @ xr / len(xr) - (1 - balance) * xf.T @ xf / len(xf)

    assert np.linalg.eigvalsh(matrix(0.95)).min() > 0 > np.linalg.eigvalsh(matrix(0.3)).min()
    right = 0.95 * xr.T @ yr / len(xr) - 0.05 * xf.T @ yf / len(xf)
    expected = np.linalg.solve(matrix(0.95), right)
    many = {**PLAIN, "rate": 0.2, "epochs": 600}
    result = NegGradPlus(balance=0.95, **many)(linear, SMALL, budget=5.0)
    np.testing.assert_allclose(weights(result), expected, rtol=0, atol=1e-10)
    with pytest.raises(RunError, match="the loss became"):
        NegGradPlus(balance=0.3, **{**many, "rate": 30.0})(linear, SMALL, budget=5.0)


def test_momentum_and_calendar_reach_the_optimiser(linear: Parent) -> None:
    """By hand: v ← μv + g + decay·w, w ← w − η_t v with η_t from the cosine."""
    xr, yr, _, _, theta = parts(linear)
    velocity = np.zeros(WIDTH)
    for step in range(STEPS):
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        gradient = xr.T @ (xr @ theta - yr) / len(xr) + 0.02 * theta
        velocity = 0.8 * velocity + gradient
        theta = theta - rate * velocity
    settings = {**PLAIN, "momentum": 0.8, "weight_decay": 0.02, "calendar": Calendar.COSINE}
    result = FineTune(**settings)(linear, SMALL, budget=5.0)
    np.testing.assert_allclose(weights(result), theta, rtol=0, atol=1e-12)


def test_the_recipes_weight_decay_is_the_default(linear: Parent) -> None:
    recipe = linear.recipe
    settings = {**PLAIN, "weight_decay": None}
    named = FineTune(**{**PLAIN, "weight_decay": recipe.optimiser.weight_decay})(linear, SMALL, budget=5.0)
    assert np.array_equal(weights(FineTune(**settings)(linear, SMALL, budget=5.0)), weights(named))
    without = FineTune(**PLAIN)(linear, SMALL, budget=5.0)
    assert not np.array_equal(weights(without), weights(named))
