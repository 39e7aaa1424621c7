"""A small study that takes about a second a worker, and ways to run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SMALL = """
title = "Small"
seeds = [0, 1]
references = 2
methods = ["retrain", "fine-tune", "certified-logistic"]

[data.digits]
location = "digits"

[training.mlp]
model = "mlp"
model_options = { width = 8 }
epochs = 2

[forget.random]
rules = "random:5%:1"
"""


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    def write(text: str = SMALL, name: str = "small.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write
