"""Impairing whole classes by learnt noise, and repairing the others."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.shared import MakeParent, Problem, continues, given_of, passes, rows_of, value_of
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedEver
from expunge.data.dataset import Column, ColumnKind, make_dataset
from expunge.methods.contract import Parent
from expunge.methods.impair_repair import REPAIR, ImpairRepair, NoiseCounts
from expunge.methods.learnt_noise import Mixture
from expunge.methods.lookup import make_method
from expunge.schedule.plan import Role
from expunge.schedule.recipe import Calendar, OptimiserName
from expunge.tasks import TASKS
from expunge.tasks.classification import Classification
from expunge.tasks.task import Batch
from expunge.train.objective import StepBatch
from expunge.train.state import weights_digest

TRAINING = 600  # example-steps: 150 rows, 4 passes
SMALL: dict[str, Any] = {"noise_batch_size": 4, "noise_steps": 5, "noise_batches": 6, "sample_per_class": 20}


def digest(method: ImpairRepair, parent: Parent, budget: float = 1.0) -> str:
    return weights_digest(method(parent, rows_of(parent, 1), budget=budget).model)


# Which forget sets it takes.


def test_only_whole_classes(parent: Parent) -> None:
    whole = rows_of(parent, 1)
    for forget, words in (
        (
            whole[:-1],
            rf"the forget set holds {len(whole) - 1} of the {len(whole)} rows of class 1: impair-repair forgets",
        ),
        (np.append(whole, rows_of(parent, 2)[0]), r"holds 1 of the \d+ rows of class 2"),
        (np.array([3, 14, 15]), "forgets whole classes only; forget class:"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            ImpairRepair()(parent, forget)
    with pytest.raises(InvalidArgument, match="leaves nobody"):
        ImpairRepair()(parent, rows_of(parent, 0, 1, 2))
    emptied = rows_of(parent, 2)
    with pytest.raises(InvalidArgument, match="leaves nobody"):
        ImpairRepair()(replace(parent, emptied=emptied), rows_of(parent, 0, 1))
    ImpairRepair()(parent, rows_of(parent, 0, 1), budget=0.1)


def test_rows_that_went_earlier_are_not_missed(parent: Parent) -> None:
    """A class is whole when nobody of it is left."""
    whole = rows_of(parent, 1)
    result = ImpairRepair(**SMALL)(replace(parent, emptied=whole[:5]), whole[5:], budget=1.0)
    assert result.steps > 0


def test_a_model_without_gradients_in_its_inputs_is_refused(parent_of: MakeParent, parent: Parent) -> None:
    class Stepped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.head((inputs > 100).float().flatten(1))

    stepped = replace(parent, model=Stepped().eval())
    with pytest.raises(UnsupportedEver, match="cannot be learnt on this model"):
        ImpairRepair(**SMALL)(stepped, rows_of(parent, 1), budget=1.0)


def test_hashed_columns_take_noise_too(parent_of: MakeParent) -> None:
    labels = [row % 3 for row in range(60)]
    data = make_dataset(
        labels=labels,
        columns=[Column("colour", ColumnKind.CATEGORY), Column("age", ColumnKind.NUMERIC)],
        content={
            "colour": np.array([("red", "blue", "green")[label] for label in labels], dtype=object),
            "age": 40 + 9 * np.random.default_rng(0).normal(size=60),
        },
        where="test",
    )
    parent = parent_of(data, category_buckets=8)
    assert digest(ImpairRepair(**SMALL), parent) != parent.weights_digest


# Identities.


@pytest.mark.parametrize("name", ["plain", "normed", "double"])
def test_without_epochs_it_is_the_identity(name: str, problem: Problem) -> None:
    parent = problem(name)
    for change in ({"impair_epochs": 0, "repair_epochs": 0}, {"rate": 0.0}):
        result = ImpairRepair(**change)(parent, rows_of(parent, 1), budget=1.0)
        assert weights_digest(result.model) == parent.weights_digest
        assert (result.steps, result.cost.example_steps) == (0, 0)


def test_without_impairing_no_noise_is_learnt(parent: Parent) -> None:
    result = ImpairRepair(impair_epochs=0, sample_per_class=20)(parent, rows_of(parent, 1), budget=1.0)
    assert result.cost.example_steps == 2 * 20
    assert "noise learnt for the forgotten classes" not in result.seen
    assert digest(ImpairRepair(impair_epochs=0), parent) == digest(
        ImpairRepair(impair_epochs=0, noise_rate=3.0), parent
    )


# Impairing, then repairing.


def test_every_noise_row_comes_up_as_often_as_asked(parent: Parent) -> None:
    method = ImpairRepair(**SMALL, impair_epochs=2)
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, 0, 1))
    student = given.student().train()
    prepared = method.prepare(given, student)
    assert isinstance(prepared.teacher, Mixture)
    plan = method.plan(given, student, prepared.teacher, still=False)
    steps = [plan.step(index) for index in range(plan.total)]
    impairing = [step for step in steps if step.turn != REPAIR]
    taken = [prepared.teacher.taken(step) for step in impairing]
    assert len(impairing) == 2 * prepared.teacher.steps
    epochs = [np.concatenate([t for t, s in zip(taken, impairing, strict=True) if s.epoch == e]) for e in (0, 1)]
    for epoch in epochs:
        assert np.bincount(epoch).tolist() == [6] * 8
    assert not np.array_equal(*epochs)
    sizes = [len(t) for t in taken]
    assert max(sizes) - min(sizes) <= 1
    assert prepared.teacher.labels.tolist() == [0] * 4 + [1] * 4
    members = [len(s.parts[Role.RETAIN].slots) + len(t) for s, t in zip(impairing, taken, strict=True)]
    assert max(members) <= 32 + 2
    sampled = np.concatenate([s.parts[Role.RETAIN].slots for s in steps[-1:]])
    assert np.isin(sampled, rows_of(parent, 2)).all()


def test_the_same_sample_is_passed_over_in_both_phases(parent: Parent) -> None:
    method = ImpairRepair(**SMALL)
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, 1))
    student = given.student().train()
    teacher = method.prepare(given, student).teacher
    plan = method.plan(given, student, teacher, still=False)
    steps = [plan.step(index) for index in range(plan.total)]
    found = [
        np.sort(np.concatenate([s.parts[Role.RETAIN].slots for s in steps if (s.turn == REPAIR) == last]))
        for last in (False, True)
    ]
    assert np.array_equal(*found)
    labels = parent.examples.labels.numpy()[found[0]]
    assert np.bincount(labels).tolist() == [20, 0, 20]


def test_objective_gradients(problem: Problem) -> None:
    """The mean over the step's members, noise and sample alike: on the logits p − c and p − y."""
    parent = problem("double")
    method = ImpairRepair(**SMALL)
    given = given_of(parent, ImpairRepair.needs, rows_of(parent, 1))
    student = given.student().train()
    teacher = method.prepare(given, student).teacher
    assert isinstance(teacher, Mixture)
    plan = method.plan(given, student, teacher, still=False)
    for index in (0, plan.total - 1):
        step = plan.step(index)
        batch = StepBatch(step, plan, given.examples, Classification())
        found = torch.autograd.grad(value_of(method.objective(student, batch, teacher)), [student[3].weight])[0]  # type: ignore[index, union-attr]
        rows = parent.examples.batch(step.parts[Role.RETAIN].slots)
        inputs, labels = rows["inputs"], rows["labels"]
        if index == 0:
            chosen = teacher.taken(step)
            assert len(chosen) > 0
            inputs = torch.cat([inputs, teacher.rows[chosen]])
            labels = torch.cat([labels, torch.ones(len(chosen), dtype=torch.int64)])
        hidden = torch.tanh(student[1](inputs.flatten(1))).detach()  # type: ignore[index]
        p = torch.softmax(student[3](hidden), 1).detach()  # type: ignore[index]
        error = (p - nn.functional.one_hot(labels, 3)) / len(labels)
        torch.testing.assert_close(found, error.T @ hidden, rtol=0, atol=1e-12)


def test_noise_writes_no_running_statistics(normed: Parent) -> None:
    """Only sampled rows count as batches: one a step."""

    for name in ("impair_epochs", "repair_epochs"):
        result = ImpairRepair(**SMALL, **{name: 0})(normed, rows_of(normed, 1), budget=1.0)
        assert result.steps > 0
        assert passes(result.model) == [count + result.steps for count in passes(normed.model)]


def test_what_is_trained_on_is_noise_and_retained_rows(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    """No forgotten row is ever computed with; noise is labelled as the class that goes."""
    forget = rows_of(parent, 1)
    known = {parent.examples.inputs[slot].numpy().tobytes(): slot for slot in range(150)}
    seen: list[tuple[int | None, int]] = []

    class Watching(Classification):
        def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            for row, label in zip(batch["inputs"], batch["labels"], strict=True):
                seen.append((known.get(row.detach().numpy().tobytes()), int(label)))
            return super().outputs(model, batch)

    monkeypatch.setitem(TASKS, "classification", Watching())
    ImpairRepair(**SMALL)(parent, forget, budget=1.0)
    slots = {slot for slot, _ in seen if slot is not None}
    assert not slots & set(forget.tolist())
    assert len(slots) == 40
    noise = [label for slot, label in seen if slot is None]
    assert noise == [1] * (4 * 5 + 4 * 6)


# Costs and scaling.


def test_costs_by_hand(parent: Parent) -> None:
    """Noise rows times steps, noise rows times repetitions, and the sample once in each phase."""
    result = ImpairRepair(**SMALL)(parent, rows_of(parent, 1), budget=1.0)
    assert result.cost.example_steps == 4 * 5 + 4 * 6 + 2 * 40
    assert result.notices == ()
    assert result.stopped == "its own epochs are done"
    both = ImpairRepair(**SMALL, impair_epochs=2, repair_epochs=3)(parent, rows_of(parent, 0, 1), budget=1.0)
    assert both.cost.example_steps == 8 * 5 + 2 * 8 * 6 + 5 * 20


@pytest.mark.parametrize("share", [0.01, 0.02, 0.05, 0.1, 0.3, 0.8, 3.0])
@pytest.mark.parametrize("name", ["plain", "normed"])
def test_everything_scales_down_to_the_budget(share: float, name: str, problem: Problem) -> None:
    parent = problem(name)
    sizes = [len(rows_of(parent, label)) for label in (0, 2)]
    method = ImpairRepair()
    result = method(parent, rows_of(parent, 1), budget=share)
    allowed = share * TRAINING
    assert result.cost.example_steps <= allowed + 1e-9
    full = 32 * (25 + 80) + 2 * sum(sizes)
    assert full > 3.0 * TRAINING
    if result.steps == 0:
        assert share <= 0.01
        assert result.cost.example_steps == 0
        return
    counts = method.covered(method.wanted(np.array(sizes)), 1, np.array(sizes), allowed)
    assert counts is not None
    planned = counts.noise_rows * (counts.noise_steps + counts.noise_batches)
    planned += 2 * sum(min(size, counts.sample_per_class) for size in sizes)
    assert planned - 4 <= result.cost.example_steps <= planned  # a last batch of one row is left out before a norm
    assert planned >= 0.8 * allowed
    assert len(result.notices) == 1
    assert result.notices[0].startswith("scaled down to the budget: noise rows ")
    assert f"sample per class {counts.sample_per_class} of {max(sizes)}" in result.notices[0]


def test_counts_by_hand() -> None:
    method = ImpairRepair()
    sizes = np.array([100, 700])
    wanted = method.wanted(sizes)
    assert wanted == NoiseCounts(32, 25, 80, 500)
    assert method.covered(wanted, 1, sizes, math.inf) == wanted
    full = 32 * 105 + 2 * 600
    assert method.covered(wanted, 1, sizes, full) == wanted
    assert method.covered(wanted, 1, sizes, full / 2) == NoiseCounts(15, 25, 80, 252)
    # 3 classes: 300 of 11,280 steps are 13 rows a class, 52 steps; 248 / 315 of one noise row are 19 steps and 62
    # repetitions, 3·81 steps; what is left covers 14 rows a class
    assert method.covered(wanted, 3, sizes, 300) == NoiseCounts(1, 19, 62, 14)
    assert method.covered(wanted, 1, sizes, 1) is None
    assert method.covered(wanted, 1, sizes, 10) == NoiseCounts(1, 1, 4, 1)
    assert ImpairRepair(noise_batches=0).wanted(sizes).noise_rows == 0
    assert ImpairRepair(impair_epochs=0).wanted(sizes).noise_rows == 0


def test_at_a_tenth_of_the_work_the_class_is_forgotten(parent_of: MakeParent) -> None:
    """At a rate that is high enough: at the default of 1e-4 a tenth of a small network's work changes no answer."""
    from expunge.data.forms import read
    from expunge.data.source import Source

    parent = parent_of(read(Source(location="digits")), model="cnn", epochs=8, batch_size=64)
    forget = rows_of(parent, 3)
    retain = np.setdiff1d(np.arange(len(parent.examples)), forget)
    result = ImpairRepair(rate=0.01, batch_size=32)(parent, forget, budget=0.1)

    def accuracy(model: nn.Module, slots: np.ndarray) -> float:
        rows = parent.examples.batch(slots)
        with torch.no_grad():
            return float((model.eval()(rows["inputs"]).argmax(1) == rows["labels"]).double().mean())

    assert accuracy(parent.model, forget) > 0.95
    assert accuracy(result.model, forget) < 0.5
    assert accuracy(result.model, retain) > 0.7


def test_interrupted_and_continued(normed: Parent, tmp_path: Path) -> None:
    """The noise is learnt again to the same bits, and counted once."""
    method, forget = ImpairRepair(**SMALL, batch_size=8), rows_of(normed, 1)
    continues(method, normed, tmp_path / "run", stop=7, budget=1.0, forget=forget)


# Options.

OPTIONS: dict[str, Any] = {
    "rate": 0.02,
    "batch_size": 8,
    "momentum": 0.5,
    "weight_decay": 0.3,
    "calendar": Calendar.CONSTANT,
    "optimiser": OptimiserName.SGD,
    "recalibrate": True,
    "noise_batches": 3,
    "noise_batch_size": 3,
    "noise_steps": 3,
    "noise_rate": 0.2,
    "decay": 0.5,
    "sample_per_class": 10,
    "impair_epochs": 2,
    "repair_epochs": 2,
}


@pytest.mark.parametrize("field", OPTIONS)
def test_every_option_has_an_effect(field: str, normed: Parent) -> None:
    assert digest(ImpairRepair(**{**SMALL, field: OPTIONS[field]}), normed) != digest(ImpairRepair(**SMALL), normed)


def test_every_field_is_among_the_options() -> None:
    assert {*OPTIONS, "epochs"} == {item.name for item in fields(ImpairRepair)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epochs": "2"}, "epochs 2: impair-repair counts by impair_epochs and repair_epochs"),
        ({"noise_batches": "-1"}, "noise_batches -1 must be a whole number from 0"),
        ({"noise_batch_size": "0"}, "noise_batch_size 0 must be a whole number from 1"),
        ({"noise_steps": "-1"}, "noise_steps -1 must be"),
        ({"sample_per_class": "0"}, "sample_per_class 0 must be a whole number from 1"),
        ({"noise_rate": "nan"}, "noise_rate nan must be a finite number from 0"),
        ({"decay": "-1"}, "decay -1.0 must be a finite number from 0"),
        ({"impair_epochs": "inf"}, "impair_epochs inf must be"),
        ({"repair_epochs": "-1"}, "repair_epochs -1 must be"),
    ],
)
def test_settings_are_checked(settings: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        make_method("unsir", settings)
