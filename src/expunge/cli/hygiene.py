"""``expunge hygiene``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.shared import Format, Shape, print_as, progress_bar, say, short, sized, with_flags
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import parse_json, plain_json

if TYPE_CHECKING:
    from expunge.hygiene.survey import Survey

EXAMPLE = "Example: expunge hygiene runs/forgot --destroy"
HOLDS = 1  # exit status where something holds forgotten rows
UNSEEN = 2  # where something was named, or may hold them, and could not be looked at


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(hygiene)


def hygiene(
    run: Annotated[Path, typer.Argument(help="Folder of a run that has forgotten rows.")],
    destroy: Annotated[
        bool, typer.Option("--destroy", help="End what is listed, then declare it in RUN/hygiene.json; asks first.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Destroy without asking, also before an audit window is over.")
    ] = False,
    window: Annotated[
        int | None, typer.Option(metavar="DAYS", help="Destroy nothing yet: keep the old state for auditors so long.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Compare the data too: where they lie now, or `source` for where the run says.")
    ] = None,
    salts: Annotated[Path | None, typer.Option(help="Where the salt file lies now, if it moved.")] = None,
    folders: Annotated[
        list[Path] | None, typer.Option("--folder", help="One more folder to look for runs in (repeatable).")
    ] = None,
    keep: Annotated[
        list[Path] | None,
        typer.Option(help="A run to list and leave alone, for example one still in use (repeatable)."),
    ] = None,
    unrecorded: Annotated[
        bool, typer.Option("--unrecorded", help="Destroy also parents, and runs beside, whose record was never signed.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """List what still holds forgotten rows, and destroy it or name the days that it stays.

    Looks at the run, its parents, and the runs, bundles and tunings beside them. Exit status: 0 nothing that was looked
    at holds them (or a window was declared), 1 something does, 2 a place that was named, or that may hold them, could
    not be looked at. Use it before `expunge attest`, so that the record names what was destroyed.
    """
    from expunge.hygiene.retire import declare_window
    from expunge.hygiene.retire import destroy as destroy_listed
    from expunge.hygiene.survey import survey

    if destroy and window is not None:
        raise InvalidArgument("--destroy and --window exclude each other: destroy now, or say for how long not to")
    if yes and not destroy:
        raise InvalidArgument("--yes has no use without --destroy: nothing else asks")

    def look() -> Survey:
        return survey(run, folders=folders or (), keep=keep or (), data=data, salts=salts)

    found, status = look(), None
    if window is not None:
        declare_window(found, window)
        found, status = look(), 0
    if destroy and (found.ours or found.interrupted or found.declared is None or found.declared.window is not None):
        _ask(found, yes, json or format is not Shape.TEXT, unrecorded)
        with progress_bar("destroy") as progress:
            destroy_listed(found, unrecorded=unrecorded, progress=progress)
        found = look()
    if not print_as(format, json, lambda: parse_json(with_flags(plain_json(found.as_json())).encode()), "holds"):
        _show(found)
    raise typer.Exit(status_of(found) if status is None else status)


def status_of(found: Survey) -> int:
    """Exit status. What was named and could not be looked at comes first: the list is not what was asked for."""
    if found.misnamed:
        return UNSEEN
    if found.holdings or found.interrupted:
        return HOLDS
    return UNSEEN if found.unclear else 0


def _ask(found: Survey, yes: bool, json: bool, unrecorded: bool) -> None:
    """Show what would go and wait for a yes. Whatever refuses the destruction refuses it before anybody is asked."""
    from expunge.hygiene.retire import check_destroyable, open_window

    pending = open_window(found)
    if pending is not None and not yes:
        raise InvalidArgument(
            f"the old state is kept for auditors until {pending.until}: wait, or give --yes to end it"
        )
    check_destroyable(found, unrecorded=unrecorded)
    if yes or not found.ours:
        return
    if json or not sys.stdin.isatty():
        raise InvalidArgument("--destroy asks before it destroys, and nobody can answer here: give --yes")
    show_list(found)
    typer.confirm(f"destroy these {len(found.ours)} for good?", abort=True)


def _show(found: Survey) -> None:
    show_list(found)
    for note in found.notes:
        say(f"note: {note}")
    for place in found.unseen:
        say(f"not looked at: {place}")
    if found.interrupted:
        typer.echo("a destruction was begun and not finished: give --destroy again")
    declared = found.declared
    if declared is not None and declared.window is not None:
        typer.echo(f"erasure pending: the old state is kept for auditors until {declared.window.until}")
    elif declared is not None and declared.kept_state is not None:
        typer.echo(f"old state is kept: {declared.kept_state}")
    elif declared is not None:
        typer.echo(f"declared destroyed: {len(declared.retired)} ({declared.NAME})")
    if found.ours and found.unchanged is None and (declared is None or declared.window is None):
        typer.echo(f"to end what can be ended: expunge hygiene {near(found.run.path)} --destroy")


def show_list(found: Survey) -> None:
    forgotten, count = len(found.run.tombstones), len(found.holdings)
    who = f"{near(found.run.path)} has forgotten {forgotten} row" + ("" if forgotten == 1 else "s")
    if not count:
        unclear = len(found.misnamed) + len(found.unclear)
        but = f", and {unclear} that may hold them could not be looked at" if unclear else ""
        typer.echo(f"{who}; nothing that was looked at holds them{but}")
        return
    typer.echo(f"{who}; {count} file{'' if count == 1 else 's'} still hold{'s' if count == 1 else ''} them:")
    for place in found.places:
        typer.echo(f"{near(place.path)} ({place.kinship.value})")
        for holding in place.holdings:
            inside = holding.path != place.path and holding.path.is_relative_to(place.path)
            inner = holding.path.relative_to(place.path) if inside else Path(holding.path.name)
            digest = "" if holding.digest is None else f"  {short(holding.digest)}"
            size = f"{sized(holding.bytes)}  " if holding.bytes else ""
            rows = f"{holding.slots} of {forgotten}" if holding.slots <= forgotten else f"{holding.slots}"
            typer.echo(f"  {inner}  {size}{rows} rows{digest}")
            say(f"    {holding.what}; {holding.why}")


def near(path: Path) -> str:
    """A path as short as it can be said from here."""
    beside = os.path.relpath(path)
    return beside if len(beside) < len(str(path)) else str(path)
