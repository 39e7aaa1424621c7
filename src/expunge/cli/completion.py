"""What a shell completes beside verbs, flags and files: names of closed lists, found without torch."""

from __future__ import annotations

from expunge.records.catalogue import MODEL_NAMES, TASK_NAMES
from expunge.records.method_table import built_in


def methods() -> list[tuple[str, str]]:
    """Built-in methods by name and alias, with what they do."""
    return [(name, row["summary"]) for row in built_in() for name in (row["name"], *row["aliases"])]


def models() -> list[str]:
    return list(MODEL_NAMES)


def tasks() -> list[str]:
    return list(TASK_NAMES)
