"""Looks at a model on its way to forget: what each asks and costs, how far the weights may go, and where to stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from expunge.core.statistics import stopping
from expunge.core.statistics.stopping import LOOKS, StopLook
from expunge.core.streams import stable_order
from expunge.methods.contract import Given
from expunge.methods.impair_repair import labels_of
from expunge.tasks.gradients import learnt_parameters
from expunge.train.answers import signals
from expunge.train.examples import Examples


@dataclass(frozen=True, eq=False)
class LookRows:
    """What every look asks: forgotten rows, as many calibration rows of the same classes, and retained rows."""

    given: Given
    forgotten: np.ndarray
    matched: np.ndarray
    classes: np.ndarray  # of the matched rows
    retained: np.ndarray

    @classmethod
    def of(cls, given: Given, retained: np.ndarray) -> LookRows:
        """Pairs of one class each: as many as there are and a look takes, one at least of every class that has one."""
        ours, rows = given.forget, given.calibration.readable
        labels, others = labels_of(given.examples, ours), labels_of(given.calibration, rows)
        paired = [given.sample(ours[labels == one], int((others == one).sum())) for one in np.unique(labels)]
        firsts, pool = np.concatenate([one[:1] for one in paired]), np.concatenate(paired)
        further = given.sample(np.setdiff1d(pool, firsts), stopping.MOST - len(firsts))
        chosen = np.union1d(firsts, further)
        wanted = labels[np.isin(ours, chosen)]
        order = stable_order(given.stream("calibration").words(len(rows)))
        places = np.sort(
            np.concatenate([order[others[order] == one][: int((wanted == one).sum())] for one in np.unique(labels)])
        )
        return cls(given, chosen, rows[places], others[places], retained)

    @property
    def judges(self) -> bool:
        """Whether there are rows enough for the stop rule."""
        return len(self.forgotten) >= stopping.FEWEST

    @property
    def thirds(self) -> int:
        """What one look costs; nothing where none is taken."""
        return len(self.forgotten) + len(self.matched) + len(self.retained) if self.judges else 0

    def ask(self, model: nn.Module, examples: Examples, rows: np.ndarray) -> Mapping[str, np.ndarray]:
        """What a model answers to some rows, paid for."""
        self.given.meter.forwards(len(rows))
        return signals(self.given.recipe, model, examples, rows)

    def look(self, model: nn.Module, matched: Mapping[str, np.ndarray] | None = None) -> StopLook:
        """One look; what the model answers to the matched rows may be known already."""
        given = self.given
        forgotten, retained = (self.ask(model, given.examples, rows) for rows in (self.forgotten, self.retained))
        return stopping.look(forgotten, matched or self.ask(model, given.calibration, self.matched), retained)


class Region:
    """A ball around the original's weights, and the way from these to where a student has come."""

    def __init__(self, student: nn.Module, radius: float) -> None:
        self._learnt = learnt_parameters(student)
        self._origin = [parameter.detach().clone() for parameter in self._learnt]
        self.norm = length(self._origin)
        self.reach = radius * self.norm

    def gone(self) -> list[torch.Tensor]:
        """How every parameter has changed."""
        return [now.detach() - was for now, was in zip(self._learnt, self._origin, strict=True)]

    @torch.no_grad()
    def place(self, change: Sequence[torch.Tensor], share: float) -> None:
        """Go to the original's weights plus a share of a change."""
        for parameter, was, part in zip(self._learnt, self._origin, change, strict=True):
            parameter.copy_(was + share * part)

    def hold(self, _: object = None) -> None:
        """Shorten a change that leads out of the ball."""
        change = self.gone()
        far = length(change)
        if far > self.reach:
            self.place(change, self.reach / far)


@dataclass(frozen=True, eq=False)
class Steering:
    """Where to end, by looks spread evenly over the steps or, where ``line`` is set, along the change after the last.

    It remembers nothing, so that a killed run goes on as if it had not been: looks follow from the number of steps.
    """

    ground: LookRows
    region: Region
    student: nn.Module
    first: StopLook
    total: int
    line: bool

    @property
    def marks(self) -> list[int]:
        """After how many steps looks are taken; in a line search all of them after the last."""
        if self.line:
            return [self.total] * (LOOKS - 1)
        return sorted({-(-number * self.total // (LOOKS - 1)) for number in range(1, LOOKS)})

    def stop(self, done: int) -> str | None:
        """The reason to end after so many steps; looks still to come are held back from the budget."""
        meter, left = self.ground.given.meter, sum(mark > done for mark in self.marks)
        meter.kept = left * self.ground.thirds
        if done not in self.marks:
            return None
        if self.line:
            return self.search()
        look = self.ground.look(self.student)
        if look.passes(self.first):
            return passed(look)
        if look.harder:
            return self.back(left)
        return None if left else undecided("no look passed", look)

    def search(self) -> str:
        """Farther and farther along the change, up to the edge of the region."""
        change = self.region.gone()
        far, best, look = length(change), 0.0, self.first
        for number in range(1, LOOKS) if far else ():
            share = number / (LOOKS - 1) * self.region.reach / far
            self.region.place(change, share)
            found = self.ground.look(self.student)
            if found.passes(self.first):
                return passed(found)
            if found.harder or not found.keeps(self.first):
                break
            best, look = share, found
        self.region.place(change, best)
        return undecided("no look passed", look)

    def back(self, left: int) -> str:
        """Half the way back, and again, until forgotten rows are not answered worse than matched ones."""
        change, why = self.region.gone(), "forgotten rows came to be answered worse than matched ones"
        for halving in range(1, left + 1):
            self.region.place(change, 0.5**halving)
            found = self.ground.look(self.student)
            if found.passes(self.first):
                return passed(found)
            if not found.harder:
                return undecided(why, found)
        self.region.place(change, 0.0)
        return undecided(why, self.first)


def passed(look: StopLook) -> str:
    """Why it ended, where the rule says so."""
    return f"the stop rule passed: {look}"


def undecided(reason: str, look: StopLook) -> str:
    """Why it ended, where nothing is decided, and what the model that is left looks like."""
    right = (
        f"{look.forgotten:.3f} of forgotten, {look.matched:.3f} of matched, {look.retained:.3f} of retained rows right"
    )
    return f"Undecided({reason}): {look}, {right}"


def length(tensors: Sequence[torch.Tensor]) -> float:
    """Of all tensors as one vector."""
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in tensors])))
