"""``expunge forget``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.hygiene import near, show_list, status_of
from expunge.cli.shared import print_json, progress_bar, say, short, told_apart, with_flags
from expunge.cli.unlearn import show_made
from expunge.core.errors import InvalidArgument
from expunge.records.form import to_plain

if TYPE_CHECKING:
    from expunge.desk.candidates import Candidate
    from expunge.desk.forget import Foreseen, Forgot
    from expunge.hygiene.survey import Survey

EXAMPLE = "Example: expunge forget runs/base --subject person-017 --guarantee exact --key keys/private.pem"
NOT_SETTLED = 1  # exit status where the new run stands and nothing was destroyed


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(forget)


def forget(
    run: Annotated[Path, typer.Argument(help="Folder of the run that is to forget.")],
    guarantee: Annotated[str, typer.Option(help="exact, certified or empirical; a higher one is taken where cheaper.")],
    subjects: Annotated[
        list[str] | None,
        typer.Option("--subject", help="Person to forget, as --forget subject:NAME says it (repeatable)."),
    ] = None,
    forget: Annotated[
        list[str] | None,
        typer.Option(help="subject:NAME, ids:FILE, class:K, random:10%:SEED or a saved forget set (repeatable)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say method, cost and what would be destroyed, and write nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new run; RUN.1 beside the run, or the next number, unless said.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Key from `expunge keygen`: signs the old run before, the new one afterwards.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Destroy what holds the rows without asking.")] = False,
    unrecorded: Annotated[
        bool, typer.Option("--unrecorded", help="With --yes: also what no signed record is of, and none will be.")
    ] = False,
    keep_state: Annotated[
        str | None, typer.Option(metavar="REASON", help="Leave old state, and say why: the record repeats it.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    salts: Annotated[Path | None, typer.Option(help="Where the run's salt file lies now, if it moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the run's own unless said.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Forget with a guarantee: the cheapest method that earns it, then no state left that holds the rows.

    Exit status: 0 done, or --keep-state said why old state stays; 1 the new run stands and old state still holds the
    rows, since nobody agreed to destroy it, no record of it is signed, or it is not ours to destroy.
    """
    from expunge.desk.forget import foresee
    from expunge.desk.forget import forget as forget_from
    from expunge.desk.request import ForgetRequest

    rules = [*(f"subject:{name}" for name in subjects or ()), *(forget or ())]
    if dry_run:
        if yes or unrecorded or keep_state is not None:
            raise InvalidArgument("--dry-run destroys nothing and keeps nothing: leave --yes and --keep-state out")
        request = ForgetRequest.of(run, rules, guarantee, out=out, data=data, salts=salts, device=device)
        if (there := request.finished) is None:
            _show_foreseen(foresee(request), json)
        elif json:
            print_json({"run": str(there.path), "answered": True})
        else:
            typer.echo(
                f"{near(there.path)} answers this already: without --dry-run, what is left of old state is settled"
            )
        return
    asks = not json and sys.stdin.isatty()
    done = forget_from(
        run,
        rules,
        guarantee=guarantee,
        out=out,
        key=key,
        yes=yes or (_agrees if asks else False),
        unrecorded=unrecorded,
        keep_state=keep_state,
        data=data,
        salts=salts,
        device=device,
        bar=progress_bar,
        tell=lambda chosen: told_apart(json)(f"plan: {_way(chosen)}"),
    )
    if json:
        print_json(_as_json(done))
    else:
        _show(done, key)
    if done.kept_state is None:
        raise typer.Exit(status_of(done.found) if done.settled else NOT_SETTLED)


def _agrees(found: Survey) -> bool:
    show_list(found)
    return typer.confirm(f"destroy these {len(found.ours)} for good?")


def _way(chosen: Candidate) -> str:
    from expunge.desk.candidates import cost_of

    return f"{chosen.method.name}, about {cost_of(chosen.cost)}"


def _show_foreseen(found: Foreseen, json: bool) -> None:
    chosen = found.chosen
    others = {one.method.name: one.left_out(chosen) for one in found.candidates if one is not chosen}
    if json:
        print_json(
            {
                "run": str(found.folder),
                "method": chosen.method.name,
                "guarantee": str(chosen.earns),
                "predicted": to_plain(chosen.cost),
                "others": {name: with_flags(why) for name, why in others.items()},
                "branches": list(found.branches),
                "holds": found.found.as_json()["holds"],
            }
        )
        return
    typer.echo(f"plan: {_way(chosen)}, earns {chosen.earns}  run {near(found.folder)}")
    for name, why in others.items():
        say(f"not {name}: {why}")
    for line in found.branches:
        typer.echo(f"note: {line}")
    typer.echo("then what holds the rows would be destroyed, as far as records of it are signed:")
    show_list(found.found)
    typer.echo("dry run: nothing was written")


def _show(done: Forgot, key: Path | None) -> None:
    child, found, kept = done.run, done.found, done.kept_state
    show_made(child)
    for line in done.branches:
        typer.echo(f"note: {line}")
    if done.account is not None:
        typer.echo(f"account: {done.account}")
    if done.judged is not None:
        say(f"{done.judged.word}: {done.judged.detail}")
    if not done.fully:
        show_list(found)
    for path in done.unsigned:
        say(f"unsigned, so kept: expunge attest {near(path)}, then the same command, or give --yes --unrecorded")
    for place in (*found.misnamed, *found.unclear):
        say(f"not looked at: {place}")
    if kept is not None:
        typer.echo(f"old state is kept: {kept}")
    elif not done.settled:
        typer.echo("nothing was destroyed: give --yes, or --keep-state REASON")
    elif found.declared is not None:
        typer.echo(f"declared destroyed: {len(found.declared.retired)} ({found.declared.NAME})")
    if done.fully:
        typer.echo("fully forgotten: no file that was looked at holds these rows")
    if done.attested is not None:
        made = done.attested
        typer.echo(f"record {short(made.record.hex())}  key {short(made.keyid)}  bundle {near(made.bundle)}")
    elif key is None:
        typer.echo(f"to sign it: expunge attest {near(child.path)} --key keys/private.pem")


def _as_json(done: Forgot) -> dict[str, Any]:
    return {
        "run": to_plain(done.run.told),
        "folder": str(done.run.path),
        "branches": list(done.branches),
        "account": done.account,
        "judged": None
        if done.judged is None
        else {"verdict": done.judged.word, "detail": with_flags(done.judged.detail)},
        "hygiene": done.found.as_json(),
        "settled": done.settled,
        "fully_forgotten": done.fully,
        "unsigned": [str(path) for path in done.unsigned],
        "kept_state": done.kept_state,
        "attested": None if done.attested is None else to_plain(done.attested),
    }
