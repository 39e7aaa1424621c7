"""What a rehearsal compares: at whom, and on which set."""

from __future__ import annotations

from enum import Enum


class TuningMode(Enum):
    """What is aimed at: twins of a rehearsal, or references of the very request, which can only refute."""

    REHEARSAL = "rehearsal"
    ORACLE = "oracle"


class TuningStage(Enum):
    """On the first pseudo-forget set fields are chosen, on the second it is checked that they carry over."""

    CHOICE = "choice"
    TRANSFER = "transfer"
