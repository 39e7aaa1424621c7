"""``expunge predict``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli.shared import Format, Shape, as_csv, print_as, table_of, wide_console
from expunge.core.errors import InvalidArgument
from expunge.core.files import write_text

if TYPE_CHECKING:
    from expunge.train.answering import Predictions

EXAMPLE = "Example: expunge predict runs/base patients.csv --out answers.csv"
SHOWN = 20  # rows of the table that a person reads


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(predict)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a run, or of a model that `expunge export` wrote.")],
    source: Annotated[
        str, typer.Argument(help="The rows: in any form that `expunge train` takes; no label is needed.")
    ],
    out: Annotated[Path | None, typer.Option(help="CSV file to write the answers to.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the row; as in the run unless said.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Factory of an exported model that is none of ours, if you trust it.")
    ] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Say how well they are answered: the rows have labels.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the run's own unless said.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Answer rows: a class for each, and how likely every class is; or a number for each.

    Columns are read as the run's own. A label may be missing, columns that the model does not know are passed over,
    and ids are carried over where their column is there.
    """
    from expunge.train.load import load
    from expunge.train.predict import predict as answer
    from expunge.train.predict import score as score_of

    if out is not None and (out.suffix.lower() != ".csv" or out.resolve() == Path(source).resolve()):
        raise InvalidArgument(f"--out {out} must end in .csv and be no file of rows: answers overwrite nothing else")
    opened = load(run, model=model)
    told = answer(opened, source, id=id, device=device)
    figures = score_of(opened, source, device=device) if score else {}
    rows = list(told.rows())
    if out is not None:
        write_text(out, as_csv(rows))
    if print_as(format, json, lambda: {"rows": rows, "score": figures}, "rows"):
        return
    if out is None:
        _print(told)
    typer.echo(f"{len(told)} rows answered ({_summed(told)})" + ("" if out is None else f"  {out}"))
    for name, figure in figures.items():
        typer.echo(f"{name} {figure:.4g} by the labels of these rows")


def _summed(told: Predictions) -> str:
    """How many rows have each class, or between what the numbers lie."""
    if told.numbers is not None:
        return f"from {told.numbers.min():.4g} to {told.numbers.max():.4g}, {told.numbers.mean():.4g} on average"
    counts = Counter(map(str, told.labels)).most_common(SHOWN)
    return ", ".join(f"{count} {name}" for name, count in counts)


def _print(told: Predictions) -> None:
    headers = ("id", "answer", *(() if told.numbers is not None else ("probability",)))
    rows: list[tuple[str, ...]] = []
    for id, label, odds in list(zip(told.ids, told.labels, told.probabilities, strict=True))[:SHOWN]:
        said = (f"{label:.6g}",) if isinstance(label, float) else (str(label), f"{odds.max():.3f}")
        rows.append((id, *said))
    wide_console().print(table_of(headers, rows))
    if len(told) > SHOWN:
        typer.echo(f"… and {len(told) - SHOWN} more: --out FILE.csv writes all")
