"""A plugin for pytest: the method of the documentation, with one row in each of the two tables and nothing else."""

from __future__ import annotations

from examples.own_method import SoftAscent
from tests.methods import table

import expunge.methods

expunge.methods.METHODS += (SoftAscent,)
table.ROWS.append(
    table.Row("soft-ascent", still=({"rate": 0.0}, {"epochs": 0}), settings={"strength": 2.0}, raises_forget_loss=True)
)
