"""Rows in memory on the device: gathered by slot, augmented in batches, guarded against undeclared access."""

from __future__ import annotations

import numpy as np
import torch

from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.models.features.choice import map_of
from expunge.models.features.contract import Encoded, Ragged
from expunge.schedule.plan import Part
from expunge.schedule.recipe import Augmentation, Recipe
from expunge.tasks.task import INPUTS, Batch, Rows, labelled


class Examples(Rows):
    """Encoded rows of one data set. ``allowed`` says which slots may be read; reading another one is an error."""

    def __init__(self, recipe: Recipe, dataset: Dataset, device: torch.device) -> None:
        if recipe.augmentation.active and not recipe.inputs.is_image:
            raise InvalidArgument("flips and crops need images: leave the augmentation out for this data")
        encoded = map_of(recipe).encode(dataset) if recipe.accumulated else recipe.inputs.encode(dataset)
        self._inputs = encoded if isinstance(encoded, Ragged) else torch.from_numpy(encoded).to(device)
        self._labels = torch.from_numpy(dataset.labels).to(device)
        self.allowed = dataset.present.copy()
        self._everybody = bool(self.allowed.all())
        self.augmentation = recipe.augmentation
        self.device = device
        self._drawn: dict[tuple[bytes, str, int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def inputs(self) -> torch.Tensor:
        """All rows at once; refused where some of them may not be read."""
        self._whole()
        if isinstance(self._inputs, Ragged):
            raise InvalidArgument("rows of words are of different lengths: ask for rows by their slots")
        return self._inputs

    @inputs.setter
    def inputs(self, values: torch.Tensor) -> None:
        self._inputs = values

    @property
    def labels(self) -> torch.Tensor:
        """All labels at once; refused where some of them may not be read."""
        self._whole()
        return self._labels

    @labels.setter
    def labels(self, values: torch.Tensor) -> None:
        self._labels = values

    def _whole(self) -> None:
        if not self._everybody:
            raise InvalidArgument("some of these rows may not be read here: ask for rows by their slots")

    @property
    def readable(self) -> np.ndarray:
        """The slots that may be read, ascending."""
        return np.flatnonzero(self.allowed)

    def only(self, slots: np.ndarray) -> Examples:
        """The same rows behind a narrower guard."""
        narrow = object.__new__(Examples)
        narrow.__dict__.update(self.__dict__)
        narrow.allowed = np.zeros(len(self), dtype=bool)
        narrow.allowed[slots] = self.allowed[slots]
        narrow._everybody = False
        narrow._drawn = {}
        return narrow

    def batch(self, slots: np.ndarray) -> Batch:
        self._guard(slots)
        index = torch.from_numpy(slots).to(self.device)
        return labelled(self._gathered(slots, index), self._labels[index], index)

    def _gathered(self, slots: np.ndarray, index: torch.Tensor) -> torch.Tensor:
        if isinstance(self._inputs, Ragged):
            return torch.from_numpy(self._inputs[slots]).to(self.device)
        return self._inputs[index]

    def encoded(self, slots: np.ndarray) -> tuple[Encoded, np.ndarray]:
        """All rows as a feature map encoded them, and their labels, for who reads these slots alone."""
        self._guard(slots)
        rows = self._inputs if isinstance(self._inputs, Ragged) else self._inputs.cpu().numpy()
        return rows, self._labels.cpu().numpy()

    def augmented(self, part: Part, *, seed: bytes, purpose: str, shard: int) -> Batch:
        """Rows of a step's part, changed by the words of their slots and the epoch where the recipe says so."""
        rows = self.batch(part.slots)
        if not self.augmentation.active:
            return rows
        words = self._words(seed, purpose, shard, part.epoch)[part.slots]
        return rows.replace(inputs=augment(rows[INPUTS], words, self.augmentation))

    def _words(self, seed: bytes, purpose: str, shard: int, epoch: int) -> np.ndarray:
        key = (seed, purpose, shard, epoch)
        if key not in self._drawn:
            self._drawn = {key: Stream(seed, purpose, shard, epoch).words(len(self))}
        return self._drawn[key]

    def _guard(self, slots: np.ndarray) -> None:
        if self._everybody:
            return
        if not self.allowed[slots].all():
            slot = int(slots[~self.allowed[slots]][0])
            raise InvalidArgument(
                f"slot {slot} was asked for but may not be read here: it is forgotten, missing, or not among what the "
                "method declared in `needs`"
            )


def augment(inputs: torch.Tensor, words: np.ndarray, described: Augmentation) -> torch.Tensor:
    """Flip by bit 63 of each row's word, crop by two 16-bit draws below it; one gather for the whole batch."""
    count, _, height, width = inputs.shape
    device = inputs.device
    if described.flip:
        flip = torch.from_numpy((words >> np.uint64(63)).astype(bool)).to(device)
        inputs = torch.where(flip[:, None, None, None], inputs.flip(3), inputs)
    if described.crop:
        span = 2 * described.crop + 1
        down, right = (
            torch.from_numpy(
                (((words >> np.uint64(shift)) & np.uint64(0xFFFF)) * np.uint64(span) >> np.uint64(16)).astype(np.int64)
            ).to(device)
            for shift in (32, 16)
        )
        padded = torch.nn.functional.pad(inputs, (described.crop,) * 4)
        rows = (down[:, None] + torch.arange(height, device=device))[:, None, :, None]
        columns = (right[:, None] + torch.arange(width, device=device))[:, None, None, :]
        index = torch.arange(count, device=device)[:, None, None, None]
        channels = torch.arange(inputs.shape[1], device=device)[None, :, None, None]
        inputs = padded[index, channels, rows, columns]
    return inputs
