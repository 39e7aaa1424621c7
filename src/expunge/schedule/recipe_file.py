"""``recipe.json`` of a bundle: the canonical JSON of a recipe, read back from untrusted bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from expunge.core.errors import ExpungeError, RecordError
from expunge.core.hashing import canonical_json
from expunge.records.canonical import checked_list, checked_object, malformed, read_json, read_real
from expunge.records.limits import LIMITS, Limits
from expunge.schedule.recipe import Optimiser, Recipe

REALS = tuple(item.name for item in fields(Optimiser) if item.type == "float")


def read_recipe(text: bytes, what: str = "recipe.json", limits: Limits = LIMITS) -> Recipe:
    """The recipe of these bytes; they must be exactly what the recipe's digest is taken over."""
    value = read_json(text, what, limits)
    if not isinstance(value, dict):
        raise malformed(what, "an object is expected")
    try:
        recipe = Recipe.from_json(_with_reals(cast("dict[str, Any]", value), what))
        again = canonical_json(recipe.as_json())
    except RecordError:
        raise
    except (ExpungeError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise malformed(what, f"it is no recipe ({str(error)[:200]})") from None
    if again != text or not _plain(recipe):
        raise malformed(what, "it is not written as recipes are, or holds a value of another type than its place asks")
    return recipe


def _with_reals(value: dict[str, Any], what: str) -> dict[str, Any]:
    """The recipe's JSON with numbers where the canonical form has C99 hex strings."""
    found = dict(value)
    if "perturbation" in found:
        found["perturbation"] = read_real(found["perturbation"], f"{what}, perturbation")
    shares = f"{what}, milestones"
    optimiser = checked_object(found.get("optimiser"), f"{what}, optimiser", [item.name for item in fields(Optimiser)])
    found["optimiser"] = {
        **optimiser,
        **{name: read_real(optimiser[name], f"{what}, {name}") for name in REALS},
        "milestones": [read_real(share, shares) for share in checked_list(optimiser["milestones"], shares)],
    }
    inputs = checked_object(
        found.get("inputs"), f"{what}, inputs", ("columns", "category_buckets", "text_buckets"), ("preparation",)
    )
    columns: list[dict[str, Any]] = []
    for column in checked_list(inputs["columns"], f"{what}, columns"):
        fields_of = checked_object(column, f"{what}, column", ("name", "kind", "shape", "layout", "scale"))
        columns.append({**fields_of, "scale": read_real(fields_of["scale"], f"{what}, scale")})
    found["inputs"] = {**inputs, "columns": columns}
    if "preparation" in inputs:
        place = f"{what}, preparation"
        told = checked_object(inputs["preparation"], place, ("scale", "mean", "std"))
        found["inputs"]["preparation"] = {
            "scale": read_real(told["scale"], place),
            **{name: [read_real(one, place) for one in checked_list(told[name], place)] for name in ("mean", "std")},
        }
    options = found.get("model_options")
    if isinstance(options, Mapping):
        found["model_options"] = {name: _option(item) for name, item in cast("dict[str, Any]", options).items()}
    return found


def _option(value: Any) -> Any:
    """An option of a model: a text that is a real in its canonical form stands for that real."""
    try:
        return read_real(value, "an option") if isinstance(value, str) else value
    except RecordError:
        return value


def _plain(recipe: Recipe) -> bool:
    """Fields that the classes do not look at themselves."""
    return (
        isinstance(recipe.model, str)
        and all(isinstance(value, int | float | str | bool) for value in recipe.model_options.values())
        and all(type(name) in (int, str) for name in recipe.classes)
        and isinstance(recipe.augmentation.flip, bool)
        and type(recipe.augmentation.crop) is int
        and (recipe.base is None or type(recipe.base) is str)
    )
