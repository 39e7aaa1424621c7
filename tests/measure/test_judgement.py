"""Verdicts on made-up models whose truth is known: honest retrainings pass, straw men never do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.roc import area_under_curve
from expunge.core.values import Measurement, Refuted, Supported, Undecided
from expunge.measure import PROBES
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy
from expunge.measure.average_gap import PARTS, AverageGap
from expunge.measure.judgement import Judgement, judge
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Answers, Ground, Trial, TrialModel, Whose, probe_seed, split_holdout
from expunge.tasks.task import signals_of

COUNTS = {Whose.FORGET: 200, Whose.RETAIN: 800, Whose.HOLDOUT: 400}
CLASSES = 4
SEED = probe_seed(bytes(32))
LABELS = {rows: np.arange(count) % CLASSES for rows, count in COUNTS.items()}
DIFFICULTY = {rows: np.random.default_rng(number).normal(1.5, 2.0, COUNTS[rows]) for number, rows in enumerate(Whose)}


def logits_with(margins: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Logits whose margins are these, the other classes equally likely."""
    logits = np.zeros((len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] = margins + np.log(CLASSES - 1)
    return logits


def answered(logits: Mapping[Whose, np.ndarray], labels: Mapping[Whose, np.ndarray] = LABELS) -> Answers:
    """What a model answers that has these logits."""
    read = {rows: {"beliefs": values, **signals_of(values, labels[rows])} for rows, values in logits.items()}
    return Answers(read={SIGNALS: read}, example_steps=100.0, seconds=1.0)


def model(
    number: int, *, forget: float = 0.0, member: float = 3.0, noise: float = 0.3, everything: float = 0.0
) -> TrialModel:
    """A model trained on R: sure of R by ``member``, of F by ``forget``; ``noise`` is its training's luck."""
    generator = np.random.default_rng([7, number])
    shift = {Whose.FORGET: forget, Whose.RETAIN: member, Whose.HOLDOUT: 0.0}
    luck = generator.normal(0, noise / 6)
    margins = {
        rows: DIFFICULTY[rows] + shift[rows] + everything + luck + generator.normal(0, noise, COUNTS[rows])
        for rows in Whose
    }
    return TrialModel(
        weights_digest=f"{number:064x}",
        lineage_seed=f"{number:064x}",
        answers=answered({rows: logits_with(values, LABELS[rows]) for rows, values in margins.items()}),
    )


def ground(labels: Mapping[Whose, np.ndarray] = LABELS, **change: Any) -> Ground:
    attack, scored = split_holdout(SEED, COUNTS[Whose.HOLDOUT])
    tested = np.arange(COUNTS[Whose.HOLDOUT])
    fields: dict[str, Any] = {"labels": labels, "attack": attack, "scored": scored, "tested": tested, "seed": SEED}
    return Ground(**{**fields, **change})


def trial(*unlearned: TrialModel, count: int = 12, **change: Any) -> Trial:
    fields: dict[str, Any] = {
        "original": model(1000, forget=3.0),
        "unlearned": unlearned,
        "references": tuple(model(number) for number in range(count)),
        "ground": ground(),
    }
    return Trial(**{**fields, **change})


def judged(unlearned: TrialModel, count: int = 12, **change: Any) -> Judgement:
    (found,) = judge(trial(unlearned, count=count, **change), [probe() for probe in PROBES])
    return found


def verdict_of(judgement: Judgement, name: str) -> Any:
    return next(found.verdict for found in judgement.probes if found.probe.name == name)


def fired(judgement: Judgement) -> set[str]:
    return {guard.name for guard in judgement.guards if guard.fired}


def test_honest_retrainings_are_supported_and_never_refuted() -> None:
    outcomes = [judged(model(500 + number)) for number in range(10)]
    assert not any(isinstance(outcome.verdict, Refuted) for outcome in outcomes)
    assert sum(isinstance(outcome.verdict, Supported) for outcome in outcomes) >= 7
    passed = next(outcome for outcome in outcomes if isinstance(outcome.verdict, Supported)).passed
    assert {"mean-margin", "loss-threshold", "test-accuracy", "retain-accuracy"} <= set(passed)


def test_the_original_is_refuted() -> None:
    found = judged(model(1001, forget=3.0))
    assert isinstance(found.verdict, Refuted)
    for name in ("mean-margin", "loss-threshold"):
        assert isinstance(verdict_of(found, name), Refuted)
        assert "over-forgotten" not in verdict_of(found, name).reason
        assert not verdict_of(found, name).over_forgotten
    assert found.passed == ()


def test_a_trial_of_two_runs_judges_each_as_it_would_alone() -> None:
    """Equal weights beside different costs, and a run with the weights of a reference, are told apart."""
    runs = (model(1001, forget=3.0), replace(model(3), exact=True), model(1002, forget=-3.0))
    probes = [probe() for probe in PROBES]
    together = judge(trial(*runs), probes)
    assert together == tuple(judged(run) for run in runs)
    assert len({judgement.verdict for judgement in together}) == 3
    assert [probe.probe for probe in together[0].probes] == probes


def test_half_forgotten_is_not_supported() -> None:
    assert not isinstance(judged(model(1001, forget=1.5)).verdict, Supported)


def test_over_forgetting_is_refuted_by_its_name() -> None:
    found = judged(model(1001, forget=-3.0))
    assert isinstance(found.verdict, Refuted)
    assert "over-forgetting" in fired(found)
    assert verdict_of(found, "mean-margin").reason.startswith("over-forgotten")
    assert verdict_of(found, "mean-margin").over_forgotten


@pytest.mark.parametrize("kind", ["random", "constant", "not finite"])
def test_collapsed_models_are_refuted(kind: str) -> None:
    base = model(1001)
    generator = np.random.default_rng(3)
    logits = {}
    for rows, count in COUNTS.items():
        values = generator.normal(size=(count, CLASSES))
        if kind == "constant":
            values = np.tile([9.0, 0, 0, 0], (count, 1))
        if kind == "not finite":
            values = np.full((count, CLASSES), np.nan)
        logits[rows] = values
    found = judged(replace(base, answers=answered(logits)))
    assert isinstance(found.verdict, Refuted)
    assert "collapse" in fired(found)
    assert verdict_of(found, "mean-margin") == Undecided("collapsed: utility is gone")


def test_one_class_answered_always_is_a_collapse_even_at_good_accuracy() -> None:
    """Where 95 % of the rows are of one class, accuracy alone does not show it."""
    labels = {rows: np.where(np.arange(count) % 20 == 0, 1 + np.arange(count) % 3, 0) for rows, count in COUNTS.items()}

    def skewed(number: int, margins: float) -> TrialModel:
        generator = np.random.default_rng(number)
        logits = {
            rows: logits_with(generator.normal(margins, 0.1, count), labels[rows]) for rows, count in COUNTS.items()
        }
        return replace(model(number), answers=answered(logits, labels))

    answers = {rows: np.tile([9.0, 0, 0, 0], (count, 1)) for rows, count in COUNTS.items()}
    lazy = replace(skewed(1, 2.0), answers=answered(answers, labels))
    references = tuple(skewed(number, 0.5) for number in range(8))
    uneven = trial(lazy, original=skewed(99, 3.0), references=references, ground=ground(labels))
    guard = judge(uneven, [HoldoutAccuracy()])[0].guards[0]
    assert guard.fired
    assert "effective classes" in guard.detail


def test_returning_the_original_is_refuted_unless_exact() -> None:
    original = model(1000, forget=3.0)
    assert "same weights" in fired(judged(original))
    assert isinstance(judged(original).verdict, Refuted)
    assert "same weights" not in fired(judged(replace(original, exact=True)))


@pytest.mark.parametrize("references", [0, 1, 4])
def test_too_few_references_support_nothing(references: int) -> None:
    found = judged(model(500), references)
    assert isinstance(found.verdict, Undecided)
    assert any("a verdict needs 5" in notice for notice in found.notices)
    assert not any(isinstance(one.verdict, Supported) for one in found.probes)


def test_a_probe_that_cannot_see_the_original_leaves_the_list() -> None:
    """Nothing to forget: original and references alike. The trial cannot be Supported."""
    found = judged(model(500), original=model(1000, forget=0.0))
    assert isinstance(found.verdict, Undecided)
    assert {"headroom", "positive control"} & fired(found)
    assert "nothing to forget on this scale" in verdict_of(found, "mean-margin").reason
    assert any("not in the required list here" in notice for notice in found.notices)


def test_references_that_refute_each_other_disable_the_probe() -> None:
    odd = [model(number) for number in range(11)] + [model(11, forget=2.0)]
    found = judged(model(500), references=tuple(odd))
    assert "negative control" in fired(found)
    assert not isinstance(found.verdict, Supported)


def test_small_and_duplicated_forget_sets_are_undecided() -> None:
    found = judged(model(500), ground=ground(duplicates=3))
    assert "duplicates: 3 of 200" in verdict_of(found, "mean-margin").reason
    small = trial(model(500))

    def cut(one: TrialModel) -> TrialModel:
        logits = {rows: one.answers.of(rows)["beliefs"][: 19 if rows is Whose.FORGET else None] for rows in Whose}
        return replace(one, answers=answered(logits, labels))

    labels = {**LABELS, Whose.FORGET: LABELS[Whose.FORGET][:19]}
    few = replace(
        small,
        original=cut(small.original),
        unlearned=(cut(small.unlearned[0]),),
        references=tuple(cut(reference) for reference in small.references),
        ground=ground(labels),
    )
    assert ForgetAccuracy().measure(few.unlearned[0], few) == Undecided("needs 20 forgotten examples, has 19")
    assert isinstance(HoldoutAccuracy().measure(few.unlearned[0], few), Measurement)


def test_models_read_on_different_rows_are_refused() -> None:
    good = model(1)
    read = good.answers.read[SIGNALS]
    fewer = {name: values[:5] for name, values in read[Whose.FORGET].items()}
    bad = replace(good, answers=replace(good.answers, read={SIGNALS: {**read, Whose.FORGET: fewer}}))
    with pytest.raises(InvalidArgument, match="read on different rows"):
        trial(bad)


# Probes against slow twins.


def test_loss_threshold_is_the_pair_count() -> None:
    found = trial(model(500, forget=1.0))
    value = LossThreshold().measure(found.unlearned[0], found)
    assert isinstance(value, Measurement)
    members = -found.unlearned[0].answers.of(Whose.FORGET)["loss"]
    others = -found.unlearned[0].answers.of(Whose.HOLDOUT)["loss"][found.ground.scored]
    pairs = [(a > b) + 0.5 * (a == b) for a in members for b in others]
    assert value.value == pytest.approx(np.mean(pairs), abs=1e-12)
    assert value.value == area_under_curve(members, others)


def test_mean_margin_and_its_unit_by_hand() -> None:
    found = trial(model(500))
    p = found.unlearned[0].answers.confidence(Whose.FORGET)
    value = MeanMargin().measure(found.unlearned[0], found)
    assert isinstance(value, Measurement)
    assert value.value == pytest.approx(float(np.mean(np.log(p / (1 - p)))), rel=1e-9)
    references = tuple(reference.answers for reference in found.references)
    spreads = [reference.of(Whose.FORGET)["margin"].std(ddof=1) for reference in references]
    assert MeanMargin().unit(references) == pytest.approx(np.mean(spreads))


def test_average_gap_by_hand_and_of_references() -> None:
    found = trial(model(500, forget=1.0))
    gap = AverageGap().measure(found.unlearned[0], found)
    assert isinstance(gap, Measurement)
    distances = []
    for part in PARTS:
        own = part.measure(found.unlearned[0], found)
        others = [part.measure(reference, found) for reference in found.references]
        assert isinstance(own, Measurement)
        distances.append(abs(own.value - np.mean([other.value for other in others if isinstance(other, Measurement)])))
    assert gap.value == pytest.approx(np.mean(distances), abs=1e-12)
    assert gap.low <= gap.value <= gap.high
    own_gap = AverageGap().measure(found.references[0], found)
    assert isinstance(own_gap, Measurement)
    assert 0 < own_gap.value < gap.value
    assert own_gap.n == 11


def test_average_gap_is_undecided_with_its_parts() -> None:
    found = trial(model(500), ground=ground(duplicates=50))
    gap = AverageGap().measure(found.unlearned[0], found)
    assert isinstance(gap, Undecided)
    assert "duplicates" in gap.reason
    alone = trial(model(500), count=1)
    assert AverageGap().measure(alone.unlearned[0], alone) == Undecided("needs 2 other references, has 1")


def test_test_accuracy_leaves_out_forgotten_classes() -> None:
    found = trial(model(500))
    kept = np.flatnonzero(LABELS[Whose.HOLDOUT] != 2)
    value = HoldoutAccuracy().measure(found.unlearned[0], replace(found, ground=ground(tested=kept)))
    assert isinstance(value, Measurement)
    assert value.n == len(kept)
    assert value.value == pytest.approx(found.unlearned[0].answers.of(Whose.HOLDOUT)["correct"][kept].mean())


def test_permuting_rows_changes_no_value() -> None:
    found = trial(model(500, forget=1.0))
    order = np.random.default_rng(1).permutation(COUNTS[Whose.FORGET])

    def mixed(values: Mapping[Whose, np.ndarray]) -> dict[Whose, np.ndarray]:
        return {**values, Whose.FORGET: values[Whose.FORGET][order]}

    beliefs = {rows: found.unlearned[0].answers.of(rows)["beliefs"] for rows in Whose}
    shuffled = replace(model(501), answers=answered(mixed(beliefs), mixed(LABELS)))
    other = replace(found, unlearned=(shuffled,))
    for probe in (ForgetAccuracy(), LossThreshold(), MeanMargin()):
        first, second = probe.measure(found.unlearned[0], found), probe.measure(other.unlearned[0], other)
        assert isinstance(first, Measurement)
        assert isinstance(second, Measurement)
        assert first.value == pytest.approx(second.value, abs=1e-12)


def test_attack_rows_are_balanced_disjoint_and_drawn_once() -> None:
    found = trial(model(500))
    members, others = found.ground.attack_rows()
    assert len(members) == len(others) == len(found.ground.attack) == 200
    assert set(others) <= set(found.ground.attack.tolist())
    assert not set(found.ground.attack.tolist()) & set(found.ground.scored.tolist())
    again = trial(model(501)).ground.attack_rows()
    assert np.array_equal(members, again[0])


def test_every_probe_has_a_name_and_a_direction() -> None:
    names = [probe.name for probe in PROBES]
    assert len(set(names)) == len(names)
    assert all((probe.__doc__ or "").strip() for probe in PROBES)
