"""Small helps for sentences."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where a known word is close, else nothing."""
    found = get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
