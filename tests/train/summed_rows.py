"""Small data sets for models that are sums over rows; run as a script, the digests of some models of them."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import make_encoding
from expunge.models.sums import accumulation_of
from expunge.schedule.recipe import HowTrained, Recipe

WORDS = ("red", "green", "blue", "cold", "warm", "salt", "sweet", "sharp", "soft", "loud", "deep", "flat")
SEED = bytes(range(32))


def table(rows: int = 160, classes: int = 3) -> Dataset:
    """Two numbers and a category; three columns of noise on a simple rule."""
    stream = Stream(bytes(32), "summed-table")
    labels, noise = stream.below(classes, rows), stream.below(1_000_000, rows)
    return make_dataset(
        labels=[f"class-{label}" for label in labels],
        columns=[Column("size", ColumnKind.NUMERIC), Column("kind", ColumnKind.CATEGORY)],
        content={
            "size": labels * 3.0 + noise / 250_000.0,
            "kind": np.array([f"kind-{(label + 2 * bool(n % 3)) % 5}" for label, n in zip(labels, noise, strict=True)]),
        },
        ids=[f"row-{row}" for row in range(rows)],
        subjects=[f"someone-{row // 2:02d}" for row in range(rows)],
        where="a table",
    )


def texts(rows: int = 160) -> Dataset:
    """A few words each, of two classes."""
    stream = Stream(bytes(32), "summed-texts")
    labels, drawn = stream.below(2, rows), stream.below(8, 5 * rows).reshape(rows, 5)
    content = [" ".join(WORDS[4 * label + word] for word in row) for label, row in zip(labels, drawn, strict=True)]
    return make_dataset(
        labels=[int(label) for label in labels],
        columns=[Column("text", ColumnKind.TEXT)],
        content={"text": np.array(content, dtype=object)},
        ids=[f"row-{row}" for row in range(rows)],
        where="texts",
    )


def recipe_of(dataset: Dataset, model: str, **options: Any) -> Recipe:
    return Recipe(
        inputs=make_encoding(dataset),
        classes=dataset.classes,
        model=model,
        model_options=options,
        training=HowTrained.ACCUMULATE,
    )


def digest_of(dataset: Dataset, model: str, present: np.ndarray, **options: Any) -> str:
    """Of the weights that come of these rows."""
    accumulation = accumulation_of(recipe_of(dataset, model, **options), SEED)
    rows = accumulation.map.encode(dataset)
    made = accumulation.anew(rows, dataset.labels, present, None, lambda begun: None)
    return arrays_digest(made.weights)


def arrays_digest(arrays: dict[str, np.ndarray]) -> str:
    return sha256(
        *(name.encode() + str(value.dtype).encode() + value.tobytes() for name, value in sorted(arrays.items()))
    ).hex()


if __name__ == "__main__":
    present = np.arange(1, 150)
    found = {
        model: digest_of(dataset, model, present, **options)
        for model, dataset, options in (
            ("ridge", table(), {"width": 128}),
            ("naive-bayes", texts(), {"width": 32}),
            ("forest", table(), {"trees": 2}),
        )
    }
    assert "torch" not in sys.modules
    print(json.dumps(found))
