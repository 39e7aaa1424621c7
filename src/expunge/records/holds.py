"""What a file holds of forgotten rows and how that ends: every document and every binary layout declares it.

A state holds a row from the first step that the row sat in: every step after it depends on it, in the weights, in the
optimiser's moments and in running statistics alike. Before that step nothing of it is there, so such states may stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Remedy(Enum):
    """What ends it."""

    REMOVE = "remove"  # the file goes
    CUT = "cut"  # the file is cut to its first bytes, which came before the first touched step
    REDACT = "redact"  # the list of a document that shows rows is emptied, the rest stays
    SALTS = "salts"  # the salts of these rows are overwritten
    LEFTOVER = "leftover"  # what a killed process left of a salt file is overwritten and removed
    OWNER = "owner"  # not ours to touch: whoever owns it removes it


class Held(Enum):
    """What of a row may stand in a file."""

    NOTHING = "nothing"
    ROWS = "rows"  # what was read off rows themselves
    STATES = "states"  # what came of the steps that rows sat in, from the first of them on
    SUMS = "sums"  # what rows were added to, and are subtracted from by the run that forgets them


@dataclass(frozen=True, kw_only=True)
class Holds:
    """``what`` and ``why`` stand in lists; {shard}, {step} and {name} are what the file's name says.

    ``shown`` is the one list of a document whose entries are rows, each a slot or an object with one.
    """

    held: Held
    remedy: Remedy = Remedy.REMOVE
    what: str = ""
    why: str = ""
    shown: str | None = None


NOTHING = Holds(held=Held.NOTHING)


def rows(what: str, why: str, *, remedy: Remedy = Remedy.REMOVE) -> Holds:
    """A file that was read off rows, and goes as a whole."""
    return Holds(held=Held.ROWS, what=what, why=why, remedy=remedy)


def listed(what: str, why: str, shown: str) -> Holds:
    """A document whose list ``shown`` is of rows; all else in it may stay."""
    return Holds(held=Held.ROWS, what=what, why=why, shown=shown, remedy=Remedy.REDACT)


def states(what: str, why: str = "", *, remedy: Remedy = Remedy.REMOVE) -> Holds:
    """A file that holds rows from the first step that they sat in."""
    return Holds(held=Held.STATES, what=what, why=why, remedy=remedy)


def sums(what: str) -> Holds:
    """A file of sums over the rows that its run holds."""
    return Holds(held=Held.SUMS, what=what, why="they are summed in it")


@dataclass(frozen=True)
class Named:
    """A file by its name inside its folder; ``shard`` and ``step`` are None where it is of all of them."""

    name: str
    holds: Holds
    shard: int | None = None
    step: int | None = None

    @property
    def what(self) -> str:
        """What a list calls it."""
        stem = self.name.rpartition("/")[2].partition(".")[0]
        return self.holds.what.format(shard=self.shard, step=self.step, name=stem)


class Layout:
    """Files of one kind that are no documents: a pattern of their names inside ``folder``, and what they hold."""

    def __init__(self, pattern: str, holds: Holds, folder: str = "") -> None:
        self.folder = folder
        self.holds = holds
        self._pattern = re.compile(pattern + r"\Z")

    def named(self, name: str) -> Named | None:
        """The file of that name, if it is one of these."""
        folder, _, inner = name.rpartition("/")
        found = self._pattern.match(inner) if folder == self.folder else None
        if found is None:
            return None
        told = found.groupdict()
        return Named(name, self.holds, *(int(told[part]) if told.get(part) else None for part in ("shard", "step")))
