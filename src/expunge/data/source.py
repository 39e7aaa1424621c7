"""Where rows come from. ``data/forms.py`` says who reads them."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from expunge.core.errors import DataError, InvalidArgument

KINDS = ("numeric", "categorical", "text", "date")  # a column that is named under one of these is of that kind
LISTS = KINDS
BUILT_IN, BY_NAME = "digits", "hf:"
LARGEST_SIDE = 4096  # of an image, in pixels
INDICATOR = "indicator"  # the one way in which missing numbers may come in
DECIMALS = (".", ",")
TAB = "tab"
ADDED_LATER = ("date", "separator", "decimal", "encoding", "no_header", "missing")  # left out of the JSON where unsaid
OF_TEXT = ("separator", "decimal", "encoding")  # how a text file is written, whether or not it has a header
UNSAID = (None, (), False)


class Written(StrEnum):
    """How a location is written, form by form, as sentences list them."""

    DIGITS = BUILT_IN
    HUB = "hf:NAME, hf:OWNER/NAME or hf:OWNER/NAME/CONFIG"
    ARRAYS = "FILE.npz"
    TEXT = "FILE.csv or FILE.tsv"
    PARQUET = "FILE.parquet"
    SAVED = "a folder written by datasets.save_to_disk"
    IMAGES = "a folder of images, one folder per class"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A place and how to read it: which columns are label, subject and id, and what the others hold.

    ``location`` is made absolute when it is a file or a folder, so that a run opens from any directory. ``subject`` is
    the name of a column, or for a folder of images the word ``prefix``: the file name up to its first ``_`` or ``-``.
    ``numeric``, ``categorical``, ``text`` and ``date`` overrule what would be inferred. ``image_size`` is a side in
    pixels. ``rows`` takes only the first so many rows of any form; whatever is inferred is inferred from these.

    Of a text file, ``separator`` is a comma (a tab in .tsv), ``decimal`` a point and ``encoding`` UTF-8 unless said;
    with ``no_header`` its columns are named 1, 2, … ``missing="indicator"`` takes a missing number for 0 and marks it
    in a column of its own. What is found when rows are read for the first time is said here from then on.
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
    date: tuple[str, ...] = ()
    separator: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    no_header: bool = False
    missing: str | None = None

    def __post_init__(self) -> None:
        if not self.location:
            raise InvalidArgument(f"the location of the data is empty: give {known_forms()}")
        for field in fields(self):
            if field.name != "rows" and not _fits(field.name, getattr(self, field.name)):
                raise InvalidArgument(
                    f"{field.name} {getattr(self, field.name)!r:.80} of the data must be {_wanted(field.name)}"
                )
        self._check_text()
        if self.image_size is not None and not 1 <= self.image_size <= LARGEST_SIDE:
            raise InvalidArgument(f"image size {self.image_size} must lie between 1 and {LARGEST_SIDE} pixels")
        if self.rows is not None and (type(self.rows) is not int or self.rows < 1):
            raise InvalidArgument(f"rows {self.rows!r} must be a whole number from 1: leave it out to take all rows")
        named = [name for kind in KINDS for name in getattr(self, kind)]
        twice = next((name for at, name in enumerate(named) if name in named[:at]), None)
        if twice is not None:
            raise InvalidArgument(
                f"column {twice!r} is named more than once among `numeric`, `categorical`, `text` and `date`: it is "
                "one of them"
            )
        if self.location != BUILT_IN and not self.location.startswith(BY_NAME) and os.path.exists(self.location):
            object.__setattr__(self, "location", os.path.abspath(self.location))

    def _check_text(self) -> None:
        """How a text file is written."""
        if self.separator == TAB:
            object.__setattr__(self, "separator", "\t")
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise InvalidArgument(f"`separator` {self.separator!r} must be one character, or the word {TAB}")
        if self.decimal not in (None, *DECIMALS):
            raise InvalidArgument(f"`decimal` {self.decimal!r} must be a point or a comma")
        if self.missing not in (None, INDICATOR):
            raise InvalidArgument(
                f"`missing` {self.missing!r} must be {INDICATOR}, which takes 0 for a missing number and marks it"
            )
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise InvalidArgument(f"`encoding` {self.encoding!r} is not known: utf-8, latin-1 or cp1252 are")

    def with_found(self, found: Source) -> Source:
        """This source with what another one found, where the words of both agree."""
        date = found.date if set(self.date) <= set(found.date) else self.date
        separator, decimal = self.separator or found.separator, self.decimal or found.decimal
        return replace(self, date=date, separator=separator, decimal=decimal)

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
                f"`rows` {self.rows} is more than the {there} rows of {self.location}: ask for at most {there}, or "
                "leave it out to take all"
            )
        return min(self.rows, there)

    def as_json(self) -> dict[str, Any]:
        """Not by the form, as its reader is not."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if name in LISTS else value
            for name, value in values.items()
            if name not in ADDED_LATER or value not in UNSAID
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Source:
        """Not by the form: fields were added one by one, and older files lack those that came later."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise DataError(
                f"a data source has no field {unknown[0]!r} (its fields are {', '.join(known)}): "
                "the file was altered or comes from a newer version"
            )
        for name, found in value.items():
            if not _fits(name, tuple(found) if isinstance(found, list) else found):
                raise DataError(f"field {name!r} of a data source holds {found!r}: the file was altered")
        if "location" not in value:
            raise DataError("a data source has no field 'location': the file was altered")
        read_back: dict[str, Any] = {name: tuple(found) if name in LISTS else found for name, found in value.items()}
        return cls(**read_back)


def _fits(name: str, found: Any) -> bool:
    if name in LISTS:
        return isinstance(found, tuple) and all(isinstance(item, str) for item in found)
    if name in ("image_size", "rows"):
        return found is None or type(found) is int
    if name == "no_header":
        return isinstance(found, bool)
    return isinstance(found, str) or (found is None and name != "location")


def _wanted(name: str) -> str:
    if name in LISTS:
        return "a list of columns' names"
    if name in ("image_size", "rows"):
        return "a whole number from 1"
    return "true or false" if name == "no_header" else "a text"


def _is_encoding(name: str) -> bool:
    try:
        return bool("a".encode(codecs.lookup(name).name))
    except (LookupError, UnicodeError, ValueError):
        return False


def known_forms() -> str:
    """The forms as a sentence lists them."""
    return " · ".join(Written)
