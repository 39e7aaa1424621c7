"""A killed or failing write leaves the old file or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.core.errors import RunError
from expunge.core.files import link_or_copy, read_bytes, write_bytes, write_with


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_bytes(target, b"old")

    def full_disk(temporary: Path) -> None:
        temporary.write_bytes(b"ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"No space left on device.*nothing that was there is lost"):
        write_with(target, full_disk)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_link_or_copy_keeps_what_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "deep" / "b"
    source.write_bytes(b"content")
    link_or_copy(source, target)
    source.unlink()
    assert target.read_bytes() == b"content"
    link_or_copy(tmp_path / "gone", target)
    assert target.read_bytes() == b"content"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing is missing"):
        read_bytes(tmp_path / "nothing", "the run")


def test_a_file_where_a_folder_should_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="could not be written"):
        write_bytes(tmp_path / "file" / "inside", b"content")
