"""What records of attackers have in common: requests, rows that they deny, content that they alter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from expunge.adversary.table.rows import written_rows
from expunge.adversary.table.story import RunStory, Story
from expunge.data.dataset import Dataset
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.records.claims import claims_of
from expunge.records.record import GuaranteeKind, Initiator, Operation, Request
from expunge.train.run import Run


def request_for(story: Story, slots: Collection[int], model: bytes | None = None) -> Request:
    """A request of the owner's to forget these slots, received in the second in which the record was written."""
    return Request(
        cases=(),
        initiator=Initiator.OWNER,
        received=story.record.recorded_at,
        slots=tuple(sorted(slots)),
        receipts=(),
        root=story.record.data.root,
        model=model,
    )


def without(story: RunStory, slots: tuple[int, ...]) -> dict[str, Any]:
    """Fields of the record of a training that claims never to have seen these slots."""
    return {
        "data__tombstones": slots,
        "requests": (request_for(story, slots),),
        "claim": claims_of(Operation.TRAIN, GuaranteeKind.EXACT, emptied=True, recorded=True),
    }


def slots_of(run: Run, *subjects: str) -> tuple[int, ...]:
    """Training slots of people, ascending."""
    names = {subject.removeprefix("subject:") for subject in subjects}
    rows = run.data()[Split.TRAIN]
    return tuple(slot for slot, subject in enumerate(rows.subjects) if subject in names)


def rows_in(run: Run, path: Path) -> Dataset:
    """The training rows of a file, by slot, whether or not they are those that were committed."""
    rows = read(Source(location=str(path)), columns=run.recipe.inputs.columns, classes=run.recipe.classes)
    return rows.take(np.flatnonzero(run.commitment.assignment == Split.TRAIN.code))


def altered_rows(
    story: RunStory, out: Path, pictures: Mapping[int, np.ndarray], labels: Mapping[int, Any] | None = None
) -> Path:
    """A copy of the story's data in which some training slots have other pictures or labels."""
    with np.load(story.data) as found:
        content = {name: found[name] for name in found.files}
    for slot, picture in pictures.items():
        content["x"][_row(story, slot)] = picture.reshape(content["x"].shape[1:])
    for slot, label in ({} if labels is None else labels).items():
        content["y"][_row(story, slot)] = label
    return written_rows(
        out / story.data.name,
        pictures=content["x"],
        labels=content["y"],
        ids=content["ids"],
        subjects=content["subjects"],
    )


def picture_of(story: RunStory, slot: int) -> tuple[np.ndarray, Any]:
    """Picture and label of a training slot as they stand in the story's data."""
    with np.load(story.data) as found:
        return found["x"][_row(story, slot)], found["y"][_row(story, slot)]


def _row(story: RunStory, slot: int) -> int:
    """Row of the file that sits in a training slot."""
    return int(story.run.commitment.source_rows(Split.TRAIN, [slot])[0])
