"""Salts of the leaves: open ones that everybody can compute, or secret ones in a file of their own.

A salt file is the line ``expunge/salts/1`` and 32 random bytes for each row of the source, in its order. 32 zero bytes
stand for a salt that was destroyed: nobody can tell any more which content its leaf was made of. The file is kept apart
from run folders, whose leaves are for others to see.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import NEW, unfinished, unfinished_name, write_with
from expunge.core.hashing import sha256, u64
from expunge.records.holds import Remedy, rows
from expunge.records.run_file import DataFile

HEADER = b"expunge/salts/1\n"
SALT_BYTES = 32
DESTROYED = bytes(SALT_BYTES)
GUESSED = "with its salt, a guess of a row can be tested against its leaf"
HOLDS = rows("salts of", GUESSED, remedy=Remedy.SALTS)
HOLDS_LEFT = rows(
    "what a killed process left of a salt file", f"{GUESSED}; nothing is opened with it", remedy=Remedy.LEFTOVER
)


class SaltMode(Enum):
    """Whether leaves can be tested against a guess of their content (open), or not (secret)."""

    OPEN = "open"
    SECRET = "secret"

    @property
    def note(self) -> str:
        """What run.json says of it."""
        if self is SaltMode.OPEN:
            return "leaves not hidden: salts are open"
        return "leaves hidden: salts are secret, in a file kept apart"


def open_salt(slot: int) -> bytes:
    """The default salt, known to everyone: leaves are bound but not hidden."""
    return sha256(b"expunge/open-salt/1", u64(slot))


class Salts(Protocol):
    """The salt of every committed row."""

    @property
    def mode(self) -> SaltMode: ...

    @property
    def place(self) -> Path | None:
        """The file that they lie in; None where they are open."""
        ...

    def of(self, row: int, slot: int) -> bytes | None:
        """Salt of a row of the source, which sits in ``slot`` of its split; None where it was destroyed."""
        ...


@dataclass(frozen=True)
class OpenSalts:
    """Salts that everybody can compute."""

    @property
    def mode(self) -> SaltMode:
        return SaltMode.OPEN

    @property
    def place(self) -> Path | None:
        return None

    def of(self, row: int, slot: int) -> bytes | None:
        return open_salt(slot)


@dataclass(frozen=True)
class SecretSalts:
    """Salts read from a file. They are not shown where this object is printed."""

    path: Path
    content: bytes = field(repr=False)

    @property
    def mode(self) -> SaltMode:
        return SaltMode.SECRET

    @property
    def place(self) -> Path | None:
        return self.path

    def __len__(self) -> int:
        return len(self.content) // SALT_BYTES

    def of(self, row: int, slot: int) -> bytes | None:
        salt = self.content[SALT_BYTES * row : SALT_BYTES * (row + 1)]
        return None if salt == DESTROYED else salt

    @property
    def destroyed(self) -> list[int]:
        """Rows of the source whose salts are gone, ascending."""
        return [row for row in range(len(self)) if self.of(row, 0) is None]

    @property
    def hiding_nothing(self) -> list[int]:
        """Rows of the source whose salts are no secrets, ascending: open ones, or those of an earlier row again."""
        known, found = {open_salt(slot) for slot in range(len(self))}, list[int]()
        for row in range(len(self)):
            salt = self.of(row, 0)
            if salt in known:
                found.append(row)
            elif salt is not None:
                known.add(salt)
        return found


OPEN = OpenSalts()


def read_salts(path: Path | str, rows: int) -> SecretSalts:
    """The salts of a source of so many rows."""
    place = Path(os.path.abspath(path))
    content = _content(place)
    found = len(content) // SALT_BYTES
    if found != rows:
        raise DataError(
            f"salt file {place} holds {found} salts, the committed data have {rows} rows: it belongs to another data "
            "set; give the right one with `salts` FILE"
        )
    return SecretSalts(place, content)


def salts_of(described: DataFile, moved: Path | str | None = None) -> Salts:
    """The salts of a run, from what run.json says of its data; ``moved`` is where the salt file lies now."""
    if not described.secret:
        if moved is not None:
            raise InvalidArgument(f"salt file {moved} has no use here: the run's salts are open; leave `salts` out")
        return OPEN
    place = described.salt_file if moved is None else moved
    if place is None:
        raise DataError("the run's salts are secret and run.json names no file of them: give it with `salts` FILE")
    return read_salts(place, described.rows)


def draw_salts(path: Path | str, rows: int, draw: Callable[[int], bytes] = secrets.token_bytes) -> SecretSalts:
    """New salts from the operating system's own source, for their owner's eyes alone. Nothing is ever overwritten.

    ``draw`` gives so many bytes; only a demonstration, which has no secrets, brings another source.
    """
    place = Path(os.path.abspath(path))
    content = draw(SALT_BYTES * rows)
    taken = RunError(f"{place} exists already: salts are never overwritten; choose another name")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(place) as temporary:
            _write(temporary, HEADER + content)
            try:
                os.link(temporary, place)
            except FileExistsError:
                raise taken from None
            except OSError:  # a disk without second names
                if place.exists():
                    raise taken from None
                temporary.replace(place)
        _sync_folder(place.parent)
    except OSError as error:
        raise RunError(
            f"salt file {place} could not be written ({error.strerror or error}): nothing is lost; choose another place"
        ) from error
    return SecretSalts(place, content)


def destroy_salts(path: Path | str, rows: Iterable[int]) -> int:
    """Replace the salts of these rows of the source by zeros, for good; how many of them were still there.

    The whole file is written anew and put in the old one's place; then the old one's bytes are overwritten too, as far
    as the disk allows. What killed processes left of it goes as well; copies of the file elsewhere are beyond reach.
    """
    place = Path(os.path.abspath(path))
    content = bytearray(_content(place))
    count = len(content) // SALT_BYTES
    gone = 0
    for row in sorted(set(rows)):
        if not 0 <= row < count:
            raise InvalidArgument(f"row {row} has no salt in {place}, which holds those of rows 0 to {count - 1}")
        where = slice(SALT_BYTES * row, SALT_BYTES * (row + 1))
        gone += bytes(content[where]) != DESTROYED
        content[where] = DESTROYED
    if not gone:
        _remove_leftovers(place)
        return 0
    try:
        with place.open("r+b") as before:
            write_with(place, lambda temporary: _write(temporary, HEADER + content))
            _sync_folder(place.parent)
            before.write(HEADER + content)
            before.flush()
            os.fsync(before.fileno())
    except OSError as error:
        raise RunError(
            f"salt file {place} could not be written ({error.strerror or error}): the salts may still be there; make "
            "it writable, then try again"
        ) from error
    _remove_leftovers(place)
    return gone


def leftovers(path: Path | str) -> tuple[Path, ...]:
    """What a process that was killed while it wrote this salt file left beside it: second names, or half of a copy."""
    place = Path(os.path.abspath(path))
    try:
        hidden = [item for item in place.parent.iterdir() if item.is_file()]
    except OSError:
        return ()
    return tuple(sorted(item for item in hidden if unfinished_name(item.name) == place.name))


def remove_leftover(path: Path) -> None:
    """Nobody opens anything with it. One that is a second name of the live file only loses that name."""
    named = unfinished_name(path.name)
    if named is None:
        raise InvalidArgument(f"{path} is nothing that is left of a salt file: its name must be .NAME.part")
    if not path.exists() and not path.is_symlink():
        return
    try:
        if not path.is_symlink() and not _is_same(path, path.with_name(named)):
            with path.open("r+b") as handle:
                handle.write(bytes(path.stat().st_size))
                handle.flush()
                os.fsync(handle.fileno())
        path.unlink()
    except OSError as error:
        raise RunError(
            f"{path}, which a killed process left of a salt file, could not be removed ({error.strerror or error}): "
            "the salts may still be there; remove it, then try again"
        ) from error
    _sync_folder(path.parent)


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and os.path.samefile(one, other)


def _remove_leftovers(place: Path) -> None:
    for leftover in leftovers(place):
        remove_leftover(leftover)


def check_apart(path: Path | str) -> None:
    """A salt file in a run folder would go where the leaves go."""
    place = Path(os.path.abspath(path))
    folder = next((parent for parent in place.parents if (parent / "run.json").is_file()), None)
    if folder is not None:
        raise InvalidArgument(
            f"salt file {place} lies in the run folder {folder}: whoever is given the leaves must not get the salts; "
            "keep it elsewhere"
        )


def _content(place: Path) -> bytes:
    try:
        found = place.read_bytes()
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"could not be read ({error.strerror})"
        raise DataError(
            f"salt file {place} {reason}: without it no row can be checked against its leaf; put it back, or say where "
            "it is with `salts` FILE"
        ) from None
    if not found.startswith(HEADER) or (len(found) - len(HEADER)) % SALT_BYTES:
        raise DataError(
            f"{place} is no salt file, or a damaged one ({len(found)} bytes): it begins with a line "
            f"{HEADER.decode().strip()!r} and has {SALT_BYTES} bytes for each row; give the right one with `salts` FILE"
        )
    return found[len(HEADER) :]


def _write(path: Path, content: bytes | bytearray) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, NEW, 0o600), "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    """A new name lasts once its folder is on disk; where folders cannot be synced, nothing is done."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
