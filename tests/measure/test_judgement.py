"""Verdicts on made-up models whose truth is known: honest retrainings pass, straw men never do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.prediction import Prediction, power_factor
from expunge.core.statistics.roc import area_under_curve
from expunge.core.values import Measurement, Refuted, Supported, Undecided
from expunge.measure import PROBES
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy
from expunge.measure.average_gap import PARTS, AverageGap
from expunge.measure.claim import Claim
from expunge.measure.judgement import ALIKE, BY_RECORD, SAME, Judgement, judge
from expunge.measure.loss_threshold import LossThreshold
from expunge.measure.mean_margin import MeanMargin
from expunge.measure.memory import MemoryLeft, Typicality
from expunge.measure.readings import SIGNALS
from expunge.measure.row import NOT_JUDGED, Judged, Weighed, decided
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
        "witnesses": tuple(model(2000 + number, forget=3.0) for number in range(4)),
        "ground": ground(),
    }
    return Trial(**{**fields, **change})


def judged(unlearned: TrialModel, count: int = 12, claim: str | None = None, **change: Any) -> Judgement:
    asked = None if claim is None else Claim.of(claim)
    (found,) = judge(trial(unlearned, count=count, **change), [probe() for probe in PROBES], asked)
    return found


def verdict_of(judgement: Judgement, name: str) -> Any:
    return next(found.verdict for found in judgement.probes if found.probe.name == name)


def fired(judgement: Judgement) -> set[str]:
    return {guard.name for guard in judgement.guards if guard.fired}


def test_honest_retrainings_are_supported_and_hardly_ever_refuted() -> None:
    outcomes = [judged(model(500 + number)) for number in range(20)]
    assert sum(isinstance(outcome.verdict, Supported) for outcome in outcomes) >= 17
    assert sum(isinstance(outcome.verdict, Refuted) for outcome in outcomes) <= 2
    passed = next(outcome for outcome in outcomes if isinstance(outcome.verdict, Supported))
    assert {"memory", "typicality", "test-accuracy", "retain-accuracy"} <= set(passed.passed)
    assert passed.memory is not None
    assert passed.verdict.detail == f"at most {passed.memory.bound:.0%} of the memory is left"
    assert str(passed.claim) == "indistinguishable"


def test_a_probe_refutes_after_the_correction_or_not_at_all() -> None:
    """One of five that lies off at .05 by itself is luck: it is then bounded as any other."""
    probes = [probe() for probe in PROBES if probe.judging is not None]
    lucky = 0
    for found in judge(trial(*(model(500 + number) for number in range(40))), probes, Claim.of("at-most:50%")):
        refuting = [one for one in found.probes if isinstance(one.verdict, Refuted)]
        assert bool(refuting) == isinstance(found.verdict, Refuted)
        assert all(one.verdict.p is not None and one.verdict.p <= 0.05 for one in refuting)
        memory = found.probes[0]
        assert isinstance(memory.unlearned, Measurement)
        alone = Prediction.of(memory.unlearned.value, [getattr(one, "value", np.nan) for one in memory.references])
        if alone.p() <= 0.05 and not refuting:
            lucky += 1
            assert isinstance(memory.verdict, Supported)
    assert lucky


def test_the_original_is_refuted_as_remembering() -> None:
    found = judged(model(1001, forget=3.0))
    assert isinstance(found.verdict, Refuted)
    assert found.memory is not None
    assert found.memory.left == pytest.approx(1.0, abs=0.05)
    assert found.verdict.reason == f"about {found.memory.left:.0%} of the memory is left"
    assert not verdict_of(found, "memory").over_forgotten
    assert found.memory.stands_out > 150
    assert found.passed == ()


def test_a_trial_of_two_runs_judges_each_as_it_would_alone() -> None:
    """Equal weights beside different costs, and a run with the weights of a reference, are told apart."""
    runs = (model(1001, forget=3.0), replace(model(3), exact=True), model(1002, forget=-3.0))
    probes = [probe() for probe in PROBES]
    together = judge(trial(*runs), probes)
    for found, run in zip(together, runs, strict=True):
        alone = judged(run)
        assert (found.probes, found.guards, found.notices) == (alone.probes, alone.guards, alone.notices)
        assert (found.verdict, found.memory, found.claim) == (alone.verdict, alone.memory, alone.claim)
    assert len({judgement.verdict for judgement in together}) == 3
    assert [probe.probe for probe in together[0].probes] == probes


@pytest.mark.parametrize("left", [0.3, 0.5])
def test_a_leak_beyond_the_claim_is_never_supported(left: float) -> None:
    found = [judged(model(1001 + number, forget=3.0 * left)) for number in range(5)]
    assert all(isinstance(one.verdict, Refuted) for one in found)


def test_over_forgetting_is_refuted_by_its_name() -> None:
    found = judged(model(1001, forget=-3.0))
    assert isinstance(found.verdict, Refuted)
    assert "over-forgetting" in fired(found)
    assert found.verdict.reason.startswith("over-forgotten: -")
    assert verdict_of(found, "memory").over_forgotten


def test_damage_across_the_memory_is_refuted_by_typicality() -> None:
    """Half of the rows are pushed up and half down: the mean stays, and so does the share of memory."""
    base = model(1001)
    beliefs = {rows: base.answers.of(rows)["beliefs"].copy() for rows in Whose}
    turned = np.where(np.arange(COUNTS[Whose.FORGET]) % 2, 2.0, -2.0)
    beliefs[Whose.FORGET][np.arange(len(turned)), LABELS[Whose.FORGET]] += turned
    found = judged(replace(base, answers=answered(beliefs)))
    assert isinstance(verdict_of(found, "typicality"), Refuted)
    assert verdict_of(found, "typicality").reason == "it answers their rows as no retrained model does"
    assert isinstance(found.verdict, Refuted)


def test_an_original_whose_mean_is_shifted_to_that_of_retraining_is_refuted() -> None:
    """The straw man that a test of means lets pass: every margin lower by the same, so that their mean fits."""
    base, references = model(1001, forget=3.0), [model(number) for number in range(12)]
    aim = np.mean([one.answers.of(Whose.FORGET)["margin"].mean() for one in references])
    margins = base.answers.of(Whose.FORGET)["margin"]
    spread = np.random.default_rng(5).normal(0, 1.5, len(margins))  # what it knows differs from row to row
    lowered = margins + spread - (margins + spread).mean() + aim
    beliefs = {rows: base.answers.of(rows)["beliefs"] for rows in Whose}
    straw = {**beliefs, Whose.FORGET: logits_with(lowered, LABELS[Whose.FORGET])}
    found = judged(replace(base, answers=answered(straw)))
    assert MeanMargin().measure(replace(base, answers=answered(straw)), trial(base)).value == pytest.approx(aim)  # type: ignore[union-attr]
    assert isinstance(found.verdict, Refuted)


def test_lost_accuracy_is_refuted_in_points_and_a_gain_is_nothing() -> None:
    base = model(1001)
    beliefs = {rows: base.answers.of(rows)["beliefs"].copy() for rows in Whose}
    right = np.flatnonzero(base.answers.of(Whose.RETAIN)["correct"])[:60]
    beliefs[Whose.RETAIN][right, LABELS[Whose.RETAIN][right]] -= 40.0
    lost = judged(replace(base, answers=answered(beliefs)))
    assert isinstance(lost.verdict, Refuted)
    assert re.fullmatch(r"it lost [78]\.\d points on people who stayed", verdict_of(lost, "retain-accuracy").reason)
    beliefs[Whose.RETAIN][np.arange(800), LABELS[Whose.RETAIN]] += 80.0
    gained = judged(replace(base, answers=answered(beliefs)))
    assert isinstance(verdict_of(gained, "retain-accuracy"), Supported)


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
    assert verdict_of(found, "memory") == Undecided("collapsed: utility is gone")


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
    assert judged(original).verdict.detail.startswith("same weights")
    assert "same weights" not in fired(judged(replace(original, exact=True)))


def test_what_equals_a_retraining_bit_for_bit_is_supported_before_any_probe() -> None:
    """By one that is known, a reference or the twin of the original's seed, or by its own method; whatever is read."""
    run = model(1001, forget=3.0)
    for found in (
        judged(run, retrained=frozenset({run.weights_digest})),
        judged(replace(run, retrained=True)),
        judged(run, count=0, witnesses=(), retrained=frozenset({run.weights_digest})),
    ):
        assert found.same
        assert found.verdict == Supported(0.0, SAME)
    assert not judged(run).same
    assert not judged(run, references=(*(model(number) for number in range(4)), run)).same, "that one is by word alone"


def test_an_exact_run_with_nothing_to_compare_it_with_is_exact_by_its_record() -> None:
    """It may share its luck with the original: no statistic speaks for it or against it."""
    for found in (judged(replace(model(1001, forget=3.0), exact=True)), judged(replace(model(500), exact=True))):
        assert found.verdict == Undecided(BY_RECORD)


@pytest.mark.parametrize("references", [0, 1, 4])
def test_too_few_references_support_nothing(references: int) -> None:
    found = judged(model(500), references)
    assert isinstance(found.verdict, Undecided)
    assert any("a verdict needs 5" in notice for notice in found.notices)
    assert found.verdict.reason == f"memory: needs 5 references, has {references}"
    assert not any(isinstance(one.verdict, Supported) for one in found.probes)


def test_without_a_witness_memory_is_undecided_and_the_rest_may_refute() -> None:
    honest = judged(model(500), witnesses=())
    assert honest.verdict == Undecided("memory: needs 1 witness, has 0")
    assert honest.memory is None
    known = judged(model(1001, forget=3.0), witnesses=())
    assert isinstance(known.verdict, Refuted)
    assert re.fullmatch(r"it answers \d+% of their rows rightly, retrained models \d+%", known.verdict.reason)


def test_where_there_is_nothing_to_forget_it_is_said() -> None:
    """Original, witnesses and references alike. The trial cannot be Supported."""
    alike = tuple(model(2000 + number) for number in range(4))
    found = judged(model(500), original=model(1000), witnesses=alike)
    assert found.verdict == Undecided(ALIKE)


def test_a_claim_beyond_the_power_of_a_trial_is_undecided_by_its_power_line() -> None:
    """Rows that hardly remember, under noisy trainings: a tenth cannot be told from nothing."""
    noisy = {"noise": 1.2}
    change: dict[str, Any] = {
        "original": model(1000, forget=1.5, **noisy),
        "references": tuple(model(number, **noisy) for number in range(8)),
        "witnesses": tuple(model(2000 + number, forget=1.5, **noisy) for number in range(4)),
    }
    found = judged(model(500, **noisy), claim="indistinguishable", **change)
    line = next(notice for notice in found.notices if notice.startswith("with 8 references and 4 witnesses"))
    told = re.search(r"at-most:(\d+)% or weaker", line)
    assert told is not None
    assert int(told.group(1)) > 10
    assert isinstance(found.verdict, Undecided)
    assert found.verdict.reason == f"{line}, the claim is indistinguishable"
    weaker = judged(model(500, **noisy), **change)
    assert weaker.claim.share >= int(told.group(1)) / 100 or weaker.claim.share == 0.5


def test_the_claim_is_chosen_before_the_run_is_looked_at() -> None:
    assert {str(judged(model(one, forget=left)).claim) for one, left in ((500, 0.0), (1001, 3.0), (1002, -9.0))} == {
        "indistinguishable"
    }


@pytest.mark.parametrize("text", ["at-most:5%", "at-most:10%", "at-most:51%", "at-most:25", "exact", "", "at-most:1%%"])
def test_claims_of_other_kinds_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="must be indistinguishable, or at-most:P% with P above 10 and up to 50"):
        Claim.of(text)


def test_claims_are_read_back_as_they_are_written() -> None:
    for text in ("indistinguishable", "at-most:25%", "at-most:12.5%", "at-most:50%"):
        assert str(Claim.of(text)) == text


def test_references_that_refute_each_other_disable_the_probe() -> None:
    """Three of ten were trained on half of the forget set: no honest spread to predict from."""
    odd = [model(number, noise=0.01) for number in range(7)]
    odd += [model(7 + number, forget=(-1) ** number * 40.0, noise=0.01) for number in range(3)]
    found = judged(model(500), references=tuple(odd))
    assert not isinstance(found.verdict, Supported)


def test_a_memory_that_few_rows_carry_decides_nothing() -> None:
    few = np.zeros(COUNTS[Whose.FORGET])
    few[:4] = 8.0

    def knowing(number: int) -> TrialModel:
        base = model(number, noise=0.05)
        beliefs = {rows: base.answers.of(rows)["beliefs"].copy() for rows in Whose}
        beliefs[Whose.FORGET][np.arange(len(few)), LABELS[Whose.FORGET]] += few
        return replace(base, answers=answered(beliefs))

    references = tuple(model(number, noise=0.05) for number in range(8))
    found = judged(
        model(500, noise=0.05),
        original=knowing(1000),
        references=references,
        witnesses=tuple(knowing(2000 + number) for number in range(4)),
    )
    told = r"\d\.\d rows carry the memory of the forget set, 10 are needed: more references would not help"
    assert re.fullmatch(told, verdict_of(found, "memory").reason)
    assert isinstance(found.verdict, Undecided)
    memory = next(one for one in found.probes if one.probe.name == "memory")
    assert memory.reference_mean == pytest.approx(0.0, abs=1e-12), "told from where retraining reads all the same"
    (line,) = (notice for notice in found.notices if "this trial can support" in notice)
    assert re.fullmatch(rf"with 8 references and 4 witnesses this trial can support no claim: {told}", line)


def test_a_broken_run_is_read_from_where_retraining_reads_like_any_other() -> None:
    broken = judged(model(500, everything=-20.0))
    assert "collapse" in fired(broken)
    told = [next(one for one in found.probes if one.probe.name == "memory") for found in (broken, judged(model(501)))]
    assert told[0].references == told[1].references
    assert told[0].original == told[1].original


def test_what_would_decide_of_utility_is_said() -> None:
    probe = next(probe() for probe in PROBES if probe.name == "test-accuracy")
    own = Measurement(value=0.9, low=0.9, high=0.9, n=1, unit="example", direction=probe.direction)
    one = Weighed(probe, own, (), None)
    found = Judged(probe, own, own, (), NOT_JUDGED, required=True)

    def said(difference: float, spread: float) -> str:
        off = Prediction(difference, spread, 5)
        return decided(one, found, off, 1.0, Claim.of("at-most:25%")).verdict.detail

    for difference, spread, lost in ((-0.012, 0.0085, "2.1"), (-0.0165, 0.0085, "2.5"), (0.004, 0.03, "2.5")):
        more = next((n for n in range(5, 400) if decides(n, difference, spread)), None)
        helps = "more references would not help" if more is None else f"about {more} references would decide"
        assert said(difference, spread) == f"up to {lost} points may be lost, 2 may be at most: {helps}"
    assert said(-0.0123, 0.0081).startswith("up to 2.1 points"), "2.002, which is more than 2"
    assert said(-0.012, 0.008) == "at most 2.0 points lost"


def decides(references: int, difference: float, spread: float) -> bool:
    """Whether so many references would support: the bound holds, and honest retrainings would pass it."""
    held = Prediction(min(0.0, difference), spread, references)
    return held.least >= -0.02 and power_factor(references) * spread <= 0.02


def test_small_and_duplicated_forget_sets_are_undecided() -> None:
    found = judged(model(500), ground=ground(duplicates=3))
    assert "duplicates: 3 of 200" in verdict_of(found, "memory").reason
    small = trial(model(500))

    def cut(one: TrialModel) -> TrialModel:
        logits = {rows: one.answers.of(rows)["beliefs"][: 19 if rows is Whose.FORGET else None] for rows in Whose}
        return replace(one, answers=answered(logits, labels))

    labels = {**LABELS, Whose.FORGET: LABELS[Whose.FORGET][:19]}
    few = replace(
        small,
        original=cut(small.original),
        unlearned=(cut(small.unlearned[0]), cut(model(1001, forget=3.0))),
        references=tuple(cut(reference) for reference in small.references),
        witnesses=tuple(cut(witness) for witness in small.witnesses),
        ground=ground(labels),
    )
    reason = "19 rows, tests need 20: more references would not help"
    assert ForgetAccuracy().measure(few.unlearned[0], few) == Undecided(reason)
    assert isinstance(HoldoutAccuracy().measure(few.unlearned[0], few), Measurement)
    honest, known = judge(few, [probe() for probe in PROBES])
    assert honest.verdict == Undecided(f"{reason}; that none of them stands out is no sign of forgetting")
    assert honest.outstanding is not None
    assert known.outstanding is not None
    assert (honest.outstanding > 0.05).all()
    out = int((known.outstanding <= 0.05).sum())
    assert out > 10, "who stands out can be said of any number of rows"
    assert known.verdict == Refuted(
        f"{out} of 19 rows still stand out from what retrained models answer", known.verdict.p
    )
    assert known.verdict.p == known.outstanding.min()
    (unread,) = judge(replace(few, unlearned=few.unlearned[1:], references=few.references[:2]), [MemoryLeft()])
    assert unread.verdict == Undecided(reason)
    assert not any("a verdict needs" in notice for notice in unread.notices), "no more references are asked for"


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
    labels = mixed(LABELS)

    def turned(one: TrialModel) -> TrialModel:
        logits = {rows: one.answers.of(rows)["beliefs"] for rows in Whose}
        return replace(one, answers=answered(mixed(logits), labels))

    shuffled = replace(model(501), answers=answered(mixed(beliefs), labels))
    other = replace(
        found,
        unlearned=(shuffled,),
        references=tuple(map(turned, found.references)),
        witnesses=tuple(map(turned, found.witnesses)),
        ground=ground(labels),
    )
    for probe in (MemoryLeft(), Typicality(), ForgetAccuracy(), LossThreshold(), MeanMargin()):
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
