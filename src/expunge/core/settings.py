"""``field=value`` as people type it, for any frozen dataclass: checked against its fields and their types."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from expunge.core.errors import InvalidArgument
from expunge.core.wording import nearest


def kinds_of(settled: type[Any]) -> dict[str, Any]:
    """Types of the fields that may be set; what a class says of itself, such as its name or needs, is none."""
    hints = typing.get_type_hints(settled)
    return {item.name: hints[item.name] for item in fields(settled)}


def read_settings(settled: type[Any], settings: Mapping[str, str], what: str, name: str) -> dict[str, Any]:
    """Values of the fields that were set; ``what`` is the kind of thing, ``name`` its own. Unknown ones are refused."""
    kinds = kinds_of(settled)
    values: dict[str, Any] = {}
    for field, text in settings.items():
        if field not in kinds:
            listed = ", ".join(sorted(kinds)) or "none"
            raise InvalidArgument(
                f"{what} {name!r} has no field {field!r}: its fields are {listed}{nearest(field, kinds)}"
            )
        values[field] = read_setting(text, kinds[field], f"{name} {field}")
    return values


def read_setting(text: str, kind: Any, where: str) -> Any:
    """One value by its type; ``where`` names its place in a refusal."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and text.lower() in ("none", ""):
        return None
    for option in options:
        if option is type(None):
            continue
        try:
            return _read_one(text, option)
        except ValueError:
            continue
    raise InvalidArgument(f"{where} {text!r} is not {' or '.join(_described(option) for option in options)}")


def _read_one(text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return kind(text)


def _described(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    return {int: "a whole number", float: "a number", bool: "true or false", type(None): "none"}.get(kind, str(kind))
