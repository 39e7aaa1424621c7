"""The bytes of a trace: records, where they stand, the digest that runs along."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest

from expunge.records.trace_file import (
    NOTHING,
    RunningDigest,
    TraceLayout,
    TraceMode,
    digest_table,
    executed_table,
    step_record,
    step_records,
)

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(12)]


@pytest.mark.parametrize(("mode", "each"), [(TraceMode.LOSSES, 2), (TraceMode.GRADIENTS, 3)])
def test_records_of_steps(mode: TraceMode, each: int) -> None:
    rows = [tuple(DIGESTS[at : at + each]) for at in range(0, 12, each)]
    content = b"".join(step_record(*row) for row in rows)
    assert content == b"".join(DIGESTS)
    assert mode.width == 32 * each
    assert step_records(content, mode) == rows
    table = executed_table(content, mode)
    assert [row.tobytes() for row in table] == [row[0] for row in rows]
    assert np.array_equal(table, digest_table([row[0] for row in rows]))
    assert step_records(b"", mode) == []
    assert digest_table([]).shape == executed_table(b"", mode).shape == (0, 32)


def test_everything_stands_where_its_shard_begins() -> None:
    """Shards ascending, of each its steps and then its epochs, whatever order they are named in."""
    layout = TraceLayout(TraceMode.LOSSES, {2: (3, 1), 0: (5, 2)})
    assert layout.steps(0, 0, 5) == (0, 320)
    assert layout.epoch(0, 1) == (320 + 32, 32)
    assert layout.steps(2, 1, 3) == (384 + 64, 128)
    assert layout.epoch(2, 0) == (384 + 192, 32)
    assert layout.size == 384 + 192 + 32


def test_the_running_digest() -> None:
    head = b"expunge/trace/1" + struct.pack("<I", 3)
    running = RunningDigest(3)
    assert running.digest() == hashlib.sha256(head).digest()
    running.update(DIGESTS[0])
    running.update(DIGESTS[1])
    assert running.digest() == hashlib.sha256(head + DIGESTS[0] + DIGESTS[1]).digest()
    assert RunningDigest(3, DIGESTS[0] + DIGESTS[1]).digest() == running.digest()
    assert hashlib.sha256().digest() == NOTHING


def test_it_is_read_without_torch() -> None:
    code = "import sys, expunge.records.trace_file, expunge.schedule.digests; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
