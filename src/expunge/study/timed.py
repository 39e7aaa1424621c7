"""What ``plan`` measures: a route is trained, a person is forgotten from it, and the old state is destroyed."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.data.handed import HandedData
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.documents import STATES
from expunge.records.plan import Outlay, Route
from expunge.records.run_file import Result
from expunge.schedule.fields import RecipeFields
from expunge.train.training import train


@dataclass(frozen=True, kw_only=True)
class Clocked:
    """Of one route: what its training and forgetting one person came to, in how many seconds.

    ``beside`` is what a request takes besides (loading, writing), ``erasing`` what hygiene takes; ``state`` is the size
    of a kept state in bytes, ``accuracy`` that on calibration rows.
    """

    trained: Result
    forgot: Result
    beside: float
    erasing: float
    state: float
    accuracy: float | None

    @property
    def pace(self) -> float:
        """Seconds of an example-step."""
        return self.trained.seconds / max(1.0, self.trained.example_steps)


def clock(data: HandedData, person: str, fields: RecipeFields) -> Clocked:
    """Train, forget and destroy, in a folder that goes again."""
    with tempfile.TemporaryDirectory(prefix="expunge-plan-") as place:
        trained = train(data, out=Path(place) / "trained", **fields.said())
        begun = time.monotonic()
        forgot = unlearn(trained, f"subject:{person}", out=Path(place) / "forgot", data=data)
        served = time.monotonic()
        states = [path.stat().st_size for path in (trained.path / STATES).glob("*") if path.is_file()]
        destroy(survey(forgot), unrecorded=True)
        figures = [one.figures for one in trained.told.learnt or () if one.split == "calibration"]
        return Clocked(
            trained=trained.result,
            forgot=forgot.result,
            beside=max(0.0, served - begun - forgot.result.seconds),
            erasing=time.monotonic() - served,
            state=sum(states) / max(1, len(states)),
            accuracy=next((told.get("accuracy") for told in figures), None),
        )


def with_clock(route: Route, pace: float, of_all: Clocked, own: Clocked | None) -> Route:
    """A route with seconds at the ``pace`` of its unit; accuracy where it was trained itself."""
    assert route.cost is not None
    cost = Outlay(mean=route.cost.mean * pace, high=route.cost.high * pace, worst=route.cost.worst * pace)
    service = cost.mean + of_all.beside
    return replace(
        route,
        seconds=cost,
        retraining_seconds=(route.retraining or 0.0) * pace if own is None else own.trained.seconds,
        service=service,
        hygiene=service + of_all.erasing,
        disk=None if route.states is None else route.states * of_all.state,
        accuracy=None if own is None else own.accuracy,
    )
