"""How much nearer than the original a model is to twins that never saw some rows: 1 = as far away, above it worse.

Everything is read off bounded margins ψ and the share of the forgotten rows that is right. Two twins were trained
without the rows; what both say together is free of the noise of either. Two more, trained with them under seeds of
their own, say in which direction remembering lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.arrays import Array

FORGET, RETAIN, CALIBRATION = PARTS = ("forget", "retain", "calibration")
ACCURACY, MEMORY = "accuracy", "memory"
NOISES = 2.0  # of twins: what the original lies off no further tells nothing apart


@dataclass(frozen=True, eq=False)
class RowsAnswered:
    """Of one model, by part: bounded margins, and the share of rows that is right."""

    margins: Mapping[str, Array]
    right: Mapping[str, float]

    @property
    def known(self) -> float:
        """How many of the rows to forget it has right."""
        return self.right[FORGET]


@dataclass(frozen=True, eq=False)
class TwinScale:
    """A scale from the original (1) towards retraining; ``own`` twins never saw the rows to forget, ``others`` did.

    ``noise`` is the variance of one more training, row by row on average, in each part; ``others_noise`` that of the
    others on the rows to forget. ``left_out`` names terms that tell nothing here, and why.
    """

    original: RowsAnswered
    own: tuple[RowsAnswered, ...]
    others: tuple[RowsAnswered, ...]
    noise: Mapping[str, float]
    others_noise: float
    left_out: Mapping[str, str]

    @classmethod
    def of(cls, original: RowsAnswered, own: Sequence[RowsAnswered], others: Sequence[RowsAnswered] = ()) -> TwinScale:
        """From two twins at least that never saw the rows, and none or two at least that did."""
        if len(own) < 2 or len(others) == 1:
            raise InvalidArgument(f"{len(own)} and {len(others)} twins: a scale needs two of each, or no others")
        noise = {part: _variance([one.margins[part] for one in own]) for part in PARTS}
        others_noise = _variance([one.margins[FORGET] for one in others]) if others else 0.0
        found = cls(original, tuple(own), tuple(others), noise, others_noise, {})
        return replace(found, left_out=found._blind())

    def _blind(self) -> Mapping[str, str]:
        """Terms whose measure lies within two noises of twins."""
        found: dict[str, str] = {}
        if (far := self._far(self.original, FORGET)) <= (noise := NOISES * float(np.sqrt(self.noise[FORGET]))):
            found[FORGET] = f"the original lies {far:.3g} from the twins, within twice their noise ({noise:.3g})"
        if not self.others:
            found[ACCURACY] = found[MEMORY] = "there are no twins that saw the rows"
        else:
            apart = abs(_known(self.others) - _known(self.own))
            luck = NOISES * float(np.sqrt(2.0) * np.std([one.known for one in self.own], ddof=1))  # 2 |a − b| of two
            if apart <= luck:
                found[ACCURACY] = f"having seen the rows makes {apart:.3g} of accuracy, within twin noise ({luck:.3g})"
            far = float(np.sqrt(max(0.0, self._memory)))
            noise = NOISES * float(np.sqrt(max(self.noise[FORGET], self.others_noise)))
            if far <= noise:
                found[MEMORY] = f"having seen the rows moves answers by {far:.3g}, within twin noise ({noise:.3g})"
        alike = "the twins answer every row of it alike: they have no noise to measure in"
        return found | {part: alike for part in (RETAIN, CALIBRATION) if not self.noise[part]}

    @property
    def nothing(self) -> str | None:
        """Why there is nothing to forget on this scale, if so."""
        return self.left_out.get(FORGET)

    @property
    def retrained(self) -> float:
        """What one honest retraining comes to on the rows to forget: √(N_P / D²_P(o)), on the scale of scores."""
        return float(np.sqrt(self.noise[FORGET])) / self._far(self.original, FORGET) / self._most

    def terms(self, model: RowsAnswered) -> dict[str, float]:
        """The terms of a model's score, the largest of which counts: 1 is the original's."""
        most = self._most
        return {name: value / most for name, value in self._terms(model).items()}

    def score(self, model: RowsAnswered) -> float:
        """1 = doing nothing."""
        return max(self.terms(model).values())

    def spread(self, model: RowsAnswered) -> float:
        """Standard deviation of the score over pairings of one twin that never saw the rows with one that did."""
        seen = [(other,) for other in self.others] or [()]
        pairs = [replace(self, own=(one,), others=others) for one in self.own for others in seen]
        return float(np.std([pair.score(model) for pair in pairs], ddof=1))

    @property
    def _most(self) -> float:
        """m(o)."""
        return max(self._terms(self.original).values())

    def _terms(self, model: RowsAnswered) -> dict[str, float]:
        """Each against what the original, or having seen the rows, makes of it."""
        far = self._far(self.original, FORGET)
        found = {FORGET: (self._far(model, FORGET), far)}
        if self.others:
            own, seen = _known(self.own), _known(self.others)
            found[ACCURACY] = abs(model.known - own), abs(seen - own)
            found[MEMORY] = abs(self._along(model)), self._memory
        scale = self._beyond(self.original, FORGET) if self.noise[FORGET] else np.inf
        found |= {part: (self._beyond(model, part), scale) for part in (RETAIN, CALIBRATION) if self.noise[part]}
        kept = {name: pair for name, pair in found.items() if name not in self.left_out and pair[1] > 0}
        return {name: value / whole for name, (value, whole) in kept.items()}

    def _squared(self, model: RowsAnswered, part: str) -> float:
        """D²: squared distance from the twins' mean, free of their noise; may fall below 0 by chance."""
        own = model.margins[part]
        return float(np.mean([np.mean((own - twin.margins[part]) ** 2) for twin in self.own])) - self.noise[part]

    def _far(self, model: RowsAnswered, part: str) -> float:
        return float(np.sqrt(max(0.0, self._squared(model, part))))

    def _beyond(self, model: RowsAnswered, part: str) -> float:
        """h: how many noises beyond one more training a model lies."""
        return float(np.sqrt(max(0.0, self._squared(model, part) / self.noise[part] - 1.0)))

    def _along(self, model: RowsAnswered) -> float:
        """How far a model lies in the direction of remembering, times how long that is; free of twins' noise."""
        seen = np.mean([one.margins[FORGET] for one in self.others], axis=0)
        off = [(model.margins[FORGET] - one.margins[FORGET]) * (seen - one.margins[FORGET]) for one in self.own]
        return float(np.mean(off)) - self.noise[FORGET]

    @property
    def _memory(self) -> float:
        """Squared length of the direction of remembering, free of twins' noise."""
        apart = [(seen.margins[FORGET] - own.margins[FORGET]) ** 2 for seen in self.others for own in self.own]
        return float(np.mean(apart)) - self.noise[FORGET] - self.others_noise


def _variance(margins: Sequence[Array]) -> float:
    return float(np.var(np.stack(margins), axis=0, ddof=1).mean())


def _known(twins: Sequence[RowsAnswered]) -> float:
    return float(np.mean([one.known for one in twins]))
