"""hygiene.json: what a run declares destroyed, or until when the old state is kept for auditors. Records repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from expunge.core.clock import is_utc_second
from expunge.core.errors import DataError
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import parse_json, plain_json

FORMAT = "expunge/hygiene/1"
NAME = "hygiene.json"
INTENT = "hygiene-intent.json"


@dataclass(frozen=True)
class Destroyed:
    """One thing that is gone: what it was, and its digest if it had one, in hexadecimal."""

    what: str
    digest: str | None = None


@dataclass(frozen=True)
class Window:
    """The old state is kept for so many days; ``until`` is a second in UTC."""

    days: int
    until: str


@dataclass(frozen=True)
class Declaration:
    """What hygiene.json says."""

    retired: tuple[Destroyed, ...] = ()
    window: Window | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "retired": [{"what": item.what, "digest": item.digest} for item in self.retired],
            "window": None if self.window is None else {"days": self.window.days, "until": self.window.until},
        }


def together(before: Sequence[Destroyed], now: Sequence[Destroyed]) -> tuple[Destroyed, ...]:
    """Both lists, each thing once; what has no digest is counted as often as it was destroyed."""
    return (*before, *(item for item in now if item.digest is None or item not in before))


def write_declaration(folder: Path, declaration: Declaration) -> None:
    """Into the run folder, whole or not at all."""
    write_text(folder / NAME, plain_json(declaration.as_json()))


def read_declaration(folder: Path) -> Declaration | None:
    """What the run declares; None where nothing was declared."""
    path = folder / NAME
    if not path.is_file():
        return None
    value = parse_json(read_bytes(path, "the declaration"))
    broken = DataError(f"{path} is no declaration of hygiene: it was altered; run `expunge hygiene {folder}` again")
    if not isinstance(value, dict):
        raise broken
    found = cast("dict[str, Any]", value)
    if set(found) != {"format", "retired", "window"} or found["format"] != FORMAT:
        raise broken
    if not isinstance(found["retired"], list):
        raise broken
    retired: list[Destroyed] = []
    for item in cast("list[Any]", found["retired"]):
        if not isinstance(item, dict) or set(cast("dict[str, Any]", item)) != {"what", "digest"}:
            raise broken
        entry = cast("dict[str, Any]", item)
        if not isinstance(entry["what"], str) or not (entry["digest"] is None or _is_digest(entry["digest"])):
            raise broken
        retired.append(Destroyed(entry["what"], entry["digest"]))
    window = found["window"]
    if window is None:
        return Declaration(tuple(retired))
    if not isinstance(window, dict) or set(cast("dict[str, Any]", window)) != {"days", "until"}:
        raise broken
    named = cast("dict[str, Any]", window)
    if type(named["days"]) is not int or named["days"] < 1 or not is_utc_second(str(named["until"])):
        raise broken
    return Declaration(tuple(retired), Window(named["days"], str(named["until"])))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")
