"""Single mutations of a bundle's bytes: of files, of fields inside them that nobody signs again, and of the zip.

Every mutation is drawn from a seed and a number, so it can be made again from the name that a failure prints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from tests.verify.lineages import ORIGIN, OWNER, RECORDED_AT
from tests.verify.records import files_of

from expunge.adversary.table.story import Story
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json
from expunge.records.archive import write_archive
from expunge.records.bundle import FileKind, kind_of
from expunge.records.canonical import read_base64, write_base64
from expunge.records.draft import sign
from expunge.records.statement import Statement

SUMS = "../sums.safetensors"
OPTIONAL = ("model.safetensors", "checkpoints/")  # left out below V2, and the verdict says what was not compared
BEFORE_BEACON, AFTER_RUN = Time("2026-01-01T12:00:00Z").seconds, RECORDED_AT.seconds


@dataclass(frozen=True)
class Target:
    """An honest bundle that is to be mutated."""

    name: str
    story: Story
    files: Mapping[str, bytes]
    witnesses: int = 0  # how many the auditor asks for
    sums: bytes | None = None  # what the auditor is handed beside the bundle

    @classmethod
    def of(cls, name: str, story: Story, *, witnessed: bool = False, sums: bytes | None = None) -> Target:
        """Signed and logged: the commitment first, whose head is kept, then the runs."""
        before, after = (BEFORE_BEACON, AFTER_RUN) if witnessed else (None, None)
        files = files_of(story, commit_first=True, witnessed_at=before, cosigned_at=after)
        return cls(name, story, files, int(witnessed), sums)

    @cached_property
    def envelopes(self) -> tuple[bytes, ...]:
        """The chain as it was signed."""
        return sign(self.story.draft, OWNER).envelopes

    @cached_property
    def links(self) -> tuple[Statement, ...]:
        """What was signed, each link naming the one before it."""
        signed = replace(self.story, draft=replace(self.story.draft, chain=self.envelopes))
        return tuple(signed.link(at) for at in range(len(self.envelopes)))

    @cached_property
    def archive(self) -> bytes:
        """The bundle as one zip."""
        target = BytesIO()
        write_archive(target, [(name, lambda name=name: BytesIO(self.files[name])) for name in sorted(self.files)])
        return target.getvalue()


@dataclass(frozen=True)
class Mutation:
    """A bundle with one thing changed: ``files`` in place of the target's, or ``archive`` in place of its zip.

    A file named SUMS is no part of the bundle: it lies beside it.
    """

    target: Target
    kind: str
    what: str
    files: Mapping[str, bytes] | None = None
    archive: bytes | None = None

    def __str__(self) -> str:
        return f"{self.target.name}: {self.kind}: {self.what}"


def mutation(targets: Sequence[Target], seed: int, number: int) -> Mutation:
    """The mutation of that number; kinds take turns, everything else is drawn."""
    kind = tuple(KINDS)[number % len(KINDS)]
    attempt = 0
    while True:  # a draw may give back what was there, such as two equal bytes exchanged
        draws = Random(f"{seed}/{number}/{attempt}")
        target = draws.choice(targets)
        found = KINDS[kind](target, draws)
        if found is not None and found[1] not in (target.files, target.archive):
            what, changed = found
            named = f"{what} (seed {seed}, number {number})"
            if isinstance(changed, bytes):
                return Mutation(target, kind, named, archive=changed)
            return Mutation(target, kind, named, files=changed)
        attempt += 1


# Bytes, wherever they stand


def _byte(content: bytes, draws: Random) -> tuple[str, bytes]:
    at, new = draws.randrange(len(content)), draws.randrange(256)
    return f"byte {at} becomes {new:02x}", content[:at] + bytes([new]) + content[at + 1 :]


def _bit(content: bytes, draws: Random) -> tuple[str, bytes]:
    at, bit = draws.randrange(len(content)), draws.randrange(8)
    return f"bit {bit} of byte {at} turns", content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def _inserted(content: bytes, draws: Random) -> tuple[str, bytes]:
    at, new = draws.randrange(len(content) + 1), draws.randbytes(draws.choice((1, 1, 2, 8, 32)))
    return f"{new.hex()} comes in before byte {at}", content[:at] + new + content[at:]


def _deleted(content: bytes, draws: Random) -> tuple[str, bytes]:
    at, count = draws.randrange(len(content)), draws.choice((1, 1, 2, 8, 32))
    return f"{count} from byte {at} on are gone", content[:at] + content[at + count :]


def _truncated(content: bytes, draws: Random) -> tuple[str, bytes]:
    at = draws.randrange(len(content))
    return f"cut off at byte {at}", content[:at]


def _swapped(content: bytes, draws: Random) -> tuple[str, bytes]:
    one, two = sorted(draws.randrange(len(content)) for _ in range(2))
    new = bytearray(content)
    new[one], new[two] = new[two], new[one]
    return f"bytes {one} and {two} change places", bytes(new)


def _repeated(content: bytes, draws: Random) -> tuple[str, bytes]:
    """A line twice, or a piece as long as a digest where there are no lines."""
    if content.endswith(b"\n"):
        lines = content.splitlines(keepends=True)
        at = draws.randrange(len(lines))
        return f"line {at} twice", b"".join([*lines[: at + 1], *lines[at:]])
    size = draws.choice((1, 8, 32, 64))
    at = draws.randrange(len(content)) // size * size
    return f"{size} bytes from {at} on twice", content[: at + size] + content[at : at + size] + content[at + size :]


BYTES: dict[str, Callable[[bytes, Random], tuple[str, bytes]]] = {
    "byte": _byte,
    "bit": _bit,
    "inserted": _inserted,
    "deleted": _deleted,
    "truncated": _truncated,
    "swapped": _swapped,
    "repeated": _repeated,
}
Changed = tuple[str, dict[str, bytes] | bytes]


def _of_file(change: Callable[[bytes, Random], tuple[str, bytes]]) -> Callable[[Target, Random], Changed | None]:
    def mutate(target: Target, draws: Random) -> Changed | None:
        name = draws.choice(sorted(target.files))
        content = target.files[name]
        if not content:
            return None
        what, new = change(content, draws)
        return f"{name}: {what}", {**target.files, name: new}

    return mutate


def _of_archive(change: Callable[[bytes, Random], tuple[str, bytes]]) -> Callable[[Target, Random], Changed | None]:
    def mutate(target: Target, draws: Random) -> Changed | None:
        if draws.random() < 0.5:  # headers and directory, which are short beside the files
            content, start = target.archive, target.archive.index(b"PK\x01\x02")
            what, new = change(content[start:], draws)
            return f"directory from {start}: {what}", content[:start] + new
        what, new = change(target.archive, draws)
        return what, new

    return mutate


def _sums(target: Target, draws: Random) -> Changed | None:
    """A change of the sums that are handed over beside the bundle; every number of them is under a digest."""
    if target.sums is None:
        return None
    kind = draws.choice(sorted(BYTES))
    what, new = BYTES[kind](target.sums, draws)
    return None if new == target.sums else (f"sums: {kind}: {what}", {**target.files, SUMS: new})


# Fields that nobody signs again


def _field(target: Target, draws: Random) -> Changed | None:
    """One value inside a JSON file, another of its type; written canonically, signatures left as they are."""
    name = draws.choice([name for name in sorted(target.files) if kind_of(name) is FileKind.JSON])
    value = json.loads(target.files[name])
    signed = "payload" in value
    if signed and draws.random() < 0.8:
        payload = json.loads(read_base64(value["payload"], name))
        place, old, new = _drawn_value(payload, draws)
        value["payload"] = write_base64(canonical_json(_with(payload, place, new)))
    else:
        place, old, new = _drawn_value(value, draws)
        value = _with(value, place, new)
    if old == new and type(old) is type(new):
        return None
    where = ".".join(map(str, place))
    return f"{name}: {where} becomes {str(new)[:40]!r}", {**target.files, name: canonical_json(value)}


def _drawn_value(value: Any, draws: Random) -> tuple[tuple[str | int, ...], Any, Any]:
    """A place inside JSON, what stands there, and what shall."""
    places = list(_places(value))
    place, old = draws.choice(places)
    return place, old, _other(old, draws)


def _places(value: Any, place: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    found: list[tuple[tuple[str | int, ...], Any]] = [(place, value)] if place else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += _places(inner, (*place, name))
    return found


def _other(value: Any, draws: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return draws.choice((0, value + 1, max(0, value - 1), 2**32, 2**53 - 1, value ^ 1 << draws.randrange(8)))
    if isinstance(value, str):
        digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return draws.randbytes(32).hex() if digest else draws.choice(("", value + "x", value[:-1], value.upper(), "0"))
    if isinstance(value, list):
        shuffled = draws.sample(value, len(value))
        return draws.choice((value[1:], value[:-1], value + value[-1:], shuffled, [], [0]))
    return draws.choice(({}, {**value, "added": 1}, dict(list(value.items())[1:]), [value], None))


def _with(value: Any, place: tuple[str | int, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = _with(value[place[0]], place[1:], new)
    return copy


def _note(target: Target, draws: Random) -> Changed | None:
    """A line of the log's signed head in another place, gone, or with a word exchanged."""
    name = draws.choice([name for name in sorted(target.files) if kind_of(name) is FileKind.NOTE])
    lines = target.files[name].decode().splitlines(keepends=True)
    at = draws.randrange(len(lines))
    other = draws.randrange(len(lines))
    new = {
        "gone": [*lines[:at], *lines[at + 1 :]],
        "copied": [*lines[:other], lines[at], *lines[other:]],
        "changed": [*lines[:at], draws.choice(("2", "4", ORIGIN + "x", "", "— ")) + "\n", *lines[at + 1 :]],
        "longer": [*lines[:at], lines[at].rstrip("\n") + draws.choice((" ", "=", "0", "\t")) + "\n", *lines[at + 1 :]],
    }
    how = draws.choice(sorted(new))
    return f"{name}: line {at} {how}", {**target.files, name: "".join(new[how]).encode()}


# Files as wholes


def _file(target: Target, draws: Random) -> Changed | None:
    """A file that is needed is missing, two are exchanged, one has another's name or is there once more."""
    names = sorted(target.files)
    needed = [name for name in names if not name.startswith(OPTIONAL)]
    one, two = draws.choice(names), draws.choice(names)
    kept = dict(target.files)
    how = draws.choice(("removed", "exchanged", "renamed", "copied", "stray", "empty"))
    if how == "removed":
        one = draws.choice(needed)
        del kept[one]
        return f"{one} is missing", kept
    if how == "exchanged":
        kept[one], kept[two] = kept[two], kept[one]
        return f"{one} and {two} are exchanged", kept
    if how == "empty":
        return f"{one} is empty", {**kept, one: b""}
    if how == "stray":
        new = draws.choice(STRAYS)
        return f"{new} is added", {**kept, new: draws.choice((b"", b"{}", target.files[one]))}
    new = draws.choice((*STRAYS, *names))
    content = kept.pop(one) if how == "renamed" and one in needed else kept[one]
    return f"{one} {how} to {new}", {**kept, new: content}


STRAYS = (
    "parents/" + "0" * 64 + ".json",
    "log/inclusion-" + "0" * 64 + ".json",
    "log/consistency-2.json",
    "log/consistency-0.json",
    "log/checkpoint-2",
    "log/checkpoint-0",
    "checkpoints/shard-0-step-00000007.safetensors",
    "checkpoints/shard-9-step-00000005.safetensors",
    "hygiene.json",
    "readme.txt",
)

KINDS: dict[str, Callable[[Target, Random], Changed | None]] = {
    **{kind: _of_file(change) for kind, change in BYTES.items()},
    "field": _field,
    "field again": _field,
    "field once more": _field,
    "note": _note,
    "file": _file,
    "sums": _sums,
    **{f"zip {kind}": _of_archive(change) for kind, change in BYTES.items()},
}


class Workbench:
    """A folder in which one bundle lies at a time; only files that differ from the last one are written."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._there = folder / "bundle", dict[str, bytes]()
        self._archive = folder / "bundle.zip"
        self._folder.mkdir(parents=True)

    def lay_out(self, found: Mutation | Target) -> Path:
        """Where the mutated bundle lies now."""
        archive = found.archive if isinstance(found, Mutation) else None
        target = found.target if isinstance(found, Mutation) else found
        if archive is not None:
            self._archive.write_bytes(archive)
        sums = {} if target.sums is None else {SUMS: target.sums}
        files = {**sums, **((found.files if archive is None else target.files) or {})}
        for name in set(self._there) - set(files):
            (self._folder / name).unlink()
        for name, content in files.items():
            if self._there.get(name) != content:
                (self._folder / name).parent.mkdir(exist_ok=True)
                (self._folder / name).write_bytes(content)
        self._there = dict(files)
        return self._folder if archive is None else self._archive

    @property
    def checkpoints(self) -> Path | None:
        """The folder of sums, if there are any beside what lies here."""
        return self._folder.parent if SUMS in self._there else None
