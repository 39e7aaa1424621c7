"""The one table of forms that data may come in, and reading a source by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.data import arrays, digits, huggingface, images, tables
from expunge.data.dataset import Column, Dataset
from expunge.data.source import BUILT_IN, BY_NAME, LISTS, Source, Written, known_forms

Read = Callable[[Source, tuple[Column, ...] | None, tuple[int | str, ...] | None], Dataset]
FOR_ALL = ("location", "rows")  # what every form takes


@dataclass(frozen=True)
class Form:
    """One way in which data may come: how it is written, who recognises it, which options it takes, who reads it.

    ``look`` opens it whatever is said of its columns; None where nothing is said of any.
    """

    written: Written
    matches: Callable[[str], bool]
    takes: frozenset[str]
    read: Read
    is_file: bool = False
    look: Callable[[Source], object] | None = None


def _ends(*endings: str) -> Callable[[str], bool]:
    return lambda location: location.lower().endswith(endings) and not os.path.isdir(location)


COLUMNS = frozenset({"label", "subject", "id", *LISTS})
FORMS = (
    Form(Written.DIGITS, lambda location: location == BUILT_IN, frozenset(), digits.read),
    Form(
        Written.HUB,
        lambda location: location.startswith(BY_NAME),
        COLUMNS | {"split", "image_size"},
        huggingface.read_named,
        look=huggingface.named,
    ),
    Form(Written.ARRAYS, _ends(".npz"), frozenset(), arrays.read, is_file=True),
    Form(Written.TEXT, _ends(".csv", ".tsv"), COLUMNS, tables.read_csv, is_file=True, look=tables.csv_table),
    Form(Written.PARQUET, _ends(".parquet"), COLUMNS, tables.read_parquet, is_file=True, look=tables.parquet_table),
    Form(
        Written.SAVED,
        lambda location: huggingface.is_saved(Path(location)),
        COLUMNS | {"split", "image_size"},
        huggingface.read_saved,
        look=huggingface.saved,
    ),
    Form(Written.IMAGES, os.path.isdir, frozenset({"subject", "image_size"}), images.read),
)


def read(
    source: Source, *, columns: tuple[Column, ...] | None = None, classes: tuple[int | str, ...] | None = None
) -> Dataset:
    """Rows of a source as a data set.

    ``columns`` and ``classes`` are those of a recipe when a run is opened again; then nothing is inferred from the
    rows, so that rows which are gone change nothing for the others.
    """
    form = _form(source)
    given = [field.name for field in fields(source) if getattr(source, field.name) not in (None, ())]
    for name in given:
        if name not in FOR_ALL and name not in form.takes:
            takes = ", ".join(f"`{field.name}`" for field in fields(source) if field.name in form.takes)
            raise InvalidArgument(
                f"`{name}` {_shown(getattr(source, name))} makes no sense for {source.location} "
                f"({form.written}), which takes {takes or 'no such option'}: leave it out"
            )
    _check_there(form, source)
    return form.read(source, columns, classes)


def look_at(location: str) -> None:
    """Open a place that holds data, whatever is said of their columns; what cannot be read at all is refused."""
    source = Source(location=location)
    form = _form(source)
    _check_there(form, source)
    form.read(source, None, None) if form.look is None else form.look(source)


def _form(source: Source) -> Form:
    form = next((form for form in FORMS if form.matches(source.location)), None)
    if form is None:
        raise InvalidArgument(f"data {source.location!r} is none of the known forms: {known_forms()}")
    return form


def _check_there(form: Form, source: Source) -> None:
    if form.is_file and not os.path.isfile(source.location):
        raise InvalidArgument(f"data file {source.location} does not exist: check the path")


def takes(source: Source, option: str) -> bool:
    """Whether data of this form take an option."""
    return any(form.matches(source.location) and option in form.takes for form in FORMS)


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
