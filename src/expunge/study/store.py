"""A content-addressed store: one folder for each job's result, named by the digest of all that decides it.

An entry is there once its ``entry.json`` is, which is written last and whole. Whoever wants to make an entry claims it
first, so that two studies on one store wait for each other instead of computing the same thing twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import parse_json, plain_json
from expunge.study.job import Job

try:
    import fcntl
except ImportError:  # no advisory locks on this system: two studies on one store are not told apart
    fcntl = None

FORMAT = "expunge/store/1"
ENTRY = "expunge/entry/1"
WAIT_SECONDS = 0.05


class Outcome(Enum):
    """How a job ended. ``FAILED`` may go better another time and is tried again; the others stand."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is known of a job that ended. ``digest`` is that of its result, without times."""

    key: str
    work: str
    title: str
    outcome: Outcome
    reason: str = ""
    digest: str = ""
    example_steps: float = 0.0
    seconds: float = 0.0

    @classmethod
    def of(cls, job: Job, outcome: Outcome, **told: Any) -> Entry:
        """How this job ended."""
        return cls(key=job.key, work=job.work.value, title=job.title, outcome=outcome, **told)

    def as_json(self) -> dict[str, Any]:
        return {"format": ENTRY, **asdict(self), "outcome": self.outcome.value}

    @classmethod
    def from_json(cls, value: Any) -> Entry:
        names = {item.name for item in fields(cls)}
        if not isinstance(value, Mapping) or value.get("format") != ENTRY or set(value) != {*names, "format"}:
            raise DataError("this is no entry of a store: it was altered or written by another version")
        try:
            told: dict[str, Any] = {name: value[name] for name in names}
            told["outcome"] = Outcome(told["outcome"])
            return cls(**told)
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"an entry of the store cannot be read ({error}): it was altered") from None


class Store:
    """Results by key, under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        marker = folder / "store.json"
        if marker.is_file():
            told = parse_json(read_bytes(marker, "the store"))
            if not isinstance(told, dict) or told.get("format") != FORMAT:
                raise RunError(
                    f"{marker} is none of a store {FORMAT!r}: another version wrote it; choose another `store`"
                )
            return
        if folder.exists() and (not folder.is_dir() or any(found.name[0] != "." for found in folder.iterdir())):
            if marker.is_file():  # another process made it just now
                return
            raise InvalidArgument(f"`store` {folder} is not empty and not a store: choose another folder")
        self._mark(marker)

    def _mark(self, marker: Path) -> None:
        """Under a name of its own first: several processes may begin with the same store."""
        own = marker.with_name(f".store-{uuid.uuid4().hex}")
        write_text(own, plain_json({"format": FORMAT}))
        own.replace(marker)

    def place(self, key: str) -> Path:
        """Folder of a key's result."""
        return self.folder / key[:2] / key

    def entry(self, key: str) -> Entry | None:
        """How a job ended; None where it did not, or where its note is damaged: then it is done again."""
        path = self.place(key) / "entry.json"
        if not path.is_file():
            return None
        try:
            found = Entry.from_json(parse_json(read_bytes(path, "an entry of the store")))
        except DataError:
            return None
        return found if found.key == key else None

    def keep(self, entry: Entry) -> None:
        """Note how a job ended. The last thing that is written of it."""
        write_text(self.place(entry.key) / "entry.json", plain_json(entry.as_json()))

    def discard(self, key: str) -> None:
        """Forget how a job ended; what it has computed so far stays and is continued."""
        (self.place(key) / "entry.json").unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        """Everything that ended, by key."""
        for path in sorted(self.folder.glob("??/*/entry.json")):
            found = self.entry(path.parent.name)
            if found is not None:
                yield found

    @contextmanager
    def claim(self, job: Job) -> Generator[None]:
        """Hold a job against everybody else on this store; waits while another process has it."""
        if fcntl is None:
            yield
            return
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / job.key).open("ab") as handle:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(WAIT_SECONDS)
                except OSError as error:
                    raise RunError(
                        f"{locks} cannot be locked ({error.strerror or error}): keep the store on a disk that can"
                    ) from error
            yield

    def keep_failure(self, entry: Entry) -> Entry:
        """Note that a job failed, unless somebody else is at it or has done it; what stands then is returned."""
        place = self.folder / "locks" / entry.key
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as handle:
            if fcntl is not None:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    return entry
            known = self.entry(entry.key)
            if known is not None and known.outcome is not Outcome.FAILED:
                return known
            self.keep(entry)
            return entry
