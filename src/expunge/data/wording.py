"""What others' errors say, fit for a sentence of ours."""

from __future__ import annotations

LONGEST = 200


def one_line(error: BaseException) -> str:
    """The message without line breaks, cut where it is long; the error's name where it says nothing."""
    return " ".join(str(error).split())[:LONGEST] or type(error).__name__
