"""Reading values that others wrote: every step names where it is, every surprise is one sentence."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError
from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json
from expunge.core.wording import LONGEST_NAME, LONGEST_TEXT, clean, without_places

MOST_ITEMS = 2000
LARGEST_AMOUNT = 1e18
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class Entry:
    """A value of a JSON file, and where it stands there."""

    value: Any
    where: str

    def _refuse(self, needed: str) -> DataError:
        shown = clean(repr(self.value), 60)
        return DataError(f"{self.where} holds {shown} where {needed} is needed: the file was altered or badly written")

    def __getitem__(self, name: str) -> Entry:
        """A member that must be there."""
        if not isinstance(self.value, dict):
            raise self._refuse("an object")
        if name not in self.value:
            raise DataError(f"{self.where} has no {name!r}: the file was altered or another version wrote it")
        return Entry(self.value[name], f"{self.where} {name}")

    def optional(self, name: str) -> Entry | None:
        """A member that may be absent or null."""
        if not isinstance(self.value, dict):
            raise self._refuse("an object")
        found = self.value.get(name)
        return None if found is None else Entry(found, f"{self.where} {name}")

    def __iter__(self) -> Iterator[Entry]:
        """The items of a list."""
        if not isinstance(self.value, list):
            raise self._refuse("a list")
        if len(self.value) > MOST_ITEMS:
            raise DataError(
                f"{self.where} lists {len(self.value)} entries, at most {MOST_ITEMS} are ever written: it was altered"
            )
        return (Entry(item, f"{self.where} [{index}]") for index, item in enumerate(self.value))

    def items(self) -> dict[str, Any]:
        """All members, as they are."""
        if not isinstance(self.value, dict):
            raise self._refuse("an object")
        return dict(self.value)

    def text(self, longest: int = LONGEST_TEXT) -> str:
        if not isinstance(self.value, str):
            raise self._refuse("a text")
        return clean(self.value, longest)

    def name(self) -> str:
        """A short text that cannot be empty."""
        if not isinstance(self.value, str) or not self.value or len(self.value) > LONGEST_NAME:
            raise self._refuse(f"a name of 1 to {LONGEST_NAME} characters")
        return clean(self.value)

    def remark(self) -> str:
        """A text that a program wrote: paths of the machine are cut short."""
        return without_places(self.text())

    def one_of(self, *words: str) -> str:
        if self.value not in words:
            raise self._refuse(f"one of {', '.join(words)}")
        return str(self.value)

    def digest(self) -> str:
        if not isinstance(self.value, str) or not DIGEST.match(self.value):
            raise self._refuse("a digest of 64 hexadecimal digits")
        return self.value

    def yes(self) -> bool:
        if not isinstance(self.value, bool):
            raise self._refuse("true or false")
        return self.value

    def count(self) -> int:
        if type(self.value) is not int or not 0 <= self.value < 2**53:
            raise self._refuse("a whole number from 0")
        return self.value

    def real(self) -> float:
        """A finite number; JSON's 1e999 is none."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self._refuse("a number")
        if isinstance(self.value, int) and abs(self.value) >= 2**53:
            raise self._refuse("a number within ±(2^53 − 1)")
        if not math.isfinite(self.value):
            raise self._refuse("a finite number")
        return float(self.value)

    def amount(self) -> float:
        """Work or time."""
        return self.between(0, LARGEST_AMOUNT)

    def between(self, low: float, high: float) -> float:
        found = self.real()
        if not low <= found <= high:
            raise self._refuse(f"a number from {low:g} to {high:g}")
        return found


def read_entry(path: Path, what: str, shown: str) -> Entry:
    """A JSON file that must be there; ``shown`` names it in errors."""
    content = read_bytes(path, what)
    try:
        return Entry(parse_json(content), shown)
    except DataError as error:
        raise DataError(f"{shown}: {error}") from None
    except ValueError:  # an integer of thousands of digits
        raise DataError(f"{shown}: not readable as JSON (a number of too many digits): the file was altered") from None
