"""Options that say how data are read: the same words for every command that is given data."""

from __future__ import annotations

from typing import Annotated

import typer

LABEL = Annotated[str | None, typer.Option(help="Column that holds the label.")]
SUBJECT = Annotated[str | None, typer.Option(help="Column that names the person a row belongs to.")]
ID = Annotated[str | None, typer.Option(help="Column that names the row.")]
NUMERIC = Annotated[list[str] | None, typer.Option(help="Column to read as numbers (repeatable).")]
CATEGORICAL = Annotated[list[str] | None, typer.Option(help="Column to read as categories (repeatable).")]
TEXT = Annotated[list[str] | None, typer.Option(help="Column to read as text (repeatable).")]
DATE = Annotated[list[str] | None, typer.Option(help="Column to read as dates (repeatable).")]
MISSING = Annotated[str | None, typer.Option(help="indicator: take 0 for a missing number, and mark it in a column.")]
SEPARATOR = Annotated[str | None, typer.Option(help="What stands between fields; found unless said.")]
DECIMAL = Annotated[str | None, typer.Option(help="Point or comma in numbers; found unless said.")]
ENCODING = Annotated[str | None, typer.Option(help="Encoding of a text file; UTF-8 unless said.")]
NO_HEADER = Annotated[bool, typer.Option("--no-header", help="The first line is a row; columns are named 1, 2, …")]
IMAGE_SIZE = Annotated[int | None, typer.Option(help="Side that images are resized to.")]
SPLIT = Annotated[str | None, typer.Option(help="Split of a Hugging Face data set.")]
ROWS = Annotated[int | None, typer.Option(help="Take only the first so many rows of the data.")]
