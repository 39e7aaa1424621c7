"""Frozen dataclasses to JSON and back: the types of the fields are the schema of every file that is read again.

Two forms. **Signed**: camelCase, reals as C99 hex strings, ``bytes`` as 64 hexadecimal digits; unknown keys and nulls
are refused, so that one value has one text. **Plain**: names as they stand, ordinary numbers; keys that this version
does not know are kept in ``rest`` and written back. In both a tuple is a list, an enum its value, and a field with the
default None may be absent and is left out. Whatever is not exactly of its type is refused with the place where it
stands; the method ``check`` of a class says what must hold between its fields.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from expunge.core.clock import Time
from expunge.core.errors import DataError, ExpungeError, RecordError
from expunge.core.hashing import LARGEST_INTEGER
from expunge.core.wording import clean
from expunge.records.canonical import checked_list, checked_object, checked_text, malformed
from expunge.records.scalars import PLAIN, SIGNED, Bound, ReadValue, raw, unfit

Found = TypeVar("Found")
MOST_ITEMS = 2000
AS_IT_IS = (str, bool)  # plain values of these types need no reader
NULL = {"null": True}  # metadata of a field that may be absent and is written as null
NEEDED = {"null": True, "needed": True}  # of a field that stands in every file, and whose None is written as null
UNWRITTEN = {"unwritten": True}  # of a field that stands in no file
INLINE = {"inline": True}  # metadata of a part whose fields stand among those of its owner: all of them or none


@dataclass(frozen=True)
class Through:
    """A type that is written as another: ``shape`` is a dataclass or a choice of some."""

    shape: Any
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


@dataclass(frozen=True)
class Many:
    """Marks a list that may be longer than others."""

    most: int


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Part of a plain document. ``rest`` is kept as it is: keys that are unknown, and nulls that may be left out."""

    rest: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


def to_json(value: Any) -> Any:
    """A signed value, as ``canonical_json`` takes it."""
    return _written(type(value), value, True)


def from_json(kind: type[Found], value: Any, what: str) -> Found:
    """A signed value from untrusted JSON; ``what`` names the place in the refusal."""
    return cast("Found", _reader(kind, True)(value, what))


def to_plain(value: Any, kind: Any = None) -> Any:
    """A plain value, as JSON takes it; ``kind`` is its type where that is written through a shape."""
    return _written(kind or type(value), value, False)


def some_of(part: Any, *names: str) -> dict[str, Any]:
    """Some fields and properties of a value, as JSON takes them; what it does not have is null."""
    return {name: to_plain(getattr(part, name)) for name in names}


def from_plain(kind: Any, value: Any, where: str) -> Any:
    """A plain value from untrusted JSON; ``where`` names the place in the refusal."""
    return _reader(kind, False)(value, where)


def _written(kind: Any, value: Any, signed: bool) -> Any:
    """A value as JSON takes it. Of its type only ``Through`` matters, all else shows in the value."""
    if value is None:
        return None
    through, inside = _shape(kind)
    if through is not None:
        return to_plain(through.write(value))
    if isinstance(value, str):
        return value.value if isinstance(value, Enum) else raw(value)
    if isinstance(value, int | float):
        return str(value) if signed and isinstance(value, int) and value > LARGEST_INTEGER else value
    if isinstance(value, list | tuple):
        return [_written(inside, item, signed) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, Mapping):
        return {name: _written(inside, item, signed) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, Time):
        return value.text
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    return _object_of(value, signed) if is_dataclass(value) else value


@functools.cache
def _shape(kind: Any) -> tuple[Through | None, Any]:
    """How values of a type are written, if not as they are; and the type of what they hold."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        through = next((mark for mark in inner[1:] if isinstance(mark, Through)), None)
        return _shape(inner[0]) if through is None else (through, Any)
    if origin in (Union, types.UnionType):
        return _shape(next(one for one in inner if one is not type(None)))
    return None, inner[-1 if origin is Mapping else 0] if inner else Any


def _object_of(value: Any, signed: bool) -> dict[str, Any]:
    schema, rest = _schema(type(value), signed), getattr(value, "rest", {})
    found: dict[str, Any] = {"format": value.FORMAT} if hasattr(value, "FORMAT") else {}
    for name, (attribute, kind) in schema.known.items():
        told = _written(kind, getattr(value, attribute), signed)
        if told is not None or (name in schema.nulls and not signed):
            found[name] = told
    for attribute in schema.groups:
        found |= {} if (group := getattr(value, attribute)) is None else _object_of(group, signed)
    return {**rest, **found}


@dataclass(frozen=True)
class _Schema:
    """Of a dataclass: by JSON name the attribute and its type; names that must be there, or are written if null."""

    known: Mapping[str, tuple[str, Any]]
    needed: frozenset[str]
    nulls: frozenset[str]
    groups: Mapping[str, type]  # by attribute the inline parts


@functools.cache
def _schema(kind: type, signed: bool) -> _Schema:
    hints = get_type_hints(kind, include_extras=True)
    own = [item for item in fields(kind) if item.name != "rest" and not item.metadata.keys() & {"inline", "unwritten"}]
    return _Schema(
        known={_name(item, signed): (item.name, hints[item.name]) for item in own},
        needed=frozenset(_name(item, signed) for item in own if item.default is not None or "needed" in item.metadata),
        nulls=frozenset(_name(item, signed) for item in own if item.default is not None or "null" in item.metadata),
        groups={item.name: get_args(hints[item.name])[0] for item in fields(kind) if "inline" in item.metadata},
    )


def _name(item: Field[Any], signed: bool) -> str:
    name = str(item.metadata.get("name", item.name))
    return camel(name) if signed else name


def camel(name: str) -> str:
    """recorded_at → recordedAt."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@functools.cache
def _reader(kind: Any, signed: bool) -> ReadValue:
    """How a value of a type is read."""
    origin = get_origin(kind)
    inner: tuple[Any, ...] = get_args(kind)
    if origin is Annotated:
        return _marked(inner[0], inner[1:], signed)
    if origin in (Union, types.UnionType):
        some: tuple[Any, ...] = tuple(one for one in inner if one is not type(None))
        read = _chosen(some) if len(some) > 1 else _reader(*some, signed)
        return read if signed or len(some) == len(inner) else lambda told, at: None if told is None else read(told, at)
    if origin is tuple:
        return _items(_reader(inner[0], signed), signed)
    if origin is Literal:
        return _word(inner, signed)
    if kind is Any:
        return lambda value, where: value
    if origin is not None:
        return _object if inner[1] is Any and not signed else _members(_reader(inner[1], signed), signed)
    if kind in (SIGNED if signed else PLAIN):
        return (SIGNED if signed else PLAIN)[kind]
    if issubclass(kind, Enum):
        word = _word(tuple(item.value for item in kind), signed)
        return lambda value, where: kind(word(value, where))
    return (_signed_fields if signed else _plain_fields)(kind)


def _marked(kind: Any, marks: tuple[Any, ...], signed: bool) -> ReadValue:
    if isinstance(marks[0], Through):
        shape, make = _reader(marks[0].shape, signed), marks[0].read
        return lambda value, where: _made(make, shape(value, where), where)
    if isinstance(marks[0], Many):
        return _items(_reader(get_args(kind)[0], signed), signed, marks[0].most)
    read, bounds = _reader(kind, signed), cast("tuple[Bound, ...]", marks)

    def bounded(value: Any, where: str) -> Any:
        found = read(value, where)
        for bound in bounds:
            if (kept := bound.fit(found)) is None:
                raise malformed(where, f"{bound.needed} is expected") if signed else bound.refusal(value, where)
            found = kept
        return found

    return bounded


def _made(make: Callable[[Any], Any], told: Any, where: str) -> Any:
    """A value whose class has rules of its own: what they refuse is refused with the place."""
    try:
        return make(told)
    except (DataError, RecordError):
        raise
    except ExpungeError as error:
        raise DataError(f"{where}: {error}") from None


def _chosen(kinds: tuple[Any, ...]) -> ReadValue:
    """One of some plain dataclasses: by the word that each has as a literal, else by its first field."""
    literals = {
        name: get_args(told)[0] for kind in kinds for name, told in get_type_hints(kind).items() if _is_word(told)
    }
    tag = next(iter(literals), None)
    words = {} if tag is None else {get_args(get_type_hints(kind)[tag])[0]: _reader(kind, False) for kind in kinds}
    first = {next(iter(_schema(kind, False).known)): _reader(kind, False) for kind in kinds}
    otherwise = _reader(kinds[0], False)

    def read(value: Any, where: str) -> Any:
        told = _object(value, where)
        if tag is not None:
            word = _word(tuple(words), False)(_member(told, tag, where), f"{where} {tag}")
            return words[word](value, where)
        return next((reader for name, reader in first.items() if name in told), otherwise)(value, where)

    return read


def _is_word(told: Any) -> bool:
    return get_origin(told) is Literal and len(get_args(told)) == 1


def _items(read: ReadValue, signed: bool, most: int = MOST_ITEMS) -> ReadValue:
    def items(value: Any, where: str) -> tuple[Any, ...]:
        if signed:
            return tuple(read(item, f"{where}[{at}]") for at, item in enumerate(checked_list(value, where)))
        if not isinstance(value, list):
            raise unfit(value, where, "a list")
        told = cast("list[Any]", value)
        if len(told) > most:
            raise DataError(f"{where} lists {len(told)} entries, at most {most} are ever written: it was altered")
        return tuple(read(item, f"{where} [{at}]") for at, item in enumerate(told))

    return items


def _members(read: ReadValue, signed: bool) -> ReadValue:
    """A mapping; in the signed form of plain JSON: what it may hold is its reader's question."""

    def members(value: Any, where: str) -> Mapping[str, Any]:
        if not signed:
            return {name: read(inner, f"{where} {name}") for name, inner in _object(value, where).items()}
        if not isinstance(value, dict):
            raise malformed(where, "an object is expected")
        return cast("dict[str, Any]", value)

    return members


def _word(words: tuple[str, ...], signed: bool) -> ReadValue:
    def word(value: Any, where: str) -> str:
        if signed and (text := checked_text(value, where)) not in words:
            raise malformed(where, f"{text[:40]!r} is not one of {', '.join(words)}")
        if not isinstance(value, str) or value not in words:
            raise unfit(value, where, f"one of {', '.join(words)}")
        return value

    return word


def _signed_fields(kind: type) -> ReadValue:
    schema = _schema(kind, True)
    optional = frozenset(schema.known) - schema.needed
    assert not schema.groups, kind

    def read(value: Any, where: str) -> Any:
        told = checked_object(value, where, schema.needed, optional)
        found = {name: _reader(schema.known[name][1], True)(inner, f"{where}.{name}") for name, inner in told.items()}
        return kind(**{schema.known[name][0]: inner for name, inner in found.items()})

    return read


def _plain_fields(kind: type) -> ReadValue:
    schema, keeps, checked = _schema(kind, False), issubclass(kind, Plain), hasattr(kind, "check")
    own = [
        (name, at, hint if hint in AS_IT_IS else None, _reader(hint, False))
        for name, (at, hint) in schema.known.items()
    ]
    parts = [(at, _reader(part, False), frozenset(_schema(part, False).known)) for at, part in schema.groups.items()]
    names = frozenset(schema.known).union(*(inside for _, _, inside in parts))
    needed, nulls = schema.needed, schema.nulls

    def build(made: dict[str, Any]) -> Any:
        return kind(**made)

    def read(value: Any, where: str) -> Any:
        told, made = _object(value, where), dict[str, Any]()
        rest = {} if told.keys() <= names else {name: told[name] for name in told.keys() - names}
        for name, attribute, fits, reader in own:
            found = told.get(name)
            if type(found) is fits:
                made[attribute] = found
            elif found is not None:
                made[attribute] = reader(found, f"{where} {name}")
            elif name in needed:
                made[attribute] = reader(_member(told, name, where), f"{where} {name}")
            elif name in told and name not in nulls:
                rest[name] = None
        for attribute, reader, inside in parts:
            if not inside.isdisjoint(told):
                made[attribute] = reader({name: told[name] for name in inside if name in told}, where)
        if rest and not keeps:
            raise DataError(f"{where} has the unknown field {clean(repr(min(rest)), 60)}: the file was altered")
        if rest:
            made["rest"] = rest
        found = _made(build, made, where)
        if checked:
            found.check(where)
        return found

    return read


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise unfit(value, where, "an object")
    return cast("dict[str, Any]", value)


def _member(told: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in told:
        raise DataError(f"{where} has no {name!r}: the file was altered or another version wrote it")
    return told[name]
