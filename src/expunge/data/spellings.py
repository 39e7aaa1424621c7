"""One person under several spellings: subjects that differ in case, white space or Unicode form alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

import numpy as np

from expunge.core.wording import counted
from expunge.data.dataset import Dataset


def folded(name: str) -> str:
    """A name without what spellings of one person may differ in: Unicode form, white space around it, case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).strip().casefold())


def spelt_alike(train: Dataset) -> str | None:
    """What a training says of subjects that may be one person; None where there are none, or none were named."""
    groups = _groups(train)
    several = [names for names in groups.values() if len(names) > 1]
    if not several:
        return None
    people = "1 person" if len(several) == 1 else f"{len(several):,} people"
    return (
        f"{sum(map(len, several)):,} subjects may be {people} only: their names differ in case, white space or Unicode "
        f"form alone (the first stands in row {_first(train, several)} of the training rows); they count as several, "
        "and forgetting one leaves the others: write them alike before training, or name each when you forget"
    )


def left_alike(train: Dataset, slots: np.ndarray, emptied: np.ndarray) -> str | None:
    """What an unlearning says where somebody goes and rows of a name alike stay; ``emptied`` are all empty chairs."""
    groups, gone = _groups(train), {int(slot) for slot in emptied}
    asked = {train.subjects[int(slot)] for slot in slots}
    others = {name for subject in asked for name in groups.get(folded(subject), ()) if name not in asked}
    staying = [slot for slot, subject in enumerate(train.subjects) if subject in others and slot not in gone]
    staying = [slot for slot in staying if train.present[slot]]
    if not staying:
        return None
    named = counted(len({train.subjects[slot] for slot in staying}), "subject")
    return (
        f"{counted(len(staying), 'training row')} of {named} stay whose names differ from those forgotten in case, "
        f"white space or Unicode form alone (the first in slot {staying[0]}): if they are the same people, forget them "
        "too"
    )


def _groups(train: Dataset) -> dict[str, set[str]]:
    """Subjects by what their spellings share; none where every row is a person of its own by its id."""
    found: dict[str, set[str]] = {}
    if train.subjects != train.ids:
        for subject, there in zip(train.subjects, train.present, strict=True):
            if there:
                found.setdefault(folded(subject), set()).add(subject)
    return found


def _first(train: Dataset, several: Collection[set[str]]) -> int:
    names = set[str]().union(*several)
    return next(row for row, subject in enumerate(train.subjects) if subject in names)
