"""Small trainings that proofs of learning are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from expunge.adversary.pol.proof import InMemory, Proof, prove
from expunge.adversary.pol.verdict import Mode, PolVerdict
from expunge.adversary.pol.verify import verify_proof
from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.schedule.recipe import Augmentation, Calendar, Optimiser, OptimiserName
from expunge.train.run import Run
from expunge.train.state import Tensors
from expunge.train.training import train

ADAMW = Optimiser(name=OptimiserName.ADAMW, rate=0.003, weight_decay=0.01)
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp"},
    "batch norm, AdamW": {"model": "mlp", "model_options": {"norm": "batch", "width": 24}, "optimiser": ADAMW},
    "cnn, augmented": {
        "model": "cnn",
        "model_options": {"width": 4, "dropout": 0.25},
        "augmentation": Augmentation(flip=True, crop=1),
    },
    "warm-up": {"model": "mlp", "optimiser": Optimiser(calendar=Calendar.WARM_UP)},
    "constant rate": {"model": "mlp", "optimiser": Optimiser(calendar=Calendar.CONSTANT)},
    "two slices": {"model": "mlp", "slices": 2},
    "without somebody": {"model": "mlp", "without": "subject:someone-03"},
}


@dataclass(frozen=True)
class Proven:
    """A run, the training rows that it was made of, and its proof."""

    run: Run
    rows: Dataset
    proof: Proof


Prove = Callable[..., Proven]


def prove_kind(kind: str, pictures: Dataset, out: Path, **fields: Any) -> Proven:
    described = {"epochs": 4, "batch_size": 8, "checkpoint_interval": 3, **KINDS[kind], **fields}
    run = train(pictures, out=out, **described)
    data = run.data(pictures)
    return Proven(run, data[Split.TRAIN], prove(run, data=data))


CHANCE = sha256(b"what the verifier of these tests draws")


def published(proof: Proof, rows: Dataset, delta: float = 1e-6, **more: Any) -> PolVerdict:
    return verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=delta, **more)


def fixed(proof: Proof, rows: Dataset, delta: float = 1e-6, **more: Any) -> PolVerdict:
    return verify_proof(proof, rows, mode=Mode.FIXED, delta=delta, **{"randomness": CHANCE, **more})


def with_state(proof: Proof, number: int, tensors: Tensors) -> Proof:
    states = list(proof.trajectory.states)
    states[number] = InMemory({**proof.trajectory.states[number].tensors(), **tensors})
    return replace(proof, trajectory=replace(proof.trajectory, states=tuple(states)))
