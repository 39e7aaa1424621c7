"""``expunge evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from expunge.cli.shared import print_json, progress_bar, with_flags
from expunge.core.values import Figure, Measurement, Supported
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain

EXAMPLE = "Example: expunge evaluate runs/salun --reference runs/retrained --reference runs/retrained-2"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(evaluate)


def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of the run that forgot.")],
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", help="Folder of a run retrained without the forget set (repeatable)."),
    ] = None,
    witnesses: Annotated[
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
    gate: Annotated[bool, typer.Option("--gate", help="Exit with status 1 unless the verdict is supported.")] = False,
    original: Annotated[Path | None, typer.Option(help="The run before forgetting; the parent unless said.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data lie now, if they moved.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; evaluation.json in the run unless said.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the evaluation as JSON.")] = False,
) -> None:
    """Measure a run against its original and retrained references, and judge."""
    from expunge.study.evaluate import evaluate as evaluate_run

    with progress_bar("measure") as progress:
        evaluation = evaluate_run(
            run,
            list(references or []),
            witnesses=list(witnesses or []),
            store=store,
            claim=claim,
            original=original,
            data=data,
            device=device,
            out=out,
            progress=progress,
        )
    if json:
        print_json(to_plain(evaluation))
    else:
        _print(evaluation)
    if gate and not isinstance(evaluation.verdict, Supported):
        raise typer.Exit(1)


def _print(evaluation: Evaluation) -> None:
    """The answer first, then what it rests on."""
    console = Console(emoji=False, highlight=False, width=None if Console().is_terminal else 160)
    console.print(with_flags(evaluation.answer), markup=False, style="bold")
    table = Table(box=None)
    for header in ("probe", "original", "this run", "retrained", "verdict", "why"):
        table.add_column(header, overflow="fold")
    for probe in evaluation.probes:
        mean = probe.reference_mean
        table.add_row(
            probe.name + ("" if probe.required else " ·"),
            shown(probe.original),
            shown(probe.unlearned),
            "–" if mean is None else f"{mean:.4g}",
            probe.verdict.word,
            with_flags(probe.verdict.detail),
        )
    console.print(table)
    console.print("· printed beside, decides nothing")
    for notice in evaluation.notices:
        console.print(with_flags(f"note: {notice}"), markup=False)
    console.print(f"verdict: {evaluation.verdict.word} ({with_flags(evaluation.verdict.detail)})", markup=False)


def shown(figure: Figure | None) -> str:
    """A measurement with its interval; a dash where it is undecided."""
    if not isinstance(figure, Measurement):
        return "–"
    if figure.low == figure.high:
        return f"{figure.value:.4g}"
    low, high = (f"{bound:.3g}" if math.isfinite(bound) else "∞" for bound in (figure.low, figure.high))
    return f"{figure.value:.4g} [{low}, {high}]"
