"""Ten classes, each unlearned alone: the class that is chosen is among the two that are still answered best."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expunge.attacks.worst import worst
from expunge.methods.lookup import make_method
from expunge.methods.unlearn import parent_of
from expunge.train.answers import signals
from expunge.train.profile import pinned
from expunge.train.training import train


def test_the_chosen_class_is_among_the_two_that_unlearning_leaves_best_known(tmp_path: Path) -> None:
    run = train("digits", out=tmp_path / "run", model="mlp", model_options={"width": 32}, epochs=4)
    found = worst(run, size=1, by="class", out=tmp_path / "class.json")
    parent = parent_of(run)
    labels = parent.examples.labels.numpy()
    losses = []
    with pinned(run.recipe):
        for label in range(10):
            rows = np.flatnonzero(labels == label)
            model = make_method("sign-descent", {"epochs": "2"})(parent, rows, budget=3.0).model
            losses.append(signals(run.recipe, model, parent.examples, rows)["loss"].mean())
    chosen = set(labels[found.slots].tolist())
    assert chosen < set(np.argsort(losses)[:2].tolist())
