"""Attacks choose forget sets; they touch no record and know neither methods nor probes. ``ATTACKS`` is the table."""

from __future__ import annotations

from collections.abc import Mapping

from expunge.attacks.contract import Chooser
from expunge.attacks.worst_distant import Distant
from expunge.attacks.worst_heuristics import EarlyError, Moderate, OriginalLoss
from expunge.attacks.worst_hidden import Hidden

ATTACKS: Mapping[str, type[Chooser]] = {one.name: one for one in (Hidden, Distant, OriginalLoss, EarlyError, Moderate)}

__all__ = ["ATTACKS", "Chooser"]
