"""The search: finds a planted optimum, goes on where it was cut off, ranks what must not be chosen behind the rest."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from tests.conftest import Refused

from expunge.core.errors import DataError, InvalidArgument, NotInstalled, RunError
from expunge.methods.contract import Given, Method, Need, Outcome
from expunge.methods.fields import Among, Between, searches, tuned
from expunge.methods.lookup import methods
from expunge.records.form import from_plain, to_plain
from expunge.records.tuning import Attempt, Score, TuningTrial, attempted
from expunge.study.search import INADMISSIBLE, Space, Tried, best, rank, search


class Flavour(Enum):
    PLAIN = "plain"
    SALTED = "salted"


@dataclass(frozen=True, kw_only=True)
class Planted(Method):
    """Its best fields are known; nobody ever calls it."""

    name = "planted"
    needs = frozenset({Need.FORGET})
    rate: float = tuned(0.1, Between(1e-4, 1.0))
    limit: float = tuned(1.0, Between(0.1, 10.0, times="rate"))
    flavour: Flavour = tuned(Flavour.PLAIN, Among((Flavour.PLAIN, Flavour.SALTED)))  # noqa: RUF009 - as every tuned field
    passes: int = tuned(2, Between(1, 8, log=False))
    fixed: float = 7.0

    def unlearn(self, given: Given) -> Outcome:
        raise AssertionError("not called in these tests")


@dataclass(frozen=True, kw_only=True)
class Few(Planted):
    """Two choices and nothing else."""

    name = "few"
    rate: float = 0.1
    limit: float = 1.0
    passes: int = 2


def attempt_of(value: float | None, short: float = 0.0) -> Attempt:
    score = None if value is None else Score(value, {"forget": value}, 0.9 - short, short)
    failure = "refused" if value is None else None
    return attempted(score, failure, example_steps=3.0, scoring=1.0, seconds=0.5)


def distance(made: Method) -> float:
    """0 at rate .003, limit 4 rates, salted, 6 passes; 1 or more where the default is."""
    assert isinstance(made, Planted)
    off = abs(math.log10(made.rate / 0.003)) + abs(math.log10(made.limit / made.rate / 4))
    return off + (made.flavour is Flavour.PLAIN) + abs(made.passes - 6) / 4


def near(made: Method) -> Attempt:
    return attempt_of(distance(made))


def test_it_finds_what_was_planted() -> None:
    found = search(Planted, near, trials=60, seed=1)
    assert found[0].trial.fields == Planted().told.fields
    chosen = best(found)
    assert chosen is not None
    assert chosen.trial.score is not None
    assert chosen.trial.score.value < 0.6 < 3 < distance(Planted())
    assert chosen.trial.fields["flavour"] == "salted"
    assert chosen.trial.fields["fixed"] == 7.0
    assert {type(tried.trial.fields["passes"]) for tried in found} == {int}
    for tried in found:
        assert isinstance(tried.made, Planted)
        assert 0.099 <= tried.made.limit / tried.made.rate <= 10.01
        assert 1e-4 <= tried.made.rate <= 1
    informed = sum(rank(tried.trial) for tried in found[30:])
    assert informed < sum(rank(tried.trial) for tried in found[1:31])  # it learns


def test_same_seed_same_fields() -> None:
    first, second, other = (search(Planted, near, trials=12, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first[0] == other[0]
    assert first[1:] != other[1:]


def mixed(made: Method) -> Attempt:
    """Scores, missing accuracy and failures."""
    assert isinstance(made, Planted)
    value = distance(made)
    if made.passes % 3 == 0:
        return attempt_of(None)
    return attempt_of(value, short=0.02 * value if made.flavour is Flavour.SALTED else 0.0)


@pytest.mark.parametrize("cut", range(16))
def test_an_interrupted_search_goes_on_to_the_same(cut: int) -> None:
    whole = search(Planted, mixed, trials=15, seed=4)
    kept = [from_plain(TuningTrial, json.loads(json.dumps(to_plain(tried.trial))), "it") for tried in whole[:cut]]
    told: list[TuningTrial] = []
    again = search(Planted, mixed, trials=15, seed=4, kept=kept, on_trial=told.append)
    assert again == whole
    assert told == [tried.trial for tried in whole[cut:]]


def test_kept_trials_must_be_those_of_this_search(refused: Refused) -> None:
    whole = [tried.trial for tried in search(Planted, near, trials=4, seed=0)]
    with refused(DataError, "4 trials are kept, 3 were asked for"):
        search(Planted, near, trials=3, seed=0, kept=whole)
    with refused(RunError, "trial 1 of planted", "choose a new `out`"):
        search(Planted, near, trials=4, seed=1, kept=whole)


@pytest.mark.parametrize(
    "change",
    [
        {"index": "1"},
        {"index": True},
        {"fields": 3},
        {"score": {"value": 1.0}},
        {"score": None},
        {"score": {"value": 1.0, "parts": {"elsewhere": 1.0}, "accuracy": 1.0, "short": 0.0}},
        {"state": "failed"},
        {"reason": "none"},
        {"example_steps": None},
    ],
)
def test_altered_trials_are_refused(change: dict[str, Any], refused: Refused) -> None:
    trial = to_plain(search(Planted, near, trials=1, seed=0)[0].trial)
    assert to_plain(from_plain(TuningTrial, {**trial, "more": 1}, "a trial")) == {**trial, "more": 1}
    with refused(DataError, "a trial", "altered"):
        from_plain(TuningTrial, {**trial, **change}, "a trial")


def test_what_must_not_be_chosen_ranks_behind() -> None:
    failed, short, shorter, poor, good = (
        attempt_of(None),
        attempt_of(0.0, short=0.2),
        attempt_of(0.0, short=0.1),
        attempt_of(1e9),
        attempt_of(0.5),
    )
    ranks = [rank(attempt) for attempt in (good, poor, shorter, short, failed)]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == 5
    assert all(math.isfinite(value) for value in ranks)
    assert rank(poor) <= INADMISSIBLE < rank(shorter)

    def tried(index: int, attempt: Attempt) -> Tried:
        return Tried(TuningTrial(index=index, fields={}, repeats=None, **vars(attempt)), Planted())

    listed = [tried(index, attempt) for index, attempt in enumerate((failed, short, poor, good, good))]
    chosen = best(listed)
    assert chosen is not None
    assert chosen.trial.index == 3  # the earlier of equals
    assert best(listed[:2]) is None


def test_the_sampler_keeps_away_from_what_is_inadmissible() -> None:
    """High rates score best and spoil the model: the search must end at admissible ones."""

    def spoiling(made: Method) -> Attempt:
        assert isinstance(made, Planted)
        return attempt_of(1 / made.rate, short=max(0.0, made.rate - 0.01))

    found = search(Planted, spoiling, trials=40, seed=0)
    late = [tried.trial.state for tried in found[20:]]
    assert late.count("admissible") > 12
    chosen = best(found)
    assert chosen is not None
    assert 1e-3 < chosen.trial.fields["rate"] <= 0.01


def test_the_same_fields_are_not_attempted_twice() -> None:
    asked: list[Method] = []

    def counted(made: Method) -> Attempt:
        asked.append(made)
        return near(made)

    told: list[TuningTrial] = []
    found = [tried.trial for tried in search(Few, counted, trials=10, seed=0, on_trial=told.append)]
    assert len(found) == len(told) == 10
    assert len(asked) == len(set(asked)) == 2
    for trial in found:
        if trial.repeats is not None:
            assert trial.fields == found[trial.repeats].fields
            assert trial.score == found[trial.repeats].score
            assert trial.example_steps == trial.scoring == 0
    assert sum(trial.repeats is None for trial in found) == 2


def test_a_default_outside_its_range_is_still_the_first_trial() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Outside(Planted):
        name = "outside"
        rate: float = tuned(50.0, Between(1e-4, 1.0))

    assert Space(Outside).drawn(Outside()) is None
    found = [tried.trial for tried in search(Outside, near, trials=3, seed=0)]
    assert found[0].fields["rate"] == 50.0
    assert all(trial.fields["rate"] <= 1 for trial in found[1:])


@pytest.mark.parametrize("name", [name for name, method in methods().items() if searches(method)])
def test_every_method_of_the_table_can_be_searched(name: str) -> None:
    """Its default lies in its ranges, and whatever is drawn is accepted by its own rules."""
    kind = methods()[name]
    space = Space(kind)
    drawn = space.drawn(kind())
    assert drawn is not None
    assert space.make(drawn) == kind()
    made: list[Method] = []

    def note(method: Method) -> Attempt:
        made.append(method)
        return attempt_of(1.0)

    search(kind, note, trials=15, seed=0)
    assert made


@pytest.mark.parametrize(("trials", "seed", "words"), [(0, 0, "trials 0"), (10_001, 0, "10000"), (1, -1, "seed -1")])
def test_what_cannot_be_searched(trials: int, seed: int, words: str, refused: Refused) -> None:
    with refused(InvalidArgument, words):
        search(Planted, near, trials=trials, seed=seed)


def test_without_optuna_one_sentence(monkeypatch: pytest.MonkeyPatch, refused: Refused) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with refused(NotInstalled, "needs the package optuna", "expunge[tune]"):
        search(Planted, near, trials=2, seed=0)


def test_optuna_keeps_quiet_and_its_voice_comes_back(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before: Callable[[], int] = optuna.logging.get_verbosity
    level = before()
    search(Planted, near, trials=4, seed=0)
    assert before() == level
    assert capfd.readouterr() == ("", "")
