"""Honest records of every kind of training are accepted up to V4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.verify.levels.replaying import (
    sealed,
    story_of,
    verified,
)

from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.keys import SigningKey
from expunge.records.verdict import Level, Status
from expunge.schedule.recipe import Augmentation, Optimiser, OptimiserName, Precision
from expunge.train.trace import Trace
from expunge.train.training import train

PERSON = "subject:someone-03"


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adamw": {"optimiser": Optimiser(name=OptimiserName.ADAMW, rate=0.003)},
    "sign": {"optimiser": Optimiser(name=OptimiserName.SIGN, rate=0.001, momentum=0.0, weight_decay=0.0)},
    "bfloat16": {"model": "cnn", "precision": Precision.BFLOAT16},
    "augmented": {"model": "cnn", "augmentation": Augmentation(flip=True, crop=1)},
    "dropout": {"model_options": {"dropout": 0.3}},
    "batch norm": {"model": "resnet18", "model_options": {"width": 2}, "batch_size": 30, "epochs": 2},
    "shards and slices": {"shards": 3, "slices": 2},
    "small batches": {"batch_size": 2, "epochs": 2, "checkpoint_interval": 20},
    "gradients": {"trace": Trace.GRADIENTS},
}


@pytest.mark.parametrize("way", WAYS)
def test_honest_records_of_every_kind_are_accepted_up_to_v4(
    way: str, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """A training, and what exact replay makes of it, in which whole batches may be empty (acceptance 9)."""
    fields = {"model": "mlp", "epochs": 3, "batch_size": 16, "checkpoint_interval": 4, **WAYS[way]}
    run = train(pictures, out=tmp_path / "run", **fields)
    after = unlearn(run, PERSON, out=tmp_path / "after", data=pictures)
    for one in (run, after):
        bundle = sealed(story_of(one, owner), owner, tmp_path / f"bundle-{one.path.name}")
        for level in ("V2", "V3", "V4"):
            verdict = verified(bundle, trusted, level, data=pictures, segments=2)
            assert (verdict.status, verdict.reached) == (Status.ACCEPTED, Level[level]), verdict.as_json()
