"""A worker process: jobs come in as lines of JSON, how they ended goes out as lines of JSON.

When its input ends, its study is gone, and it stops at once: what it was doing is continued another time.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from expunge.study.engine import Said


def main() -> None:
    """``python -m expunge.study.worker STORE``: started by the local engine."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a model's factory prints goes to the log, not among the answers
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    from expunge.records.form import from_plain
    from expunge.study.engine import Moved, Said, Teller
    from expunge.study.job import Job
    from expunge.study.opened import OpenedData
    from expunge.study.store import Store
    from expunge.study.work import carry_out

    store, data = Store(Path(sys.argv[1])), OpenedData()
    _say(answers, Said(ready=os.getpid()))
    while True:
        job = from_plain(Job, json.loads(lines.get()), "a job")

        def tell(done: int, total: int, key: str = job.key) -> None:
            _say(answers, Said(moved=Moved(key, done, total)))

        entry = carry_out(job, store, data, Teller(tell))
        _say(answers, Said(ended=entry))


def _listen(lines: queue.SimpleQueue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _say(answers: IO[str], said: Said) -> None:
    from expunge.records.form import to_plain

    try:
        answers.write(json.dumps(to_plain(said)) + "\n")
        answers.flush()
    except OSError:  # nobody listens any more
        os._exit(0)


if __name__ == "__main__":
    main()
