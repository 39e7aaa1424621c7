"""Carries a study's jobs out: each once its inputs are there, whatever happens to the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from expunge.records.study_store import Entry, JobOutcome
from expunge.study.engine import Ended, Engine
from expunge.study.job import Job
from expunge.study.progress import Watch
from expunge.study.store import Store

WAIT_SECONDS = 0.5


@dataclass
class Outcomes:
    """How every job ended: its entry, or the reason why it could not be begun."""

    entries: dict[str, Entry] = field(default_factory=dict[str, Entry])
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    reused: int = 0

    def done(self, key: str) -> bool:
        return key in self.entries and self.entries[key].outcome is JobOutcome.DONE


def known_outcomes(jobs: Sequence[Job], store: Store) -> Outcomes:
    """What the store holds of a study; the rest is not begun."""
    found = Outcomes()
    for job in jobs:
        entry = store.entry(job.key)
        if entry is not None:
            found.entries[job.key] = entry
    found.reused = len(found.entries)
    for job in jobs:
        stopped = next((key for key in job.needs if key in found.entries and not found.done(key)), None)
        before = next((key for key in job.needs if key in found.left_out), None)
        if stopped is not None:
            found.left_out[job.key] = f"{found.entries[stopped].title}: {found.entries[stopped].reason}"
        elif before is not None:
            found.left_out[job.key] = found.left_out[before]
    return found


def carry_out_jobs(jobs: Sequence[Job], store: Store, engine: Engine, watch: Watch) -> Outcomes:
    """Do what the store does not hold yet. ``jobs`` stand in an order in which inputs come first."""
    found = Outcomes()
    waiting: dict[str, int] = {}  # how many inputs a job still lacks
    dependents: dict[str, list[Job]] = {}
    ready: deque[Job] = deque()
    for job in jobs:
        known = store.entry(job.key)
        if known is not None and known.outcome is not JobOutcome.FAILED:
            found.entries[job.key] = known
            found.reused += 1
    watch.begin(jobs, found.entries)
    for job in jobs:
        if job.key in found.entries:
            continue
        lacking = [key for key in job.needs if not found.done(key)]
        for key in lacking:
            dependents.setdefault(key, []).append(job)
        waiting[job.key] = len(lacking)
        if not lacking:
            ready.append(job)

    def leave_out(job: Job, reason: str) -> None:
        if job.key in found.left_out:
            return
        found.left_out[job.key] = reason
        watch.left_out(job)
        for dependent in dependents.get(job.key, []):
            leave_out(dependent, reason)

    for job in jobs:  # what stood already as refused stops what hangs on it
        entry = found.entries.get(job.key)
        if entry is not None and entry.outcome is not JobOutcome.DONE:
            for dependent in dependents.get(job.key, []):
                leave_out(dependent, f"{entry.title}: {entry.reason}")
    running = 0
    while running or ready:
        while ready and running < engine.places:
            job = ready.popleft()
            if job.key in found.left_out:
                continue
            engine.submit(job)
            watch.started(job)
            running += 1
        if not running:
            break
        for event in engine.wait(WAIT_SECONDS):
            if not isinstance(event, Ended):
                watch.moved(event)
                continue
            running -= 1
            entry = event.entry
            found.entries[entry.key] = entry
            watch.ended(event)
            for dependent in dependents.get(entry.key, []):
                if entry.outcome is not JobOutcome.DONE:
                    leave_out(dependent, f"{entry.title}: {entry.reason}")
                    continue
                waiting[dependent.key] -= 1
                if waiting[dependent.key] == 0 and dependent.key not in found.left_out:
                    ready.append(dependent)
        watch.draw()
    watch.finished()
    return found
