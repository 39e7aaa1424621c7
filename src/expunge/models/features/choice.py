"""Which map a recipe's model looks through, by the model's name and the columns; what does not fit is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.features.contract import WIDEST, FeatureMap
from expunge.models.features.cosine import CosineMap
from expunge.models.features.edges import MOST_EDGES
from expunge.models.features.patches import FILTERS_DIGEST, LARGEST_SIDE, LEAST_SIDE, PatchMap
from expunge.models.features.table import TableMap
from expunge.models.features.words import WordMap
from expunge.schedule.recipe import Recipe, Scalar

LEAST = 32  # columns
WHOLE_SIDE = 16  # of the largest image that is looked at as a whole


def map_of(recipe: Recipe) -> FeatureMap:
    """The map of a recipe; its width is in the model's options, or the usual one."""
    return feature_map(recipe.model, recipe.inputs, recipe.model_options)


def stated(model: str, options: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Options as a recipe states them: with the digest of the filters, where a map takes them from the package."""
    return {**({"filters": FILTERS_DIGEST} if model == "patch-ridge" else {}), **options}


def feature_map(model: str, encoding: Encoding, options: Mapping[str, Scalar]) -> FeatureMap:
    """The map for a model on these columns, as wide as the options say."""
    kind = _of_images(model, encoding.shape) if encoding.is_image else _of_columns(model, encoding.columns)
    width = options.get("width", kind.usual_width)
    if not (type(width) is int and LEAST <= width <= WIDEST):
        raise InvalidArgument(
            f"width {width!r} of `model_options` must be a whole number from {LEAST} to {WIDEST:,}: wider sums are not "
            f"solved exactly; the usual one is {kind.usual_width:,}"
        )
    if (filters := options.get("filters", FILTERS_DIGEST)) != FILTERS_DIGEST:
        raise InvalidArgument(
            f"the recipe looks through the filters {str(filters)[:16]}…, those of this release are "
            f"{FILTERS_DIGEST[:16]}…: use the release that it was made with"
        )
    if kind is TableMap and model != "forest":
        width = _wide_enough(TableMap(encoding, width), said="width" in options)
    return kind(encoding, width)


def _of_images(model: str, shape: tuple[int, ...]) -> type[FeatureMap]:
    channels, *sides = shape
    seen, fits = f"the data has images of {sides[0]}×{sides[1]}", "cnn"
    if max(sides) <= WHOLE_SIDE:
        fits = "ridge"
    if min(sides) >= LEAST_SIDE and max(sides) <= LARGEST_SIDE:
        fits = "patch-ridge"
    if model == "ridge":
        if max(sides) > WHOLE_SIDE:
            raise InvalidArgument(
                f"model 'ridge' takes images of up to {WHOLE_SIDE}×{WHOLE_SIDE}, {seen}: use `model` {fits}"
            )
        return CosineMap
    if model != "patch-ridge":
        raise InvalidArgument(f"model {model!r} takes tables, {seen}: use `model` {fits}")
    if fits != "patch-ridge":
        raise InvalidArgument(
            f"model 'patch-ridge' takes images from {LEAST_SIDE}×{LEAST_SIDE} to {LARGEST_SIDE}×{LARGEST_SIDE}, {seen}"
            f": use `model` {fits}"
        )
    if channels not in (1, 3):
        raise InvalidArgument(
            f"model 'patch-ridge' takes 1 or 3 channels, the data has {channels}: leave out the others"
        )
    return PatchMap


def _of_columns(model: str, columns: tuple[Column, ...]) -> type[FeatureMap]:
    texts = [column.name for column in columns if column.kind is ColumnKind.TEXT]
    if model == "patch-ridge":
        raise InvalidArgument("model 'patch-ridge' takes images, the data has none: use `model` ridge")
    if model == "forest" and texts:
        raise InvalidArgument(
            f"model 'forest' takes numbers and categories, column {texts[0]!r} holds text: leave it out or use "
            "`model` ridge"
        )
    if len(columns) == 1 and texts:
        return WordMap
    if len(columns) == 1 and columns[0].kind is ColumnKind.ARRAY and model == "ridge":
        if (entries := math.prod(columns[0].shape)) > WIDEST:
            raise InvalidArgument(
                f"model 'ridge' takes arrays of up to {WIDEST:,} entries, column {columns[0].name!r} has {entries:,} a "
                "row: use `model` mlp"
            )
        return CosineMap
    return TableMap


def _wide_enough(made: TableMap, *, said: bool) -> int:
    """A width that holds every edge: twice the usual one, and twice again, where nothing was said."""
    needed, width = made.numbers * MOST_EDGES + 2, made.width
    while width < needed and not said:
        width *= 2
    if width > WIDEST or width < needed:
        way = f"give it {needed:,} or more" if needed <= WIDEST else "leave columns out, or use `model` forest"
        raise InvalidArgument(
            f"width {min(width, WIDEST):,} of `model_options` does not hold {made.numbers:,} numbers a row, which can "
            f"have {MOST_EDGES} edges each: {way}"
        )
    return width
