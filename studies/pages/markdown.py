"""Tables and paragraphs of generated Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

COLUMNS = 118


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A table with its head, an empty line before it."""
    return ["", row(head), "|" + "---|" * len(head), *(row(entries) for entries in rows)]


def row(entries: Sequence[object]) -> str:
    """One row of a table."""
    return "| " + " | ".join(map(str, entries)) + " |"


def paragraph(text: str, *, bullet: bool = False) -> list[str]:
    """Text cut into lines, an empty line before it unless it is a point of a list. Addresses and code stay whole."""
    marks = ("- ", "  ") if bullet else ("", "")
    lines = textwrap.wrap(
        " ".join(text.split()),
        COLUMNS,
        initial_indent=marks[0],
        subsequent_indent=marks[1],
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines if bullet else ["", *lines]
