"""Rehearsals: which rows they play with, which they never read, and the score against its slow twin."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Refused, retold, run_json
from tests.study.rehearsed import Pictures, Play, mislabelled, play

from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.statistics.twins import TwinScale
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.splits import Split
from expunge.methods.fine_tune import FineTune
from expunge.methods.gradient_ascent import GradientAscent
from expunge.methods.retrain import Retrain
from expunge.methods.saliency_unlearning import SaliencyUnlearning
from expunge.methods.unlearn import parent_of, unlearn
from expunge.records.form import from_plain, to_plain
from expunge.records.tuning import Attempt
from expunge.study.pseudo_sets import pseudo_sets, twin_seeds
from expunge.study.rehearsal import prepare, prepare_oracle
from expunge.study.score import TuningMode, TuningStage
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.state import weights_digest
from expunge.train.training import train

NOBODY = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def data(pictures_like: Pictures) -> Dataset:
    return mislabelled(pictures_like(rows=500, people=50))


@pytest.fixture(scope="module")
def played(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Play:
    return play(data, tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="module")
def spared(data: Dataset, played: Play, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Twins that were trained without the rows to avoid."""
    folder = tmp_path_factory.mktemp("spared")
    return play(data, folder, run=played.run, avoid=np.arange(30, 90), leave_out=True)


# Pseudo-forget sets.


@pytest.mark.parametrize("seed", range(6))
def test_random_sets_are_disjoint_and_avoid_what_they_must(data: Dataset, seed: int) -> None:
    avoid, forgotten = np.arange(40, 160), np.arange(0, 50)
    first, second = pseudo_sets(data, kind="random", size="20%", seed=seed, avoid=avoid, forgotten=forgotten)
    assert len(first) == len(second) == 90  # a fifth of the 450 that are not forgotten
    assert not set(first) & set(second)
    assert not (set(first) | set(second)) & (set(avoid) | set(forgotten))
    again = pseudo_sets(data, kind="random", size="20%", seed=seed, avoid=avoid, forgotten=forgotten)
    assert all(np.array_equal(one, other) for one, other in zip((first, second), again, strict=True))
    assert not np.array_equal(first, pseudo_sets(data, kind="random", size="20%", seed=seed + 1)[0])


def test_a_row_is_drawn_by_its_own_word(data: Dataset) -> None:
    """Avoiding rows that were not drawn anyway changes nothing."""
    drawn = pseudo_sets(data, kind="random", size="40")
    others = np.setdiff1d(np.arange(500), np.union1d(*drawn))[:60]
    again = pseudo_sets(data, kind="random", size="40", avoid=others)
    assert all(np.array_equal(one, other) for one, other in zip(drawn, again, strict=True))


def test_classes_are_whole_and_free_of_what_is_avoided(pictures_like: Pictures) -> None:
    data = pictures_like(rows=200, classes=4)
    avoid = np.flatnonzero(data.labels == 2)[:1]
    found = {
        tuple(int(data.labels[slots][0]) for slots in pseudo_sets(data, kind="class", seed=seed, avoid=avoid))
        for seed in range(20)
    }
    assert {label for pair in found for label in pair} == {0, 1, 3}
    assert len(found) == 6
    first, _ = pseudo_sets(data, kind="class", avoid=avoid)
    assert np.array_equal(first, np.flatnonzero(data.labels == data.labels[first[0]]))


def test_people_are_those_of_the_nearest_size(pictures_like: Pictures) -> None:
    data = pictures_like(rows=100, people=10)
    subjects = np.array(["a"] * 30 + ["b"] * 12 + ["c"] * 9 + ["d"] * 9 + ["e"] * 40)
    data = replace(data, subjects=tuple(subjects))
    for size, expected in (("9", {"c", "d"}), ("11", {"b"}), ("35", {"a", "e"}), ("10%", {"c", "d"})):
        first, second = pseudo_sets(data, kind="subject", size=size)
        for slots in (first, second):
            assert np.array_equal(slots, np.flatnonzero(subjects == subjects[slots[0]]))
        assert {subjects[first[0]], subjects[second[0]]} >= expected
    drawn = {subjects[pseudo_sets(data, kind="subject", size="9", seed=seed)[0][0]] for seed in range(10)}
    assert drawn == {"c", "d"}  # ties are broken by stream
    avoided = pseudo_sets(data, kind="subject", size="9", avoid=[int(np.flatnonzero(subjects == "c")[3])])
    assert "c" not in {subjects[slots[0]] for slots in avoided}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"kind": "random"}, ("needs a size",)),
        ({"kind": "random", "size": "120%"}, ("'120%'", "10%")),
        ({"kind": "random", "size": "1.5"}, ("'1.5'", "whole number")),
        ({"kind": "random", "size": "0"}, ("'0'",)),
        ({"kind": "random", "size": "300"}, ("need 600, 500 may be taken", "avoid fewer")),
        ({"kind": "random", "size": "250"}, ("leave none of 500", "smaller size")),
        ({"kind": "everything", "size": "9"}, ("'everything'", "random, class, subject")),
        ({"kind": "class", "avoid": range(100)}, ("two whole classes", "0 of 3 are left")),
        ({"kind": "subject", "size": "9", "avoid": range(489)}, ("two people", "1 of 50 are left")),
        ({"kind": "random", "size": "9", "avoid": [500]}, ("avoid names slot 500", "0 to 499")),
        ({"kind": "random", "size": "9", "seed": 2**32}, ("seed 4294967296", "2^32")),
    ],
)
def test_sets_that_cannot_be_drawn(data: Dataset, refused: Refused, asked: dict, words: tuple[str, ...]) -> None:
    with refused(InvalidArgument, *words):
        pseudo_sets(data, **asked)


def test_twin_seeds_are_others_than_the_run_has() -> None:
    seeds = twin_seeds(3, 0)
    assert len(set(seeds)) == 4
    assert twin_seeds(3, seeds[0])[:3] == seeds[1:]
    assert seeds[2] not in twin_seeds(3, seeds[2])
    assert set(seeds).isdisjoint(twin_seeds(4, 0))


# The score.


def slow_answer(model: torch.nn.Module, inputs: torch.Tensor, label: int) -> tuple[float, bool]:
    """log(p / (1 − p)) of one row, from its softmax in Python's own floats, and whether the label is the likeliest."""
    with torch.no_grad():
        logits = [float(value) for value in model(inputs[None])[0]]
    others = [value for index, value in enumerate(logits) if index != label]
    top = max(others)
    return logits[label] - top - math.log(sum(math.exp(value - top) for value in others)), logits[label] > top


@pytest.mark.parametrize("stage", list(TuningStage))
def test_models_answer_what_the_slow_twin_says(played: Play, stage: TuningStage) -> None:
    """Every twin of a set, those that never saw it first, and the original, in every part."""
    rehearsal, number = played.prepare(), list(TuningStage).index(stage)
    train_rows, scale = rehearsal.parent.examples, rehearsal.scales[stage]
    rows = {
        "forget": [(train_rows, slot) for slot in played.sets[number]],
        "retain": [(train_rows, slot) for slot in rehearsal.sample],
        "calibration": [(rehearsal.calibration, row) for row in range(len(played.rows[Split.CALIBRATION]))],
    }
    first, second, third, fourth = played.twins
    twins = [(first, second), (third, fourth)]
    for runs, found in (
        (twins[number], scale.own),
        (twins[1 - number], scale.others),
        ((played.run,), (scale.original,)),
    ):
        for run, told in zip(runs, found, strict=True):
            model = run.model()
            for part, named in rows.items():
                batches = [examples.batch(np.array([slot])) for examples, slot in named]
                slow = [slow_answer(model, batch["inputs"][0], int(batch["labels"][0])) for batch in batches]
                assert told.margins[part] == pytest.approx([4 * math.tanh(m / 4) for m, _ in slow], rel=1e-4, abs=1e-5)
                assert told.right[part] == sum(right for _, right in slow) / len(slow)


def test_doing_nothing_scores_one(played: Play) -> None:
    rehearsal = played.prepare()
    with pinned(played.run.recipe):
        for stage in TuningStage:
            assert not rehearsal.scales[stage].left_out
            assert rehearsal.untouched(stage).value == 1.0
            assert rehearsal.untouched(stage) == rehearsal.score(played.run.model(), stage)
            assert rehearsal.untouched(stage).spread == 0.0


def test_a_twin_has_forgotten_its_own_set_and_not_the_other(played: Play) -> None:
    rehearsal = played.prepare()
    with pinned(played.run.recipe):
        for at, twin in enumerate(played.twins):
            own, other = (TuningStage.CHOICE, TuningStage.TRANSFER)[:: 1 if at < 2 else -1]
            assert rehearsal.score(twin.model(), own).parts["forget"] < 0.1
            assert rehearsal.score(twin.model(), other).value > 0.7


def test_an_honest_retraining_lies_where_it_is_said_to(played: Play, data: Dataset, tmp_path: Path) -> None:
    rehearsal = played.prepare()
    scale = rehearsal.scales[TuningStage.CHOICE]
    honest = train(
        data, out=tmp_path / "honest", recipe=replace(played.run.recipe, seed=77), without=played.twins[0].forget_set
    )
    with pinned(played.run.recipe):
        found = rehearsal.score(honest.model())
    assert found.parts["forget"] == pytest.approx(scale.retrained, abs=0.15)
    assert scale.retrained < 0.5 < found.value + 0.5


def test_shifting_or_hammering_the_original_is_no_forgetting(played: Play) -> None:
    """Margins of the rows to forget are moved until their mean is the twins', all of them alike or a tenth alone."""
    scale = played.prepare().scales[TuningStage.CHOICE]
    own = scale.original.margins["forget"]
    surplus = own.mean() - np.mean([twin.margins["forget"] for twin in scale.own])
    hammered = own.copy()
    hammered[np.argsort(-own)[: len(own) // 10]] -= surplus * len(own) / (len(own) // 10)
    for margins, least in ((own - surplus, 0.5), (hammered, 1.0)):
        model = replace(scale.original, margins={**scale.original.margins, "forget": margins})
        assert scale.score(model) > least


def test_what_the_sample_holds(played: Play) -> None:
    rehearsal = played.prepare()
    staying = np.setdiff1d(np.arange(400), np.union1d(*played.sets))
    assert set(rehearsal.sample) <= set(staying)
    assert len(rehearsal.sample) == 200 == len(np.unique(rehearsal.sample))


def test_a_spoilt_model_is_inadmissible_and_a_broken_one_has_no_score(played: Play, refused: Refused) -> None:
    rehearsal = played.prepare()
    spoilt = played.run.model()
    with torch.no_grad():
        for parameter in spoilt.parameters():
            parameter.zero_()
    spoilt.train()
    with pinned(played.run.recipe):
        found = rehearsal.score(spoilt)
        assert spoilt.training  # left as it was
        assert found.reason is not None
        assert "accuracy" in found.reason
        with torch.no_grad():
            next(spoilt.parameters()).fill_(math.nan)
        with refused(RunError, "not finite", "forget"):
            rehearsal.score(spoilt)
    failed = rehearsal.attempt(GradientAscent(rate=1e12), TuningStage.CHOICE, budget=0.5, seed=0)
    assert failed.state == "failed"
    assert failed.reason is not None
    for attempt in (failed, rehearsal.attempt(FineTune(), TuningStage.CHOICE, budget=0.1, seed=0)):
        assert from_plain(Attempt, to_plain(attempt), "it") == attempt


def test_one_point_of_accuracy_is_allowed(played: Play) -> None:
    """Below the mean of the two twins."""
    rehearsal = played.prepare()
    scale = rehearsal.scales[TuningStage.CHOICE]
    right = scale.original.right["calibration"]
    for above, admissible in ((0.01, True), (0.011, False)):
        own = [
            replace(twin, right={**twin.right, "calibration": right + above + off})
            for twin, off in zip(scale.own, (0.1, -0.1), strict=True)
        ]
        bar = replace(rehearsal, scales={TuningStage.CHOICE: replace(scale, own=tuple(own))})
        assert (bar.untouched(TuningStage.CHOICE).reason is None) == admissible


def test_where_nothing_is_to_forget_nothing_is_attempted(played: Play) -> None:
    """An original that is its own twin."""
    found = played.prepare()
    scale = found.scales[TuningStage.CHOICE]
    own = TwinScale.of(scale.own[0], scale.own, scale.others)
    found = replace(found, scales={**found.scales, TuningStage.CHOICE: own})
    attempt = found.attempt(FineTune(), TuningStage.CHOICE, budget=0.1, seed=0)
    assert (attempt.state, attempt.score, attempt.example_steps) == ("failed", None, 0.0)
    assert attempt.reason is not None
    assert attempt.reason.startswith("nothing to forget in this rehearsal: the original lies ")
    told = found.told().scales
    assert told is not None
    assert [(scale.retrained is None, "forget" in scale.left_out) for scale in told] == [(True, True), (False, False)]


def test_sets_of_one_row_may_be_rehearsed(played: Play) -> None:
    rehearsal = played.prepare()
    forget = {stage: replace(found, slots=found.slots[:1]) for stage, found in rehearsal.forget.items()}
    bare = replace(rehearsal, forget=forget)
    found = bare.beside(dict(zip(TuningStage, (played.twins[:2], played.twins[2:]), strict=True)))
    for stage, scale in found.scales.items():
        assert found.nothing(stage) is not None or found.untouched(stage).value == 1.0
        assert [len(twin.margins["forget"]) for twin in (*scale.own, *scale.others)] == [1] * 4


# What is read.


def poisoned(rows: Mapping[Split, Dataset], slots: np.ndarray) -> dict[Split, Dataset]:
    """The same rows with other content and labels in some training slots."""
    train_rows = rows[Split.TRAIN]
    image, labels = train_rows.content["image"].copy(), train_rows.labels.copy()
    image[slots] = 255 - image[slots]
    labels[slots] = (labels[slots] + 1) % 3
    return {**rows, Split.TRAIN: replace(train_rows, content={"image": image}, labels=labels)}


@pytest.mark.parametrize("method", [FineTune(rate=0.05), SaliencyUnlearning(), GradientAscent(rate=0.01)])
def test_rows_to_avoid_are_never_read(spared: Play, method: FineTune) -> None:
    avoid = spared.asked["avoid"]
    plain, other = spared.prepare(), spared.prepare(poisoned(spared.rows, avoid))
    assert plain.told() == other.told()
    assert plain.untouched(TuningStage.CHOICE) == other.untouched(TuningStage.CHOICE)
    first, second = (
        replace(found.attempt(method, TuningStage.CHOICE, budget=0.3, seed=0), seconds=0.0) for found in (plain, other)
    )
    assert first == second
    assert first.score is not None
    for slot in (avoid[0], avoid[-1]):
        with pytest.raises(InvalidArgument, match="may not be read"):
            plain.parent.examples.batch(np.array([slot]))


def test_poison_would_be_seen(played: Play, spared: Play) -> None:
    """Where twins were trained with the rows to avoid, methods see them among those that stay, and no score does."""
    assert spared.run.weights_digest == played.run.weights_digest
    avoid = np.setdiff1d(np.arange(400), np.union1d(*played.sets))[:60]
    asked = {**played.asked, "avoid": avoid}
    plain = replace(played, asked=asked).prepare()
    other = replace(played, asked=asked).prepare(poisoned(played.rows, avoid))
    assert not set(plain.sample) & set(avoid)
    assert plain.untouched(TuningStage.CHOICE) == other.untouched(TuningStage.CHOICE)
    method = FineTune(rate=0.05)
    first, second = (found.attempt(method, TuningStage.CHOICE, budget=0.3, seed=0).score for found in (plain, other))
    assert first != second


def test_leaving_rows_out_does_not_lessen_the_work_allowed(spared: Play, played: Play) -> None:
    for found in (spared.prepare(), played.prepare()):
        attempt = found.attempt(FineTune(), TuningStage.CHOICE, budget=0.5, seed=0)
        assert attempt.example_steps == pytest.approx(0.5 * run_json(played.run)["example_steps"], rel=0.02)


def test_calibration_rows_of_people_to_avoid_are_left_out(played: Play) -> None:
    calibration, rows = played.rows[Split.CALIBRATION], played.rows[Split.TRAIN]
    person = calibration.subjects[0]
    avoid = np.flatnonzero(np.array(rows.subjects) == person)
    free = np.setdiff1d(np.union1d(*played.sets), avoid)
    assert len(avoid)
    assert len(free)
    asked = {**played.asked, "kind": "subject", "size": "9", "avoid": avoid}
    sets = pseudo_sets(rows, **asked)
    twins = [
        unlearn(
            played.run,
            [f"subject:{rows.subjects[slots[0]]}"],
            method=Retrain(training_seed=seed),
            out=played.run.path.parent / f"person-{seed}",
            data=played.rows,
        )
        for seed, slots in zip((5, 6, 7, 8), (sets[0], sets[0], sets[1], sets[1]), strict=True)
    ]
    found = prepare(played.run, twins, data=played.rows, **asked)
    people = {calibration.subjects[row] for row in found.calibration.readable}
    assert people == set(calibration.subjects) - {person}


def test_no_calibration_rows_no_rehearsal(played: Play, refused: Refused) -> None:
    calibration = played.rows[Split.CALIBRATION]
    gone = replace(calibration, present=np.zeros(len(calibration), dtype=bool))
    with refused(DataError, "the calibration split holds no row"):
        played.prepare({**played.rows, Split.CALIBRATION: gone})


# Twins and references.


def test_what_is_no_twin(played: Play, data: Dataset, refused: Refused, tmp_path: Path) -> None:
    first, other, second, last = played.twins

    def given(*twins: Run, **change: object) -> None:
        prepare(played.run, twins, data=played.rows, **{**played.asked, **change})

    with refused(InvalidArgument, "four twins", "2 were given"):
        given(first, second)
    with refused(InvalidArgument, "not the 80 of its pseudo-forget set"):
        given(second, last, first, other)
    with refused(InvalidArgument, "not the 80 of its pseudo-forget set"):
        given(first, other, second, last, seed=7)
    with refused(InvalidArgument, "training on everybody"):
        given(train(data, out=tmp_path / "all", recipe=first.recipe), other, second, last)
    asked = ForgetSet(np.arange(5), ("ids",), played.run.root.hex())  # a reference of a request
    reference = train(data, out=tmp_path / "reference", recipe=replace(first.recipe, seed=9), without=asked)
    with refused(InvalidArgument, "trained without 5 rows, which are not the 80"):
        given(reference, other, second, last)
    approximate = unlearn(played.run, first.forget_set, method="fine-tune", out=tmp_path / "ft", data=played.rows)
    with refused(InvalidArgument, "has the seed 0", "a seed of its own"):
        given(approximate, other, second, last)
    with refused(InvalidArgument, f"has the seed {first.recipe.seed} of {first.path}", "a seed of its own"):
        given(first, first, second, last)
    tuned = unlearn(first, second.forget_set, method="fine-tune", out=tmp_path / "ft2", data=played.rows)
    with refused(InvalidArgument, "'fine-tune'", "exact retraining"):
        given(tuned, other, second, last)
    wider = train(data, out=tmp_path / "wide", recipe=replace(first.recipe, epochs=2), without=first.forget_set)
    with refused(InvalidArgument, "another recipe"):
        given(wider, other, second, last)


def test_twins_must_be_alike(played: Play, spared: Play, refused: Refused) -> None:
    mixed = [*spared.twins[:3], retold(spared.twins[3], tombstones=[int(slot) for slot in spared.sets[1]])]
    with refused(InvalidArgument, "treat all of them alike"):
        prepare(spared.run, mixed, data=spared.rows, **spared.asked)


def test_several_shards_have_nothing_to_tune(data: Dataset, refused: Refused, tmp_path: Path) -> None:
    run = train(data, out=tmp_path / "run", model="mlp", epochs=1, shards=2)
    forget = ForgetSet(np.arange(5), ("ids",), run.root.hex())
    with refused(UnsupportedYet, "2 shards"):
        prepare_oracle(run, [run, run], forget, data=run.data(data))


def test_the_oracle_has_one_stage_and_says_so(played: Play, refused: Refused) -> None:
    first, other = played.twins[:2]
    found = prepare_oracle(played.run, [first, other], first.forget_set, data=played.rows)
    assert found.mode is TuningMode.ORACLE
    (scale,) = found.scales.values()
    assert set(scale.left_out) == {"accuracy", "memory"}
    assert found.untouched(TuningStage.CHOICE).value == 1.0
    with pinned(played.run.recipe):
        assert found.score(first.model()).parts["forget"] < 0.1
    with refused(InvalidArgument, "two references", "not 1"):
        prepare_oracle(played.run, [first], first.forget_set, data=played.rows)


# The parent.


def test_a_parent_forgets_as_the_run_does(played: Play, tmp_path: Path) -> None:
    method = SaliencyUnlearning(rate=0.02)
    slots = played.twins[0].forget_set
    made = unlearn(played.run, slots, method=method, out=tmp_path / "run", data=played.rows, budget=0.2, seed=3)
    parent = parent_of(played.run, data=played.rows)
    with pinned(parent.recipe):
        found = method(parent, slots.slots, budget=0.2, seed=3)
    assert weights_digest(found.model) == made.weights_digest
    assert weights_digest(parent.model) == played.run.weights_digest
    assert np.array_equal(parent.emptied, played.run.tombstones)
    assert parent_of(made, data=played.rows).emptied.tolist() == slots.slots.tolist()


class Closed:
    """A split that must not be opened."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the holdout was opened: {name}")

    def __len__(self) -> int:
        raise AssertionError("the holdout was opened")


def test_the_holdout_is_never_opened(played: Play) -> None:
    rehearsal = played.prepare({**played.rows, Split.HOLDOUT: Closed()})
    assert rehearsal.untouched(TuningStage.CHOICE) == played.prepare().untouched(TuningStage.CHOICE)
    assert rehearsal.attempt(FineTune(), TuningStage.CHOICE, budget=0.1, seed=0).score is not None
    with pytest.raises(AssertionError, match="the holdout was opened"):
        Examples(played.run.recipe, Closed(), "cpu")  # pyright: ignore[reportArgumentType]


def test_tuning_cannot_reach_probes_or_attacks() -> None:
    code = (
        "import sys, expunge.study.tuning_folder, expunge.study.tuning, expunge.study.search, expunge.study.rehearsal\n"
    )
    closed = ("measure", "attacks", "study.references", "study.training_job", "study.readings", "study.store")
    names = tuple(f"expunge.{name}" for name in closed)
    code += f"found = [name for name in sys.modules if name.startswith({names!r})]\n"
    code += "assert not found, found\nassert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)
