"""Light perturbation: what it looks at, where it stops, how far it goes, what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import make_pictures, run_json
from tests.methods.shared import FORGET, RETAIN, MakeParent, continues, given_of, rows_of
from torch import nn

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.statistics import stopping
from expunge.core.statistics.stopping import LOOKS, StopLook
from expunge.core.values import Direction, Empirical, Measurement
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.contract import Parent, Unlearned
from expunge.methods.given import calibration_of
from expunge.methods.impair_repair import labels_of
from expunge.methods.light_perturbation import Expected, LightPerturbation, Variant
from expunge.methods.looks import LookRows, Region, Steering, length
from expunge.methods.unlearn import unlearn
from expunge.tasks.gradients import per_example_gradients
from expunge.tasks.task import Batch
from expunge.train.run import Run
from expunge.train.state import weights_digest

on_variants = pytest.mark.parametrize("variant", list(Variant), ids=lambda variant: variant.value)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule judges the dozen rows of these tests, and never passes."""
    monkeypatch.setattr(stopping, "FEWEST", 5)
    monkeypatch.setattr(stopping, "TOLERANCE", -1.0)


@pytest.fixture
def never_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StopLook, "harder", False)


def at(variant: Variant, **fields: Any) -> LightPerturbation:
    return LightPerturbation(variant=variant, batch_size=5, **fields)


def change_of(parent: Parent, model: nn.Module) -> tuple[float, float]:
    """Length of the change, and of the original's weights."""
    was, now = ([one.detach() for one in each.parameters()] for each in (parent.model, model))
    return length([b - a for a, b in zip(was, now, strict=True)]), length(was)


# What it costs.


@pytest.fixture(scope="module")
def roomy(parent_of: MakeParent) -> Parent:
    """A network that knows 1,200 rows by heart, because their labels are its answers; those of 1,300 others are not."""
    parent = parent_of(make_pictures(1200, seed=2), calibration=make_pictures(1300, seed=3), epochs=1, batch_size=64)
    assert parent.calibration is not None
    with torch.no_grad():
        parent.examples.labels = parent.model(parent.examples.inputs).argmax(dim=1)
    labels = np.random.default_rng(0).permutation(parent.calibration.labels.numpy())
    parent.calibration.labels = torch.from_numpy(labels)
    return parent


def test_the_whole_cost_is_that_of_the_formula(
    roomy: Parent, monkeypatch: pytest.MonkeyPatch, never_worse: None
) -> None:
    """F and as many of R in K passes; in P looks q of F, 800 others, K|F|/P of R: 7fK/3 + (q + 800)P/3N."""
    monkeypatch.setattr(stopping, "TOLERANCE", -1.0)
    forget, rows = np.arange(0, 1200, 2)[:500], 1200
    for variant in Variant:
        for passes in (1, 2):
            result = LightPerturbation(variant=variant, epochs=passes, batch_size=50)(roomy, forget, budget=5.0)
            f, q = len(forget) / rows, min(len(forget), 800)
            bound = rows * (7 * f * passes / 3 + (q + 500) * LOOKS / (3 * rows))  # 500 pairs are all that there are
            assert result.cost.example_steps <= bound + 1e-9
            if variant is Variant.ALIGN:
                assert result.cost.example_steps == pytest.approx(bound, abs=1e-9)
            assert result.stopped is not None
            assert result.stopped.startswith("Undecided(no look passed): AUC ")


@pytest.mark.parametrize(
    ("rows", "share", "times"), [(50_000, 0.01, 74), (50_000, 0.05, 28), (50_000, 0.1, 16), (26_049, 0.05, 22)]
)
def test_speed_ups_that_the_formula_promises(rows: int, share: float, times: float) -> None:
    epochs, passes, q = 10, 2, min(800, share * rows)
    assert epochs * (1 - share) / (7 * share * passes / 3 + (q + 800) * LOOKS / (3 * rows)) == pytest.approx(
        times, abs=0.5
    )


def test_at_most_eight_hundred_rows_a_side_are_looked_at(roomy: Parent) -> None:
    given = given_of(roomy, LightPerturbation.needs, np.arange(1000))
    ground = LightPerturbation().ground(given)
    assert len(ground.forgotten) == len(ground.matched) == 800
    assert len(ground.retained) == 200


@pytest.mark.parametrize(
    ("variant", "rate", "steps", "looks"),
    [(Variant.ALIGN, 1.0, 7, 4), (Variant.DIRECTION, 0.1, 20, 5), (Variant.NOISE, 1.0, 9, 5)],
    ids=lambda value: str(getattr(value, "value", value)),
)
def test_it_stops_at_the_first_look_that_passes_and_pays_for_those_until_then(
    variant: Variant, rate: float, steps: int, looks: int, roomy: Parent
) -> None:
    """Retained rows that teach the contrary drive out what is known of F."""
    parent, forget = contrary(roomy), np.arange(500)
    result = LightPerturbation(variant=variant, rate=rate, radius=0.5, batch_size=50)(parent, forget, budget=5.0)
    assert result.stopped is not None
    assert result.stopped.startswith("the stop rule passed: AUC ")
    assert result.steps == steps
    rows = {Variant.ALIGN: 100 * steps, Variant.DIRECTION: 50 * steps, Variant.NOISE: 50 * steps + 500}[variant]
    assert result.cost.example_steps == pytest.approx(rows + looks * (500 + 500 + 100) / 3)
    assert result.guarantee == Empirical()
    assert "no verdict" in result.notices[0]
    ground = LightPerturbation().ground(given_of(parent, LightPerturbation.needs, forget))
    untouched, now = (ground.look(model) for model in (parent.model, result.model))
    assert str(now) in result.stopped
    assert not untouched.alike
    assert now.passes(untouched)


def contrary(parent: Parent) -> Parent:
    """The same, but for the labels of all rows but the first 500, which are what it believes least."""
    examples = parent.examples.only(np.arange(len(parent.examples)))
    with torch.no_grad():
        least = parent.model(parent.examples.inputs).argmin(dim=1)
    examples.labels = torch.cat([parent.examples.labels[:500], least[500:]])
    return replace(parent, examples=examples)


# Look 0, and what it decides.


def test_where_the_untouched_model_passes_nothing_is_done(parent: Parent, few: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(stopping, "TOLERANCE", 1.0)
    for variant in Variant:
        result = at(variant)(parent, FORGET, budget=2.0)
        assert weights_digest(result.model) == parent.weights_digest
        assert result.steps == 0
        assert result.cost.example_steps == pytest.approx((12 + 12 + 2) / 3)  # one look
        assert result.stopped is not None
        assert result.stopped.startswith("Undecided(untouched passes): AUC ")


def test_rows_that_are_answered_worse_from_the_start_are_left_alone(parent: Parent, few: None) -> None:
    examples = parent.examples.only(np.arange(150))
    examples.labels = parent.examples.labels.clone()
    examples._labels[FORGET] = (examples._labels[FORGET] + 1) % 3
    result = at(Variant.ALIGN)(replace(parent, examples=examples), FORGET, budget=2.0)
    assert weights_digest(result.model) == parent.weights_digest
    assert result.stopped is not None
    assert result.stopped.startswith("Undecided(forgotten rows are answered worse than matched ones untouched): AUC ")


@on_variants
def test_with_fewer_pairs_it_goes_on_to_its_own_end_and_says_so(variant: Variant, parent: Parent) -> None:
    result = at(variant)(parent, FORGET, budget=2.0)
    assert result.steps == 6
    assert result.stopped is not None
    assert result.stopped.startswith("Undecided(12 rows a side): the stop rule needs 480 pairs")
    asked = {Variant.ALIGN: 24 + 12 / 3, Variant.DIRECTION: 0, Variant.NOISE: 12}[variant]
    assert result.cost.example_steps == pytest.approx(24 + asked)
    assert weights_digest(result.model) != parent.weights_digest


def test_a_budget_that_covers_looks_alone_covers_nothing(parent: Parent, few: None) -> None:
    needed = LOOKS * (12 + 12 + 2) / 3
    result = at(Variant.ALIGN)(parent, FORGET, budget=(needed + 9) / 600)
    assert (result.steps, result.cost.example_steps) == (0, 0)
    assert result.stopped is not None
    assert result.stopped.startswith("nothing done: the budget covers no step beside the looks")
    assert at(Variant.ALIGN)(parent, FORGET, budget=(needed + 10) / 600).steps == 1


# Contract, where looks are taken.


@on_variants
def test_looks_change_nothing_but_the_cost(variant: Variant, parent: Parent, few: None, never_worse: None) -> None:
    """Same bytes again, every need is used, every pass is paid for."""
    first, again = (at(variant)(parent, FORGET, budget=2.0) for _ in range(2))
    assert weights_digest(first.model) == weights_digest(again.model) != parent.weights_digest
    steps = {Variant.ALIGN: 48, Variant.DIRECTION: 24, Variant.NOISE: 24 + 12}[variant]
    taken = 7 if variant is not Variant.DIRECTION else LOOKS  # six steps have room for six looks after the first
    assert first.cost.example_steps == pytest.approx(steps + taken * (12 + 12 + 2) / 3)


@on_variants
def test_killed_and_called_again_it_ends_alike(
    variant: Variant, normed: Parent, few: None, never_worse: None, tmp_path: Path
) -> None:
    method = at(variant)
    for stop in (3, 4):
        continues(method, normed, tmp_path / str(stop), stop=stop, budget=2.0)
    recorded: dict[str, Any] = {"budget": 2.0, "workspace": tmp_path, "checkpoint_interval": 5}

    def kill(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(normed, FORGET, progress=kill, **recorded)
    again, whole = method(normed, FORGET, **recorded), method(normed, FORGET, budget=2.0)
    assert (again.stopped, again.cost.example_steps) == (whole.stopped, whole.cost.example_steps)
    assert weights_digest(again.model) == weights_digest(whole.model)


@on_variants
def test_batch_norms_keep_the_statistics_of_the_original(variant: Variant, normed: Parent) -> None:
    result = at(variant)(normed, FORGET, budget=2.0)
    kept = dict(normed.model.named_buffers())
    assert kept
    assert all(torch.equal(value, kept[name]) for name, value in result.model.named_buffers())


# How far it goes.


@on_variants
def test_no_weights_beyond_the_region_are_reached(variant: Variant, parent: Parent) -> None:
    for radius in (0.001, 0.0005):
        far, whole = change_of(parent, at(variant, rate=10.0, radius=radius)(parent, FORGET, budget=2.0).model)
        assert far == pytest.approx(radius * whole, rel=1e-3)
    free, _ = change_of(parent, at(variant, rate=10.0, radius=10.0)(parent, FORGET, budget=2.0).model)
    assert free > 0.002 * whole
    wild, _ = change_of(parent, at(variant, rate=1e4)(parent, FORGET, budget=2.0).model)
    assert 0.01 * whole < wild <= 0.05 * whole * (1 + 1e-5)


def scripted(
    parent: Parent, monkeypatch: pytest.MonkeyPatch, found: Iterator[StopLook], *, line: bool, total: int = 18
) -> tuple[Steering, Callable[[], float]]:
    """Steering over looks that somebody made up, after a change of length 1; and how far the student is now."""
    given = given_of(parent, LightPerturbation.needs)
    ground, student = LightPerturbation().ground(given), given.student()
    region = Region(student, 0.05)
    weight = next(student.parameters())
    with torch.no_grad():
        weight.view(-1)[0] += 1.0
    monkeypatch.setattr(LookRows, "look", lambda self, model: next(found))
    steering = Steering(ground, region, student, seen(0.7, 0.9), total, line)
    return steering, lambda: length(region.gone())


def seen(low: float, high: float, **right: float) -> StopLook:
    measured = Measurement(
        value=(low + high) / 2, low=low, high=high, n=1600, unit="example", direction=Direction.MATCH, level=0.995
    )
    return StopLook(measured, **{"forgotten": 0.9, "matched": 0.8, "retained": 0.95, **right})


KNOWN, PASSES, WORSE = seen(0.7, 0.9), seen(0.45, 0.55), seen(0.3, 0.5, forgotten=0.7)
BROKEN, NEARER = seen(0.45, 0.55, retained=0.9), seen(0.6, 0.8)


@pytest.mark.parametrize(
    ("looks", "share", "says"),
    [
        ([KNOWN, KNOWN, PASSES], 3 / 9, "the stop rule passed: AUC 0.500 [0.450, 0.550] of 800 rows a side"),
        ([KNOWN] * 9, 1.0, "Undecided(no look passed): AUC 0.800"),
        ([KNOWN, NEARER, WORSE], 2 / 9, "Undecided(no look passed): AUC 0.700"),
        ([NEARER, BROKEN], 1 / 9, "Undecided(no look passed): AUC 0.700"),
        ([BROKEN], 0.0, "Undecided(no look passed): AUC 0.800"),
    ],
)
def test_a_line_search_goes_on_until_a_look_passes(
    looks: list[StopLook], share: float, says: str, parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    steering, far = scripted(parent, monkeypatch, iter(looks), line=True)
    assert all(steering.stop(done) is None for done in range(18))
    reason = steering.stop(18)
    assert reason is not None
    assert reason.startswith(says)
    assert far() == pytest.approx(share * steering.region.reach, rel=1e-5)


def test_looks_lie_evenly_over_the_steps(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    steering, far = scripted(parent, monkeypatch, iter([KNOWN] * 9), line=False, total=25)
    assert steering.marks == [3, 6, 9, 12, 14, 17, 20, 23, 25]
    found = [steering.stop(done) for done in range(26)]
    assert found[:25] == [None] * 25
    assert found[25] is not None
    assert found[25].startswith("Undecided(no look passed)")
    assert far() == pytest.approx(1.0)
    short, _ = scripted(parent, monkeypatch, iter([KNOWN, BROKEN, PASSES]), line=False, total=3)
    assert [short.stop(done) for done in range(3)] == [None] * 3
    assert short.marks == [1, 2, 3]
    assert (short.stop(3) or "").startswith("the stop rule passed")


def test_looks_to_come_are_held_back_from_the_budget(parent: Parent, few: None, monkeypatch: Any) -> None:
    steering, _ = scripted(parent, monkeypatch, iter([KNOWN] * 9), line=False, total=9)
    meter = steering.ground.given.meter
    for done in range(10):
        steering.stop(done)
        assert meter.kept == (9 - done) * (12 + 12 + 2)


@pytest.mark.parametrize(
    ("looks", "far", "says"),
    [
        (
            [WORSE, WORSE, NEARER],
            0.25,
            "Undecided(forgotten rows came to be answered worse than matched ones): AUC 0.700",
        ),
        ([WORSE, PASSES], 0.5, "the stop rule passed"),
        ([WORSE] * 9, 0.0, "Undecided(forgotten rows came to be answered worse than matched ones): AUC 0.800"),
    ],
)
def test_rows_are_never_left_answered_worse(
    looks: list[StopLook], far: float, says: str, parent: Parent, monkeypatch: pytest.MonkeyPatch
) -> None:
    steering, gone = scripted(parent, monkeypatch, iter(looks), line=False)
    assert (steering.stop(2) or "").startswith(says)
    assert gone() == pytest.approx(far, rel=1e-5)
    if not far:
        assert weights_digest(steering.student) == parent.weights_digest


# What it looks at.


def test_every_forgotten_row_has_a_calibration_row_of_its_class(roomy: Parent) -> None:
    forget = np.concatenate([rows_of(roomy, 0)[:300], rows_of(roomy, 1)[:600], rows_of(roomy, 2)[:1]])
    given = given_of(roomy, LightPerturbation.needs, forget)
    ground = LookRows.of(given, forget[:1])
    assert roomy.calibration is not None
    ours, theirs = labels_of(given.examples, ground.forgotten), labels_of(roomy.calibration, ground.matched)
    assert np.array_equal(np.bincount(ours), np.bincount(theirs))
    assert np.array_equal(theirs, ground.classes)
    assert set(ours) == {0, 1, 2}
    assert len(set(ground.matched)) == len(ground.matched)
    assert np.isin(ground.forgotten, forget).all()
    there = [int((labels_of(roomy.calibration, roomy.calibration.readable) == one).sum()) for one in range(3)]
    asked = np.bincount(labels_of(given.examples, forget))
    assert len(ours) == min(800, sum(min(*pair) for pair in zip(asked, there, strict=True)))


def test_what_is_expected_is_the_mean_belief_by_class() -> None:
    generator = np.random.default_rng(0)
    logits, classes = generator.normal(size=(7, 3)), np.array([0, 1, 1, 2, 0, 2, 2])
    found = Expected(logits, classes, torch.device("cpu"))(torch.tensor([2, 0])).numpy()
    for row, one in zip(found, (2, 0), strict=True):
        beliefs = [np.exp(own) / np.exp(own).sum() for own, kind in zip(logits, classes, strict=True) if kind == one]
        assert np.exp(row) == pytest.approx(sum(beliefs) / len(beliefs), abs=1e-12)


def test_noise_is_less_where_the_sample_holds_a_weight(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> None:
    method, given = at(Variant.NOISE), given_of(parent, LightPerturbation.needs)
    student = given.student()
    region = Region(student, 10.0)
    method.shake(given, student, region)
    rows, _ = method.members(given)
    squares = torch.zeros(sum(one.numel() for one in student.parameters()), dtype=torch.float64)
    for row in rows:
        batch: Batch = given.examples.batch(np.array([row]))
        squares += per_example_gradients(given.task, parent.model, batch)[0].double() ** 2
    drawn = torch.from_numpy(given.stream("noise").normal(len(squares)))
    expected = drawn * (squares.mean() / (squares + squares.mean())).sqrt()
    expected *= 0.02 * region.norm / expected.norm()
    found = torch.cat([one.flatten() for one in region.gone()]).double()
    assert float((found - expected).norm()) < 1e-4 * float(expected.norm())
    assert given.meter.example_steps == len(rows) == len(FORGET)


def test_calibration_rows_are_never_of_the_holdout_or_of_people_forgotten_by_name(
    small_run: Run, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, looked = small_run.data(pictures), list[np.ndarray]()
    calibration = rows[Split.CALIBRATION]
    person = calibration.subjects[0]
    real = LookRows.of

    def remember(given: Any, retained: np.ndarray) -> LookRows:
        looked.append(given.calibration.readable)
        return real(given, retained)

    monkeypatch.setattr(LookRows, "of", remember)
    run = unlearn(
        small_run, f"subject:{person}", method="light-perturbation", out=tmp_path / "o", budget=2.0, data=pictures
    )
    left = [slot for slot, subject in enumerate(calibration.subjects) if subject != person]
    assert 0 < len(left) < len(calibration)
    assert [list(found) for found in looked] == [left]
    assert run_json(run)["stopped"].startswith("Undecided(")
    assert run.guarantee == Empirical()
    device = torch.device("cpu")
    assert list(calibration_of(run.recipe, rows, {}, device).readable) == list(range(len(calibration)))
    with pytest.raises(InvalidArgument, match="may not be read here"):
        calibration_of(run.recipe, rows, run.told.released, device).batch(np.array([0]))


# What is refused.


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"noise": 0.1}, r"noise 0\.1 has no effect on the variant align: leave it out, or choose noise"),
        ({"recalibrate": True}, "recalibrate would change the model after its last look: leave it off"),
        ({"radius": -0.1}, r"radius -0\.1 must be a finite number from 0"),
        ({"retain_weight": float("nan")}, "retain_weight nan must be a finite number from 0"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        LightPerturbation(**fields)


def test_without_calibration_rows_it_is_refused(parent: Parent) -> None:
    assert parent.calibration is not None
    for none in (None, parent.calibration.only(np.zeros(0, dtype=np.int64))):
        with pytest.raises(DataError, match="needs calibration rows, and this run has none: train on more rows"):
            LightPerturbation()(replace(parent, calibration=none), FORGET)


def test_a_class_without_calibration_rows_is_refused_where_it_is_needed(parent: Parent) -> None:
    assert parent.calibration is not None
    others = np.flatnonzero(parent.calibration.labels.numpy() != 1)
    lacking = replace(parent, calibration=parent.calibration.only(others))
    with pytest.raises(InvalidArgument, match=r"rows of class 1 are to be forgotten and no calibration row is of it"):
        at(Variant.ALIGN)(lacking, FORGET)
    assert at(Variant.ALIGN)(lacking, np.setdiff1d(rows_of(parent, 0, 2), RETAIN), budget=2.0).steps
    result: Unlearned = at(Variant.DIRECTION)(lacking, FORGET, budget=2.0)
    assert result.steps == 6
