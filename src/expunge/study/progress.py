"""How a running study stands: done, running, failed, expected end; as a value, as a file, and as lines of a log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from expunge.core.files import write_text
from expunge.core.hashing import plain_json
from expunge.records.form import to_plain
from expunge.records.study_store import Entry, JobOutcome
from expunge.study.engine import Ended, Moved
from expunge.study.job import Job

EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class StudyStanding:
    """A moment of a study. ``left`` is in seconds; None while nothing has ended that tells."""

    total: int
    done: int
    reused: int
    refused: int
    failed: int
    left_out: int
    running: tuple[str, ...]
    elapsed: float = field(metadata={"name": "elapsed_seconds"})
    left: float | None = field(metadata={"name": "left_seconds"})
    waiting: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "waiting", self.total - self.ended - len(self.running))

    @property
    def ended(self) -> int:
        return self.done + self.refused + self.failed + self.left_out

    def line(self, now: datetime, *, naming: bool = True) -> str:
        """One line for a log, naming one of the running jobs, or for a bar that has them below."""
        parts = [f"{self.done} of {self.total} done"]
        parts += [f"{self.reused} of them before"] if self.reused else []
        parts += [f"{self.refused} refused"] if self.refused else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.left_out} left out"] if self.left_out else []
        parts.append(f"{len(self.running)} running" + (f" ({self.running[0]})" if naming and self.running else ""))
        if self.waiting or self.running:
            parts.append("end not known yet" if self.left is None else f"end expected {_clock(now, self.left)}")
        return ", ".join(parts)


def _clock(now: datetime, left: float) -> str:
    at = datetime.fromtimestamp(now.timestamp() + left)
    return at.strftime("%H:%M:%S") if at.date() == now.date() else at.strftime("%Y-%m-%d %H:%M")


class Watch:
    """Follows a study. ``show`` is called with every new standing; ``say`` with lines for a log, the
    standing of every tenth among them.

    ``warn`` is given, at once, each job that failed.
    """

    def __init__(
        self,
        places: int,
        folder: Path | None = None,
        show: Callable[[StudyStanding], None] | None = None,
        say: Callable[[str], None] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.places, self.folder, self._show, self._say, self._warn = places, folder, show, say, warn
        self._counts = Counter[str]()
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, tuple[Job, float, float]] = {}  # job, begun, share done
        self._ended = set[str]()
        self._seconds: dict[str, list[float]] = {}  # by what kind of work it was
        self._started = time.monotonic()
        self._drawn = 0.0
        self._tenths = 0

    def begin(self, jobs: Sequence[Job], known: Mapping[str, Entry]) -> None:
        self._jobs = {job.key: job for job in jobs}
        self._counts.clear()
        self._ended.clear()
        self._running.clear()
        for entry in known.values():
            self._counts["done" if entry.outcome is JobOutcome.DONE else "refused"] += 1
            self._counts["reused"] += entry.outcome is JobOutcome.DONE
            self._ended.add(entry.key)
            if entry.outcome is JobOutcome.DONE:
                self._seconds.setdefault(_sort(self._jobs[entry.key]), []).append(entry.seconds)
        self.draw(force=True)

    def started(self, job: Job) -> None:
        self._running[job.key] = (job, time.monotonic(), 0.0)

    def moved(self, event: Moved) -> None:
        if event.key in self._running and event.total > 0:
            job, begun, _ = self._running[event.key]
            self._running[event.key] = (job, begun, min(1.0, event.done / event.total))

    def ended(self, event: Ended) -> None:
        entry = event.entry
        self._running.pop(entry.key, None)
        self._ended.add(entry.key)
        self._counts[entry.outcome.value] += 1
        if entry.outcome is JobOutcome.DONE:
            self._seconds.setdefault(_sort(self._jobs[entry.key]), []).append(entry.seconds)
            return
        where = f" ({event.where})" if entry.outcome is JobOutcome.FAILED else ""
        line = f"{entry.outcome.value}: {entry.title}: {entry.reason}{where}"
        if self._say is not None:
            self._say(line)
        if self._warn is not None and entry.outcome is JobOutcome.FAILED:
            self._warn(line)

    def left_out(self, job: Job) -> None:
        self._counts["left_out"] += 1
        self._ended.add(job.key)

    def note(self, line: str) -> None:
        """Something that is worth a line of its own."""
        if self._say is not None:
            self._say(line)
        if self._warn is not None:
            self._warn(line)

    def finished(self) -> None:
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Show and keep the standing, not too often."""
        now = time.monotonic()
        if not force and now - self._drawn < EVERY_SECONDS:
            return
        self._drawn = now
        standing = self.standing()
        if self._show is not None:
            self._show(standing)
        if self.folder is not None:
            write_text(self.folder / "progress.json", plain_json(to_plain(standing)))
        tenths = 10 * standing.ended // max(standing.total, 1)
        if self._say is not None and (force or tenths > self._tenths):
            self._say(standing.line(datetime.now()))
        self._tenths = tenths

    def standing(self) -> StudyStanding:
        titles = [job.title + (f", {share:.0%}" if share else "") for job, _, share in self._running.values()]
        return StudyStanding(
            total=len(self._jobs),
            done=self._counts["done"],
            reused=self._counts["reused"],
            refused=self._counts["refused"],
            failed=self._counts["failed"],
            left_out=self._counts["left_out"],
            running=tuple(titles),
            elapsed=round(time.monotonic() - self._started, 1),
            left=None if (left := self._left()) is None else round(left, 1),
        )

    def _left(self) -> float | None:
        """What the jobs that are left will take, by what their like took so far."""
        if not any(self._seconds.values()):
            return None
        every = [seconds for found in self._seconds.values() for seconds in found]
        overall = sum(every) / len(every)

        def expected(job: Job) -> float:
            found = self._seconds.get(_sort(job)) or self._seconds.get(f"{job.work} ")
            return overall if not found else sum(found) / len(found)

        now = time.monotonic()
        left = 0.0
        for key, job in self._jobs.items():
            if key in self._ended:
                continue
            if key in self._running:
                _, begun, share = self._running[key]
                spent = now - begun
                left += spent * (1 - share) / share if share > 0.02 else max(0.0, expected(job) - spent)
            else:
                left += expected(job)
        return left / self.places


def _sort(job: Job) -> str:
    """Jobs that take about equally long."""
    return f"{job.work} {job.method or ''}"
