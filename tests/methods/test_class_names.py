"""Renaming the classes renames the result: no method may know which number a class has (float64, 1e-10)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.methods.table import ROWS, Row
from torch import nn

from expunge.methods import random_labels
from expunge.methods.contract import Parent
from expunge.methods.lookup import find_method

DRAW = random_labels.draw_labels
ORDER = torch.tensor([2, 0, 1])
DRAWN = {
    "retrain": "draws its initial weights by output row",
    "amnesiac": "counts the wrong labels up from 0",
    "noisy-gradient-descent": "draws noise by output row",
    "fisher-noise": "draws noise by output row",
    "prune-and-match": "draws weights by output row",
    "impair-repair": "learns noise class by class, in the order of their numbers",
}
NAMED = [row for row in ROWS if "double" in row.problems and row.name not in DRAWN]


def renamed(model: nn.Module) -> nn.Module:
    """Output row c moves to row ORDER[c]."""
    other = deepcopy(model)
    with torch.no_grad():
        for value in (other[-1].weight, other[-1].bias):  # type: ignore[index]
            value[ORDER] = value.clone()
    return other


@pytest.mark.parametrize("row", NAMED, ids=lambda row: row.name)
def test_renaming_the_classes_renames_the_result(
    row: Row, problem: Callable[[str], Parent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that are drawn are renamed alike."""
    parent = problem("double")
    forget = np.arange(12) * 7
    examples, calibration = deepcopy(parent.examples), deepcopy(parent.calibration)
    assert calibration is not None
    examples.labels, calibration.labels = ORDER[examples.labels], ORDER[calibration.labels]
    initial = parent.initial
    assert initial is not None
    other = replace(
        parent,
        model=renamed(parent.model),
        examples=examples,
        calibration=calibration,
        initial=lambda: renamed(initial()),
    )
    method = find_method(row.name)(**row.settings)
    plain = method(parent, forget, budget=0.5).model
    monkeypatch.setattr(random_labels, "draw_labels", lambda *words: ORDER.numpy()[DRAW(*words)])
    moved = method(other, forget, budget=0.5).model
    expected = list(renamed(plain).state_dict().values())
    for found, wanted in zip(moved.state_dict().values(), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
    assert any(
        not torch.equal(before, after)
        for before, after in zip(parent.model.state_dict().values(), plain.state_dict().values(), strict=True)
    )


def test_every_method_that_is_left_out_says_why() -> None:
    assert set(DRAWN) <= {row.name for row in ROWS}
