"""What a certificate says for somebody who has read no guide: title, ladder, and the questions to ask."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.verify.certified import commitment, digest, life, make_bundle, request, run_record

from expunge.core.clock import Time
from expunge.records.bundle import open_bundle
from expunge.records.catalogue import METHOD_ROWS, Execution
from expunge.records.certificate import Certificate, Climb
from expunge.records.keys import KeyRole, SigningKey, TrustedKey, load_trusted
from expunge.records.limits import Code
from expunge.records.record import (
    Algorithm,
    AuditWindow,
    BeaconPart,
    GuaranteeKind,
    GuaranteePart,
    Initiator,
    Operation,
    ProfileName,
    Randomness,
    Retired,
    RunRecord,
)
from expunge.records.statement import Statement
from expunge.records.verdict import Caveat, Level, Verdict, holds, refused_finding, undecided
from expunge.verify.certificate import certificate
from expunge.verify.people import people_of
from expunge.verify.summary import WORKS, day
from expunge.verify.verify import verify

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
V0, V1, V2, V3, V4 = Level
SEEN = "NOT proof that the training ran as told"
EMPIRICAL = GuaranteePart(kind=GuaranteeKind.EMPIRICAL)


def reached(level: Level, *more: Any, asked: Level | None = None) -> Verdict:
    findings = [holds(one.name, one, "as it should be") for one in Level if one <= level]
    return Verdict(asked=asked or level, findings=(*findings, *more))


def last(chain: Sequence[Statement]) -> RunRecord:
    found = chain[-1].predicate
    assert isinstance(found, RunRecord)
    return found


def own_steps(**changes: Any) -> tuple[Statement, ...]:
    """A life whose last run was an approximate method's."""
    method = Algorithm(name="fine-tune", version="1", fields={}, package=digest("package"))
    return life(checkpoints=None, algorithm=method, guarantee=EMPIRICAL, execution=Execution.OWN_STEPS, **changes)


def adopted() -> tuple[Statement, ...]:
    first, trained, forgot = own_steps()
    record = trained.predicate
    assert isinstance(record, RunRecord)
    return first, replace(trained, predicate=replace(record, operation=Operation.ADOPT)), forgot


@pytest.fixture
def told(tmp_path: Path, owner: SigningKey) -> Any:
    """``told(chain, verdict)``: the certificate of a bundle that is made for it."""

    def build(chain: Sequence[Statement], verdict: Verdict | None = None, **more: Any) -> Certificate:
        place = tmp_path / str(len(list(tmp_path.iterdir()))) / "bundle"
        with open_bundle(make_bundle(place, chain, owner, witness=more.pop("witness", None))) as bundle:
            return certificate(bundle, verdict, **more)

    return build


def golden(name: str) -> Certificate:
    place, keys = GOLDEN / "bundles" / name, load_trusted(GOLDEN / "keys" / "trusted.json")
    verdict = verify(place, keys=keys)
    with open_bundle(place) as bundle:
        return certificate(bundle, verdict, keys)


# Title and first sentence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bundle", "title", "summary"),
    [
        (
            "plain",
            "Forgetting of 19 rows of 11 people from the model mlp, 1 December 2026",
            "By this record 19 of 192 training rows are forgotten (rows of 11 people, 11 of whom keep others here): "
            "the method exact-replay took the training up where no state had seen them, and carried it on without "
            "them.",
        ),
        (
            "twice",
            "Forgetting of 13 rows of 1 person from the model mlp, 1 December 2026",
            "By this record 13 of 192 training rows are forgotten (all rows of 1 person): the method exact-replay took "
            "the training up where no state had seen them, and carried it on without them. With earlier requests it is "
            "32 rows in all.",
        ),
        (
            "own-steps",
            "Forgetting of 19 rows of 11 people from the model mlp, 1 December 2026",
            "By this record 19 of 192 training rows are to be forgotten (rows of 11 people, 11 of whom keep others "
            "here): the method fine-tune changed the weights of the finished model, and is approximate.",
        ),
        (
            "training",
            "Training of the model mlp on 192 rows, 1 December 2026",
            "By this record the model was trained on 192 rows; nothing was forgotten.",
        ),
    ],
)
def test_the_title_says_how_many_rows_of_how_many_people_of_which_model_and_when(
    bundle: str, title: str, summary: str
) -> None:
    found = golden(bundle)
    assert ("".join(found.title), found.summary) == (title, summary)
    units = np.fromfile(GOLDEN / "bundles" / bundle / "units.bin", dtype="<u8").tolist()
    before = found.chain[-2].statement.predicate
    earlier = before.data.tombstones if isinstance(before, RunRecord) else ()
    people = {units[slot] for slot in found.run.data.tombstones if slot not in earlier}
    assert (found.forgotten.people or 0) == len(people)


def test_a_retraining_and_a_training_without_rows_are_called_what_they_are(told: Any) -> None:
    trained = run_record(Operation.TRAIN, "train", (3, 17), requests=(request((3, 17), model=None),))
    found = told((commitment(), Statement(name="a model", digest=digest("m"), predicate=trained)))
    assert "".join(found.title) == "Training of the model a model without 2 rows, 3 February 2026"
    assert found.summary == "By this record the model was trained without 2 of 1,438 training rows."
    retrained = replace(trained, operation=Operation.RETRAIN, algorithm=replace(trained.algorithm, name="retrain"))
    found = told((commitment(), Statement(name="a model", digest=digest("m"), predicate=retrained)))
    assert "".join(found.title).startswith("Forgetting of 2 rows from the model a model")
    assert "the method retrain trained the model again from the start without them" in found.summary
    taken = replace(trained, operation=Operation.ADOPT)
    found = told((commitment(), Statement(name="a model", digest=digest("m"), predicate=taken)))
    assert "".join(found.title) == "Model a model, trained elsewhere without 2 rows and taken over, 3 February 2026"
    assert "trained elsewhere, by its owner’s word, without 2 of 1,438 training rows" in found.summary
    foreign = life(algorithm=replace(last(life()).algorithm, source=digest("source")))
    assert "the method exact-replay, whose code is not built in, changed the weights" in told(foreign).summary


def test_every_method_that_can_earn_more_than_tests_is_said_in_words() -> None:
    assert set(WORKS) == {row.name for row in METHOD_ROWS} - {"train"}
    assert [day(Time(f"2026-{month}-0{month[-1]}T00:00:00Z")) for month in ("01", "12")] == [
        "1 January 2026",
        "2 December 2026",
    ]


def test_whose_rows_are_is_counted_as_a_plain_loop_counts_it() -> None:
    chance = random.Random(5)
    for _ in range(200):
        units = [chance.randrange(6) for _ in range(chance.randrange(1, 20))]
        emptied = sorted(chance.sample(range(len(units)), chance.randrange(1, len(units) + 1)))
        slots = chance.sample(emptied, chance.randrange(1, len(emptied) + 1))
        found = people_of(slots, emptied, np.array(units, dtype="<u8"))
        if len(set(units)) == len(units):
            assert found is None
            continue
        theirs, stay = {units[slot] for slot in slots}, Counter(units) - Counter(units[slot] for slot in emptied)
        assert found is not None
        assert (found.count, found.in_part) == (len(theirs), len(theirs & set(stay)))
        assert found.rows == sum(unit in theirs for unit in units)


# The ladder ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", list(Level))
def test_the_rungs_that_were_climbed_and_the_next(level: Level, told: Any) -> None:
    found = told(life(), reached(level))
    assert [rung.level for rung in found.ladder] == list(Level)
    assert [rung.climb for rung in found.ladder] == [Climb.CLIMBED] * (level + 1) + [Climb.UNTRIED] * (V4 - level)
    assert all(rung.shows.startswith("It is shown that") == (rung.climb is Climb.CLIMBED) for rung in found.ladder)
    assert ("would" in found.left_open) == (level < V4)
    if level < V4:
        assert f"{Level(level + 1).name} would " in found.left_open
    assert (SEEN in found.checked.in_short) == (level is V1)
    assert ("nothing was checked of what the records say" in found.checked.in_short) == (level is V0)
    assert ("ran as told" in found.checked.in_short.replace(SEEN, "")) == (level >= V3)
    assert ("no step of it was carried out again" in found.left_open) == (level is V1)


def test_nothing_is_climbed_where_nothing_was_checked_and_refusals_stop(told: Any) -> None:
    unchecked = told(life())
    assert {rung.climb for rung in unchecked.ladder} == {Climb.UNTRIED}
    assert "V0 would compare signatures" in unchecked.left_open
    broken = refused_finding("steps", V1, Code.SCHEDULE_BATCH_MISMATCH, "step 17 had another member")
    refused = told(life(), reached(V0, broken, broken, asked=V3))
    climbs = [Climb.CLIMBED, Climb.REFUSED, Climb.UNTRIED, Climb.UNTRIED, Climb.UNTRIED]
    assert [rung.climb for rung in refused.ladder] == climbs
    assert refused.left_open.endswith("V1 was tried, and refused.")
    said = "A step was carried out with other members: step 17 had another member. And 1 more, below."
    assert refused.checked.in_short == said
    assert refused.standing == "claimed by a refused record"
    doubt = undecided("environment", V2, "environment-mismatch", "this machine is not the record's (x)")
    open_ = told(life(), reached(V1, doubt, asked=V3))
    assert open_.ladder[2].climb is Climb.UNDECIDED
    assert open_.left_open.endswith("V2 was tried, and left undecided.")
    assert "does not compute like the one that the record names" in open_.checked.in_short
    assert "neither a pass nor a refusal" in open_.checked.in_short
    assert SEEN in open_.checked.in_short
    lacking = undecided("steps", V1, "evidence-missing", "trace.bin is missing")
    assert told(life(), reached(V0, lacking, asked=V1)).checked.in_short.startswith("Trace.bin is missing. That is")
    short = Verdict(asked=V3, findings=reached(V1).findings)
    assert "Not all that V3 asks for was looked at" in told(life(), short).checked.in_short


def test_rungs_that_nobody_can_climb_say_why(told: Any) -> None:
    def beyond(chain: Sequence[Statement]) -> tuple[list[str], str]:
        found = told(chain, reached(V1))
        assert found.highest == max(rung.level for rung in found.ladder if rung.climb is not Climb.BEYOND)
        shut = [rung for rung in found.ladder if rung.climb is Climb.BEYOND]
        commands = [step.level for step in found.verification]
        assert not set(commands) & {rung.level.name for rung in shut}, "no command for what cannot be had"
        return [rung.level.name for rung in shut], "".join({rung.shows.split(": ")[1] for rung in shut})

    above = ["V2", "V3", "V4"]
    assert beyond(life()) == ([], "")
    assert beyond(adopted()) == (above, "the model was trained elsewhere, and nothing of that training is on record.")
    assert beyond(own_steps())[0] == ["V4"]
    assert beyond(life(checkpoints=None)) == (above, "nothing was recorded that could be carried out again.")
    loose = replace(last(life()).environment, profile=ProfileName.TOLERANT)
    assert beyond(life(environment=loose))[0] == above
    assert beyond(life(environment=replace(last(life()).environment, not_exact="two threads")))[0] == above
    assert "Nobody can climb V2" in told(adopted(), reached(V1)).left_open


def test_a_method_that_ran_as_told_is_not_said_to_have_forgotten(told: Any) -> None:
    found = told(own_steps(), reached(V3))
    assert found.checked.in_short.endswith("That is NOT proof that it forgot.")
    assert "NOT proof that the method ran as told" in told(own_steps(), reached(V1)).checked.in_short
    assert "how the weights came about that the method began with" in found.left_open
    assert SEEN in told(adopted()[:2], reached(V1)).checked.in_short, "taking a model over is no method"
    based = replace(last(life()).guarantee, base=digest("base"))
    assert "What the base saw before is not covered." in told(life(guarantee=based), reached(V4)).checked.in_short
    foreign = replace(last(life()).environment, factory="ab" * 32)
    assert "model code carries besides is not covered" in told(life(environment=foreign), reached(V4)).checked.in_short


def test_every_code_is_said_in_words() -> None:
    assert len({code.seen for code in Code}) == len(Code)
    assert all(code.seen[0].islower() and not code.seen.endswith(".") for code in Code)
    assert Code("SIZE_LIMIT") is Code.SIZE_LIMIT


# Questions ----------------------------------------------------------------------------------------------------------


def asked(found: Certificate) -> list[str]:
    assert all(one.question.endswith("?") and one.why.endswith((".", "!")) and one.whom for one in found.questions)
    return [one.word for one in found.questions]


def settled(**changes: Any) -> tuple[Statement, ...]:
    """A life that leaves as little to ask as a record can."""
    return life(retired=(Retired(what="salts"),), **changes)


def test_an_honest_record_that_was_repeated_leaves_little_to_ask(
    told: Any, owner: SigningKey, stranger: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    keys = (*trusted, stranger.trusted("witness.example", KeyRole.WITNESS))
    found = told(settled(), reached(V4), keys=keys, witness=stranger)
    assert asked(found) == ["whose-rows", "destruction-declared", "beacon-from-outside", "no-model"]
    assert "no-witness" in asked(told(settled(), reached(V4), keys=trusted, witness=stranger)), "of an unknown key"


def test_each_question_comes_of_what_the_records_or_remarks_say(told: Any) -> None:
    plain = set(asked(told(settled(), reached(V4))))
    own, environment = last(life()), last(life()).environment
    nobody = request((3, 17, 42), cases=())
    by_owner = request((3, 17, 42), cases=(), initiator=Initiator.OWNER)
    zero = Randomness(
        beacon=BeaconPart(source="zero", value=bytes(32)), derivation="expunge/seed/1", lineage_seed=digest("seed")
    )
    doubt = undecided("environment", V2, "environment-mismatch", "x")
    lacks = undecided("states", V2, "evidence-missing", "x")
    broken = refused_finding("steps", V1, Code.UNSAFE_FILE, "x")
    late = commitment(recorded_afterwards=True)
    ahead = replace(reached(V4), remarks=(Caveat("dates-ahead", "x"),))
    named = replace(EMPIRICAL, tests=("mean-margin",), confidence=0.95)
    window = AuditWindow(days=30, until=Time("2026-03-05T12:00:00Z"))
    seeded = replace(own.randomness, request_seed=7)
    for word, chain, verdict in (
        ("not-checked", settled(), None),
        ("refused", settled(), reached(V0, broken)),
        ("environment", settled(), reached(V1, doubt, asked=V3)),
        ("evidence", settled(), reached(V1, lacks, asked=V3)),
        ("replay", settled(), reached(V1)),
        ("replay", settled(), reached(V2)),
        ("no-case", settled(requests=(nobody,)), reached(V4)),
        ("owner-chose", settled(requests=(by_owner,)), reached(V4)),
        ("no-receipt", settled(requests=(request((3, 17, 42), receipts=()),)), reached(V4)),
        ("no-evaluation", own_steps(retired=(Retired(what="salts"),)), reached(V3)),
        ("tests", settled(guarantee=named), reached(V4)),
        ("trained-elsewhere", adopted(), reached(V1)),
        ("base", settled(guarantee=replace(own.guarantee, base=digest("base"))), reached(V4)),
        ("foreign-code", settled(environment=replace(environment, factory="ab" * 32)), reached(V4)),
        ("foreign-code", settled(algorithm=replace(own.algorithm, source=digest("s"))), reached(V4)),
        ("zero-beacon", settled(randomness=zero), reached(V4)),
        ("recorded-afterwards", settled(commit=late), reached(V4)),
        ("dates-ahead", settled(), ahead),
        ("method-seed", settled(randomness=seeded), reached(V4)),
    ):
        assert word not in plain
        assert word in asked(told(chain, verdict)), word
    old = {"old-states", "window", "destruction-declared"}
    for chain, word, question in (
        (life(), "old-states", "Do older versions still exist?"),
        (settled(), "destruction-declared", "Who saw that the old states were destroyed?"),
        (life(audit_window=window), "window", "Was the old model destroyed after 2026-03-05?"),
    ):
        assert [(one.word, one.question) for one in told(chain).questions if one.word in old] == [(word, question)]
    both = settled(
        environment=replace(environment, factory="ab" * 32), algorithm=replace(own.algorithm, source=digest("s"))
    )
    (code,) = (one for one in told(both).questions if one.word == "foreign-code")
    assert code.question == "Who has read the source code of the model and method?"
    (case,) = (one for one in told(settled(requests=(by_owner,))).questions if one.word == "owner-chose")
    assert "By the record 3 rows went on the owner’s own initiative" in case.why
    assert "replay" not in asked(told(settled(), reached(V1, doubt, asked=V3))), "the machine is asked for instead"


def test_records_of_the_log_outside_the_chain_are_asked_for() -> None:
    found = golden("plain")
    (others,) = (one for one in found.questions if one.word == "other-records")
    assert found.log is not None
    assert (found.log.head.size, others.question) == (4, "What stands in 1 other record of the log?")
    assert "no-witness" in asked(found)


def test_a_training_is_not_asked_what_only_forgetting_is(told: Any) -> None:
    words = set(asked(told(life()[:2], reached(V4))))
    assert not words & {
        "no-case",
        "owner-chose",
        "no-receipt",
        "whose-rows",
        "old-states",
        "window",
        "tests",
        "no-evaluation",
    }


def test_all_of_it_stands_in_the_json(told: Any) -> None:
    found = told(life(), reached(V1))
    facts = found.as_json()
    assert facts["title"] == "Forgetting of 3 rows from the model digits classifier, 3 February 2026"
    assert (facts["summary"], facts["left_open"]) == (found.summary, found.left_open)
    assert facts["guarantee"]["standing"] == "claimed"
    assert [(rung["level"], rung["climb"]) for rung in facts["ladder"]] == [
        ("V0", "climbed"),
        ("V1", "climbed"),
        ("V2", "not tried"),
        ("V3", "not tried"),
        ("V4", "not tried"),
    ]
    assert [one["word"] for one in facts["questions"]] == asked(found)
    assert facts["checked"]["in_short"] == found.checked.in_short
    assert (facts["forgotten"]["newly"], facts["forgotten"]["people"]) == (3, None)
