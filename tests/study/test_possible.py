"""What a request can come to: said first, right about what is there and what lacks, and quiet unless somebody asks."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import expunge
from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.study.evaluate import evaluate
from expunge.study.possible import cost, lasting, possible_of
from expunge.study.references import possible, references, witnesses
from expunge.train.run import Run

EXACTLY = r"exact-replay gives the bits of retraining for (\d+)% of its work on this run"
Refused = Callable[..., AbstractContextManager[object]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("possible")


@pytest.fixture(scope="module")
def base(place: Path) -> Run:
    return expunge.train("digits", model="mlp", model_options={"width": 8}, epochs=1, rows=300, out=place / "base")


def test_few_rows_are_told_that_no_test_can_decide_and_what_can_be_done(base: Run) -> None:
    others = "forget several people in one run, or pool runs of one method"
    for rule, rows, whom in (("random:2:1", 2, "so few"), ("random:12:1", 12, "so few")):
        said = str(possible(base, rule, method="fine-tune"))
        told = f"{rows} rows: no test can decide for {whom} (20 rows are needed), and more references would not help; "
        assert re.fullmatch(f"{re.escape(told)}{EXACTLY}, or {others}", said)
    assert " for one person (20" in str(replace(possible(base, "random:1:1"), one_person=True, rows=1))
    assert str(replace(possible(base, "random:2:1"), replayed=None)).endswith(f"would not help; {others}")


def test_it_is_one_person_where_one_is_named(base: Run) -> None:
    name = base.data()[next(iter(base.data()))].subjects[0]
    assert possible(base, f"subject:{name}").one_person
    assert not possible(base, [f"subject:{name}", "random:1:1"]).one_person


def test_an_exact_method_needs_no_test(base: Run) -> None:
    said = str(possible(base, "random:30:1", method="exact-replay"))
    assert re.fullmatch(f"30 rows: {EXACTLY}, so that no test is needed", said)
    assert (
        str(possible(base, "random:30:1", method="retrain")) == "30 rows: retrain is exact, so that no test is needed"
    )
    speedy = Run(base.path, replace(base.told, result=replace(base.result, exact_refused="several threads")))
    assert "a verdict needs" in str(possible(speedy, "random:30:1", method="retrain"))
    assert "exact-replay" not in str(possible(speedy, "random:2:1"))


def test_what_lacks_is_counted_by_the_meter_and_the_clock(base: Run) -> None:
    steps, seconds = base.result.example_steps, base.result.seconds
    needs = "30 rows: a verdict needs 5 references and, shared by later requests, 1 witness"
    lasts = f"about {lasting(6 * seconds)} one after another"
    whole = f"{needs}; 5 references and 1 witness to train: 6 × {steps:,.0f} example-steps, {lasts}"
    assert str(possible(base, "random:30:1")) == whole
    forget = unlearn(base, "random:30:1", method="fine-tune", out=base.path.parent / "ft").forget_set
    assert str(possible(base, forget, method="fine-tune")) == whole
    part = possible_of(base, forget, references=3, witnesses=1)
    assert str(part) == f"{needs}; 2 references to train: {cost(base, 2)}"
    assert f"1 witness to train: 1 × {steps:,.0f} example-steps, about" in str(
        possible_of(base, forget, references=5, witnesses=0)
    )
    assert (
        str(possible_of(base, forget, references=8, witnesses=4)) == f"{needs}; 8 references and 4 witnesses are there"
    )
    more = possible_of(base, forget, references=3, witnesses=1, wanted=8)
    assert f"5 references to train: {cost(base, 5)}" in str(more)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (50, "50 s"), (240, "4 min"), (5000, "83 min"), (7300, "2 h")]
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_a_request_after_another_is_counted_by_the_first_training(base: Run, place: Path) -> None:
    first = unlearn(base, "random:3:7", method="fine-tune", out=place / "first")
    assert cost(first, 2) == cost(base, 2)
    lost = replace(first.told, parent=replace(first.told.parent, path="/nowhere", relative="nowhere"))  # type: ignore[type-var]
    assert cost(Run(place / "first", lost), 2) == "2 × a training that is no longer at hand"


def test_who_cannot_have_references_trained_here_is_told_to_bring_them(
    base: Run, small_run: Run, pictures: Dataset
) -> None:
    in_memory = unlearn(small_run, "random:30:1", method="fine-tune", out=base.path.parent / "ft-m", data=pictures)
    said = str(possible(small_run, in_memory.forget_set))
    assert said.startswith("30 rows: a verdict needs 5 references and, shared by later requests, 1 witness; references")
    assert said.endswith("make them one by one, by unlearn with the method retrain and another training seed")
    adopted = replace(small_run, told=replace(small_run.told, operation="adopt", adopted=object()))
    elsewhere = str(possible(adopted, in_memory.forget_set))
    assert elsewhere.endswith("let its owner do so without these rows, and adopt that with `without`")
    few = str(possible_of(adopted, in_memory.forget_set, references=0, witnesses=0))
    assert few.endswith("6 × a training that nobody here counted")


def test_it_is_said_before_anything_is_trained(
    base: Run, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> object:
        raise AssertionError("something was trained")

    monkeypatch.setattr("expunge.study.local.LocalEngine.submit", never)
    monkeypatch.setattr("expunge.methods.fine_tune.FineTune.unlearn", never)
    said: list[str] = []
    with pytest.raises(AssertionError, match="something was trained"):
        references(base, "random:30:1", count=8, jobs=1, tell=said.append)
    with pytest.raises(AssertionError, match="something was trained"):
        witnesses(base, count=4, jobs=1, tell=said.append)
    with pytest.raises(AssertionError, match="something was trained"):
        unlearn(
            *(base, "random:2:1"),
            method="fine-tune",
            out=place / "never",
            before=lambda run, forget: said.append(str(possible(run, forget))),
        )
    assert f"8 references and 1 witness to train: {cost(base, 9)}" in said[0]
    assert said[1] == f"4 witnesses serve every request of this run; 4 to train: {cost(base, 4)}"
    assert said[2].startswith("2 rows: no test can decide")
    assert len(said) == 3
    assert capsys.readouterr().out == "", "nobody asked, nothing is printed"


def test_an_evaluation_counts_what_is_given_by_hand_once(base: Run, place: Path) -> None:
    methods = ("fine-tune", Retrain(training_seed=5))
    runs = [unlearn(base, "random:30:2", method=one, out=place / f"by-{at}") for at, one in enumerate(methods)]
    said: list[str] = []
    evaluate(runs[0], [runs[1], runs[1]], tell=said.append)
    assert said == [str(possible_of(base, runs[0].forget_set, references=1, witnesses=0))]
    evaluate(runs[1], tell=said.append)
    assert said[1] == "30 rows: retrain is exact, so that no test is needed"


def test_a_pool_tells_what_lacks_of_all_its_requests(base: Run, place: Path, refused: Refused) -> None:
    names = sorted(set(base.data()[next(iter(base.data()))].subjects))[:4]
    runs = [unlearn(base, f"subject:{name}", method="fine-tune", budget=1.0, out=place / name) for name in names]
    rows = sum(len(run.forget_set) for run in runs)
    said: list[str] = []
    found = evaluate(runs, pool=True, tell=said.append, out=place / "pooled.json")
    needs = f"{rows} rows in 4 requests: a verdict on the method needs 5 references of each and 1 witness"
    assert said == [f"{needs}; 21 to train: {cost(base, 21)}"]
    assert found.verdict.detail == "memory: needs 5 references, has 0"
    assert np.isclose(found["example-steps"].unlearned.value, sum(run.result.example_steps for run in runs))  # type: ignore[union-attr]
    with refused(InvalidArgument, "`run` names 4 runs: evaluate each by itself, or all with `pool`"):
        evaluate(runs)
    with refused(InvalidArgument, "a pool of 2 requests says nothing of a method"):
        evaluate(runs[:2], pool=True, tell=said.append)
    assert len(said) == 1, "what is refused is not promised anything"
