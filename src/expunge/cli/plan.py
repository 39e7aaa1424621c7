"""``expunge plan``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.reading import (
    CATEGORICAL,
    DATE,
    DECIMAL,
    ENCODING,
    ID,
    IMAGE_SIZE,
    LABEL,
    MISSING,
    NO_HEADER,
    NUMERIC,
    ROWS,
    SEPARATOR,
    SPLIT,
    SUBJECT,
    TEXT,
)
from expunge.cli.shared import (
    html_file,
    print_json,
    progress_bar,
    say,
    share,
    sized,
    table_of,
    wide_console,
    with_flags,
)
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import parse_json
from expunge.core.wording import counted, three_digits
from expunge.records.document import read_document, write_document
from expunge.records.form import to_plain
from expunge.records.plan import PLAN_UNITS, Incoming, PlanCheck, PlanFile, Route

EXAMPLE = "Example: expunge plan adult.csv --label income --requests 20/month --window 7d --out plan.html"
HEADERS = (
    *("", "a batch", "95 %", "worst", "one retraining", "cheaper", "a month"),
    *("seconds", "to service", "to hygiene", "disk", "accuracy"),
)
DASH = "—"
STOP = " *"
DAY = 86_400


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(plan)


def plan(
    source: Annotated[
        str | None, typer.Argument(help="Data as for train; or the folder of a run, which is planned on as it stands.")
    ] = None,
    requests: Annotated[
        str | None, typer.Option(help="How many people ask to be forgotten: 20/month, 1/day, 5/week or 100/year.")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="For how long requests are collected and carried out as one: 7d, 12h, 2w; each alone unless said."
        ),
    ] = None,
    horizon: Annotated[int, typer.Option(help="Months that are looked ahead.")] = 24,
    model: Annotated[str | None, typer.Option(help="Ordinary model, as for train.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Its passes over the training rows, as for train.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Chairs in a batch, as for train.")] = None,
    task: Annotated[str | None, typer.Option(help="What is learnt, as for train.")] = None,
    tiers: Annotated[
        Path | None, typer.Option(help="CSV of subject and tier: plan also with those who ask most trained on last.")
    ] = None,
    stages: Annotated[str | None, typer.Option(help="Epochs of each tier's stage, such as 9,1.")] = None,
    tier_shares: Annotated[
        str | None, typer.Option(help="Share of all requests that each tier makes, such as 10%,90%.")
    ] = None,
    floor: Annotated[
        float | None, typer.Option(help="Least accuracy on calibration rows that is taken; needs --measure.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train routes and forget a person from each: seconds, disk and accuracy.")
    ] = False,
    check: Annotated[
        Path | None, typer.Option(help="A run that forgot: what was predicted of it and its parents, and what it took.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="HTML file to write, with a chart.")] = None,
    label: LABEL = None,
    subject: SUBJECT = None,
    id: ID = None,
    numeric: NUMERIC = None,
    categorical: CATEGORICAL = None,
    text: TEXT = None,
    date: DATE = None,
    missing: MISSING = None,
    separator: SEPARATOR = None,
    decimal: DECIMAL = None,
    encoding: ENCODING = None,
    no_header: NO_HEADER = False,
    image_size: IMAGE_SIZE = None,
    split: SPLIT = None,
    rows: ROWS = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Say what deletion requests will cost on each way to train, before anything is trained, or on a run."""
    from expunge.study.planner import plan as plan_for
    from expunge.study.run_plan import checked
    from expunge.train.run import Run

    if check is not None:
        if source is not None or requests is not None or out is not None:
            raise InvalidArgument("--check looks at a run that forgot, and nothing else: leave the rest out")
        _print_check(checked(Run.of(check)), json)
        return
    if source is None or requests is None:
        lacks = "data or a run to plan on" if source is None else "how many people ask, such as --requests 20/month"
        raise InvalidArgument(f"a plan needs {lacks}")
    shares = None if tier_shares is None else [share(one, "--tier-shares") for one in tier_shares.split(",")]
    page, begun = None if out is None else html_file(out), time.monotonic()
    with progress_bar("plan") as progress:
        found = plan_for(
            source,
            requests=requests,
            window=window,
            horizon=horizon,
            model=model,
            epochs=epochs,
            batch_size=batch_size,
            task=task,
            tiers=tiers,
            stages=stages,
            tier_shares=shares,
            floor=floor,
            measure=measure,
            label=label,
            subject=subject,
            id=id,
            progress=progress,
            numeric=tuple(numeric or ()),
            categorical=tuple(categorical or ()),
            text=tuple(text or ()),
            date=tuple(date or ()),
            missing=missing,
            separator=separator,
            decimal=decimal,
            encoding=encoding,
            no_header=no_header,
            image_size=image_size,
            split=split,
            rows=rows,
        )
    found = read_document(PlanFile, with_flags(write_document(found)).encode(), PlanFile.NAME)
    if page is not None:
        from expunge.report.plan_page import plan_page

        plan_page(found, page)
    if json:
        print_json(parse_json(write_document(found).encode()))
        return
    _print(found)
    typer.echo(f"planned in {time.monotonic() - begun:.1f} s" + ("" if page is None else f"; {page} has the chart"))


def _print(found: PlanFile) -> None:
    """How requests come in, a line for each route, and what to do."""
    incoming = found.incoming
    together = (
        f"{three_digits(incoming.requests)} request{'s' * (incoming.requests != 1)}, {three_digits(incoming.rows)} rows"
    )
    say(
        f"{found.rows:,} training rows of {found.people:,} people; {three_digits(incoming.batches)} batches a month, "
        f"each of {together} on average"
    )
    wide_console().print(table_of(HEADERS, (_row(route, incoming, found) for route in found.routes)))
    if any(route.stop(incoming) for route in found.routes):
        say("* a month of batches costs more than one retraining: stop patching, collect a month and retrain once")
    for note in dict.fromkeys([*found.notices, *(note for route in found.routes for note in route.notes)]):
        say(f"note: {note}")
    lead = "take" if found.advice.meets else "none meets it; nearest is"
    say(f"{lead} {found.advice.route}: {found.advice.why}")
    taken = next(route for route in found.routes if route.name == found.advice.route)
    if (total := taken.total(incoming)) is not None:
        say(f"over {incoming.horizon} months that is {three_digits(total)} {taken.unit}")
    say(found.advice.train.strip("`"))


def _row(route: Route, incoming: Incoming, found: PlanFile) -> tuple[str, ...]:
    """A route's figures; what nobody knows is a dash."""
    mark = "→ " if route.name == found.advice.route else ""
    if route.cost is None:
        costs = (DASH,) * 3
    else:
        costs = tuple(map(three_digits, (route.cost.mean, route.cost.high, route.cost.worst)))
    month = route.month(incoming)
    stop = STOP if route.stop(incoming) else ""
    return (
        mark + route.name,
        *costs,
        DASH if route.retraining is None else f"{three_digits(route.retraining)} {route.unit}",
        DASH if route.times is None else f"{three_digits(route.times)}×",
        DASH if month is None else three_digits(month) + stop,
        DASH if route.seconds is None else three_digits(route.seconds.mean),
        lasts(route.service),
        lasts(route.hygiene),
        DASH if route.disk is None else sized(int(route.disk)),
        DASH if route.accuracy is None else f"{route.accuracy:.4f}",
    )


def lasts(seconds: float | None) -> str:
    """So long, in the unit that people would say it in."""
    if seconds is None:
        return DASH
    for length, name in ((DAY, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{three_digits(seconds / length)} {name}"
    return f"{three_digits(seconds)} s"


def _print_check(found: PlanCheck, json: bool) -> None:
    """A line for each request, and how far predictions lay off on average."""
    if json:
        print_json(to_plain(found))
        return
    rows = [
        (
            one.run,
            one.method,
            three_digits(one.predicted.row_sums or one.predicted.example_steps),
            three_digits(one.spent.row_sums or one.spent.example_steps),
            DASH if one.predicted.seconds is None else lasts(one.predicted.seconds),
            lasts(one.spent.seconds),
        )
        for one in found.kept
    ]
    wide_console().print(table_of(("run", "method", "predicted", "spent", "predicted", "took"), rows))
    for unit in PLAN_UNITS:
        if (mean := found.mean(unit)) is not None:
            runs = counted(len(found.kept), "run")
            say(f"{unit.replace('_', '-')}: {mean:.3f} times what was predicted, on average over {runs}")
