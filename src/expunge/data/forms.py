"""The one table of forms that data may come in, and reading a source by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.data import arrays, digits, huggingface, images, tables
from expunge.data.columns import (
    Table,
    assemble,
    found_in_words,
    raw_rows,
    refuse_measured,
    spelled_with,
    with_decimal,
)
from expunge.data.dataset import Column, Dataset
from expunge.data.labels import LabelKind
from expunge.data.source import BUILT_IN, BY_NAME, LISTS, UNSAID, Source, Written, known_forms

MakeTable = Callable[[Source], Table]
Read = Callable[[Source, tuple[Column, ...] | None, tuple[int | str, ...] | None], Dataset]
ReadRaw = Callable[[Source, tuple[Column, ...], tuple[int | str, ...]], Dataset]
FOR_ALL = ("location", "rows")  # what every form takes


@dataclass(frozen=True)
class Form:
    """One way in which data may come: how it is written, who recognises it, which options it takes, who reads it.

    ``table`` makes the columns of one whose rows have such, ``label`` is theirs unless said; ``look`` finds how a file
    is written; ``opens`` opens it whatever is said of its columns; ``raw`` reads rows without columns for a model to
    answer, where these need no label. ``refuse`` refuses labels that look measured where nobody said what they are, of
    one whose rows have no columns.
    """

    written: Written
    matches: Callable[[str], bool]
    takes: frozenset[str]
    read: Read
    is_file: bool = False
    table: MakeTable | None = None
    label: str | None = None
    look: Callable[[Source], Source] = lambda source: source
    opens: Callable[[Source], object] | None = None
    raw: ReadRaw | None = None
    refuse: Callable[[Source], None] = lambda source: None


def _ends(*endings: str) -> Callable[[str], bool]:
    return lambda location: location.lower().endswith(endings) and not os.path.isdir(location)


COLUMNS = frozenset({"label", "subject", "id", *LISTS, "missing"})
OF_TEXT_FILES = COLUMNS | {"separator", "decimal", "encoding", "no_header"}
FORMS = (
    Form(Written.DIGITS, lambda location: location == BUILT_IN, frozenset(), digits.read),
    Form(
        Written.HUB,
        lambda location: location.startswith(BY_NAME),
        COLUMNS | {"split", "image_size"},
        huggingface.read_named,
        opens=huggingface.named,
        table=huggingface.named_table,
        label=huggingface.LABEL,
    ),
    Form(
        Written.ARRAYS,
        _ends(".npz"),
        frozenset(),
        arrays.read,
        is_file=True,
        raw=arrays.read_raw,
        refuse=arrays.refuse_measured_in,
    ),
    Form(
        Written.TEXT,
        _ends(*tables.SPELLED),
        OF_TEXT_FILES,
        tables.read_csv,
        is_file=True,
        table=tables.csv_table,
        look=tables.look,
    ),
    Form(
        Written.PARQUET,
        _ends(".parquet"),
        COLUMNS,
        tables.read_parquet,
        is_file=True,
        table=tables.parquet_table,
    ),
    Form(
        Written.SAVED,
        lambda location: huggingface.is_saved(Path(location)),
        COLUMNS | {"split", "image_size"},
        huggingface.read_saved,
        opens=huggingface.saved,
        table=huggingface.saved_table,
        label=huggingface.LABEL,
    ),
    Form(Written.IMAGES, os.path.isdir, frozenset({"subject", "image_size"}), images.read, raw=images.read_raw),
)


def read(
    source: Source, *, columns: tuple[Column, ...] | None = None, classes: tuple[int | str, ...] | None = None
) -> Dataset:
    """Rows of a source as a data set, as the source says.

    ``columns`` and ``classes`` are those of a recipe when a run is opened again; then nothing is inferred from the
    rows, so that rows which are gone change nothing for the others.
    """
    return _form(source).read(source, columns, classes)


def find(source: Source, *, kind: LabelKind = LabelKind.UNSAID) -> tuple[Source, Dataset]:
    """Rows that are read for the first time, and the source with what was found of them where nothing was said.

    How a text file is written and which columns hold dates is found here alone: whoever reads the rows again reads
    them by what the source says. ``kind`` is what was said of the labels: numbers that look measured are refused
    where nothing was.
    """
    form = _form(source)
    if form.table is None:
        if kind is LabelKind.UNSAID:
            form.refuse(source)
        return source, form.read(source, None, kind.classes)
    source = form.look(source)
    return found_of(form.table(source), source, label=form.label, kind=kind)


def found_of(table: Table, source: Source, *, label: str | None, kind: LabelKind) -> tuple[Source, Dataset]:
    """The same of a table that is there already; ``label`` is its label where the source says none."""
    label = tables.label_of(source, table) if source.label or label is None else label
    source = found_in_words(table, source, label)
    table = spelled_with(table, source.decimal)
    if kind is LabelKind.UNSAID:
        refuse_measured(table, label)
    return source, assemble(table, source, label, None, kind.classes, as_classes=kind is LabelKind.CLASSES)


def look_at(location: str) -> None:
    """Open a place that holds data, whatever is said of their columns; what cannot be read at all is refused."""
    source = Source(location=location)
    form = _form(source)
    opens = form.opens or form.table
    form.read(source, None, None) if opens is None else opens(source)


def read_raw(source: Source, columns: tuple[Column, ...], classes: tuple[int | str, ...], *, labelled: bool) -> Dataset:
    """Rows for a model to answer; no label is looked at unless they are ``labelled``."""
    form = _form(source)
    if form.table is not None:
        table, label = form.table(source), source.label or form.label
        return raw_rows(
            table, source, (label or tables.label_of(source, table)) if labelled else None, columns, classes
        )
    return form.read(source, columns, classes) if labelled or form.raw is None else form.raw(source, columns, classes)


def look(source: Source) -> Source:
    """The source with how its file is written, where that is not said."""
    form = _form(source)
    source = form.look(source)
    return source if form.table is None else with_decimal(form.table(source), source)


def _form(source: Source) -> Form:
    """The form of a source, of whose options every one must make sense for it."""
    form = next((form for form in FORMS if form.matches(source.location)), None)
    if form is None:
        raise InvalidArgument(f"data {source.location!r} is none of the known forms: {known_forms()}")
    given = [field.name for field in fields(source) if getattr(source, field.name) not in UNSAID]
    for name in given:
        if name not in FOR_ALL and name not in form.takes:
            takes = ", ".join(f"`{field.name}`" for field in fields(source) if field.name in form.takes)
            raise InvalidArgument(
                f"`{name}` {_shown(getattr(source, name))} makes no sense for {source.location} "
                f"({form.written}), which takes {takes or 'no such option'}: leave it out"
            )
    if form.is_file and not os.path.isfile(source.location):
        raise InvalidArgument(f"data file {source.location} does not exist: check the path")
    return form


def takes(source: Source, option: str) -> bool:
    """Whether data of this form take an option."""
    return any(form.matches(source.location) and option in form.takes for form in FORMS)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
