"""Which of the planned routes to take: never by comparing what nobody has measured."""

from __future__ import annotations

from collections.abc import Sequence

from expunge.core.errors import InvalidArgument
from expunge.core.wording import three_digits
from expunge.records.plan import PlanAdvice, Route

TIMES = 15  # cheaper than retraining: what is looked for
NEAR = 0.01  # of accuracy that preparing may cost where no floor is said


def advised(routes: Sequence[Route], floor: float | None) -> PlanAdvice:
    """By seconds among routes that are accurate enough, where both were measured; else by work alone."""
    plain = next(route for route in routes if route.kind == "plain")
    timed = [route for route in routes if route.seconds is not None and route.accuracy is not None]
    return _by_seconds(plain, timed, floor) if timed else _by_work(routes)


def _by_seconds(plain: Route, timed: Sequence[Route], floor: float | None) -> PlanAdvice:
    least = (plain.accuracy or 0.0) - NEAR if floor is None else floor
    able = [route for route in timed if (route.accuracy or 0.0) >= least]
    if not able:
        nearest = max(timed, key=lambda route: route.accuracy or 0.0)
        raise InvalidArgument(
            f"`floor` {least:g} is met by no route: the nearest is {nearest.name} with {nearest.accuracy:.4g} on "
            "calibration rows; ask for less, or for another `model` or more `epochs`"
        )
    best = min(able, key=lambda route: _mean(route))
    times = (plain.retraining_seconds or 0.0) / max(_mean(best), 1e-9)
    told = (
        f"a batch takes {three_digits(_mean(best))} s where training {plain.name} takes "
        f"{three_digits(plain.retraining_seconds or 0.0)} s ({three_digits(times)} times less), accuracy "
        f"{best.accuracy:.4g} against {plain.accuracy:.4g} on calibration rows"
    )
    return _advice(best, times >= TIMES, told)


def _mean(route: Route) -> float:
    return 0.0 if route.seconds is None else route.seconds.mean


def _by_work(routes: Sequence[Route]) -> PlanAdvice:
    """A model that is sums, whose cost hardly hangs on the batch; else the least prepared route that is cheap enough.

    Operations and example-steps are not compared: each route is held against its own retraining.
    """
    sums = [route for route in routes if route.kind == "accumulated" and route.cost is not None]
    if sums:
        unsaid = "what it answers and how long it takes is not known before `measure`"
        return _advice(sums[0], True, f"one batch is one solution of its sums, however many ask; {unsaid}")
    able = [route for route in routes if (route.times or 0.0) >= TIMES]
    if able:
        best = min(able, key=lambda route: (route.states or 0, -(route.times or 0.0)))
        return _advice(best, True, _cheaper(best) + ", with the fewest states to keep")
    best = max(routes, key=lambda route: route.times or 0.0)
    return _advice(best, False, _cheaper(best))


def _cheaper(route: Route) -> str:
    return f"a batch costs {three_digits(route.times or 0.0)} times less than retraining it"


def _advice(route: Route, meets: bool, why: str) -> PlanAdvice:
    more = "" if meets else f"; {TIMES} times less are looked for"
    return PlanAdvice(route=route.name, meets=meets, why=why + more, train=route.train)
