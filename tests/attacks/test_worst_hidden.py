"""The search by two levels: against loops by hand, and the oracles that make it cheap and keep it honest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.attacks.conftest import CandidatesOf
from tests.conftest import Refused
from torch import nn

from expunge.attacks.worst_hidden import Hidden, Start, TwoLevelSearch
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.selection.ranking import overlap
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.schedule.schedule import Schedule
from expunge.train.run import Run
from expunge.train.segment import StepRunner
from expunge.train.state import tensors_digest

pytestmark = pytest.mark.usefixtures("exactly")


@pytest.mark.parametrize("ascent", [False, True])
def test_the_lower_level_by_hand(narrow_run: Run, candidates_of: CandidatesOf, ascent: bool) -> None:
    """θ ← θ − β·sign of the gradient of Σ c·ℓ ÷ Σ|c| over those whose factor is not 0, from the original each time."""
    candidates = candidates_of(narrow_run)
    settings = Hidden(steps=2, epochs=1, step_rate=1e-3, ascent=ascent)
    search = TwoLevelSearch(settings, candidates)
    weights = np.random.default_rng(1).uniform(size=candidates.total)
    weights[[3, 40]], weights[[7, 41]] = 1.0, 0.0
    search.weights = weights
    factors = 1 - 2 * weights if ascent else 1 - weights
    search.unlearn(0)  # leaves no trace in the second
    losses = search.unlearn(1)
    recipe = replace(search.runner.recipe, optimiser=replace(search.runner.recipe.optimiser, rate=1e-3))
    schedule = Schedule.of(recipe, narrow_run.root, narrow_run.units, narrow_run.beacon)
    model, each = narrow_run.model().train(), schedule.total_steps(0) // 2
    for step in range(each, 2 * each):
        seated = [slot for slot in schedule.chairs(0, step) if factors[slot] != 0]
        batch = candidates.examples.batch(np.array(seated))
        c = torch.from_numpy(factors[seated]).float()
        loss = nn.functional.cross_entropy(model(batch["inputs"]), batch["labels"], reduction="none")
        model.zero_grad()
        ((c * loss).sum() / c.abs().sum()).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 1e-3 * parameter.grad.sign()
    for own, found in zip(model.parameters(), search.runner.model.parameters(), strict=True):
        torch.testing.assert_close(found, own, rtol=0, atol=1e-7)
    with torch.no_grad():
        logits = model.eval()(candidates.examples.inputs).double()
    expected = nn.functional.cross_entropy(logits, candidates.examples.labels, reduction="none")
    np.testing.assert_allclose(losses, expected.numpy(), rtol=1e-9)
    assert candidates.meter.thirds == 2 * (3 * int((factors != 0).sum()) + candidates.total) + candidates.total


def test_a_small_change_of_weights_changes_nothing_below_signs(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    """So the loss is the gradient of the upper level; under plain steps the model moves, and it is not."""
    candidates = candidates_of(narrow_run)
    moved = {OptimiserName.SIGN: 0, OptimiserName.SGD: 0}
    for name in moved:
        search = TwoLevelSearch(Hidden(steps=1, epochs=2), candidates)
        if name is OptimiserName.SGD:
            search.recipe = replace(search.recipe, optimiser=Optimiser(rate=0.05))
            search.runner = StepRunner(search.recipe, candidates.examples, narrow_run.model())
        search.unlearn(0)
        before = tensors_digest(search.runner.state)
        for place in range(10):
            search.weights[place] += 1e-7
            search.unlearn(0)
            moved[name] += tensors_digest(search.runner.state) != before
            search.weights[place] -= 1e-7
    assert moved == {OptimiserName.SIGN: 0, OptimiserName.SGD: 10}


def test_fixed_losses_and_large_steps_give_the_lowest(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    random = np.random.default_rng(4)
    for count in (1, 12, 60):
        search = TwoLevelSearch(Hidden(rate=1e4, pull=0.0), candidates_of(narrow_run, count))
        losses = random.exponential(size=len(search.weights))
        for _ in range(2):
            search.rise(losses)
        assert search.chosen().places.tolist() == sorted(np.argsort(losses)[:count])
        assert search.chosen().held == pytest.approx(count)


def test_within_its_reach_a_mask_comes_out_as_it_went_in(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    """Whatever the losses; and not a hair more is needed with two rows, of which one is chosen."""
    random = np.random.default_rng(9)
    near = 0
    for seed in range(60):
        candidates = candidates_of(narrow_run, int(random.integers(1, 60)), seed)
        search = TwoLevelSearch(Hidden(start=Start.MASK, rate=float(random.uniform(0.01, 0.4))), candidates)
        while True:
            losses = random.exponential(size=candidates.total)
            if search.reach_with(losses) >= 1:
                break
            search.rise(losses)
        near += search.reach > 0.8
        assert search.chosen().start == 1.0
    assert near > 5
    for reach, kept in ((0.995, 1.0), (1.005, 0.0)):
        two = candidates_of(narrow_run, 1)
        two.__dict__.update(slots=np.arange(2), labels=two.labels[:2])
        search = TwoLevelSearch(Hidden(start=Start.MASK, rate=reach, pull=0.0), two)
        search.rise(search.weights.copy())  # what is chosen loses 1, the other 0
        assert search.reach == pytest.approx(reach)
        assert search.chosen().start == kept


def test_an_even_start_moves_and_a_slow_mask_is_refused_before_its_last_step(
    narrow_run: Run, candidates_of: CandidatesOf, refused: Refused
) -> None:
    candidates = candidates_of(narrow_run)
    found = Hidden().choose(candidates)
    assert found.start == overlap(found.places, candidates.random(1)[0]) <= candidates.chance + 0.2
    assert found.value(found.places) <= 0.5 * np.mean([found.value(places) for places in candidates.random(20)])
    assert candidates.meter.example_steps <= 12 * candidates.total
    typical = np.sort(np.argsort(candidates.original["loss"])[: len(found.places)])
    assert overlap(found.places, typical) >= 0.8
    stuck = Hidden(steps=2, epochs=1, start=Start.MASK, rate=1e-3)
    with refused(InvalidArgument, "`start` mask with `rate` 0.001", "2 steps", "start even"):
        stuck.choose(candidates)
    forced = TwoLevelSearch(stuck, candidates)
    for step in range(2):
        forced.rise(forced.unlearn(step))
    assert forced.chosen().start >= 0.98


def test_a_rate_that_breaks_the_model_is_halved(narrow_run: Run, candidates_of: CandidatesOf, refused: Refused) -> None:
    search = TwoLevelSearch(Hidden(steps=1, epochs=1, step_rate=0.2), candidates_of(narrow_run))
    search.unlearn(0)
    assert 1 <= search.chosen().halved <= 10
    with refused(RunError, "rows that stay", "set a lower step_rate"):
        TwoLevelSearch(Hidden(steps=1, epochs=1, step_rate=1e6), candidates_of(narrow_run)).unlearn(0)
    with refused(RunError, "every row has the same loss"):
        search.rise(np.ones(len(search.weights)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": 0}, "steps 0 must be a whole number from 1"),
        ({"epochs": 0}, "epochs 0 must be"),
        ({"step_rate": 0.0}, "step_rate 0.0 must be a finite number above 0"),
        ({"rate": float("nan")}, "rate nan must be"),
        ({"pull": -1.0}, "pull -1.0 must be a finite number from 0"),
    ],
)
def test_fields_out_of_bounds(fields: dict[str, Any], said: str, refused: Refused) -> None:
    with refused(InvalidArgument, said):
        Hidden(**fields)


def test_classes_weigh_by_the_mean_of_their_rows(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    candidates = candidates_of(narrow_run, 1, whole_classes=True)
    found = Hidden().choose(candidates)
    means = [candidates.original["loss"][candidates.labels == label].mean() for label in range(3)]
    assert found.places.tolist() == [int(np.argmin(means))]
    assert set(candidates.labels[candidates.rows(found.places)]) == set(found.places)
    assert found.tied == 0
    assert not found.stuck
    even = TwoLevelSearch(Hidden(), candidates).chosen()  # before any step all weights are the same
    assert even.stuck
    held = TwoLevelSearch(Hidden(start=Start.MASK), candidates).chosen()
    assert held.stuck
    assert held.tied == 0
