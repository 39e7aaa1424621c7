"""Readings: what a model answers, row by row or to a request. Whoever measures what was read needs no model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, final

import numpy as np
import torch
from torch import nn

from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import Figure
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.records.form import to_plain
from expunge.schedule.recipe import Recipe
from expunge.tasks.task import Batch, NotTold, Task
from expunge.train.answers import answers
from expunge.train.examples import Examples
from expunge.train.profile import find_device
from expunge.train.run import Run

Arrays = Mapping[str, np.ndarray]
Answered = Mapping[Split, Arrays]  # for every training and holdout row; NaN where the row is no longer there
READ = (Split.TRAIN, Split.HOLDOUT)


@dataclass(frozen=True, kw_only=True)
class Reading(ABC):
    """A function of a model, its task and rows: named arrays in float64, rows first. Its fields are its settings.

    It is called in eval mode, without gradients and at the recipe's precision, on rows that are not augmented, some at
    a time: what it says of a row must not depend on the others.
    """

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, model: nn.Module, task: Task, rows: Batch) -> Arrays:
        """What the model answers to these rows."""


@final
@dataclass(frozen=True, kw_only=True)
class Signals(Reading):
    """What the task says of every row: "loss" and "margin"; with classes "correct" and "beliefs" too."""

    name = "signals"

    def __call__(self, model: nn.Module, task: Task, rows: Batch) -> Arrays:
        return task.signals(model, rows)


SIGNALS = Signals()


@dataclass(frozen=True, kw_only=True, eq=False)
class RequestRows:
    """The slots of a request: what must go, and what stays.

    ``seed`` is that of whatever is drawn for it, ``digest`` names these rows, in these roles, among those that are
    there.
    """

    forget: np.ndarray
    retain: np.ndarray
    seed: bytes
    digest: bytes


class RequestReading(ABC):
    """A function of a model and a request as a whole, such as what a copy learns again; a frozen dataclass as well.

    Its arrays are of any length. The model stays as it is. It is called for the model's own recipe, whose seed it must
    not use: models that are held against each other are read alike. Where there is nothing to read of such a model, it
    answers nothing.
    """

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, model: nn.Module, recipe: Recipe, examples: Examples, rows: RequestRows) -> Arrays:
        """What is read; ``examples`` are all training rows."""


AnyReading = Reading | RequestReading
ReadingKey = tuple[AnyReading, str, bytes]
# a reading, the digest of the weights, and ``rows_digest`` or the digest of the request


class Readings(Protocol):
    """Where readings are kept: a dictionary does, and so does whatever keeps them in a folder."""

    def get(self, key: ReadingKey, /) -> Answered | None: ...

    def __setitem__(self, key: ReadingKey, answered: Answered, /) -> None: ...


@dataclass(frozen=True)
class Kept:
    """What evaluations hand on to each other, so that no model is asked twice and nothing is measured twice."""

    readings: Readings = field(default_factory=dict[ReadingKey, Answered])
    figures: dict[object, Figure] = field(default_factory=dict[object, Figure])


def rows_digest(run: Run, rows: Mapping[Split, Dataset]) -> bytes:
    """Which rows a run's model is asked about: all that are committed to and still there."""
    roots = canonical_json(to_plain(run.told.data.roots))  # the holdout's too: it may be another beside equal rows
    return sha256(sha256(roots), *(sha256(rows[split].present.tobytes()) for split in READ))


def read(
    run: Run,
    readings: Sequence[AnyReading],
    rows: Mapping[Split, Dataset],
    device: torch.device,
    request: RequestRows | None = None,
    splits: Sequence[Split] = READ,
) -> dict[AnyReading, Answered]:
    """Open a run's model and ask it about all rows, and what is read of a request about that. Call it pinned."""
    model = run.model(device)
    examples = {split: Examples(run.recipe, rows[split], device) for split in splits}
    found: dict[AnyReading, Answered] = {}
    for reading in readings:
        if isinstance(reading, RequestReading):
            assert request is not None
            told = reading(model, run.recipe, examples[Split.TRAIN], request)
            found[reading] = {Split.TRAIN: told, Split.HOLDOUT: {}}
            continue
        try:
            told = {split: _of_those_there(run, model, reading, rows[split], examples[split]) for split in splits}
        except NotTold:  # it needs a signal that this task does not have: of nobody there is anything to read
            found[reading] = {split: {} for split in splits}
            continue
        some = next(arrays for arrays in told.values() if arrays)
        none = {name: values[:0] for name, values in some.items()}  # of a split of which nobody is there
        found[reading] = {split: _spread(arrays or none, rows[split]) for split, arrays in told.items()}
    return found


def answered(
    run: Run,
    readings: Sequence[AnyReading],
    rows: Mapping[Split, Dataset],
    looked: bytes,
    request: RequestRows,
    device: str,
    kept: Kept | None,
) -> dict[AnyReading, Answered]:
    """What a run's model answers; it is opened for what was not kept."""
    found: dict[AnyReading, Answered] = {}
    keys = {
        reading: (reading, run.weights_digest, request.digest if isinstance(reading, RequestReading) else looked)
        for reading in readings
    }
    if kept is not None:
        known = {reading: kept.readings.get(key) for reading, key in keys.items()}
        found = {reading: told for reading, told in known.items() if told is not None}
    missing = [reading for reading in readings if reading not in found]
    if missing:
        for reading, told in read(run, missing, rows, find_device(device), request).items():
            found[reading] = told
            if kept is not None:
                kept.readings[keys[reading]] = told
    return found


def _of_those_there(run: Run, model: nn.Module, reading: Reading, rows: Dataset, examples: Examples) -> Arrays:
    there = np.flatnonzero(rows.present)
    return answers(run.recipe, model, examples, there, reading) if len(there) else {}


def _spread(arrays: Arrays, rows: Dataset) -> Arrays:
    """What was said of the rows that are there, at their slots."""
    found = {name: np.full((len(rows), *values.shape[1:]), np.nan) for name, values in arrays.items()}
    for name, values in arrays.items():
        found[name][rows.present] = values
    return found
