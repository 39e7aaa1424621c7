"""What the tests of tuning share: a small run, pseudo-forget sets, twins, and a rehearsal of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.splits import Split
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


def play(
    data: Dataset,
    folder: Path,
    *,
    kind: str = "random",
    size: str = "20%",
    avoid: Sequence[int] | np.ndarray = (),
    leave_out: bool = False,
    seed: int = 0,
) -> Play:
    """Everything trained anew; ``leave_out`` trains the twins without the rows to avoid."""
    run = train(data, out=folder / "run", model="mlp", epochs=4, batch_size=16)
    rows = run.data(data)
    asked = {"kind": kind, "size": size, "avoid": np.array(avoid, dtype=np.int64), "seed": seed}
    sets = pseudo_sets(rows[Split.TRAIN], **asked)
    spared = asked["avoid"] if leave_out else np.zeros(0, dtype=np.int64)
    twins = [
        train(
            data,
            out=folder / f"twin-{number}",
            recipe=replace(run.recipe, seed=training_seed),
            without=ForgetSet(np.union1d(slots, spared), ("rehearsal",), run.root.hex()),
        )
        for number, (slots, training_seed) in enumerate(zip(sets, twin_seeds(seed, 0), strict=True))
    ]
    return Play(run, rows, sets, twins, asked)


Pictures = Callable[..., Dataset]
