"""What tests of selections share: a trained run of small pictures, and its candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from expunge.attacks.contract import Candidates
from expunge.data.splits import Split
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device, train

CandidatesOf = Callable[..., Candidates]


@pytest.fixture
def candidates_of(pictures: Any) -> CandidatesOf:
    """Candidates of a run of the pictures, or of other ``data``; further fields as arguments."""

    def of(run: Run, count: int = 12, seed: int = 0, **fields: Any) -> Candidates:
        train = run.data(fields.pop("data", pictures))[Split.TRAIN]
        return Candidates(
            run=run,
            examples=Examples(run.recipe, train, find_device("cpu")),
            slots=np.arange(len(train)),
            labels=train.labels,
            whole_classes=fields.pop("whole_classes", False),
            count=count,
            seed=seed,
            meter=Meter(),
            **fields,
        )

    return of


@pytest.fixture(scope="session")
def narrow_run(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained mlp of 16 units on the pictures: its features are few enough for slow ways."""
    out = tmp_path_factory.mktemp("runs") / "narrow"
    return train(pictures, out=out, model="mlp", model_options={"width": 16}, epochs=4, batch_size=16)


@pytest.fixture
def exactly(narrow_run: Run) -> Iterator[None]:
    """The profile of the run, pinned."""
    with pinned(narrow_run.recipe):
        yield
