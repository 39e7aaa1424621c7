"""A plugin for pytest: the methods of the documentation, with one row each in the two tables and nothing else."""

from __future__ import annotations

from examples.own_method import SoftAscent
from examples.own_objective import CappedAscent
from tests.methods import table

import expunge.methods

expunge.methods.METHODS += (SoftAscent, CappedAscent)
table.ROWS.append(
    table.Row("soft-ascent", still=({"rate": 0.0}, {"epochs": 0}), settings={"strength": 2.0}, raises_forget_loss=True)
)
table.ROWS.append(
    table.Row("capped-ascent", still=({"rate": 0.0}, {"epochs": 0}), settings={"cap": 9.0}, raises_forget_loss=True)
)
