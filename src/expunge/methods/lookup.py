"""From a name and ``field=value`` pairs to a method, checked against its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib.metadata import EntryPoint
from typing import Any

from expunge.core import entry_points
from expunge.core.entry_points import loaded, with_offered
from expunge.core.errors import DataError, InvalidArgument
from expunge.core.settings import kinds_of, read_setting, read_settings
from expunge.methods import METHODS
from expunge.methods.contract import Method
from expunge.methods.fields import searches
from expunge.records.form import to_plain
from expunge.records.method_table import named
from expunge.records.run_file import MethodFile

GROUP = "expunge.methods"


@cache
def methods() -> Mapping[str, type[Method]]:
    """All methods by name: the built-in table, then those of entry points ``expunge.methods``."""
    return with_offered(METHODS, GROUP, Method)


def offered() -> Mapping[str, EntryPoint]:
    """Entry points ``expunge.methods`` by name, which is the method's; nothing of them is imported."""
    return entry_points.offered(GROUP)


def offered_method(name: str) -> type[Method]:
    """The method of one entry point; no other one is imported."""
    entry = offered().get(name)
    if entry is None:
        raise InvalidArgument(f"method {name!r} is no entry point of {GROUP} here: install the package of it")
    return loaded(entry, Method)


def find_method(name: str) -> type[Method]:
    """A method by its name or alias."""
    known = methods()
    return known[named(name, {method.name: method.aliases for method in known.values()})]


def make_method(name: str, settings: Mapping[str, str] | None = None) -> Method:
    """A method with the fields that were set on the command line; unknown fields and values are refused."""
    method = find_method(name)
    return method(**read_settings(method, settings or {}, "method", method.name))


def read_method(told: MethodFile) -> Method:
    """Read back what a run tells of its method."""
    return made_from(find_method(told.name), told.fields)


def made_from(method: type[Method], fields: Mapping[str, Any]) -> Method:
    """A method with fields as ``Method.told`` has them; nothing is looked up anywhere."""
    kinds = kinds_of(method)
    values: dict[str, Any] = {}
    for field, value in fields.items():
        if field not in kinds:
            raise DataError(f"method {method.name!r} has no field {field!r}: another version wrote this")
        values[field] = None if value is None else read_setting(str(value), kinds[field], f"{method.name} {field}")
    return method(**values)


def method_rows() -> list[dict[str, Any]]:
    """The table of methods as `expunge methods --json` and the documentation show it."""
    return [
        {
            "name": method.name,
            "aliases": list(method.aliases),
            "guarantee": method.ceiling.__name__.lower(),
            "needs": sorted(need.value for need in method.needs),
            "budget": method.takes_budget,
            "shards": method.takes_shards,
            "citation": method.citation,
            "work": method.work,
            "summary": (method.__doc__ or "").strip().splitlines()[0],
            "fields": {
                item.name: _shown(None if item.default is dataclasses.MISSING else item.default)
                for item in dataclasses.fields(method)
            },
            "search": {name: to_plain(search) for name, search in searches(method).items()},
            "task": method.task.takes,
        }
        for method in methods().values()
    ]


def _shown(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
