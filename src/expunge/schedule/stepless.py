"""What has no meaning for a model that takes no steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.records.catalogue import ACCUMULATED_MODELS

HAVE_MEANING = frozenset({"inputs", "classes", "task", "model", "model_options", "seed", "training"})


def refuse_steps(model: Any, said: Mapping[str, Any]) -> None:
    """Refuse by its name what is said to an accumulated model of steps, whatever is said; None says nothing."""
    odd = sorted(name for name, value in said.items() if value is not None and name not in HAVE_MEANING)
    if model in ACCUMULATED_MODELS and odd:
        raise InvalidArgument(
            f"`{odd[0]}` with model {model!r}: its weights are a function of sums over the rows, and no step is taken; "
            "leave it out"
        )
