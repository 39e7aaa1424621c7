"""What hygiene writes: what a run declares destroyed, what a destruction is about to end, and what left an old folder.

Records repeat ``hygiene.json``, so nothing that is not known may stand in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from expunge.core.errors import DataError
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import parse_json
from expunge.core.wording import says_why
from expunge.records.document import Document, read_document, write_document
from expunge.records.form import NEEDED, Many, Plain, Through
from expunge.records.holds import NOTHING, Holds, Remedy
from expunge.records.scalars import Bound, Digest, Second, Slots, sized

LONGEST_PLACE = 4096
MOST = 2**20
WrittenPath = Annotated[
    Path,
    Through(
        Annotated[
            str,
            sized(1, LONGEST_PLACE, "a path"),
            Bound("a path", lambda value: value if value.isprintable() else None),
        ],
        str,
        Path,
    ),
]
KeptReason = Annotated[str, Bound("a reason in words", lambda value: value if says_why(value) else None)]


@dataclass(frozen=True)
class Destroyed:
    """One thing that is gone: what it was, and its digest if it had one, in hexadecimal."""

    what: str
    digest: Digest | None = field(default=None, metadata=NEEDED)


@dataclass(frozen=True)
class Window:
    """The old state is kept for so many days."""

    days: Annotated[int, Bound("a number of days from 1", lambda value: value or None)]
    until: Second


@dataclass(frozen=True)
class Declaration(Document):
    """hygiene.json: what is gone, or until when the old state is kept for auditors, or why it is kept."""

    FORMAT: ClassVar[str] = "expunge/hygiene/1"
    NAME: ClassVar[str] = "hygiene.json"
    HOLDS: ClassVar[Holds] = NOTHING

    retired: Annotated[tuple[Destroyed, ...], Many(MOST)] = ()
    window: Window | None = field(default=None, metadata=NEEDED)
    kept_state: KeptReason | None = None  # why old state stays, where nobody is to end it

    def check(self, where: str) -> None:
        """A record repeats it: what is not known cannot be repeated."""
        if self.rest:
            raise DataError(f"{where} has the unknown field {min(self.rest)[:40]!r}: the file was altered")


@dataclass(frozen=True, kw_only=True)
class IntentStep(Plain):
    """One thing to end; ``folder`` is the run or tuning that it lies in, None for salts."""

    path: WrittenPath
    folder: WrittenPath | None
    what: str
    digest: Digest | None
    remedy: Remedy
    keep: int
    rows: Slots


@dataclass(frozen=True, kw_only=True)
class Intent(Document):
    """hygiene-intent.json: what a destruction is about to end, for the run with these weights.

    ``before`` is what was declared when it began; older files do not say.
    """

    FORMAT: ClassVar[str] = "expunge/hygiene-intent/1"
    NAME: ClassVar[str] = "hygiene-intent.json"
    HOLDS: ClassVar[Holds] = NOTHING

    run: Digest
    before: Annotated[tuple[Destroyed, ...], Many(MOST)] | None = None
    steps: Annotated[tuple[IntentStep, ...], Many(MOST)]


@dataclass(frozen=True, kw_only=True)
class Gone(Plain):
    """A file that went from an old folder."""

    file: str
    what: str
    digest: Digest | None


@dataclass(frozen=True, kw_only=True)
class RetiredFile(Document):
    """retired.json: what went from an old folder, and for which new weights, before it goes."""

    FORMAT: ClassVar[str] = "expunge/retired/1"
    NAME: ClassVar[str] = "retired.json"
    HOLDS: ClassVar[Holds] = NOTHING
    AGAIN: ClassVar[str] = "; remove it and look again"

    run: Digest = field(metadata={"name": "for"})
    gone: Annotated[tuple[Gone, ...], Many(MOST)]


def together(before: Sequence[Destroyed], now: Sequence[Destroyed]) -> tuple[Destroyed, ...]:
    """Both lists, each thing once; what has no digest is counted as often as it was destroyed."""
    return (*before, *(item for item in now if item.digest is None or item not in before))


def write_declaration(folder: Path, declaration: Declaration) -> None:
    """Into the run folder, whole or not at all."""
    write_text(folder / Declaration.NAME, write_document(declaration))


def read_declaration(folder: Path) -> Declaration | None:
    """What the run declares; None where nothing was declared."""
    path = folder / Declaration.NAME
    if not path.is_file():
        return None
    told: Any = parse_json(read_bytes(path, "the declaration"))
    try:
        return read_document(Declaration, told, str(path))
    except DataError:
        raise DataError(
            f"{path} is no declaration of hygiene: it was altered; run `expunge hygiene {folder}` again"
        ) from None
