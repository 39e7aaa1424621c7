"""What a dishonest owner told of methods with steps of their own, of trajectories and witnesses; each was closed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.verify.departures import DATED, SHARDED, base, dropped_member
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified
from tests.verify.lineages import ORIGIN, OWNER, TRUSTED, Lineage
from tests.verify.records import (
    MadeUpStory,
    approximated,
    bundle,
    certified,
    codes,
    forgot,
    trained,
)

from expunge.adversary.table.story import record_of
from expunge.core.clock import Time
from expunge.core.hashing import sha256
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle, write_folder
from expunge.records.draft import bundle_files, sign
from expunge.records.keys import SigningKey, TrustedKey
from expunge.records.log import writing
from expunge.records.record import CostPart, GuaranteeKind, GuaranteePart, Operation, TracePart
from expunge.records.statement import Statement
from expunge.records.verdict import FindingOutcome, Level, Standing, Status
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.certificate import certificate
from expunge.verify.verdict_text import verdict_lines
from expunge.verify.verify import verify

PERSON, OTHER_PERSON = "subject:someone-03", "subject:someone-05"
EMPIRICAL = GuaranteePart(kind=GuaranteeKind.EMPIRICAL)


@pytest.fixture(scope="module")
def before(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("before") / "run"
    return train(pictures, out=out, model="mlp", epochs=2, batch_size=16, checkpoint_interval=4)


def test_a_method_of_its_own_steps_shows_no_trajectory_built_in_or_not(tmp_path: Path) -> None:
    """A foreign method's was believed: its replay compares the weights alone, and the verdict said C2 and C3."""
    story = base()
    algorithm = replace(story.record.algorithm, name="somebody.methods.SoftAscent", source=sha256(b"sources"))
    foreign = story.changed(algorithm=algorithm, guarantee=EMPIRICAL, claim=("C2", "C3"))
    assert codes(foreign, tmp_path / "foreign") == ["GUARANTEE_TOO_HIGH"]
    own, story = approximated(trained(), (3,)), forgot(trained(), (3,))
    work = CostPart(thirds=story.tale.thirds(()), seconds=1.0)
    trace = TracePart(mode=story.lineage.mode, digest=sha256(story.tale.trace))
    traced = own.changed(trace=trace, cost=work).with_files({"trace.bin": story.tale.trace})
    assert codes(traced, tmp_path / "traced") == ["GUARANTEE_TOO_HIGH"]


def without_states(story: MadeUpStory, **fields: Any) -> MadeUpStory:
    """The record leaves its states out, and claims what is claimed without any."""
    claim = tuple("C6" if claimed == "C2" else claimed for claimed in story.record.claim if claimed != "C3")
    work = CostPart(thirds=story.tale.thirds(()), seconds=1.0)
    return story.without_states().changed(checkpoints=None, reuse=(), claim=claim, cost=work, **fields)


def test_an_exact_record_cannot_leave_its_states_out(tmp_path: Path) -> None:
    """Left out, no member of the ensemble was compared with anything."""
    story = forgot(trained(SHARDED), (3,))
    assert codes(dropped_member(story), tmp_path / "dropped") == ["ENSEMBLE_MEMBER_MISMATCH"]
    assert codes(without_states(dropped_member(story)), tmp_path / "stateless") == ["GUARANTEE_TOO_HIGH"]
    untraced = without_states(story, trace=None).with_files({"trace.bin": None})
    assert codes(untraced, tmp_path / "untraced") == ["GUARANTEE_TOO_HIGH"]


def test_a_certificate_is_about_the_objective_that_was_trained(tmp_path: Path) -> None:
    story = certified()
    algorithm, decay = story.record.algorithm, story.lineage.recipe.optimiser.weight_decay
    for at, (given, expected) in enumerate(((1e6, ["GUARANTEE_TOO_HIGH"]), (decay, []))):
        fields = {**algorithm.fields, "decay": given.hex()}
        assert codes(story.changed(algorithm=replace(algorithm, fields=fields)), tmp_path / str(at)) == expected


def test_a_method_that_does_nothing_is_refused_at_every_level(
    before: Run, pictures: Dataset, owner: SigningKey, trusted: tuple[TrustedKey, ...], tmp_path: Path
) -> None:
    """Carried out again, nothing is still nothing: a full replay excuses steps of the schedule alone."""
    run = unlearn(before, PERSON, out=tmp_path / "run", data=pictures, method="gradient-ascent", budget=0.3)
    story = story_of(run, owner).with_files({"model.safetensors": before.path / "model.safetensors"})
    lie = story.changed(
        digest=bytes.fromhex(before.weights_digest),
        algorithm__fields={**story.record.algorithm.fields, "rate": 0.0},
        cost__thirds=0,
    )
    made = sealed(lie, owner, tmp_path / "lie")
    for level in ("V1", "V2", "V3"):
        beside = {} if level == "V1" else {"data": pictures, "checkpoints": before.path}
        found = verified(made, trusted, level, **beside)
        assert (found.status, [code.value for code in found.codes]) == (Status.REFUSED, ["WEIGHTS_UNCHANGED"])


def test_a_full_replay_excuses_no_earlier_record_of_the_chain(
    before: Run, pictures: Dataset, owner: SigningKey, trusted: tuple[TrustedKey, ...], tmp_path: Path
) -> None:
    """The run before is an exact replay in name, with its parent's weights and states; the fine-tuning is real."""
    exact = unlearn(before, PERSON, out=tmp_path / "exact", data=pictures)
    tuned = unlearn(exact, OTHER_PERSON, out=tmp_path / "tuned", data=pictures, method="fine-tune", budget=0.5)
    story = story_of(tuned, owner)
    theirs, old = story.link(1), record_of(story.link(2)).checkpoints
    kept = {(state.shard, state.step): state for state in record_of(theirs).checkpoints.states}  # type: ignore[union-attr]
    assert old is not None
    states = [replace(kept[state.shard, state.step], trace=state.trace) for state in old.states]
    liar = tmp_path / "liar"
    shutil.copytree(exact.path, liar)
    (liar / "model.safetensors").unlink()
    shutil.copy(before.path / "model.safetensors", liar / "model.safetensors")
    manifest = (liar / "run.json").read_text(encoding="utf-8").replace(exact.weights_digest, before.weights_digest)
    (liar / "run.json").write_text(manifest, encoding="utf-8")
    real = unlearn(liar, OTHER_PERSON, out=tmp_path / "real", data=pictures, method="fine-tune", budget=0.5)
    record = story.record
    digest = unlearning_digest(real.recipe.digest, theirs.digest, record.randomness.request_seed)
    lie = story.with_states(states, 2).changed(2, digest=theirs.digest)
    lie = lie.with_files({"model.safetensors": real.path / "model.safetensors"}).changed(
        digest=bytes.fromhex(real.weights_digest),
        requests=tuple(replace(request, model=theirs.digest) for request in record.requests),
        randomness__method_seed=lineage_seed(digest, real.root, real.beacon),
    )
    made = sealed(lie, owner, tmp_path / "lie")
    found = verified(made, trusted, "V3", data=pictures, checkpoints=before.path)
    assert (found.status, found.reached, found.standing) == (Status.UNDECIDED, Level.V0, Standing.CLAIMED)
    assert finding_of(found, "weights moved", Level.V1).outcome is FindingOutcome.HOLDS
    for name in ("weights moved before", "states moved before"):
        finding = finding_of(found, name, Level.V1)
        assert finding.outcome is FindingOutcome.UNDECIDED
        assert "or it is an honest coincidence: a full replay, V3, of that record tells" in finding.detail


def test_a_method_carried_out_again_says_nothing_of_its_parent(
    before: Run, pictures: Dataset, owner: SigningKey, trusted: tuple[TrustedKey, ...], tmp_path: Path
) -> None:
    run = unlearn(before, PERSON, out=tmp_path / "run", data=pictures, method="fine-tune", budget=0.5)
    made = sealed(story_of(run, owner), owner, tmp_path / "made")
    found = verified(made, trusted, "V3", data=pictures, checkpoints=before.path)
    assert (found.status, found.standing) == (Status.ACCEPTED, Standing.VERIFIED)
    said = " ".join(verdict_lines(found))
    assert "from the weights of its parent, which were handed over" in said
    assert "How those weights came about was not looked at" in said
    assert "Every step was carried out again" not in said
    for name in ("reuse", "checkpoint files"):
        assert finding_of(found, name, Level.V1).outcome is FindingOutcome.NOT_CHECKED
    with open_bundle(made) as opened:
        facts = certificate(opened).as_json()
    assert facts["schedule"]["recorded"] is False
    assert [item["level"] for item in facts["verification"]] == ["V1", "V3"]


def test_a_witness_who_saw_the_run_before_the_beacons_date_disproves_it(tmp_path: Path) -> None:
    """The record holds the beacon's value, so it was known then."""
    story = trained(DATED)
    seen = {"early": "2026-01-01T12:00:00Z", "late": "2026-03-01T00:00:00Z"}
    for name, expected in (("early", ["BEACON_NOT_AFTER_COMMIT"]), ("late", [])):
        made = bundle(story, tmp_path / name, cosigned_at=Time(seen[name]).seconds)
        found = verify(made, keys=TRUSTED, level=Level.V1, witnesses=1)
        assert [code.value for code in found.codes] == expected


def test_a_commitment_that_was_made_before_the_training_is_in_the_log_before_it(tmp_path: Path) -> None:
    """Without a beacon nobody looked."""
    for afterwards, expected in ((False, ["BEACON_NOT_AFTER_COMMIT"]), (True, [])):
        signed = sign(trained(Lineage(afterwards=afterwards)).draft, OWNER)
        place = tmp_path / str(afterwards)
        with writing(place / "log", ORIGIN) as log:
            for digest in reversed(signed.digests):
                log.append(digest)
            write_folder(place / "bundle", bundle_files(signed, log.log, log.sign(OWNER)))
        found = verify(place / "bundle", keys=TRUSTED, level=Level.V1)
        assert [code.value for code in found.codes] == expected


def test_a_retraining_does_not_answer_a_request_about_itself(tmp_path: Path) -> None:
    story = trained(without=(2, 3))
    (request,) = story.record.requests
    run = story.draft.run
    assert isinstance(run, Statement)
    for name, model, expected in (("own", run.digest, ["REQUEST_BINDING_MISMATCH"]), ("other", sha256(b"m"), [])):
        alone = story.changed(
            operation=Operation.RETRAIN,
            algorithm=replace(story.record.algorithm, name="retrain"),
            requests=(replace(request, model=model),),
        )
        assert codes(alone, tmp_path / name) == expected
