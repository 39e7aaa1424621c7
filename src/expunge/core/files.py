"""Writing so that a killed process leaves the old file or the new one, never half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from expunge.core.errors import RunError

PART = ".part"  # what is not finished is called .NAME.part


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
    temporary = path.with_name(f".{path.name}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer(temporary)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise RunError(
            f"{path} could not be written ({error.strerror or error}): nothing that was there is lost; "
            "make room or choose another place, then run the same command again"
        ) from error


def unfinished_name(name: str) -> str | None:
    """What the file was to be called that a killed process left under this name; None for any other name."""
    return name[1 : -len(PART)] if name.startswith(".") and name.endswith(PART) else None


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
