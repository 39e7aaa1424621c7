"""May this run claim bits? The profile, the machine's self-test, and a test on the recipe's own model."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.core.hashing import sha256
from expunge.models.front import Fronted
from expunge.models.resolver import build, factory_digest
from expunge.models.sums import ARITHMETIC
from expunge.schedule.plan import Role, StatedPlan, TrainingPlan
from expunge.schedule.recipe import SMALLEST_RATE, Profile, Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.initial_weights import not_of_the_seed
from expunge.train.profile import fingerprint, self_test
from expunge.train.segment import StepRunner
from expunge.train.state import copied, tensors_digest, weights_of

ROWS = 8  # members of each self-test step
TORCHS_OWN = frozenset(vars(nn.Module()))  # attributes that every module has


@dataclass(frozen=True)
class Exactness:
    """The environment that a run's bits belong to, and why it may not be called exact, if so."""

    environment: dict[str, Any]
    refused: str | None
    lossy: str | None = None  # why a checkpoint does not hold all of the model's state, if so


def examine(recipe: Recipe, schedule: Schedule, examples: Examples, emptied: np.ndarray) -> Exactness:
    """Describe the environment and run the self-tests. Call it with the recipe's profile pinned.

    Sums of whole numbers, and weights that are rounded once, are the same everywhere: no machine has a part in them.
    """
    if recipe.accumulated:
        return Exactness({"accumulation_arithmetic": ARITHMETIC}, None)
    digest, repeats = self_test(examples.device, recipe.precision, recipe.layout)
    first = build(recipe, schedule.seed)
    environment = fingerprint(recipe, examples.device)
    environment["self_test"] = digest
    environment["factory"] = factory_digest(recipe.model)
    environment["initial_weights"] = _initial_weights(recipe, schedule, first)
    repeats = repeats and recipe.profile is Profile.EXACT and recipe.threads == 1
    lossy = _lossy(first) or continues_alike(recipe, schedule, examples, emptied, bits=repeats)
    refused = _refusal(recipe, schedule, repeats, environment["factory"]) or lossy
    return Exactness(environment, refused or not_of_the_seed(recipe, schedule), lossy)


def _initial_weights(recipe: Recipe, schedule: Schedule, first: nn.Module) -> str:
    """Digest of what the factory makes of the seed, over all shards: it must come out alike wherever it is called."""
    models = [first, *(build(recipe, schedule.seed, shard) for shard in range(1, schedule.shards))]
    return sha256(*(tensors_digest(weights_of(model)) for model in models)).hex()


def _lossy(first: Fronted) -> str | None:
    return None if first.unready is None else f"the model's state cannot be kept in a checkpoint: {first.unready}"


def _refusal(recipe: Recipe, schedule: Schedule, repeats: bool, factory: str) -> str | None:
    rate = recipe.optimiser.mean_rate(max(map(schedule.total_steps, range(schedule.shards))))
    if rate < SMALLEST_RATE:
        return (
            f"the recipe cannot learn: its mean rate is {rate:.3g}, below 2^-24, and such steps move nothing; "
            "a verifier refuses its record, so train at a higher `rate`"
        )
    if recipe.profile is not Profile.EXACT:
        return f"the {recipe.profile.value} profile pins no bits"
    if recipe.threads != 1:
        return f"{recipe.threads} threads may repeat by luck only: one thread earns Exact"
    if not repeats:
        return "the self-test gave two different digests on this machine"
    if not factory:
        return f"the source of model {recipe.model!r} cannot be read, so a change of it would not be seen"
    return None


def _first_steps(plan: TrainingPlan) -> StatedPlan:
    """The first two steps of a plan in which anybody sits, with a few members each."""
    steps = [step for step in islice(filter(lambda step: step.parts, map(plan.step, range(plan.total))), 2)]
    few = [
        replace(part, slots=part.slots[:ROWS], chairs=part.chairs[:ROWS])
        for part in (step.parts[Role.RETAIN] for step in steps)
    ]
    return StatedPlan(plan.shard, plan.seed, few, [step.rate for step in steps])


def continues_alike(
    recipe: Recipe, schedule: Schedule, examples: Examples, emptied: np.ndarray, *, bits: bool
) -> str | None:
    """Two steps in a row must equal one step, a checkpoint, a fresh object, and one step. None when they do.

    Without ``bits`` — where nothing repeats to the bit anyway — only state outside the checkpoint is looked for.
    """
    shard = next((s for s in range(schedule.shards) if np.setdiff1d(schedule.shard_slots(s), emptied).size), 0)
    plan = _first_steps(TrainingPlan(recipe, schedule, shard, emptied))
    if plan.total < 2:
        return None

    def made(seed: bytes) -> StepRunner:
        return StepRunner(recipe, examples, build(recipe, seed, shard))

    straight = made(schedule.seed)
    outside = hidden_state(straight.model.train())
    straight.run(plan)
    moved = sorted(name for name, value in hidden_state(straight.model).items() if outside.get(name) != value)
    if moved:
        return (
            f"model {recipe.model!r} changes {moved[0]!r} in training, which is neither a parameter nor a persistent "
            "buffer and would be lost with a checkpoint"
        )
    paused = made(schedule.seed)
    paused.run(plan, 0, 1)
    fresh = made(bytes(32))
    try:
        fresh.take_up(copied(paused.state), "self-test checkpoint")
    except RunError as error:
        return f"the model's state cannot be taken up again ({error})"
    fresh.run(plan, 1, 2)
    if not bits or tensors_digest(straight.state) == tensors_digest(fresh.state):
        return None
    return (
        f"model {recipe.model!r} does not continue from a checkpoint to the same bits: it keeps state outside its "
        "parameters and persistent buffers, or draws from a generator of its own"
    )


def hidden_state(model: nn.Module) -> dict[str, str]:
    """What a model holds besides parameters and persistent buffers, as text that changes when it does."""
    found: dict[str, str] = {}
    for where, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in TORCHS_OWN:
                found[f"{where}.{name}".lstrip(".")] = _shown(value)
        for name, value in module.named_buffers(recurse=False):
            if name in vars(module)["_non_persistent_buffers_set"]:
                found[f"{where}.{name}".lstrip(".")] = _shown(value)
    return found


def _shown(value: object, depth: int = 4) -> str:
    if isinstance(value, torch.Tensor):
        return tensors_digest({"value": value}).hex()
    if isinstance(value, torch.Generator):
        return tensors_digest({"value": value.get_state()}).hex()
    if isinstance(value, np.ndarray):
        return repr(value.tolist())
    if depth and isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__}({', '.join(_shown(item, depth - 1) for item in value)})"
    if depth and isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_shown(item, depth - 1)}" for key, item in value.items()) + "}"
    cells = [cell.cell_contents for cell in getattr(value, "__closure__", None) or () if cell is not None]
    if depth and cells:
        return f"{getattr(value, '__qualname__', '')}{_shown(cells, depth - 1)}"
    held = getattr(value, "__dict__", None)
    if depth and isinstance(held, dict) and not isinstance(value, type | types.ModuleType | nn.Module):
        return f"{type(value).__name__}{_shown(held, depth - 1)}"
    return repr(value)


def differing(here: dict[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Fields in which two environments differ, as a person reads them."""
    return [
        f"{name.replace('_', ' ')} {there.get(name)!r} then, {here.get(name)!r} now"
        for name in sorted(set(here) | set(there))
        if here.get(name) != there.get(name)
    ]


def require_same(here: dict[str, Any], there: Mapping[str, Any], what: str, way_out: str) -> None:
    """A prefix computed elsewhere and a rest computed here equal neither machine's training: refuse."""
    found = differing(here, there)
    if found:
        raise RunError(
            f"{what} in another environment ({'; '.join(found)}): its bits cannot be continued here; {way_out}"
        )
