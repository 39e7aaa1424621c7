"""log.jsonl of a run folder: what each line says, beside the digest of the line before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from expunge.records.form import Plain, from_plain
from expunge.records.scalars import Amount, Digest, Slots


@dataclass(frozen=True, kw_only=True)
class Event(Plain):
    """Something that happened. Kinds that this version does not know are passed over."""

    event: str


@dataclass(frozen=True, kw_only=True)
class Requested(Event):
    """Slots were asked to be forgotten. ``root`` names the data set, ``model`` the weights that were asked, if any.

    A request with cases is a person's, one without is the owner's.
    """

    event: Literal["request"] = "request"
    initiator: str
    cases: tuple[str, ...]
    received: str
    slots: Slots
    receipts: tuple[str, ...]
    root: str
    model: str | None


@dataclass(frozen=True, kw_only=True)
class Checkpointed(Event):
    """A state is on disk after ``step`` calendar steps; ``thirds`` and ``seconds`` are what the run spent up to it."""

    event: Literal["checkpoint"] = "checkpoint"
    shard: int
    step: int
    digest: Digest
    thirds: int
    seconds: Amount

    @property
    def name(self) -> str:
        return f"shard-{self.shard}-step-{self.step:08d}.safetensors"


KINDS: Mapping[object, type[Event]] = {"request": Requested, "checkpoint": Checkpointed}


def read_event(told: Mapping[str, Any], where: str) -> Event:
    """An event from a line of the log, without the digest."""
    word = told.get("event")
    return from_plain(KINDS.get(word, Event) if isinstance(word, str) else Event, told, where)
