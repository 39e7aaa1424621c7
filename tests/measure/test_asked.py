"""Probes that are measured when asked for by name: what they find in models that remember, and in such that do not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Refused
from tests.measure.test_judgement import COUNTS, DIFFICULTY, LABELS, ground, logits_with
from tests.measure.test_judgement import answered as signals_with

from expunge.core.errors import InvalidArgument
from expunge.core.values import Measurement, Refuted, Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure import ASKED, PROBES, relearn
from expunge.measure.contract import Diagnostic, Judging, Probe
from expunge.measure.evaluate import evaluate, trial_of
from expunge.measure.frozen_layers import frozen_layers
from expunge.measure.head_refit import HeadRefit, HeadRefitMargin, RefittedHead, RequiredHeadRefit
from expunge.measure.likelihood_ratio import EpsilonLowerBound, LikelihoodRatio, OfflineLikelihoodRatio
from expunge.measure.lookup import probes, probes_asked
from expunge.measure.readings import SIGNALS, Kept, RequestRows
from expunge.measure.relearn import Relearn, Relearning, RelearnLogRank, RelearnTransfer, Transfer
from expunge.measure.representation import (
    ActivationDistance,
    AllWeights,
    FeatureSimilarity,
    LastFeatures,
    WeightDistance,
    linear_cka,
)
from expunge.measure.trial import Answers, Beside, Half, Trial, TrialModel, Whose
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.evaluation import Evaluation
from expunge.schedule.recipe import Optimiser
from expunge.study.readings import StoredReadings
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import train

RULE = "random:25%:3"
NAMES = ("head-refit", "relearn", "relearn-transfer", "likelihood-ratio", "representation")
NEEDED = 5


@pytest.fixture(scope="module")
def noisy(pictures_like: Callable[..., Dataset]) -> Dataset:
    """Pictures of which a third carry a wrong label: there is something to remember."""
    dataset = pictures_like(rows=240, people=40, seed=4)
    labels = dataset.labels.copy()
    generator = np.random.default_rng(0)
    wrong = generator.random(240) < 0.33
    labels[wrong] = (labels[wrong] + generator.integers(1, 3, int(wrong.sum()))) % 3
    return replace(dataset, labels=labels)


@pytest.fixture(scope="module")
def runs(noisy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("asked")
    rate = Optimiser(rate=0.05, weight_decay=0.0)
    base = train(
        noisy, out=folder / "base", model="mlp", epochs=40, batch_size=16, model_options={"width": 32}, optimiser=rate
    )

    def forgot(method: Any, name: str) -> Run:
        return unlearn(base, RULE, method=method, out=folder / name, data=noisy)

    return {
        "base": base,
        "references": [forgot(Retrain(training_seed=seed), f"r{seed}") for seed in range(1, NEEDED + 1)],
        "clean": forgot(Retrain(training_seed=9), "clean"),
        "fine-tune": forgot("fine-tune", "fine-tune"),
        "frozen": forgot("retrain-last-layers", "frozen"),
    }


@pytest.fixture(scope="module")
def found(runs: dict[str, Any], noisy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    """Evaluations with all of them, but for half models."""
    kept, folder = Kept(), tmp_path_factory.mktemp("found")
    return {
        name: evaluate(runs[name], runs["references"], data=noisy, probes=NAMES, out=folder / f"{name}.json", kept=kept)
        for name in ("clean", "fine-tune", "frozen")
    }


def off(evaluation: Evaluation, name: str) -> float:
    """By how many standard deviations of one more retraining the run lies off."""
    probe = evaluation[name]
    assert isinstance(probe.unlearned, Measurement), probe.unlearned
    values = [one.value for one in probe.references if isinstance(one, Measurement)]
    assert len(values) == NEEDED
    return (probe.unlearned.value - float(np.mean(values))) / (float(np.std(values, ddof=1)) * np.sqrt(1 + 1 / NEEDED))


def test_they_are_measured_when_asked_for_alone(refused: Refused) -> None:
    assert not set(ASKED) & set(probes())
    assert [probe.name for probe in probes_asked(["relearn"])] == ["relearn", "relearn-log-rank"]
    assert set(probes_asked(NAMES)) == set(ASKED)
    assert probes_asked([]) == ()
    assert all(probe.judging is None for probe in ASKED)
    with refused(InvalidArgument, "`probes` 'relern' is none that", "head-refit, relearn", "did you mean 'relearn'?"):
        probes_asked(["relern"])
    with refused(InvalidArgument, "`probes` 3 must be a list of names, of head-refit"):
        probes_asked(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "side"), [("head-refit", 1), ("head-refit-margin", 1), ("relearn", -1)])
def test_what_is_left_is_found_and_a_retraining_is_cleared(found: dict[str, Evaluation], name: str, side: int) -> None:
    assert side * off(found["fine-tune"], name) > 2
    assert abs(off(found["clean"], name)) < 2.5
    assert found["clean"][name].verdict == Undecided("printed beside, not judged")
    assert not found["clean"][name].required


def test_a_model_with_dormant_knowledge_relearns_the_half_that_nobody_teaches(
    runs: dict[str, Any], noisy: Dataset
) -> None:
    """An original whose outputs are turned round in its last layer: half of the rows bring back the other half."""
    base: Run = runs["base"]
    hidden = base.model()
    with torch.no_grad():
        last = list(hidden.parameters())[-2]
        last.copy_(last.roll(1, dims=0))
    rows = request(runs["clean"], noisy)
    examples = Examples(base.recipe, base.data(noisy)[Split.TRAIN], torch.device("cpu"))
    with pinned(base.recipe):
        rises = [
            Transfer()(model, base.recipe, examples, rows)["rise"].mean()
            for model in (hidden, *(run.model() for run in runs["references"]))
        ]
    assert rises[0] > max(rises[1:]) + 1


def request(run: Run, data: Dataset) -> RequestRows:
    retained = np.setdiff1d(np.arange(len(run.data(data)[Split.TRAIN])), run.tombstones)
    return RequestRows(forget=run.forget_set.slots, retain=retained, seed=bytes(32), digest=bytes(32))


def test_relearning_is_as_a_plain_loop_would_do_it(runs: dict[str, Any], noisy: Dataset) -> None:
    """Batches from the streams, plain steps of the recipe's optimiser, the mean margin after each."""
    from expunge.core.streams import Stream, stable_order

    run: Run = runs["fine-tune"]
    recipe, rows, data = run.recipe, request(run, noisy), run.data(noisy)[Split.TRAIN]
    model = run.model()
    before = copy.deepcopy(model.state_dict())
    with pinned(recipe):
        told = Relearning(share=0.01)(model, recipe, Examples(recipe, data, torch.device("cpu")), rows)["margin"]
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert told.shape == (1 + round(0.01 * 40 * 12),)
        inputs, labels = torch.from_numpy(recipe.inputs.encode(data)), torch.from_numpy(data.labels)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=recipe.optimiser.momentum)
        orders = {
            name: slots[stable_order(Stream(rows.seed, f"unlearn/{name}-order", 0, 0).words(len(data))[slots])]
            for name, slots in (("forget", rows.forget), ("retain", rows.retain))
        }
        means = []
        for step in range(len(told)):
            with torch.no_grad():
                answers = model.eval()(inputs[rows.forget]).double()
            theirs = answers.scatter(1, labels[rows.forget, None], -torch.inf).logsumexp(1)
            means.append(float((answers.gather(1, labels[rows.forget, None])[:, 0] - theirs).mean()))
            model.train()
            losses = [
                torch.nn.functional.cross_entropy(model(inputs[slots]), labels[slots])
                for slots in (orders[name][8 * step : 8 * step + 8] for name in ("retain", "forget"))
            ]
            optimiser.zero_grad()
            (0.5 * losses[0] + 0.5 * losses[1]).backward()
            optimiser.step()
    np.testing.assert_allclose(told, means, rtol=1e-4)


def test_the_original_needs_no_step(found: dict[str, Evaluation]) -> None:
    """Its ratio to every reference is as small as can be; a reference's to the others lies about 0."""
    probe = found["clean"]["relearn"]
    assert isinstance(probe.original, Measurement)
    assert probe.original.value < -np.log(2)
    assert probe.reference_mean == pytest.approx(0, abs=0.3)


def answers_of(reading: Any, arrays: dict[str, np.ndarray]) -> Answers:
    return Answers(read={reading: {Whose.FORGET: arrays}}, example_steps=None, seconds=None)


def curve(reached: int | None, steps: int = 20) -> Answers:
    """A mean margin that passes 1 after so many steps, or not at all; the original's is 2, a reference's 0 at first."""
    values = np.zeros(steps + 1)
    if reached is not None:
        values[reached:] = 2.0
    return answers_of(Relearning(), {"margin": values})


def test_ratios_of_steps_and_what_censoring_makes_of_them() -> None:
    beside = Beside(references=tuple(map(curve, (5, 6, 8, 12))), original=curve(0))

    def told(own: Answers, beside: Beside = beside) -> Any:
        return Relearn().value(own, beside, ground())

    plain = told(curve(2))
    assert plain.value == pytest.approx(np.mean([np.log(3 / (steps + 1)) for steps in (5, 6, 8, 12)]))
    assert plain.low < plain.value < plain.high < 0
    assert told(curve(0)).value == pytest.approx(-np.mean([np.log(steps + 1) for steps in (5, 6, 8, 12)]))
    late = told(curve(None))
    assert late.value == pytest.approx(np.mean([np.log(21 / (steps + 1)) for steps in (5, 6, 8, 12)]))
    assert late.high == np.inf
    nobody = Beside(references=tuple(map(curve, (None, None, None, None))), original=curve(0))
    assert told(curve(3), nobody).low == -np.inf
    assert told(curve(None), nobody) == Undecided(
        "nobody relearnt the forget set in 20 steps: needs a higher rate to tell"
    )
    z = RelearnLogRank().value(curve(2), beside, ground())
    assert isinstance(z, Measurement)
    assert z.value < 0 < RelearnLogRank().value(curve(None), beside, ground()).value  # type: ignore[union-attr]
    assert isinstance(RelearnLogRank().value(curve(None), nobody, ground()), Undecided)


def test_a_relearning_that_diverges_is_no_evidence_and_shards_are_not_trained_as_one(
    runs: dict[str, Any], noisy: Dataset
) -> None:
    run: Run = runs["clean"]
    model = run.model()
    with torch.no_grad():
        next(iter(model.parameters())).fill_(np.inf)
    examples, rows = Examples(run.recipe, run.data(noisy)[Split.TRAIN], torch.device("cpu")), request(run, noisy)
    for reading in (Relearning(), Transfer(), RefittedHead()):
        told = reading(model, run.recipe, examples, rows)
        assert reading not in answers_of(reading, dict(told)).finite
    for reading in (Relearning(), Transfer(), RefittedHead(), LastFeatures()):
        assert reading(run.model(), replace(run.recipe, shards=2), examples, rows) == {}
    hidden = copy.deepcopy(run.model())
    hidden.body = torch.nn.Sequential(*hidden.body.children(), torch.nn.PReLU())  # type: ignore[union-attr]
    assert RefittedHead()(hidden, run.recipe, examples, rows) == {}, "it ends in no linear layer"
    flat = run.model()
    with torch.no_grad():
        for weight in list(flat.parameters())[:2]:
            weight.zero_()
    assert RefittedHead()(flat, run.recipe, examples, rows) == {}, "its features are constant"


# head-refit


def test_a_refitted_head_is_that_of_plain_algebra(runs: dict[str, Any], noisy: Dataset) -> None:
    run: Run = runs["fine-tune"]
    data, rows, model = run.data(noisy)[Split.TRAIN], request(run, noisy), run.model()
    told = RefittedHead()(model, run.recipe, Examples(run.recipe, data, torch.device("cpu")), rows)
    with torch.no_grad():
        inner = torch.nn.Sequential(model.front, *list(model.body.children())[:-1])  # type: ignore[union-attr]
        features = inner(torch.from_numpy(run.recipe.inputs.encode(data))).double().numpy()
    spread = features[rows.retain].std(axis=0)
    columns = np.column_stack([features[:, spread > 0] / spread[spread > 0], np.ones(len(features))])
    known, codes = columns[rows.retain], 2.0 * np.eye(3)[data.labels] - 1
    weights = np.linalg.solve(known.T @ known + 4 * np.eye(known.shape[1]), known.T @ codes[rows.retain])
    scores, labels = columns[rows.forget] @ weights, data.labels[rows.forget]
    assert told["correct"].tolist() == (scores.argmax(axis=1) == labels).astype(float).tolist()
    for own, score, label in zip(told["margin"], scores, labels, strict=True):
        assert own == pytest.approx(score[label] - np.log(sum(np.exp(z) for c, z in enumerate(score) if c != label)))


def test_layers_that_a_run_left_alone_must_pass_under_a_new_head(
    runs: dict[str, Any], found: dict[str, Evaluation], noisy: Dataset, tmp_path: Path
) -> None:
    """Nobody has to ask: frozen layers put ``head-refit`` among the judged probes, and here it refutes."""
    frozen, base = runs["frozen"], runs["base"]
    assert frozen_layers(frozen, base) == {"body.1.weight", "body.1.bias"}
    assert frozen_layers(runs["fine-tune"], base) == frozen_layers(runs["clean"], base) == frozenset()
    unasked = evaluate(frozen, runs["references"], data=noisy, out=tmp_path / "unasked.json")
    probe = unasked["head-refit"]
    assert probe.required
    assert isinstance(probe.verdict, Refuted)
    assert probe.verdict.reason.startswith("under a new last layer it answers")
    assert isinstance(unasked.verdict, Refuted)
    assert unasked.probe("head-refit-margin") is None
    assert found["frozen"]["head-refit"] == probe
    assert found["fine-tune"].probe("head-refit") is not None
    assert not found["fine-tune"]["head-refit"].required
    without = evaluate(runs["fine-tune"], runs["references"], data=noisy, out=tmp_path / "without.json")
    assert without.probe("head-refit") is None


def test_without_power_its_bound_is_asked_for_all_the_same() -> None:
    """Two-sided as forget accuracy is, but never let go: a run with frozen layers is not Supported without it."""
    from tests.measure.test_judgement import model, trial

    from expunge.measure.judgement import judge

    def refitted(one: TrialModel, share: float) -> TrialModel:
        right = (np.arange(COUNTS[Whose.FORGET]) < share * COUNTS[Whose.FORGET]).astype(float)
        told = {RefittedHead(): {Whose.FORGET: {"correct": right}}}
        return replace(one, answers=replace(one.answers, read={**one.answers.read, **told}))

    def verdict(own: float, *, spread: float) -> Any:
        made = trial(model(501))
        shares = np.random.default_rng(0).normal(0.7, spread, len(made.references))
        given = replace(
            made,
            original=refitted(made.original, 0.95),
            unlearned=(refitted(made.unlearned[0], own),),
            references=tuple(refitted(one, share) for one, share in zip(made.references, shares, strict=True)),
        )
        (found,) = judge(given, [probe() for probe in (*PROBES, RequiredHeadRefit)])
        return found.verdict

    assert verdict(0.7, spread=0.005).word == "supported"
    assert verdict(0.92, spread=0.005).word == "refuted"
    undecided = verdict(0.7, spread=0.08)
    assert undecided.word == "undecided"
    assert undecided.reason.startswith("head-refit: up to")


# likelihood ratios


def half_models(count: int, *, seen: float = 2.0, noise: float = 0.5, seed: int = 0) -> tuple[Half, ...]:
    """Models that were trained without half of the rows: those they knew they are surer of."""
    generator = np.random.default_rng([seed, 3])
    found: list[Half] = []
    for number in range(count):
        if number % 2 == 0:
            drawn = {rows: generator.random(COUNTS[rows]) < 0.5 for rows in Whose}
        knew = {rows: drawn[rows] ^ bool(number % 2) for rows in Whose}
        knew[Whose.HOLDOUT] = np.zeros(COUNTS[Whose.HOLDOUT], dtype=bool)
        margins = {
            rows: DIFFICULTY[rows] + seen * knew[rows] + generator.normal(0, noise, COUNTS[rows]) for rows in Whose
        }
        answers = signals_with({rows: logits_with(values, LABELS[rows]) for rows, values in margins.items()})
        found.append(Half(weights_digest=f"{number:064x}", answers=answers, knew=knew))
    return tuple(found)


def scored(probe: Probe, forget: float, halves: tuple[Half, ...], number: int = 0) -> Any:
    generator = np.random.default_rng([number, 5])
    shift = {Whose.FORGET: forget, Whose.RETAIN: 2.0, Whose.HOLDOUT: 0.0}
    margins = {rows: DIFFICULTY[rows] + shift[rows] + generator.normal(0, 0.5, COUNTS[rows]) for rows in Whose}
    own = signals_with({rows: logits_with(values, LABELS[rows]) for rows, values in margins.items()})
    return probe.value(own, Beside(halves=halves), ground())


def test_members_are_told_from_their_own_non_members() -> None:
    halves = half_models(16)
    for probe in (LikelihoodRatio(), OfflineLikelihoodRatio()):
        assert scored(probe, 2.0, halves).low > 0.95
        clean = [scored(probe, 0.0, halves, number).value for number in range(20)]
        assert np.mean(clean) == pytest.approx(0.5, abs=0.03)
        assert np.std(clean) < 0.05
    assert scored(EpsilonLowerBound(), 2.0, halves).value > 1
    clean = scored(EpsilonLowerBound(), 0.0, halves)
    assert (clean.value, clean.high) == (0.0, np.inf)


def test_too_few_half_models_say_how_many_more_and_what_they_cost() -> None:
    for count, more, cost in ((0, 16, 8), (4, 12, 6), (15, 1, 1)):
        said = scored(LikelihoodRatio(), 2.0, half_models(count))
        assert isinstance(said, Undecided)
        assert (
            f"has {count // 2} of one kind: {more} more, at about {cost} trainings, by `expunge halves`" in said.reason
        )


def test_who_was_in_a_half_is_read_off_its_tombstones(runs: dict[str, Any], noisy: Dataset, tmp_path: Path) -> None:
    base, run = runs["base"], runs["fine-tune"]
    half = train(noisy, out=tmp_path / "half", recipe=replace(base.recipe, seed=77, epochs=1), without="random:50%:2")
    with pinned(base.recipe):
        (found,) = trial_of([run], base, [], run.data(noisy), [LikelihoodRatio], halves=[half]).halves
    slots = run.forget_set.slots
    assert found.knew[Whose.FORGET].tolist() == [slot not in half.tombstones for slot in slots]
    assert 0 < found.knew[Whose.FORGET].sum() < len(slots)
    assert not found.knew[Whose.HOLDOUT].any()


# representation


def test_diagnostics_decide_nothing_by_their_type(found: dict[str, Evaluation], refused: Refused) -> None:
    for probe in (WeightDistance, FeatureSimilarity, ActivationDistance):
        assert issubclass(probe, Diagnostic)
        told = found["fine-tune"][probe.name]
        assert (told.role, told.required) == ("diagnostic", False)
    with refused(InvalidArgument, "has a role or a judging of its own: it decides nothing"):

        class Deciding(Diagnostic):
            judging = Judging.SHARE


def test_representations_by_hand(runs: dict[str, Any], found: dict[str, Evaluation]) -> None:
    run, base, references = runs["fine-tune"], runs["base"], runs["references"]

    def weights(one: Run) -> np.ndarray:
        return np.concatenate([value.detach().numpy().ravel() for value in one.model().parameters()]).astype(float)

    ratios = [
        np.linalg.norm(weights(run) - weights(one)) / np.linalg.norm(weights(base) - weights(one)) for one in references
    ]
    told = found["fine-tune"]["weight-distance"]
    assert told.unlearned.value == pytest.approx(np.mean(ratios), rel=1e-5)  # type: ignore[union-attr]
    assert told.original == Measurement(**{**vars(told.original), "value": 1.0})
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(30, 4)), generator.normal(size=(30, 6))
    centred = [values - values.mean(axis=0) for values in (first, second)]
    gram, other = (values @ values.T for values in centred)
    by_rows = (gram * other).sum() / np.sqrt((gram**2).sum() * (other**2).sum())
    assert linear_cka(first, second) == pytest.approx(by_rows)
    turned = first @ np.linalg.qr(generator.normal(size=(4, 4)))[0]
    assert linear_cka(first, 3 * turned + 1) == pytest.approx(1)


# what is no evidence


def test_what_cannot_be_measured_is_undecided_with_a_reason() -> None:
    few, many = ground(), Beside(references=tuple(map(curve, (5, 6, 7, 8))), original=curve(0))
    flat = answers_of(LastFeatures(), {"retain": np.ones((8, 3)), "forget": np.ones((4, 3))})
    same = answers_of(AllWeights(), {"weights": np.ones(5)})
    alike = half_models(16, noise=0.0)
    cases: list[tuple[Probe, Answers, Beside]] = [
        (RelearnTransfer(), answers_of(Transfer(), {"rise": np.ones(10)}), Beside()),
        (RelearnTransfer(), answers_of(Transfer(), {"rise": np.ones(1)}), Beside()),
        (HeadRefitMargin(), answers_of(RefittedHead(), {"margin": np.full(9, np.nan)}), Beside()),
        (HeadRefitMargin(), answers_of(RefittedHead(), {"margin": np.ones(9)}), Beside()),
        (HeadRefit(), answers_of(RefittedHead(), {"correct": np.ones(0)}), Beside()),
        (FeatureSimilarity(), flat, Beside(references=(flat,))),
        (WeightDistance(), same, Beside(references=(same,), original=same)),
        (Relearn(), curve(None), replace(many, references=tuple(map(curve, (None,) * 4)))),
    ]
    for probe, own, beside in cases:
        said = probe.value(own, beside, few)
        assert isinstance(said, Undecided), (probe.name, said)
        assert said.reason
    for probe in (LikelihoodRatio(), OfflineLikelihoodRatio(), EpsilonLowerBound()):
        said = scored(probe, 0.0, alike)
        assert isinstance(said, Undecided)
        assert said.reason == "half models answer a row all alike: needs a recipe whose runs vary"


def test_a_model_without_a_linear_head_or_with_another_that_is_broken() -> None:
    """The sealed call says it, whoever is measured."""

    def made(arrays: dict[str, np.ndarray], number: int) -> TrialModel:
        own = signals_with({rows: logits_with(DIFFICULTY[rows], LABELS[rows]) for rows in Whose})
        told = {reading: {Whose.FORGET: arrays} for reading in (RefittedHead(), Relearning(), AllWeights())}
        digest = f"{number:064x}"
        return TrialModel(weights_digest=digest, lineage_seed=digest, answers=replace(own, read={**own.read, **told}))

    nothing = Trial(
        original=made({}, 0),
        unlearned=(made({}, 1),),
        references=tuple(made({}, number) for number in range(2, 8)),
        ground=ground(),
    )
    run = nothing.unlearned[0]
    assert HeadRefit().measure(run, nothing) == Undecided(HeadRefit.untold or "")
    assert Relearn().measure(run, nothing) == Undecided(relearn.NOTHING)
    broken = made({"weights": np.array([np.nan])}, 9)
    sound = made({"weights": np.ones(1)}, 10)
    trial = Trial(original=sound, unlearned=(sound,), references=(broken,), ground=ground())
    assert WeightDistance().measure(sound, trial) == Undecided(
        "another model's outputs are not finite: needs finite weights and inputs"
    )
    assert WeightDistance().measure(sound, replace(trial, references=())) == Undecided("needs 1 other reference, has 0")
    alone = Trial(original=run, unlearned=(run,), references=(), ground=ground())
    assert Relearn().measure(run, alone) == Undecided("needs 4 other references, has 0")


def test_what_was_read_of_a_request_is_read_once_and_kept_for_this_request(
    runs: dict[str, Any], noisy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, base = runs["fine-tune"], runs["base"]
    rows, reading = run.data(noisy), Relearning(share=0.01)
    counted: list[int] = []
    real = relearn.relearn
    monkeypatch.setattr(relearn, "relearn", lambda *given: (counted.append(1), real(*given))[1])

    class Short(RelearnTransfer):
        name = "short"
        reads = (SIGNALS, reading)

    def asked(one: Run, kept: Kept | None = None) -> Trial:
        with pinned(run.recipe):
            return trial_of([one], base, [], rows, [Short], kept=kept)

    plain = asked(run)
    assert len(counted) == 2
    memory = Kept()
    first, second = asked(run, memory), asked(run, memory)
    assert len(counted) == 4
    assert first.original.answers.read[reading] == second.original.answers.read[reading]
    own = plain.unlearned[0].answers.of(Whose.FORGET, reading)["margin"]
    np.testing.assert_array_equal(first.unlearned[0].answers.of(Whose.FORGET, reading)["margin"], own)
    other = unlearn(base, "random:10%:8", method="fine-tune", out=tmp_path / "other", data=noisy)
    asked(other, memory)
    assert len(counted) == 6, "the original is read of another request too"
    key = next(key for key in memory.readings if key[0] == reading and key[1] == run.weights_digest)  # type: ignore[attr-defined]
    stored = StoredReadings([run], rows)
    stored.folders[run.weights_digest] = tmp_path
    stored[key] = memory.readings.get(key) or {}
    again = stored.get(key)
    assert again is not None
    np.testing.assert_array_equal(again[Split.TRAIN]["margin"], own)
    assert stored.get((reading, run.weights_digest, bytes(32))) is None
