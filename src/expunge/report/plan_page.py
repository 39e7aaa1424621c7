"""The page of a plan: what a batch of requests costs on each route, as shares of one retraining. Same bytes."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from expunge.core.files import write_bytes
from expunge.core.wording import clean, three_digits
from expunge.records.plan import PlanFile, Route
from expunge.report.numerals import DASH, percent
from expunge.report.templates import environment, resource

LIMITS = (
    "Who will ask: batches were drawn at random, by the rates and shares that were said.",
    "What a route answers or how long it takes where a dash stands: nobody has measured it.",
    "That a month's requests come evenly: in a month of many, a batch is larger and costs more.",
)


def plan_page(plan: PlanFile, out: Path | str) -> Path:
    """Write the page of a plan."""
    incoming = plan.incoming
    view = {
        "style": Markup(resource("page.css")),
        "plan": plan,
        "rate": three_digits(incoming.a_month),
        "window": "each by itself" if incoming.window is None else f"collected for {incoming.window:g} days",
        "batch": (three_digits(incoming.batches), three_digits(incoming.requests), three_digits(incoming.rows)),
        "command": clean(plan.advice.train, 4096).replace("`", ""),
        "bars": [_bar(route, plan) for route in plan.routes if route.cost is not None],
        "unknown": [route.name for route in plan.routes if route.cost is None],
        "rows": [_row(route, plan) for route in plan.routes],
        "notes": list(dict.fromkeys([*plan.notices, *(note for route in plan.routes for note in route.notes)])),
        "limits": LIMITS,
    }
    target = Path(out)
    write_bytes(target, environment().get_template("plan_page.html").render(view).encode("utf-8"))
    return target


def _bar(route: Route, plan: PlanFile) -> dict[str, str | bool]:
    """Mean within the 95th percentile, of one retraining; what is above one stands at its edge."""
    assert route.cost is not None
    mean, high = (value / route.retraining if route.retraining else 0.0 for value in (route.cost.mean, route.cost.high))
    return {
        "name": route.name,
        "taken": route.name == plan.advice.route,
        "mean": f"{100 * min(1.0, mean):.2f}%",
        "high": f"{100 * min(1.0, high):.2f}%",
        "value": percent(mean),
    }


def _row(route: Route, plan: PlanFile) -> tuple[str, ...]:
    """What the table says of a route."""
    month, cost = route.month(plan.incoming), route.cost
    stop = route.stop(plan.incoming)
    figures = (None,) * 3 if cost is None else (cost.mean, cost.high, cost.worst)
    return (
        route.name,
        *(DASH if value is None else three_digits(value) for value in figures),
        DASH if route.retraining is None else f"{three_digits(route.retraining)} {route.unit}",
        DASH if route.times is None else f"{three_digits(route.times)}×",
        DASH if month is None else three_digits(month) + (", retrain once instead" if stop else ""),
        DASH if route.seconds is None else f"{three_digits(route.seconds.mean)} s",
        *(DASH if value is None else f"{three_digits(value)} s" for value in (route.service, route.hygiene)),
        DASH if route.disk is None else f"{three_digits(route.disk / 1e6)} MB",
        DASH if route.accuracy is None else f"{route.accuracy:.4f}",
    )
