"""A content-addressed store: one folder for each job's result, named by the digest of all that decides it.

An entry is there once its ``entry.json`` is, which is written last and whole. Whoever wants to make an entry claims it
first, so that two studies on one store wait for each other instead of computing the same thing twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import read_bytes, write_text
from expunge.records.document import read_document, write_document
from expunge.records.study_store import Entry, JobOutcome, StoreFile
from expunge.study.job import Job

try:
    import fcntl
except ImportError:  # no advisory locks on this system: two studies on one store are not told apart
    fcntl = None

WAIT_SECONDS = 0.05


def ended(
    job: Job,
    outcome: JobOutcome,
    *,
    reason: str = "",
    digest: str = "",
    example_steps: float = 0.0,
    seconds: float = 0.0,
) -> Entry:
    """The entry of a job that ended so."""
    return Entry(
        key=job.key,
        work=job.work,
        title=job.title,
        outcome=outcome,
        reason=reason,
        digest=digest,
        example_steps=example_steps,
        seconds=seconds,
    )


class Store:
    """Results by key, under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        marker = folder / "store.json"
        if marker.is_file():
            read_document(StoreFile, read_bytes(marker, "the store"), str(marker), RunError)
            return
        if folder.exists() and (not folder.is_dir() or any(found.name[0] != "." for found in folder.iterdir())):
            if marker.is_file():  # another process made it just now
                return
            raise InvalidArgument(f"`store` {folder} is not empty and not a store: choose another folder")
        self._mark(marker)

    def _mark(self, marker: Path) -> None:
        """Under a name of its own first: several processes may begin with the same store."""
        own = marker.with_name(f".store-{uuid.uuid4().hex}")
        write_text(own, write_document(StoreFile()))
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
            found = read_document(Entry, read_bytes(path, "an entry of the store"), str(path))
        except DataError:
            return None
        return found if found.key == key else None

    def keep(self, entry: Entry) -> None:
        """Note how a job ended. The last thing that is written of it."""
        write_text(self.place(entry.key) / "entry.json", write_document(entry))

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
            if known is not None and known.outcome is not JobOutcome.FAILED:
                return known
            self.keep(entry)
            return entry
