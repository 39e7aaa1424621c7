"""A killed or failing write leaves the old file or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.core import files
from expunge.core.errors import RunError
from expunge.core.files import (
    clear_unfinished,
    link_or_copy,
    read_bytes,
    unfinished_name,
    write_bytes,
    write_with,
)


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


@pytest.mark.parametrize("name", [".file.part", ".file.0123456789abcdef.part"])
def test_what_somebody_laid_in_the_way_is_not_written_through(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link under a name that can be foreseen would lead the write elsewhere; one under the very name is refused."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    (tmp_path / name).symlink_to(precious)
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0123456789abcdef")
    if name == ".file.part":
        write_bytes(tmp_path / "file", b"new")
        assert (tmp_path / "file").read_bytes() == b"new"
    else:
        with pytest.raises(RunError, match="could not be written"):
            write_bytes(tmp_path / "file", b"new")
    assert precious.read_bytes() == b"precious"


def test_names_of_what_is_not_finished_cannot_be_foreseen_and_tell_what_it_is_of(tmp_path: Path) -> None:
    seen: list[str] = []
    for _ in range(2):
        write_with(tmp_path / "file", lambda temporary: seen.append(temporary.name) or temporary.write_bytes(b""))
    assert len(set(seen)) == 2
    assert [unfinished_name(name) for name in (*seen, ".file.part", "file", ".part")] == ["file"] * 3 + [None] * 2


def test_an_interrupted_write_leaves_nothing_beside(tmp_path: Path) -> None:
    def stopped(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(tmp_path / "file", stopped)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_of_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [".other.part", "file", ".file.part.txt"]
    for name in (*kept, ".file.part", ".file.0123456789abcdef.part"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".file.fedcba9876543210.part").mkdir()
    (tmp_path / ".file.fedcba9876543210.part" / "inside").write_bytes(b"")
    clear_unfinished(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
