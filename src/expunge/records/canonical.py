"""Canonical JSON from outside: read, written again, and refused unless the bytes are the same.

The form is RFC 8785 on a subset (``core.hashing.canonical_json`` writes it): keys [a-z_][A-Za-z0-9_]*, whole numbers
within ±(2⁵³−1), no numbers with a fraction (a real is a C99 hex string), no lone surrogates. One value has one text, so
whoever alters a byte alters the value or is refused. The same holds for base64, hexadecimal digests and reals in text.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from expunge.core.errors import DataError, InvalidArgument, RecordError
from expunge.core.hashing import canonical_json, parse_json
from expunge.records.limits import LIMITS, Code, Limits, refused

DIGEST = re.compile(r"[0-9a-f]{64}\Z")
LONGEST_REASON = 300  # letters: a reason quotes what was found, which may be long
WAY_OUT = "it was altered or badly written; ask for the record again"


def read_json(text: bytes, what: str, limits: Limits = LIMITS) -> Any:
    """The value of canonical JSON; ``what`` names the text in the refusal."""
    if len(text) > limits.json_bytes:
        raise refused(
            Code.SIZE_LIMIT,
            f"{what} is JSON of {len(text)} bytes, the limit is {limits.json_bytes}: ask for a smaller record",
        )
    if json_values(text) > limits.json_values:
        raise refused(
            Code.SIZE_LIMIT,
            f"{what} is JSON of up to {json_values(text)} values, the limit is {limits.json_values}: they would take "
            "many times their bytes in memory; ask for a smaller record",
        )
    try:
        value = parse_json(text, largest=limits.json_bytes)
        _check(value, what, limits.json_depth)
        again = canonical_json(value)
    except (DataError, InvalidArgument) as error:
        raise refused(Code.MALFORMED_JSON, f"{what}: {str(error)[:LONGEST_REASON]}") from None
    if again != text:
        at = next((at for at, (one, two) in enumerate(zip(again, text, strict=False)) if one != two), len(again))
        raise malformed(what, f"byte {at} is not what canonical JSON has there (sorted keys, no spaces, one escape)")
    return value


def json_values(text: bytes) -> int:
    """At most how many values a JSON text holds, from its commas and brackets alone: it is not read for that."""
    return 1 + sum(text.count(mark) for mark in (b",", b"[", b"{"))


def read_object(
    text: bytes, what: str, fields: Collection[str], optional: Collection[str] = (), limits: Limits = LIMITS
) -> dict[str, Any]:
    """A canonical JSON object with exactly these fields; those of ``optional`` may be missing."""
    return checked_object(read_json(text, what, limits), what, fields, optional)


def checked_object(value: Any, what: str, fields: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """An object inside a value that was read, with exactly these fields."""
    if not isinstance(value, dict):
        raise malformed(what, f"an object is expected, {_kind(value)} was found")
    found = cast("dict[str, Any]", value)
    odd = sorted((set(found) ^ set(fields)) - (set(found) & set(optional)))
    if odd:
        there = "unknown" if odd[0] in found else "missing"
        raise malformed(what, f"field {odd[0][:60]!r} is {there}")
    return found


def checked_list(value: Any, what: str) -> list[Any]:
    """A list inside a value that was read."""
    if not isinstance(value, list):
        raise malformed(what, f"a list is expected, {_kind(value)} was found")
    return cast("list[Any]", value)


def checked_text(value: Any, what: str) -> str:
    """A string inside a value that was read."""
    if not isinstance(value, str):
        raise malformed(what, f"text is expected, {_kind(value)} was found")
    return value


def checked_count(value: Any, what: str) -> int:
    """A whole number from 0 inside a value that was read; true and false are none."""
    if type(value) is not int or value < 0:
        raise malformed(what, f"a whole number from 0 is expected, {_kind(value)} was found")
    return value


def read_real(value: Any, what: str) -> float:
    """A real from its C99 hex string, exactly as ``float.hex`` writes it: one text per number."""
    text = checked_text(value, what)
    try:
        number = float.fromhex(text) if len(text) <= 32 else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number.hex() != text:
        raise malformed(what, f"{text[:40]!r} is not a real as C99 hex text such as '0x1.999999999999ap-4'")
    return number


def write_base64(content: bytes) -> str:
    """RFC 4648, standard alphabet, with padding."""
    return base64.b64encode(content).decode("ascii")


def read_base64(value: Any, what: str, size: int | None = None) -> bytes:
    """Bytes from base64 in its one canonical form; ``size`` in bytes where it is known."""
    text = checked_text(value, what)
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise malformed(what, "it is not base64 with the standard alphabet and padding") from None
    if write_base64(content) != text:
        raise malformed(what, "its base64 is not the one form that these bytes have (spare bits must be 0)")
    if size is not None and len(content) != size:
        raise malformed(what, f"it holds {len(content)} bytes, {size} are expected")
    return content


def read_digest(value: Any, what: str) -> bytes:
    """32 bytes from 64 lowercase hexadecimal digits."""
    text = checked_text(value, what)
    if not DIGEST.match(text):
        raise malformed(what, f"{text[:70]!r} is not a digest of 64 lowercase hexadecimal digits")
    return bytes.fromhex(text)


def _check(value: Any, what: str, deepest: int) -> None:
    """No fractions, nothing too deep, every key of the pattern; ``canonical_json`` sees to the rest."""
    level: Sequence[Any] = (value,)
    for depth in range(deepest + 2):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, float):
                raise DataError(f"the number {item!r} has a fraction or an exponent, a real is a C99 hex string here")
            if isinstance(item, Mapping):
                inner.extend(cast("Mapping[str, Any]", item).values())
            elif isinstance(item, list):
                inner.extend(cast("list[Any]", item))
        if not inner:
            return
        if depth >= deepest:
            raise refused(Code.MALFORMED_JSON, f"{what} nests deeper than {deepest} levels: {WAY_OUT}")
        level = inner


def malformed(what: str, reason: str) -> RecordError:
    """The refusal of something that is not of the form its place asks for."""
    return refused(Code.MALFORMED_JSON, f"{what}: {reason}: {WAY_OUT}")


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, str):
        return f"text {value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    return "a list" if isinstance(value, list) else f"{value!r:.40}"
