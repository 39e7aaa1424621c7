"""Small helps for words: what is near one, what one means, and which of a few it is."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import TypeVar

from expunge.core.errors import InvalidArgument

Choice = TypeVar("Choice", bound=Enum)
LONGEST_CASE = 200
LONGEST_TEXT = 400
LONGEST_NAME = 80
PLACE = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:\\|~?/)(?:[^\s/\\:;,()'\"]+[/\\])*([^\s/\\:;,()'\"]+)")


def nearest(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where a known word is close, else nothing."""
    found = get_close_matches(word, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def names_case(text: str) -> bool:
    """Whether people can read it as the name of a deletion case: printable, not blanks alone, not too long."""
    return bool(text.strip()) and len(text) <= LONGEST_CASE and text.isprintable()


def says_why(text: str) -> bool:
    """Whether people can read it as a reason: printable, with a letter in it, not too long."""
    return len(text) <= LONGEST_TEXT and text.isprintable() and any(letter.isalpha() for letter in text)


def check_cases(cases: Iterable[str]) -> None:
    """Cases that people could not read by their names are refused."""
    if isinstance(cases, str):
        raise InvalidArgument(f"`cases` {cases[:60]!r} must be a list of cases: give [{cases[:60]!r}]")
    for case in cases:
        if not names_case(case):
            raise InvalidArgument(
                f"case {case[:60]!r} must be 1 to {LONGEST_CASE} printable characters, not blanks alone: leave it out "
                "where the owner asks"
            )


def three_digits(value: float) -> str:
    """A figure to three digits and never as a power of ten: 227,000 or 0.0125."""
    return f"{float(f'{value:.3g}'):,.15g}"


def share(text: str, option: str) -> float:
    """``8%`` or ``0.08`` as a share."""
    number, percent = (text[:-1], 100.0) if text.endswith("%") else (text, 1.0)
    try:
        found = float(number) / percent
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise InvalidArgument(f"{option} {text!r} must be a share such as 8% or 0.08")
    if found > 1 and percent == 1.0:
        times = f"{100 * found:g}%"
        raise InvalidArgument(f"{option} {text!r} would be {times}: say {number}%, or {times} if that is meant")
    return found


def choice(table: type[Choice], text: str, option: str) -> Choice:
    """A member of an enum by its value."""
    for member in table:
        if member.value == text:
            return member
    listed = [str(member.value) for member in table]
    raise InvalidArgument(f"{option} {text!r} is not one of {', '.join(listed)}{nearest(text, listed)}")


def counted(number: int, what: str) -> str:
    """``1 step``, ``2 steps``, ``2 witnesses``."""
    return f"{number:,} {what}{'' if number == 1 else 'es' if what.endswith('s') else 's'}"


def in_percent(value: float) -> str:
    """A share as people say it; what is nearly nothing in two digits."""
    return f"{value:.0%}" if abs(value) >= 0.015 else f"{100 * value:.2g}%"


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """A text that can stand on a page: no control or direction characters, not longer than it should be."""
    kept = "".join(_harmless(character) for character in text[: longest + 1])
    return kept if len(text) <= longest else kept[:longest].rstrip() + "…"


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Zl", "Zp") or character in "\t\n\r":
        return " "
    return "\ufffd" if category in ("Cc", "Cf", "Cs", "Co", "Cn") else character


def without_places(text: str) -> str:
    """Absolute paths cut to their last name: a page that travels does not describe the machine it was made on."""
    return PLACE.sub(r"…/\1", text)
