"""What the forging study trains, and what it measures of each training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from expunge.schedule.recipe import Calendar, Optimiser, Scalar

BATCH = 64
EARLY, TENTH, HALF, FITTED, PAST = "10 steps", "10 %", "50 %", "100 %", "10 × past fitting"
POINTS = (EARLY, TENTH, HALF, FITTED, PAST)
EPOCH, EPOCHS = "1 epoch", "10 epochs"  # where a training is too long to be carried to its fit
ORDER = (EARLY, EPOCH, EPOCHS, *POINTS[1:])
FIRST_STEPS = 10
BATCHES = (16, 64, 256, 1000)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A training; ``points`` are the places along it where steps are forged. The rate is constant, so that 10 × past
    fitting is the same training carried on."""

    name: str
    model: str
    options: Mapping[str, Scalar]
    rate: float
    momentum: float = 0.0
    points: tuple[str, ...] = POINTS
    candidates: tuple[int, ...] = (1, 10, 100, 400)
    axes: bool = False  # whether M = 4,000, batch sizes and the bound are measured too

    @property
    def optimiser(self) -> Optimiser:
        return Optimiser(rate=self.rate, momentum=self.momentum, weight_decay=0.0, calendar=Calendar.CONSTANT)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured. ``few`` targets a seed stand for the cells that cost most.

    Where ``rows`` is given, only so many rows of the data are read, before they are split.
    """

    seeds: int = 5
    targets: int = 20
    few: int = 5
    pairs: int = 60
    batches: tuple[int, ...] = BATCHES
    most: int = 4000
    longest: int = 400  # epochs until a model counts as fitted, whatever it answers
    limit: int | None = None  # of candidates
    logs: int = 40  # forged logs of one training of each seed
    settings: tuple[Setting, ...] = field(default_factory=lambda: SETTINGS)
    data: str = "digits"
    rows: int | None = None


CNN: Mapping[str, Scalar] = {"width": 8}
SETTINGS = (
    Setting(name="cnn", model="cnn", options=CNN, rate=0.05, axes=True),
    Setting(name="mlp", model="mlp", options={"width": 64}, rate=0.2, axes=True),
    Setting(
        name="cnn, momentum 0.9",
        model="cnn",
        options=CNN,
        rate=0.005,
        momentum=0.9,
        points=(EARLY, FITTED, PAST),
        candidates=(1, 400),
    ),
    Setting(
        name="cnn, batch norm, momentum 0.9",
        model="cnn",
        options={"width": 8, "norm": "batch"},
        rate=0.005,
        momentum=0.9,
        points=(EARLY, FITTED, PAST),
        candidates=(1, 100),
    ),
    Setting(
        name="cnn, head logits",
        model="studies.forging_models:headed",
        options={"width": 8, "head": "logits"},
        rate=0.05,
        points=(EARLY, FITTED),
        candidates=(1, 400),
    ),
    Setting(
        name="cnn, head softmax",
        model="studies.forging_models:headed",
        options={"width": 8, "head": "softmax"},
        rate=0.05,
        points=(EARLY, FITTED),
        candidates=(1, 400),
    ),
)
FULL = Extent()
PICTURES = Extent(  # of larger pictures, from a file
    few=0,
    logs=0,
    rows=5000,
    settings=(
        Setting(
            name="cnn", model="cnn", options=CNN, rate=0.05, points=(EARLY, EPOCH, EPOCHS), candidates=(1, 10, 100)
        ),
    ),
)
QUICK = Extent(
    seeds=2,
    targets=3,
    few=2,
    pairs=8,
    batches=(16, 64),
    most=20,
    longest=3,
    limit=10,
    logs=5,
    settings=(SETTINGS[0], SETTINGS[3]),
)
QUICK_PICTURES = replace(PICTURES, seeds=2, targets=2, rows=400, limit=10)
