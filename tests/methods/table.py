"""The table of methods: how each is called by the contract tests, and on which problems of `conftest.PROBLEMS`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

IMAGES = ("convolved", "convolved-normed", "residual")


@dataclass(frozen=True)
class Row:
    """How a method is called here, on which problems, and what turns it into doing nothing."""

    name: str
    still: tuple[dict[str, Any], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    draws: bool | tuple[str, ...] = True  # whether another seed gives other bytes; or on which problems alone
    raises_forget_loss: bool = False
    problems: tuple[str, ...] = ("plain", "normed", "double")
    whole_class: bool = False  # whether it forgets whole classes only
    idle: tuple[str, ...] = ()  # needs that these settings make no use of
    counted: bool = True  # whether every pass goes through the task's outputs, one row at a time or in batches


ROWS: list[Row] = [
    Row("retrain", draws=False),
    Row("fine-tune", still=({"rate": 0.0}, {"epochs": 0})),
    Row("noisy-gradient-descent", still=({"rate": 0.0}, {"epochs": 0})),
    Row(
        "gradient-ascent",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"rate": 0.01, "batch_size": 5},
        raises_forget_loss=True,
    ),
    Row("neggrad-plus", still=({"rate": 0.0}, {"epochs": 0}), settings={"balance": 0.5}, raises_forget_loss=True),
    Row("random-labels", still=({"rate": 0.0}, {"epochs": 0}), raises_forget_loss=True),
    Row("successive-random-labels", still=({"rate": 0.0}, {"epochs": 0}), raises_forget_loss=True),
    Row("amnesiac", still=({"rate": 0.0}, {"epochs": 0}), settings={"rate": 0.01}, raises_forget_loss=True),
    Row(
        "saliency-unlearning",
        still=({"rate": 0.0}, {"epochs": 0}, {"keep": 0.0}),
        raises_forget_loss=True,
    ),
    Row("l1-sparse", still=({"rate": 0.0}, {"epochs": 0})),
    Row("scrub", still=({"rate": 0.0}, {"epochs": 0}), settings={"batch_size": 16, "forget_batch_size": 5}),
    Row("bad-teacher", still=({"rate": 0.0}, {"epochs": 0})),
    Row(
        "decoupled-distillation",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"rate": 0.01, "batch_size": 5},
        raises_forget_loss=True,
    ),
    Row(
        "boundary-shrink",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"rate": 0.01, "batch_size": 5, "radius": 0.3},
        raises_forget_loss=True,
    ),
    Row(
        "boundary-expand",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"rate": 0.01, "batch_size": 5},
        raises_forget_loss=True,
    ),
    Row("retrain-last-layers", still=({"rate": 0.0}, {"epochs": 0})),
    Row("fine-tune-last-layers", still=({"rate": 0.0}, {"epochs": 0})),
    Row(
        "impair-repair",
        still=({"rate": 0.0}, {"impair_epochs": 0, "repair_epochs": 0}),
        settings={"rate": 0.01, "batch_size": 32},
        raises_forget_loss=True,
        whole_class=True,
    ),
    Row("sign-descent", still=({"rate": 0.0}, {"epochs": 0})),
    Row(
        "selective-synaptic-dampening",
        still=({"selection": math.inf}, {"dampening": math.inf}),
        settings={"selection": 1.0},
        draws=("normed", "residual"),  # the rows that batch norms are taken anew from
        counted=False,
        problems=("plain", "normed", "double", "residual"),
    ),
    Row(
        "fisher-noise",
        still=({"strength": 0.0},),
        counted=False,
        problems=("plain", "normed", "double", "residual"),
    ),
    Row(
        "influence",
        still=({"scale": 0.0},),
        settings={"samples": 50},
        counted=False,
        problems=("plain", "normed", "double", "residual"),
    ),
    Row(
        "neural-tangent-kernel",
        still=({"scale": 0.0},),
        settings={"samples": 60},
        counted=False,
        problems=("plain", "normed", "double", "residual"),
    ),
    Row(
        "light-perturbation",
        still=({"rate": 0.0}, {"epochs": 0}),
        settings={"batch_size": 5},
        raises_forget_loss=True,
        idle=("gradients",),
    ),
    Row(
        "masked-small-gradients",
        still=({"fraction": 0.0, "rate": 0.0}, {"fraction": 0.0, "epochs": 0}),
        problems=IMAGES,
    ),
    Row("convolution-transpose", problems=IMAGES),
    Row("contrast-and-strengthen", still=({"rate": 0.0}, {"epochs": 0, "uniform_epochs": 0})),
    Row(
        "noise-and-tune",
        still=({"noise": 0.0, "rate": 0.0}, {"noise": 0.0, "epochs": 0}),
        problems=IMAGES,
    ),
    Row(
        "prune-and-match",
        still=({"amount": 0.0, "half": False, "rate": 0.0}, {"amount": 0.0, "half": False, "epochs": 0}),
        problems=("plain", "normed", "double", *IMAGES),
    ),
]
ELSEWHERE = {"exact-replay": "test_exact_replay.py", "certified-logistic": "test_certified_logistic.py"}
