"""The contract of a probe: arrays in, a figure out; it knows neither the model nor the method that made it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, final

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.values import Direction, Figure, Measurement, Undecided
from expunge.core.wording import counted
from expunge.measure.readings import SIGNALS, AnyReading
from expunge.measure.trial import Answers, Beside, Ground, Half, NoHoldout, Trial, TrialModel, Whose
from expunge.tasks.task import NotTold

NO_MARGIN = "no margin: needs how sure a model is of its answers, which of numbers is read off a holdout"
NO_CLASSES = "no classes: needs answers that are right or wrong, and the labels are numbers"
NO_HOLDOUT = "no holdout: needs rows that were never trained on, and the model was adopted without any"

Models = tuple[TrialModel, ...]


class ProbeRole(Enum):
    """What a figure is about."""

    UTILITY = "utility"
    FORGETTING = "forgetting"
    COST = "cost"
    DIAGNOSTIC = "diagnostic"


class Judging(Enum):
    """How a figure decides the trial; whatever has none is printed beside."""

    MEMORY = "memory"  # different from retraining, either way; its bound is the claim
    DISTANCE = "distance"  # farther off than retrained models are; it has no bound
    SHARE = "share"  # different, either way; bounded by the claim's share of what there was to forget
    FEATURES = "features"  # the same, of frozen layers: its bound must hold even where a trial lacks the power for it
    UTILITY = "utility"  # lower than retraining


@dataclass(frozen=True, kw_only=True)
class Probe(ABC):
    """Base of all probes.

    ``reads`` is all that it is given of a model, beside its figures of the probes that are its ``parts``. A probe that
    needs no references (``references_needed`` 0), no witnesses and not the original looks at the model and the trial's
    rows alone.

    What costs more than a forward pass is measured where somebody asks for it: by the name in ``asked``.
    """

    name: ClassVar[str]
    role: ClassVar[ProbeRole]
    direction: ClassVar[Direction] = Direction.MATCH
    scale: ClassVar[str] = "fraction"
    judging: ClassVar[Judging | None] = None
    references_needed: ClassVar[int] = 0
    witnesses_needed: ClassVar[int] = 0
    original_needed: ClassVar[bool] = False
    halves_needed: ClassVar[bool] = False
    asked: ClassVar[str | None] = None
    untold: ClassVar[str | None] = None  # why of some models there is nothing to read; a signal is lacking unless said
    reads: ClassVar[tuple[AnyReading, ...]] = (SIGNALS,)
    parts: ClassVar[tuple[Probe, ...]] = ()

    @abstractmethod
    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        """The figure of one model, beside the references without itself, witnesses and original, where needed."""

    def unfit(self, own: Answers, ground: Ground) -> str | None:
        """Why its rows cannot tell, whatever is trained; None where they can."""
        return None

    def remark(self, unlearned: Figure) -> str | None:
        """What everybody must be told who reads this figure of an unlearned run, if anything."""
        return None

    @final
    def measure(self, model: TrialModel, trial: Trial) -> Figure:
        """The sealed call: what cannot be measured is said before anything is computed, and nothing twice."""
        if self.role is ProbeRole.COST:  # equal weights may have cost different
            return self._measure(model, trial)
        digests = tuple(tuple(one.weights_digest for one in models) for models in self._beside(model, trial))
        key = (self, trial.ground.digest, model.weights_digest, digests)
        if key not in trial.figures:
            trial.figures[key] = self._measure(model, trial)
        return trial.figures[key]

    def _beside(self, model: TrialModel, trial: Trial) -> tuple[Models, Models, tuple[Half, ...], Models]:
        """Other references, witnesses, half models and the original, as far as they are needed."""
        return (
            tuple(one for one in trial.references if one is not model) if self.references_needed else (),
            trial.witnesses if self.witnesses_needed else (),
            trial.halves if self.halves_needed else (),
            (trial.original,) if self.original_needed else (),
        )

    def _measure(self, model: TrialModel, trial: Trial) -> Figure:
        others, witnesses, halves, original = self._beside(model, trial)
        if not model.answers.finite.issuperset((SIGNALS, *self.reads)):
            return Undecided("the model's outputs are not finite: needs finite weights and inputs")
        if self.role is ProbeRole.FORGETTING and (reason := trial.ground.unfit()) is not None:
            return Undecided(reason)

        def given(one: TrialModel) -> Answers:
            return one.answers.only(self.reads, {part: part.measure(one, trial) for part in self.parts})

        try:
            own = given(model)
            if (reason := self.unfit(own, trial.ground)) is not None:
                return Undecided(reason)
            if len(others) < self.references_needed:
                return self.lacking(len(others))
            if len(witnesses) < self.witnesses_needed:
                return Undecided(f"needs {self.witnesses_needed} witness, has {len(witnesses)}")
            if not all(one.answers.finite.issuperset(self.reads) for one in (*others, *witnesses, *halves, *original)):
                return Undecided("another model's outputs are not finite: needs finite weights and inputs")
            before = [given(one) for one in original]
            beside = Beside(tuple(map(given, others)), tuple(map(given, witnesses)), next(iter(before), None), halves)
            found = self.value(own, beside, trial.ground)
        except NoHoldout:
            return Undecided(NO_HOLDOUT)
        except NotTold as missing:
            return Undecided(self.untold or (NO_MARGIN if missing.args == ("margin",) else NO_CLASSES))
        if not isinstance(found, Measurement | Undecided):
            raise InvalidArgument(
                f"probe {self.name!r} answered {found!r:.60}: it must be a Measurement with its interval, or "
                "Undecided with the reason"
            )
        return found

    @final
    def lacking(self, others: int) -> Undecided:
        """What is said where there are so few other references."""
        return Undecided(f"needs {counted(self.references_needed, 'other reference')}, has {others}")

    def unit(self, references: tuple[Answers, ...]) -> float | None:
        """What one unit means where it is not 1; None where it is."""
        return None


@dataclass(frozen=True, kw_only=True)
class Diagnostic(Probe):
    """Base of what says how models differ inside and nothing of what they know: by its type it decides nothing."""

    role = ProbeRole.DIAGNOSTIC

    def __init_subclass__(cls) -> None:
        if cls.judging is not None or cls.role is not ProbeRole.DIAGNOSTIC:
            raise InvalidArgument(f"diagnostic {cls.__name__} has a role or a judging of its own: it decides nothing")


def few_rows(ground: Ground, half: np.ndarray, needed: int) -> str | None:
    """Why a half of the holdout has too few rows, if so."""
    if not ground.count(Whose.HOLDOUT):
        return NO_HOLDOUT
    if len(half) < needed:
        return f"needs {needed} rows in its half of the holdout, has {len(half)}"
    return None


def readings_of(probes: Sequence[type[Probe]]) -> tuple[AnyReading, ...]:
    """All that some probes read; a task's signals always, which guards look at."""
    return tuple(dict.fromkeys((SIGNALS, *(reading for probe in probes for reading in probe.reads))))
