"""Kills trainings with -9 at many moments and continues each; prints one JSON line per moment.

    python killed_training.py FOLDER MODE KIND

KIND is ``step``: after every calendar step once; or ``write``: in the middle of, or right after, every single write to
the trace and to the log. Each training is a process of its own, forked off this one.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.train import exactness
from expunge.train import log as log_module
from expunge.train import trace as trace_module
from expunge.train.run import Run
from expunge.train.trace import Trace
from expunge.train.training import train

FIELDS: dict[str, Any] = {
    "model": "mlp",
    "model_options": {"dropout": 0.2},
    "epochs": 3,
    "batch_size": 16,
    "shards": 2,
    "slices": 2,
    "least_present": 2,
    "without": ["random:30%:1"],
    "checkpoint_interval": 3,
}


def rows() -> Dataset:
    stream = Stream(bytes(32), "killed")
    return make_dataset(
        labels=[row % 3 for row in range(90)],
        columns=[Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 255)],
        content={"image": stream.below(250, 90 * 64).reshape(90, 8, 8).astype(np.uint8)},
        where="rows",
    )


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def forked(work: Callable[[], object]) -> bool:
    """Whether the work was killed; what fails otherwise ends everything."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a fork must not come back
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(9)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, status
    return False


def told(folder: Path) -> dict[str, str]:
    found = {path.name: path.read_bytes().hex() for path in sorted((folder / "trace").iterdir())}
    run = Run.open(folder)
    return {**found, "weights": run.weights_digest, "requests": str(len(run.log.requests()))}


def main() -> None:
    base, mode, kind = Path(sys.argv[1]), Trace(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(1)
    exactness.self_test = functools.cache(exactness.self_test)  # of this machine, and half of so small a training
    data = rows()
    straight = train(data, out=base / "straight", trace=mode, **FIELDS)
    expected = told(straight.path)
    moments = sum(straight.schedule.total_steps(shard) for shard in range(2)) if kind == "step" else 10**6
    for moment in range(1, moments + 1):
        folder = base / f"killed-{moment}"

        def killed(moment: int = moment, folder: Path = folder) -> None:
            if kind == "step":
                made = 0

                def moved(done: int, total: int) -> None:
                    nonlocal made
                    made += 1
                    if made == moment:
                        die()

                train(data, out=folder, trace=mode, progress=moved, **FIELDS)
            else:
                written, append = 0, trace_module.append_bytes

                def half(path: Path, content: bytes) -> None:
                    nonlocal written
                    written += 1
                    append(path, content[: len(content) // 2] if written == moment and moment % 2 else content)
                    if written == moment:
                        die()

                trace_module.append_bytes = log_module.append_bytes = half
                train(data, out=folder, trace=mode, **FIELDS)

        was_killed = forked(killed)
        if not was_killed and kind == "write":
            assert moment > 10
            break
        before = Run.open_any(folder).told.status
        assert not forked(lambda folder=folder: train(data, out=folder, trace=mode, **FIELDS))
        found = told(folder)
        print(json.dumps({"moment": moment, "killed": was_killed, "status": before, "same": found == expected}))


if __name__ == "__main__":
    main()
