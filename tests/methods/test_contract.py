"""What every method keeps to: one table, a row per method."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import make_pictures
from tests.methods.shared import FORGET, Problem
from tests.methods.table import ELSEWHERE, ROWS, Row
from torch import nn

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.values import Empirical
from expunge.data.dataset import Dataset
from expunge.methods import METHODS
from expunge.methods.contract import Given, Method, Need, Outcome, Parent, Unlearned
from expunge.methods.fine_tune import FineTune
from expunge.methods.lookup import find_method, make_method, read_method
from expunge.records.form import from_plain, to_plain
from expunge.records.run_file import MethodFile
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.train.examples import Examples
from expunge.train.objective import Loss, StepBatch
from expunge.train.state import weights_digest

PAIRS = [(row, name) for row in ROWS for name in row.problems]
on_every_problem = pytest.mark.parametrize(
    ("row", "name"), PAIRS, ids=lambda value: value.name if isinstance(value, Row) else value
)
on_every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def forgotten(row: Row, parent: Parent) -> np.ndarray:
    """The forget set of the table: a dozen rows, or a class where nothing else is taken."""
    return np.flatnonzero(parent.examples.labels.numpy() == 1) if row.whole_class else FORGET


def method_of(row: Row, **change: Any) -> Method:
    return find_method(row.name)(**{**row.settings, **change})


def budget_of(row: Row, share: float | None = 0.5) -> float | None:
    return share if find_method(row.name).takes_budget else None


MADE: dict[tuple[str, str], Unlearned] = {}


def made_now(row: Row, name: str, problem: Problem) -> Unlearned:
    """The method as the table calls it, under seed 0."""
    parent = problem(name)
    MADE[row.name, name] = method_of(row)(parent, forgotten(row, parent), budget=budget_of(row))
    return MADE[row.name, name]


def made_once(row: Row, name: str, problem: Problem) -> Unlearned:
    """The same, for tests that only read what came out."""
    return MADE.get((row.name, name)) or made_now(row, name, problem)


def test_every_method_has_a_row() -> None:
    assert {row.name for row in ROWS} | set(ELSEWHERE) >= {method.name for method in METHODS}
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert not {row.name for row in ROWS} & set(ELSEWHERE)


@on_every_problem
def test_the_callers_model_is_untouched(row: Row, name: str, problem: Problem) -> None:
    any_parent = problem(name)
    model = any_parent.model
    before = weights_digest(model), model.training, [p.requires_grad for p in model.parameters()]
    result = made_now(row, name, problem)
    assert (weights_digest(model), model.training, [p.requires_grad for p in model.parameters()]) == before
    assert all(p.grad is None for p in model.parameters())
    assert result.model is not model
    assert not any(module.training for module in result.model.modules())
    assert all(p.grad is None and p.requires_grad for p in result.model.parameters())
    for module in [*model.modules(), *result.model.modules()]:
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert getattr(module, "track_running_stats", True)


@on_every_problem
def test_same_seed_same_bytes(row: Row, name: str, problem: Problem) -> None:
    any_parent = problem(name)
    first = weights_digest(made_once(row, name, problem).model)
    again, other = (
        weights_digest(method_of(row)(any_parent, forgotten(row, any_parent), budget=budget_of(row), seed=seed).model)
        for seed in (0, 2)
    )
    assert first == again
    assert (first != other) == (row.draws if isinstance(row.draws, bool) else name in row.draws)
    assert first != weights_digest(any_parent.model)


@on_every_row
def test_only_declared_data_are_seen_and_all_declared_are_used(
    row: Row, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = problem(row.problems[0])
    forget = forgotten(row, parent)
    used: list[Given] = []
    read: list[np.ndarray] = []
    beside: list[Examples] = []
    real_init = Given.__init__

    def remember(self: Given, *arguments: Any, **named: Any) -> None:
        real_init(self, *arguments, **named)
        used.append(self)

    real_plain = Examples.batch

    def plain(self: Examples, slots: np.ndarray) -> Any:
        if len(self) == len(parent.examples):
            read.append(slots)
        else:
            beside.append(self)
        return real_plain(self, slots)

    monkeypatch.setattr(Given, "__init__", remember)
    monkeypatch.setattr(Examples, "batch", plain)
    method = method_of(row)
    method(parent, forget, budget=budget_of(row))
    assert used[0].used == method.needs - {Need(one) for one in row.idle}
    touched = np.unique(np.concatenate(read))
    retain = np.setdiff1d(np.arange(150), forget)
    if Need.FORGET not in method.needs:
        assert not np.isin(forget, touched).any()
    else:
        assert np.isin(forget, touched).all()
    assert bool(np.isin(retain, touched).any()) == (Need.RETAIN in method.needs)
    assert bool(beside) == (Need.CALIBRATION in method.needs)


@pytest.mark.parametrize("need", list(Need))
def test_undeclared_access_is_an_error(need: Need, parent: Parent) -> None:
    class Greedy(Method):
        name = "greedy"
        needs = frozenset(set(Need) - {need})

        def unlearn(self, given: Given) -> Outcome:
            given.declare(need)
            return Outcome(model=given.student(), steps=0)

    with pytest.raises(InvalidArgument, match=f"reads '{need.value}' without declaring it"):
        Greedy()(parent, FORGET)


def test_undeclared_rows_are_behind_a_guard(parent: Parent) -> None:
    class Peeking(Method):
        name = "peeking"
        needs = frozenset({Need.RETAIN})

        def unlearn(self, given: Given) -> Outcome:
            given.examples.batch(FORGET[:1])
            return Outcome(model=given.student(), steps=0)

    with pytest.raises(InvalidArgument, match="slot 3 was asked for"):
        Peeking()(parent, FORGET)


STILL = [(row, change, name) for row in ROWS for change in row.still for name in row.problems]


@pytest.mark.parametrize(("row", "change", "name"), STILL, ids=lambda v: v.name if isinstance(v, Row) else str(v))
def test_zero_strength_is_the_identity(row: Row, change: dict[str, Any], name: str, problem: Problem) -> None:
    parent = problem(name)
    result = method_of(row, **change)(parent, forgotten(row, parent), budget=0.5)
    assert weights_digest(result.model) == weights_digest(parent.model)
    assert result.steps == 0
    assert result.stopped is not None


@pytest.mark.parametrize(
    ("row", "name"),
    [(row, name) for row, name in PAIRS if row.name != "retrain"],
    ids=lambda v: v.name if isinstance(v, Row) else v,
)
def test_no_budget_is_the_identity(row: Row, name: str, problem: Problem) -> None:
    parent = problem(name)
    result = method_of(row)(parent, forgotten(row, parent), budget=0.0)
    assert weights_digest(result.model) == weights_digest(parent.model)
    assert result.cost.example_steps == 0
    assert result.stopped is not None


@pytest.mark.parametrize("row", [*ROWS, Row("exact-replay")], ids=lambda row: row.name)
def test_specs_read_back(row: Row) -> None:
    method = method_of(row)
    assert read_method(from_plain(MethodFile, json.loads(json.dumps(to_plain(method.told))), "method")) == method
    with pytest.raises(InvalidArgument, match="has no field 'magic'"):
        make_method(row.name, {"magic": "1"})


@on_every_row
def test_bad_forget_sets_are_refused(row: Row, problem: Problem) -> None:
    parent = problem(row.problems[0])
    method = method_of(row)
    for forget, words in (
        (np.zeros(0, dtype=np.int64), "the forget set is empty"),
        (np.array([150]), "names slot 150"),
        (np.array([-1]), "forget set names"),
        (np.arange(150), "leaves nobody"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            method(parent, forget)
    with pytest.raises(InvalidArgument, match="already forgotten"):
        method(replace(parent, emptied=np.array([3])), FORGET)


@on_every_problem
def test_budgets(row: Row, name: str, problem: Problem) -> None:
    parent = problem(name)
    method = method_of(row)
    if not method.takes_budget:
        with pytest.raises(InvalidArgument, match="has no budget"):
            method(parent, FORGET, budget=0.1)
        return
    for bad in (-0.1, 11.0, float("nan")):
        with pytest.raises(InvalidArgument, match="budget"):
            method(parent, FORGET, budget=bad)
    training = parent.schedule.work(np.zeros(0, dtype=np.int64))
    for share in (0.02, 0.1, 0.5):
        usual = share == budget_of(row)
        result = made_once(row, name, problem) if usual else method(parent, forgotten(row, parent), budget=share)
        cost = result.cost
        assert cost.allowed == pytest.approx(share * training)
        assert cost.example_steps <= share * training


COUNTED = [(row, name) for row, name in PAIRS if row.counted]


@pytest.mark.parametrize(("row", "name"), COUNTED, ids=lambda v: v.name if isinstance(v, Row) else v)
def test_the_meter_equals_an_independent_count(
    row: Row, name: str, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every pass through the task: rows with a gradient count 1, rows without 1/3."""
    parent = problem(name)
    counted: list[int] = []

    class Counting(Classification):
        def outputs(self, model: nn.Module, batch: Any) -> torch.Tensor:
            counted.append((3 if torch.is_grad_enabled() else 1) * len(batch))
            return super().outputs(model, batch)

    monkeypatch.setitem(TASKS, "classification", Counting())
    result = method_of(row)(parent, forgotten(row, parent), budget=budget_of(row))
    assert 3 * result.cost.example_steps == pytest.approx(sum(counted), abs=1e-9)
    assert counted


@on_every_problem
def test_guarantees_never_exceed_the_ceiling(row: Row, name: str, problem: Problem) -> None:
    result = made_once(row, name, problem)
    assert isinstance(result.guarantee, method_of(row).ceiling)
    if isinstance(result.guarantee, Empirical):
        assert result.guarantee.passed == ()
        assert "original weights" in result.seen
        assert ("forget examples" in result.seen) == (Need.FORGET in method_of(row).needs)
    else:
        assert result.seen == ()


@pytest.mark.parametrize("row", [row for row in ROWS if row.raises_forget_loss], ids=lambda row: row.name)
def test_the_forget_loss_rises(row: Row, problem: Problem) -> None:
    parent = problem(row.problems[0])
    rows = parent.examples.batch(forgotten(row, parent))
    result = method_of(row)(parent, forgotten(row, parent), budget=1.0)
    with torch.no_grad():
        before, after = (
            nn.functional.cross_entropy(model(rows["inputs"]), rows["labels"]) for model in (parent.model, result.model)
        )
    assert after > before


@pytest.mark.parametrize("row", [row for row in ROWS if row.still], ids=lambda row: row.name)
def test_sharded_parents_are_refused_by_approximate_methods(row: Row, pictures: Dataset, parent: Parent) -> None:
    sharded = replace(parent, recipe=replace(parent.recipe, shards=2))
    with pytest.raises(UnsupportedYet, match=r"on a run with 2 shards.*use exact-replay or retrain"):
        method_of(row)(sharded, FORGET)


def test_diverging_ends_in_a_sentence(parent: Parent) -> None:
    with pytest.raises(RunError, match=r"not finite|the loss became"):
        make_method("fine-tune", {"rate": "1e30"})(parent, FORGET, budget=1.0)


def test_a_teacher_is_handed_over_frozen_where_it_is_declared(parent: Parent) -> None:
    seen: list[nn.Module | None] = []

    class Taught(FineTune):
        name = "taught"
        needs = FineTune.needs | {Need.ORIGINAL}

        def objective(self, student: nn.Module, batch: StepBatch, teacher: nn.Module | None) -> Loss:
            seen.append(teacher)
            return batch.retain_loss(student)

    taught, plain = Taught()(parent, FORGET, budget=0.2), FineTune()(parent, FORGET, budget=0.2)
    assert weights_digest(taught.model) == weights_digest(plain.model)
    teacher = seen[-1]
    assert teacher is not None
    assert weights_digest(teacher) == parent.weights_digest
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_exact_replay_without_a_folder_is_refused(parent: Parent) -> None:
    with pytest.raises(RunError, match="has no folder: use `method` retrain"):
        make_method("exact-replay")(parent, FORGET)


def test_one_forgotten_row_with_batch_norm(normed: Parent) -> None:
    for row in ROWS:
        if "normed" in row.problems and not row.whole_class:
            method_of(row)(normed, FORGET[:1], budget=budget_of(row, 0.2))
    make_method("ga", {"batch_norm": "as-published"})(normed, FORGET[:1], budget=0.2)


MIXED = {"random-labels", "successive-random-labels", "amnesiac", "saliency-unlearning"}
STEPPING = [row for row in ROWS if "normed" in row.problems and row.name != "retrain" and not row.whole_class]


@pytest.mark.parametrize("row", STEPPING, ids=lambda row: row.name)
def test_what_forgotten_rows_hold_does_not_reach_the_statistics(row: Row, normed: Parent) -> None:
    """Other pixels in F, and steps too small to tell: the running statistics are the same, or the result says so."""
    fields = {item.name for item in dataclasses.fields(find_method(row.name))}
    gentle = {name: 1e-12 for name in ("rate", "uniform_rate", "contrast_rate", "strength", "scale") if name in fields}
    gentle |= {"selection": 1e9} if "selection" in fields else {}
    gentle |= {"amount": 0.0, "half": False} if row.name == "prune-and-match" else {}
    settings = {**row.settings, **gentle}
    other = copy.deepcopy(normed.examples)
    other.inputs[FORGET] = 255 - other.inputs[FORGET]
    found = [
        find_method(row.name)(**settings)(replace(normed, examples=examples), FORGET, budget=0.5)
        for examples in (normed.examples, other)
    ]
    kept = [[value for key, value in result.model.state_dict().items() if "running" in key] for result in found]
    same = all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(*kept, strict=True))
    said = "batch-norm statistics of the forget set" in found[0].seen
    assert same != said
    assert said == (row.name in MIXED)


class Detour(nn.Module):
    """A convolution that no answer goes through, and a head for training that eval mode leaves out."""

    def __init__(self, *, aside: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3)
        self.head = nn.Linear(72, 3)
        self.unused = nn.Conv2d(1, 2, 3)
        self.aside = aside

    def forward(self, inputs: torch.Tensor) -> Any:
        answer = self.head(torch.relu(self.first(inputs.float() / 255)).flatten(1))
        return (answer, answer) if self.aside and self.training else answer


@pytest.mark.parametrize("name", [row.name for row in ROWS if row.name not in ("retrain", "impair-repair")])
def test_layers_without_a_part_in_the_answer(name: str, pictures: Dataset, parent_of: Callable[..., Parent]) -> None:
    parent = parent_of(pictures, model=Detour(), calibration=make_pictures(61, seed=1))
    parent = replace(parent, initial=lambda: Detour())
    method = find_method(name)()
    if "last-layers" in name:
        with pytest.raises(RunError, match="depends on no weight that may change"):
            method(parent, FORGET, budget=1.0)
        return
    assert method(parent, FORGET, budget=1.0).cost.example_steps > 0


def test_an_answer_that_is_no_tensor_is_one_sentence(pictures: Dataset, parent_of: Callable[..., Parent]) -> None:
    with pytest.raises(RunError, match="it answers a tuple, not a tensor"):
        make_method("fine-tune")(parent_of(pictures, model=Detour(aside=True)), FORGET, budget=1.0)
