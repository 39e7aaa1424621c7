"""The commitment on disk: it comes back, and a file that was altered is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expunge.core.errors import RunError
from expunge.data.commitment import commit
from expunge.data.splits import split_rows
from expunge.data.stored import read_commitment, read_units, write_commitment
from expunge.records.run_file import Roots


@pytest.fixture
def committed(people):
    rows = people(40)
    return commit(rows, split_rows(rows))


@pytest.fixture
def roots(committed):
    return Roots(**{split.value: root.hex() for split, root in committed.roots.items()})


def test_it_comes_back(tmp_path, committed, roots):
    units = np.arange(32)[::-1]
    write_commitment(tmp_path, committed, units)
    again = read_commitment(tmp_path, roots)
    np.testing.assert_array_equal(again.assignment, committed.assignment)
    assert again.leaves == committed.leaves
    np.testing.assert_array_equal(read_units(tmp_path), units)
    assert (tmp_path / "leaves.bin").read_bytes() == b"".join(committed.leaves[0])
    assert (tmp_path / "units.bin").stat().st_size == 8 * 32


@pytest.mark.parametrize("name", ["assignment.bin", "leaves.bin", "leaves-calibration.bin", "leaves-holdout.bin"])
@pytest.mark.parametrize("change", [b"", b"cut", b"\x07", b"\x00", b"\x07" * 32])
def test_altered_files_are_refused(refused, tmp_path, committed, roots, name, change):
    """Emptied, cut by a byte, or with further bytes, among them codes that are no split."""
    write_commitment(tmp_path, committed, np.arange(32))
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes({b"": b"", b"cut": content[:-1]}.get(change, content + change))
    with refused(RunError, str(tmp_path), "altered", "restore"):
        read_commitment(tmp_path, roots)


def test_other_roots_and_missing_files_are_refused(refused, tmp_path, committed, roots):
    write_commitment(tmp_path, committed, np.arange(32))
    with refused(RunError, "do not match their roots"):
        read_commitment(tmp_path, replace(roots, holdout="00" * 32))
    (tmp_path / "units.bin").write_bytes(b"\0" * 12)
    with refused(RunError, "units.bin", "12 bytes"):
        read_units(tmp_path)
    (tmp_path / "leaves.bin").unlink()
    with refused(RunError, "leaves.bin", "missing"):
        read_commitment(tmp_path, roots)
