"""From a name to a fresh model: the zoo, or anyone's ``package.module:factory``."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

import torch
from torch import nn

from expunge.core.errors import ExpungeError, InvalidArgument, UnsupportedEver, UnsupportedYet, ran_out_of_memory
from expunge.core.streams import Stream
from expunge.models.base import begin_with
from expunge.models.dropout import seeded_generators
from expunge.models.front import Fronted
from expunge.models.sight import CodeName, forget_seen, in_sight, seen_of
from expunge.models.sources import is_empty, is_file_of_a_library, is_own, reach_here, sources_of
from expunge.models.zoo import ZOO, draw_weights
from expunge.records.catalogue import ACCUMULATED_MODELS, MODEL_NAMES
from expunge.schedule.recipe import MemoryLayout, Recipe

_factories: dict[int, Callable[..., Any]] = {}  # kept, so that no other gets the number of one that was seen
_loaded: dict[str, set[str]] = {}  # by a factory's module what was first imported on its behalf


def build(recipe: Recipe, seed: bytes, shard: int = 0) -> Fronted:
    """The initial model of a shard: weights are drawn from the lineage's ``init`` stream, unless a base has them."""
    model = _build(recipe, Stream(seed, "init", shard))
    if recipe.base is not None:
        begin_with(model, recipe.base)
    return model


def build_empty(recipe: Recipe) -> Fronted:
    """A model of the right shape, to load weights into; its own weights mean nothing."""
    return _build(recipe, Stream(bytes(32), "init"))


def _build(recipe: Recipe, stream: Stream) -> Fronted:
    factory, own = resolve(recipe.model)
    whose = None if own else _whose(recipe, factory)
    if own:
        with seeded_generators(0):
            body = _call(factory, recipe)
        draw_weights(body, stream)
    else:
        with seeded_generators(stream.word()), in_sight(whose), _noting(recipe.model.partition(":")[0]):
            body = _call(factory, recipe)
    model = Fronted(recipe.inputs, body, addressed_dropout=own, whose=whose, numbers=not recipe.classes)
    model.unready = unready(model)
    if recipe.layout is MemoryLayout.CHANNELS_LAST:
        channels_last(model, recipe.model)
    _check_outputs(model, recipe)
    return model


def _call(factory: Callable[..., Any], recipe: Recipe) -> nn.Module:
    words = given_to(factory, recipe)
    try:
        with redirect_stdout(sys.stderr):  # what a factory prints must not stand among our results
            model = factory(**words)
    except ExpungeError:
        raise
    except (Exception, SystemExit) as error:
        if ran_out_of_memory(error):
            raise
        raise InvalidArgument(
            f"model {recipe.model!r} could not be called with {', '.join(words) or 'nothing'} ({_one_line(error)}): a "
            "factory is given the shape of one row as inputs and the number of classes where it takes them, and "
            "`model_options`"
        ) from error
    if not isinstance(model, nn.Module):
        raise InvalidArgument(f"model {recipe.model!r} returned a {type(model).__name__}, not a torch.nn.Module")
    return model


def given_to(factory: Callable[..., Any], recipe: Recipe) -> dict[str, Any]:
    """What a factory is called with: the shape of a row and the number of classes where it takes them, and options."""
    known = {"inputs": recipe.inputs.shape, "classes": recipe.outputs}
    return {name: value for name, value in known.items() if _takes(factory, name)} | dict(recipe.model_options)


def _takes(factory: Callable[..., Any], name: str) -> bool:
    """Whether a factory has an argument of that name, as far as it says."""
    try:
        taken = inspect.signature(factory).parameters
    except (ValueError, TypeError):
        return True
    return name in taken or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())


def _check_outputs(model: nn.Module, recipe: Recipe) -> None:
    """One pass in eval mode over zeros: the outputs must be (rows, classes), or one number a row."""
    shape = (2, *recipe.inputs.shape)
    mode = model.training
    model.eval()
    try:
        with torch.no_grad(), seeded_generators(0), redirect_stdout(sys.stderr):
            outputs = model(torch.zeros(shape))
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        raise InvalidArgument(
            f"model {recipe.model!r} fails on rows of shape {recipe.inputs.shape} ({_one_line(error)})"
        ) from error
    finally:
        model.train(mode)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (2, recipe.outputs):
        wanted = f"{len(recipe.classes)} classes: (rows, classes)" if recipe.classes else "one number each: (rows, 1)"
        raise InvalidArgument(
            f"model {recipe.model!r} answers {tuple(getattr(outputs, 'shape', ()))} for 2 rows and {wanted} is expected"
        )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def resolve(name: str) -> tuple[Callable[..., Any], bool]:
    """The factory of a name, and whether it is one of ours."""
    if name in ZOO:
        return ZOO[name], True
    if name in ACCUMULATED_MODELS:
        raise UnsupportedEver(
            f"model {name!r} is a function of sums over rows, and no weights of it are drawn or trained: this is for "
            f"models that take steps, such as {', '.join(ZOO)}"
        )
    if name.startswith("hf:"):
        raise UnsupportedYet(f"model {name!r}: Hugging Face models come with the language task, not built so far")
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InvalidArgument(f"model {name!r} is neither one of {', '.join(MODEL_NAMES)} nor a package.module:factory")
    reach_here()
    if module not in sys.modules:
        forget_seen(_import_of(name))
        _loaded.pop(module, None)
    try:
        with redirect_stdout(sys.stderr), in_sight(_import_of(name)), _noting(module):
            factory = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise InvalidArgument(
            f"model {name!r} could not be imported ({_one_line(error)}): it must be a module that Python finds from "
            "here, a colon and the name of a factory in it"
        ) from error
    if not callable(factory):
        raise InvalidArgument(f"model {name!r} is a {type(factory).__name__}, not a factory that can be called")
    return factory, False


def factory_digest(name: str) -> str:
    """SHA-256 over the sources that make a model; "" where one of them cannot be read, "zoo" for our own.

    Nothing of a model that is not ours is imported for it. Counted are the factory's module and whatever of its own
    that imports, so that a changed helper is seen; torch itself is named by its version.
    """
    if name in MODEL_NAMES:
        return "zoo"
    found = sources_of(name.partition(":")[0])
    return "" if found is None else found.digest


def beyond_sources(name: str, model: nn.Module) -> str | None:
    """What has a part in somebody's model and may not stand in its sources as ``factory_digest`` reads them, if any."""
    module = name.partition(":")[0]
    found = None if name in ZOO else sources_of(module)
    if found is None:
        return None
    factory, _ = resolve(name)
    code = getattr(_inner(factory), "__code__", None)
    place = "" if code is None else code.co_filename
    if place and not is_file_of_a_library(place) and os.path.realpath(place) not in found.files:
        return f"its factory stands in {os.path.basename(place)!r} and not in {module}"
    for other in sorted({type(part).__module__ for part in model.modules()} | _loaded.get(module, set())):
        if is_own(other, module) and other not in found.texts and not is_empty(other):
            return f"{other} has a part in it, and no import that stands in its sources names it"
    return found.unclear[0] if found.unclear else None


def _inner(factory: Callable[..., Any]) -> Callable[..., Any]:
    """What a partial calls."""
    while isinstance(factory, functools.partial):
        factory = factory.func
    return factory


def read_beside(recipe: Recipe) -> tuple[str, ...]:
    """What somebody's model code opened so far beside the rows that it was given; nothing of a model of ours."""
    if recipe.model in ZOO or ":" not in recipe.model:
        return ()
    factory, _ = resolve(recipe.model)
    return (*seen_of(_import_of(recipe.model)), *seen_of(_whose(recipe, factory)))


def _whose(recipe: Recipe, factory: Callable[..., Any]) -> CodeName:
    """Under which name what a model's code opens is kept."""
    _factories[id(factory)] = factory
    return recipe.model, repr(sorted(recipe.model_options.items())), id(factory)


def _import_of(name: str) -> CodeName:
    return name.partition(":")[0], "import", 0


@contextmanager
def _noting(module: str) -> Generator[None]:
    """Keep which modules were loaded inside on behalf of a model of that module."""
    before = set(sys.modules)
    try:
        yield
    finally:
        _loaded.setdefault(module, set()).update(set(sys.modules) - before)


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


def convolves(model: nn.Module) -> bool:
    """Whether it has the weights of a convolution over images, whose channels can lie last."""
    return any(parameter.dim() == 4 for parameter in model.parameters())


def channels_last(model: nn.Module, name: str) -> None:
    """Lay the weights of convolutions with channels last; a convolution brings what goes through it into their layout.

    Whatever copies a parameter, or is made like it, lies like it; stored bytes and digests are of the plain order.
    """
    if not convolves(model):
        raise InvalidArgument(
            f"`layout` channels-last with model {name!r}, which has no weights of a convolution over images: no "
            "channels can lie last in it; leave `layout` out"
        )
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


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
