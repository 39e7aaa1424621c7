"""``expunge tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli import completion
from expunge.cli.shared import Format, Shape, print_as, progress_bar, share, short, table_of, wide_console, with_flags
from expunge.records.form import to_plain
from expunge.records.tuning import Attempt, Tuning

EXAMPLE = "Example: expunge tune runs/base --method scrub --method salun --size 10% --trials 30 --out tuning"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(tune)


def tune(
    run: Annotated[Path, typer.Argument(help="Folder of the run that requests will be made to.")],
    named: Annotated[
        list[str],
        typer.Option(
            "--method",
            help="Method to tune (repeatable), or all that have a budget.",
            autocompletion=completion.methods,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the tuning; the same command continues an interrupted one.")],
    kind: Annotated[
        str | None,
        typer.Option(help="What requests will name: random rows, a class, or a subject; random unless said."),
    ] = None,
    size: Annotated[str | None, typer.Option(help="How large they will be: 10% unless said, or a row count.")] = None,
    avoid: Annotated[
        list[str] | None,
        typer.Option(help="Rows of requests that are known already, as --forget names them: never read (repeatable)."),
    ] = None,
    budget: Annotated[str, typer.Option(help="Share of the training's example-steps that requests will have.")] = "10%",
    trials: Annotated[int, typer.Option(help="Trials of each method, its default the first of them.")] = 30,
    oracle: Annotated[
        list[Path] | None,
        typer.Option(help="Tune on two retrained references of --forget instead: good for refuting a method only."),
    ] = None,
    forget: Annotated[list[str] | None, typer.Option(help="The request of --oracle (repeatable).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of pseudo-forget sets, twins, sampler and requests.")] = 0,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the run's own unless said.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the tuning as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Choose the fields of methods by rehearsal, without looking at any real request or its reference."""
    from expunge.core.errors import InvalidArgument
    from expunge.study.tuning_folder import KIND, SIZE, Oracle
    from expunge.study.tuning_folder import tune as tune_methods
    from expunge.train.run import Run

    if (not oracle) != (not forget):
        raise InvalidArgument("--oracle and --forget go together: the references, and the request they were made for")
    if oracle and (kind or size is not None or avoid):
        raise InvalidArgument("--oracle rehearses nothing: leave out --kind, --size and --avoid")
    content = tune_methods(
        run,
        named,
        out=out,
        kind=kind or KIND,
        size=SIZE if size is None else size,
        avoid=avoid or (),
        budget=share(budget, "--budget"),
        trials=trials,
        seed=seed,
        data=data,
        device=device,
        oracle=Oracle([Run.open(path) for path in oracle], forget or ()) if oracle else None,
        bar=progress_bar,
    )
    if print_as(format, json, lambda: to_plain(content), "methods"):
        return
    _print(content, out)


def _print(tuning: Tuning, out: Path) -> None:
    headers = ("method", "default", "chosen", "second set", "transferred", "fields", "trials", "example-steps")
    console, rows = wide_console(), list[tuple[str, ...]]()
    for entry in tuning.methods:
        chosen, carried = entry.chosen, entry.transferred
        fields = [f"{name}={_short(chosen.fields[name])}" for name in entry.search]
        told = "nothing gained" if entry.better is False else "–" if carried is None else "yes" if carried else "no"
        scores = map(_score, (entry.default.choice, chosen.choice, chosen.transfer))
        spent = str(len(entry.trials)), f"{entry.cost.example_steps:g}"
        rows.append((entry.method, *scores, told, " ".join(fields) or "–", *spent))
    console.print(table_of(headers, rows))
    cost, scales = tuning.cost, tuning.rehearsal.scales or ()
    retrained = " and ".join(f"{scale.retrained:.2f}" for scale in scales if scale.retrained is not None)
    said = [] if tuning.conclusion is None else [tuning.conclusion]
    if retrained:
        said.append(
            f"doing nothing scores 1, one honest retraining about {retrained}, above 1 is worse than doing nothing; "
            "* is not admissible"
        )
    for name, scale in zip(("first", "second"), scales, strict=False):
        said += [f"note: {term} has no part in scores of the {name} set: {why}" for term, why in scale.left_out.items()]
    said += [f"note: {entry.method}: {notice}" for entry in tuning.methods for notice in entry.notices]
    if tuning.mode == "oracle":
        said.append("note: tuned on references of the request: such fields can refute a method, never support it")
    else:
        twins = len(tuning.twins)
        said.append(f"the {twins} twins took {cost.twins:g} example-steps: made once for a recipe and kind of request")
    said.append(f"trials took {cost.trials:g} example-steps and {cost.scoring:g} for scoring, {cost.seconds:.1f} s")
    for line in said:
        console.print(with_flags(line), markup=False)
    console.print(f"tuning {short(tuning.digest)}  {out / 'tuning.json'}", markup=False)


def _score(attempt: Attempt | None) -> str:
    if attempt is None:
        return "–"
    if attempt.score is None:
        return "failed"
    return f"{attempt.score.value:.3g}" + ("" if attempt.state == "admissible" else " *")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
