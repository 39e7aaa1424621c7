"""Fields of methods: a default, and where tuning may look for a better value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, field, fields
from typing import Any

from expunge.records.method_table import Among, Between, Search

__all__ = ["Among", "Between", "Search", "search_of", "searches", "tuned"]


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
