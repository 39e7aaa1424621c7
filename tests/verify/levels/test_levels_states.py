"""Signed states that no training can have left behind, and machines that cannot hold what was signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified

from expunge.data.dataset import Dataset
from expunge.records.keys import SigningKey
from expunge.records.tensors import TensorFile
from expunge.records.verdict import Level, Status, Verdict
from expunge.schedule.recipe import Optimiser, OptimiserName
from expunge.train.optimiser import COUNTER, MOMENTS, make_optimiser
from expunge.train.run import Run
from expunge.train.state import Tensors, optimiser_state, read_tensors
from expunge.train.training import train
from expunge.verify import state_files
from expunge.verify.levels import execution, twin

STATE = "shard-0-step-00000004.safetensors"


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    optimiser = Optimiser(name=OptimiserName.ADAMW, rate=0.001)
    fields: dict[str, Any] = {"model": "mlp", "epochs": 1, "batch_size": 16, "checkpoint_interval": 4}
    return train(pictures, out=tmp_path_factory.mktemp("states") / "base", optimiser=optimiser, **fields)


def resealed(base: Run, change: Callable[[Tensors], Any], owner: SigningKey, folder: Path) -> Path:
    """The bundle with another state after four steps, which is signed like all others."""
    state = read_tensors(base.path / "checkpoints" / STATE)
    change(state)
    return sealed(story_of(base, owner).with_state(4, state), owner, folder / "sealed")


def codes(verdict: Verdict) -> list[str]:
    return [code.value for code in verdict.codes]


@pytest.mark.parametrize(("count", "error"), [(-1.0, "ZeroDivisionError"), (-1e30, "OverflowError")])
def test_counters_that_no_step_left_behind_are_refused(
    count: float, error: str, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Adam divides by 1 − β^step."""

    def counted(state: Tensors) -> None:
        for name in [name for name in state if name.endswith(f".{COUNTER}")]:
            state[name] = torch.full_like(state[name], count)

    verdict = verified(resealed(base, counted, owner, tmp_path), trusted, "V2", data=pictures)
    assert codes(verdict) == ["REPLAY_STATE_MISMATCH"]
    assert f"cannot be carried out: {error}" in finding_of(verdict, "execution").detail


@pytest.mark.parametrize("name", ["zzz", "model.zzz", "optimiser.0.zzz", "optimiser.99.exp_avg", "optimiser.0.exp_avg"])
def test_a_tensor_that_no_state_of_the_model_has_is_refused_before_it_is_read(
    name: str,
    base: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It might be larger than the memory of any machine: its header says so in a few bytes."""
    real = state_files.tensors_in

    def small(file: TensorFile) -> Tensors:
        assert all(tensor.shape != (3, 5, 7) for tensor in file.tensors)
        return real(file)

    bundle = resealed(base, lambda state: state.update({name: torch.zeros(3, 5, 7)}), owner, tmp_path)
    monkeypatch.setattr(state_files, "tensors_in", small)
    verdict = verified(bundle, trusted, "V2", data=pictures)
    assert codes(verdict) == ["CHECKPOINT_LEAF_MISMATCH"]
    assert f"the state of shard 0 at step 4 holds a tensor {name!r}" in finding_of(verdict, "states").detail


@pytest.mark.parametrize("kind", OptimiserName)
def test_the_moments_of_the_table_are_those_that_steps_leave_behind(kind: OptimiserName) -> None:
    assert set(MOMENTS) == set(OptimiserName)
    model = torch.nn.Linear(3, 2)
    plain = {"momentum": 0.0, "weight_decay": 0.0} if kind is OptimiserName.SIGN else {}
    optimiser = make_optimiser(Optimiser(name=kind, rate=0.1, **plain), model)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    shapes = {name: tuple(value.shape) for name, value in optimiser_state(optimiser).items()}
    assert shapes == {
        f"{number}.{moment}": () if moment == COUNTER else tuple(parameter.shape)
        for number, parameter in enumerate(model.parameters())
        for moment in MOMENTS[kind]
    }


def test_a_state_that_does_not_fit_into_memory_decides_nothing(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bytes:
        raise MemoryError

    bundle = sealed(story_of(base, owner), owner, tmp_path)
    monkeypatch.setattr(TensorFile, "content", full)
    verdict = verified(bundle, trusted, "V3", data=pictures)
    assert (verdict.status, finding_of(verdict, "states").reason) == (Status.UNDECIDED, "evidence-missing")
    assert "has not the memory for tensor" in finding_of(verdict, "states").detail


@pytest.mark.parametrize(("level", "name"), [("V3", "execution"), ("V4", "twin run")])
def test_steps_that_do_not_fit_into_memory_decide_nothing(
    level: str,
    name: str,
    base: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 1 bytes")

    bundle = sealed(story_of(base, owner), owner, tmp_path)
    for module in (execution, twin):
        monkeypatch.setattr(module, "carry_out_segment", full)
    verdict = verified(bundle, trusted, level, data=pictures)
    assert (verdict.status, verdict.codes) == (Status.UNDECIDED, ())
    assert finding_of(verdict, name, Level[level]).reason == "evidence-missing"
