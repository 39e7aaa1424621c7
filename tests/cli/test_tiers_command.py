"""Tiers at the command line: trained, forgotten, proven to an auditor; and in a study file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.study.grid import lay_out
from expunge.study.job import Train
from expunge.study.opened import OpenedData
from expunge.study.references import _Request
from expunge.study.store import Store
from expunge.study.study_file import read_study
from expunge.study.work import carry_out
from expunge.train.run import Run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """90 people of two rows each, and a tiers file in which each tenth is late."""
    folder = tmp_path / "table"
    folder.mkdir()
    rows = [f"p{at // 2},{at % 7},{(at * 5) % 11},{'yes' if at % 7 > 3 else 'no'}" for at in range(180)]
    (folder / "rows.csv").write_text("\n".join(["who,a,b,y", *rows]) + "\n", encoding="utf-8")
    tiers = [f"p{at},{int(at % 10 == 0)}" for at in range(90)]
    (folder / "tiers.csv").write_text("\n".join(["subject,tier", *tiers]) + "\n", encoding="utf-8")
    return folder


def test_the_command_trains_by_tiers_and_its_bundle_proves_who_sat_where(
    table: Path, expunge: Expunge, tmp_path: Path
) -> None:
    named = ("--label", "y", "--subject", "who", "--shards", 2, "--batch-size", 16)
    tiered = ("--placement", f"tiers:{table / 'tiers.csv'}", "--stages", "3,1")
    base, forgot, bundle = tmp_path / "base", tmp_path / "forgot", tmp_path / "bundle"
    done = expunge("train", table / "rows.csv", *named, *tiered, "--out", base)
    assert done.status == 0, done.err
    assert "those trained on, tier by tier: accuracy" in done.out
    told = expunge("info", base).out
    assert "2 × 2 tiers, stages of 3, 1 epochs" in told
    assert "rows of tier 1" in told
    refused = expunge("train", table / "rows.csv", *named, *tiered, "--slices", 2, "--out", tmp_path / "no")
    assert refused.status == 2
    assert "--slices 2 with --placement tiers:" in refused.err
    assert expunge("unlearn", base, "--forget", "subject:p10", "--out", forgot).status == 0
    assert "rows that stay, tier by tier" in expunge("evaluate", forgot).out
    (table / "tiers.csv").unlink()  # nobody needs it from now on
    assert expunge("keygen", "--out", tmp_path / "keys").status == 0
    key = ("--key", tmp_path / "keys" / "private.pem", "--checkpoints", "--out", bundle)
    assert expunge("attest", forgot, *key).status == 0
    keys = ("--keys", tmp_path / "keys" / "trusted.json", "--data", table / "rows.csv")
    for level in ("V1", "V2", "V3", "V4"):
        accepted = expunge("verify", bundle, "--level", level, *keys[: 2 if level == "V1" else None])
        assert accepted.status == 0, accepted.out
    people = (base / "tiers.bin").stat().st_size // 8
    assert f"holds     units: {people} units in 2 tiers over 144 slots" in accepted.out
    tiers = bytearray((bundle / "tiers.bin").read_bytes())
    tiers[0] ^= 1
    (bundle / "tiers.bin").write_bytes(tiers)
    assert "SHARD_MAP_MISMATCH" in expunge("verify", bundle, *keys[:2]).out


def test_studies_and_references_deal_by_tiers(table: Path, tmp_path: Path) -> None:
    study = tmp_path / "tiered.toml"
    study.write_text(
        f"""
        references = 1
        witnesses = 0
        seeds = [0]
        methods = ["exact-replay"]
        [data.rows]
        location = "{table / "rows.csv"}"
        label = "y"
        subject = "who"
        [training.tiered]
        model = "mlp"
        model_options = {{ width = 4 }}
        shards = 2
        placement = "tiers:{table / "tiers.csv"}"
        stages = [2, 1]
        [forget.late]
        rules = "subject:p10"
        """,
        encoding="utf-8",
    )
    grid = lay_out(read_study(study))
    jobs = [job for job in grid.jobs if isinstance(job, Train)]
    assert {job.means.recipe["placement"] for job in jobs} == {"tiers"}
    store = Store(tmp_path / "store")
    carry_out(jobs[0], store, OpenedData())
    run = Run.open(store.place(jobs[0].key))
    assert run.tiers is not None
    assert run.tiers.tolist() == list(jobs[0].means.tiers or ())
    assert run.recipe.stages == (2, 1)
    job = next(_Request.of(run, "subject:p10", store=store.folder, data=None).references())
    carry_out(job, store, OpenedData())
    found = Run.open(store.place(job.key))
    assert replace(found.recipe, seed=0) == replace(run.recipe, seed=0)
    assert found.tiers is not None
    assert found.tiers.tolist() == run.tiers.tolist()
