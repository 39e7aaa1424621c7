"""What half models say of a row, against loops."""

from __future__ import annotations

import numpy as np
import pytest
from tests.conftest import Refused

from expunge.core.errors import InvalidArgument
from expunge.core.selection.halves import memorised


def test_the_score_by_hand() -> None:
    random = np.random.default_rng(2)
    margins, inside = random.normal(size=(8, 15)), np.zeros((8, 15), dtype=bool)
    for row in range(15):
        inside[random.permutation(8)[: 2 + row % 5], row] = True
    gap, spread = np.zeros(15), np.zeros(15)
    for row in range(15):
        ins, outs = margins[inside[:, row], row], margins[~inside[:, row], row]
        gap[row] = ins.mean() - outs.mean()
        squares = ((ins - ins.mean()) ** 2).sum() + ((outs - outs.mean()) ** 2).sum()
        spread[row] = np.sqrt(squares / (len(ins) + len(outs) - 2))
    expected = gap / np.sqrt(spread**2 + 0.25 * np.median(spread) ** 2)
    np.testing.assert_allclose(memorised(margins, inside), expected, rtol=1e-12)


@pytest.mark.parametrize("members", [1, 7])
def test_too_few_on_a_side(members: int, refused: Refused) -> None:
    inside = np.zeros((8, 3), dtype=bool)
    inside[:4, :2] = True
    inside[:members, 2] = True
    with refused(InvalidArgument, "1 of 3 rows", "fewer than 2 of 8 half models", "32 are usual"):
        memorised(np.zeros((8, 3)), inside)
