"""Rehearsals: which rows they play with, which they never read, and the score against its slow twin."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import Refused, retold, run_json
from tests.study.rehearsed import Pictures, Play, play

from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
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
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.state import weights_digest
from expunge.train.training import train

NOBODY = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def data(pictures_like: Pictures) -> Dataset:
    return pictures_like(rows=500, people=50)


@pytest.fixture(scope="module")
def played(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Play:
    return play(data, tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="module")
def spared(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Twins that were trained without the rows to avoid."""
    return play(data, tmp_path_factory.mktemp("spared"), avoid=np.arange(30, 90), leave_out=True)


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
    first, second = twin_seeds(3, 0)
    assert first != second
    assert twin_seeds(3, first)[0] == second
    assert first not in twin_seeds(3, first)
    assert twin_seeds(3, 0) != twin_seeds(4, 0)


# The score.


def slow_margin(model: torch.nn.Module, inputs: torch.Tensor, label: int) -> float:
    """log(p / (1 − p)) of one row, from its softmax in Python's own floats."""
    with torch.no_grad():
        logits = [float(value) for value in model(inputs[None])[0]]
    others = [value for index, value in enumerate(logits) if index != label]
    top = max(others)
    return logits[label] - top - math.log(sum(math.exp(value - top) for value in others))


@pytest.mark.parametrize("stage", list(TuningStage))
def test_the_score_is_what_the_slow_twin_says(played: Play, stage: TuningStage) -> None:
    rehearsal, number = played.prepare(), list(TuningStage).index(stage)
    train_rows = rehearsal.parent.examples
    parts = {
        "forget": [(train_rows, slot) for slot in played.sets[number]],
        "retain": [(train_rows, slot) for slot in rehearsal.sample],
        "calibration": [(rehearsal.calibration, row) for row in range(len(played.rows[Split.CALIBRATION]))],
    }
    twin = played.twins[number].model()
    expected = {}
    for part, rows in parts.items():
        margins = []
        for model in (played.run.model(), twin):
            batches = [examples.batch(np.array([slot])) for examples, slot in rows]
            margins.append([slow_margin(model, batch["inputs"][0], int(batch["labels"][0])) for batch in batches])
        own, other = (sum(values) / len(values) for values in margins)
        spread = math.sqrt(sum((value - other) ** 2 for value in margins[1]) / (len(margins[1]) - 1))
        expected[part] = abs(own - other) / spread
    found = rehearsal.untouched(stage)
    assert found.parts == pytest.approx(expected, rel=1e-4)
    assert found.value == max(found.parts.values())
    assert found.reason is None


def test_a_twin_is_at_no_distance_from_itself(played: Play) -> None:
    rehearsal = played.prepare()
    with pinned(played.run.recipe):
        assert rehearsal.score(played.twins[0].model()).value == 0
        assert rehearsal.score(played.twins[1].model(), TuningStage.TRANSFER).value == 0
        assert rehearsal.score(played.twins[0].model(), TuningStage.TRANSFER).value > 0


def test_how_far_the_twins_lie_apart(played: Play) -> None:
    rehearsal = played.prepare()
    with pinned(played.run.recipe):
        found = rehearsal.score(played.twins[1].model())
    assert rehearsal.twins_apart == pytest.approx(found.parts["retain"])
    assert rehearsal.told().twins_apart == rehearsal.twins_apart > 0


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
    rehearsal = played.prepare()
    twin = rehearsal.twins[TuningStage.CHOICE]
    own = rehearsal.untouched(TuningStage.CHOICE).accuracy
    for above, admissible in ((0.01, True), (0.011, False)):
        bar = replace(rehearsal, twins={TuningStage.CHOICE: replace(twin, accuracy=own + above)})
        assert (bar.untouched(TuningStage.CHOICE).reason is None) == admissible


def test_people_of_one_row_are_measured_in_the_samples_unit(pictures_like: Pictures, tmp_path: Path) -> None:
    found = play(pictures_like(rows=300, people=300), tmp_path, kind="subject", size="1").prepare()
    assert [len(forget) for forget in found.forget.values()] == [1, 1]
    for twin in found.twins.values():
        units = {part.value: unit for part, unit in twin.units.items()}
        assert units["forget"] == units["retain"] != units["calibration"]


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
        for seed, slots in zip((5, 6), sets, strict=True)
    ]
    found = prepare(played.run, twins, data=played.rows, **asked)
    people = {calibration.subjects[row] for row in found.calibration_rows}
    assert people == set(calibration.subjects) - {person}


def test_no_calibration_rows_no_rehearsal(played: Play, refused: Refused) -> None:
    calibration = played.rows[Split.CALIBRATION]
    gone = replace(calibration, present=np.zeros(len(calibration), dtype=bool))
    with refused(DataError, "the calibration split holds no row"):
        played.prepare({**played.rows, Split.CALIBRATION: gone})


# Twins and references.


def test_what_is_no_twin(played: Play, data: Dataset, refused: Refused, tmp_path: Path) -> None:
    first, second = played.twins

    def given(*twins: Run, **change: object) -> None:
        prepare(played.run, twins, data=played.rows, **{**played.asked, **change})

    with refused(InvalidArgument, "two twins", "1 were given"):
        given(first)
    with refused(InvalidArgument, "not the 80 of its pseudo-forget set"):
        given(second, first)
    with refused(InvalidArgument, "not the 80 of its pseudo-forget set"):
        given(first, second, seed=7)
    with refused(InvalidArgument, "training on everybody"):
        given(train(data, out=tmp_path / "all", recipe=first.recipe), second)
    approximate = unlearn(played.run, first.forget_set, method="fine-tune", out=tmp_path / "ft", data=played.rows)
    with refused(InvalidArgument, "has the seed 0", "another seed"):
        given(approximate, second)
    other = unlearn(first, second.forget_set, method="fine-tune", out=tmp_path / "ft2", data=played.rows)
    with refused(InvalidArgument, "'fine-tune'", "exact retraining"):
        given(other, second)
    wider = train(data, out=tmp_path / "wide", recipe=replace(first.recipe, epochs=2), without=first.forget_set)
    with refused(InvalidArgument, "another recipe"):
        given(wider, second)


def test_twins_must_be_alike(played: Play, spared: Play, refused: Refused) -> None:
    mixed = [spared.twins[0], retold(spared.twins[1], tombstones=[int(slot) for slot in spared.sets[1]])]
    with refused(InvalidArgument, "treat both alike"):
        prepare(spared.run, mixed, data=spared.rows, **spared.asked)


def test_several_shards_have_nothing_to_tune(data: Dataset, refused: Refused, tmp_path: Path) -> None:
    run = train(data, out=tmp_path / "run", model="mlp", epochs=1, shards=2)
    forget = ForgetSet(np.arange(5), ("ids",), run.root.hex())
    with refused(UnsupportedYet, "2 shards"):
        prepare_oracle(run, run, forget, data=run.data(data))


def test_the_oracle_has_one_stage_and_says_so(played: Play) -> None:
    first = played.twins[0]
    found = prepare_oracle(played.run, first, first.forget_set, data=played.rows)
    assert found.mode is TuningMode.ORACLE
    assert list(found.twins) == [TuningStage.CHOICE]
    assert found.twins_apart is None
    with pinned(played.run.recipe):
        assert found.score(first.model()).value == 0


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


def test_tuning_cannot_reach_probes_or_attacks() -> None:
    code = (
        "import sys, expunge.study.tuning_folder, expunge.study.tuning, expunge.study.search, expunge.study.rehearsal\n"
    )
    code += "found = [name for name in sys.modules if name.startswith(('expunge.measure', 'expunge.attacks'))]\n"
    code += "assert not found, found\nassert 'optuna' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)
