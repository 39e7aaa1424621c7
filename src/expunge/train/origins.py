"""Where every constant between rows and a model is from, as run.json and records say it. Nothing is fitted."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.records.run_file import OriginFile
from expunge.schedule.recipe import Recipe

TRAINED = (
    ("pixels", "constant: scaled by the recipe"),
    ("numbers", "training state: a parameter-free batch norm in front of the model"),
    ("categories", "constant: hashed into a fixed number of buckets"),
    ("words", "constant: hashed into a fixed number of buckets"),
    ("classes", "recipe: read off all rows once, then fixed"),
    ("labels", "training state: their running mean and deviation, behind the model"),
    ("column_kinds", "recipe: read off all rows once unless named, then fixed"),
    ("class_weights", "none"),
    ("early_stopping", "none"),
)
SUMMED = (
    ("map", "constant: by the recipe, and by what the lineage's streams draw"),
    ("ranges_words_penalty", "recomputed: derived from the rows that are present, again after every deletion"),
    ("classes", "recipe: read off all rows once, then fixed"),
    ("column_kinds", "recipe: read off all rows once unless named, then fixed"),
)
ADOPTED = (
    ("pixels", "the owner's word: scale, mean and std"),
    ("numbers", "the owner's word: scale, mean and std"),
    ("classes", "recipe: read off all rows once, then fixed"),
    ("labels", "constant: as they are"),
    ("column_kinds", "recipe: read off all rows once, then fixed"),
    ("training", "the owner's word: it cannot be carried out again"),
)


def origins(told: Sequence[tuple[str, str]], recipe: Recipe) -> tuple[OriginFile, ...]:
    """Those of a recipe: it has classes, or labels that are numbers."""
    other = "labels" if recipe.classes else "classes"
    return tuple(OriginFile(name=name, origin=origin) for name, origin in told if name != other)
