"""A plain file that is written and read back: its format, its digest where it has one, and what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar, cast

from expunge.core.errors import DataError, ExpungeError
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.core.wording import LONGEST_NAME, clean
from expunge.records.form import Plain, from_plain, to_plain
from expunge.records.holds import Holds
from expunge.records.scalars import Digest

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Document(Plain):
    """A plain file. ``NAME`` is what it is called, ``HOLDS`` what of forgotten rows may stand in it, and how that ends.

    ``OTHER`` refuses another format, and ``AGAIN`` ends that refusal.
    """

    FORMAT: ClassVar[str]
    NAME: ClassVar[str]
    HOLDS: ClassVar[Holds]
    OTHER: ClassVar[str] = "{where} has the format {told}, not {wanted!r}: another version wrote it"
    AGAIN: ClassVar[str] = ""


@dataclass(frozen=True, kw_only=True)
class Sealed(Document):
    """A plain file with a digest over all but itself, and over nothing that is called ``CLOCK``, wherever it stands."""

    CLOCK: ClassVar[str] = ""
    ALTERED: ClassVar[str] = "{where} does not match its digest: it was altered"

    digest: Digest = ""


@dataclass(frozen=True)
class _Sealing:
    digest: Digest


def write_document(document: Document) -> str:
    """The text of a plain file."""
    return plain_json(to_plain(document))


def sealed(kind: type[Document], content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The content of a plain file, whatever is in it, with the digest that it should have."""
    return {**content, "digest": _digest(kind, content)} if issubclass(kind, Sealed) else content


def seal(document: Found) -> Found:
    """The document with its digest."""
    return replace(cast("Any", document), digest=_digest(cast("Any", document), to_plain(document)))


def _digest(kind: Sealed | type[Sealed], content: Mapping[str, Any]) -> str:
    told = {name: value for name, value in content.items() if name != "digest"}
    return sha256(kind.FORMAT.encode(), canonical_json(without(told, kind.CLOCK))).hex()


def without(value: Any, name: str) -> Any:
    """Plain JSON without what is called so, wherever it stands."""
    if isinstance(value, Mapping):
        told = cast("Mapping[str, Any]", value).items()
        return {key: without(inner, name) for key, inner in told if key != name}
    return [without(inner, name) for inner in cast("list[Any]", value)] if isinstance(value, list) else value


def read_document(kind: type[Found], content: Any, where: str, refusal: type[ExpungeError] = DataError) -> Found:
    """A plain file from its bytes, or from a value that was parsed; another format is a ``refusal`` of that class."""
    document = cast("type[Document]", kind)
    value = _parsed(content, where) if isinstance(content, bytes) else content
    told = cast("dict[str, Any]", from_plain(Mapping[str, Any], value, where))
    if (found := told.get("format")) != document.FORMAT:
        shown = clean(repr(found), LONGEST_NAME)
        raise refusal(document.OTHER.format(where=where, told=shown, wanted=document.FORMAT) + document.AGAIN)
    if issubclass(document, Sealed):
        digest = from_plain(_Sealing, {"digest": told["digest"]} if "digest" in told else {}, where).digest
        try:
            same = digest == _digest(document, told)
        except ExpungeError:  # keys or numbers that no writer of ours leaves
            same = False
        if not same:
            raise DataError(document.ALTERED.format(where=where) + document.AGAIN)
    return from_plain(kind, {name: inner for name, inner in told.items() if name != "format"}, where)


def _parsed(content: bytes, where: str) -> Any:
    try:
        return parse_json(content)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
