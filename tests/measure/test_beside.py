"""What is printed beside the verdict: by hand on made-up models whose truth is known, and where nothing can be said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVC
from tests.measure.test_judgement import COUNTS, LABELS, answered, ground, judged, logits_with, model, trial

from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.values import Figure, Measurement, Undecided
from expunge.measure import PROBES, relative_membership
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.calibration import BrierScore, CalibrationError, HoldoutLoss
from expunge.measure.class_accuracy import ClassAccuracy
from expunge.measure.contract import NO_MARGIN, ProbeRole
from expunge.measure.difference import DifferenceOfVersions
from expunge.measure.judgement import Judged, Judgement
from expunge.measure.lookup import probes_for
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MarginAboveHoldout, MeanMargin
from expunge.measure.memory import MemoryLeft, Typicality
from expunge.measure.numbers import HoldoutShare, RetainShare
from expunge.measure.numbers import with_margins as number_margins
from expunge.measure.published import as_published
from expunge.measure.readings import SIGNALS
from expunge.measure.relative_membership import RelativeMembership
from expunge.measure.row import NOT_CALIBRATED, NOT_JUDGED
from expunge.measure.trial import Answers, Trial, TrialModel, Whose
from expunge.measure.tug_of_war import TugOfWar


def value(found: Figure) -> float:
    assert isinstance(found, Measurement), found
    assert found.low <= found.value <= found.high
    return found.value


def row(found: Judgement, name: str) -> Judged:
    return next(one for one in found.probes if one.probe.name == name)


# Each probe by hand


def test_the_difference_is_the_pair_count_of_what_was_lost() -> None:
    found = trial(model(500))
    own, before = found.unlearned[0].answers, found.original.answers
    lost = {rows: before.of(rows)["margin"] - own.of(rows)["margin"] for rows in (Whose.FORGET, Whose.HOLDOUT)}
    members, others = lost[Whose.FORGET], lost[Whose.HOLDOUT][found.ground.scored]
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    assert value(DifferenceOfVersions().measure(found.unlearned[0], found)) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert np.mean(pairs) > 0.9, "a retraining shows beside the original"
    reference = DifferenceOfVersions().measure(found.references[0], found)
    assert value(reference) > 0.9, "and so do the references: that is the null"


def test_the_original_beside_itself_is_a_half_and_said_to_be_nothing_new() -> None:
    found = trial(model(1000, forget=3.0))
    told = DifferenceOfVersions().measure(found.unlearned[0], found)
    assert isinstance(told, Measurement)
    assert (told.value, told.low, told.high) == (0.5, 0.5, 0.5)
    same = judged(model(1000, forget=3.0))
    assert any("answers every row as the original does, to the last bit" in notice for notice in same.notices)


def test_two_versions_that_tell_who_was_forgotten_are_not_to_be_published() -> None:
    told = [notice for notice in judged(model(500)).notices if notice.startswith("do not publish both versions: ")]
    assert len(told) == 1
    assert "as they would after a retraining" in told[0]
    quiet = judged(model(1001, forget=3.0), original=model(1000, forget=3.0))
    assert not any("publish" in notice for notice in quiet.notices)


def test_a_figure_beside_the_original_is_kept_for_that_original_alone() -> None:
    figures: dict[object, Figure] = {}
    first = trial(model(500), figures=figures)
    other = trial(model(500), original=model(1003, forget=1.0), figures=figures)
    values = [value(DifferenceOfVersions().measure(one.unlearned[0], one)) for one in (first, other)]
    assert values[0] != values[1]


@pytest.mark.parametrize("references", [1, 2, 5])
def test_tug_of_war_is_the_mean_product_over_references(references: int) -> None:
    found = trial(model(500, forget=1.0), count=references)
    products = []
    for reference in found.references:
        product = 1.0
        for probe in (ForgetAccuracy(), RetainAccuracy(), HoldoutAccuracy()):
            own, theirs = (value(probe.measure(one, found)) for one in (found.unlearned[0], reference))
            product *= 1.0 - abs(own - theirs)
        products.append(product)
    told = TugOfWar().measure(found.unlearned[0], found)
    assert value(told) == pytest.approx(np.mean(products), abs=1e-12)
    assert isinstance(told, Measurement)
    assert (told.unit, told.n) == ("reference", references)
    if references > 1:
        assert value(TugOfWar().measure(found.references[0], found)) < 1
    else:
        assert TugOfWar().measure(found.references[0], found) == Undecided("needs 1 other reference, has 0")


def test_calibration_is_read_off_the_scored_half(monkeypatch: pytest.MonkeyPatch) -> None:
    found = trial(model(500))
    scored, own = found.ground.scored, found.unlearned[0].answers.of(Whose.HOLDOUT)
    p = np.exp(own["beliefs"]) / np.exp(own["beliefs"]).sum(axis=1, keepdims=True)
    hits = np.eye(p.shape[1])[LABELS[Whose.HOLDOUT]]
    assert CalibrationError().measure(found.unlearned[0], found) == Undecided("needs 500 examples, has 200")
    monkeypatch.setattr("expunge.core.statistics.calibration.MINIMUM", 100)
    again = trial(model(500))
    sure, right = p[scored].max(axis=1), p[scored].argmax(axis=1) == LABELS[Whose.HOLDOUT][scored]
    bins = np.array_split(np.argsort(sure, kind="stable"), 15)
    gaps = [len(rows) / len(scored) * abs(right[rows].mean() - sure[rows].mean()) for rows in bins]
    assert value(CalibrationError().measure(again.unlearned[0], again)) == pytest.approx(sum(gaps), abs=0.02)
    brier = ((p - hits) ** 2).sum(axis=1)[scored].mean()
    assert value(BrierScore().measure(found.unlearned[0], found)) == pytest.approx(brier, abs=1e-12)
    loss = -np.log((p * hits).sum(axis=1))[scored].mean()
    assert value(HoldoutLoss().measure(found.unlearned[0], found)) == pytest.approx(loss, abs=1e-12)


def test_the_worst_class_is_found_beside_the_references_mean() -> None:
    base = model(500)
    beliefs = {rows: base.answers.of(rows)["beliefs"].copy() for rows in Whose}
    held_out = LABELS[Whose.HOLDOUT]
    hit = np.flatnonzero(held_out == 2)[:60]
    beliefs[Whose.HOLDOUT][hit, 2] -= 60.0
    run = replace(base, answers=answered(beliefs))
    found = trial(run)
    gaps, counts = [], []
    for label in range(4):
        rows = held_out == label
        usual = np.mean([one.answers.of(Whose.HOLDOUT)["correct"][rows].mean() for one in found.references])
        counts.append((int(run.answers.of(Whose.HOLDOUT)["correct"][rows].sum()), int(rows.sum()), usual))
        gaps.append(counts[-1][0] / counts[-1][1] - usual)
    told = ClassAccuracy().measure(run, found)
    assert value(told) == pytest.approx(min(gaps), abs=1e-12)
    assert int(np.argmin(gaps)) == 2
    right, count, usual = counts[2]
    low, high = clopper_pearson(right, count, 1 - 0.05 / 4)
    assert isinstance(told, Measurement)
    assert (told.low, told.high, told.n) == (pytest.approx(low - usual), pytest.approx(high - usual), 100)
    assert -0.2 < value(ClassAccuracy().measure(found.references[0], found)) < 0.05, "some class is always the worst"


def test_a_small_class_is_said_before_missing_references_are() -> None:
    tested = np.concatenate(
        [np.flatnonzero(LABELS[Whose.HOLDOUT] != 3), np.flatnonzero(LABELS[Whose.HOLDOUT] == 3)[:29]]
    )
    few = trial(model(500), count=0, ground=ground(tested=np.sort(tested)))
    told = ClassAccuracy().measure(few.unlearned[0], few)
    assert told == Undecided("needs 30 holdout rows of every class, the smallest has 29")
    enough = trial(model(500), count=0)
    assert ClassAccuracy().measure(enough.unlearned[0], enough) == Undecided("needs 4 other references, has 0")


def test_relative_membership_is_chosen_on_a_witness_and_sees_who_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = trial(model(500), count=0)
    told = RelativeMembership().measure(alone.unlearned[0], alone)
    assert told == Undecided("needs 500 rows in its half of the holdout, has 200")
    monkeypatch.setattr(relative_membership, "FEWEST_COMPARED", 100)
    found = trial(model(500), model(1001, forget=3.0), count=6)
    honest, known = (RelativeMembership().measure(one, found) for one in found.unlearned)
    assert value(known) > 0.8
    assert value(honest) == pytest.approx(0.5, abs=0.12)
    null = [value(RelativeMembership().measure(one, found)) for one in found.references]
    assert abs(value(honest) - np.mean(null)) < 0.06
    bare = trial(model(500), witnesses=())
    assert RelativeMembership().measure(bare.unlearned[0], bare) == Undecided("needs 1 witness, has 0")


def test_the_second_margin_is_the_first_minus_that_of_the_holdout() -> None:
    found = trial(model(500))
    run = found.unlearned[0]
    held_out = run.answers.of(Whose.HOLDOUT)["margin"][found.ground.scored].mean()
    first = value(MeanMargin().measure(run, found))
    assert value(MarginAboveHoldout().measure(run, found)) == pytest.approx(first - held_out, abs=1e-12)


# How much of the original's gap is left


@pytest.mark.parametrize("left", [0.0, 0.5, 1.0])
def test_the_gap_that_is_left_is_a_share_of_the_originals(left: float) -> None:
    found = judged(model(1001, forget=3.0 * left))
    shares = {one.probe.name: one.gap_left for one in found.probes if one.gap_left is not None}
    assert {"mean-margin", "loss-threshold", "margin-above-holdout", "average-gap", "tug-of-war"} <= set(shares)
    assert shares["mean-margin"] == pytest.approx(left, abs=0.1)
    one = row(found, "mean-margin")
    mean = one.reference_mean
    assert mean is not None
    assert one.gap_left == pytest.approx((value(one.unlearned) - mean) / (value(one.original) - mean))
    roles = {one.probe.role for one in found.probes if one.gap_left is not None}
    assert roles == {ProbeRole.FORGETTING}


@pytest.mark.parametrize(
    "change", [{"original": model(1000)}, {"count": 4}], ids=["an original like the references", "too few references"]
)
def test_where_there_is_no_gap_no_share_of_it_is_told(change: dict[str, Any]) -> None:
    """A retrained "original" is refuted by chance in one probe of twenty."""
    found = judged(model(500), **change)
    assert row(found, "mean-margin").gap_left is None


def test_of_a_broken_model_no_share_is_told() -> None:
    broken = judged(model(500, everything=-12.0))
    assert next(guard for guard in broken.guards if guard.name == "collapse").fired
    assert all(one.gap_left is None for one in broken.probes)


def test_a_bare_area_of_a_set_that_is_no_sample_is_not_calibrated() -> None:
    for random, references, expected in ((False, 0, NOT_CALIBRATED), (True, 0, NOT_JUDGED), (False, 1, NOT_JUDGED)):
        found = judged(model(500), references, ground=ground(random=random))
        assert row(found, LossThreshold.name).verdict == expected
        assert row(found, MeanMargin.name).verdict == NOT_JUDGED


# Where nothing can be said

EVERY = tuple(probe for probe in PROBES if probe.role is not ProbeRole.COST)


def with_margins(one: TrialModel, change: Any) -> TrialModel:
    """The model with other margins; ``change`` is given which rows, and theirs."""
    told = {rows: change(rows, one.answers.of(rows)["margin"]) for rows in Whose}
    labels = {rows: LABELS[rows][: len(values)] for rows, values in told.items()}
    return replace(one, answers=answered({rows: logits_with(told[rows], labels[rows]) for rows in Whose}, labels))


def all_with(change: Any, **fields: Any) -> Trial:
    """The trial in which everybody answers so."""
    base = trial(model(500), count=6)
    return replace(
        base,
        original=with_margins(base.original, change),
        unlearned=tuple(with_margins(one, change) for one in base.unlearned),
        references=tuple(with_margins(one, change) for one in base.references),
        witnesses=tuple(with_margins(one, change) for one in base.witnesses),
        **fields,
    )


def cut(counts: dict[Whose, int]) -> Trial:
    """The trial of so few rows."""
    labels = {rows: values[: counts.get(rows, len(values))] for rows, values in LABELS.items()}
    held_out = np.arange(len(labels[Whose.HOLDOUT]))
    half = len(held_out) // 2
    fields = {"attack": held_out[:half], "scored": held_out[half:], "tested": held_out}
    return all_with(lambda rows, values: values[: len(labels[rows])], ground=ground(labels, **fields))


def one_class() -> Trial:
    labels = {rows: np.zeros(count, dtype=np.int64) for rows, count in COUNTS.items()}
    base = trial(model(500), count=6)

    def told(own: Answers) -> Answers:
        return answered({rows: logits_with(own.of(rows)["margin"], labels[rows]) for rows in Whose}, labels)

    return base.answering(told, ground(labels))


FORGETTING = {probe.name for probe in EVERY if probe.role is ProbeRole.FORGETTING}
CASES = {
    "nothing finite": (all_with(lambda rows, values: np.full_like(values, np.nan)), {probe.name for probe in EVERY}),
    "all the same": (
        all_with(lambda rows, values: np.full_like(values, 1.0)),
        {
            *("memory", "typicality", "mean-margin", "margin-above-holdout", "loss-threshold", "relative-membership"),
            *("membership-classifier", "average-gap", "calibration", "brier-score", "test-loss"),
        },
    ),
    "nobody forgotten": (cut({Whose.FORGET: 0}), FORGETTING | {"calibration"}),
    "one forgotten": (cut({Whose.FORGET: 1}), FORGETTING | {"calibration"}),
    "no holdout": (
        cut({Whose.HOLDOUT: 0}),
        {
            *("test-accuracy", "loss-threshold", "relative-membership", "membership-classifier", "average-gap"),
            *("tug-of-war", "difference", "margin-above-holdout", "per-class-accuracy"),
            *("calibration", "brier-score", "test-loss"),
        },
    ),
    "one holdout row": (
        cut({Whose.HOLDOUT: 1}),
        {
            *("loss-threshold", "relative-membership", "membership-classifier", "average-gap", "difference"),
            *("margin-above-holdout", "per-class-accuracy", "calibration", "brier-score", "test-loss"),
        },
    ),
    "one class": (one_class(), {"relative-membership", "calibration"}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_probe_on_degenerate_input_is_undecided_with_its_reason_or_plainly_right(case: str) -> None:
    found, undecided = CASES[case]
    for kind in EVERY:
        told = kind().measure(found.unlearned[0], found)
        assert isinstance(told, Undecided) == (kind.name in undecided), (kind.name, told)
        if isinstance(told, Undecided):
            assert len(told.reason) > 10
            assert "nan" not in told.reason.lower().replace("nan:", "")
        else:
            assert np.isfinite([told.value, told.low, told.high]).all()


def of_numbers(missed: Any) -> Trial:
    """The trial with numbers for answers; ``missed`` are the residuals of a model, by its number and rows."""
    base = trial(model(500), count=6)

    def told(one: TrialModel) -> TrialModel:
        number, read = int(one.weights_digest, 16), dict[Whose, dict[str, np.ndarray]]()
        for rows, count in COUNTS.items():
            residual = missed(number, count)
            read[rows] = {"loss": residual**2 / 2, "answer": LABELS[rows] + residual, "residual": residual}
        return replace(one, answers=replace(one.answers, read={SIGNALS: read}))

    found = replace(
        base,
        original=told(base.original),
        unlearned=tuple(map(told, base.unlearned)),
        references=tuple(map(told, base.references)),
        witnesses=tuple(map(told, base.witnesses)),
    )
    return number_margins(found, [])


@pytest.mark.parametrize(
    ("missed", "decided"),
    [
        (lambda number, count: np.random.default_rng(number).normal(0, 1, count), True),
        (lambda number, count: np.full(count, 1.0), False),
        (lambda number, count: np.full(count, np.nan), None),
    ],
    ids=["honest", "all the same", "nothing finite"],
)
def test_numbers_have_margins_where_residuals_vary(missed: Any, decided: bool | None) -> None:
    found = of_numbers(missed)
    told = {probe: probe().measure(found.unlearned[0], found) for probe in probes_for(())}
    if decided:
        assert isinstance(told[MemoryLeft], Measurement)
        assert isinstance(told[DifferenceOfVersions], Measurement)
    else:
        reason = (
            NO_MARGIN if decided is False else "the model's outputs are not finite: needs finite weights and inputs"
        )
        assert all(
            told[probe] == Undecided(reason) for probe in (MemoryLeft, Typicality, MeanMargin, DifferenceOfVersions)
        )
    for probe in (RetainShare, HoldoutShare):
        assert isinstance(told[probe], Undecided) == (decided is None)


def test_a_model_beside_that_answers_nothing_is_said() -> None:
    base = trial(model(500), count=6)
    broken = with_margins(base.references[0], lambda rows, values: np.full_like(values, np.nan))
    found = replace(base, references=(broken, *base.references[1:]))
    for probe in (ClassAccuracy(), TugOfWar()):
        told = probe.measure(found.unlearned[0], found)
        assert isinstance(told, Undecided)
        assert "not finite" in told.reason


# As papers print it


def by_scikit_learn(one: TrialModel) -> float:
    """The authors' code: the first |test| retain rows against the whole test set."""
    sure = {rows: np.exp(-one.answers.of(rows)["loss"])[:, None] for rows in Whose}
    size = len(sure[Whose.HOLDOUT])
    table = np.concatenate([sure[Whose.RETAIN][:size], sure[Whose.HOLDOUT]])
    truth = np.concatenate([np.ones(size), np.zeros(size)])
    return 1 - SVC(C=3, gamma="auto", kernel="rbf").fit(table, truth).predict(sure[Whose.FORGET]).mean()


@pytest.mark.parametrize("references", [1, 3])
def test_published_figures_are_scikit_learn_s_and_their_gap_the_mean_of_four(references: int) -> None:
    found = trial(model(1001, forget=1.0), count=references)
    told = {one.name: one for one in as_published(found, found.unlearned[0])}
    models = (found.original, found.unlearned[0], *found.references)
    attack = [by_scikit_learn(one) for one in models]
    assert told["membership-classifier"].original == pytest.approx(attack[0], abs=1e-9)
    assert told["membership-classifier"].unlearned == pytest.approx(attack[1], abs=1e-9)
    assert told["membership-classifier"].reference_mean == pytest.approx(np.mean(attack[2:]), abs=1e-9)
    own: list[list[float]] = [[] for _ in models]
    for index, one in enumerate(models):
        for rows in Whose:
            right = float(one.answers.of(rows)["correct"].mean())
            own[index].append(1 - right if rows is Whose.FORGET else right)
        own[index].append(attack[index])
    means = np.mean(own[2:], axis=0)
    assert told["average-gap"].unlearned == pytest.approx(np.abs(np.array(own[1]) - means).mean(), abs=1e-9)
    assert told["average-gap"].original == pytest.approx(np.abs(np.array(own[0]) - means).mean(), abs=1e-9)
    assert told["average-gap"].reference_mean is None
    assert told["unlearning-accuracy"].unlearned == pytest.approx(own[1][0], abs=1e-12)


def test_published_figures_stand_where_ours_are_undecided_but_never_out_of_nothing() -> None:
    few = cut({Whose.FORGET: 3, Whose.HOLDOUT: 20})
    assert all(
        isinstance(probe().measure(few.unlearned[0], few), Undecided) for probe in EVERY if probe.name in FORGETTING
    )
    told = {one.name: one.unlearned for one in as_published(few, few.unlearned[0])}
    assert told["membership-classifier"] == pytest.approx(by_scikit_learn(few.unlearned[0]), abs=1e-9)
    assert all(told.values()) or told["unlearning-accuracy"] == 0
    bare = {one.name: one for one in as_published(replace(few, references=()), few.unlearned[0])}
    assert bare["average-gap"].unlearned is None
    assert bare["retain-accuracy"].reference_mean is None
    broken = with_margins(few.unlearned[0], lambda rows, values: np.full_like(values, np.nan))
    assert all(one.unlearned is None for one in as_published(few, broken))
