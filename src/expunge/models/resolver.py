"""From a name to a fresh model: the zoo, or anyone's ``package.module:factory``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from expunge.core.errors import InvalidArgument, UnsupportedYet
from expunge.core.streams import Stream
from expunge.models.dropout import seeded_generators
from expunge.models.front import Fronted
from expunge.models.zoo import ZOO, draw_weights
from expunge.schedule.recipe import Recipe


def build(recipe: Recipe, seed: bytes, shard: int = 0) -> Fronted:
    """The initial model of a shard: every weight is drawn from the lineage's ``init`` stream."""
    return _build(recipe, Stream(seed, "init", shard))


def build_empty(recipe: Recipe) -> Fronted:
    """A model of the right shape, to load weights into; its own weights mean nothing."""
    return _build(recipe, Stream(bytes(32), "init"))


def _build(recipe: Recipe, stream: Stream) -> Fronted:
    factory, own = resolve(recipe.model)
    if own:
        with seeded_generators(0):
            body = _call(factory, recipe)
        draw_weights(body, stream)
    else:
        with seeded_generators(stream.word()):
            body = _call(factory, recipe)
    model = Fronted(recipe.inputs, body, addressed_dropout=own)
    _check_outputs(model, recipe)
    return model


def _call(factory: Callable[..., Any], recipe: Recipe) -> nn.Module:
    options = dict(recipe.model_options)
    try:
        model = factory(inputs=recipe.inputs.shape, classes=len(recipe.classes), **options)
    except TypeError as error:
        raise InvalidArgument(
            f"model {recipe.model!r} could not be called as factory(inputs=shape, classes=n, {options}): {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidArgument(f"model {recipe.model!r} returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def _check_outputs(model: nn.Module, recipe: Recipe) -> None:
    """One pass in eval mode over zeros: the outputs must be (rows, classes)."""
    shape = (2, *recipe.inputs.shape)
    mode = model.training
    model.eval()
    try:
        with torch.no_grad(), seeded_generators(0):
            outputs = model(torch.zeros(shape))
    except Exception as error:
        raise InvalidArgument(
            f"model {recipe.model!r} fails on rows of shape {recipe.inputs.shape} ({type(error).__name__}: {error})"
        ) from error
    finally:
        model.train(mode)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, len(recipe.classes)):
        raise InvalidArgument(
            f"model {recipe.model!r} answers {tuple(getattr(outputs, 'shape', ()))} for 2 rows and "
            f"{len(recipe.classes)} classes: (rows, classes) is expected"
        )


def resolve(name: str) -> tuple[Callable[..., Any], bool]:
    """The factory of a name, and whether it is one of ours."""
    if name in ZOO:
        return ZOO[name], True
    if name.startswith("hf:"):
        raise UnsupportedYet(f"model {name!r}: Hugging Face models come with the language task, not built so far")
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InvalidArgument(f"model {name!r} is neither one of {', '.join(ZOO)} nor a package.module:factory")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidArgument(
            f"model {name!r} could not be imported ({error}): it must be a module that Python finds from here, a colon "
            "and the name of a factory in it"
        ) from error
    if not callable(factory):
        raise InvalidArgument(f"model {name!r} is a {type(factory).__name__}, not a factory that can be called")
    return factory, False


def factory_digest(name: str) -> str:
    """SHA-256 of the source of the module that holds the factory; "" where it has none that can be read."""
    factory, own = resolve(name)
    try:
        source = inspect.getsource(inspect.getmodule(factory) or factory)
    except (OSError, TypeError):
        return ""
    return "zoo" if own else hashlib.sha256(source.encode("utf-8")).hexdigest()


def holds_batch_norm(model: nn.Module) -> bool:
    """Whether a batch of one row would be undefined in training mode."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())  # pyright: ignore[reportPrivateUsage]


def model_options(pairs: Mapping[str, str]) -> dict[str, int | float | str | bool]:
    """Options from the command line: whole numbers, reals, true/false, else text."""
    return {name: _scalar(text) for name, text in pairs.items()}


def _scalar(text: str) -> int | float | str | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
