"""A worker process: jobs come in as lines of JSON, how they ended goes out as lines of JSON.

When its input ends, its study is gone, and it stops at once: what it was doing is continued another time.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

EVERY_SECONDS = 0.5


def main() -> None:
    """``python -m expunge.study.worker STORE``: started by the local engine."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a model's factory prints goes to the log, not among the answers
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    from expunge.study.job import Job
    from expunge.study.opened import OpenedData
    from expunge.study.store import Store
    from expunge.study.work import carry_out

    store, data = Store(Path(sys.argv[1])), OpenedData()
    _say(answers, {"ready": os.getpid()})
    while True:
        job = Job.from_json(json.loads(lines.get()))
        entry = carry_out(job, store, data, _Teller(answers, job.key))
        _say(answers, {"ended": entry.as_json()})


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _say(answers: IO[str], value: dict[str, Any]) -> None:
    try:
        answers.write(json.dumps(value) + "\n")
        answers.flush()
    except OSError:  # nobody listens any more
        os._exit(0)


class _Teller:
    """Tells how far a job is, not too often."""

    def __init__(self, answers: IO[str], key: str) -> None:
        self.answers, self.key, self.last = answers, key, time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.last >= EVERY_SECONDS:
            self.last = now
            _say(self.answers, {"moved": [self.key, done, total]})


if __name__ == "__main__":
    main()
