"""What a rehearsal compares: at whom, on which set, and on which rows."""

from __future__ import annotations

from enum import Enum


class TuningMode(Enum):
    """What is aimed at: a twin of a rehearsal, or the reference of the very request, which can only refute."""

    REHEARSAL = "rehearsal"
    ORACLE = "oracle"


class TuningStage(Enum):
    """On the first pseudo-forget set fields are chosen, on the second it is checked that they carry over."""

    CHOICE = "choice"
    TRANSFER = "transfer"


class TuningPart(Enum):
    """Where a model is compared with its twin."""

    FORGET = "forget"
    RETAIN = "retain"
    CALIBRATION = "calibration"
