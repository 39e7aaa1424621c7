"""Runs of the same data that were committed anew: by another split or salts they have another root, and the same rows.

Rows are told by their places in the source. Two commitments of as many rows are of the same rows where they name the
same source, or where leaves that depend on the same content agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.data.commitment import Commitment
from expunge.data.dataset import Dataset
from expunge.data.splits import SPLITS, Split
from expunge.hygiene.data_rows import SOURCE, read_again
from expunge.hygiene.holdings import Holding, holdings_of
from expunge.hygiene.places import Kinship, Place, forgotten_rows, lives_on
from expunge.records.holds import Remedy
from expunge.train.run import Run

ELSEWHERE = "under another commitment: forget them there with `expunge unlearn`, then run hygiene of what that makes"


@dataclass(frozen=True)
class Agreement:
    """How many leaves of two commitments can be compared, and how many of them agree; none where salts differ."""

    compared: int
    equal: int


def same_data(
    found: Run, strangers: list[Run], data: str | Dataset | None, salts: Path | None, unclear: list[str]
) -> Iterator[tuple[Run, tuple[int, ...]]]:
    """Runs with another root that seat forgotten rows, and which these are, as rows of the source."""
    gone = forgotten_rows(found)
    for other in strangers:
        try:
            kin = _same_rows(found, other)
            if kin is False or (kin is None and not _may_be_same(found, other)):
                continue
            sure = kin is not None and _agreement(found, other).compared > 0
            if not sure and _proven_without(found, other, data, salts):
                continue
            if kin is None:
                unclear.append(
                    f"{other.path} may be of the same data, committed to anew ({other.told.data.rows} rows), "
                    "and nothing says which of its rows these are: look yourself, or give the data with `data`"
                )
            else:
                held = tuple(sorted(set(gone) - set(forgotten_rows(other))))
                if held:
                    yield other, held
        except (ExpungeError, LookupError, TypeError, ValueError) as error:
            unclear.append(f"{other.path} could not be looked into ({error})")


def place_of(other: Run, held: tuple[int, ...]) -> Place:
    """What such a run holds of these rows. Its states are those of another commitment and are not ended here."""
    seats = np.flatnonzero(other.commitment.assignment == Split.TRAIN.code)
    slots = np.flatnonzero(np.isin(seats, held))
    listed = tuple(holdings_of(other, slots)) if len(slots) else ()
    place = Place(path=other.path, kinship=Kinship.OTHER, holdings=listed).left(ELSEWHERE)
    if listed or not lives_on(other, None):
        return place
    holding = Holding(
        path=other.path,
        what="a run that seats them",
        why=f"they wait there for a training, or to measure it; {ELSEWHERE}",
        slots=len(held),
        bytes=0,
        remedy=Remedy.OWNER,
    )
    return replace(place, holdings=(holding,))


def shares_salts(run: Run, other: Run, path: Path | None) -> bool:
    """Whether both opened their leaves with one salt file; ``path`` is where the run's lies now."""
    mine, theirs = _salt_file(run), _salt_file(other)
    if mine is None or theirs is None:
        return False
    if run.told.dataset_root == other.told.dataset_root:
        return True  # leaves are made with the salts, so these are the same ones
    places = [place for place in (mine, path) if place is not None]
    return any(_one_file(place, theirs) for place in places)


def _salt_file(run: Run) -> Path | None:
    named = run.told.data.salt_file
    return Path(named) if run.told.data.secret and named is not None else None


def _one_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)


def _same_rows(run: Run, other: Run) -> bool | None:
    """Whether a row's place in the source names the same row for both; None where that is not known."""
    same_source, agreement = _same_source(run, other), _agreement(run, other)
    known = same_source is True or shares_salts(run, other, None)
    if run.told.data.rows != other.told.data.rows:
        if agreement.compared and not agreement.equal and not known:
            return False
        return None
    if known:  # read in another way, the same row has another leaf
        return True if agreement.equal in (0, agreement.compared) else None
    if agreement.compared:
        return None if 0 < agreement.equal < agreement.compared else agreement.equal > 0
    return False if same_source is False else None


def _may_be_same(run: Run, other: Run) -> bool:
    """Whether a run whose rows could not be told may be of the same data at all."""
    same_source = _same_source(run, other)
    if same_source is not None:
        return same_source or _agreement(run, other).equal > 0 or shares_salts(run, other, None)
    kept = ("classes", "inputs")
    mine, theirs = run.told.recipe, other.told.recipe
    return all(mine.get(name) == theirs.get(name) for name in kept)


def _same_source(run: Run, other: Run) -> bool | None:
    """Whether both name the same place; None where one was handed over in memory."""
    mine, theirs = run.told.data.source, other.told.data.source
    if mine is None or theirs is None:
        return None
    return mine["split"] == theirs["split"] and (
        mine["location"] == theirs["location"] or _one_file(Path(mine["location"]), Path(theirs["location"]))
    )


def _agreement(run: Run, other: Run) -> Agreement:
    """Compare the leaves of rows that sit in the same slot of both: they are made of slot, salt and content."""
    if (run.told.data.secret or other.told.data.secret) and not shares_salts(run, other, None):
        return Agreement(0, 0)
    mine, theirs = _by_row(run.commitment), _by_row(other.commitment)
    pairs = [(a[1], b[1]) for a, b in zip(mine, theirs, strict=False) if a[0] == b[0]]
    return Agreement(len(pairs), sum(a == b for a, b in pairs))


def _by_row(commitment: Commitment) -> list[tuple[int, bytes]]:
    """Slot and leaf of every row of the source."""
    found: list[tuple[int, bytes]] = [(0, b"")] * len(commitment.assignment)
    for split in SPLITS:
        rows = np.flatnonzero(commitment.assignment == split.code).tolist()
        for slot, row in enumerate(rows):
            found[row] = (slot, commitment.leaves[split.code][slot])
    return found


def _proven_without(run: Run, other: Run, data: str | Dataset | None, salts: Path | None) -> bool:
    """Whether the data as they are now hold no forgotten row, and are all that the other run was made of."""
    try:
        ours = read_again(run, data, salts)
        other.data(None if data == SOURCE else data)  # refuses where a row that it did not forget is not there
    except ExpungeError:
        return False
    return (ours.there, ours.unknown) == (0, 0)
