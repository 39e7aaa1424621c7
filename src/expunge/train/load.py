"""``load``: open a finished run by its folder."""

from __future__ import annotations

from pathlib import Path

from expunge.train.run import Run


def load(path: Path | str) -> Run:
    """Open a finished run; anything missing or altered is refused in one sentence."""
    return Run.open(path)
