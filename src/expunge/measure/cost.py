"""What forgetting cost, beside what retraining costs."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.trial import Answers, Beside, Ground


@dataclass(frozen=True, kw_only=True)
class ExampleSteps(Probe):
    """Work in example-steps: one example through forward and backward is 1, forward alone 1/3. Counted, not guessed."""

    name = "example-steps"
    role = ProbeRole.COST
    direction = Direction.LOW
    scale = "example-steps"
    reads = ()

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return _single(own.example_steps, self.scale)


@dataclass(frozen=True, kw_only=True)
class Seconds(Probe):
    """Wall-clock seconds of the work itself; one run, so no interval, and other load on the machine counts."""

    name = "seconds"
    role = ProbeRole.COST
    direction = Direction.LOW
    scale = "seconds"
    reads = ()

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        return _single(own.seconds, self.scale)


def _single(value: float | None, scale: str) -> Figure:
    if value is None:
        return Undecided("nobody counted what its training took: it was trained elsewhere")
    return Measurement(value=value, low=value, high=value, n=1, unit="run", direction=Direction.LOW, scale=scale)
