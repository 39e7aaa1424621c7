"""What the tests of tuning share: a small run, pseudo-forget sets, twins, and a rehearsal of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data.dataset import Dataset
from expunge.data.digits import read
from expunge.data.forget_set import ForgetSet
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.schedule.recipe import Optimiser
from expunge.study.pseudo_sets import pseudo_sets, twin_seeds
from expunge.study.rehearsal import Rehearsal, prepare
from expunge.train.run import Run
from expunge.train.training import train


@dataclass(frozen=True)
class Play:
    """A run, its rows, the pseudo-forget sets, the twins and the rehearsal."""

    run: Run
    rows: Mapping[Split, Dataset]
    sets: tuple[np.ndarray, np.ndarray]
    twins: list[Run]
    asked: dict[str, Any]

    def prepare(self, rows: Mapping[Split, Dataset] | None = None) -> Rehearsal:
        return prepare(self.run, self.twins, data=self.rows if rows is None else rows, **self.asked)


def mislabelled(data: Dataset) -> Dataset:
    """The same with any label for two rows in five, so that there is something to remember of a row."""
    return replace(data, labels=odd_labels(data.labels, len(data.classes)))


def odd_labels(labels: np.ndarray, classes: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    odd = generator.random(len(labels)) < 0.4
    return np.where(odd, generator.integers(0, classes, len(labels)), labels).astype(labels.dtype)


def odd_digits(path: Path, count: int = 500) -> None:
    """Some of the digits so mislabelled, as a file of arrays."""
    digits = read(Source(location="digits"), None, None)
    (name,) = digits.content
    np.savez(path, x=digits.content[name][:count], y=odd_labels(digits.labels[:count], 10))


def play(
    data: Dataset,
    folder: Path,
    *,
    run: Run | None = None,
    kind: str = "random",
    size: str = "20%",
    avoid: Sequence[int] | np.ndarray = (),
    leave_out: bool = False,
    seed: int = 0,
) -> Play:
    """Everything trained anew but a given run; ``leave_out`` trains the twins without the rows to avoid."""
    rate = Optimiser(rate=0.15)
    run = run or train(data, out=folder / "run", model="mlp", epochs=25, batch_size=40, optimiser=rate)
    rows = run.data(data)
    asked = {"kind": kind, "size": size, "avoid": np.array(avoid, dtype=np.int64), "seed": seed}
    first, second = sets = pseudo_sets(rows[Split.TRAIN], **asked)
    spared = asked["avoid"] if leave_out else np.zeros(0, dtype=np.int64)
    twins = [
        train(
            data,
            out=folder / f"twin-{number}",
            recipe=replace(run.recipe, seed=training_seed),
            without=ForgetSet(np.union1d(slots, spared), ("rehearsal",), run.root.hex()),
        )
        for number, (slots, training_seed) in enumerate(
            zip((first, first, second, second), twin_seeds(seed, 0), strict=True)
        )
    ]
    return Play(run, rows, sets, twins, asked)


Pictures = Callable[..., Dataset]
