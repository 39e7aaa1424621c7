"""What is signed of sums, and what a verifier who is given them says: by file, by arithmetic, with rows and without."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import ORIGIN
from tests.train.summed_rows import table
from tests.verify.lineages import OWNER, TRUSTED
from tests.verify.records import bundle, trained

from expunge.adversary.table.story import RunStory
from expunge.attest.attest import attest
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle
from expunge.records.documents import SUMS
from expunge.records.keys import write_trusted
from expunge.records.limits import Code
from expunge.records.record import GuaranteeKind
from expunge.records.verdict import FindingOutcome, Level, Status, Verdict
from expunge.train.run import Run
from expunge.train.state import read_tensors, write_tensors
from expunge.train.training import train
from expunge.verify.certificate import certificate
from expunge.verify.verdict_text import verdict_lines
from expunge.verify.verify import verify


@dataclass(frozen=True)
class Summed:
    """A run from which rows were taken out, and its story."""

    run: Run
    rows: Dataset
    story: RunStory

    @property
    def sums(self) -> Path:
        return (self.run.path / SUMS).parent

    def verdict(self, folder: Path, level: Level = Level.V1, **fields: Any) -> Verdict:
        """Of the story with other fields in its record; sums are given, and rows from V2 on."""
        given = fields.pop("given", self.sums)
        rows = self.rows if level > Level.V1 else None
        path = bundle(self.story.changed(**fields) if fields else self.story, folder)
        return verify(path, keys=TRUSTED, level=level, data=rows, checkpoints=given)


@pytest.fixture(scope="module")
def ridge(tmp_path_factory: pytest.TempPathFactory) -> Summed:
    return summed(tmp_path_factory.mktemp("ridge"), "ridge", width=200)


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Summed:
    return summed(tmp_path_factory.mktemp("forest"), "forest", trees=3, depth=3)


def summed(folder: Path, model: str, **options: int) -> Summed:
    rows = table(80)
    made = train(rows, model=model, model_options=options, out=folder / "made")
    run = unlearn(made, "random:3:1", data=rows, method="exact-replay", out=folder / "forgot")
    return Summed(run, rows, RunStory.of(run, OWNER, folder))


def test_claims_and_guarantee_follow_from_the_execution(ridge: Summed, tmp_path: Path) -> None:
    record = ridge.story.record
    assert record.claim == ("C9", "C10", "C4")
    assert record.guarantee.kind is GuaranteeKind.EXACT
    assert (record.checkpoints, record.trace, record.cost.thirds) == (None, None, 0)
    assert (record.environment.self_test, record.environment.initial_weights) == (None, None)
    assert record.sums is not None
    assert record.sums.digest.hex() == ridge.run.result.sums
    verdict = ridge.verdict(tmp_path, claim=("C2", "C3", "C4"))
    assert verdict.codes == (Code.GUARANTEE_TOO_HIGH,)
    for at, fields in enumerate(({"sums": None}, {"cost__row_sums": None}, {"trace": None, "execution": None})):
        assert ridge.verdict(tmp_path / str(at), **fields).status is Status.REFUSED, fields


@pytest.mark.parametrize("level", [Level.V1, Level.V2, Level.V3, Level.V4])
def test_an_honest_run_is_accepted_and_a_spot_of_sums_is_the_whole(ridge: Summed, level: Level, tmp_path: Path) -> None:
    verdict = ridge.verdict(tmp_path, level)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    assert verdict.reached is (Level.V3 if level is Level.V2 else level)
    told = " ".join(verdict_lines(verdict))
    assert "no step was taken" in told
    assert ("added up again, which gave the same bits" in told) is (level > Level.V1)


def test_a_forest_s_tree_is_drawn_by_the_verifier(forest: Summed, tmp_path: Path) -> None:
    """The others are not looked at: a tree that was altered is found where it is the one that was drawn."""
    verdict = forest.verdict(tmp_path, Level.V2)
    assert (verdict.status, verdict.reached) == (Status.ACCEPTED, Level.V2)
    (found,) = [finding for finding in verdict.findings if finding.name == "sums again"]
    assert "of 3, drawn here, grown again" in found.detail
    assert forest.verdict(tmp_path / "all", Level.V3).reached is Level.V3


def test_sums_are_personal_data_and_in_no_bundle(ridge: Summed, tmp_path: Path) -> None:
    given: dict[str, Any] = {"key": OWNER, "log": tmp_path / "log", "origin": ORIGIN, "out": tmp_path / "bundle"}
    with pytest.raises(InvalidArgument, match=r"`checkpoints` of a run of model 'ridge': rows can be read out of sums"):
        attest(ridge.run, **given, checkpoints=True)
    assert not (tmp_path / "bundle").exists()
    made = attest(ridge.run, **given)
    assert any("sums are personal data and in no bundle" in notice for notice in made.notices)
    assert not [path for path in made.bundle.rglob("*") if "sums" in path.name]


def test_attest_refuses_sums_that_are_not_the_run_s(ridge: Summed, tmp_path: Path) -> None:
    sums, kept = ridge.run.path / SUMS, (ridge.run.path / SUMS).read_bytes()
    given: dict[str, Any] = {"key": OWNER, "log": tmp_path / "log", "origin": ORIGIN, "out": tmp_path / "bundle"}
    try:
        _altered(sums)
        with pytest.raises(RunError, match=r"does not hold the sums of run\.json"):
            attest(ridge.run, **given)
        sums.unlink()
        with pytest.raises(RunError, match="is missing: a record names these sums"):
            attest(ridge.run, **given)
    finally:
        sums.write_bytes(kept)


def test_the_file_of_sums_must_be_the_one_that_was_signed(ridge: Summed, tmp_path: Path) -> None:
    folder = tmp_path / "given"
    folder.mkdir()
    verdict = ridge.verdict(tmp_path / "none", given=folder)
    assert verdict.status is Status.UNDECIDED
    assert "holds no sums.safetensors" in _open(verdict)
    (folder / "sums.safetensors").write_bytes((ridge.run.path / SUMS).read_bytes())
    assert ridge.verdict(tmp_path / "same", given=folder).status is Status.ACCEPTED
    _altered(folder / "sums.safetensors")
    assert ridge.verdict(tmp_path / "altered", given=folder).codes == (Code.CHECKPOINT_LEAF_MISMATCH,)
    (folder / "sums.safetensors").write_bytes(b"no tensors at all")
    assert ridge.verdict(tmp_path / "damaged", given=folder).codes == (Code.UNSAFE_FILE,)
    write_tensors(folder / "sums.safetensors", {"half": torch.zeros(2, dtype=torch.bfloat16)})
    assert ridge.verdict(tmp_path / "kind", given=folder).codes == (Code.UNSAFE_FILE,)
    with pytest.raises(RunError, match="is no folder"):
        ridge.verdict(tmp_path / "no-folder", given=folder / "sums.safetensors")


def test_what_was_not_given_is_not_looked_at(ridge: Summed, tmp_path: Path) -> None:
    verdict = ridge.verdict(tmp_path / "V1", given=None)
    (found,) = [finding for finding in verdict.findings if finding.name == "sums file"]
    assert (verdict.status, found.outcome) == (Status.ACCEPTED, FindingOutcome.NOT_CHECKED)
    assert ridge.verdict(tmp_path / "V4", Level.V4, given=None).status is Status.ACCEPTED
    verdict = ridge.verdict(tmp_path / "V3", Level.V3, given=None)
    assert verdict.status is Status.UNDECIDED
    assert "ask for V4, which needs rows alone" in _open(verdict)


def test_states_below_v2_are_refused_where_there_are_no_sums(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"`checkpoints` .* is used from V2 on, .* those of model 'mlp' do not"):
        verify(bundle(trained(), tmp_path), keys=TRUSTED, checkpoints=tmp_path)


@pytest.mark.parametrize("told", [2, True, 1.0])
def test_another_arithmetic_is_undecided(ridge: Summed, told: object, tmp_path: Path) -> None:
    stated = {"accumulation_arithmetic": told}
    for level in (Level.V1, Level.V4):
        verdict = ridge.verdict(tmp_path / level.name, level, environment__fingerprint=stated)
        assert verdict.status is Status.UNDECIDED
        assert "of another arithmetic" in _open(verdict)


REFUSED: dict[str, tuple[dict[str, Any], Code]] = {
    "example-steps": ({"cost__thirds": 3}, Code.SUMS_IMPOSSIBLE),
    "row-sums of other rows": ({"cost__row_sums": 7}, Code.SUMS_IMPOSSIBLE),
    "constants": ({"sums__constants": sha256(b"others")}, Code.SUMS_IMPOSSIBLE),
    "penalty": ({"sums__penalty": sha256(b"another")}, Code.PENALTY_MISMATCH),
    "no penalty": ({"sums__penalty": None}, Code.PENALTY_MISMATCH),
    "sums": ({"sums__digest": sha256(b"others")}, Code.CHECKPOINT_LEAF_MISMATCH),
    "a machine": ({"environment__self_test": sha256(b"one")}, Code.PROFILE_CLAIM_MISMATCH),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_said_of_sums_must_be_so(ridge: Summed, name: str, tmp_path: Path) -> None:
    fields, code = REFUSED[name]
    assert ridge.verdict(tmp_path, **fields).codes == (code,)


def test_a_record_with_its_parent_s_sums_took_nobody_out(ridge: Summed, tmp_path: Path) -> None:
    parent = bytes.fromhex(ridge.run.parent.result.sums or "")
    verdict = ridge.verdict(tmp_path, given=None, sums__digest=parent)
    assert verdict.codes == (Code.WEIGHTS_UNCHANGED,)
    assert "has the sums of its parent, and since then 3 rows were forgotten" in verdict.refusals[0].detail


def test_a_machine_is_named_by_whoever_takes_steps(tmp_path: Path) -> None:
    for at, field in enumerate(("self_test", "initial_weights")):
        story = trained().changed(**{f"environment__{field}": None})
        assert Code.PROFILE_CLAIM_MISMATCH in verify(bundle(story, tmp_path / str(at)), keys=TRUSTED).codes


def test_the_certificate_says_how_to_look_closer(ridge: Summed, tmp_path: Path) -> None:
    path = bundle(ridge.story, tmp_path)
    with open_bundle(path) as opened:
        found = certificate(opened, ridge.verdict(tmp_path / "again"), TRUSTED)
    assert [item.level for item in found.verification] == ["V1", "V1", "V3", "V4"]
    assert "took them out of the sums over all rows" in found.summary
    assert [rung.climb.value for rung in found.ladder][-1] == "not tried"


def test_v1_with_sums_needs_neither_torch_nor_scipy(ridge: Summed, tmp_path: Path) -> None:
    path = bundle(ridge.story, tmp_path)
    keys = tmp_path / "trusted.json"
    write_trusted(keys, TRUSTED)
    code = "import sys\nfrom expunge.verify.verify import verify\n"
    code += f"found = verify({str(path)!r}, keys={str(keys)!r}, checkpoints={str(ridge.sums)!r})\n"
    code += "assert found.status.value == 'accepted', found.as_json()\n"
    code += "assert not {'torch', 'scipy', 'sklearn', 'pyarrow'} & set(sys.modules), 'heavy'"
    subprocess.run([sys.executable, "-c", code], check=True)


def _altered(path: Path) -> None:
    state = read_tensors(path)
    write_tensors(path, {**state, "sums_targets": state["sums_targets"] + 2})


def _open(verdict: Verdict) -> str:
    return next(finding.detail for finding in verdict.findings if finding.outcome is FindingOutcome.UNDECIDED)
