"""Where the fields of a row of a study come from: a search, the defaults, or nothing to search for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from expunge.records.form import INLINE, Plain
from expunge.records.scalars import Amount, Remark

TuningState = Literal["tuned", "nothing to tune", "takes no budget", "untuned", "oracle-tuned"]
STATES = get_args(TuningState)


@dataclass(frozen=True, kw_only=True)
class Failure(Plain):
    """A trial of a search that came to nothing."""

    fields: Mapping[str, Any]
    reason: Remark


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search for fields did; work in example-steps. A score of 1 is doing nothing, below it is nearer to
    retraining; where ``better`` is not told, scores are distances from a twin, 0 is best.
    """

    trials: int
    score: float | None
    default_score: float | None
    transfer_score: float | None
    better: bool | None = None
    transferred: bool | None
    example_steps: Amount
    digest: Remark | None
    twins_example_steps: Amount | None = None
    failures: tuple[Failure, ...] | None = None
    kept_default: bool | None = None
    admissible: bool | None = None
    notices: tuple[Remark, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class RowTuning(Plain):
    """Where a row's fields come from."""

    state: TuningState
    search: Searched | None = field(default=None, metadata=INLINE)
