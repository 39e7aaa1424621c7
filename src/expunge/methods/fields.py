"""Fields of methods: a default, and where tuning may look for a better value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from expunge.records.form import NULL, to_plain


@dataclass(frozen=True)
class Between:
    """Any value from ``low`` to ``high``, by logarithm where ``log``, in units of the field ``times``."""

    low: float
    high: float
    log: bool = True
    times: str | None = field(default=None, metadata=NULL)

    def __str__(self) -> str:
        times = f" × {self.times}" if self.times else ""
        return f"{self.low:g} … {self.high:g}{times}{', log' if self.log else ''}"


@dataclass(frozen=True)
class Among:
    """One of a few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ", ".join(str(value) for value in to_plain(self)["values"])


Search = Between | Among


def tuned(default: Any, search: Search) -> Any:
    """A field with a default and a search range; a value outside the range may be set by hand."""
    return field(default=default, metadata={"search": search})


def search_of(item: Field[Any]) -> Search | None:
    """Where tuning may look for a field's value; None where it is not tuned."""
    found: Mapping[str, Any] = item.metadata
    return found.get("search")


def searches(method: type[Any]) -> dict[str, Search]:
    """Where tuning may look, by the names of the fields that are tuned."""
    return {item.name: search for item in fields(method) if (search := search_of(item)) is not None}
