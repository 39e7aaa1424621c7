"""The model of a recipe: one that fits the data unless named; a callable by the name under which it is found again."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.data.encoding import Encoding
from expunge.models.features.choice import stated
from expunge.models.zoo import ZOO
from expunge.records.catalogue import ACCUMULATED_MODELS
from expunge.schedule.fields import usual_model
from expunge.schedule.recipe import HowTrained


def with_model(encoding: Encoding, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's fields with a model: cnn for images, mlp for everything else, linear for a linear task on it."""
    if fields.get("model") in ACCUMULATED_MODELS:
        options = stated(fields["model"], fields.get("model_options", {}))
        return {**fields, "training": HowTrained.ACCUMULATE, "model_options": options}
    if fields.get("model") is not None:
        return {**fields, "model": name_of_model(fields["model"])}
    return {**fields, "model": usual_model(encoding, fields.get("task"))}


def name_of_model(model: Any) -> str:
    """The name of a model; a callable ``(inputs, classes)`` is named by its module and name.

    A run is opened by this name from then on, by other processes too, so one that does not lead back is refused.
    """
    if isinstance(model, str):
        return model
    if isinstance(model, nn.Module):
        raise InvalidArgument(
            f"`model` is a finished {type(model).__name__}, whose weights nobody can draw again: give its class or a "
            "function (inputs, classes) that builds one"
        )
    if not callable(model):
        raise InvalidArgument(
            f"`model` {model!r:.60} must be a name such as {', '.join(ZOO)}, or a function (inputs, classes) that "
            "builds a torch.nn.Module"
        )
    known = next((name for name, factory in ZOO.items() if factory is model), None)
    if known is not None:
        return known
    module, name = getattr(model, "__module__", None), getattr(model, "__qualname__", None)
    found = getattr(sys.modules.get(str(module)), str(name), None)
    if module == "__main__" or found is not model:
        raise InvalidArgument(
            f"`model` {name or type(model).__name__} cannot be found again by module and name, as whoever opens the "
            "run must: define it at the top of a file of its own, import it from there, and give it or the name "
            "package.module:factory"
        )
    return f"{module}:{name}"
