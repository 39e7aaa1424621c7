"""What other packages offer by entry points, beside the tables of ours: nothing is imported before it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from expunge.core.errors import InvalidArgument

Kind = TypeVar("Kind")


def offered(group: str) -> Mapping[str, EntryPoint]:
    """Entry points of a group by name, which is that of the class; nothing of them is imported."""
    return {entry.name: entry for entry in entry_points(group=group)}


def loaded(entry: EntryPoint, kind: type[Kind]) -> type[Kind]:
    """The class of one entry point; no other one is imported."""
    found = entry.load()
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise InvalidArgument(f"entry point {entry.name!r} of {entry.group} is no {kind.__name__}: {entry.value}")
    what, name = kind.__name__.lower(), _name(found)
    if name != entry.name:
        raise InvalidArgument(f"entry point {entry.name!r} of {entry.group} offers the {what} {name!r}: name it alike")
    return found


def with_offered(own: Iterable[type[Kind]], group: str, kind: type[Kind]) -> dict[str, type[Kind]]:
    """By name a table of ours, then all that a group offers."""
    found = {_name(one): one for one in own}
    for name, entry in offered(group).items():
        if name in found:
            what = kind.__name__.lower()
            raise InvalidArgument(f"entry point {entry.value} offers the {what} {name!r}, which exists already")
        found[name] = loaded(entry, kind)
    return found


def _name(found: type) -> str:
    return str(getattr(found, "name", ""))
