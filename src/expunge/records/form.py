"""Frozen dataclasses to canonical JSON and back: the types of the fields are the schema.

Names are camelCase in JSON. ``bytes`` is a digest of 32 bytes in hexadecimal, ``float`` a C99 hex string, a tuple a
list, an enum its value, ``Time`` a UTC second, ``Large`` a count that is text from 2⁵³ on. A field that is None is left
out, so a value has one text; a null is refused. Whatever is not exactly of its type is refused with the place where it
stands.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from expunge.core.hashing import LARGEST_INTEGER
from expunge.records.canonical import (
    checked_count,
    checked_list,
    checked_object,
    checked_text,
    malformed,
    read_digest,
    read_real,
)

Found = TypeVar("Found")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
FORM = "%Y-%m-%dT%H:%M:%SZ"
DIGITS = re.compile(r"[1-9][0-9]{15,19}\Z")
Large = NewType("Large", int)  # a whole number from 0 to 2⁶⁴ − 1


@dataclass(frozen=True, order=True)
class Time:
    """A second in UTC, as somebody's clock told it."""

    text: str

    @classmethod
    def now(cls) -> Time:
        return cls(datetime.now(UTC).strftime(FORM))

    @classmethod
    def at(cls, seconds: int) -> Time:
        """Seconds since 1970."""
        return cls(datetime.fromtimestamp(seconds, UTC).strftime(FORM))

    @property
    def seconds(self) -> int:
        """Seconds since 1970."""
        return int(datetime.strptime(self.text, FORM).replace(tzinfo=UTC).timestamp())

    def __str__(self) -> str:
        return self.text


def to_json(value: Any) -> Any:
    """What ``canonical_json`` takes."""
    if isinstance(value, Time):
        return value.text
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, int) and value > LARGEST_INTEGER:
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        found = {camel(item.name): getattr(value, item.name) for item in fields(value)}
        return {name: to_json(inner) for name, inner in found.items() if inner is not None}
    if isinstance(value, Mapping):
        return {name: to_json(inner) for name, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in cast("tuple[Any, ...]", value)]
    return value


def from_json(kind: type[Found], value: Any, what: str) -> Found:
    """A value of a dataclass from untrusted JSON; ``what`` names the place in the refusal."""
    return cast("Found", _read(kind, value, what))


def camel(name: str) -> str:
    """recorded_at → recordedAt."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@functools.cache
def _schema(kind: type) -> tuple[dict[str, tuple[str, Any]], tuple[str, ...], tuple[str, ...]]:
    """By JSON name the field and its type; which must be there; which may be missing."""
    hints = get_type_hints(kind)
    known = {camel(item.name): (item.name, hints[item.name]) for item in fields(kind)}
    defaults = {camel(item.name): item.default for item in fields(kind)}
    optional = tuple(name for name, default in defaults.items() if default is None)
    assert all(default is None or default is MISSING for default in defaults.values()), kind
    return known, tuple(name for name in known if name not in optional), optional


def _read(kind: Any, value: Any, what: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (inner for inner in get_args(kind) if inner is not type(None))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(_read(inner, item, f"{what}[{at}]") for at, item in enumerate(checked_list(value, what)))
    if kind is Any:
        return value
    if get_origin(kind) is not None:  # a mapping of plain JSON; what it may hold is its reader's question
        if not isinstance(value, dict):
            raise malformed(what, "an object is expected")
        return cast("dict[str, Any]", value)
    if kind is Time:
        return _time(value, what)
    if kind is Large:
        return _large(value, what)
    if kind is bytes:
        return read_digest(value, what)
    if kind is bool:
        if not isinstance(value, bool):
            raise malformed(what, "true or false is expected")
        return value
    if kind is int:
        return checked_count(value, what)
    if kind is float:
        return read_real(value, what)
    if kind is str:
        return checked_text(value, what)
    if issubclass(kind, Enum):
        text = checked_text(value, what)
        if text not in {item.value for item in kind}:
            raise malformed(what, f"{text[:40]!r} is not one of {', '.join(item.value for item in kind)}")
        return kind(text)
    known, names, optional = _schema(kind)
    found = checked_object(value, what, names, optional)
    return kind(**{known[name][0]: _read(known[name][1], inner, f"{what}.{name}") for name, inner in found.items()})


def _large(value: Any, what: str) -> int:
    """Small ones are numbers and large ones text, so that one count has one form."""
    if not isinstance(value, str):
        return checked_count(value, what)
    if not DIGITS.match(value) or not LARGEST_INTEGER < int(value) < 2**64:
        raise malformed(what, f"{value[:40]!r} is no whole number from 2^53 to 2^64 − 1")
    return int(value)


def _time(value: Any, what: str) -> Time:
    text = checked_text(value, what)
    try:
        if TIME.match(text) and datetime.strptime(text, FORM).strftime(FORM) == text:
            return Time(text)
    except ValueError:
        pass
    raise malformed(what, f"{text[:40]!r} is no UTC second such as '2026-01-31T12:00:00Z'")
