"""A model of somebody else's: a factory, and a plain loop that trains it without a line of ours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from expunge.data.dataset import Dataset

FACTORY = "tests.train.elsewhere:small_cnn"
SCALE, MEAN, STD = 1 / 255, 0.25, 0.4


def small_cnn(inputs: tuple[int, ...], classes: int, width: int = 6) -> nn.Module:
    channels, height, across = inputs
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width * (height // 2) * (across // 2), classes),
    )


class Tied(nn.Module):
    """Two names of one tensor."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
        self.up.weight = self.down.weight
        self.head = nn.Linear(size, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.up(self.down(rows.flatten(1))))


def tied(inputs: tuple[int, ...], classes: int) -> nn.Module:
    return Tied(int(np.prod(inputs)))


def prepared(rows: Dataset) -> torch.Tensor:
    """Rows as their owner gives them to the model."""
    pixels = torch.from_numpy(rows.content["x"]).float()[:, None]
    return (pixels * SCALE - MEAN) / STD


def trained(rows: Dataset, seed: int = 0, epochs: int = 12) -> nn.Module:
    """A plain loop: shuffled batches, SGD."""
    torch.manual_seed(seed)
    model = small_cnn((1, 8, 8), 3)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    inputs, labels = prepared(rows), torch.from_numpy(rows.labels)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels)).split(16):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimiser.step()
    return model.eval()


def saved(model: nn.Module, path: Path) -> Path:
    save_file(model.state_dict(), path)
    return path


def as_arrays(rows: Dataset) -> Dataset:
    """The same pictures as a file of arrays gives them: content in x, ids by position."""
    return replace(
        rows,
        ids=tuple(f"row-{row}" for row in range(len(rows))),
        positional=True,
        columns=(replace(rows.columns[0], name="x"),),
        content={"x": rows.content["image"]},
    )


def as_npz(rows: Dataset, path: Path) -> Path:
    """The rows as a file, each with its person."""
    np.savez(path, x=rows.content["x"], y=rows.labels, subjects=np.array(rows.subjects))
    return path
