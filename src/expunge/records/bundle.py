"""Bundles: the files that go to an auditor, as a folder or a zip, opened as if a forger had made them.

A bundle holds files of a fixed list of names and nothing else. Nothing is unpacked to a place that a name decides,
nothing is executed, no link is followed; sizes are checked before and while bytes are read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

from expunge.core.errors import InvalidArgument, RecordError, RunError
from expunge.core.files import NEW, clear_unfinished, link_or_copy, unfinished, write_bytes
from expunge.records.archive import Member, open_member, read_directory, write_archive
from expunge.records.canonical import read_json
from expunge.records.holds import NOTHING, Held, Layout, Named, states
from expunge.records.limits import LIMITS, MEBIBYTE, Code, Limits, refused
from expunge.records.tensors import TensorFile

ENVELOPE = "envelope.json"
COMMIT = "commit.json"
RECIPE = "recipe.json"
HEAD = "log/checkpoint"
PACKED = ".zip"  # how names of bundles in one file end
MODEL = "model.safetensors"
TRACE = "trace.bin"
ASSIGNMENT = "assignment.bin"
UNITS = "units.bin"
TIERS = "tiers.bin"  # only where the recipe deals by tiers
UNIT_BYTES = 8  # of a slot in the former, of a unit in the latter
FOLDERS = ("checkpoints", "log", "parents")
LONGEST_NAME = 120
Found = TypeVar("Found")


class FileKind(Enum):
    """What a file of a bundle holds."""

    JSON = "canonical JSON"
    NOTE = "a signed note"
    BYTES = "bytes that the record names by their digest"
    TENSORS = "a safetensors file"


TRAINED = "the run that it is of was trained on them"
STATE_NAME = r"shard-(?P<shard>0|[1-9][0-9]{0,3})-step-(?P<step>[0-9]{8}|[1-9][0-9]{8,15})\.safetensors"
PLACES: tuple[tuple[Layout, FileKind], ...] = (  # what holds rows in the order in which hygiene lists it
    (Layout(r"(?:envelope|commit|recipe)\.json", NOTHING), FileKind.JSON),
    (Layout(r"(?:leaves(?:-calibration|-holdout)?|assignment|units|tiers)\.bin", NOTHING), FileKind.BYTES),
    (Layout(r"model\.safetensors", states("model in a bundle: weights", TRAINED)), FileKind.TENSORS),
    (Layout(r"trace\.bin", states("trace in a bundle: digests of losses", TRAINED)), FileKind.BYTES),
    (Layout(STATE_NAME, states("state in a bundle: {name}", TRAINED), "checkpoints"), FileKind.TENSORS),
    (
        Layout(r"checkpoint(?:-(?:0|[1-9][0-9]{0,15}))?", NOTHING, "log"),
        FileKind.NOTE,
    ),  # the last; earlier by their size
    (Layout(r"inclusion-[0-9a-f]{64}\.json", NOTHING, "log"), FileKind.JSON),  # by the digest of the envelope included
    (Layout(r"consistency-(?:0|[1-9][0-9]{0,15})\.json", NOTHING, "log"), FileKind.JSON),  # from that size to the last
    (Layout(r"[0-9a-f]{64}\.json", NOTHING, "parents"), FileKind.JSON),  # by the digest of the envelope
)


def kind_of(name: str) -> FileKind:
    """What the file of that name holds; a name that is not on the list is refused."""
    check_path(name)
    for layout, kind in PLACES:
        if layout.named(name) is not None:
            return kind
    raise refused(
        Code.UNSAFE_FILE,
        f"{name!r} is no file of a bundle (envelope, commit and recipe.json; leaves, assignment, units, tiers and "
        "trace.bin; model.safetensors; checkpoints/, log/, parents/): take it out, nothing but the list is opened",
    )


def holding_rows(names: Iterable[str]) -> Iterator[Named]:
    """Those files of a bundle that hold rows which its run was trained on."""
    for layout, _ in PLACES:
        found = (layout.named(name) for name in names if layout.holds.held is not Held.NOTHING)
        yield from (named for named in found if named is not None)


def check_path(name: str) -> None:
    """Refuse names that could lead elsewhere, or be another name on another system."""
    parts = name.removesuffix("/").split("/")
    plain = name.isascii() and name.isprintable() and not set(name) & set('\\:*?"<>| ')
    if not plain or len(name) > LONGEST_NAME or any(part.strip(".") == "" or part.endswith(".") for part in parts):
        raise refused(
            Code.UNSAFE_PATH,
            f"{name[:LONGEST_NAME]!r} could lead out of the bundle or be taken for another file: names are plain "
            "letters, digits, hyphens and dots, with one / at most",
        )


@dataclass(frozen=True)
class _File:
    """A file of a folder as it was when the bundle was opened."""

    path: Path
    size: int
    device: int
    inode: int

    def open(self, what: str) -> BinaryIO:
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            handle = os.fdopen(os.open(self.path, flags), "rb")
        except OSError as error:
            raise RunError(f"{what} could not be read ({error.strerror or error})") from None
        found = os.fstat(handle.fileno())
        same = (found.st_size, found.st_dev, found.st_ino) == (self.size, self.device, self.inode)
        if not same or not stat.S_ISREG(found.st_mode):
            handle.close()
            raise refused(Code.UNSAFE_FILE, f"{what} changed while the bundle was open: verify a copy of your own")
        return handle


class Repacked(RecordError):
    """A zip with the files of a bundle that is not byte for byte what ``write_zip`` makes of them.

    It was compressed, dated or made by another program: it has room for bytes that nothing reads.
    """


class Bundle:
    """An opened bundle; made by ``open_bundle``, closed at the end of its ``with``."""

    def __init__(
        self, path: Path, files: Mapping[str, _File | Member], archive: BinaryIO | None, limits: Limits
    ) -> None:
        self.path = path
        self.limits = limits
        self._files = dict(sorted(files.items()))
        self._archive = archive

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files, sorted."""
        return tuple(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def size(self, name: str) -> int:
        """Bytes of a file, unpacked."""
        return self._file(name).size

    @contextmanager
    def stream(self, name: str) -> Generator[BinaryIO]:
        """A file's bytes as a stream that can seek."""
        file, what = self._file(name), f"{self.path}, {name}"
        if isinstance(file, _File):
            opened = file.open(what)
        elif self._archive is None:
            raise InvalidArgument(f"{self.path} is closed: read inside its with block")
        else:
            opened = open_member(self._archive, file, str(self.path))
        with opened:
            yield opened

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        size = self.size(name)
        with self.stream(name) as stream:
            content = stream.read(size + 1)
        if len(content) != size:
            raise refused(Code.UNSAFE_FILE, f"{self.path}, {name} changed while it was read: verify a copy of your own")
        return content

    def json(self, name: str) -> Any:
        """A file's value as canonical JSON."""
        return read_json(self.read(name), name, self.limits)

    def digest(self, name: str) -> bytes:
        """SHA-256 of a file, in little memory."""
        state = sha256()
        with self.stream(name) as stream:
            while piece := stream.read(MEBIBYTE):
                state.update(piece)
        return state.digest()

    @contextmanager
    def tensors(self, name: str) -> Generator[TensorFile]:
        """A safetensors file, its header checked; tensors are read when they are asked for."""
        with self.stream(name) as stream:
            yield TensorFile(stream, self.size(name), name, self.limits)

    def close(self) -> None:
        if self._archive is not None:
            self._archive.close()
            self._archive = None

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _file(self, name: str) -> _File | Member:
        found = self._files.get(name)
        if found is None:
            raise InvalidArgument(f"{self.path} holds no {name}: ask whether it is there first")
        return found


def open_bundle(path: Path, limits: Limits = LIMITS) -> Bundle:
    """Open a folder or a zip; names, kinds, counts and sizes of everything in it are checked before this returns."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _checked(Bundle(path, _by_name(path, _scan(path, limits)), None, limits))
        if not stat.S_ISREG(mode):
            raise RunError(f"{path} is neither a folder nor a file: give a bundle")
        archive = path.open("rb")
    except FileNotFoundError:
        raise RunError(f"{path} is missing: give the folder or zip of a record") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path!s:.200} could not be read ({error})") from None
    try:
        members, exact = read_directory(archive, str(path), limits)
        files = _by_name(path, ((member.name, member) for member in members))
        bundle = _checked(Bundle(path, files, archive, limits))
        if not exact or list(files) != sorted(files):
            raise Repacked(
                Code.UNSAFE_FILE.value,
                f"{str(path)[-200:]} is not packed as attest packs, so some of its bytes are bound by nothing: unpack "
                "it yourself and give the folder",
            )
        return bundle
    except BaseException:
        archive.close()
        raise


def write_folder(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a bundle as a new folder, whole or not at all; files given by path are linked or copied."""
    with laid_out(path, files, packed=False):
        pass


def write_zip(path: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write a bundle as a zip; the same files give the same bytes, on every machine."""
    with laid_out(path, files, packed=True):
        pass


@contextmanager
def laid_out(path: Path, files: Mapping[str, bytes | Path], *, packed: bool, kept: bool = True) -> Generator[Path]:
    """A bundle under a name that nobody can foresee, to be looked at; at the end it is called ``path``, or is gone.

    It is gone in any case where it is not ``kept``.
    """
    for name in files:
        kind_of(name)
    if kept and path.exists():
        raise RunError(f"{path} exists: choose a new name for the bundle")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_unfinished(path)
        with unfinished(path) as made:
            (_pack if packed else _lay)(made, files)
            yield made
            if kept:
                made.rename(path)
    except OSError as error:
        raise RunError(f"{path} could not be written ({error.strerror or error}): choose another place") from error


def _lay(made: Path, files: Mapping[str, bytes | Path]) -> None:
    made.mkdir()
    for name, content in sorted(files.items()):
        if isinstance(content, bytes):
            write_bytes(made / name, content)
        else:
            link_or_copy(content, made / name)


def _pack(made: Path, files: Mapping[str, bytes | Path]) -> None:
    sources = [
        (name, partial(BytesIO, content) if isinstance(content, bytes) else partial(_source, content))
        for name, content in sorted(files.items())
    ]
    with os.fdopen(os.open(made, NEW, 0o666), "wb") as target:
        write_archive(target, sources)
        target.flush()
        os.fsync(target.fileno())


def _source(path: Path) -> BinaryIO:
    return path.open("rb")


def _scan(path: Path, limits: Limits) -> Iterator[tuple[str, _File]]:
    """Every file of a folder; links, devices and folders that are not on the list are refused."""
    waiting = [""]
    count = 0
    while waiting:
        folder = waiting.pop()
        with os.scandir(path / folder) as items:
            for item in items:
                count += 1
                if count > limits.files:
                    raise refused(Code.SIZE_LIMIT, f"{path} holds more than {limits.files} files, which is the limit")
                name = folder + item.name
                check_path(name)
                facts = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode) and name in FOLDERS:
                    waiting.append(name + "/")
                elif stat.S_ISREG(facts.st_mode):
                    yield name, _File(path / name, facts.st_size, facts.st_dev, facts.st_ino)
                elif stat.S_ISDIR(facts.st_mode):
                    raise refused(Code.UNSAFE_FILE, f"{path}: {name!r} is no folder of a bundle: take it out")
                else:
                    raise refused(Code.UNSAFE_PATH, f"{path}: {name!r} is a link or a device: copy the file itself")


def _by_name(path: Path, files: Iterable[tuple[str, Found]]) -> dict[str, Found]:
    """Files by name; two that are one name on some system are refused."""
    found: dict[str, Found] = {}
    seen: dict[str, str] = {}
    for name, file in files:
        other = seen.setdefault(name.casefold(), name)
        if name in found or other != name:
            raise refused(
                Code.UNSAFE_PATH,
                f"{path} holds {other!r} and {name!r}, one name on some systems: which of them counts would be a guess",
            )
        found[name] = file
    return found


def _checked(bundle: Bundle) -> Bundle:
    """Every name on the list, every size within the limits, and an envelope to begin with."""
    limits = bundle.limits
    largest = {FileKind.JSON: limits.json_bytes, FileKind.NOTE: limits.note_bytes}
    total = written = 0
    try:
        for name in bundle.names:
            kind, size = kind_of(name), bundle.size(name)
            total += size
            written += size if kind is FileKind.JSON else 0
            if size > largest.get(kind, size):
                raise _too_large(f"{bundle.path}, {name}", size, largest[kind])
        if total > limits.total_bytes:
            raise _too_large(str(bundle.path), total, limits.total_bytes)
        if written > limits.json_total_bytes:
            raise _too_large(f"{bundle.path}, all JSON files together", written, limits.json_total_bytes)
        if ENVELOPE not in bundle:
            raise refused(Code.UNSAFE_FILE, f"{bundle.path} holds no {ENVELOPE}: it is no bundle, or one half copied")
    except RecordError:
        bundle.close()
        raise
    return bundle


def _too_large(what: str, size: int, limit: int) -> RecordError:
    return refused(Code.SIZE_LIMIT, f"{what} holds {size} bytes, the limit is {limit}: raise it, or ask for less")


def checkpoint_name(shard: int, step: int) -> str:
    """The bundle's file of one recorded state."""
    return f"checkpoints/shard-{shard}-step-{step:08d}.safetensors"
