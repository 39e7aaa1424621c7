"""``expunge worst``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import html_file, pairs, print_json, progress_bar, say, share, table_of, wide_console
from expunge.core.wording import counted
from expunge.records.form import to_plain
from expunge.records.selection import Overlaps, Selection

EXAMPLE = "Example: expunge worst runs/base --size 10% --objective hidden --out worst.json"
MOSTLY = 0.8  # of a set


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(worst)


def worst(
    run: Annotated[Path, typer.Argument(help="Folder of the training that requests will be made to.")],
    size: Annotated[str, typer.Option(help="Share such as 10%, or a count: of rows, or of classes with --by class.")],
    out: Annotated[Path, typer.Option(help="Forget-set file to write: FILE.json.")],
    objective: Annotated[
        str | None,
        typer.Option(help="hidden: stays well answered once unlearned. distant: a retraining changes it most."),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(help="What stands in for a retraining in distant: ridge, or lira.")
    ] = None,
    by: Annotated[str, typer.Option(help="row, or class: whole classes are chosen.")] = "row",
    cap_per_class: Annotated[str | None, typer.Option(help="Share of each class's rows that may be chosen.")] = None,
    heuristic: Annotated[
        list[str] | None,
        typer.Option(
            help="loss, el2n or moderate (repeatable): laid beside the objective, or what chooses where none is named."
        ),
    ] = None,
    end: Annotated[str | None, typer.Option(help="low or high: which end of the heuristic is chosen.")] = None,
    start: Annotated[str | None, typer.Option(help="even, or mask: the published start of hidden.")] = None,
    rate: Annotated[str | None, typer.Option(help="Rate of the upper steps of hidden.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="field=value of the rule (repeatable).")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="File of a forget set to compare with: by the same rule, of another seed or original (repeatable)."
        ),
    ] = None,
    halves: Annotated[
        list[Path] | None,
        typer.Option(
            "--half",
            help="Folder of a run trained without half of the rows, for lira (repeatable); those that `expunge halves` "
            "made unless said.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the selection.")] = 0,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the run's own unless said.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="HTML file to write: some of the chosen rows beside some at random.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the forget set as JSON.")] = False,
) -> None:
    """Choose the forget set that unlearning handles worst, and lay simple choices beside it."""
    from expunge.attacks.worst import make_chooser
    from expunge.attacks.worst import worst as choose

    drawn, named = None if page is None else html_file(page), list(heuristic or [])
    name = objective or (named.pop(0) if named else "hidden")
    told = {"proxy": proxy, "end": end, "start": start, "rate": rate}
    fields = {field: value for field, value in told.items() if value is not None} | pairs(settings or [], "--set")
    if proxy == "lira" and not halves:
        from expunge.study.references import halves_kept

        halves = [half.path for half in halves_kept(run)]
    begun = time.monotonic()
    with progress_bar("choose") as progress:
        found = choose(
            run,
            size=size,
            out=out,
            objective=make_chooser(name, fields),
            by=by,
            cap_per_class=None if cap_per_class is None else share(cap_per_class, "--cap-per-class"),
            heuristic=named,
            beside=beside or (),
            halves=halves or (),
            seed=seed,
            data=data,
            device=device,
            progress=progress,
        )
    if drawn is not None:
        from expunge.report.worst_page import worst_page

        worst_page(run, found, out=drawn, data=data)
    if json:
        print_json(to_plain(found.file))
        return
    assert found.selection is not None
    for line in _said(found.selection, len(found)):
        say(line)
    _print(found.selection.overlaps)
    typer.echo(f"{out} in {time.monotonic() - begun:.1f} s; forget it with --forget {out}")


def _said(found: Selection, rows: int) -> Iterator[str]:
    """What was chosen, at what cost, and whether it can be believed."""
    from expunge.attacks import ATTACKS

    chooser, guards, origin = ATTACKS[found.origin.chooser.name], found.guards, found.origin
    whole = f", which are {origin.size} of the classes" if origin.by == "class" else ""
    yield f"{rows:,} of {found.rows:,} rows{whole}, by {chooser.name}: {chooser.finds}"
    yield (
        f"{found.measured} {found.value:.3g} on average, {min(found.random):.3g} to {max(found.random):.3g} in "
        f"{len(found.random)} random sets"
    )
    yield "by class: " + ", ".join(f"{name} {count}" for name, count in found.classes.items())
    yield f"cost {found.cost:,.6g} example-steps, {found.cost / found.rows:.3g} for each row"
    if guards.start is not None:
        yield (
            f"moved: {guards.start:.0%} shared with the random set of the seed, {guards.chance:.0%} by chance; the "
            f"chosen hold {guards.held:.4g} of {origin.size} in weight, {guards.fractional:,} weights are fractional, "
            f"the signed rate was halved {counted(guards.halved or 0, 'time')}"
        )
    if guards.tied:
        yield f"{guards.tied:,} of them have the score of one that was left out: the seed chose among those"
    lowest = dict(zip(found.overlaps.names, found.overlaps.shares[0], strict=True)).get("loss low", 0.0)
    if chooser.name == "hidden" and lowest >= MOSTLY:
        yield f"{lowest:.0%} of them are of the lowest original loss as well: the search adds little to that"
    if found.label is not None:
        yield f"undecided: {found.label.reason}; make no row of a table of this set"


def _print(overlaps: Overlaps) -> None:
    """The share that each two sets have in common."""
    rows = zip(overlaps.names, overlaps.shares, strict=True)
    table = table_of(("", *overlaps.names), ((name, *(f"{share:.2f}" for share in shares)) for name, shares in rows))
    table.title, table.title_justify = "shared by each two sets", "left"
    wide_console().print(table)
