"""Whatever stands in a field of any document, it is refused in one sentence with its place, or kept as it is.

Cases are generated: documents from ``DOCUMENTS`` and the signed ones, an example of each from the golden files, and
for every field that examples have all the ways to spoil it. A new document is covered once it has a golden file.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import types
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

from expunge.core.errors import ExpungeError
from expunge.core.hashing import canonical_json, parse_json
from expunge.records.document import Document, read_document, sealed
from expunge.records.documents import DOCUMENTS
from expunge.records.envelope import open_envelope
from expunge.records.figures import FIGURES, Means
from expunge.records.form import Through, to_plain
from expunge.records.keys import load_trusted
from expunge.records.log import read_consistency, read_inclusion, read_log
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import read_statement, write_statement
from expunge.schedule.recipe_file import read_recipe

TESTS = Path(__file__).parents[1]
GOLDEN = TESTS / "golden" / "0.1.0"
LEAST = 3000
LARGEST = 2**16
Place = tuple[str | int, ...]
GONE, TWICE = object(), object()
STRANGE = "zz_strange"
SPOILT: dict[str, Any] = {
    "dropped": GONE,
    "null": None,
    "a number": 7,
    "below zero": -1,
    "a text": "7",
    "a list": [7],
    "an object": {"seven": 7},
    "no number": float("nan"),
    "unbounded": float("inf"),
    "huge": 1e300,
    "a long integer": 10**300,
    "nothing": "",
    "no entries": [],
    "a million letters": "a" * 10**6,
    "control characters": "a\x1b[31m\r\nb",
    "direction characters": "a\N{RIGHT-TO-LEFT OVERRIDE}b",
    "doubled": TWICE,
}
ALWAYS_REFUSED = {"no number", "unbounded", "doubled"}
UNREADABLE = {*ALWAYS_REFUSED, "a long integer"}  # refused as JSON, or for the digest, before any field is looked at
TEXTS = {"a text", "nothing", "a million letters", "control characters", "direction characters"}


@dataclass(frozen=True)
class Sample:
    """A document's class or name, an example of it, and how it is read, written, and given its digest anew.

    ``coarse`` is how deep a field may lie for which a sentence names the whole document only.
    """

    kind: Any
    value: Any
    read: Callable[[bytes], Any]
    write: Callable[[Any], Any]  # as JSON; None for what is not written again
    anew: Callable[[Any], Any] = lambda value: value
    text: Callable[[Any], bytes] = lambda value: json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    coarse: int = 0

    @property
    def name(self) -> str:
        return self.kind if isinstance(self.kind, str) else self.kind.__name__


def where(value: Any, place: Place = ()) -> Iterator[tuple[Place, Place]]:
    """Places of all fields, each with its kind: entries of one list are alike."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*place, name), tuple(-1 if isinstance(part, int) else part for part in (*place, name))
            yield from where(inner, (*place, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from where(inner, (*place, at))


def golden_files(kind: type[Document]) -> list[Path]:
    """Files of a document, small ones first; results are kept with the studies. Large ones would take long."""
    found = [*TESTS.rglob(kind.NAME), *(TESTS.parent / "studies" / "results").glob("*.json")]
    format_line = json.dumps(kind.FORMAT).encode()
    small = (path for path in found if path.stat().st_size < LARGEST)
    paths = [path for path in small if path.name == kind.NAME or format_line in path.read_bytes()]
    assert paths, f"{kind.__name__} has no golden file"
    return sorted(paths, key=lambda path: (path.stat().st_size, str(path)))


def plain_samples(kind: type[Document]) -> Iterator[Sample]:
    """As many golden files as it takes to see every field that any of them has."""
    seen = set[Place]()
    for path in golden_files(kind):
        value = parse_json(path.read_bytes())
        if found := {alike for _, alike in where(value)} - seen:
            seen |= found
            sample = Sample(
                kind,
                value,
                lambda content: read_document(kind, content, kind.NAME),
                to_plain,
                lambda value: sealed(kind, value),
            )
            yield replace(sample, value=sample.anew(shortened(sample, found)))


def shortened(sample: Sample, wanted: set[Place]) -> Any:
    """The example with no more entries in its lists than it takes to have these fields and to be read."""
    value = sample.value
    for place in list(lists(value)):
        with contextlib.suppress(LookupError):  # it went with a longer list
            kept, seen = list[Any](), set[Place]()
            for entry in inside(value, place):
                found = {alike for _, alike in where([entry], place)}
                if not kept or found - seen:
                    kept.append(entry)
                    seen |= found
            shorter = spoilt(value, place, kept)
            if (
                wanted <= {alike for _, alike in where(shorter)}
                and not refusal(sample, content_of(sample, (), shorter))[0]
            ):
                value = shorter
    return value


def lists(value: Any, place: Place = ()) -> Iterator[Place]:
    """Places of all lists, outer ones first."""
    if isinstance(value, list) and len(value) > 1:
        yield place
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for at, inner in entries:
        yield from lists(inner, (*place, at))


def signed_samples(folder: Path) -> Iterator[Sample]:
    """The same of what is signed, and of what lies beside it. A recipe is refused by its file's name."""
    seen: dict[str, set[Place]] = {}
    trusted = load_trusted(GOLDEN / "keys" / "trusted.json")
    for path in sorted(GOLDEN.rglob("*.json")):
        value = parse_json(path.read_bytes())
        signed = functools.partial(Sample, text=canonical_json)
        name = path.name.partition("-")[0]
        if path.name in ("envelope.json", "commit.json") or path.parent.name == "parents":
            payload = base64.b64decode(value["payload"])
            kind = Commit if isinstance(read_statement(payload).predicate, Commit) else RunRecord
            sample = signed(kind.__name__, parse_json(payload), read_statement, told_by(write_statement), coarse=2)
            yield from fresh(seen, sample)
            sample = signed("envelope", value, functools.partial(open_envelope, trusted=trusted), unwritten, coarse=3)
        elif path.name == "recipe.json":
            sample = signed(
                "recipe", value, read_recipe, lambda recipe: parse_json(canonical_json(recipe.as_json())), coarse=9
            )
        elif path.name == "trusted.json":
            sample = Sample("trusted", value, in_file(load_trusted, folder / path.name), unwritten, coarse=3)
        elif path.name == "log.json":
            reading = in_file(lambda header: read_log(header.parent), folder / path.name)
            sample = signed("log", value, reading, unwritten)
        elif name in ("inclusion", "consistency"):
            read = read_inclusion if name == "inclusion" else read_consistency
            sample = signed(name, value, read, told_by(lambda proof: proof.as_bytes()))
        else:
            continue
        yield from fresh(seen, sample)


def fresh(seen: dict[str, set[Place]], sample: Sample) -> Iterator[Sample]:
    known = seen.setdefault(sample.name, set())
    if found := {alike for _, alike in where(sample.value)} - known:
        known |= found
        yield sample


def told_by(write: Callable[[Any], bytes]) -> Callable[[Any], Any]:
    return lambda found: parse_json(write(found))


def unwritten(found: Any) -> None:
    """It is not written again."""


def in_file(read: Callable[[Path], Any], path: Path) -> Callable[[bytes], Any]:
    def reading(content: bytes) -> Any:
        path.write_bytes(content)
        return read(path)

    return reading


def inside(value: Any, place: Sequence[str | int]) -> Any:
    for part in place:
        value = value[part]
    return value


def spoilt(value: Any, place: Place, change: Any) -> Any:
    """A copy with one field changed; all else is the same object."""
    if not place:
        return change
    head, rest = place[0], place[1:]
    copy = value.copy()
    if not rest and change is GONE:
        del copy[head]
    else:
        copy[head] = spoilt(value[head] if rest else None, rest, change)
    return copy


def doubled(sample: Sample, place: Place) -> bytes:
    """The text in which a key stands twice."""
    marked = sample.anew(spoilt(sample.value, (*place[:-1], STRANGE), inside(sample.value, place)))
    name = json.dumps(STRANGE, ensure_ascii=False).encode()
    content = json.dumps(marked, ensure_ascii=False).encode()
    assert content.count(name) == 1
    return content.replace(name, json.dumps(place[-1]).encode())


def content_of(sample: Sample, place: Place, change: Any) -> bytes:
    if change is TWICE:
        return doubled(sample, place)
    value = spoilt(sample.value, place, change)
    try:
        return sample.text(value if place == ("digest",) else sample.anew(value))
    except (ValueError, ExpungeError):  # no text of ours: no number, or one too large for a digest
        return json.dumps(value, ensure_ascii=False, sort_keys=True).encode()


def refusal(sample: Sample, content: bytes) -> tuple[str | None, Any]:
    """The sentence, or what was read."""
    try:
        return None, sample.read(content)
    except ExpungeError as error:
        return str(error), None


def check_sentence(said: str) -> None:
    assert said.strip()
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in said), said
    assert len(said) < 2000, said[:3000]


def names_place(said: str, sample: Sample, place: Place) -> bool:
    """Whether a sentence says which field it is of: by its name, that of one around it, or of one that it lacks."""
    found = inside(sample.value, place)
    known = [*(part for part in place if isinstance(part, str)), *(found if isinstance(found, dict) else ())]
    if len(place) <= sample.coarse:
        return True
    return any(name.removesuffix("s") in said or name.partition("_")[0] in said for name in known)


def told(value: Any) -> Any:
    """JSON without nulls: a field may be left out or null, and is written in one way."""
    if isinstance(value, dict):
        return {name: told(inner) for name, inner in value.items() if inner is not None}
    return [told(inner) for inner in value] if isinstance(value, list) else value


@functools.cache
def hints_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def hint_at(hint: Any, place: Sequence[str | int]) -> list[Any]:
    """What types a place may have; ``Any`` where none is asked for."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        through = next((mark for mark in inner[1:] if isinstance(mark, Through)), None)
        if through is not None:
            return hint_at(through.shape, place)
        return hint_at(inner[0], place) if place else [hint]
    if origin in (Union, types.UnionType):
        return [found for one in inner for found in hint_at(one, place)]
    if not place or hint is Any:
        return [hint]
    if origin is tuple or (origin is not None and isinstance(place[0], str)):
        return hint_at(inner[0] if origin is tuple else inner[1], place[1:])
    if getattr(hint, "__supertype__", None) is not None:
        return [hint]
    if not is_dataclass(hint):
        return []
    hints = hints_of(hint)
    own = {str(item.metadata.get("name", item.name)): item for item in fields(hint)}
    if place[0] in own:
        return hint_at(hints[own[str(place[0])].name], place[1:])
    groups = (hints[item.name] for item in fields(hint) if "inline" in item.metadata)
    return [found for group in groups for found in hint_at(group, place)]


def is_free(kind: Any, place: Place) -> bool:
    """Whether nothing is asked of a value: it is JSON of somebody else, or a figure of a further probe, which is passed
    over where it is none."""
    if not isinstance(kind, type):
        return False
    return any(found is Any for found in hint_at(kind, place)) or any(
        step not in FIGURES
        and any(isinstance(one, type) and issubclass(one, Means) for one in hint_at(kind, place[:at]))
        for at, step in enumerate(place)
    )


def may_be_text(kind: Any, place: Place) -> bool:
    if not isinstance(kind, type):
        return True
    return any(found is str or get_origin(found) in (Annotated, Literal) for found in hint_at(kind, place))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    plain = [sample for kind in DOCUMENTS for sample in plain_samples(kind)]
    return [*plain, *signed_samples(tmp_path_factory.mktemp("hostile"))]


def cases(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Place]]:
    """Each field of each class once; of the JSON that is somebody else's one place for all."""
    seen = set[tuple[Any, ...]]()
    for sample in samples:
        for place, alike in where(sample.value):
            key: tuple[Any, ...] = (sample.name, *alike)
            if isinstance(sample.kind, type):
                free = next((at for at in range(1, len(place) + 1) if is_free(sample.kind, place[:at])), None)
                owners = [one for one in hint_at(sample.kind, place[:-1]) if is_dataclass(one)]
                key = (sample.name, *alike[: free - 1]) if free else (*owners, alike[-1]) if owners else key
            if key not in seen:
                seen.add(key)
                yield sample, place


def test_every_example_is_read(samples: list[Sample]) -> None:
    for sample in samples:
        said, found = refusal(sample, sample.text(sample.value))
        assert said is None
        written = sample.write(found)
        assert written in (None, sample.value), sample.name


def test_a_spoilt_field_is_refused_with_its_place_or_kept(samples: list[Sample]) -> None:
    count = 0
    for sample, place in cases(samples):
        for what, change in SPOILT.items():
            case = (sample.name, place, what)
            content = content_of(sample, place, change)
            said, found = refusal(sample, content)
            count += 1
            if said is not None:
                check_sentence(said)
                assert what in UNREADABLE or names_place(said, sample, place), (*case, said)
                continue
            assert what not in ALWAYS_REFUSED, case
            if what in TEXTS:
                assert may_be_text(sample.kind, place) or is_free(sample.kind, place), case
            written = sample.write(found)
            same = written is None or told(written) == told(parse_json(content))
            assert same or place[-2:] == ("verdict", "p"), case  # that of an undecided verdict says nothing, and goes
    assert count >= LEAST


def test_an_unknown_key_is_kept_or_refused(samples: list[Sample]) -> None:
    for sample in samples:
        objects = {place[:-1]: None for _, place in ((alike, place) for place, alike in where(sample.value))}
        for place in objects:
            content = content_of(sample, (*place, STRANGE), [7])
            said, found = refusal(sample, content)
            if said is not None:
                check_sentence(said)
                assert STRANGE in said or len(place) < sample.coarse, (sample.name, place, said)
            elif (written := sample.write(found)) is not None:
                assert written == parse_json(content), (sample.name, place)
