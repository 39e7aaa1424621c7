"""Ways in which a dishonest owner got something false accepted, or an honest record refused; each was closed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.logged import cosign, sign_and_log
from tests.verify.departures import DATED, base
from tests.verify.levels.replaying import sealed, story_of, verified
from tests.verify.lineages import ORIGIN, OWNER, TRUSTED, WITNESS
from tests.verify.records import approximated, bundle, certified, codes, trained

from expunge.adversary.table.retelling import saved
from expunge.core.clock import Time
from expunge.core.errors import RunError
from expunge.core.files import write_text
from expunge.core.hashing import plain_json, sha256
from expunge.data.dataset import Dataset
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle, write_folder
from expunge.records.declaration import Intent
from expunge.records.draft import bundle_files
from expunge.records.envelope import envelope_digest, seal
from expunge.records.keys import SigningKey
from expunge.records.limits import LIMITS
from expunge.records.log import writing
from expunge.records.record import GuaranteeKind, GuaranteePart
from expunge.records.statement import write_statement
from expunge.records.states import state_digests
from expunge.records.tensors import TensorFile
from expunge.records.verdict import Status
from expunge.schedule.recipe import Placement
from expunge.train import training
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.certificate import certificate
from expunge.verify.verdict_text import verdict_lines
from expunge.verify.verify import verify

PERSON = "subject:someone-03"


def test_a_certified_record_must_name_the_epsilon_and_delta_that_its_method_ran_with(tmp_path: Path) -> None:
    """Left out of the fields, both would have been free: the method is carried out again with its defaults."""
    story = certified()
    algorithm = story.record.algorithm
    boast = GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1e-9, delta=1e-30)
    for at, left in enumerate(({}, {"epsilon": 1e-9}, {"delta": 1e-30})):
        lie = story.changed(guarantee=boast, algorithm=replace(algorithm, fields=left))
        assert codes(lie, tmp_path / str(at)) == ["GUARANTEE_TOO_HIGH"]
    assert codes(story, tmp_path / "honest") == []


@pytest.mark.parametrize(
    "guarantee",
    [
        GuaranteePart(kind=GuaranteeKind.EXACT, tests=("lira",)),
        GuaranteePart(kind=GuaranteeKind.EXACT, confidence=0.99),
        GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=("lira",), confidence=1.5),
    ],
)
def test_tests_stand_beside_no_guarantee_that_they_do_not_earn(guarantee: GuaranteePart, tmp_path: Path) -> None:
    story = approximated(trained(), (3,)) if guarantee.kind is GuaranteeKind.EMPIRICAL else base()
    assert codes(story.changed(guarantee=guarantee), tmp_path) == ["GUARANTEE_TOO_HIGH"]


def test_weights_that_come_back_after_a_run_in_between_are_unchanged_all_the_same(tmp_path: Path) -> None:
    between = approximated(trained(), (3,))
    last = approximated(between, (9,), algorithm="neggrad")
    assert codes(last, tmp_path / "honest") == []
    back = last.changed(digest=last.link(1).digest).with_files({"model.safetensors": saved(last.made[0].tale.model)})
    assert codes(back, tmp_path / "back") == ["WEIGHTS_UNCHANGED"]


def test_no_chair_is_called_empty_of_a_method_whose_steps_nobody_recorded(tmp_path: Path) -> None:
    """Its parent was trained on the forgotten rows, and nothing states what the method itself read."""
    for story, empty in ((approximated(trained(), (3,)), False), (base(), True)):
        place = tmp_path / str(empty)
        path = bundle(story, place)
        found = verify(path, keys=TRUSTED)
        assert found.status is Status.ACCEPTED
        assert ("no chair of the forgotten rows" in "\n".join(verdict_lines(found))) == empty
        with open_bundle(path) as opened:
            assert (
                "no chair of the forgotten rows" in certificate(opened, found).as_json()["checked"]["says"]
            ) == empty


def test_a_witness_who_sees_the_commitment_again_for_another_model_breaks_no_beacon(tmp_path: Path) -> None:
    """Several models stand in one log: its head is cosigned again and again between commitment and run."""
    draft = trained(DATED).draft
    early, late = Time("2026-01-01T12:00:00Z").seconds, Time("2026-01-05T00:00:00Z").seconds
    assert not isinstance(draft.commit, bytes)
    envelope = seal(write_statement(draft.commit), OWNER)
    draft = replace(draft, chain=(envelope, *draft.chain[1:]))
    for name, first in (("early", early), ("late", late)):
        with writing(tmp_path / name / "log", ORIGIN) as log:
            log.append(envelope_digest(envelope))
            notes = [cosign(log.sign(OWNER), "example.org/witness", WITNESS, first)]
            log.append(sha256(b"another model"))
            notes.append(cosign(log.sign(OWNER), "example.org/witness", WITNESS, late))
            signed = sign_and_log(draft, OWNER, log)
            files = bundle_files(signed, log.log, log.sign(OWNER), notes)
        write_folder(tmp_path / name / "bundle", files)
    assert verify(tmp_path / "early" / "bundle", keys=TRUSTED).status is Status.ACCEPTED
    refusals = verify(tmp_path / "late" / "bundle", keys=TRUSTED).codes
    assert [code.value for code in refusals] == ["BEACON_NOT_AFTER_COMMIT"]


def test_epochs_are_limited_by_themselves_however_few_rows_they_have(tmp_path: Path) -> None:
    """Three rows and a thousand million epochs are few draws, and days of work."""
    path = bundle(base(), tmp_path)
    assert verify(path, keys=TRUSTED, limits=replace(LIMITS, epochs=2)).status is Status.ACCEPTED
    found = verify(path, keys=TRUSTED, limits=replace(LIMITS, epochs=1))
    assert [code.value for code in found.codes] == ["SIZE_LIMIT"]


def test_units_that_do_not_follow_from_the_data_are_refused(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An owner who calls every row a person of its own spreads people over all shards, and picks the map."""
    fields: dict[str, Any] = {
        "model": "mlp",
        "epochs": 2,
        "batch_size": 16,
        "shards": 3,
        "placement": Placement.SUBJECT,
    }
    honest = train(pictures, out=tmp_path / "honest", **fields)
    monkeypatch.setattr(training, "number_units", lambda subjects: np.arange(len(subjects)))
    spread = train(pictures, out=tmp_path / "spread", **fields)
    for run, expected in ((honest, []), (spread, ["SHARD_MAP_MISMATCH"])):
        path = sealed(story_of(run, owner), owner, tmp_path / f"of-{run.path.name}")
        for level in ("V2", "V4"):
            found = verified(path, trusted, level, data=pictures)
            assert [code.value for code in found.codes] == expected
            assert (found.status is Status.ACCEPTED) == (not expected)


def test_parameters_cannot_be_called_buffers_so_that_no_change_is_measured(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Which segments are replayed whatever the draw hangs on how far parameters move."""
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=2, batch_size=16, checkpoint_interval=2)

    def digests(name: str, buffers: tuple[str, ...]) -> Any:
        path = run.path / "checkpoints" / name
        with path.open("rb") as stream:
            return state_digests(TensorFile(stream, path.stat().st_size, name), buffers)

    with (run.path / "model.safetensors").open("rb") as stream:
        size = (run.path / "model.safetensors").stat().st_size
        names = tuple(sorted(tensor.name for tensor in TensorFile(stream, size, "model").tensors))

    story, found = story_of(run, owner), []
    assert story.record.checkpoints is not None
    for state in story.record.checkpoints.states:
        now = digests(f"shard-{state.shard}-step-{state.step:08d}.safetensors", names)
        found.append(replace(state, weights=now.weights, buffers=now.buffers))
    path = sealed(story.with_states(found, buffers=names), owner, tmp_path / "lie")
    assert verified(path, trusted, "V1").status is Status.ACCEPTED
    assert [code.value for code in verified(path, trusted, "V2", data=pictures).codes] == ["CHECKPOINT_LEAF_MISMATCH"]


@pytest.fixture
def pair(pictures: Dataset, tmp_path: Path) -> tuple[Run, Run]:
    run = train(pictures, out=tmp_path / "runs" / "base", model="mlp", epochs=2, batch_size=16, checkpoint_interval=4)
    return run, unlearn(run, PERSON, out=tmp_path / "runs" / "after", data=pictures)


def test_an_intent_that_somebody_else_wrote_destroys_nothing(pair: tuple[Run, Run], tmp_path: Path) -> None:
    """It is read from a run folder, which may have come from anywhere, and its steps are listed to nobody."""
    base_run, run = pair
    theirs = tmp_path / "elsewhere"
    (theirs / "checkpoints").mkdir(parents=True)
    for name in ("letter.txt", "model.safetensors", "checkpoints/shard-0-step-00000004.safetensors"):
        (theirs / name).write_bytes(b"precious")
    own = next(iter(sorted((run.path / "checkpoints").iterdir())))
    for folder, path in (
        (run.path, theirs / "letter.txt"),
        (theirs, theirs / "letter.txt"),
        (theirs, theirs / "model.safetensors"),
        (theirs, theirs / "checkpoints" / "shard-0-step-00000004.safetensors"),
        (run.path, run.path / "model.safetensors"),
        (run.path, own),
        (base_run.path, base_run.path / "run.json"),
        (base_run.path, base_run.path / "checkpoints" / ".." / ".." / "after" / "model.safetensors"),
    ):
        step = {"path": str(path), "folder": str(folder), "what": "a state", "digest": None, "remedy": "remove"}
        steps = [{**step, "keep": 0, "rows": []}]
        content = {"format": "expunge/hygiene-intent/1", "run": run.weights_digest, "steps": steps}
        write_text(run.path / Intent.NAME, plain_json(content))
        with pytest.raises(RunError, match="was altered"):
            destroy(survey(run), unrecorded=True)
        assert path.exists()
    assert (base_run.path / "model.safetensors").exists(), "nothing else was ended either"


def test_an_old_model_that_was_laid_into_the_new_folder_is_named(pair: tuple[Run, Run]) -> None:
    base_run, run = pair
    content = (base_run.path / "model.safetensors").read_bytes()
    for name in ("old.safetensors", "checkpoints/average.safetensors"):
        (run.path / name).write_bytes(content)
    (run.path / "average.safetensors").write_bytes(content[:-4] + b"\0\0\0\0")
    found = survey(run)
    held = {holding.path for holding in found.holdings}
    assert {run.path / "old.safetensors", run.path / "checkpoints" / "average.safetensors"} <= held
    assert str(run.path / "average.safetensors") in "\n".join(found.unclear)
