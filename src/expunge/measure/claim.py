"""What a verdict is about: how much of the memory of the forget set may be left, at most."""

from __future__ import annotations

import re
from dataclasses import dataclass

from expunge.core.errors import InvalidArgument

LEAST, MOST = 0.10, 0.50
CLAIM = re.compile(r"at-most:(\d{1,2}(?:\.\d+)?)%\Z")


@dataclass(frozen=True)
class Claim:
    """``share`` of the memory may be left; a tenth is called indistinguishable from retraining."""

    share: float

    def __str__(self) -> str:
        return "indistinguishable" if self.share == LEAST else f"at-most:{100 * self.share:g}%"

    @classmethod
    def of(cls, text: str) -> Claim:
        """Read it back, or from whoever asks for it."""
        if text == "indistinguishable":
            return cls(LEAST)
        found = CLAIM.match(text) if isinstance(text, str) else None
        share = float(found.group(1)) / 100 if found else 0.0
        if not LEAST < share <= MOST:
            raise InvalidArgument(
                f"`claim` {text!r:.60} must be indistinguishable, or at-most:P% with P above {100 * LEAST:g} and up to "
                f"{100 * MOST:g}"
            )
        return cls(share)


CLAIMS = (Claim(LEAST), Claim(0.25), Claim(MOST))


def strongest(smallest: float) -> Claim:
    """The strongest claim whose share a trial can bound; the weakest if it can bound none."""
    return next((claim for claim in CLAIMS if claim.share >= smallest), CLAIMS[-1])
