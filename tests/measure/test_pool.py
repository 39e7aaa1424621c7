"""Pools of small requests: sums over requests by loops, what must not matter, calibration, refusals, and real runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.memory import Memory, bounded
from expunge.core.statistics.prediction import Prediction
from expunge.core.values import Empirical, Measurement, Refuted, Supported, Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.accuracy import ForgetAccuracy, HoldoutAccuracy, RetainAccuracy
from expunge.measure.judgement import BY_RECORD, Judgement, judge
from expunge.measure.memory import MemoryLeft, Typicality
from expunge.measure.pool import evaluate_pool, pooled
from expunge.measure.readings import SIGNALS
from expunge.measure.trial import Answers, Ground, Trial, TrialModel, Whose
from expunge.methods.fine_tune import FineTune
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.document import read_document, write_document
from expunge.records.evaluation import Evaluation
from expunge.study.evaluate import evaluate
from expunge.tasks.task import signals_of
from expunge.train.run import Run
from expunge.train.trace import Trace
from expunge.train.training import train

PROBES = (MemoryLeft(), Typicality(), RetainAccuracy(), HoldoutAccuracy(), ForgetAccuracy())
COUNTS = {Whose.FORGET: 8, Whose.RETAIN: 120, Whose.HOLDOUT: 400}
Refused = Callable[..., AbstractContextManager[object]]


def model(number: int, request: int, forget: float = 0.0) -> TrialModel:
    """A model of one seed, whose luck shows in every request; sure of the forgotten rows by ``forget``."""
    generator = np.random.default_rng([number, request])
    luck, known = np.random.default_rng(number).normal(0, 0.1), {Whose.FORGET: forget, Whose.RETAIN: 3.0}
    read: dict[Whose, Any] = {}
    for at, (whose, count) in enumerate(COUNTS.items()):
        hard = np.random.default_rng([request, at]).normal(0.5, 1.0, count)
        margins = hard + known.get(whose, 0.0) + luck + generator.normal(0, 0.4, count)
        logits = np.stack([margins, np.zeros(count)], axis=1)
        read[whose] = {"beliefs": logits, **signals_of(logits, np.zeros(count, dtype=np.int64))}
    digest = f"{number:060x}{request:04x}"
    answers = Answers(read={SIGNALS: read}, example_steps=10.0, seconds=1.0)
    return TrialModel(weights_digest=digest, lineage_seed=f"{number:064x}", answers=answers)


def request(at: int, unlearned: TrialModel | None = None, forget: float = 0.0, **change: Any) -> Trial:
    """One person's request: references and witnesses of the same seeds as in every other one."""
    everywhere = np.arange(COUNTS[Whose.HOLDOUT])
    labels = {whose: np.zeros(count, dtype=np.int64) for whose, count in COUNTS.items()}
    ground = Ground(labels=labels, attack=everywhere[:200], scored=everywhere[200:], tested=everywhere, seed=bytes(32))
    fields: dict[str, Any] = {
        "original": model(1000, at, 3.0),
        "unlearned": (unlearned or model(500, at, forget),),
        "references": tuple(model(number, at) for number in range(8)),
        "witnesses": tuple(model(2000 + number, at, 3.0) for number in range(3)),
        "ground": replace(ground, digest=bytes([at])),
    }
    return Trial(**{**fields, **change})


def judged(trials: Sequence[Trial]) -> Judgement:
    (found,) = judge(pooled(trials), PROBES)
    return found


def values(trials: Sequence[Trial]) -> list[float]:
    whole = pooled(trials)
    found = [probe.measure(whole.unlearned[0], whole) for probe in PROBES]
    assert all(isinstance(one, Measurement) for one in found)
    return [one.value for one in found if isinstance(one, Measurement)]


def test_numerators_and_denominators_are_added_over_requests() -> None:
    trials = [request(at, forget=0.7) for at in range(4)]
    along = whole = far = right = rows = 0.0
    variances: list[float] = []
    for trial in trials:
        for row in range(COUNTS[Whose.FORGET]):
            told = [float(one.answers.of(Whose.FORGET)["margin"][row]) for one in trial.references]
            variances.append(float(np.var(bounded(told), ddof=1)))
    n, shared = 8, sum(variances) / len(variances)
    for at, trial in enumerate(trials):
        for row in range(COUNTS[Whose.FORGET]):
            own, *others = (
                4 * math.tanh(float(one.answers.of(Whose.FORGET)["margin"][row]) / 4)
                for one in (trial.unlearned[0], *trial.references, *trial.witnesses)
            )
            mean = sum(others[:n]) / n
            direction = sum(others[n:]) / 3 - mean
            along, whole = along + (own - mean) * direction, whole + direction**2
            spread = ((n - 1) * variances[at * COUNTS[Whose.FORGET] + row] + 4 * shared) / (n + 3)
            far, rows = far + (own - mean) ** 2 / (spread * (1 + 1 / n)), rows + 1
            right += own > 0
    expected = [along / whole, math.log(far / rows), right / rows]
    assert [values(trials)[index] for index in (0, 1, 4)] == pytest.approx(expected, abs=1e-10)


def test_accuracies_are_means_over_all_rows_and_work_is_added() -> None:
    trials = [request(at) for at in range(3)]
    for index, whose in ((2, Whose.RETAIN), (3, Whose.HOLDOUT)):
        each = [one.unlearned[0].answers.of(whose)["correct"].mean() for one in trials]
        assert values(trials)[index] == pytest.approx(np.mean(each), abs=1e-12)
    assert pooled(trials).unlearned[0].answers.example_steps == 30.0
    assert pooled(trials).ground.count(Whose.FORGET) == 24


def test_what_one_request_has_no_answer_to_is_told_of_none() -> None:
    trials = [request(at) for at in range(3)]
    answers = trials[2].unlearned[0].answers
    less = {whose: {name: told[name] for name in ("beliefs", "loss")} for whose, told in answers.read[SIGNALS].items()}
    mute = replace(trials[2].unlearned[0], answers=replace(answers, read={SIGNALS: less}))
    whole = pooled([*trials[:2], replace(trials[2], unlearned=(mute,))])
    found = MemoryLeft().measure(whole.unlearned[0], whole)
    assert isinstance(found, Undecided)
    assert "margin" in found.reason


def test_the_order_of_requests_changes_nothing() -> None:
    trials = [request(at, forget=0.4) for at in range(4)]
    turned = [trials[at] for at in (2, 0, 3, 1)]
    assert values(turned) == pytest.approx(values(trials), abs=1e-10)
    one, other = judged(trials), judged(turned)
    assert one.verdict.word == other.verdict.word
    assert one.claim == other.claim


def test_a_pool_decides_what_no_single_request_can() -> None:
    """The same rule: eight rows alone say nothing of a run, six times eight refute and support."""
    (alone,) = judge(request(0, forget=3.0), PROBES)
    assert alone.memory is None
    assert isinstance(alone.verdict, Refuted)
    assert alone.verdict.reason.endswith("of 8 rows still stand out from what retrained models answer")
    assert isinstance(judged([request(at, forget=3.0) for at in range(6)]).verdict, Refuted)
    honest = judged([request(at) for at in range(6)])
    assert isinstance(honest.verdict, Supported)
    assert "a pool of 6 requests: accuracies are means over all their rows" in honest.notices


def test_pools_of_honest_retrainings_are_refuted_as_often_as_the_level_says() -> None:
    """One more seed in every request, against eight: ρ of the pool, outside in 5 % at most; the original always.

    Read against each other references lie a little farther apart than a new one from all of them: 3 % are outside.
    """
    generator, outside, seen = np.random.default_rng(3), 0, 0
    draws, requests, rows, n = 1000, 5, 6, 8
    for _ in range(draws):
        hard, known = generator.normal(0.5, 1.5, requests * rows), generator.uniform(0, 3, requests * rows)
        shared = generator.normal(0, 0.2, (n + 6, 1))  # of a seed, in all requests

        def answers(which: slice, left: float, hard: Any = hard, known: Any = known, shared: Any = shared) -> Any:
            luck = shared[which]
            return bounded(hard + left * known + luck + generator.normal(0, 0.6, (len(luck), requests * rows)))

        memory = Memory(answers(slice(n), 0.0), answers(slice(n, n + 4), 1.0))
        honest, original = answers(slice(n + 4, n + 5), 0.0)[0], answers(slice(n + 5, n + 6), 1.0)[0]
        null = memory.null[0]
        outside += Prediction.of(memory.left(honest), null).p() <= 0.05
        seen += Prediction.of(memory.left(original), null).p() <= 0.05
    assert 0.015 <= outside / draws <= 0.06
    assert seen / draws > 0.95


def test_one_unchanged_run_refutes_the_pool_and_one_exact_run_is_beyond_statistics() -> None:
    unchanged = [request(0), request(1, model(1000, 1, 3.0)), request(2)]
    assert judged(unchanged).verdict.detail.startswith("same weights")
    exact = [request(0), request(1, replace(model(500, 1), exact=True)), request(2)]
    assert judged(exact).verdict == Undecided(BY_RECORD)
    oracle = [request(0), request(1, replace(model(500, 1), unsupportable="oracle", flags=("told",))), request(2)]
    assert judged(oracle).notices[:2] == ("a pool of 3 requests: accuracies are means over all their rows", "told")
    assert not isinstance(judged(oracle).verdict, Supported)
    retrained = [request(at, retrained=frozenset({model(500, at).weights_digest})) for at in range(3)]
    assert judged(retrained).same
    assert not judged([*retrained[:2], request(2)]).same


PEOPLE = ("someone-01", "someone-04", "someone-09")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pool")


@pytest.fixture(scope="module")
def base(pictures: Dataset, place: Path) -> Run:
    return train(pictures, out=place / "base", model="mlp", model_options={"width": 8}, epochs=6, batch_size=32)


@pytest.fixture(scope="module")
def runs(base: Run, pictures: Dataset, place: Path) -> list[Run]:
    return [
        unlearn(base, f"subject:{name}", method=FineTune(), budget=0.5, out=place / name, data=pictures)
        for name in PEOPLE
    ]


@pytest.fixture(scope="module")
def references(base: Run, pictures: Dataset, place: Path) -> dict[str, list[Run]]:
    return {
        name: [
            unlearn(
                *(base, f"subject:{name}"),
                method=Retrain(training_seed=seed),
                out=place / f"{name}-{seed}",
                data=pictures,
                trace=Trace.OFF,
            )
            for seed in range(1, 6)
        ]
        for name in PEOPLE
    }


@pytest.fixture(scope="module")
def witness(base: Run, pictures: Dataset, place: Path) -> Run:
    return train(pictures, out=place / "witness", recipe=replace(base.recipe, seed=21))


def test_real_runs_are_judged_as_one_and_nobody_is_shown(
    runs: list[Run], references: dict[str, list[Run]], witness: Run, pictures: Dataset, tmp_path: Path
) -> None:
    every = [one for found in references.values() for one in found]
    told: dict[str, Any] = {"rows": runs[0].data(pictures), "witnesses": [witness]}
    moved: list[tuple[int, int]] = []
    found = evaluate_pool(runs, every, **told, progress=lambda *at: moved.append(at))
    assert (runs[0].path / "pool.json").read_text() == write_document(found)
    assert moved[-1] == (24, 24)
    assert read_document(Evaluation, write_document(found).encode(), "pool.json") == found
    assert found.pool is not None
    assert {one.weights_digest for one in found.pool} == {run.weights_digest for run in runs}
    assert (
        found.forget.examples
        == sum(one.examples for one in found.pool)
        == sum(len(run.forget_set) for run in runs)
        >= 20
    )
    assert found.examples == ()
    assert found.guarantee == Empirical()
    assert len(found.references) == 5
    assert found.answer.endswith("over 3 requests: this speaks of fine-tune, never of one person.")
    assert {probe.name for probe in found.probes} >= {"memory", "typicality", "retain-accuracy", "example-steps"}
    assert found.probe("mean-margin") is None
    turned = evaluate_pool(runs[::-1], every[::-1], **told, out=tmp_path / "turned.json")
    assert write_document(turned) == write_document(found)


def test_layers_that_one_run_left_alone_are_asked_about_in_all(
    base: Run, references: dict[str, list[Run]], witness: Run, pictures: Dataset, tmp_path: Path
) -> None:
    every = [one for found in references.values() for one in found]
    frozen = [
        unlearn(base, f"subject:{name}", method="retrain-last-layers", out=tmp_path / name, data=pictures)
        for name in PEOPLE
    ]
    found = evaluate_pool(frozen, every, rows=frozen[0].data(pictures), witnesses=[witness])
    judged = found["head-refit"]
    assert judged.required
    assert isinstance(judged.unlearned, Measurement)
    assert judged.unlearned.n == found.forget.examples


def test_references_pair_by_their_seed(
    base: Run,
    runs: list[Run],
    references: dict[str, list[Run]],
    witness: Run,
    pictures: Dataset,
    refused: Refused,
    tmp_path: Path,
) -> None:
    told: dict[str, Any] = {"rows": runs[0].data(pictures), "witnesses": [witness], "out": tmp_path / "pool.json"}
    of = [references[name] for name in PEOPLE]
    few = evaluate_pool(runs, [*of[0], *of[1][1:], *of[2]], **told)
    assert len(few.references) == 4
    assert few.verdict == Undecided("memory: needs 5 references, has 4")
    assert "2 references have none of their seed in every request and are left out" in few.notices
    other = Retrain(training_seed=9)
    more = unlearn(base, f"subject:{PEOPLE[1]}", method=other, out=tmp_path / "more", data=pictures)
    with refused(InvalidArgument, "4 training seeds were retrained for every request", "the references do not pair"):
        evaluate_pool(runs, [*of[0], *of[1][1:], more, *of[2]], **told)
    with refused(InvalidArgument, "forgot other examples than any run of the pool"):
        strange = unlearned(base, "subject:someone-12", tmp_path, pictures)
        evaluate_pool([*runs[:2], strange], [*of[0], *of[1], *of[2]], **told)
    with refused(InvalidArgument, "`probes` relearn with `pool`: of a pool nothing further is measured"):
        evaluate(runs, pool=True, probes=["relearn"])
    with refused(InvalidArgument, "`as_published` with `pool`: papers print no pools, ask for it of each run"):
        evaluate(runs, pool=True, as_published=True)


def unlearned(base: Run, rule: str, place: Path, data: Dataset, **told: Any) -> Run:
    fields: dict[str, Any] = {"method": FineTune(), "budget": 0.5, **told}
    return unlearn(base, rule, out=place / f"{rule.replace(':', '-')}-{len(told)}", data=data, **fields)


def test_pools_of_other_kinds_are_refused(
    base: Run, runs: list[Run], pictures: Dataset, refused: Refused, tmp_path: Path
) -> None:
    rows = runs[0].data(pictures)
    slots = {name: np.flatnonzero(np.array(rows[Split.TRAIN].subjects) == name) for name in PEOPLE}

    def ids(name: str, several: slice) -> str:
        listed = tmp_path / f"{name}.txt"
        listed.write_text("\n".join(rows[Split.TRAIN].ids[slot] for slot in slots[name][several]) + "\n")
        return f"ids:{listed}"

    def made(rule: str, **told: Any) -> Run:
        return unlearned(base, rule, tmp_path / str(len(list(tmp_path.iterdir()))), pictures, **told)

    def of_pool(*several: Run) -> Evaluation:
        return evaluate_pool(several, rows=rows, out=tmp_path / "pool.json")

    with refused(InvalidArgument, "a pool of 2 requests says nothing of a method", "name 3 runs at least"):
        of_pool(*runs[:2])
    with refused(InvalidArgument, "forgot nothing"):
        of_pool(base, *runs)
    with refused(InvalidArgument, "was made by fine-tune", "by gradient-ascent", "a pool speaks of one method"):
        of_pool(*runs[:2], made("subject:someone-09", method="gradient-ascent"))
    with refused(InvalidArgument, "ran fine-tune with other fields or another budget"):
        of_pool(*runs[:2], made("subject:someone-09", budget=0.25))
    with refused(InvalidArgument, "ran fine-tune with other fields or another budget"):
        of_pool(*runs[:2], made("subject:someone-09", method=FineTune(rate=0.5)))
    after = unlearned(runs[0], "subject:someone-12", tmp_path, pictures)
    with refused(InvalidArgument, "came from different runs", "a pool is of requests to one original"):
        of_pool(*runs[:2], after)
    with refused(InvalidArgument, f"both forgot {len(slots[PEOPLE[1]])} rows", "share nobody"):
        of_pool(*runs, made(f"subject:{PEOPLE[1]}", seed=7))
    apart = [made(ids(PEOPLE[1], slice(0, 3))), made(ids(PEOPLE[1], slice(3, None)))]
    with refused(InvalidArgument, "both forgot rows of one person", "share nobody"):
        of_pool(runs[0], *apart)
    single = [made(ids(name, slice(0, 2))) for name in PEOPLE]
    with refused(InvalidArgument, "6 rows in 3 requests: a pool needs 20 together"):
        of_pool(*single)
