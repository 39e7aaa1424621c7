"""Which map a recipe's model looks through, by the model's name and the columns; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.core.errors import InvalidArgument
from expunge.data.dataset import ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.features.contract import WIDEST, FeatureMap
from expunge.models.features.cosine import CosineMap
from expunge.models.features.edges import MOST_EDGES
from expunge.models.features.patches import LEAST_SIDE, PatchMap
from expunge.models.features.table import TableMap
from expunge.models.features.words import WordMap
from expunge.schedule.recipe import Recipe, Scalar

LEAST = 32  # columns
LARGEST_SIDE = 16  # of an image that is looked at as a whole


def map_of(recipe: Recipe) -> FeatureMap:
    """The map of a recipe; its width is in the model's options, or the usual one."""
    return feature_map(recipe.model, recipe.inputs, recipe.model_options)


def feature_map(model: str, encoding: Encoding, options: Mapping[str, Scalar]) -> FeatureMap:
    """The map for a model on these columns, as wide as the options say."""
    kind = _kind(model, encoding)
    width = options.get("width", kind.usual_width)
    if not (type(width) is int and LEAST <= width <= WIDEST):
        raise InvalidArgument(
            f"width {width!r} of `model_options` must be a whole number from {LEAST} to {WIDEST:,}: wider sums are not "
            f"solved exactly; the usual one is {kind.usual_width:,}"
        )
    if kind is TableMap and model != "forest":
        width = _wide_enough(TableMap(encoding, width), said="width" in options)
    return kind(encoding, width)


def _kind(model: str, encoding: Encoding) -> type[FeatureMap]:
    texts = [column.name for column in encoding.columns if column.kind is ColumnKind.TEXT]
    side = max(encoding.shape[1:]) if encoding.is_image else 0
    least = min(encoding.shape[1:]) if encoding.is_image else 0
    for_images = "patch-ridge" if least >= LEAST_SIDE else "ridge" if side <= LARGEST_SIDE else "cnn"
    seen = f"images of {encoding.shape[1]}×{encoding.shape[2]}" if encoding.is_image else ""
    if model == "forest" and texts:
        raise InvalidArgument(
            f"model 'forest' takes numbers and categories, column {texts[0]!r} holds text: leave it out or use "
            "`model` ridge"
        )
    if model in ("forest", "naive-bayes") and encoding.is_image:
        raise InvalidArgument(f"model {model!r} takes tables, the data has {seen}: use `model` {for_images}")
    if model == "patch-ridge":
        if not encoding.is_image:
            raise InvalidArgument("model 'patch-ridge' takes images, the data has none: use `model` ridge")
        if least < LEAST_SIDE:
            raise InvalidArgument(
                f"model 'patch-ridge' needs images of {LEAST_SIDE}×{LEAST_SIDE} at least, the data has {seen}: use "
                f"`model` {for_images}"
            )
        if encoding.shape[0] not in (1, 3):
            raise InvalidArgument(
                f"model 'patch-ridge' takes 1 or 3 channels, the data has {encoding.shape[0]}: leave out the others"
            )
        return PatchMap
    if model == "ridge" and side > LARGEST_SIDE:
        raise InvalidArgument(
            f"model 'ridge' takes images of up to {LARGEST_SIDE}×{LARGEST_SIDE}, the data has {seen}: use `model` "
            f"{for_images}"
        )
    if len(encoding.columns) == 1:
        if texts:
            return WordMap
        if model == "ridge" and encoding.columns[0].kind in (ColumnKind.IMAGE, ColumnKind.ARRAY):
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
