"""One number per example, squared error; measured in units of the labels that were seen in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from expunge.core.statistics.residuals import fit_of_numbers
from expunge.tasks.task import LABELS, Batch, Task, Told


class Back(nn.Module):
    """Brings a model's answers to the units of the labels: ``mean + unit · answer``, in float64.

    Mean and unit (a standard deviation) are running statistics of the labels that stayed in training, a batch norm's
    average over all steps. They are training state and no constant of the recipe: replays cover them, and training
    without somebody never saw that label.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1, affine=False, momentum=None, dtype=torch.float64)

    def follow(self, labels: torch.Tensor) -> None:
        """Take up the labels of a batch in training; where statistics may not be written, nothing is."""
        if self.norm.training:
            self.norm(labels[:, None])

    @property
    def unit(self) -> torch.Tensor:
        """The standard deviation of the labels so far; 1 where they do not vary."""
        variance = self.norm.running_var
        assert variance is not None
        return torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()

    @property
    def mean(self) -> torch.Tensor:
        """The mean of the labels so far."""
        assert self.norm.running_mean is not None
        return self.norm.running_mean

    def take_up(self, mean: float, unit: float) -> None:
        """Stand where another one stood."""
        assert self.norm.running_var is not None
        self.mean.fill_(mean)
        self.norm.running_var.fill_(unit**2)

    def forward(self, answers: torch.Tensor) -> torch.Tensor:
        return self.mean + self.unit * answers.double()


class Regression(Task):
    """A number for each example: the loss is ½·(residual ÷ unit)², where residual = answer − label.

    Outputs are (rows, 2) in float64: the answer in the labels' own units, and the unit that residuals are measured in,
    so that a rate means the same whatever the labels are counted in. Where nothing stands behind the model, as with
    one that was trained elsewhere, the unit is 1.
    """

    name = "regression"
    takes = "numbers as labels (`task` regression)"

    def outputs(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        backs = [part for part in model.modules() if isinstance(part, Back)]
        for back in backs:
            back.follow(batch[LABELS])
        answers = model(self.inputs(batch)).double()
        unit = torch.stack([back.unit for back in backs]).mean() if backs else torch.ones_like(answers[:1, 0]).mean()
        return torch.cat([answers, unit.expand(len(answers), 1)], dim=1)

    def loss_of(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.5 * ((outputs[:, 0] - batch[LABELS]) / outputs[:, 1]).square()

    def signals(self, model: nn.Module, batch: Batch) -> dict[str, np.ndarray]:
        outputs = self.outputs(model, batch).detach()
        answers = outputs[:, 0]
        return Told(
            loss=self.loss_of(outputs, batch).cpu().numpy(),
            answer=answers.cpu().numpy(),
            residual=(answers - batch[LABELS]).cpu().numpy(),
        )

    def fit(self, told: Mapping[str, np.ndarray]) -> dict[str, float]:
        return fit_of_numbers(told["answer"], told["residual"])
