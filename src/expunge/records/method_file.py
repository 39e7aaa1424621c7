"""A method as plain documents name it, and where its fields are from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.records.form import Plain
from expunge.records.scalars import Digest


@dataclass(frozen=True, kw_only=True)
class MethodFile(Plain):
    """A method by name, and its hyper-parameters."""

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TunedFields(Plain):
    """What a tuning says of the fields that it chose for a method. Scores: 1 is doing nothing, below it is nearer to
    retraining; where ``better`` is not told, distances from a twin by the score of an earlier release, 0 is best.
    """

    digest: Digest
    mode: str
    state: str
    method: MethodFile
    recipe_but_seed: Digest
    data_root: Digest
    budget: float
    kind: str
    size: int
    trials: int
    score: float | None
    default_score: float | None
    transfer_score: float | None
    better: bool | None = None
    transferred: bool | None
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class NothingToTune(Plain):
    """A method without search ranges, on its defaults."""

    state: str = "nothing to tune"
