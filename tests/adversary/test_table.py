"""Every attack is refused with its documented code, at its level and not one level lower; honest bundles never are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from expunge.adversary.forging.absorption import Absorb
from expunge.adversary.pol.proof import forge, prove, published_hash
from expunge.adversary.pol.verdict import Mode
from expunge.adversary.pol.verify import verify_proof
from expunge.adversary.table.attempt import Fixture, attempt, shown
from expunge.adversary.table.retelling import tale_of
from expunge.adversary.table.scene import Scene
from expunge.adversary.table.state import moved_by_one_ulp
from expunge.adversary.table.story import Handed, RunStory, record_of
from expunge.adversary.table.sums import honest_sums
from expunge.adversary.table.table import FIXTURES
from expunge.adversary.table.telling import rows_in
from expunge.data.splits import Split
from expunge.records.limits import Code
from expunge.records.verdict import Level, Standing, Status
from expunge.train.run import Run
from expunge.train.state import read_tensors, tensors_digest

PAGE = Path(__file__).parents[2] / "docs" / "attacks.md"
EVERY = 10_000  # segments an epoch, which no training here has: all of them are carried out again


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.make(tmp_path_factory.mktemp("scene"))


def fixture_named(number: str) -> Fixture:
    return next(fixture for fixture in FIXTURES if fixture.number == number)


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.number)
def test_each_attack_is_refused_with_its_code_at_its_level_and_accepted_below(
    scene: Scene, fixture: Fixture, tmp_path: Path
) -> None:
    found = attempt(fixture, scene, tmp_path / "attack")
    assert found.as_documented, found.told


def test_the_honest_story_is_the_same_everywhere(scene: Scene, tmp_path: Path) -> None:
    """Salts and beacon drawn anew would let Proof-of-Learning refuse the honest log as well, now and then."""
    again = Scene.make(tmp_path / "again")
    assert [run.weights_digest for run in (scene.base.run, scene.story.run)] == [
        run.weights_digest for run in (again.base.run, again.story.run)
    ]
    assert again.key.public != scene.key.public
    proof = prove(scene.base.run)
    assert verify_proof(proof, scene.base.run.data()[Split.TRAIN], mode=Mode.AS_PUBLISHED, delta=0.0).accepted


def test_the_table_holds_every_numbered_attack_and_every_variant_once() -> None:
    numbers = [fixture.number for fixture in FIXTURES]
    assert len(set(numbers)) == len(numbers)
    plain = {number.partition("-")[0] for number in numbers}
    assert {str(number) for number in range(1, 44)} <= plain
    assert {"6b", "14b", "15b", "23b", "28b", "37b"} <= plain
    assert {fixture.code for fixture in FIXTURES} >= {
        code
        for code in Code
        if code
        not in (
            Code.SIGNATURE_INVALID,
            Code.LINEAGE_SEED_MISMATCH,
            Code.SCHEDULE_ROOT_MISMATCH,
            Code.TRACE_DIGEST_MISMATCH,
            Code.GUARANTEE_TOO_HIGH,
            Code.EXECUTION_MISMATCH,
        )
    }, "only codes that no numbered attack asks for may be missing"


def test_the_table_of_the_documentation_has_one_line_for_every_attack() -> None:
    head, rule, *lines = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|"))
    assert head.count("|") == rule.count("|") == 5
    assert len(lines) == len(FIXTURES)
    for fixture, line in zip(FIXTURES, lines, strict=True):
        number, title, level, codes = (cell.strip() for cell in line.strip("|").split("|"))
        assert (number, title, level) == (fixture.number, fixture.title, fixture.level.name)
        assert codes.split(", ")[0] == f"`{fixture.code.value}`"


@pytest.mark.parametrize("level", Level)
def test_the_honest_bundle_is_accepted_at_every_level(scene: Scene, level: Level) -> None:
    story = scene.story
    verdict = shown(Handed(bundle=scene.bundle, keys=scene.trusted, data=story.data, salts=story.salts), level)
    assert (verdict.status, verdict.reached, verdict.codes) == (Status.ACCEPTED, level, ())
    assert (verdict.standing is Standing.VERIFIED) == (level >= Level.V3)


@pytest.mark.parametrize("level", [Level.V1, Level.V2, Level.V3, Level.V4])
@pytest.mark.parametrize("name", ["summed", "grown"])
def test_honest_sums_told_through_the_same_tools_are_accepted_at_every_level(
    scene: Scene, name: str, level: Level, tmp_path: Path
) -> None:
    story: RunStory = getattr(scene, name)
    handed = honest_sums(lambda scene: getattr(scene, name))(scene, tmp_path / "honest")
    assert story.changed(sums=story.record.sums).link() == story.link()
    verdict = shown(handed, level)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    alone = shown(replace(handed, checkpoints=None), level)
    assert (alone.status is Status.ACCEPTED) is (level in (Level.V1, Level.V4)), "sums are compared at V2 and V3"


@pytest.mark.parametrize("name", ["story", "base", "plain", "once", "saturated", "normed", "sharded"])
def test_telling_an_honest_story_again_through_the_attackers_tools_changes_nothing(
    scene: Scene, name: str, tmp_path: Path
) -> None:
    story: RunStory = getattr(scene, name)
    assert story.retold(story.tale).link() == story.link()
    verdict = shown(scene.hand_over(story.retold(story.tale), tmp_path / "honest"), Level.V3)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()


def test_an_attack_that_gets_another_code_or_another_level_is_not_as_documented(scene: Scene, tmp_path: Path) -> None:
    fixture = fixture_named("22-model")
    for number, other in enumerate(
        (
            replace(fixture, code=Code.TOMBSTONE_REVIVED),
            replace(fixture, level=Level.V0),
            replace(fixture, level=Level.V2),
            replace(fixture, make=lambda scene, out: scene.hand_over(scene.story, out)),
        )
    ):
        assert not attempt(other, scene, tmp_path / str(number)).as_documented


@pytest.mark.parametrize("number", ["23-fork", "23-rollback"])
def test_a_log_that_was_rewritten_is_seen_only_by_whoever_kept_a_checkpoint(
    scene: Scene, number: str, tmp_path: Path
) -> None:
    handed = fixture_named(number).make(scene, tmp_path / "attack")
    assert shown(handed, Level.V0).codes == (Code.LOG_INCONSISTENT,)
    for proof in (handed.bundle / "log").glob("consistency-2.json"):
        proof.unlink()  # nobody who kept nothing is handed a proof of growth
    assert shown(replace(handed, known_checkpoint=None), Level.V1).status is Status.ACCEPTED


def test_a_branch_is_told_from_the_run_beside_it_only_by_whoever_kept_its_record(scene: Scene, tmp_path: Path) -> None:
    """Nothing in the bundle is false: what it does not show is counted, and what was kept must be in the chain."""
    handed = fixture_named("32").make(scene, tmp_path / "attack")
    unaware = shown(replace(handed, known_records=()), Level.V3)
    assert unaware.status is Status.ACCEPTED
    (remark,) = (remark.text for remark in unaware.remarks if remark.word == "other-records")
    assert remark.startswith("1 record of the log outside this chain may be of other models, or of a branch")
    assert unaware.record is not None
    assert not set(unaware.record.data.tombstones) & set(scene.story.record.data.tombstones)
    story = scene.story
    honest = Handed(bundle=scene.bundle, keys=scene.trusted, data=story.data, known_records=handed.known_records)
    assert shown(honest, Level.V1).status is Status.ACCEPTED


def test_a_verifier_of_weights_alone_accepts_the_absorbed_swap_bit_for_bit(scene: Scene) -> None:
    run, forgery = scene.saturated.run, scene.absorbed
    rows = run.data()[Split.TRAIN]
    (step,) = forgery.found
    assert isinstance(forgery.forger, Absorb)
    assert step.forged.slots is not None
    assert not np.isin(forgery.slots, step.forged.slots).any()
    forged = forge(prove(run), {step.index: step.forged.slots})
    verdict = verify_proof(forged, rows, mode=Mode.AS_PUBLISHED, delta=0.0, largest=EVERY)
    assert len(verdict.segments) == len(forged.trajectory.segments)
    assert verdict.largest_distance == 0.0
    assert verdict.accepted


def test_absorbed_content_leaves_every_signed_state_as_it_was(scene: Scene, tmp_path: Path) -> None:
    found = attempt(fixture_named("28b"), scene, tmp_path / "attack")
    assert found.verdict.run is not None
    kept, honest = record_of(found.verdict.run).checkpoints, scene.saturated.record.checkpoints
    assert kept is not None
    assert honest is not None
    assert [(s.weights, s.optimiser) for s in kept.states] == [(s.weights, s.optimiser) for s in honest.states]
    assert found.verdict.run.digest == scene.saturated.link().digest


def test_pictures_that_print_alike_have_one_published_hash_and_differ(scene: Scene, tmp_path: Path) -> None:
    found = attempt(fixture_named("25"), scene, tmp_path / "attack")
    run = scene.trained("large", scene.folder / "large.npz", model_options={"width": 8}, epochs=2)
    true, handed = run.data()[Split.TRAIN], rows_in(run, found.handed.data)
    assert published_hash(true) == published_hash(handed)
    assert (true.content["x"] != handed.content["x"]).any(axis=(1, 2)).sum() == 1


def test_one_ulp_in_the_last_state_alone_is_seen_without_a_replay(scene: Scene, tmp_path: Path) -> None:
    story, states = scene.story, dict(scene.base.tale.only.states)
    last = max(states)
    states[last] = moved_by_one_ulp(states[last])
    tale = story.tale.with_shard(replace(story.tale.only, losses=scene.base.tale.only.losses, states=states))
    handed = scene.hand_over(story.retold(tale), tmp_path / "attack")
    assert shown(handed, Level.V1).codes == (Code.WEIGHTS_UNCHANGED,)


def test_the_fine_tuned_model_is_the_one_that_is_handed_over(scene: Scene, tmp_path: Path) -> None:
    found = attempt(fixture_named("7"), scene, tmp_path / "attack")
    assert found.verdict.run is not None
    tuned = Run.open(scene.folder / "runs" / "fine-tuned")
    assert found.verdict.run.digest == tensors_digest(read_tensors(tuned.path / "model.safetensors"))
    assert found.verdict.run.digest not in (scene.base.link().digest, scene.story.link().digest)


def test_a_forged_training_keeps_the_weights_that_knew_the_person(scene: Scene, tmp_path: Path) -> None:
    found = attempt(fixture_named("3-swap"), scene, tmp_path / "attack")
    assert found.verdict.run is not None
    assert found.verdict.run.digest == scene.base.link().digest
    assert record_of(found.verdict.run).data.tombstones != ()


def test_a_tale_is_what_the_run_recorded(scene: Scene) -> None:
    run = scene.sharded.run
    tale = tale_of(run)
    assert [told.shard for told in tale.shards] == [0, 1, 2]
    emptied = set(run.tombstones.tolist())
    assert emptied
    for told in tale.shards:
        assert not emptied & {int(slot) for slots in told.members for slot in slots}
        assert max(told.states) == len(told.members) == len(told.losses) == run.schedule.total_steps(told.shard)
