"""Spoofs: each passes the published verifier, fails the mended one, and its record is refused where it must be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.adversary.pol.pol_runs import ADAMW

from expunge.adversary.forging.forge import Spoofing
from expunge.adversary.forging.told import told_spoofing
from expunge.adversary.pol.attacks import NEARLY_NOTHING, ROOM, SPOOFS, Loot, breakpoints, resorted
from expunge.adversary.pol.calibration import Calibration, calibrate, final_state
from expunge.adversary.pol.laws import init_p_values
from expunge.adversary.pol.proof import by_epoch, vector
from expunge.adversary.pol.spoof import REFUSED_BY, Spoof, spoof
from expunge.adversary.pol.verdict import Mode, PolCheck
from expunge.adversary.pol.verify import largest_of_each_epoch, verify_proof
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.models.resolver import build
from expunge.records.bundle import open_bundle
from expunge.records.keys import load_trusted
from expunge.records.limits import Code
from expunge.records.verdict import Level, Status
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.train.run import Run
from expunge.train.state import full_state
from expunge.train.training import train
from expunge.verify.verify import verify

SIGN = Optimiser(name=OptimiserName.SIGN, rate=0.001, momentum=0.0, weight_decay=0.0)
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp", "epochs": 6},
    "batch norm, AdamW": {
        "model": "mlp",
        "model_options": {"norm": "batch", "width": 24},
        "optimiser": ADAMW,
        "epochs": 6,
    },
    "signs": {"model": "mlp", "optimiser": SIGN, "epochs": 6},
    "cnn with dropout": {"model": "cnn", "model_options": {"width": 4, "dropout": 0.25}, "epochs": 6},
    "slices": {"model": "mlp", "slices": 2, "epochs": 6},
    "without somebody": {"model": "mlp", "without": "subject:someone-03", "epochs": 6},
}
UNLIKE = {  # what the mended verifier sees in each spoof, whatever the recipe; usually more
    "resorted-init": {PolCheck.INIT, PolCheck.RATES},
    "infinitesimal": {PolCheck.INIT},
    "blindfold": {PolCheck.RATES, PolCheck.WEIGHTS},
}


@pytest.fixture(scope="module")
def runs(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    place = tmp_path_factory.mktemp("spoofed")
    return {
        kind: train(pictures, out=place / str(at), batch_size=8, **fields)
        for at, (kind, fields) in enumerate(KINDS.items())
    }


@pytest.fixture(scope="module")
def calibrations(pictures: Dataset, runs: dict[str, Run]) -> dict[str, Calibration]:
    return {kind: calibrate(run, data=pictures) for kind, run in runs.items()}


@pytest.fixture(scope="module")
def recorded(
    pictures: Dataset,
    runs: dict[str, Run],
    calibrations: dict[str, Calibration],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Spoof]:
    """One spoof of each kind with its bundle."""
    place = tmp_path_factory.mktemp("bundles")
    return {
        name: spoof(name, runs["mlp"], out=place / name, data=pictures, calibration=calibrations["mlp"])
        for name in SPOOFS
    }


def loot_of(run: Run, rows: Dataset, calibration: Calibration) -> Loot:
    return Loot(
        recipe=run.recipe,
        final=final_state(run),
        rows=rows,
        commitment=run.commitment,
        units=run.units,
        tombstones=run.tombstones,
        calibration=calibration,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SPOOFS)
def test_a_spoof_is_accepted_as_published_and_refused_when_fixed(
    name: str, kind: str, pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    run = runs[kind]
    found = spoof(name, run, data=pictures, calibration=calibrations[kind])
    assert found.published.accepted, found.published.reasons
    assert found.published.mode is Mode.AS_PUBLISHED
    assert (found.published.delta, found.delta) == (calibrations[kind].delta, 0.008 * found.d_ref)
    rows = run.data(pictures)[Split.TRAIN]
    verdict = verify_proof(found.proof, rows, mode=Mode.FIXED, delta=found.delta)
    assert verdict.exit_status == 1
    assert UNLIKE[name] <= set(verdict.refused_by)


@pytest.mark.parametrize("name", SPOOFS)
def test_a_spoof_ends_with_the_very_weights_that_were_taken(
    name: str, pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    for kind in ("mlp", "batch norm, AdamW"):
        proof = spoof(name, runs[kind], data=pictures, calibration=calibrations[kind]).proof
        last = proof.trajectory.states[-1].tensors()
        final = final_state(runs[kind])
        assert {key for key in last if key.startswith("model.")} == set(final)
        assert all(torch.equal(last[key], value) for key, value in final.items())


def test_no_training_goes_into_the_straight_lines_and_little_into_the_blindfold(recorded: dict[str, Spoof]) -> None:
    assert recorded["resorted-init"].work == recorded["infinitesimal"].work == 0
    blind = recorded["blindfold"]
    honest = [number for number in range(len(blind.proof.parts)) if number % 15 < 5]
    assert blind.work == sum(len(blind.proof.batches[step]) for step in honest)
    assert blind.work == pytest.approx(blind.honest_work / 3, rel=0.05)


def test_resorted_numbers_are_initial_ones_in_the_order_of_the_final_weights(runs: dict[str, Run]) -> None:
    run = runs["cnn with dropout"]
    final = final_state(run)
    for seed in (0, 1):
        first = resorted(run.recipe, final, seed)
        fresh = full_state(build(run.recipe, sha256(b"expunge/pol/resorted/1", u64(seed))))
        for name, wanted in final.items():
            ours, drawn = first[name].flatten(), fresh[name].flatten()
            assert torch.equal(ours.sort().values, drawn.sort().values)
            ranked = ours[torch.argsort(wanted.flatten(), stable=True)]
            assert bool((ranked.diff() >= 0).all())


def test_no_other_order_of_the_numbers_lies_nearer(runs: dict[str, Run]) -> None:
    final = final_state(runs["mlp"])
    name = "model.body.3.weight"
    wanted, ours = final[name].flatten(), resorted(runs["mlp"].recipe, final, 0)[name].flatten()
    least = float((wanted - ours).norm())
    stream = Stream(bytes(32), "test-orders")
    for _ in range(200):
        order = torch.from_numpy(np.argsort(stream.words(len(ours))))
        assert float((wanted - ours[order]).norm()) > least
    one, other = (int(at) for at in stream.below(len(ours), 2))
    swapped = ours.clone()
    swapped[[one, other]] = ours[[other, one]]
    assert float((wanted - swapped).norm()) >= least


@pytest.mark.parametrize("name", ["resorted-init", "infinitesimal"])
def test_no_piece_of_a_straight_line_is_longer_than_its_share_of_delta(name: str, recorded: dict[str, Spoof]) -> None:
    found = recorded[name]
    sizes = found.proof.trajectory.sizes
    assert sizes.max() <= 1.0001 * ROOM * found.delta
    first, last = (found.proof.trajectory.states[at].tensors() for at in (0, -1))
    names = found.proof.trajectory.parameters
    assert sizes.sum() == pytest.approx(float((vector(last, names) - vector(first, names)).norm()), rel=1e-6)
    assert float(found.proof.rates.max()) == NEARLY_NOTHING
    assert found.published.largest_distance == pytest.approx(sizes.max(), rel=1e-6)


def test_a_line_whose_pieces_are_longer_than_delta_is_not_accepted(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    strict = replace(calibrations["mlp"], share=0.002)
    with pytest.raises(InvalidArgument, match="steps are too few"):
        spoof("resorted-init", runs["mlp"], data=pictures, calibration=strict)
    found = spoof("resorted-init", runs["mlp"], data=pictures, calibration=strict, interval=5)
    assert found.published.refused_by == (PolCheck.WEIGHTS,)
    longer = spoof("infinitesimal", runs["mlp"], data=pictures, calibration=strict)
    assert longer.published.accepted
    assert len(longer.proof.parts) > 4 * len(found.proof.parts)


def test_infinitesimal_takes_as_many_steps_as_are_asked_for_at_an_honest_seeming_interval(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    found = spoof("infinitesimal", runs["mlp"], data=pictures, calibration=calibrations["mlp"], steps=10_000)
    assert 10_000 <= len(found.proof.parts) < 10_000 + 15
    assert set(np.diff(found.proof.trajectory.steps)[:-1]) == {10}
    assert found.published.accepted
    assert found.proof.recipe.optimiser.rate == NEARLY_NOTHING
    assert replace(found.proof.recipe, optimiser=runs["mlp"].recipe.optimiser, epochs=6) == runs["mlp"].recipe


def test_the_largest_segments_of_a_blindfold_are_the_honest_ones(recorded: dict[str, Spoof]) -> None:
    proof = recorded["blindfold"].proof
    epochs = by_epoch(proof.trajectory.steps, proof.epoch_ends)
    assert all(len(epoch) == 15 for epoch in epochs)
    for q in range(1, 6):
        for number in largest_of_each_epoch(proof, q):
            assert proof.trajectory.segments[number][0] % 15 < 5
    assert recorded["blindfold"].published.largest_distance == 0.0


@pytest.mark.parametrize("kind", ["mlp", "batch norm, AdamW", "signs"])
def test_every_honest_step_of_a_blindfold_is_as_long_as_an_epochs_share_of_the_line(
    kind: str, pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    proof = spoof("blindfold", runs[kind], data=pictures, calibration=calibrations[kind], honest=2).proof
    trajectory = proof.trajectory
    first, last = (vector(trajectory.states[at].tensors(), trajectory.parameters) for at in (0, -1))
    share = float((last - first).norm()) / 6
    honest = [at for at, (start, _) in enumerate(trajectory.segments) if start % 15 < 2]
    assert trajectory.sizes[honest] == pytest.approx([share] * 12, rel=1e-4)


def test_a_blindfold_is_seen_by_whoever_retrains_one_segment_more(
    pictures: Dataset, runs: dict[str, Run], recorded: dict[str, Spoof]
) -> None:
    found = recorded["blindfold"]
    rows = runs["mlp"].data(pictures)[Split.TRAIN]
    for q, accepted in ((5, True), (6, False)):  # at a hundredth of delta, which is wide for so small a model
        verdict = verify_proof(found.proof, rows, mode=Mode.AS_PUBLISHED, delta=found.delta / 100, largest=q)
        assert verdict.accepted is accepted


def test_epochs_too_short_to_hide_anything_are_refused(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration], tmp_path: Path
) -> None:
    run = train(pictures, out=tmp_path / "run", model="mlp", epochs=2, batch_size=64)
    with pytest.raises(InvalidArgument, match="2 epochs of 2 segments hide no honest ones"):
        spoof("blindfold", run, data=pictures, calibration=calibrations["mlp"])


@pytest.mark.parametrize("name", SPOOFS)
def test_the_record_of_a_spoof_is_refused_with_its_code_at_its_level_and_not_before(
    name: str, pictures: Dataset, recorded: dict[str, Spoof]
) -> None:
    found = recorded[name]
    code, at = REFUSED_BY[name]
    assert found.expected == (code, at)
    assert found.bundle is not None
    assert found.trusted is not None
    for level in Level:
        if level > at:
            break
        verdict = verify(found.bundle, keys=found.trusted, level=level, data=pictures)
        if level < at:
            assert verdict.status is Status.ACCEPTED, verdict.as_json()
        else:
            assert verdict.status is Status.REFUSED
            assert [finding.code for finding in verdict.refusals] == [code]
            assert verdict.status.exit_status == 1


def test_a_draw_that_fails_the_test_of_its_law_is_drawn_again(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, final = runs["mlp"].recipe, final_state(runs["mlp"])
    monkeypatch.setattr("expunge.adversary.pol.attacks.LEAST_P", 0.9)  # by chance about one draw in a hundred passes
    strict = resorted(recipe, final, 0)
    assert min(init_p_values(recipe, strict).values()) >= 0.9
    monkeypatch.setattr("expunge.adversary.pol.attacks.LEAST_P", 1.1)
    with pytest.raises(InvalidArgument, match="none of 100 draws passes"):
        resorted(recipe, final, 0)


def test_a_blindfold_names_a_later_seed_where_its_own_fails_the_test_of_the_law(
    pictures: Dataset,
    runs: dict[str, Run],
    calibrations: dict[str, Calibration],
    recorded: dict[str, Spoof],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = runs["mlp"]
    assert recorded["blindfold"].proof.recipe == run.recipe
    monkeypatch.setattr("expunge.adversary.pol.attacks.LEAST_P", 0.8)
    found = spoof("blindfold", run, data=pictures, calibration=calibrations["mlp"])
    assert found.proof.recipe.seed > run.recipe.seed
    assert replace(found.proof.recipe, seed=run.recipe.seed) == run.recipe
    assert min((found.published.p_values or {}).values()) >= 0.8
    assert found.published.accepted
    monkeypatch.setattr("expunge.adversary.pol.attacks.LEAST_P", 1.1)
    with pytest.raises(InvalidArgument, match="none of 100 seeds passes"):
        spoof("blindfold", run, data=pictures, calibration=calibrations["mlp"])


def test_settings_that_make_no_sense_are_refused_in_a_sentence(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    def asked(name: str, **settings: int) -> Spoof:
        return spoof(name, runs["mlp"], data=pictures, calibration=calibrations["mlp"], **settings)

    for name in SPOOFS:
        with pytest.raises(InvalidArgument, match="interval 0 must be a whole number from 1"):
            asked(name, interval=0)
    with pytest.raises(InvalidArgument, match="blindfold has no setting 'steps'"):
        asked("blindfold", steps=100)
    with pytest.raises(InvalidArgument, match="15 honest segments leave none of 15"):
        asked("blindfold", honest=15)


def test_a_spoof_of_a_training_without_somebody_has_its_request_on_record(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration], tmp_path: Path
) -> None:
    kind = "without somebody"
    found = spoof("blindfold", runs[kind], out=tmp_path / "out", data=pictures, calibration=calibrations[kind])
    assert found.bundle is not None
    assert found.trusted is not None
    assert verify(found.bundle, keys=found.trusted, level="V1").status is Status.ACCEPTED
    verdict = verify(found.bundle, keys=found.trusted, level="V2", data=pictures)
    assert [finding.code for finding in verdict.refusals] == [Code.REPLAY_STATE_MISMATCH]


def test_a_spoof_is_signed_with_a_key_of_its_own(recorded: dict[str, Spoof]) -> None:
    found = [item for item in recorded.values() if item.trusted is not None and item.bundle is not None]
    lists = [load_trusted(item.trusted) for item in found if item.trusted is not None]
    keys = {key.keyid for trusted in lists for key in trusted}
    assert len(keys) == len(SPOOFS)
    assert found[0].bundle is not None
    verdict = verify(found[0].bundle, keys=lists[1])
    assert Code.KEY_NOT_TRUSTED in {finding.code for finding in verdict.refusals}
    for item in found:
        assert item.bundle is not None
        with open_bundle(item.bundle) as bundle:
            steps = [int(name[-20:-12]) for name in bundle.names if name.startswith("checkpoints/")]
        assert sorted(steps) == list(item.proof.trajectory.steps)[1:]
        assert not [path for path in item.bundle.parent.rglob("*") if path.suffix == ".pem"]


def test_states_lie_where_a_training_leaves_its_checkpoints(
    pictures: Dataset, runs: dict[str, Run], calibrations: dict[str, Calibration]
) -> None:
    run = runs["slices"]
    loot = loot_of(run, run.data(pictures)[Split.TRAIN], calibrations["slices"])
    schedule = loot.schedule(run.recipe)
    steps = breakpoints(schedule, 7)
    assert set(schedule.stage_ends(0)) <= set(steps)
    assert set(range(0, schedule.total_steps(0), 7)) <= set(steps)
    assert len(steps) == len({*schedule.stage_ends(0), *range(0, schedule.total_steps(0), 7)})


def test_the_answer_says_what_was_spent_and_what_is_expected(recorded: dict[str, Spoof]) -> None:
    for name, found in recorded.items():
        shown = told_spoofing(Spoofing(spoof=found, verdicts=(), kept=True))
        assert shown["spoof"] == name
        assert shown["published"]["accepted"] is True
        assert shown["expected"] == {"code": REFUSED_BY[name][0].value, "level": REFUSED_BY[name][1].name}
        assert (shown["delta"], shown["d_ref"]) == (found.delta, found.d_ref)
        assert shown["work"] < shown["honest_work"]
        assert Path(shown["bundle"]).is_dir()


def test_what_cannot_be_spoofed_is_refused_in_a_sentence(
    pictures: Dataset, runs: dict[str, Run], tmp_path: Path
) -> None:
    run = runs["mlp"]
    with pytest.raises(InvalidArgument, match=r"spoof 'blindfolt' is not known.*blindfold"):
        spoof("blindfolt", run, data=pictures)
    (tmp_path / "there").mkdir()
    with pytest.raises(RunError, match="exists: choose another `out`"):
        spoof("blindfold", run, data=pictures, out=tmp_path / "there")
    unlearned = unlearn(run, "random:5:1", method="retrain", data=pictures, out=tmp_path / "retrained")
    sharded = train(pictures, out=tmp_path / "sharded", model="mlp", shards=2, epochs=1)
    for other in (unlearned, sharded):
        with pytest.raises(InvalidArgument, match="is no training of one shard"):
            spoof("blindfold", other, data=pictures)
