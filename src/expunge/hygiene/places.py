"""Where hygiene looks: folders and files, how they stand to the run, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import numpy as np

from expunge.data.splits import SPLITS, Split
from expunge.hygiene.holdings import Holding
from expunge.records.bundle import MODEL
from expunge.records.declaration import Retired
from expunge.records.holds import Remedy
from expunge.records.tensors import TENSORS
from expunge.train.run import COMMITTED, Run


class Kinship(Enum):
    """How a folder stands to the run."""

    ITSELF = "the run itself"
    PARENT = "parent"
    BESIDE = "beside it"
    OTHER = "another commitment of the same data"
    BUNDLE = "a bundle"
    TUNING = "tuning"
    STUDY = "a study's store"
    DATA = "the data"
    SALTS = "the salts"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder or file, how it stands to the run, and what it holds."""

    path: Path
    kinship: Kinship
    holdings: tuple[Holding, ...]

    @property
    def ours(self) -> tuple[Holding, ...]:
        """What can be ended here."""
        return tuple(holding for holding in self.holdings if holding.remedy is not Remedy.OWNER)

    def left(self, why: str) -> Place:
        """The same, to be ended by nobody here."""
        kept = tuple(replace(item, remedy=Remedy.OWNER, why=f"{item.why}; {why}") for item in self.holdings)
        return replace(self, holdings=kept)


def forgotten_rows(run: Run) -> tuple[int, ...]:
    """Rows of the source that belong to forgotten people, ascending: emptied chairs, and their rows in other splits."""
    slots = {split: np.array(run.released.get(split, []), dtype=np.int64) for split in SPLITS}
    slots[Split.TRAIN] = run.tombstones
    rows = [run.commitment.source_rows(split, slots[split]) for split in SPLITS]
    return tuple(int(row) for row in np.sort(np.concatenate(rows)))


def lives_on(run: Run, place: Place | None) -> bool:
    """Whether a run has a model, or is still to have one, once what can be ended in its place is gone."""
    ended = set() if place is None else {holding.path.name for holding in place.ours}
    if (run.path / MODEL).is_file():
        return MODEL not in ended
    begun = run.told.status != "finished"
    states = any(name.endswith(TENSORS) for name in ended)
    return begun and not states and not (run.path / Retired.NAME).is_file()


def is_untrained(run: Run) -> bool:
    """Whether only data and recipe are fixed there."""
    return run.told.status == COMMITTED
