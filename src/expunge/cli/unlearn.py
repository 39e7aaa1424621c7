"""``expunge unlearn``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import completion
from expunge.cli.shared import choice, pairs, print_json, progress_bar, say, share, short, told_apart
from expunge.records.form import to_plain
from expunge.records.run_file import NothingToTune, OwnersWord, TunedFields

if TYPE_CHECKING:
    from expunge.train.run import Run

EXAMPLE = "Example: expunge unlearn runs/base --forget subject:person-017 --method exact-replay --out runs/forgot"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(unlearn)


def unlearn(
    run: Annotated[Path, typer.Argument(help="Folder of the run that is to forget.")],
    forget: Annotated[
        list[str],
        typer.Option(help="subject:NAME, ids:FILE, class:K, random:10%:SEED or a saved forget set (repeatable)."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new run; the same command continues an interrupted one.")],
    method: Annotated[
        str, typer.Option(help="See `expunge methods`.", autocompletion=completion.methods)
    ] = "exact-replay",
    budget: Annotated[
        str | None,
        typer.Option(
            help="Share of the training's example-steps; 10% unless said, none for exact methods. Of an adopted model "
            "whose epochs are not told: epochs, 1 unless said."
        ),
    ] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="field=value of the method (repeatable).")] = None,
    tuned: Annotated[Path | None, typer.Option(help="Tuning whose fields and budget are taken: a tuning.json.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the request.")] = 0,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the run's own unless said.")] = None,
    checkpoint_interval: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    trace: Annotated[
        str | None,
        typer.Option(help="Kept of an exact method's steps: losses (digests, unless said), gradients too, or off."),
    ] = None,
    salts: Annotated[Path | None, typer.Option(help="Where the run's salt file lies now, if it moved.")] = None,
    cases: Annotated[
        list[str] | None,
        typer.Option(
            "--case", help="Case that asks for it, for the record (repeatable); without one the request is the owner's."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the new run as JSON.")] = False,
) -> None:
    """Forget by a method that is named."""
    from expunge.core.errors import InvalidArgument
    from expunge.methods.lookup import make_method
    from expunge.methods.unlearn import unlearn as unlearn_run
    from expunge.study.references import possible
    from expunge.study.tuning import chosen_entry, read_tuning
    from expunge.train.trace import Trace

    asked, tuning = None if budget is None else share(budget, "--budget"), None
    if tuned is None:
        chosen = make_method(method, pairs(settings or [], "--set"))
    elif settings:
        raise InvalidArgument("--set and --tuned exclude each other: fields set by hand are not the tuned ones")
    else:
        chosen, tuning = chosen_entry(read_tuning(tuned), method)
        asked = tuning.budget if asked is None else asked
    with progress_bar(chosen.name) as progress:
        made = unlearn_run(
            run,
            forget,
            method=chosen,
            out=out,
            budget=asked,
            seed=seed,
            data=data,
            device=device,
            checkpoint_interval=checkpoint_interval,
            trace=None if trace is None else choice(Trace, trace, "--trace"),
            salts=salts,
            progress=progress,
            tuning=tuning,
            cases=cases or (),
            before=lambda asked, forget: told_apart(json)(str(possible(asked, forget, method=chosen))),
        )
    if json:
        print_json(to_plain(made.told))
        return
    show_made(made)


def show_made(made: Run) -> None:
    """What a run forgot, by what, for how much, and what is to be known of that."""
    told, result, forgetting = made.told, made.result, made.forgetting
    name = str(made.method)
    whole = told.training_example_steps or math.nan
    share_of = f"{result.example_steps / whole:.1%} of the training"
    if result.row_sums is not None:
        share_of = f"{result.row_sums / (told.training_row_sums or math.nan):.1%} of the training"
    if told.adopted is not None:
        share_of = _of_adopted(result.example_steps / whole, told.adopted)
    done = f"{result.work} ({share_of}) in {result.seconds:.1f} s"
    if told.parent is not None and result.weights_digest == told.parent.weights_digest:
        typer.echo(f"{name} changed nothing: the weights are the original's; {done}")
    else:
        typer.echo(f"forgot {told.forgotten} examples by {name}: {done}")
    if forgetting.stopped:
        say(f"stopped: {forgetting.stopped}")
    for notice in told.notices or ():
        say(f"note: {notice}")
    for line in _said_of_fields(told.tuning, forgetting.untuned):
        say(f"note: {line}")
    if result.exact_refused:
        say(f"not exact: {result.exact_refused}")
    typer.echo(f"weights {short(made.weights_digest)}  guarantee {made.guarantee}  run {made.path}")


def _of_adopted(part: float, word: OwnersWord) -> str:
    """Of a training that nobody counted: epochs, or a share of those that its owner tells."""
    if word.epochs is None:
        return f"{part:.3g} epochs"
    return f"{part:.1%} of the {word.epochs} epochs that its owner tells"


def _said_of_fields(tuning: TunedFields | NothingToTune | None, untuned: bool) -> Iterator[str]:
    """Where the fields come from, and that no result is good for that alone."""
    untested = "evaluate it against retrained references before it is used"
    if untuned:
        yield f"untuned fields, untested result: {untested}"
    elif tuning is not None and tuning.state == "nothing to tune":
        yield f"the method has nothing to tune; untested result: {untested}"
    elif isinstance(tuning, TunedFields):
        yield f"tuned by {tuning.mode} in {tuning.trials} trials; untested result: {untested}"
        yield from tuning.notices
    if isinstance(tuning, TunedFields) and tuning.mode == "oracle":
        yield "oracle-tuned: such fields can refute the method, never support it"
