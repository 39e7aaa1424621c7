"""What time it is, as records write it: a second in UTC such as ``2026-01-31T12:00:00Z``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

FORM = "%Y-%m-%dT%H:%M:%SZ"
WRITTEN = "2026-11-01T00:00:00Z"  # this version is younger: a clock that shows less is wrong
SECOND = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")


def utc_now() -> str:
    """The current second by this machine's clock."""
    return datetime.now(UTC).strftime(FORM)


def is_utc_second(text: str) -> bool:
    """Whether this is a second that exists, written in this one way."""
    if not SECOND.match(text):
        return False
    try:
        return datetime.strptime(text, FORM).strftime(FORM) == text
    except ValueError:
        return False


@dataclass(frozen=True, order=True)
class Time:
    """A second in UTC, as somebody's clock told it."""

    text: str

    @classmethod
    def now(cls) -> Time:
        return cls(utc_now())

    @classmethod
    def at(cls, seconds: int) -> Time:
        """Seconds since 1970."""
        return cls(datetime.fromtimestamp(seconds, UTC).strftime(FORM))

    @property
    def seconds(self) -> int:
        """Seconds since 1970."""
        return int(datetime.strptime(self.text, FORM).replace(tzinfo=UTC).timestamp())

    def __str__(self) -> str:
        return self.text
