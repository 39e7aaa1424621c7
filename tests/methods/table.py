"""The table of methods: how each is called by the contract tests, and on which problems of `conftest.PROBLEMS`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

IMAGES = ("convolved", "convolved-normed", "residual")


@dataclass(frozen=True)
class Row:
    """How a method is called here, on which problems, and what turns it into doing nothing."""

    name: str
    still: tuple[dict[str, Any], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    draws: bool = True  # whether another seed of the request gives other bytes
    raises_forget_loss: bool = False
    problems: tuple[str, ...] = ("plain", "normed", "double")
    whole_class: bool = False  # whether it forgets whole classes only
    counted: bool = True  # whether every pass goes through the task's outputs, one row at a time or in batches
    edits: bool = False  # whether something is done even where the budget covers no step


ROWS: list[Row] = [
    Row("retrain", draws=False),
    Row("fine-tune", still=({"rate": 0.0}, {"epochs": 0})),
    Row(
        "gradient-ascent",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"rate": 0.01, "batch_size": 5},
        raises_forget_loss=True,
    ),
    Row("neggrad-plus", still=({"rate": 0.0}, {"epochs": 0}), settings={"balance": 0.5}, raises_forget_loss=True),
    Row("random-labels", still=({"rate": 0.0}, {"epochs": 0}), raises_forget_loss=True),
    Row("successive-random-labels", still=({"rate": 0.0}, {"epochs": 0}), raises_forget_loss=True),
    Row(
        "saliency-unlearning",
        still=({"rate": 0.0}, {"epochs": 0}, {"keep": 0.0}),
        raises_forget_loss=True,
        counted=False,
    ),
]
ELSEWHERE = {"exact-replay": "test_exact_replay.py", "certified-logistic": "test_certified_logistic.py"}
