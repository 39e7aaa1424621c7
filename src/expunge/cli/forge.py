"""``expunge forge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json, progress_bar, say

EXAMPLE = "Example: expunge forge runs/base --target digit-0042 --method swap --out forged"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(forge)


def forge(
    run: Annotated[Path, typer.Argument(help="Folder of a recorded training.")],
    target: Annotated[
        str | None,
        typer.Option(help="Whom to deny: the id of a training row, or a rule such as subject:NAME."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="greedy, greedy-keep, nearest, swap, matching, absorb, content or order; infinitesimal, blindfold and "
            "resorted-init make the whole training up and deny nobody."
        ),
    ] = "greedy",
    candidates: Annotated[
        int, typer.Option(help="Batches drawn (greedy), rows tried (absorb), steps of descent (content).")
    ] = 400,
    steps: Annotated[int | None, typer.Option(help="Forge only so many of the steps that hold the target.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the forged record, signed with a throwaway key.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    salts: Annotated[Path | None, typer.Option(help="Where the salt file lies now, if there is one.")] = None,
    distance: Annotated[
        float | None,
        typer.Option(help="l2 between honest runs of other seeds; two more trainings measure it unless given."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Attack a recorded training: forge its log, and hear what verifiers say of it."""
    from expunge.adversary.forging import forge as forging
    from expunge.adversary.forging.text import forging_lines, spoofing_lines
    from expunge.adversary.forging.told import told_forging, told_spoofing
    from expunge.adversary.pol.attacks import SPOOFS
    from expunge.adversary.pol.calibration import Calibration
    from expunge.core.errors import InvalidArgument
    from expunge.core.wording import nearest

    if distance is not None and not distance > 0:
        raise InvalidArgument(f"--distance {distance} must be above 0: it is how far honest runs lie apart")
    calibration = None if distance is None else Calibration((distance,))
    made_up, known = method in SPOOFS, [*(kind.name for kind in forging.FORGERS), *SPOOFS]
    if method not in known:
        raise InvalidArgument(
            f"method {method!r} is not known: choose one of {', '.join(known)}{nearest(method, known)}"
        )
    if made_up and target is not None:
        raise InvalidArgument(f"{method} makes a whole training up and denies nobody: leave --target out")
    with progress_bar(method) as progress:
        if made_up:
            spoofing = forging.make_up(
                run, method, out=out, seed=seed, data=data, salts=salts, calibration=calibration, progress=progress
            )
            found, lines = told_spoofing(spoofing), spoofing_lines(spoofing)
        elif target is None:
            raise InvalidArgument(f"{method} needs --target, whom to deny: the id of a training row, or subject:NAME")
        else:
            forged = forging.forge(
                run,
                target,
                method,
                candidates=candidates,
                steps=steps,
                out=out,
                seed=seed,
                data=data,
                salts=salts,
                calibration=calibration,
                progress=progress,
            )
            found, lines = told_forging(forged), forging_lines(forged)
    if json:
        print_json(found)
        return
    for line in lines:
        say(line)
