"""The table of built-in methods for code without torch: ``methods.json``, written from the classes by `make docs`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.core.wording import nearest
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


def built_in() -> list[dict[str, Any]]:
    """A row for each built-in method, as `expunge methods --json` prints it."""
    return json.loads(files("expunge.records").joinpath("methods.json").read_text(encoding="utf-8"))


def named(name: str, aliases: Mapping[str, Iterable[str]]) -> str:
    """The method of this name or alias, among methods by name with their aliases."""
    if name in aliases:
        return name
    for method, others in aliases.items():
        if name in others:
            return method
    names = [*aliases, *(alias for others in aliases.values() for alias in others)]
    raise InvalidArgument(f"method {name!r} is not one of {', '.join(aliases)}{nearest(name, names)}")
