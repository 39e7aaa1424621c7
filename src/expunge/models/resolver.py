"""From a name to a fresh model: the zoo, or anyone's ``package.module:factory``."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import os
import sys
import sysconfig
import types
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.core.errors import ExpungeError, InvalidArgument, UnsupportedYet
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
    model.unready = unready(model)
    _check_outputs(model, recipe)
    return model


def _call(factory: Callable[..., Any], recipe: Recipe) -> nn.Module:
    options = dict(recipe.model_options)
    try:
        with redirect_stdout(sys.stderr):  # what a factory prints must not stand among our results
            model = factory(inputs=recipe.inputs.shape, classes=len(recipe.classes), **options)
    except ExpungeError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidArgument(
            f"model {recipe.model!r} could not be called as factory(inputs=shape, classes=n, {options}): "
            f"{_one_line(error)}"
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
        with torch.no_grad(), seeded_generators(0), redirect_stdout(sys.stderr):
            outputs = model(torch.zeros(shape))
    except Exception as error:
        raise InvalidArgument(
            f"model {recipe.model!r} fails on rows of shape {recipe.inputs.shape} ({_one_line(error)})"
        ) from error
    finally:
        model.train(mode)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, len(recipe.classes)):
        raise InvalidArgument(
            f"model {recipe.model!r} answers {tuple(getattr(outputs, 'shape', ()))} for 2 rows and "
            f"{len(recipe.classes)} classes: (rows, classes) is expected"
        )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


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
        with redirect_stdout(sys.stderr):
            factory = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise InvalidArgument(
            f"model {name!r} could not be imported ({_one_line(error)}): it must be a module that Python finds from "
            "here, a colon and the name of a factory in it"
        ) from error
    if not callable(factory):
        raise InvalidArgument(f"model {name!r} is a {type(factory).__name__}, not a factory that can be called")
    return factory, False


def factory_digest(name: str, model: nn.Module) -> str:
    """SHA-256 over the sources that make a model; "" where one of them cannot be read, "zoo" for our own.

    Counted are the factory's module, those of the model's classes, and whatever of the same packages they refer to, so
    that a changed helper is seen; torch itself is named by its version.
    """
    factory, own = resolve(name)
    if own:
        return "zoo"
    while isinstance(factory, functools.partial):
        factory = factory.func
    roots = {getattr(factory, "__module__", None) or type(factory).__module__}
    roots |= {type(module).__module__ for module in model.modules()}
    digest = hashlib.sha256()
    for found in sorted(_sources(roots)):
        module = sys.modules.get(found)
        try:
            source = inspect.getsource(module) if module is not None else ""
        except (OSError, TypeError):
            source = ""
        if not source:
            return ""
        digest.update(found.encode() + b"\0" + source.encode("utf-8") + b"\0")
    return digest.hexdigest()


def _sources(roots: set[str]) -> set[str]:
    """Modules that make a model, and those that they refer to, down to what was installed as a distribution."""
    waiting = [name for name in roots if _own(name, roots)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for value in list(vars(sys.modules[name]).values()) if name in sys.modules else []:
            other = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
            if isinstance(other, str) and _own(other, roots):
                waiting.append(other)
    return found


def _own(name: str, roots: set[str]) -> bool:
    """Whether a module is somebody's own code: of a root's package, or outside the installed distributions."""
    top = name.partition(".")[0]
    if top in ("torch", "expunge", "builtins") or name not in sys.modules:
        return False
    if top in {root.partition(".")[0] for root in roots}:
        return True
    file = getattr(sys.modules[name], "__file__", None)
    installed = {sysconfig.get_paths()[place] for place in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file is not None and not any(Path(file).is_relative_to(place) for place in installed)


def unready(model: nn.Module) -> str | None:
    """Why a model's state cannot be kept in named tensors, if so."""
    for name, value in (*model.named_parameters(), *model.named_buffers()):
        if nn.parameter.is_lazy(value):
            return f"{name} is a lazy parameter: its weights are not drawn when the model is built"
    for name, value in model.state_dict().items():
        if not isinstance(value, torch.Tensor):
            return f"{name} is extra state that is no tensor"
    return None


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
