"""Forged logs of whole trainings: every method denies somebody, Proof-of-Learning believes it, ``verify`` does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.adversary.forging.forging_runs import Trained, trained

import expunge.adversary.forging.forge as forge_module
from expunge.adversary.forging.forge import Forging, forge, make_up
from expunge.adversary.forging.forgery import FORGERS, Forgery, forge_log
from expunge.adversary.forging.text import forging_lines, spoofing_lines
from expunge.adversary.forging.told import told_forging, told_spoofing, told_step
from expunge.adversary.pol.attacks import SPOOFS
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.attest.attest import attest
from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.data.dataset import Dataset
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle
from expunge.records.keys import load_trusted, signing_key
from expunge.records.limits import Code
from expunge.records.verdict import Level, Status
from expunge.schedule.recipe import Calendar, Optimiser
from expunge.train.run import Run
from expunge.train.trace import Trace
from expunge.train.training import train
from expunge.verify.verify import verify

CODES = {
    "greedy": (Code.SCHEDULE_BATCH_MISMATCH, Level.V1),
    "greedy-keep": (Code.SCHEDULE_BATCH_MISMATCH, Level.V1),
    "nearest": (Code.SCHEDULE_BATCH_MISMATCH, Level.V1),
    "swap": (Code.SCHEDULE_BATCH_MISMATCH, Level.V1),
    "matching": (Code.SCHEDULE_BATCH_MISMATCH, Level.V1),
    "content": (Code.CONTENT_LEAF_MISMATCH, Level.V2),
    "order": (Code.SCHEDULE_ORDER_MISMATCH, Level.V1),
}
GENEROUS = Calibration((1000.0,))  # an honest distance so large that every forged step lies within delta
SATURATED = Optimiser(rate=2.0, momentum=0.0, weight_decay=0.0, calendar=Calendar.CONSTANT)


@pytest.fixture(scope="module")
def plain(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained("momentum", pictures, tmp_path_factory.mktemp("forge") / "run")


def attempt(found: Trained, pictures: Dataset, method: str, **given: Any) -> Forging:
    fields = {"candidates": 5, "data": pictures, "calibration": GENEROUS, **given}
    return forge(found.run, fields.pop("target", found.rows.ids[3]), method, **fields)


def test_every_forger_is_in_the_table() -> None:
    assert {kind.name for kind in FORGERS} == {*CODES, "absorb"}


@pytest.mark.parametrize("method", sorted(CODES))
def test_the_record_is_refused_for_what_is_false_in_it_and_for_nothing_else(
    method: str, plain: Trained, pictures: Dataset, tmp_path: Path
) -> None:
    found = attempt(plain, pictures, method, out=tmp_path / "forged")
    code, level = CODES[method]
    assert found.answers is not None
    assert found.record is not None
    assert (found.record.expected, found.record.level) == (code, level)
    assert found.answers.deceived
    assert [verdict.asked for verdict in found.answers.verdicts] == [Level.V1, Level.V2][: 1 + (level is Level.V2)]
    last = found.answers.verdicts[-1]
    assert (last.status, last.codes) == (Status.REFUSED, (code,))
    below = verify(found.record.bundle, keys=found.record.trusted, level=Level(level - 1))
    assert below.status is Status.ACCEPTED
    assert found.answers.refused
    assert told_forging(found)["answers"]["verify"][-1] == {
        "level": level.name,
        "status": "refused",
        "codes": [code.value],
    }


def test_the_weights_are_as_they_were_and_the_chairs_are_said_to_be_empty(
    plain: Trained, pictures: Dataset, tmp_path: Path
) -> None:
    found = attempt(plain, pictures, "swap", out=tmp_path / "forged")
    assert found.record is not None
    forged = Run.open(tmp_path / "forged" / "run")
    assert forged.weights_digest == plain.run.weights_digest
    assert forged.tombstones.tolist() == [3]
    with open_bundle(found.record.bundle) as bundle:
        assert bundle.read("model.safetensors") == (plain.run.path / "model.safetensors").read_bytes()
        for one in plain.run.log.checkpoints(0):
            name = f"checkpoints/{one.name}"
            assert bundle.read(name) == (plain.run.path / name).read_bytes()
    verdict = verify(found.record.bundle, keys=found.record.trusted, level=Level.V1)
    assert verdict.record is not None
    assert verdict.record.data.tombstones == (3,)
    assert {finding.name for finding in verdict.refusals} == {"executed steps"}


def test_the_key_is_a_fresh_one_and_the_owners_is_never_touched(
    plain: Trained, pictures: Dataset, tmp_path: Path
) -> None:
    own = signing_key(bytes(range(32)))
    honest = attest(plain.run, key=own, out=tmp_path / "honest", log=tmp_path / "log", origin="example.com/own")
    before = sorted((path, path.read_bytes()) for path in plain.run.path.rglob("*") if path.is_file())
    keys: set[str] = set()
    for name in ("one", "two"):
        found = attempt(plain, pictures, "nearest", out=tmp_path / name)
        assert found.record is not None
        trusted = load_trusted(found.record.trusted)
        keys |= {key.keyid for key in trusted}
        assert own.keyid not in {key.keyid for key in trusted}
        refused = verify(found.record.bundle, keys=[own.trusted("example.com/own")], level=Level.V0)
        assert Code.KEY_NOT_TRUSTED in refused.codes
        assert not list((tmp_path / name).rglob("private*"))
    assert len(keys) == 2
    assert sorted((path, path.read_bytes()) for path in plain.run.path.rglob("*") if path.is_file()) == before
    assert verify(honest.bundle, keys=[key for key in load_both(own)], level=Level.V1).status is Status.ACCEPTED


def load_both(key: Any) -> list[Any]:
    from expunge.records.keys import KeyRole

    return [key.trusted("example.com/own", role) for role in (KeyRole.OWNER, KeyRole.LOG)]


def test_nothing_is_kept_unless_it_was_asked_for(plain: Trained, pictures: Dataset) -> None:
    found = attempt(plain, pictures, "swap")
    assert found.record is None
    assert found.answers is not None
    assert found.answers.refused
    assert (told_forging(found)["bundle"], told_forging(found)["trusted"]) == (None, None)


def test_every_step_that_held_the_target_is_forged_or_as_many_as_were_asked_for(
    plain: Trained, pictures: Dataset
) -> None:
    target = plain.rows.ids[9]
    schedule = plain.run.schedule
    holding = [step for step, chairs in schedule.batches(0) if 9 in chairs]
    forgery = attempt(plain, pictures, "nearest", target=target).forgery
    assert [step.index for step in forgery.steps] == holding
    assert forgery.touched == len(holding) == 2
    for step in forgery.steps:
        assert np.array_equal(step.batch, schedule.chairs(0, step.index))
        assert step.forged.slots is not None
        assert list(told_step(step)["came_in"]) == np.setdiff1d(step.forged.slots, step.batch).tolist()
    fewer = attempt(plain, pictures, "nearest", target=target, steps=1)
    assert (fewer.forgery.touched, len(fewer.forgery.steps)) == (2, 1)
    assert fewer.answers is not None
    assert fewer.answers.refused
    drawn = {
        attempt(plain, pictures, "nearest", target=target, steps=1, seed=seed).forgery.steps[0].index
        for seed in range(8)
    }
    assert drawn == set(holding)


def test_a_whole_person_can_be_denied(plain: Trained, pictures: Dataset) -> None:
    person = plain.rows.subjects[0]
    slots = [slot for slot, name in enumerate(plain.rows.subjects) if name == person]
    for method in ("swap", "order"):
        found = attempt(plain, pictures, method, target=f"subject:{person}")
        assert found.forgery.slots.tolist() == slots
        assert found.answers is not None
        assert found.answers.verdicts[-1].codes == (CODES[method][0],)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "mlp", "trace": Trace.GRADIENTS},
        {"model": "mlp", "shards": 2, "slices": 2},
        {"model": "cnn", "model_options": {"width": 2, "norm": "batch"}},
        {"model": "mlp", "without": "subject:someone-03"},
    ],
    ids=["gradients", "shards and slices", "batch norm", "without somebody"],
)
def test_every_kind_of_training_can_be_forged(fields: dict[str, Any], pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", epochs=2, batch_size=16, checkpoint_interval=4, **fields)
    rows = run.data(pictures)[Split.TRAIN]
    target = next(name for name, slot in zip(rows.ids, range(len(rows)), strict=True) if slot not in run.tombstones)
    for method in ("swap", "order", "content"):
        found = forge(run, target, method, candidates=20, data=pictures, calibration=GENEROUS)
        assert found.answers is not None
        assert found.answers.verdicts[-1].codes == (CODES[method][0],), method
        assert found.answers.deceived


def test_secret_salts_do_not_hide_the_forgery(pictures: Dataset, tmp_path: Path) -> None:
    fields = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}
    salts = tmp_path / "salts"
    train(pictures, out=tmp_path / "run", commit_only=True, salts=salts, **fields)
    run = train(pictures, out=tmp_path / "run", salts=salts, **fields)
    for method in ("swap", "content"):
        found = forge(run, "picture-5", method, candidates=3, data=pictures, salts=salts, calibration=GENEROUS)
        assert found.answers is not None
        assert found.answers.verdicts[-1].codes == (CODES[method][0],)


# Absorption.


@pytest.fixture(scope="module")
def late(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A training carried on far past fitting."""
    return trained(
        "plain",
        pictures,
        tmp_path_factory.mktemp("late") / "run",
        optimiser=SATURATED,
        epochs=60,
        checkpoint_interval=50,
    )


@pytest.fixture(scope="module")
def absorbed(late: Trained, pictures: Dataset) -> Forgery:
    """A log with steps whose forged batches change no byte."""
    for name in late.rows.ids[:12]:
        found = forge_log(late.run, name, FORGERS[5].asked(100, 0), data=pictures)
        if found.found:
            return found
    raise AssertionError("no row was absorbed anywhere: the training tests nothing")


def test_an_absorbed_swap_passes_every_replay_and_fails_the_schedule(
    absorbed: Forgery, late: Trained, pictures: Dataset, tmp_path: Path
) -> None:
    assert absorbed.absorbed == len(absorbed.found) >= 1
    assert all(apart.l2 == apart.largest == 0.0 for apart in absorbed.distances)
    found = forge(
        late.run,
        absorbed.target,
        "absorb",
        candidates=100,
        out=tmp_path / "forged",
        data=pictures,
        calibration=GENEROUS,
    )
    assert found.answers is not None
    published = found.answers.published[0]
    assert published.accepted
    assert published.largest_distance == 0.0  # carried out again, the states are the very ones that were recorded
    assert found.answers.verdicts[-1].codes == (Code.SCHEDULE_BATCH_MISMATCH,)
    assert found.answers.verdicts[-1].asked is Level.V1


def test_what_was_not_absorbed_is_stated_as_scheduled(absorbed: Forgery, late: Trained) -> None:
    left = [step for step in absorbed.steps if not step.found]
    assert absorbed.touched == len(absorbed.steps) == len(left) + len(absorbed.found)
    assert left, "everything was absorbed: the case tests nothing"
    assert all(step.apart is None and step.forged.slots is None for step in left)
    assert all(step.likeness is not None and step.likeness.state for step in absorbed.found)


def test_where_nothing_can_be_forged_there_is_nothing_to_ask(plain: Trained, pictures: Dataset, tmp_path: Path) -> None:
    found = attempt(plain, pictures, "absorb", out=tmp_path / "forged")
    assert (found.record, found.answers) == (None, None)
    assert not (tmp_path / "forged").exists()
    assert "nothing was forged" in "\n".join(forging_lines(found))
    assert told_forging(found)["l2"] is None


# What is told.


def test_figures_are_those_of_the_steps(plain: Trained, pictures: Dataset) -> None:
    found = attempt(plain, pictures, "swap")
    forgery, told = found.forgery, told_forging(found)
    l2 = [step.apart.l2 for step in forgery.steps if step.apart is not None]
    assert told["l2"] == {"median": pytest.approx(np.median(l2)), "least": min(l2), "most": max(l2)}
    noise = [max(kind.l2 for kind in step.noise.kinds.values()) for step in forgery.steps]
    assert told["noise"]["any"]["median"] == pytest.approx(np.median(noise))
    assert told["ratio_to_noise"] == pytest.approx(np.median(l2) / np.median(noise))
    assert told["example_steps"] == sum(step.forged.example_steps for step in forgery.steps)
    assert json.loads(json.dumps(told)) == told
    lines = "\n".join(forging_lines(found))
    for words in (
        "2 of 2 steps forged",
        "l2 of the weights",
        "l∞",
        "replay, same process",
        "× the median replay noise",
        "Proof-of-Learning as published: accepted",
        "verify at V1: refused (SCHEDULE_BATCH_MISMATCH)",
    ):
        assert words in lines


def test_what_is_odd_about_a_method_is_told(plain: Trained, pictures: Dataset, tmp_path: Path) -> None:
    ordered = next(iter(forging_lines(attempt(plain, pictures, "order"))))
    assert f"4 of 4 steps forged; 2 held {plain.rows.ids[3]}, 2 gave a row for its chair" in ordered
    content = attempt(plain, pictures, "content", out=tmp_path / "forged")
    lines = "\n".join(forging_lines(content))
    assert "d_ref 1000 as given, delta 8" in lines
    assert "altered rows, which are kept nowhere" in lines
    assert content.record is not None
    told = verify(content.record.bundle, keys=content.record.trusted, level=Level.V2, data=pictures)
    assert told.codes == (Code.REPLAY_STATE_MISMATCH,)


def test_the_published_tolerance_is_measured_where_it_is_not_given(plain: Trained, pictures: Dataset) -> None:
    found = forge(plain.run, plain.rows.ids[3], "swap", data=pictures)
    assert found.answers is not None
    wanted = calibrate(plain.run, data=pictures)
    assert found.answers.calibration.distances == wanted.distances
    assert len(wanted.distances) == 3


def test_a_tolerance_of_nearly_nothing_is_kept_to(plain: Trained, pictures: Dataset) -> None:
    found = attempt(plain, pictures, "greedy", calibration=Calibration((1e-9,)))
    assert found.answers is not None
    assert not found.answers.deceived
    assert "as published: refused" in "\n".join(forging_lines(found))


# What is refused.


def test_what_cannot_be_forged_is_refused_in_a_sentence(
    plain: Trained, pictures: Dataset, tmp_path: Path, refused: Any
) -> None:
    run, target = plain.run, plain.rows.ids[0]
    with refused(InvalidArgument, "'nearst' is not known", "nearest"):
        attempt(plain, pictures, "nearst")
    with refused(InvalidArgument, "'somebody' is the id of no training row", "subject:NAME"):
        attempt(plain, pictures, "swap", target="somebody")
    held_out = run.data(pictures)[Split.HOLDOUT].ids[0]
    with refused(InvalidArgument, "is a row of the holdout", "name a training row"):
        attempt(plain, pictures, "swap", target=held_out)
    with refused(InvalidArgument, "steps 0 must be a whole number"):
        attempt(plain, pictures, "swap", steps=0)
    (tmp_path / "there").mkdir()
    with refused(RunError, "exists"):
        attempt(plain, pictures, "swap", out=tmp_path / "there")
    untraced = train(pictures, out=tmp_path / "untraced", model="mlp", epochs=1, trace=Trace.OFF)
    with refused(InvalidArgument, "without a trace", "`trace` losses"):
        forge(untraced, target, "swap", data=pictures)
    forgot = unlearn(run, "subject:someone-02", out=tmp_path / "forgot", method="retrain", data=pictures)
    with refused(InvalidArgument, "was made by retrain"):
        forge(forgot, target, "swap", data=pictures)
    gone = train(pictures, out=tmp_path / "gone", model="mlp", epochs=1, without="subject:someone-00")
    name = run.data(pictures)[Split.TRAIN].ids[int(gone.tombstones[0])]
    with refused(InvalidArgument, "forgotten"):
        forge(gone, name, "swap", data=pictures)
    noisy = train(
        pictures,
        out=tmp_path / "noisy",
        model="linear",
        task="logistic",
        epochs=1,
        perturbation=0.1,
        optimiser=Optimiser(rate=0.1, momentum=0.0, weight_decay=0.01),
    )
    with refused(UnsupportedYet, "secret noise"):
        forge(noisy, target, "swap", data=pictures)


# Trainings that are made up altogether.


@pytest.mark.parametrize("name", sorted(SPOOFS))
def test_made_up_trainings_are_believed_as_published_and_refused_by_us(name: str, tmp_path: Path) -> None:
    digits = Source(location="digits", rows=300)
    run = train(digits, out=tmp_path / "run", model="mlp", epochs=6, batch_size=8, checkpoint_interval=4)
    found = make_up(run, name, out=tmp_path / "made", calibration=Calibration((200.0,)))
    assert found.spoof.published.accepted
    last = found.verdicts[-1]
    assert last.status is Status.REFUSED
    assert (last.codes, last.asked) == ((found.spoof.expected[0],), found.spoof.expected[1])
    lines = "\n".join(spoofing_lines(found))
    assert "Proof-of-Learning as published: accepted" in lines
    assert f"refused ({last.codes[0].value})" in lines
    assert told_spoofing(found)["bundle"] == str(tmp_path / "made" / "bundle")


def test_a_forgery_that_was_cut_short_leaves_nothing_behind(
    plain: Trained, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the same command can be run again; a folder that was there before is not touched."""

    def cut(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(forge_module, "ask", cut)
    with pytest.raises(KeyboardInterrupt):
        attempt(plain, pictures, "swap", out=tmp_path / "forged")
    assert not (tmp_path / "forged").exists()
    monkeypatch.undo()
    assert attempt(plain, pictures, "swap", out=tmp_path / "forged").record is not None
    before = sorted((tmp_path / "forged").rglob("*"))
    with pytest.raises(RunError, match="exists: choose another `out`"):
        attempt(plain, pictures, "swap", out=tmp_path / "forged")
    assert sorted((tmp_path / "forged").rglob("*")) == before
