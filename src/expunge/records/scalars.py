"""Single values of documents: how each kind is read in the signed and in the plain form, and types with bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NewType, cast

from expunge.core.clock import Time, is_utc_second
from expunge.core.errors import DataError
from expunge.core.hashing import LARGEST_INTEGER
from expunge.core.wording import LONGEST_NAME, LONGEST_TEXT, clean, without_places
from expunge.records.canonical import DIGEST, checked_count, checked_text, malformed, read_digest, read_real

ReadValue = Callable[[Any, str], Any]  # (value of untrusted JSON, its place) → value of ours

DIGITS = re.compile(r"[1-9][0-9]{15,19}\Z")
MOST_SLOTS = 2**31
LARGEST_AMOUNT = 1e18


@dataclass(frozen=True)
class Bound:
    """What else a value must be: ``needed`` says it; ``fit`` gives what is kept of it, None where it is unfit."""

    needed: str
    fit: Callable[[Any], Any]
    said: str = ""  # in the place of the usual refusal

    def refusal(self, value: Any, where: str) -> DataError:
        return DataError(f"{where} {self.said}") if self.said else unfit(value, where, self.needed)


def between(low: float, high: float) -> Bound:
    return Bound(f"a number from {low:g} to {high:g}", lambda value: value if low <= value <= high else None)


def sized(least: int, longest: int, what: str = "a text") -> Bound:
    needed = f"{what} of {least} to {longest} characters"
    return Bound(needed, lambda value: value if least <= len(value) <= longest else None)


class Cleaned(str):
    """A text as it can stand on a page, which is written again as it was read."""

    __slots__ = ("raw",)
    raw: str

    @classmethod
    def of(cls, raw: str, cleaned: str) -> str:
        found = cls(cleaned)
        found.raw = raw
        return raw if cleaned == raw else found


def raw(text: str) -> str:
    """A text as it was read."""
    return text.raw if isinstance(text, Cleaned) else text


def shown(longest: int) -> Bound:
    """Cleaned and cut, so that it can stand on a page."""
    return Bound("a text", lambda value: Cleaned.of(value, clean(value, longest)))


Large = NewType("Large", int)  # a whole number from 0 to 2⁶⁴ − 1; text from 2⁵³ on
Slots = NewType("Slots", "tuple[int, ...]")  # as many as there are, each from 0 below 2³¹
Share = Annotated[float, between(0, 1)]
Positive = Annotated[float, between(0, math.inf)]
Amount = Annotated[float, between(0, LARGEST_AMOUNT)]  # of work or time
Digest = Annotated[
    str, Bound("a digest of 64 hexadecimal digits", lambda value: value if DIGEST.match(value) else None)
]
Second = Annotated[str, Bound("a UTC second", lambda value: value if is_utc_second(value) else None)]
Words = Annotated[str, shown(LONGEST_TEXT)]
Short = Annotated[str, shown(LONGEST_NAME)]
Name = Annotated[str, sized(1, LONGEST_NAME, "a name"), shown(LONGEST_TEXT)]
Remark = Annotated[  # a program's: paths are cut short
    str, Bound("a text", lambda value: Cleaned.of(value, without_places(clean(value))))
]


def unfit(value: Any, where: str, needed: str) -> DataError:
    """The refusal of a plain value that is not of the form its place asks for."""
    told = clean(repr(value), 60)
    return DataError(f"{where} holds {told} where {needed} is needed: the file was altered or badly written")


def _large(value: Any, what: str) -> int:
    """Small ones are numbers and large ones text, so that one count has one form."""
    if not isinstance(value, str):
        return checked_count(value, what)
    if not DIGITS.match(value) or not LARGEST_INTEGER < int(value) < 2**64:
        raise malformed(what, f"{value[:40]!r} is no whole number from 2^53 to 2^64 − 1")
    return int(value)


def _time(value: Any, what: str) -> Time:
    text = checked_text(value, what)
    if not is_utc_second(text):
        raise malformed(what, f"{text[:40]!r} is no UTC second such as '2026-01-31T12:00:00Z'")
    return Time(text)


def _signed_yes(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise malformed(what, "true or false is expected")
    return value


def _real(value: Any, where: str) -> float:
    """A finite number; JSON's 1e999 is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unfit(value, where, "a number")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise unfit(value, where, "a number within ±(2^53 − 1)")
    if not math.isfinite(value):
        raise unfit(value, where, "a finite number")
    return value


def _slots(value: Any, where: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(slot) is int and 0 <= slot < MOST_SLOTS for slot in value):
        raise DataError(f"{where} is no list of slots (whole numbers from 0): the file was altered")
    return tuple(cast("list[int]", value))


def _plain(needed: str, fits: Callable[[Any], bool]) -> ReadValue:
    def read(value: Any, where: str) -> Any:
        if not fits(value):
            raise unfit(value, where, needed)
        return value

    return read


SIGNED: Mapping[Any, ReadValue] = {
    str: checked_text,
    int: checked_count,
    float: read_real,
    bool: _signed_yes,
    bytes: read_digest,
    Time: _time,
    Large: _large,
}
PLAIN: Mapping[Any, ReadValue] = {
    str: _plain("a text", lambda value: isinstance(value, str)),
    int: _plain("a whole number from 0", lambda value: type(value) is int and 0 <= value <= LARGEST_INTEGER),
    float: _real,
    bool: _plain("true or false", lambda value: isinstance(value, bool)),
    Large: _plain("a whole number from 0", lambda value: type(value) is int and 0 <= value < 2**64),
    Slots: _slots,
}
