"""What came of carrying a recipe out."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Carried:
    """Models by shard (None where nobody is left) and the work that was done for them here.

    Of an accumulated model ``sums`` is the digest of what was summed.
    """

    members: list[nn.Module | None]
    thirds: int
    seconds: float
    row_sums: int | None = None
    sums: str | None = None
    notices: tuple[str, ...] = ()
