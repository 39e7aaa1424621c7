"""How a worst-case forget set was chosen: by what, from which model, at what cost, and whether that can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from expunge.core.values import Undecided
from expunge.records.form import Plain
from expunge.records.run_file import MethodFile
from expunge.records.scalars import Amount, Digest, Large, Name, Positive, Share, Words


@dataclass(frozen=True, kw_only=True)
class SelectionOrigin(Plain):
    """What decides a set: the same origin gives the same one. ``chooser`` is the rule with its fields.

    ``size`` counts rows, or classes where whole classes are chosen; ``beside`` names the files it was compared with,
    ``halves`` the weights of half models that it was chosen by.
    """

    chooser: MethodFile
    weights: Digest
    by: Literal["row", "class"]
    size: int
    seed: Large
    cap_per_class: Share | None = None
    heuristics: tuple[Name, ...] = ()
    beside: tuple[Digest, ...] = ()
    halves: tuple[Digest, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SelectionGuards(Plain):
    """Whether the set was chosen by what it is said to be chosen by.

    ``start`` is its overlap with what the search began with, or with a random set of the seed; ``chance`` what two
    random sets share; ``tied`` how many have the score of one that was left out. Of the weights of the search ``held``
    is the sum over the chosen and ``fractional`` how many are neither 0 nor 1; ``reach`` bounds how far two of them can
    have come towards each other; ``halved`` is how often the signed rate was. ``agreement`` is the least overlap with
    other selections by the same rule. ``undecided`` says why no row of a table may be made of the set.
    """

    tied: int
    chance: Share
    start: Share | None = None
    held: Positive | None = None
    fractional: int | None = None
    reach: Positive | None = None
    halved: int | None = None
    agreement: Share | None = None
    undecided: Words | None = None


@dataclass(frozen=True, kw_only=True)
class Overlaps(Plain):
    """Sets of equal size, this one first, and the share that each two have in common."""

    names: tuple[Name, ...]
    shares: tuple[tuple[Share, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Selection(Plain):
    """What a worst-case forget set carries beside its slots.

    It was chosen among so many ``rows``. ``value`` is what the rule looked for, on average over the set, and ``random``
    the same of random sets of its size; ``measured`` says in words what that is. ``cost`` is in example-steps.
    """

    origin: SelectionOrigin
    guards: SelectionGuards
    cost: Amount
    rows: int
    measured: Words
    value: float
    random: tuple[float, ...]
    classes: Mapping[str, int]
    overlaps: Overlaps

    @property
    def label(self) -> Undecided | None:
        """Why the set is not what it should be, if so."""
        return None if self.guards.undecided is None else Undecided(self.guards.undecided)
