"""Records with one field changed and signed again by the owner, who is the adversary: every field, by its type.

What comes out is well formed, signed, logged and linked; only what the field says is different.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from tests.verify.lineages import OWNER
from tests.verify.mutations import Target
from tests.verify.records import files_of

from expunge.core.clock import Time
from expunge.core.hashing import LARGEST_INTEGER, sha256
from expunge.records.envelope import seal
from expunge.records.record import Checkpoints, states_root
from expunge.records.scalars import Large
from expunge.records.statement import Statement, write_statement

OTHER = sha256(b"another one")
NULL = bytes(32)
TIMES = (Time("1970-01-01T00:00:00Z"), Time("9999-12-31T23:59:59Z"))
DAY = 86_400
SAMPLES: dict[Any, Any] = {
    bytes: OTHER,
    int: 1,
    Large: 1,
    float: 0.5,
    bool: True,
    str: "x",
    Any: 1,
    Time: Time("2026-01-15T00:00:00Z"),
}


@dataclass(frozen=True)
class Alteration:
    """One link of a target's chain with one field changed.

    ``place`` names the field without positions, such as ``run.requests[].received``; ``detail`` says which and how.
    """

    target: Target
    link: int
    place: str
    detail: str
    change: Callable[[Statement], Statement]

    def __str__(self) -> str:
        return f"{self.target.name}: {self.place}: {self.detail}"

    def files(self) -> dict[str, bytes]:
        """The bundle, signed and logged again along the chain."""
        draft = self.target.story.draft
        altered = seal(write_statement(self.change(self.target.links[self.link])), OWNER)
        chain = (*self.target.envelopes[: self.link], altered, *draft.chain[self.link + 1 :])
        return files_of(replace(draft, chain=chain), commit_first=True)


def alterations(target: Target) -> Iterator[Alteration]:
    """Every change of one field, in every record of the chain."""
    last = len(target.story.draft.chain) - 1
    for at, link in enumerate(target.story.draft.chain):
        assert isinstance(link, Statement)
        owner = {0: "commit", last: "run"}.get(at, "parent")
        kind = type(link.predicate)
        for name, inner in (("name", str), ("digest", bytes)):
            for place, detail, new in _changes(inner, getattr(link, name), f"{owner} subject {name}"):
                yield Alteration(target, at, place, detail, _setting(name, new))
        for item in fields(kind):
            value, hint = getattr(link.predicate, item.name), get_type_hints(kind)[item.name]
            if item.name in ("commit", "parent"):  # linked when they are signed, so taken from there
                for new in (NULL, OTHER):
                    yield Alteration(
                        target, at, f"{owner}.{item.name}", f"is {new.hex()[:8]}…", _telling(item.name, new)
                    )
                continue
            for place, detail, new in _changes(hint, value, f"{owner}.{item.name}"):
                if item.name == "execution" and _same_word(link.predicate, new):
                    continue
                yield Alteration(target, at, place, detail, _telling(item.name, new))
                if isinstance(new, Checkpoints) and all(state.shard < 2**32 for state in new.states):
                    mended = replace(new, count=len(new.states), root=states_root(new.states))
                    if mended not in (new, value):
                        told = f"{detail}, count and root to fit"
                        yield Alteration(target, at, f"{place} mended", told, _telling(item.name, mended))


def _same_word(record: Any, execution: Any) -> bool:
    """Whether a record of the other form, with the word or without it, says the same of how the run came about."""
    return replace(record, execution=execution).came_about is record.came_about


def _setting(name: str, new: Any) -> Callable[[Statement], Statement]:
    return lambda statement: replace(statement, **{name: new})


def _telling(name: str, new: Any) -> Callable[[Statement], Statement]:
    return lambda statement: replace(statement, predicate=replace(statement.predicate, **{name: new}))


Change = tuple[str, str, Any]  # place, detail, the new value of the field at the top


def _changes(kind: Any, value: Any, place: str) -> Iterator[Change]:
    """Other valid values of a type: of the whole, and of each of its parts."""
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (inner for inner in get_args(kind) if inner is not type(None))
        if value is None:
            yield place, "is added", _sample(kind)
            return
        yield place, "is left out", None
    if get_origin(kind) is tuple:
        yield from _of_list(get_args(kind)[0], value, place)
    elif isinstance(value, Mapping):
        yield from _of_mapping(value, place)
    elif is_dataclass(kind) and kind is not Time:
        hints = get_type_hints(kind)
        for item in fields(kind):
            inner = getattr(value, item.name)
            for where, detail, new in _changes(hints[item.name], inner, f"{place}.{item.name}"):
                yield where, detail, replace(value, **{item.name: new})
    else:
        for new in _others(kind, value):
            yield place, f"becomes {_shown(new)}", new


def _of_list(kind: Any, value: tuple[Any, ...], place: str) -> Iterator[Change]:
    """One fewer, one more, one twice, two exchanged; and the first, the middle and the last of them changed."""
    for at in sorted({0, len(value) // 2, len(value) - 1} & set(range(len(value)))):
        yield f"{place}[] fewer", f"[{at}] is left out", value[:at] + value[at + 1 :]
        yield f"{place}[] more", f"[{at}] stands twice", value[: at + 1] + value[at:]
        for where, detail, new in _changes(kind, value[at], f"{place}[]"):
            yield where, f"[{at}] {detail}", (*value[:at], new, *value[at + 1 :])
    if len(value) > 1:
        yield f"{place}[] order", "the first two are exchanged", (value[1], value[0], *value[2:])
        yield f"{place}[] fewer", "all are left out", ()
    new = max(value) + 1 if value and kind is int else _sample(kind)
    yield f"{place}[] more", f"{_shown(new)} is added", (*value, new)


def _of_mapping(value: Mapping[str, Any], place: str) -> Iterator[Change]:
    """Any JSON may stand in a mapping: a field fewer, one more, and other values of the same and of other types."""
    for name, inner in value.items():
        where = f"{place}.{name}"
        yield where, "is left out", {key: item for key, item in value.items() if key != name}
        for new in (None, True, 2, "other", [inner], {"x": inner}):
            if new != inner or type(new) is not type(inner):
                yield where, f"becomes {_shown(new)}", {**value, name: new}
    yield f"{place}{{}} more", "a field is added", {**value, "added": 1}


def _others(kind: Any, value: Any) -> list[Any]:
    found: tuple[Any, ...]
    if kind is bool:
        found = (not value,)
    elif isinstance(value, Enum):
        found = tuple(type(value))
    elif kind is Time:
        near = [Time.at(max(0, value.seconds + by)) for by in (-1, 1, -DAY, DAY, -100 * DAY, 100 * DAY)]
        found = (*near, *TIMES)
    elif kind is bytes:
        found = (NULL, OTHER, bytes([value[0] ^ 1]) + value[1:])
    elif kind is int or kind is Large:
        large = (2**53, 2**64 - 1) if kind is Large else ()
        found = (0, value + 1, max(0, value - 1), 2 * value + 7, 2**32, LARGEST_INTEGER, *large)
    elif kind is float:
        found = (0.0, -1.0, 2 * value + 0.1, math.nextafter(value, math.inf), 5e-324, 1e300)
    elif kind is str:
        found = ("", "zero", value + "x", "\x1b[31mred", "名", "1" * 200)
    else:
        raise TypeError(kind)
    return [new for new in dict.fromkeys(found) if new != value]


def _sample(kind: Any) -> Any:
    """Some valid value of a type."""
    if kind in SAMPLES:
        return SAMPLES[kind]
    if get_origin(kind) is tuple:
        return (_sample(get_args(kind)[0]),)
    if get_origin(kind) in (Union, types.UnionType):
        return _sample(get_args(kind)[0])
    if get_origin(kind) is not None:
        return {"added": 1}
    if issubclass(kind, Enum):
        return next(iter(kind))
    hints = get_type_hints(kind)
    return kind(**{item.name: _sample(hints[item.name]) for item in fields(kind) if item.default is MISSING})


def _shown(value: Any) -> str:
    text = value.hex()[:8] + "…" if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
