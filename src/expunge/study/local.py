"""Jobs in worker processes on this machine, each worker kept for as many jobs as there are."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import RunError
from expunge.records.form import from_plain, to_plain
from expunge.records.study_store import JobOutcome
from expunge.study.engine import ANSWER, Ended, Engine, Moved, Said, check_jobs
from expunge.study.job import Job
from expunge.study.store import Store, ended

ATTEMPTS = 2  # a worker that dies (memory, a crash below Python) takes its job with it: tried once more
STOP_SECONDS = 5
WORKER_VARIABLES: dict[str, str] = {}  # of the environment, beside this process's own


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    job: Job | None = None
    attempts: int = 0
    rest: bytes = b""


class LocalEngine(Engine):
    """``jobs`` worker processes. A worker that dies is replaced, and its job begun again where it stood."""

    name = "local"

    def __init__(self, store: Store, jobs: int, log: Path | None = None) -> None:
        check_jobs(jobs)
        self.store, self.jobs, self.log = store, jobs, log
        self._selector = selectors.DefaultSelector()
        self._idle: deque[_Worker] = deque()
        self._busy: dict[str, _Worker] = {}
        self._happened: list[Ended | Moved] = []

    @property
    def places(self) -> int:
        return self.jobs

    def submit(self, job: Job) -> None:
        worker = self._idle.popleft() if self._idle else self._start()
        self._give(worker, job, attempts=1)

    def wait(self, seconds: float) -> list[Ended | Moved]:
        for key, _ in self._selector.select(timeout=seconds):
            self._read(key.data)
        found, self._happened = self._happened, []
        return found

    def close(self) -> None:
        workers = [*self._idle, *self._busy.values()]
        for worker in workers:
            assert worker.process.stdin is not None
            worker.process.stdin.close()  # its input ends, and so does it
        for worker in workers:
            try:
                worker.process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            self._forget(worker)
        self._idle.clear()
        self._busy.clear()
        self._selector.close()

    def _start(self) -> _Worker:
        log = subprocess.DEVNULL if self.log is None else self.log.open("ab")
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "expunge.study.worker", str(self.store.folder.resolve())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **WORKER_VARIABLES},
                start_new_session=True,  # an interrupt is the study's business: it stops its workers itself
            )
        except OSError as error:
            raise RunError(f"a worker process could not be started ({error.strerror or error})") from error
        finally:
            if not isinstance(log, int):
                log.close()
        worker = _Worker(process)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        return worker

    def _give(self, worker: _Worker, job: Job, attempts: int) -> None:
        worker.job, worker.attempts = job, attempts
        self._busy[job.key] = worker
        assert worker.process.stdin is not None
        with suppress(OSError):  # where it died meanwhile, its output tells next
            worker.process.stdin.write(json.dumps(to_plain(job)).encode() + b"\n")
            worker.process.stdin.flush()

    def _read(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        content = worker.process.stdout.read()
        if content is None:
            return
        if content == b"":
            self._died(worker)
            return
        *lines, worker.rest = (worker.rest + content).split(b"\n")
        for line in lines:
            self._heard(worker, from_plain(Said, json.loads(line), ANSWER))

    def _heard(self, worker: _Worker, said: Said) -> None:
        if said.moved is not None:
            self._happened.append(said.moved)
        elif said.ended is not None:
            self._happened.append(Ended(said.ended, f"process {worker.process.pid}"))
            del self._busy[said.ended.key]
            worker.job = None
            self._idle.append(worker)

    def _died(self, worker: _Worker) -> None:
        status = worker.process.wait()
        self._forget(worker)
        job = worker.job
        if job is None:
            if worker in self._idle:
                self._idle.remove(worker)
            return
        del self._busy[job.key]
        if worker.attempts < ATTEMPTS:
            self._give(self._start(), job, worker.attempts + 1)
            return
        how = f"signal {-status}" if status < 0 else f"status {status}"
        reason = f"the worker process died {ATTEMPTS} times ({how}): perhaps for want of memory; use fewer `jobs`"
        entry = ended(job, JobOutcome.FAILED, reason=reason)
        self._happened.append(Ended(self.store.keep_failure(entry), f"process {worker.process.pid}"))

    def _forget(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        assert worker.process.stdin is not None
        self._selector.unregister(worker.process.stdout)
        worker.process.stdout.close()
        with suppress(OSError):
            worker.process.stdin.close()
