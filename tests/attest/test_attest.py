"""Attesting runs: every kind of them gives a record that says what was done, and that the verifier accepts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tests.methods.linear_problems as linear
import torch
from tests.attest.attested import Desk, altered, names
from tests.conftest import make_pictures, retold, run_json

from expunge.attest.chain import make_chain
from expunge.core.clock import Time
from expunge.core.errors import InvalidArgument
from expunge.core.files import write_text
from expunge.core.hashing import plain_json, sha256
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.keys import SigningKey
from expunge.records.log import read_log
from expunge.records.record import (
    Commit,
    Execution,
    GuaranteeKind,
    Initiator,
    Operation,
    ProfileName,
    RunRecord,
    TraceMode,
)
from expunge.records.statement import write_statement
from expunge.schedule.recipe import Profile
from expunge.train.run import Run
from expunge.train.state import read_tensors, tensors_digest
from expunge.train.trace import Trace
from expunge.train.training import train

SHARDED: dict[str, Any] = {"shards": 4, "slices": 2, "batch_size": 8}
ALWAYS = {
    "assignment.bin",
    "commit.json",
    "envelope.json",
    "leaves-calibration.bin",
    "leaves-holdout.bin",
    "leaves.bin",
    "log/checkpoint",
    "recipe.json",
    "units.bin",
}


def test_an_exact_unlearning_gives_the_whole_chain(desk: Desk, base: Run, forgot: Run) -> None:
    made = desk.attest(forgot, "exact")
    assert desk.accepts(made.bundle)
    commit, train, unlearn = (statement.predicate for statement in desk.opened(made.bundle))
    assert commit.operation is Operation.COMMIT
    assert isinstance(train, RunRecord)
    assert isinstance(unlearn, RunRecord)
    assert (train.operation, unlearn.operation) == (Operation.TRAIN, Operation.UNLEARN)
    assert (train.execution, unlearn.execution) == (Execution.SCHEDULE, Execution.SCHEDULE)
    assert (made.signed, len(made.chain), made.log.entries) == (3, 3, read_log(desk.log).size)
    assert made.afterwards
    assert all(record.recorded_afterwards for record in (commit, train, unlearn))
    inclusion = {f"log/inclusion-{digest.hex()}.json" for digest in made.chain}
    assert names(made.bundle) == {
        *ALWAYS,
        *inclusion,
        "trace.bin",
        "model.safetensors",
        f"parents/{made.chain[1].hex()}.json",
    }
    assert unlearn.guarantee.kind is made.guarantee.kind is GuaranteeKind.EXACT
    assert unlearn.data.tombstones == tuple(forgot.tombstones)
    assert unlearn.data.released_holdout == tuple(forgot.released[Split.HOLDOUT])
    (request,) = unlearn.requests
    assert (request.initiator, request.cases, request.slots) == (Initiator.OWNER, (), unlearn.data.tombstones)
    assert request.model is not None
    assert request.model.hex() == base.weights_digest
    assert unlearn.cost.thirds / 3 == run_json(forgot)["example_steps"]
    assert unlearn.environment.fingerprint["torch"] == torch.__version__
    assert unlearn.environment.profile is ProfileName.EXACT_CPU
    assert unlearn.environment.self_test.hex() == run_json(forgot)["environment"]["self_test"]


def test_states_are_the_digests_of_what_training_wrote(desk: Desk, base: Run, forgot: Run) -> None:
    """Weights, buffers and optimiser state, computed here from the tensors themselves."""
    record = desk.record(desk.attest(forgot, "states").bundle)
    assert record.checkpoints is not None
    buffers = set(record.checkpoints.buffers)
    assert buffers == {f"body.2.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    logged = {(item.shard, item.step): item for item in forgot.log.checkpoints(0)}
    assert [(state.shard, state.step) for state in record.checkpoints.states] == sorted(logged)
    for state in record.checkpoints.states:
        tensors = read_tensors(forgot.path / "checkpoints" / logged[state.shard, state.step].name)
        model = {n.removeprefix("model."): value for n, value in tensors.items() if n.startswith("model.")}
        assert state.weights == tensors_digest({n: v for n, v in model.items() if n not in buffers})
        assert state.buffers == tensors_digest({n: v for n, v in model.items() if n in buffers})
        assert state.optimiser == tensors_digest({n: v for n, v in tensors.items() if not n.startswith("model.")})
    (reuse,) = record.reuse
    assert reuse.step == run_json(forgot)["reused_steps"]["0"] > 0
    assert reuse.first_touched == forgot.schedule.first_touch(0, forgot.tombstones)
    train = desk.opened(desk.attest(base, "states-of-base").bundle)[1].predicate
    assert isinstance(train, RunRecord)
    assert train.checkpoints is not None
    assert reuse.leaf in [state.leaf for state in train.checkpoints.states]


def test_the_trace_is_steps_then_epochs_and_the_states_hold_its_running_digest(desk: Desk, forgot: Run) -> None:
    made = desk.attest(forgot, "traced")
    record = desk.record(made.bundle)
    steps = (forgot.path / "trace" / "shard-0.bin").read_bytes()
    epochs = (forgot.path / "trace" / "epochs-0.bin").read_bytes()
    content = (made.bundle / "trace.bin").read_bytes()
    assert content == steps + epochs
    assert record.trace is not None
    assert record.checkpoints is not None
    assert (record.trace.mode, record.trace.digest) == (TraceMode.LOSSES, sha256(content))
    for state in record.checkpoints.states:
        assert state.trace == sha256(b"expunge/trace/1" + bytes(4), steps[: 64 * state.step])


def test_a_run_of_an_earlier_version_is_read_too(other: Desk) -> None:
    """No fields of newer versions, no records of epochs, no logged request: the record says that it came afterwards."""
    for name in ("base", "forgot"):
        aged(other.folder / name)
    made = other.attest(other.folder / "forgot")
    assert other.accepts(made.bundle)
    record = other.record(made.bundle)
    assert record.recorded_afterwards
    assert record.requests[0].slots == record.data.tombstones
    assert record.requests[0].received == record.recorded_at
    assert record.checkpoints is not None
    assert record.checkpoints.interval == 100


def aged(folder: Path) -> None:
    """A run folder as the first version wrote it."""

    def older(manifest: dict[str, Any]) -> None:
        for field in ("trace", "checkpoint_interval", "beacon_described"):
            del manifest[field]
        del manifest["data"]["salts"]

    altered(folder, older)
    (folder / "trace" / "epochs-0.bin").unlink()
    log = folder / "log.jsonl"
    previous = ""
    kept: list[str] = []
    for line in log.read_text().splitlines():  # the chain of lines without the request
        if '"event":"request"' not in line:
            start, _, rest = line.partition('"previous":"')
            kept.append(f'{start}"previous":"{previous}{rest[rest.index(chr(34)) :]}\n')
            previous = sha256(kept[-1].encode()).hex()
    log.write_text("".join(kept))


def test_an_approximate_method_has_no_trajectory_and_claims_nothing_of_the_weights(desk: Desk, base: Run) -> None:
    run = desk.unlearn(base, "subject:someone-03", "tuned", method="fine-tune", seed=5, budget=0.5)
    made = desk.attest(run, "approximate")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert (record.checkpoints, record.trace, record.reuse) == (None, None, ())
    assert record.execution is Execution.OWN_STEPS
    assert "trace.bin" not in names(made.bundle)
    assert record.claim == ("C6",)
    assert record.guarantee.kind is GuaranteeKind.EMPIRICAL
    assert record.guarantee.tests == ()
    assert record.algorithm.budget == 0.5
    assert record.algorithm.fields["rate"] == (0.01).hex()
    seed = lineage_seed(unlearning_digest(run.recipe.digest, bytes.fromhex(base.weights_digest), 5), run.root)
    assert (record.randomness.request_seed, record.randomness.method_seed) == (5, seed)
    with pytest.raises(InvalidArgument, match="recorded no states"):
        desk.attest(run, "approximate-with-states", checkpoints=True)


def test_the_largest_seed_of_a_request_is_kept_whole(desk: Desk, base: Run) -> None:
    run = desk.unlearn(base, "subject:someone-03", "large-seed", method="fine-tune", seed=2**63 - 1)
    made = desk.attest(run, "large-seed-bundle")
    assert desk.accepts(made.bundle)
    assert desk.record(made.bundle).randomness.request_seed == 2**63 - 1


def test_exact_after_approximate_reuses_what_the_training_recorded(desk: Desk, base: Run) -> None:
    first = desk.unlearn(base, "subject:someone-05", "between", method="fine-tune")
    run = desk.unlearn(first, "subject:someone-02", "after")
    made = desk.attest(run, "after-approximate")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.reuse[0].first_touched == run.schedule.first_touch(0, run.tombstones)
    assert record.requests[0].model is not None
    assert record.requests[0].model.hex() == first.weights_digest
    assert set(record.requests[0].slots) | set(first.tombstones.tolist()) == set(record.data.tombstones)


def test_shards_and_a_shard_with_nobody_left(desk: Desk) -> None:
    run = desk.train("sharded", **SHARDED)
    rows = run.data(desk.data)[Split.TRAIN]
    people = sorted({rows.subjects[slot] for slot in run.schedule.shard_slots(1)})
    one = desk.unlearn(run, "subject:someone-02", "one-of-a-shard")
    dead = desk.unlearn(run, [f"subject:{name}" for name in people], "shard-gone")
    assert desk.accepts(desk.attest(one, "sharded-one").bundle)
    made = desk.attest(dead, "sharded-dead", checkpoints=True)
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.alive == (0, 2, 3)
    assert [reuse.shard for reuse in record.reuse] == [0, 2, 3]
    assert all(reuse.first_touched is None for reuse in record.reuse)
    assert record.checkpoints is not None
    assert {state.shard for state in record.checkpoints.states} == {0, 2, 3}
    assert len([name for name in names(made.bundle) if name.startswith("checkpoints/")]) == record.checkpoints.count


def test_gradients_in_the_trace(desk: Desk) -> None:
    run = desk.train("gradients", trace=Trace.GRADIENTS)
    made = desk.attest(run, "with-gradients")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.trace is not None
    assert record.trace.mode is TraceMode.GRADIENTS
    epochs = sum(run.recipe.stage_epochs)
    assert (made.bundle / "trace.bin").stat().st_size == 96 * run.schedule.total_steps(0) + 32 * epochs


def test_a_certified_removal_names_its_figures_and_its_noise(desk: Desk) -> None:
    plain = {"model_options": {}, "slices": 1, **linear.FIELDS}
    run = desk.train("noisy", **plain)
    removed = desk.unlearn(run, "subject:someone-02", "removed", method="certified-logistic")
    made = desk.attest(removed, "certified")
    assert desk.accepts(made.bundle)
    commit, train, record = (statement.predicate for statement in desk.opened(made.bundle))
    assert isinstance(train, RunRecord)
    assert isinstance(record, RunRecord)
    assert record.guarantee.kind is GuaranteeKind.CERTIFIED
    assert (train.execution, record.execution) == (Execution.SCHEDULE, Execution.OWN_STEPS)
    assert (record.guarantee.epsilon, record.guarantee.delta) == (1.0, 1e-4)
    assert record.claim == ("C6", "C5")
    noise = bytes.fromhex(run_json(run)["noise_commitment"])
    assert commit.noise_commitment == train.noise_commitment == record.noise_commitment == noise
    secret = (run.path / "noise.key").read_bytes()
    assert all(secret not in path.read_bytes() for path in made.bundle.rglob("*") if path.is_file())


def test_retraining_in_the_lineage_and_in_one_of_its_own(desk: Desk, base: Run, forgot: Run) -> None:
    again = desk.unlearn(forgot, "subject:someone-04", "again", method="retrain")
    made = desk.attest(again, "retrained")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.operation is Operation.RETRAIN
    assert [(reuse.step, reuse.leaf) for reuse in record.reuse] == [(0, None)]
    fresh = desk.unlearn(forgot, "subject:someone-04", "fresh", method=Retrain(training_seed=9))
    made = desk.attest(fresh, "reseeded")
    assert desk.accepts(made.bundle)
    commit, record = (statement.predicate for statement in desk.opened(made.bundle))
    assert isinstance(record, RunRecord)
    assert commit.recipe == fresh.recipe.digest != base.recipe.digest
    assert [request.slots for request in record.requests] == [
        tuple(forgot.tombstones),
        tuple(np.setdiff1d(fresh.tombstones, forgot.tombstones)),
    ]
    assert (fresh.path / "record" / "commit.json").is_file()
    after = desk.unlearn(fresh, "subject:someone-05", "after-fresh")
    made = desk.attest(after, "after-reseeded")
    assert desk.accepts(made.bundle)
    assert len(made.chain) == 3


def test_training_without_somebody_has_its_request_in_its_own_record(desk: Desk) -> None:
    run = desk.train("without", without="subject:someone-02")
    made = desk.attest(run, "without-bundle")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.requests[0].model is None
    assert record.requests[0].slots == record.data.tombstones == tuple(run.tombstones)
    assert record.claim == ("C2", "C3", "C4")
    fresh = desk.unlearn(run, "subject:someone-04", "without-fresh", method=Retrain(training_seed=9))
    made = desk.attest(fresh, "without-fresh-bundle")
    assert desk.accepts(made.bundle)
    first, second = desk.record(made.bundle).requests
    assert first == replace(record.requests[0], model=bytes.fromhex(run.weights_digest))
    assert second.model == first.model


@pytest.mark.parametrize("fields", [{"profile": Profile.SPEED}, {"threads": 2}], ids=["speed", "two threads"])
def test_what_pins_no_bits_is_recorded_as_less(desk: Desk, fields: dict[str, Any]) -> None:
    name = next(iter(fields))
    made = desk.attest(desk.train(name, **fields), f"{name}-bundle")
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.guarantee.kind is GuaranteeKind.EMPIRICAL
    assert record.environment.not_exact is not None
    assert record.claim == ("C2",)
    assert (record.environment.profile is ProfileName.TOLERANT) == ("profile" in fields)
    assert any(notice.startswith("not exact: ") for notice in made.notices)


def test_an_accelerator_has_a_profile_of_its_own(other: Desk) -> None:
    run = Run.open(other.folder / "base")
    elsewhere = retold(run, device="cuda:0")
    assert make_chain(elsewhere, other.key, Time.now()).record.environment.profile is ProfileName.EXACT_GPU_PINNED


def test_progress_counts_the_states_that_are_read(other: Desk) -> None:
    """Those of every run that is described, and of the one that is bundled; not of ancestors signed before."""
    moved: list[tuple[int, int]] = []
    other.attest(other.folder / "forgot", "first", progress=lambda *place: moved.append(place))
    states = [len(list((other.folder / name / "checkpoints").iterdir())) for name in ("base", "forgot")]
    assert moved == [(done, sum(states)) for done in range(1, sum(states) + 1)]
    moved.clear()
    other.attest(other.folder / "forgot", "second", progress=lambda *place: moved.append(place))
    assert moved[-1] == (states[1], states[1])


def test_what_hygiene_declared_is_in_the_record(other: Desk) -> None:
    until = Time.at(Time.now().seconds + 29 * 86_400)
    declared = {
        "format": "expunge/hygiene/1",
        "retired": [{"what": "state of shard 0 after step 18", "digest": "ab" * 32}, {"what": "salts", "digest": None}],
        "window": {"days": 30, "until": str(until)},
    }
    write_text(other.folder / "forgot" / "hygiene.json", plain_json(declared))
    made = other.attest(other.folder / "forgot")
    assert other.accepts(made.bundle)
    record = other.record(made.bundle)
    assert [(item.what, item.digest) for item in record.retired] == [
        ("state of shard 0 after step 18", bytes.fromhex("ab" * 32)),
        ("salts", None),
    ]
    assert record.audit_window is not None
    assert (record.audit_window.days, str(record.audit_window.until)) == (30, str(until))
    (other.folder / "forgot" / "hygiene.json").unlink()
    later = other.attest(other.folder / "forgot", "later")
    assert any("since is not in this record" in notice for notice in later.notices)


def test_a_bundle_holds_no_place_and_no_name_of_a_person(owner: SigningKey, tmp_path: Path) -> None:
    table = tmp_path / "secret-place.csv"
    rows = "".join(f"{row % 7},{row % 2},someone-{row // 5:02d}\n" for row in range(60))
    table.write_text(f"height,grade,who\n{rows}")
    base = train(
        Source(location=str(table), label="grade", subject="who"),
        out=tmp_path / "base-of-someone",
        model="mlp",
        epochs=2,
    )
    forgot = unlearn(base, "subject:someone-02", out=tmp_path / "forgot-of-someone")
    desk = Desk(tmp_path, owner, make_pictures(rows=3))
    made = desk.attest(forgot)
    assert desk.accepts(made.bundle)
    commit = desk.opened(made.bundle)[0].predicate
    assert isinstance(commit, Commit)
    assert "location" not in commit.data.source
    assert (commit.data.source["label"], commit.data.source["subject"]) == ("grade", "who")
    told = [path.read_bytes() for path in made.bundle.rglob("*") if path.is_file()]
    told += [write_statement(statement) for statement in desk.opened(made.bundle)]
    for word in (b"someone", b"secret-place", b"base-of", b"forgot-of"):
        assert all(word not in content for content in told), word
