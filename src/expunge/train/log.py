"""log.jsonl: what happened in a run, line by line, each line holding the digest of the one before."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

from expunge.core.clock import utc_now
from expunge.core.errors import DataError, RunError
from expunge.core.files import append_bytes
from expunge.core.hashing import parse_json, sha256
from expunge.records.form import to_plain
from expunge.records.run_log import Checkpointed, Event, Requested, read_event
from expunge.records.scalars import Slots


class RunLog:
    """An append-only chain. A last line that was cut short by a kill is dropped; any other break is refused."""

    def __init__(self, path: Path, *, writer: bool = True) -> None:
        self.path = path
        self._writer = writer
        self._lock = threading.Lock()
        self.events: list[Event] = []
        self._previous = ""
        if path.exists():
            self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        good = 0
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            event = self._next(line)
            if event is None:
                raise RunError(
                    f"{self.path}: line {len(self.events) + 1} does not continue the chain: the log was altered; "
                    "choose a new `out`"
                )
            good += len(line)
            self.events.append(event)
            self._previous = sha256(line).hex()
        if good != len(content) and self._writer:
            with self.path.open("r+b") as handle:
                handle.truncate(good)

    def _next(self, line: bytes) -> Event | None:
        """What a line says; None where it is none of ours, or does not continue the chain."""
        try:
            told = parse_json(line)
            if not isinstance(told, dict) or told.pop("previous", None) != self._previous:
                return None
            return read_event(told, "the line")
        except DataError:
            return None

    def add(self, event: Event) -> None:
        """Append one event and sync."""
        with self._lock:
            told = {**to_plain(event), "previous": self._previous}
            line = (json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()
            append_bytes(self.path, line)
            self.events.append(event)
            self._previous = sha256(line).hex()

    def add_request(self, *, slots: Sequence[int], root: str, model: str | None, cases: Sequence[str] = ()) -> None:
        """Write down that these slots were asked, now, to be forgotten; once, however often the run is begun.

        A request with a case is a person's, one without is the owner's. ``root`` names the data set, ``model`` the
        weights that were asked to forget, if there were any.
        """
        if not self.requests():
            self.add(
                Requested(
                    initiator="person" if cases else "owner",
                    cases=tuple(cases),
                    received=utc_now(),
                    slots=Slots(tuple(int(slot) for slot in slots)),
                    receipts=(),
                    root=root,
                    model=model,
                )
            )

    def requests(self) -> list[Requested]:
        """What this run was asked to forget; none for a plain training and for runs of an older version."""
        with self._lock:
            return [event for event in self.events if isinstance(event, Requested)]

    def checkpoints(self, shard: int) -> list[Checkpointed]:
        """Checkpoints of a shard in the order of their steps; of two at one step, the later written."""
        with self._lock:
            found = {
                event.step: event for event in self.events if isinstance(event, Checkpointed) and event.shard == shard
            }
        return [found[step] for step in sorted(found)]
