"""The speed harness measures the same work on both sides, and says when a bound is missed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.loop import Work
from benchmarks.pairs import ratio_row, ratios


def test_ratios_take_turns_and_are_taken_pair_by_pair() -> None:
    calls: list[str] = []
    found = ratios(lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert len(found) == 3


def test_a_missed_bound_is_said() -> None:
    assert ratio_row("x", [1.0, 1.2, 1.3], 1.1)["kept"] is False
    row = ratio_row("x", [1.0, 1.05, 1.3], 1.1)
    assert row["kept"] is True
    assert row["value"] == pytest.approx(1.05)


def test_both_loops_carry_out_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    import benchmarks.loop as harness
    import torch

    work = Work("cnn", 4, side=8)
    models: list[torch.nn.Module] = []
    real = harness.build

    def remembered(*arguments: object) -> torch.nn.Module:
        models.append(real(*arguments))  # type: ignore[arg-type]
        return models[-1]

    monkeypatch.setattr(harness, "build", remembered)
    work.ours()()
    work.bare()()
    ours, bare = (model.state_dict() for model in models)
    for name, value in ours.items():
        torch.testing.assert_close(value, bare[name], rtol=1e-4, atol=1e-5)
