"""What stands in front of a model: a constant scale for pixels, a parameter-free batch norm for real numbers.

In front of a model that was trained elsewhere stands what its owner does to the rows, in constants, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from expunge.data.encoding import Encoding
from expunge.models.sight import CodeName, in_sight
from expunge.tasks.regression import Back


class Front(nn.Module):
    """Brings encoded rows to the scale a model expects, without a constant that we fitted on data.

    The running statistics of the batch norm are training state: a replay covers them. A model may ask for its numbers
    as they are.
    """

    mean: torch.Tensor | None
    std: torch.Tensor | None

    def __init__(self, encoding: Encoding, *, raw_numbers: bool = False) -> None:
        super().__init__()
        self.scale = encoding.scale
        self.width = encoding.shape[0]
        self.standardised = 0 if raw_numbers else encoding.standardised
        self.register_buffer("mean", None, persistent=False)
        self.register_buffer("std", None, persistent=False)
        prepared = encoding.preparation
        if prepared is not None and (any(prepared.mean) or set(prepared.std) != {1.0}):
            axes = (-1, 1, 1) if encoding.is_image else (-1,)
            self.mean = torch.tensor(prepared.mean).reshape(axes)
            self.std = torch.tensor(prepared.std).reshape(axes)
        self.norm: nn.Module | None = None
        if self.standardised:
            kind = nn.BatchNorm2d if encoding.is_image else nn.BatchNorm1d
            # Days lie thousands of deviations from 0, where a running average begins: theirs counts every step alike.
            self.norm = kind(self.standardised, affine=False, momentum=None if encoding.dated else 0.1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        values = inputs.float()
        if self.norm is None:
            scaled = values if self.scale == 1.0 else values * self.scale
            return scaled if self.mean is None or self.std is None else (scaled - self.mean) / self.std
        if self.standardised == values.shape[1]:
            return self.norm(values)
        return torch.cat([self.norm(values[:, : self.standardised]), values[:, self.standardised :]], dim=1)

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor, float] | None:
        """Running mean and variance of the batch norm, and what it adds to the variance; None where there is none."""
        if self.norm is None:
            return None
        mean, variance, small = self.norm.running_mean, self.norm.running_var, self.norm.eps
        assert isinstance(mean, torch.Tensor)
        assert isinstance(variance, torch.Tensor)
        assert isinstance(small, float)
        return mean, variance, small

    def scale_of_rows(self) -> tuple[torch.Tensor | float, torch.Tensor | float]:
        """(centre, unit): encoded rows are ``centre + unit · values`` for values as the model behind sees them."""
        statistics = self.statistics()
        if statistics is None and self.mean is not None and self.std is not None:
            return self.mean / self.scale, self.std / self.scale
        if statistics is None:
            return 0.0, 1.0 / self.scale
        mean, variance, small = statistics
        centre, unit = mean, (variance + small).sqrt()
        if isinstance(self.norm, nn.BatchNorm2d):
            return centre[:, None, None], unit[:, None, None]
        rest = self.width - self.standardised
        return torch.cat([centre, centre.new_zeros(rest)]), torch.cat([unit, unit.new_ones(rest)])


@dataclass(frozen=True)
class InputSpace:
    """Encoded rows in the units that a model sees, ``rows = centre + unit · values``, and how far rows may reach.

    Pixels come in from 0 to 255 and are scaled by a constant; numbers are measured in standard deviations; a model
    without a front takes rows as they are.
    """

    centre: torch.Tensor | float
    unit: torch.Tensor | float
    bounds: tuple[float, float] | None

    def rows(self, values: torch.Tensor) -> torch.Tensor:
        """What must come in so that the model sees ``values``."""
        return self.centre + self.unit * values

    def bounded(self, rows: torch.Tensor) -> torch.Tensor:
        """The same rows, no entry beyond its range; they are not rounded."""
        return rows if self.bounds is None else rows.clamp(*self.bounds)


def input_space(model: nn.Module, encoding: Encoding) -> InputSpace:
    """In which units a model sees the rows of an encoding, by its state as it stands."""
    front = getattr(model, "front", None)
    centre, unit = front.scale_of_rows() if isinstance(front, Front) else (0.0, 1.0)
    return InputSpace(centre, unit, encoding.bounds)


class Fronted(nn.Module):
    """A model with its front, and behind one that answers in ``numbers`` what brings them to the labels' units.

    ``addressed_dropout`` says that all its draws are addressed by chair.

    ``whose`` names somebody's code, which is looked at while it runs; None is our own.
    """

    def __init__(
        self,
        encoding: Encoding,
        body: nn.Module,
        *,
        addressed_dropout: bool,
        whose: CodeName | None = None,
        numbers: bool = False,
    ) -> None:
        super().__init__()
        self.front = Front(encoding, raw_numbers=getattr(body, "takes_raw_numbers", False) is True)
        self.body = body
        self.back = Back() if numbers and encoding.preparation is None else None
        self.addressed_dropout = addressed_dropout
        self.whose = whose
        self.unready: str | None = None  # why its state cannot be kept in named tensors

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with in_sight(self.whose):
            answers = self.body(self.front(inputs))
        return answers if self.back is None else self.back(answers)
