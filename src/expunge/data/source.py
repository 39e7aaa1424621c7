"""Where rows come from, and the one table of forms they may come in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, InvalidArgument
from expunge.data import arrays, digits, huggingface, images, tables
from expunge.data.dataset import Column, Dataset

Read = Callable[["Source", tuple[Column, ...] | None, tuple[int | str, ...] | None], Dataset]
LISTS = ("numeric", "categorical", "text")
FOR_ALL = ("location", "rows")  # what every form takes
BUILT_IN, BY_NAME = "digits", "hf:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place and how to read it: which columns are label, subject and id, and what the others hold.

    ``location`` is made absolute when it is a file or a folder, so that a run opens from any directory. ``subject`` is
    the name of a column, or for a folder of images the word ``prefix``: the file name up to its first ``_`` or ``-``.
    ``numeric``, ``categorical`` and ``text`` overrule what would be inferred. ``image_size`` is a side in pixels.
    ``rows`` takes only the first so many rows of any form; whatever is inferred is inferred from these.
    """

    location: str
    label: str | None = None
    subject: str | None = None
    id: str | None = None
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    image_size: int | None = None
    split: str | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if not self.location:
            raise InvalidArgument(f"the location of the data is empty: give {known_forms()}")
        if self.image_size is not None and not 1 <= self.image_size <= images.LARGEST_SIDE:
            raise InvalidArgument(f"image size {self.image_size} must lie between 1 and {images.LARGEST_SIDE} pixels")
        if self.rows is not None and (type(self.rows) is not int or self.rows < 1):
            raise InvalidArgument(f"rows {self.rows!r} must be a whole number from 1: leave it out to take all rows")
        named = [name for kind in LISTS for name in getattr(self, kind)]
        twice = next((name for at, name in enumerate(named) if name in named[:at]), None)
        if twice is not None:
            raise InvalidArgument(
                f"column {twice!r} is named more than once among --numeric, --categorical and --text: it is one of them"
            )
        if self.location != BUILT_IN and not self.location.startswith(BY_NAME) and os.path.exists(self.location):
            object.__setattr__(self, "location", os.path.abspath(self.location))

    @property
    def shown(self) -> str:
        """The place as errors name it."""
        return self.location if self.rows is None else f"{self.location} (the first {self.rows} of its rows)"

    def taken(self, there: int, *, again: bool) -> int:
        """How many of the rows that are ``there`` to take. Opened ``again``, forgotten ones may be gone by then."""
        if self.rows is None:
            return there
        if self.rows > there and not again:
            raise InvalidArgument(
                f"--rows {self.rows} is more than the {there} rows of {self.location}: ask for at most {there}, or "
                "leave it out to take all"
            )
        return min(self.rows, there)

    def as_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if name in LISTS else value for name, value in values.items()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Source:
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise DataError(
                f"a data source has no field {unknown[0]!r} (its fields are {', '.join(known)}): "
                "the file was altered or comes from a newer version"
            )
        for name, found in value.items():
            if not _fits(name, found):
                raise DataError(f"field {name!r} of a data source holds {found!r}: the file was altered")
        if "location" not in value:
            raise DataError("a data source has no field 'location': the file was altered")
        read_back: dict[str, Any] = {name: tuple(found) if name in LISTS else found for name, found in value.items()}
        return cls(**read_back)


def _fits(name: str, found: Any) -> bool:
    if name in LISTS:
        return isinstance(found, list | tuple) and all(isinstance(item, str) for item in found)
    if name in ("image_size", "rows"):
        return found is None or type(found) is int
    return isinstance(found, str) or (found is None and name != "location")


@dataclass(frozen=True)
class Form:
    """One way in which data may come: how it is written, who recognises it, which options it takes, who reads it."""

    written: str
    matches: Callable[[str], bool]
    takes: frozenset[str]
    read: Read
    is_file: bool = False


def _ends(*endings: str) -> Callable[[str], bool]:
    return lambda location: location.lower().endswith(endings) and not os.path.isdir(location)


COLUMNS = frozenset({"label", "subject", "id", *LISTS})
FORMS = (
    Form(BUILT_IN, lambda location: location == BUILT_IN, frozenset(), digits.read),
    Form(
        "hf:NAME, hf:OWNER/NAME or hf:OWNER/NAME/CONFIG",
        lambda location: location.startswith(BY_NAME),
        COLUMNS | {"split", "image_size"},
        huggingface.read_named,
    ),
    Form("FILE.npz", _ends(".npz"), frozenset(), arrays.read, is_file=True),
    Form("FILE.csv or FILE.tsv", _ends(".csv", ".tsv"), COLUMNS, tables.read_csv, is_file=True),
    Form("FILE.parquet", _ends(".parquet"), COLUMNS, tables.read_parquet, is_file=True),
    Form(
        "a folder written by datasets.save_to_disk",
        lambda location: huggingface.is_saved(Path(location)),
        COLUMNS | {"split", "image_size"},
        huggingface.read_saved,
    ),
    Form("a folder of images, one folder per class", os.path.isdir, frozenset({"subject", "image_size"}), images.read),
)


def known_forms() -> str:
    """The forms as a sentence lists them."""
    return " · ".join(form.written for form in FORMS)


def read(
    source: Source, *, columns: tuple[Column, ...] | None = None, classes: tuple[int | str, ...] | None = None
) -> Dataset:
    """Rows of a source as a data set.

    ``columns`` and ``classes`` are those of a recipe when a run is opened again; then nothing is inferred from the
    rows, so that rows which are gone change nothing for the others.
    """
    form = next((form for form in FORMS if form.matches(source.location)), None)
    if form is None:
        raise InvalidArgument(f"data {source.location!r} is none of the known forms: {known_forms()}")
    given = [field.name for field in fields(source) if getattr(source, field.name) not in (None, ())]
    for name in given:
        if name not in FOR_ALL and name not in form.takes:
            takes = ", ".join(_option(field.name) for field in fields(source) if field.name in form.takes)
            raise InvalidArgument(
                f"{_option(name)} {_shown(getattr(source, name))} makes no sense for {source.location} "
                f"({form.written}), which takes {takes or 'no such option'}: leave it out"
            )
    if form.is_file and not os.path.isfile(source.location):
        raise InvalidArgument(f"data file {source.location} does not exist: check the path")
    return form.read(source, columns, classes)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
