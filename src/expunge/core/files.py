"""Writing so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from expunge.core.errors import RunError

PART = ".part"  # what is not finished is called .NAME.RANDOM.part; earlier versions called it .NAME.part
UNFINISHED = re.compile(r"\.(?P<of>.+?)(?:\.[0-9a-f]{16})?\.part\Z")
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)  # a file that nobody laid there before


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary name, sync, rename."""

    def writer(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_with(path, writer)


def write_text(path: Path, content: str) -> None:
    """Like ``write_bytes``, UTF-8."""
    write_bytes(path, content.encode("utf-8"))


def write_with(path: Path, writer: Callable[[Path], None]) -> None:
    """Let ``writer`` fill a temporary file beside ``path``, then sync and rename it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(path) as temporary:
            os.close(os.open(temporary, NEW, 0o666))
            writer(temporary)
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror or error}): nothing that was there is lost; "
            "make room or choose another place, then run the same command again"
        ) from error


@contextmanager
def unfinished(path: Path) -> Generator[Path]:
    """A name beside ``path`` that nobody can foresee; what bears it at the end, and was not renamed, is removed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{PART}")
    try:
        yield temporary
    finally:
        _remove(temporary)


def unfinished_name(name: str) -> str | None:
    """What the file was to be called that a killed process left under this name; None for any other name."""
    found = UNFINISHED.match(name)
    return None if found is None else found["of"]


def clear_unfinished(path: Path) -> None:
    """Remove what killed processes left of a file or folder; whoever asks for it must be its only writer."""
    for item in path.parent.glob(f".*{PART}"):
        if unfinished_name(item.name) == path.name:
            _remove(item)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def append_bytes(path: Path, content: bytes) -> None:
    """Append and sync; a partial tail is cut off when the file is taken up again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise RunError(
            f"{path} could not be written ({error.strerror or error}): the last good state is kept; make room, then "
            "run the same command again"
        ) from error


def link_or_copy(source: Path, target: Path) -> None:
    """A second name for the same bytes where the disk allows it, else a copy; never a symbolic link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        write_with(target, lambda temporary: _copy(source, temporary))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def read_bytes(path: Path, what: str) -> bytes:
    """Read a file that must be there; ``what`` names it in the error."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {what} cannot be opened without it") from None
    except IsADirectoryError:
        raise RunError(f"{path} is a folder and {what} is a file: name the file") from None
    except OSError as error:
        raise RunError(f"{path} could not be read ({error.strerror or error})") from None
