"""``expunge evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import Format, Shape, print_as, progress_bar, table_of, told_apart, wide_console, with_flags
from expunge.core.values import Supported
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain

EXAMPLE = "Example: expunge evaluate runs/salun --claim at-most:25% --gate"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(evaluate)


def evaluate(
    run: Annotated[list[Path], typer.Argument(help="Folder of the run that forgot; of several with --pool.")],
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", help="Folder of a run retrained without the forget set (repeatable)."),
    ] = None,
    witness_runs: Annotated[
        list[Path] | None,
        typer.Option("--witness", help="Folder of a run trained with the forget set under another seed (repeatable)."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Where `expunge references` and `witnesses` keep theirs, unless beside the original."),
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option(help="indistinguishable, or at-most:P%; the strongest that can be shown unless said."),
    ] = None,
    pool: Annotated[
        bool, typer.Option("--pool", help="Judge small requests of one method as one: what it says is of the method.")
    ] = False,
    probes: Annotated[
        list[str] | None,
        typer.Option("--probe", help="Further probe that costs more, such as relearn (repeatable); docs/probes.md."),
    ] = None,
    gate: Annotated[bool, typer.Option("--gate", help="Exit with status 1 unless the verdict is supported.")] = False,
    as_published: Annotated[
        bool, typer.Option("--as-published", help="Add MIA-SVC and Avg. Gap as papers print them; they decide nothing.")
    ] = False,
    original: Annotated[Path | None, typer.Option(help="The run before forgetting; the parent unless said.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; evaluation.json in the run (of a pool pool.json in the first) unless said."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Measure a run against its original and retrained references, and judge."""
    from expunge.study.evaluate import evaluate as evaluate_run

    with progress_bar("measure") as progress:
        evaluation = evaluate_run(
            run,
            list(references or []),
            witnesses=list(witness_runs or []),
            store=store,
            claim=claim,
            pool=pool,
            probes=list(probes or []),
            as_published=as_published,
            original=original,
            data=data,
            device=device,
            out=out,
            progress=progress,
            tell=told_apart(json or format is not Shape.TEXT),
        )
    if not print_as(format, json, lambda: to_plain(evaluation), "probes"):
        _print(evaluation)
    if gate and not isinstance(evaluation.verdict, Supported):
        raise typer.Exit(1)


def _print(evaluation: Evaluation) -> None:
    """The answer first, then what it rests on."""
    console = wide_console()
    for told in evaluation.tables:
        console.print(with_flags(told.answer), markup=False, style="bold")
        console.print(table_of(told.headers, ([with_flags(cell) for cell in row] for row in told.rows)))
        for line in told.notes:
            console.print(with_flags(line), markup=False)
