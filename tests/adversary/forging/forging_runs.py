"""Small trainings whose steps are forged, and one step of them as a forger has it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.adversary.forging.forger import ForgedBatch, Forger
from expunge.adversary.forging.recorded_steps import step_states, training_of
from expunge.adversary.forging.step_state import StepState
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.schedule.recipe import Augmentation, Calendar, Optimiser, OptimiserName
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.segment import Training
from expunge.train.training import train

PLAIN = Optimiser(rate=0.1, momentum=0.0, weight_decay=0.0, calendar=Calendar.CONSTANT)
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"model": "mlp", "model_options": {"width": 8}, "optimiser": PLAIN},
    "momentum": {"model": "mlp", "model_options": {"width": 8}},
    "batch norm": {"model": "mlp", "model_options": {"width": 8, "norm": "batch"}},
    "cnn": {"model": "cnn", "model_options": {"width": 2}},
    "dropout": {"model": "mlp", "model_options": {"width": 8, "dropout": 0.25}},
    "augmented": {
        "model": "mlp",
        "model_options": {"width": 8},
        "augmentation": Augmentation(flip=True, crop=1),
    },
    "AdamW": {
        "model": "mlp",
        "model_options": {"width": 8},
        "optimiser": Optimiser(name=OptimiserName.ADAMW, rate=0.003),
    },
}
FIELDS: dict[str, Any] = {"epochs": 2, "batch_size": 16, "checkpoint_interval": 3}


@dataclass(frozen=True)
class Trained:
    """A recorded run with its training rows."""

    run: Run
    rows: Dataset
    training: Training

    def state(self, step: int = 4, shard: int = 0) -> StepState:
        return next(step_states(self.run, self.training, shard, [step]))

    def without(self, *slots: int) -> np.ndarray:
        """Everybody but some."""
        return np.setdiff1d(np.arange(len(self.rows)), slots)


def trained(kind: str, data: Dataset, out: Path, **fields: Any) -> Trained:
    run = train(data, out=out, **{**FIELDS, **KINDS[kind], **fields})
    rows = run.data(data)[Split.TRAIN]
    return Trained(run, rows, training_of(run, rows))


def gradients_by_loop(state: StepState, slots: np.ndarray) -> torch.Tensor:
    """One backward pass for each row, in eval mode: (rows, parameters) in float64."""
    model = state.model().eval()
    rows = state.rows(slots)
    found: list[torch.Tensor] = []
    for at in range(len(slots)):
        loss = nn.functional.cross_entropy(model(rows["inputs"][at : at + 1]), rows["labels"][at : at + 1])
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        found.append(torch.cat([one.reshape(-1) for one in torch.autograd.grad(loss, learnt)]))
    model.train()
    return torch.stack(found).double()


def forge(forger: Forger, found: Trained, *targets: int, state: StepState | None = None) -> ForgedBatch:
    state = state or found.state()
    return forger.batch(state, state.part.slots, found.without(*targets))


def reached(state: StepState, forged: ForgedBatch) -> float:
    """l2 of the weights after the forged batch."""
    assert forged.slots is not None
    with pinned(state.recipe):
        after = state.after(forged.slots, chairs=forged.chairs, contents=forged.contents)
        return after.apart(state.honest).l2


def target_of(found: Trained, chair: int = 2, step: int = 4) -> int:
    return int(found.state(step).part.slots[chair])
