"""Jobs without a study behind them: one of every kind, and one of which nothing matters but its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from expunge.records.run_file import MethodFile, Roots
from expunge.records.scalars import Large, Slots
from expunge.study.job import (
    AnyJob,
    Evaluate,
    EvaluateSpec,
    ForgetKey,
    JobMeans,
    PlannedData,
    Train,
    TrainMeans,
    TrainSpec,
    Tune,
    TuneMeans,
    TuneSpec,
    Unlearn,
    UnlearnMeans,
    UnlearnSpec,
)

ROOTS = Roots(train="1" * 64, calibration="2" * 64, holdout="3" * 64)
DATA = PlannedData(source={"location": "here"}, roots=ROOTS, split_seed=Large(4), split_by="rows")
FORGOTTEN = ForgetKey(slots="5" * 64, rules=("random:5%:1",))
TRAIN = Train(
    title="train",
    spec=TrainSpec(
        recipe="6" * 64,
        roots=ROOTS,
        split_seed=Large(4),
        split_by="rows",
        without=None,
        factory="f",
        checkpoint_interval=None,
        device="cpu",
        software={"torch": "2"},
    ),
    means=TrainMeans(data=DATA, recipe={"rate": 0.5}),
)
TUNE = Tune(
    title="tune",
    spec=TuneSpec(
        method="scrub",
        source="",
        optuna="4",
        score=2,
        kind="random",
        size="3",
        avoid="7" * 64,
        budget=0.1,
        trials=8,
        seed=Large(2**53 - 1),
    ),
    inputs={"original": ("k",), "twins": ("l", "m", "r", "s")},
    means=TuneMeans(data=DATA, avoid=Slots((1, 2))),
)
UNLEARN = Unlearn(
    title="unlearn",
    spec=UnlearnSpec(
        method=MethodFile(name="scrub", fields={"rate": 0.5}),
        source="",
        forget=FORGOTTEN,
        budget=None,
        seed=Large(1),
    ),
    inputs={"original": ("k",), "tuning": ("n",)},
    means=UnlearnMeans(data=DATA, slots=Slots((1, 2))),
)
EVALUATE = Evaluate(
    title="evaluate",
    spec=EvaluateSpec(tolerances=1, software={"scipy": "1"}),
    inputs={"run": ("o",), "original": ("k",), "references": ("p", "q")},
    means=JobMeans(data=DATA),
)
JOBS = (
    TRAIN,
    replace(
        TRAIN,
        spec=replace(TRAIN.spec, without=FORGOTTEN, checkpoint_interval=7),
        means=replace(TRAIN.means, without=Slots((1, 2))),
    ),
    TUNE,
    UNLEARN,
    replace(UNLEARN, spec=replace(UNLEARN.spec, budget=0.5), inputs={"original": ("k",)}),
    EVALUATE,
    replace(EVALUATE, spec=replace(EVALUATE.spec, probes=(("own-probe", "Beliefs()"),))),
)


def job(
    work: str = "train", title: str = "train", inputs: Mapping[str, tuple[str, ...]] | None = None, **spec: Any
) -> Any:
    """One of which nothing matters but its key."""
    return AnyJob(work=work, title=title, spec=spec, inputs=inputs or {}, means=JobMeans(data=DATA))
