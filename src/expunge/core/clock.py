"""What time it is, as records write it: a second in UTC such as ``2026-01-31T12:00:00Z``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

FORM = "%Y-%m-%dT%H:%M:%SZ"
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
