"""Shards that are trained apart from their run: the same states, trace, weights and cost, whoever carries them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json
from tests.study.conftest import Here

import expunge
from expunge.core.beacon import Beacon
from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.study_store import JobOutcome
from expunge.study.engine import Ended, Moved
from expunge.study.side_by_side import STORE, SideBySide
from expunge.study.store import ended
from expunge.train import training
from expunge.train.run import Run

FIELDS: dict[str, Any] = {
    "model": "mlp",
    "epochs": 2,
    "batch_size": 8,
    "shards": 2,
    "slices": 2,
    "checkpoint_interval": 4,
    "trace": "gradients",
}
BEACON = Beacon(value=bytes(range(32)), source="drand", round=7, not_before="2026-01-31T12:00:00Z")
IN_PLACE = SideBySide(2, Here)


@pytest.fixture(scope="module")
def rows(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(path, x=pictures.content["image"], y=pictures.labels, subjects=np.array(pictures.subjects))
    return path


@pytest.fixture(scope="module")
def tiers(pictures: Dataset, rows: Path) -> Path:
    path = rows.with_name("tiers.csv")
    lines = [f"{name},{int(number % 3 == 0)}" for number, name in enumerate(dict.fromkeys(pictures.subjects))]
    path.write_text("\n".join(["subject,tier", *lines]), encoding="utf-8")
    return path


def files(run: Run) -> set[str]:
    return {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}


def states(run: Run, shard: int) -> list[tuple[int, str, int]]:
    return [(state.step, state.digest, state.thirds) for state in run.log.checkpoints(shard)]


def same(run: Run, other: Run) -> None:
    """Everything but what the clock said, and the order of the log."""
    assert files(run) == files(other)
    for name in files(run) - {"run.json", "log.jsonl"}:
        assert (run.path / name).read_bytes() == (other.path / name).read_bytes(), name
    assert {**run_json(run), "seconds": 0} == {**run_json(other), "seconds": 0}
    for shard in range(run.recipe.shards):
        assert states(run, shard) == states(other, shard)


@pytest.mark.parametrize(
    "more",
    [{"without": "subject:someone-03", "keep_checkpoints": 2}, {"beacon": BEACON, "trace": "off", "tiers": True}],
    ids=["without", "beacon and tiers"],
)
def test_the_run_is_the_same_to_the_byte(more: dict[str, Any], rows: Path, tiers: Path, tmp_path: Path) -> None:
    fields = {**FIELDS, **more}
    if fields.pop("tiers", None):
        del fields["slices"], fields["epochs"]
        fields |= {"placement": f"tiers:{tiers}", "stages": (2, 1)}
    alone = expunge.train(str(rows), out=tmp_path / "alone", **fields)
    apart = expunge.train(str(rows), out=tmp_path / "apart", apart=IN_PLACE, **fields)
    same(alone, apart)
    assert expunge.train(str(rows), out=tmp_path / "apart", apart=IN_PLACE, **fields).told == apart.told
    forgot = [unlearn(run, ["subject:someone-05"], out=tmp_path / f"{run.path.name}-2") for run in (alone, apart)]
    assert forgot[0].weights_digest == forgot[1].weights_digest
    assert forgot[0].result.example_steps == forgot[1].result.example_steps


def test_worker_processes_give_the_same(rows: Path, tmp_path: Path) -> None:
    alone = expunge.train(str(rows), out=tmp_path / "alone", **FIELDS)
    same(alone, expunge.train(str(rows), out=tmp_path / "apart", apart=SideBySide(2), **FIELDS))


def test_what_was_begun_goes_on(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped while shards are trained, and while they are taken over."""
    alone = expunge.train(str(rows), out=tmp_path / "alone", **FIELDS)
    done: list[str] = []

    class Dying(Here):
        def submit(self, job: Any) -> None:
            done.append(job.title)
            if len(done) == 2:
                raise KeyboardInterrupt
            super().submit(job)

    def train() -> Run:
        return expunge.train(str(rows), out=tmp_path / "apart", apart=SideBySide(2, Dying), **FIELDS)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert (tmp_path / "apart" / STORE).is_dir()
    real = training.take_over

    def interrupted(*given: Any) -> None:
        real(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "take_over", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train()
    apart = train()
    assert done == [f"shard {shard} of apart" for shard in (0, 1, 1)]  # no more than was lost
    same(alone, apart)


def test_what_cannot_be_trained_apart_is_refused(rows: Path, pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="`jobs` above 1 with one shard: nothing is trained beside it"):
        expunge.train(str(rows), out=tmp_path / "one", apart=IN_PLACE, **{**FIELDS, "shards": 1})
    with pytest.raises(UnsupportedYet, match="side by side: its data were handed over in memory"):
        expunge.train(pictures, out=tmp_path / "memory", apart=IN_PLACE, **FIELDS)
    secret = {"salts": tmp_path / "salts", **FIELDS}
    expunge.train(str(rows), out=tmp_path / "secret", commit_only=True, **secret)
    with pytest.raises(UnsupportedYet, match="side by side: its salts are secret; train them one after another"):
        expunge.train(str(rows), out=tmp_path / "secret", apart=IN_PLACE, **secret)
    with pytest.raises(InvalidArgument, match="`jobs` 0 must be a whole number from 1"):
        SideBySide(0)


def test_a_shard_that_fails_is_said(rows: Path, tmp_path: Path) -> None:
    class Failing(Here):
        def wait(self, seconds: float) -> list[Ended | Moved]:
            given, self.given = self.given, []
            return [Ended(ended(job, JobOutcome.FAILED, reason="no room"), "nowhere") for job in given]

    with pytest.raises(RunError, match=r"shard 0 of apart could not be trained \(no room\): run the command again"):
        expunge.train(str(rows), out=tmp_path / "apart", apart=SideBySide(2, Failing), **FIELDS)
