"""Where rows come from. ``data/forms.py`` says who reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from expunge.core.errors import DataError, InvalidArgument

LISTS = ("numeric", "categorical", "text")
BUILT_IN, BY_NAME = "digits", "hf:"
LARGEST_SIDE = 4096  # of an image, in pixels


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
        if self.image_size is not None and not 1 <= self.image_size <= LARGEST_SIDE:
            raise InvalidArgument(f"image size {self.image_size} must lie between 1 and {LARGEST_SIDE} pixels")
        if self.rows is not None and (type(self.rows) is not int or self.rows < 1):
            raise InvalidArgument(f"rows {self.rows!r} must be a whole number from 1: leave it out to take all rows")
        named = [name for kind in LISTS for name in getattr(self, kind)]
        twice = next((name for at, name in enumerate(named) if name in named[:at]), None)
        if twice is not None:
            raise InvalidArgument(
                f"column {twice!r} is named more than once among `numeric`, `categorical` and `text`: it is one of them"
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
                f"`rows` {self.rows} is more than the {there} rows of {self.location}: ask for at most {there}, or "
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


def known_forms() -> str:
    """The forms as a sentence lists them."""
    return " · ".join(Written)
