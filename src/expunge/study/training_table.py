"""A study's ``[training.NAME]``: the fields of a recipe as `expunge train` takes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from expunge.core.errors import InvalidArgument, UnsupportedYet
from expunge.core.wording import choice, nearest
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.data.tiers import TierFile
from expunge.records.catalogue import NUMBER_TASKS
from expunge.schedule.fields import CHOICES, LARGEST, TIERED, RecipeFields
from expunge.schedule.recipe import Calendar, OptimiserName, Recipe
from expunge.study.opened import Opened
from expunge.train.training import make_recipe

OPTIMISER = {"optimiser": str, "rate": float, "momentum": float, "weight_decay": float, "calendar": str}
AUGMENTATION = {"flip": bool, "crop": int}
WHOLE = ("epochs", "batch_size", "shards", "slices", "least_present", "threads", "category_buckets", "text_buckets")
WORDED: dict[str, type[Enum]] = {**CHOICES, "optimiser": OptimiserName, "calendar": Calendar}
MEANS = {"device": str, "checkpoint_interval": int}
KINDS: dict[str, type] = {
    "model": str,
    "model_options": dict,
    "task": str,
    **OPTIMISER,
    **AUGMENTATION,
    **dict.fromkeys(WHOLE, int),
    **dict.fromkeys(CHOICES, str),
    "stages": list,
    **MEANS,
}
WORDS: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "a table",
    list: "a list",
}


@dataclass(frozen=True)
class TrainingFields:
    """Fields of a recipe without its seed, as a table and as it is read; ``data`` is what it is for, or all."""

    name: str
    table: Mapping[str, Any]
    fields: Mapping[str, Any]
    device: str
    checkpoint_interval: int | None
    data: tuple[str, ...]

    def recipe(self, dataset: Dataset, seed: int, tiers: np.ndarray | None = None) -> Recipe:
        """The recipe for a data set and a seed, and for the ``tiers`` of its subjects."""
        fields = {name: value for name, value in self.fields.items() if name != "tiers"}
        return make_recipe(dataset, tiers=tiers, **{**fields, "seed": seed})

    def tiers(self, opened: Opened) -> np.ndarray | None:
        """Those of the subjects that are trained on, where a file says them."""
        file, trained = self.fields.get("tiers"), opened.rows[Split.TRAIN].subjects
        return None if file is None else TierFile.read(file).of(opened.dataset.subjects, trained)

    def changed(self, fields: Mapping[str, Any]) -> TrainingFields:
        """The same but for these fields."""
        return read_training(self.name, {**self.table, **fields}) if fields else self


def read_training(name: str, table: Mapping[str, Any]) -> TrainingFields:
    """Check a table and make typed fields of it; what is not said keeps the recipe's default."""
    for key, value in table.items():
        if key != "data":
            _check(key, value)
    said = {key: value for key, value in table.items() if key not in (*MEANS, "data")}
    for key, choices in WORDED.items():
        if key in said and not str(said[key]).startswith(TIERED):
            said[key] = choice(choices, said[key], key)
    made = RecipeFields(**said).said()
    data = table.get("data", [])
    wanted = [data] if isinstance(data, str) else data
    if not isinstance(wanted, list) or not all(isinstance(item, str) for item in wanted):
        raise InvalidArgument(f"data {data!r} must be a name or a list of names")
    return TrainingFields(
        name, table, made, table.get("device", "cpu"), table.get("checkpoint_interval"), tuple(wanted)
    )


def _check(key: str, value: Any) -> None:
    if key not in (*KINDS, "perturbation"):
        raise InvalidArgument(f"a training has no {key!r}: it has {', '.join(KINDS)}{nearest(key, KINDS)}")
    if key == "perturbation":
        raise UnsupportedYet(
            "a perturbation in a study: its noise hangs on a secret key, so no two runs are alike and none can be "
            "shared; use `expunge train` and `expunge unlearn`"
        )
    if key == "task" and value in NUMBER_TASKS:
        raise UnsupportedYet(
            f"task {value!r} in a study: its tables are of accuracies and margins, which numbers lack so far; use "
            "`expunge train`, `expunge unlearn` and `expunge evaluate`"
        )
    kind = KINDS[key]
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise InvalidArgument(f"{key} {value!r} must be {WORDS[kind]}")
    if kind is float and not abs(value) <= LARGEST:
        raise InvalidArgument(f"{key} {str(value)[:40]} must be a number up to {LARGEST:g}")
    if key == "device" and re.fullmatch(r"cpu|cuda(:\d+)?", str(value)) is None:
        raise InvalidArgument(f"device {value!r} must be cpu or cuda")
    if key == "checkpoint_interval" and value < 1:
        raise InvalidArgument(f"checkpoint_interval {value} must be a whole number from 1")
