"""Fewer checkpoints: the same weights, forgotten exactly, signed and replayed as before; and what it costs is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import ORIGIN, Refused
from tests.train.elsewhere import as_arrays, as_npz

from expunge.attest.attest import attest
from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.records.keys import SigningKey, TrustedKey
from expunge.records.verdict import Level, Status
from expunge.schedule.keeping import kept_steps, replay_share
from expunge.train.log import RunLog
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.verify import verify

FIELDS: dict[str, Any] = {"model": "mlp", "model_options": {"width": 8}, "epochs": 4, "batch_size": 16, "slices": 3}
FIELDS |= {"checkpoint_interval": 2}


def latecomer(run: Run) -> str:
    """The person whose rows first sit latest, as a rule."""
    people = np.array(run.data()[Split.TRAIN].subjects)
    names = sorted(set(people))
    return "subject:" + max(names, key=lambda name: run.schedule.first_touch(0, np.flatnonzero(people == name)) or 0)


def there(run: Run | Path) -> set[int]:
    folder = run.path if isinstance(run, Run) else run
    return {int(path.stem.rpartition("-")[2]) for path in (folder / "checkpoints").iterdir()}


@pytest.fixture(scope="module")
def rows(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(as_npz(as_arrays(pictures), tmp_path_factory.mktemp("rows") / "rows.npz"))


@pytest.fixture(scope="module")
def whole(rows: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(rows, out=tmp_path_factory.mktemp("whole") / "run", **FIELDS)


@pytest.fixture(scope="module")
def few(rows: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(rows, out=tmp_path_factory.mktemp("few") / "run", keep_checkpoints=3, **FIELDS)


def test_the_folder_is_bounded_and_the_weights_are_the_same(rows: str, whole: Run, few: Run, refused: Refused) -> None:
    assert few.weights_digest == whole.weights_digest
    assert there(few) == kept_steps(few.schedule, 0, 2, 3)
    assert len(there(few)) == 3 < len(there(whole)) == len(kept_steps(whole.schedule, 0, 2, None))
    digests = [[state.digest for state in run.log.checkpoints(0)] for run in (whole, few)]
    assert digests[0] == digests[1]
    assert (whole.told.keep_checkpoints, few.told.keep_checkpoints) == (None, 3)
    present = few.schedule.shard_slots(0)
    now, before = (replay_share(few.schedule, few.units, present, 2, keep) for keep in (3, None))
    assert now > before
    told = f"3 of {len(there(whole))} checkpoints are kept: to forget one person exactly costs {now:.1%}"
    assert [told in notice for notice in few.told.notices or ()] == [True]
    assert f"{before:.1%} with all of them" in (few.told.notices or ("",))[0]
    assert not whole.told.notices
    for wrong in (0, -1, 2.5, "3", True):
        with refused(InvalidArgument, "`keep_checkpoints`", "a whole number from 1"):
            train(rows, out=few.path, keep_checkpoints=wrong, **FIELDS)  # pyright: ignore[reportArgumentType]


def test_it_forgets_exactly_and_is_replayed(
    rows: str, few: Run, tmp_path: Path, owner: SigningKey, trusted: tuple[TrustedKey, ...]
) -> None:
    forgot = unlearn(few, latecomer(few), method="exact-replay", out=tmp_path / "forgot")
    again = unlearn(few, latecomer(few), method="retrain", out=tmp_path / "again")
    assert forgot.weights_digest == again.weights_digest
    assert str(forgot.guarantee) == "Exact"
    touched = few.schedule.first_touch(0, forgot.forget_set.slots)
    assert forgot.forgetting.reused_steps["0"] == max(step for step in there(few) if step <= (touched or 0))
    assert not any("missing or damaged" in notice for notice in forgot.told.notices or ())
    lost = [sentence for sentence in survey(forgot).unclear if "checkpoints" in sentence]
    assert lost == []
    for number, run in enumerate((few, forgot)):
        bundle = tmp_path / f"bundle-{number}"
        attest(run, key=owner, log=tmp_path / "log", origin=ORIGIN, out=bundle, checkpoints=True)
        verdict = verify(bundle, keys=trusted, level="V4", data=rows)
        assert verdict.status is Status.ACCEPTED, [to_plain(finding) for finding in verdict.refusals]
        assert verdict.reached is Level.V4


@pytest.mark.parametrize("at", [3, 7, 12])
def test_a_run_that_was_interrupted_goes_on(rows: str, few: Run, tmp_path: Path, at: int) -> None:
    def stopped(done: int, total: int) -> None:
        if done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(rows, out=tmp_path / "run", keep_checkpoints=3, progress=stopped, **FIELDS)
    latest = max(there(tmp_path / "run"))
    assert there(tmp_path / "run") <= {latest, *there(few)}
    left = tmp_path / "run" / "checkpoints" / next(iter(RunLog(tmp_path / "run" / "log.jsonl").checkpoints(0))).name
    left.write_bytes(b"what a kill left")
    run = train(rows, out=tmp_path / "run", keep_checkpoints=3, **FIELDS)
    assert run.weights_digest == few.weights_digest
    assert there(run) == there(few)


def test_a_damaged_state_is_still_said(few: Run, tmp_path: Path) -> None:
    forgot = unlearn(few, latecomer(few), method="exact-replay", out=tmp_path / "one")
    used = few.path / "checkpoints" / f"shard-0-step-{forgot.forgetting.reused_steps['0']:08d}.safetensors"
    if forgot.forgetting.reused_steps["0"] == 0:
        pytest.fail("nobody sits late enough for this test")
    content = used.read_bytes()
    used.write_bytes(content[:-1])
    try:
        told = unlearn(few, latecomer(few), method="exact-replay", out=tmp_path / "two")
    finally:
        used.write_bytes(content)
    assert any("missing or damaged" in notice for notice in told.told.notices or ())
    assert told.weights_digest == forgot.weights_digest


def test_noise_in_the_loss_leaves_no_state_to_go_on_from(pictures: Dataset, tmp_path: Path) -> None:
    fields = {"task": "logistic", "model": "linear", "perturbation": 1.0}
    run = train(pictures, out=tmp_path / "run", epochs=2, checkpoint_interval=2, keep_checkpoints=1, **fields)
    assert any("costs 100.0% of a retraining on average, 100.0%" in notice for notice in run.told.notices or ())
