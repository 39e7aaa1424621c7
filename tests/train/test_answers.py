"""A result whose answers are no numbers is refused, in training and in unlearning."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.train.run import Run
from expunge.train.training import train


class Lost(nn.Module):
    """Trains well, and answers nothing in eval mode once it has learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer = self.head(inputs.flatten(1))
        if self.training:
            self.passes += 1
            return answer
        return answer / 0.0 * 0.0 if self.passes > 0 else answer


def lost(inputs: tuple[int, ...], classes: int) -> nn.Module:
    return Lost()


def test_a_model_that_answers_nothing_is_no_training(pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"answers 64 of 64 rows with numbers that are not finite: no result"):
        train(pictures, out=tmp_path / "lost", model="tests.train.test_answers:lost", epochs=1)
    with pytest.raises(RunError, match="interrupted or failed"):
        Run.open(tmp_path / "lost")


def test_finite_weights_with_infinite_answers_are_no_unlearning(
    small_run: Run, pictures: Dataset, tmp_path: Path
) -> None:
    """One step at a rate so high that the weights are finite and their products are not."""
    from expunge.methods.lookup import make_method

    method = make_method("gradient-ascent", {"rate": "1e30", "epochs": "1", "batch_size": "150"})
    with pytest.raises(RunError, match="numbers that are not finite: no result"):
        unlearn(small_run, "subject:someone-04", method=method, out=tmp_path / "out", data=pictures)
