"""Tuning: a planted optimum is found and carries over or not, kills cost nothing but time, files are not believed."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Refused, run_json
from tests.study.rehearsed import Pictures, Play, mislabelled, play

from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.hashing import canonical_json, plain_json, sha256
from expunge.core.statistics.twins import RowsAnswered, TwinScale
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.contract import Given, Method, Need, Outcome
from expunge.methods.fields import Between, tuned
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.document import without, write_document
from expunge.records.form import from_plain, to_plain
from expunge.records.run_file import MethodFile
from expunge.records.tuning import Attempt, KeptTrial, Score, Tuning, TuningTrial, attempted
from expunge.study.rehearsal import Rehearsal
from expunge.study.score import TuningStage
from expunge.study.search import Tried
from expunge.study.tuning import (
    NO_TRANSFER,
    NOT_BETTER,
    chosen_entry,
    read_tuning,
    tune_method,
    tuning_of,
)
from expunge.study.tuning_folder import Oracle, tune
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import train


@dataclass(frozen=True, kw_only=True)
class Stretched(Method):
    """Multiplies the last layer, and with it every margin: the best factor is known where the twin is a stretch too."""

    name = "stretched"
    needs = frozenset({Need.FORGET})
    factor: float = tuned(1.0, Between(0.05, 20.0))

    def unlearn(self, given: Given) -> Outcome:
        student = given.student()
        given.meter.steps(1)
        stretch(student, self.factor)
        return Outcome(model=student, steps=1)


def stretch(model: torch.nn.Module, factor: float) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in list(model.parameters())[-2:]:
            parameter.mul_(factor)
    return model


@pytest.fixture(scope="module")
def data(pictures_like: Pictures) -> Dataset:
    return mislabelled(pictures_like(rows=500, people=50))


@pytest.fixture(scope="module")
def played(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Play:
    return play(data, tmp_path_factory.mktemp("played"))


@pytest.fixture(scope="module")
def rehearsal(played: Play) -> Rehearsal:
    return played.prepare()


def towards(rehearsal: Rehearsal, first: float, second: float) -> Rehearsal:
    """The same with the original, stretched, a little to both sides, in the place of the twins of each set."""
    scales = {}
    with pinned(rehearsal.parent.recipe):
        for stage, factor in zip(TuningStage, (first, second), strict=True):
            found = rehearsal._read(stretch(unchanged(rehearsal), factor), stage)  # pyright: ignore[reportPrivateUsage]
            original = rehearsal.scales[stage].original
            scales[stage] = TwinScale.of(original, beside(found), beside(original))
    return replace(rehearsal, scales=scales)


def with_accuracy(rehearsal: Rehearsal, accuracy: float) -> Rehearsal:
    """The same with twins that are right on so many calibration rows."""
    scales = {}
    for stage, scale in rehearsal.scales.items():
        own = [replace(twin, right={**twin.right, "calibration": accuracy}) for twin in scale.own]
        scales[stage] = replace(scale, own=tuple(own))
    return replace(rehearsal, scales=scales)


def beside(found: RowsAnswered) -> list[RowsAnswered]:
    return [
        replace(found, margins={part: margins + side for part, margins in found.margins.items()})
        for side in (-0.01, 0.01)
    ]


def entry_of(*told: Any, **more: Any) -> Any:
    """What ``tune_method`` finds, as it is written."""
    return to_plain(tune_method(*told, **more))


def timeless(value: Any) -> Any:
    return without(value, "seconds")


def unchanged(rehearsal: Rehearsal) -> torch.nn.Module:
    from copy import deepcopy

    return deepcopy(rehearsal.parent.model)


# One method.


def test_a_planted_optimum_is_found_and_carries_over(rehearsal: Rehearsal) -> None:
    entry = entry_of(Stretched, towards(rehearsal, 3.0, 3.0), budget=0.1, trials=30, seed=0)
    assert entry["state"] == "tuned"
    assert entry["chosen"]["fields"]["factor"] == pytest.approx(3.0, rel=0.1)
    scores = {who: entry[who]["choice"]["score"]["value"] for who in ("default", "chosen")}
    assert scores["chosen"] < 0.2 * scores["default"]
    assert entry["chosen"]["transfer"]["score"]["value"] < 0.2 * entry["default"]["transfer"]["score"]["value"]
    assert len(entry["trials"]) == 30
    assert entry["cost"]["example_steps"] == 30 + 2
    assert entry["default"]["trial"] == 0


def test_it_says_when_it_did_not_transfer(rehearsal: Rehearsal) -> None:
    entry = entry_of(Stretched, towards(rehearsal, 3.0, 0.3), budget=0.1, trials=12, seed=0)
    assert entry["transferred"] is False
    assert NO_TRANSFER in entry["notices"]
    first, second = (1 - entry["chosen"][stage]["score"]["value"] for stage in ("choice", "transfer"))
    assert entry["better"] is True
    assert second < first / 2
    carried = entry_of(Stretched, towards(rehearsal, 30.0, 28.0), budget=0.1, trials=12, seed=0)
    assert (carried["better"], carried["transferred"]) == (True, True)  # the range ends short of both
    assert NO_TRANSFER not in carried["notices"]


@pytest.mark.parametrize(
    ("choice", "spread", "transfer", "better", "transferred"),
    [
        (0.5, 0.1, 0.5, True, True),
        (0.5, 0.1, 0.75, True, True),  # half of the gain
        (0.5, 0.1, 0.76, True, False),
        (0.5, 0.1, None, True, False),
        (0.75, 0.125, 0.75, True, True),  # two spreads
        (0.75, 0.126, 0.1, False, None),
        (1.0, 0.0, 0.5, False, None),  # doing nothing
        (1.2, 0.01, 0.5, False, None),
    ],
)
def test_gains_are_those_of_more_than_luck(
    rehearsal: Rehearsal, choice: float, spread: float, transfer: float | None, better: bool, transferred: bool | None
) -> None:
    def attempt(made: Method, stage: TuningStage, **_: Any) -> Attempt:
        value = choice if stage is TuningStage.CHOICE else transfer
        score = None if value is None else Score(value, {"forget": value}, 0.9, 0.0, spread)
        return attempted(score, None if score else "broken", example_steps=1.0, scoring=1.0, seconds=0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rehearsal, "attempt", lambda self, made, stage, **more: attempt(made, stage, **more))
        entry = tune_method(Stretched, rehearsal, budget=0.1, trials=1)
    assert (entry.better, entry.transferred) == (better, transferred)
    assert (NOT_BETTER in entry.notices, NO_TRANSFER in entry.notices) == (not better, transferred is False)


def test_where_nothing_is_to_forget_nothing_is_chosen(rehearsal: Rehearsal) -> None:
    bare = towards(rehearsal, 1.0, 3.0)
    entry = tune_method(Stretched, bare, budget=0.1, trials=9, seed=0)
    assert (entry.state, len(entry.trials), entry.cost.example_steps) == ("default kept", 1, 1.0)  # on the second set
    assert (entry.better, entry.transferred) == (None, None)
    assert entry.notices[0].startswith("nothing to forget in this rehearsal: the original lies 0")
    assert entry.notices[0].endswith("; the default is kept")
    told = tuning_of(bare, [entry], budget=0.1, trials=9, seed=0)
    assert told.conclusion is not None
    assert told.conclusion.startswith("nothing to forget in this rehearsal: the original lies 0")
    assert [score.value for score in told.original.untouched] == [1.0]
    second = tune_method(Stretched, towards(rehearsal, 3.0, 1.0), budget=0.1, trials=9, seed=0)
    assert (second.better, second.transferred) == (True, None)
    assert any("on the second set: nothing to forget" in notice for notice in second.notices)


def test_it_says_where_nothing_forgets(rehearsal: Rehearsal) -> None:
    """Neither what gains nothing nor what gains little; what comes nearer to a retraining than to the original does."""

    def told(first: float, second: float, factor: float) -> str | None:
        aim = towards(rehearsal, first, second)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("expunge.study.tuning.search", partial(only, factor))
            entry = tune_method(Stretched, aim, budget=0.1, trials=2)
        return tuning_of(aim, [entry], budget=0.1, trials=2, seed=0).conclusion

    def only(factor: float, kind: type[Method], attempt: Any, **_: Any) -> list[Tried]:
        made = Stretched(factor=factor)
        trial = TuningTrial(index=0, fields=made.told.fields, repeats=None, **vars(attempt(made)))
        return [Tried(trial, made)]

    assert told(3.0, 3.0, 2.9) is None
    little = told(3.0, 3.0, 1.1)
    assert little is not None
    assert little.startswith("nothing here forgets within this budget (10 % of the training's work): of 1 method none ")
    assert "; stretched comes nearest, with 0." in little
    for nothing in (told(3.0, 3.0, 1.0), told(3.0, 0.3, 2.9)):
        assert nothing is not None
        assert nothing.endswith("than to doing nothing (1)")


def test_where_nothing_is_admissible_the_default_is_kept(rehearsal: Rehearsal) -> None:
    aim = towards(rehearsal, 3.0, 3.0)
    entry = entry_of(Stretched, with_accuracy(aim, 2.0), budget=0.1, trials=5, seed=0)
    assert entry["state"] == "default kept"
    assert entry["chosen"]["trial"] == 0
    assert entry["chosen"]["fields"] == {"factor": 1.0}
    assert (entry.get("better"), entry["transferred"]) == (None, None)
    assert any("none of 5 trials is admissible" in notice for notice in entry["notices"])


def test_failures_are_recorded_with_their_reason(rehearsal: Rehearsal) -> None:
    entry = entry_of("fine-tune-last-layers", with_accuracy(rehearsal, 0.0), budget=0.1, trials=25, seed=0)
    failed = [trial for trial in entry["trials"] if trial["state"] == "failed"]
    assert failed
    assert all(trial["score"] is None and "of a model that has" in trial["reason"] for trial in failed)
    assert f"{len(failed)} of 25 trials failed" in entry["notices"]
    refused = entry_of("impair-repair", rehearsal, budget=0.1, trials=2, seed=0)  # forgets whole classes alone
    assert refused["state"] == "default kept"
    assert refused["transferred"] is None
    assert "whole class" in refused["notices"][0]


def test_what_has_no_ranges_is_scored_and_not_searched(rehearsal: Rehearsal) -> None:
    entry = entry_of("neural-tangent-kernel", rehearsal, budget=2.0, trials=30, seed=0)
    assert entry["state"] == "nothing to tune"
    assert entry["trials"] == []
    assert entry["chosen"] == entry["default"]
    assert entry["default"]["choice"]["score"]["value"] > 0
    assert entry["default"]["transfer"]["score"]["value"] > 0
    assert entry["cost"]["example_steps"] > 0


def test_what_cannot_be_tuned(rehearsal: Rehearsal, refused: Refused) -> None:
    with refused(InvalidArgument, "'retrain'", "nothing to tune"):
        tune_method("retrain", rehearsal, budget=0.1)
    with refused(InvalidArgument, "budget 0 "):
        tune_method("scrub", rehearsal, budget=0.0)
    with refused(InvalidArgument, "trials 0"):
        tune_method("scrub", rehearsal, budget=0.1, trials=0)


@pytest.mark.parametrize("cut", range(9))
def test_one_method_goes_on_where_it_was_cut(rehearsal: Rehearsal, cut: int) -> None:
    rehearsal = towards(rehearsal, 3.0, 3.0)
    told: list[KeptTrial] = []
    whole = entry_of(Stretched, rehearsal, budget=0.1, trials=6, seed=2, on_trial=told.append)
    assert len(told) == 8  # six trials, and two on the second set
    again: list[KeptTrial] = []
    entry = entry_of(Stretched, rehearsal, budget=0.1, trials=6, seed=2, kept=told[:cut], on_trial=again.append)
    assert timeless(entry) == timeless(whole)
    assert timeless(list(map(to_plain, again))) == timeless(list(map(to_plain, told[cut:])))


def test_kept_trials_of_others_are_refused(rehearsal: Rehearsal, refused: Refused) -> None:
    told: list[KeptTrial] = []
    tune_method(Stretched, rehearsal, budget=0.1, trials=2, seed=0, on_trial=told.append)
    with refused(DataError, "of the method 'scrub'"):
        tune_method(Stretched, rehearsal, budget=0.1, trials=2, kept=[replace(told[0], method="scrub")])
    with refused(DataError, "'third'"):
        from_plain(KeptTrial, {**to_plain(told[0]), "stage": "third"}, "a trial")
    with refused(RunError, "kept with the fields"):
        tune_method(Stretched, rehearsal, budget=0.1, trials=2, kept=[replace(told[0], fields={"factor": 2.0})])


# The file.


@pytest.fixture(scope="module")
def tuning(rehearsal: Rehearsal) -> Tuning:
    names = ("saliency-unlearning", "fine-tune", "neural-tangent-kernel")
    entries = [tune_method(name, rehearsal, budget=0.1, trials=5, seed=0) for name in names]
    return tuning_of(rehearsal, entries, budget=0.1, trials=5, seed=0)


def test_it_is_read_back_as_written(tuning: Tuning, rehearsal: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "tuning.json").write_text(write_document(tuning))
    assert read_tuning(tmp_path / "tuning.json") == tuning
    late = json.loads(write_document(tuning))
    late["methods"][0]["trials"][0]["seconds"] += 1.0
    late["cost"]["seconds"] = 99.0
    assert resigned(late)["digest"] == tuning.digest
    late["methods"][0]["trials"][0]["example_steps"] += 1.0
    assert resigned(late)["digest"] != tuning.digest
    method, told = chosen_entry(tuning, "salun")
    entry = tuning.methods[0]
    assert method.told == told.method == MethodFile(name="saliency-unlearning", fields=entry.chosen.fields)
    assert entry.chosen.choice.score is not None
    assert told.score == entry.chosen.choice.score.value
    assert told.score <= (told.default_score or 0.0)
    assert entry.chosen.transfer is not None
    assert entry.chosen.transfer.score is not None
    assert told.transfer_score == entry.chosen.transfer.score.value
    assert (told.trials, told.size, told.kind, told.mode) == (5, 80, "random", "rehearsal")
    assert tuning.cost.twins == sum(twin.example_steps for twin in rehearsal.twins)
    assert str(tmp_path) not in write_document(tuning)


def resigned(content: dict[str, Any]) -> dict[str, Any]:
    told = timeless({name: value for name, value in content.items() if name != "digest"})
    return {**content, "digest": sha256(Tuning.FORMAT.encode(), canonical_json(told)).hex()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not readable"),
        ("[]", "an object"),
        ("{}", "not a tuning"),
        ('{"format": "expunge/tuning/1"}', "digest"),
        ('{"format": "expunge/tuning/1", "Bad key": 1}', "altered"),
        ('{"format": "expunge/tuning/1", "a": 1, "a": 2}', "repeats a key"),
        ('{"format": "expunge/tuning/1", "a": 1e999}', "not a number"),
        ('{"format": "expunge/tuning/1", "a": ' + "[" * 40 + "]" * 40 + "}", "deeper"),
        ('{"format": "expunge/tuning/2"}', "'expunge/tuning/2'"),
    ],
)
def test_files_that_are_no_tuning(text: str, words: str, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "tuning.json").write_text(text)
    with refused(DataError, words, "tuning.json"):
        read_tuning(tmp_path / "tuning.json")


def altered(tuning: Tuning, *where: str | int, value: Any) -> dict[str, Any]:
    found = json.loads(write_document(tuning))
    inner = found
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    return found


def test_altered_files_are_refused(tuning: Tuning, refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(plain_json(altered(tuning, "methods", 0, "chosen", "fields", "keep", value=0.9)))
    with refused(DataError, "its digest is not that of its content"):
        read_tuning(path)
    path.write_text(plain_json(resigned(altered(tuning, "mode", value="guess"))))
    with refused(DataError, "mode 'guess'"):
        read_tuning(path)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("methods",), None),
        (("methods",), [3]),
        (("methods", 0, "chosen"), "scrub"),
        (("methods", 0, "chosen", "fields"), [1]),
        (("methods", 0, "chosen", "choice", "score"), {}),
        (("methods", 0, "chosen", "choice", "score", "value"), "much"),
        (("methods", 0, "transferred"), "perhaps"),
        (("methods", 0, "trials"), 5),
        (("rehearsal",), {}),
        (("rehearsal", "sets"), []),
        (("budget",), "a tenth"),
    ],
)
def test_files_with_holes_are_refused(
    tuning: Tuning, where: tuple, value: Any, refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "tuning.json").write_text(plain_json(resigned(altered(tuning, *where, value=value))))
    with refused(DataError, "tuning.json", str(where[0]), "the file was altered"):
        read_tuning(tmp_path / "tuning.json")


def test_chosen_fields_that_are_none_are_refused(tuning: Tuning, refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(plain_json(resigned(altered(tuning, "methods", 0, "chosen", "fields", value={"kept": 1}))))
    with refused(DataError, "the tuning was altered", "'saliency-unlearning'"):
        chosen_entry(read_tuning(path), "saliency-unlearning")


@pytest.mark.parametrize("told", [{}, {"score": 1}, {"score": 3}])
def test_a_tuning_of_another_score_is_read_and_not_used(
    tuning: Tuning, told: dict[str, int], refused: Refused, tmp_path: Path
) -> None:
    """Files of earlier releases name no score."""
    content = json.loads(write_document(tuning))
    assert content.pop("score") == 2
    (tmp_path / "tuning.json").write_text(plain_json(resigned({**content, **told})))
    old = read_tuning(tmp_path / "tuning.json")
    with refused(InvalidArgument, f"by score {told.get('score', 1)}, now it is 2", "prepare again by `expunge tune`"):
        chosen_entry(old, "salun")


def test_a_method_that_was_not_tuned(tuning: Tuning, refused: Refused) -> None:
    with refused(InvalidArgument, "nothing of the method 'scrub'", "fine-tune"):
        chosen_entry(tuning, "scrub")


# Unlearning with tuned fields.


def test_the_run_says_how_its_fields_were_chosen(played: Play, tuning: Tuning, tmp_path: Path) -> None:
    method, told = chosen_entry(tuning, "salun")

    def forget(out: str, **more: Any) -> Run:
        given = {"method": method, "data": played.rows, "out": tmp_path / out, **more}
        return unlearn(played.run, "random:10%:1", **given)

    run = forget("tuned", tuning=told)
    assert run_json(run)["untuned"] is False
    assert run.told.tuning == told
    assert run_json(run)["request"]["tuning"] == tuning.digest
    by_hand = forget("by-hand")
    assert run_json(by_hand)["untuned"] is True
    assert "tuning" not in run_json(by_hand)
    assert by_hand.weights_digest == run.weights_digest  # fields are fields
    assert run_json(forget("tuned", tuning=told)) == run_json(run)
    with pytest.raises(RunError, match="holds another run"):
        forget("tuned")
    with pytest.raises(RunError, match="holds another run"):
        forget("tuned", tuning=replace(told, digest="0" * 64))
    still = unlearn(
        played.run, "random:3:1", method="neural-tangent-kernel", data=played.rows, out=tmp_path / "ntk", budget=2.0
    )
    assert run_json(still)["untuned"] is False
    assert run_json(still)["tuning"] == {"state": "nothing to tune"}
    exact = unlearn(played.run, "random:3:1", data=played.rows, out=tmp_path / "exact")
    assert run_json(exact)["untuned"] is False
    assert "tuning" not in run_json(exact)


def test_a_tuning_serves_its_own_request_alone(
    played: Play, data: Dataset, tuning: Tuning, tmp_path: Path, refused: Refused, pictures_like: Pictures
) -> None:
    method, told = chosen_entry(tuning, "salun")
    out = tmp_path / "out"

    def forget(run: Run = played.run, rules: str = "random:9:1", rows: Any = played.rows, **more: Any) -> Run:
        return unlearn(run, rules, **{"method": method, "tuning": told, "data": rows, "out": out, **more})

    with refused(InvalidArgument, "budget of 0.1, asked for is 0.05"):
        forget(budget=0.05)
    with refused(InvalidArgument, "kind 'random', this one is of the kind 'class'", "`kind` class"):
        forget(rules="class:1")
    with refused(InvalidArgument, "take the method from the tuning"):
        forget(method=replace(method, rate=0.5))  # pyright: ignore[reportCallIssue]
    longer = train(data, out=tmp_path / "longer", recipe=replace(played.run.recipe, epochs=5))
    with refused(InvalidArgument, "made for the recipe"):
        forget(longer)
    other = pictures_like(rows=500, people=50, seed=9)
    elsewhere = train(other, out=tmp_path / "elsewhere", recipe=played.run.recipe)
    with refused(InvalidArgument, "made on the data set"):
        forget(elsewhere, rows=other)
    assert not out.exists()
    sibling = train(data, out=tmp_path / "sibling", recipe=replace(played.run.recipe, seed=1))
    assert run_json(forget(sibling))["untuned"] is False  # the seed of the training is left aside


# The folder.


def killed(folder: Path, target: Path, size: int) -> Path:
    """What a process leaves that is killed when so many bytes of its trials are written."""
    shutil.copytree(folder, target)
    (target / "tuning.json").unlink()
    content = (target / "trials.jsonl").read_bytes()
    (target / "trials.jsonl").write_bytes(content[:size])
    if b"\n" not in content[:size]:
        for number in (1, 2, 3, 4):
            shutil.rmtree(target / f"twin-{number}")
    elif size % 2:
        shutil.rmtree(target / "twin-3")
    return target


def test_killed_at_any_byte_it_ends_in_the_same(played: Play, tmp_path: Path) -> None:
    def go(folder: Path) -> Any:
        made = tune(
            played.run,
            ["scrub", "salun"],
            out=folder,
            size="15%",
            avoid=["subject:someone-03"],
            trials=4,
            seed=5,
            data=played.rows,
        )
        return to_plain(made)

    whole = go(tmp_path / "whole")
    content = (tmp_path / "whole" / "trials.jsonl").read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == 1 + 2 * (4 + 2) - sum(entry["chosen"]["trial"] == 0 for entry in whole["methods"])
    for number, size in enumerate((0, 9, ends[0], ends[2], ends[2] + 31, ends[4], ends[5] + 1, ends[-1] - 1, ends[-1])):
        folder = killed(tmp_path / "whole", tmp_path / f"killed-{number}", size)
        assert timeless(go(folder)) == timeless(whole)
        written = to_plain(read_tuning(folder / "tuning.json"))
        assert (written["digest"], timeless(written)) == (whole["digest"], timeless(whole))
        lines = [timeless(json.loads(line)) for line in (folder / "trials.jsonl").read_bytes().splitlines()]
        assert lines == [timeless(json.loads(line)) for line in content.splitlines()]
    before = (tmp_path / "whole" / "tuning.json").read_bytes()
    assert go(tmp_path / "whole") == whole
    assert (tmp_path / "whole" / "tuning.json").read_bytes() == before
    twin = Run.open(tmp_path / "whole" / "twin-1")
    person = np.flatnonzero(np.array(played.rows[Split.TRAIN].subjects) == "someone-03")
    assert set(person) <= set(twin.tombstones)
    assert whole["rehearsal"]["avoid"]["count"] == len(person)
    assert whole["rehearsal"]["avoid_left_out"] is True


def test_folders_that_are_not_its_own(played: Play, tmp_path: Path, refused: Refused) -> None:
    def go(folder: Path, **change: Any) -> None:
        tune(played.run, **{"named": "fine-tune", "out": folder, "trials": 1, "data": played.rows, **change})

    out = tmp_path / "out"
    go(out)
    for change, named in (
        ({"trials": 2}, "trials"),
        ({"size": "9"}, "size"),
        ({"seed": 1}, "seed"),
        ({"budget": 0.2}, "budget"),
    ):
        with refused(RunError, "holds another tuning", f"another {named} than"):
            go(out, **change)
    go(out, named=["fine-tune", "ft", "scrub"])  # more methods may be added
    assert [entry.method for entry in read_tuning(out / "tuning.json").methods] == ["fine-tune", "scrub"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with refused(RunError, "'notes.txt'", "not a tuning"):
        go(tmp_path / "other")
    with (out / "trials.jsonl").open("a") as handle:
        handle.write("3\n")
    with refused(RunError, "is no trial"):
        go(out)


def test_methods_that_are_named(played: Play, tmp_path: Path, refused: Refused) -> None:
    for named, words in (
        (["exact-replay"], "'exact-replay' has no budget"),
        (["scrubb"], "did you mean"),
        ([], "no method"),
    ):
        with refused(InvalidArgument, words):
            tune(played.run, named, out=tmp_path / "out", data=played.rows)
    found = tune(played.run, "all", out=tmp_path / "out", data=played.rows, trials=1)
    names = [entry.method for entry in found.methods]
    assert "retrain" not in names
    assert {"scrub", "neural-tangent-kernel", "impair-repair"} <= set(names)


def test_nothing_is_trained_in_vain(data: Dataset, tmp_path: Path, refused: Refused) -> None:
    run = train(data, out=tmp_path / "run", model="mlp", epochs=1, shards=2)
    with refused(UnsupportedYet, "2 shards"):
        tune(run, "scrub", out=tmp_path / "out", data=data)
    assert not (tmp_path / "out").exists()


def test_tuned_on_the_reference(played: Play, tmp_path: Path) -> None:
    rules = ["random:20:3"]
    references = [
        unlearn(played.run, rules, method=Retrain(training_seed=seed), out=tmp_path / f"r{seed}", data=played.rows)
        for seed in (4, 5)
    ]
    found = tune(
        played.run, "salun", out=tmp_path / "tuning", data=played.rows, trials=3, oracle=Oracle(references, rules)
    )
    assert found.mode == "oracle"
    assert len(found.twins) == 2
    (entry,) = found.methods
    assert entry.transferred is None
    assert entry.chosen.transfer is None
    method, told = chosen_entry(found, "salun")
    run = unlearn(played.run, rules, method=method, tuning=told, out=tmp_path / "run", data=played.rows)
    assert run_json(run)["untuned"] is False
    assert run_json(run)["tuning"]["mode"] == "oracle"
