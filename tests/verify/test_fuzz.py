"""Nothing that was changed in a bundle is accepted, whoever changed it; and nothing raises anything but a verdict.

Strangers change bytes: no such bundle is accepted. The owner, who may sign again, changes fields: what is accepted then
is the owner's own word, listed here field by field. `python -m benchmarks.fuzz` repeats the former 10,000 times.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.verify.altered_records import alterations
from tests.verify.fuzz_targets import targets
from tests.verify.lineages import TRUSTED
from tests.verify.mutations import KINDS, Mutation, Target, Workbench, mutation

from expunge.core.errors import InvalidArgument
from expunge.records.limits import Code
from expunge.records.verdict import FindingOutcome, Level, Status
from expunge.verify.verify import verify

SEED, EACH = 2026, 25  # mutations of every kind

# What an owner may say without anything at V1 that could contradict it. `docs/auditing.md` lists them for the auditor.
OWNERS_WORD = {
    "commit subject name": "what the data set is called",
    "commit.data.salts": "whether salts are kept secret: who holds the data sees it",
    "commit.recorded_afterwards": "that the commitment was written before the training: witnesses date it",
    "commit.recorded_at": "the owner's clock",
    "run subject name": "what the model is called",
    "run.algorithm.name": "of a method that takes steps of its own, which earns nothing",
    "run.algorithm.source": "of such a method",
    "run.algorithm.budget": "of such a method",
    "run.algorithm.fields{} more": "fields: V3 carries the method out with them",
    "run.algorithm.package": "digest of the code: whether the bits agree is what counts, from V2 on",
    "run.algorithm.tree": "name of the git tree that the code lay in, where it lay in one",
    "run.algorithm.version": "version of the code",
    "run.audit_window": "until when old states are kept",
    "run.checkpoints.interval": "how often states were recorded; the states themselves are listed",
    "run.cost.seconds": "time that it took",
    "run.cost.thirds": "work of a method that takes steps of its own",
    "run.data.released_calibration[] more": "rows of people forgotten by name, outside the training",
    "run.data.released_holdout[] more": "the same",
    "run.kept_state": "why old states were left",
    "run.environment.factory": "name of the model's factory: V2 builds the model from it",
    "run.environment.fingerprint.torch": "the machine: V2 compares it",
    "run.environment.fingerprint{} more": "the machine",
    "run.environment.initial_weights": "V2 compares them",
    "run.environment.not_exact": "a reason to claim less",
    "run.environment.self_test": "V2 compares it",
    "run.guarantee.kind": "a lower one than was earned",
    "run.guarantee.tests": "which tests an approximate method passed: no record shows them",
    "run.guarantee.confidence": "of these tests",
    "run.randomness.beacon.not_before": "when the beacon appeared: compare it with its source",
    "run.randomness.beacon.round": "which one it was: the same",
    "run.randomness.beacon.source": "where it is from: the same",
    "run.recorded_afterwards": "that the record was written at once",
    "run.recorded_at": "the owner's clock",
    "run.requests[] more": "the same request twice",
    "run.requests[].cases[] more": "cases of the people who asked: compare them with yours",
    "run.requests[].receipts[] more": "receipts: compare them with yours",
    "run.requests[].received": "when somebody asked",
    "run.retired[] more": "what was destroyed: nobody can see that from a record",
    "run.reuse[] fewer": "a shard begun anew, said by leaving it out",
    "run.schedule.steps[] order": "two equal numbers exchanged",
}
ALSO_OF_PARENTS = {  # their files are not in the bundle, so their own words are all there is of them
    "parent.checkpoints.buffers[]",
    "parent.checkpoints.buffers[] fewer",
    "parent.checkpoints.buffers[] more",
    "parent.checkpoints.states[] fewer mended",
    "parent.checkpoints.states[].buffers mended",
    "parent.checkpoints.states[].optimiser mended",
    "parent.checkpoints.states[].step mended",
    "parent.checkpoints.states[].trace mended",
    "parent.checkpoints.states[].weights mended",
    "parent.environment.fingerprint.accumulation_arithmetic",
    "parent.sums.constants",
    "parent.sums.digest",
    "parent.sums.penalty",
    "parent.trace",
    "parent.trace.digest",
    "parent.trace.mode",
}


@pytest.mark.parametrize("target", targets(), ids=lambda target: target.name)
def test_the_targets_are_accepted_as_they_are(target: Target, tmp_path: Path) -> None:
    bench = Workbench(tmp_path / "bench")
    made, sums = bench.lay_out(target), bench.checkpoints
    accepted = verify(made, keys=TRUSTED, level=Level.V1, witnesses=target.witnesses, checkpoints=sums)
    assert accepted.status is Status.ACCEPTED, accepted.as_json()
    archived = Mutation(target, "none", "its zip", archive=target.archive)
    assert verify(bench.lay_out(archived), keys=TRUSTED, level=Level.V1).status is Status.ACCEPTED


@pytest.mark.parametrize("kind", range(len(KINDS)), ids=list(KINDS))
def test_no_mutated_bundle_is_accepted(kind: int, tmp_path: Path) -> None:
    bench = Workbench(tmp_path / "bench")
    for turn in range(EACH):
        found = mutation(targets(), SEED, turn * len(KINDS) + kind)
        made, asked = bench.lay_out(found), found.target.witnesses
        verdict = verify(made, keys=TRUSTED, level=Level.V1, witnesses=asked, checkpoints=bench.checkpoints)
        assert verdict.status is not Status.ACCEPTED, str(found)
        assert set(verdict.codes) <= set(Code)
        assert all("\n" not in finding.detail for finding in verdict.findings), str(found)


@pytest.mark.parametrize("name", sorted(next(target for target in targets() if target.name == "exact").files))
def test_each_file_of_a_zip_may_be_damaged_and_the_answer_is_a_verdict(name: str, tmp_path: Path) -> None:
    """Check sums fail where a file is first read, which may be for a remark."""
    target = next(target for target in targets() if target.name == "exact")
    content = target.files[name]
    at = target.archive.index(content) + len(content) // 2
    damaged = bytearray(target.archive)
    damaged[at] ^= 1
    made = Workbench(tmp_path).lay_out(Mutation(target, "zip bit", name, archive=bytes(damaged)))
    assert verify(made, keys=TRUSTED, level=Level.V1).status is Status.REFUSED


def test_a_witness_who_is_cut_out_is_missed_where_one_is_asked_for(tmp_path: Path) -> None:
    """Nobody who does not ask for witnesses can miss one: then a line fewer is a remark more."""
    target = next(target for target in targets() if target.witnesses)
    bench = Workbench(tmp_path / "bench")
    assert verify(bench.lay_out(target), keys=TRUSTED, witnesses=1).status is Status.ACCEPTED
    for name in ("log/checkpoint", "log/checkpoint-1"):
        lines = target.files[name].decode().splitlines(keepends=True)
        files = {**target.files, name: "".join(lines[:-1]).encode()}
        cut = bench.lay_out(Mutation(target, "note", name, files=files))
        assert verify(cut, keys=TRUSTED).status is Status.ACCEPTED
        asked = verify(cut, keys=TRUSTED, witnesses=1)
        (finding,) = (finding for finding in asked.findings if finding.name == "witnesses")
        assert (asked.status, finding.outcome, finding.reason) == (
            Status.UNDECIDED,
            FindingOutcome.UNDECIDED,
            "evidence-missing",
        )
        assert "is cosigned by 0 of the witnesses on your list, you ask for 1" in finding.detail
    for number in (-1, 2):
        with pytest.raises(InvalidArgument, match=f"witnesses {number} must be a whole number from 0 to 1"):
            verify(bench.lay_out(target), keys=TRUSTED, witnesses=number)


def test_mutations_are_made_again_from_their_number_and_differ_from_each_other() -> None:
    made = [mutation(targets(), SEED, number) for number in range(60)]
    assert [str(one) for one in made] == [str(mutation(targets(), SEED, number)) for number in range(60)]
    assert len({str(one) for one in made}) == 60
    assert {one.kind for one in made} == set(KINDS)
    for one in made:
        assert (one.archive or dict(one.files or {})) not in (one.target.archive, dict(one.target.files))


@pytest.mark.parametrize(
    "target",
    [target for target in targets() if target.name not in ("naive-bayes", "forest")],  # their fields are ridge's
    ids=lambda target: target.name,
)
def test_of_what_an_owner_signs_again_only_their_own_word_is_accepted(target: Target, tmp_path: Path) -> None:
    bench, accepted = Workbench(tmp_path / "bench"), dict[str, str]()
    tried = 0
    for one in alterations(target):
        tried += 1
        altered = Mutation(target, "signed again", str(one), files=one.files())
        made, sums = bench.lay_out(altered), bench.checkpoints
        if verify(made, keys=TRUSTED, level=Level.V1, checkpoints=sums).status is Status.ACCEPTED:
            accepted[one.place] = str(one)
    assert tried > 500
    unexpected = {place: told for place, told in accepted.items() if not is_owners_word(place)}
    assert not unexpected
    assert {"run.cost.seconds", "commit.recorded_at", "run.algorithm.version"} <= set(accepted)  # signed again in truth


def is_owners_word(place: str) -> bool:
    """A parent's record has the fields of a run's."""
    return place in ALSO_OF_PARENTS or place.replace("parent", "run", 1) in OWNERS_WORD or place in OWNERS_WORD
