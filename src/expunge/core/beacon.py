"""The beacon: a value that nobody could know when the data were committed; recipe, root and beacon give the seed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.core.clock import is_utc_second, utc_now
from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json
from expunge.core.streams import ZERO_BEACON

BYTES = 32
HEX = re.compile(r"[0-9a-fA-F]{64}\Z")
LONGEST_SOURCE = 200  # characters
LARGEST_ROUND = 2**53 - 1
LARGEST_FILE = 64 * 1024
NO_SOURCE, GIVEN = "zero", "given"
FIELDS = ("source", "value", "round", "not_before")


@dataclass(frozen=True, kw_only=True)
class Beacon:
    """A value and where it is from. ``not_before`` is the UTC second at which it became public, as its source says.

    Without one, 32 zero bytes stand in its place: then the owner could have tried schedules before training.
    """

    value: bytes = ZERO_BEACON
    source: str = NO_SOURCE
    round: int | None = None
    not_before: str | None = None

    def __post_init__(self) -> None:
        if len(self.value) != BYTES:
            raise InvalidArgument(f"a beacon of {len(self.value)} bytes is none: it has {BYTES}, all from its source")
        if self.is_zero and (self.source, self.round, self.not_before) != (NO_SOURCE, None, None):
            raise InvalidArgument("a beacon of zeros is what a run has without one: leave it out")
        if not self.is_zero and self.source == NO_SOURCE:
            raise InvalidArgument(f"the source {NO_SOURCE!r} stands for no beacon at all: name where the value is from")
        if not 0 < len(self.source) <= LONGEST_SOURCE or not self.source.isprintable():
            raise InvalidArgument(
                f"beacon source {self.source[:40]!r} must be 1 to {LONGEST_SOURCE} printable characters: name where "
                "the value is from"
            )
        if self.round is not None and (type(self.round) is not int or not 0 <= self.round <= LARGEST_ROUND):
            raise InvalidArgument(f"beacon round {self.round!r} must be a whole number from 0 to 2^53 − 1, or left out")
        if self.not_before is not None and not is_utc_second(self.not_before):
            raise InvalidArgument(
                f"beacon not_before {self.not_before[:40]!r} must be a second in UTC such as '2026-01-31T12:00:00Z'"
            )

    @property
    def is_zero(self) -> bool:
        return self.value == ZERO_BEACON

    @property
    def note(self) -> str:
        """What it protects from, as run.json and pages say it."""
        if self.is_zero:
            return "zero beacon: schedule not protected against grinding"
        origin = "beacon given" if self.source == GIVEN else f"beacon from {self.source}"
        number = "" if self.round is None else f", round {self.round}"
        since = "" if self.not_before is None else f", not before {self.not_before}"
        return f"{origin}{number}{since}"

    def as_json(self) -> dict[str, Any]:
        """Not by the form, which lies in ``records``, above this folder."""
        return {
            "source": self.source,
            "value": self.value.hex(),
            "round": self.round,
            "not_before": self.not_before,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Beacon:
        """Read back what ``as_json`` wrote; ``round`` and ``not_before`` may be missing.

        Not by the form, which lies above: people write this file too, and its refusals name the fields that it has.
        """
        odd = sorted((set(value) - set(FIELDS)) | ({"source", "value"} - set(value)))
        if odd:
            raise DataError(f"beacon fields {odd} are unknown or missing: it has {', '.join(FIELDS)}")
        for name, kinds in (("source", str), ("value", str), ("round", int | None), ("not_before", str | None)):
            found = value.get(name)
            if not isinstance(found, kinds) or isinstance(found, bool):
                raise DataError(f"beacon field {name} holds {found!r:.60}: it is of another type")
        if not HEX.match(value["value"]):
            raise DataError(f"beacon value {value['value'][:70]!r} must be 64 hexadecimal digits")
        return cls(
            value=bytes.fromhex(value["value"]),
            source=value["source"],
            round=value.get("round"),
            not_before=value.get("not_before"),
        )


ZERO = Beacon()


def read_beacon(given: str | Path) -> Beacon:
    """64 hexadecimal digits, taken to be public from this second on, or a JSON file that says more."""
    if isinstance(given, str) and HEX.match(given):
        return Beacon(value=bytes.fromhex(given), source=GIVEN, not_before=utc_now())
    if not Path(given).is_file():
        raise InvalidArgument(
            f"beacon {str(given)[:80]!r} is neither 64 hexadecimal digits nor a JSON file: give one of them"
        )
    try:
        found = parse_json(read_bytes(Path(given), "the beacon"), largest=LARGEST_FILE)
        if not isinstance(found, dict):
            raise DataError(f"it must be an object with {', '.join(FIELDS)}")
        return Beacon.from_json(found)
    except RunError:
        raise
    except ExpungeError as error:
        raise InvalidArgument(f"the beacon in {given} cannot be used: {error}") from None
