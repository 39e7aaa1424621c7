"""Honest records that look like nothing done: forgetting left bits as they were, and a full replay shows it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.verify.levels.replaying import finding_of

from expunge.attest.attest import attest
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.keys import PRIVATE, TRUSTED, keygen
from expunge.records.verdict import FindingOutcome, Level, Status
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.verify import verify

SIGNS = Optimiser(name=OptimiserName.SIGN, momentum=0.0, weight_decay=0.0)
OTHER_PERSON = "subject:someone-05"


@pytest.fixture(scope="module")
def made(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """A training by signs of gradients over all rows, which one row more or less seldom turns; and such a row."""
    folder = tmp_path_factory.mktemp("signs")
    base = train(pictures, out=folder / "base", model="linear", epochs=1, batch_size=2000, optimiser=SIGNS)
    for at, row in enumerate(base.data(pictures)[Split.TRAIN].ids):
        (folder / "row.txt").write_text(f"{row}\n", encoding="utf-8")
        rule = f"ids:{folder / 'row.txt'}"
        if unlearn(base, rule, out=folder / str(at), data=pictures).weights_digest == base.weights_digest:
            return base, rule
    raise AssertionError("every single row turns a sign")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owner") / "keys"
    keygen(folder, "owner.example/log")
    return folder


def answers(run: Run, key: Path, out: Path, pictures: Dataset) -> dict[str, Any]:
    attest(run, key=key / PRIVATE, out=out, checkpoints=True)
    return {level: verify(out, keys=key / TRUSTED, level=level, data=pictures) for level in ("V1", "V3")}


@pytest.mark.parametrize("method", ["exact-replay", "retrain"])
def test_an_exact_record_of_the_same_weights_is_signed_and_a_full_replay_clears_it(
    method: str, made: tuple[Run, str], pictures: Dataset, key: Path, tmp_path: Path
) -> None:
    base, rule = made
    run = unlearn(base, rule, out=tmp_path / "run", data=pictures, method=method)
    assert run.weights_digest == base.weights_digest
    told = attest(run, key=key / PRIVATE, out=tmp_path / "again", checkpoints=True).notices
    assert any("V1 refuses them" in notice and "shows the coincidence" in notice for notice in told)
    found = answers(run, key, tmp_path / "bundle", pictures)
    assert [code.value for code in found["V1"].codes] == ["WEIGHTS_UNCHANGED"]
    assert (
        "a full replay, V3, would show an honest coincidence"
        in finding_of(found["V1"], "weights moved", Level.V1).detail
    )
    assert found["V3"].status is Status.ACCEPTED


def test_the_next_exact_record_of_the_chain_is_cleared_by_its_own_replay(
    made: tuple[Run, str], pictures: Dataset, key: Path, tmp_path: Path
) -> None:
    """Whoever is refused for good because of a coincidence long ago could never be believed again."""
    base, rule = made
    first = unlearn(base, rule, out=tmp_path / "first", data=pictures)
    second = unlearn(first, OTHER_PERSON, out=tmp_path / "second", data=pictures)
    found = answers(second, key, tmp_path / "bundle", pictures)
    assert finding_of(found["V1"], "weights moved before", Level.V1).outcome is FindingOutcome.REFUSED
    assert found["V3"].status is Status.ACCEPTED
    assert "every step was carried out again" in finding_of(found["V3"], "weights moved before", Level.V1).detail


def test_hygiene_accuses_no_exact_run_of_the_same_bits(
    made: tuple[Run, str], pictures: Dataset, tmp_path: Path
) -> None:
    base, rule = made
    copy = tmp_path / "runs" / "base"
    shutil.copytree(base.path, copy)
    run = unlearn(copy, rule, out=tmp_path / "runs" / "forgot", data=pictures)
    found = survey(run, data=pictures)
    assert found.unchanged is None
    assert found.holdings, "the original still holds the row"
    assert not [holding for holding in found.holdings if run.path in holding.path.parents]
