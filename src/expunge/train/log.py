"""log.jsonl: what happened in a run, line by line, each line holding the digest of the one before."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from expunge.core.clock import utc_now
from expunge.core.errors import DataError, RunError
from expunge.core.files import append_bytes
from expunge.core.hashing import parse_json, sha256
from expunge.train.checkpoint import Checkpoint

REQUEST = "request"


class Log:
    """An append-only chain. A last line that was cut short by a kill is dropped; any other break is refused."""

    def __init__(self, path: Path, *, writer: bool = True) -> None:
        self.path = path
        self._writer = writer
        self._lock = threading.Lock()
        self.events: list[dict[str, Any]] = []
        self._previous = ""
        if path.exists():
            self._read()

    def _read(self) -> None:
        content = self.path.read_bytes()
        good = 0
        for line in content.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            try:
                event = parse_json(line)
            except DataError:
                event = None
            if not isinstance(event, dict) or event.get("previous") != self._previous:
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

    def add(self, event: str, **details: Any) -> None:
        """Append one event and sync."""
        with self._lock:
            entry = {"event": event, "previous": self._previous, **details}
            line = (json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n").encode()
            append_bytes(self.path, line)
            self.events.append(entry)
            self._previous = sha256(line).hex()

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        self.add(
            "checkpoint",
            shard=checkpoint.shard,
            step=checkpoint.step,
            digest=checkpoint.digest,
            thirds=checkpoint.thirds,
            seconds=checkpoint.seconds,
        )

    def add_request(self, *, slots: Sequence[int], root: str, model: str | None, cases: Sequence[str] = ()) -> None:
        """Write down that these slots were asked, now, to be forgotten; once, however often the run is begun.

        A request with a case is a person's, one without is the owner's. ``root`` names the data set, ``model`` the
        weights that were asked to forget, if there were any.
        """
        if not self.requests():
            self.add(
                REQUEST,
                initiator="person" if cases else "owner",
                cases=list(cases),
                received=utc_now(),
                slots=[int(slot) for slot in slots],
                receipts=[],
                root=root,
                model=model,
            )

    def requests(self) -> list[dict[str, Any]]:
        """What this run was asked to forget; none for a plain training and for runs of an older version."""
        with self._lock:
            return [event for event in self.events if event["event"] == REQUEST]

    def checkpoints(self, shard: int) -> list[Checkpoint]:
        """Checkpoints of a shard in the order of their steps; of two at one step, the later written."""
        with self._lock:
            found = {
                int(event["step"]): Checkpoint(
                    shard, int(event["step"]), str(event["digest"]), int(event["thirds"]), float(event["seconds"])
                )
                for event in self.events
                if event["event"] == "checkpoint" and event["shard"] == shard
            }
        return [found[step] for step in sorted(found)]
