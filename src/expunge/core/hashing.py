"""SHA-256 over tagged, length-prefixed bytes; canonical JSON; canonical bytes of an example and of arrays.

Integers are little-endian and unsigned unless said; ``str`` and ``bytes`` are u64 length followed by the content.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument

LARGEST_INTEGER = 2**53 - 1
DEEPEST_JSON = 32
KEY = re.compile(r"[a-z_][A-Za-z0-9_]*\Z")


def sha256(*parts: bytes | memoryview) -> bytes:
    """Digest of the parts, joined."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return state.digest()


def u8(value: int) -> bytes:
    return struct.pack("<B", value)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text_bytes(value: str) -> bytes:
    """A string as it is hashed: u64 length, then UTF-8 as given."""
    try:
        encoded = value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"text {value!r} holds a lone surrogate, which has no UTF-8 form: repair the text") from None
    return u64(len(encoded)) + encoded


def slot_bytes(slots: np.ndarray) -> bytes:
    """Slots as u64, in the order given."""
    return np.ascontiguousarray(slots, dtype="<u8").tobytes()


def canonical_json(value: Any) -> bytes:
    """RFC 8785 on a subset: ASCII keys, integers within ±(2⁵³−1), and no floats (a real is its C99 hex string)."""
    return json.dumps(
        _canonical(value, 0), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode("utf-8")


def _canonical(value: Any, depth: int) -> Any:
    if depth > DEEPEST_JSON:
        raise InvalidArgument(f"JSON deeper than {DEEPEST_JSON} levels has no canonical form here: flatten it")
    if value is None or isinstance(value, bool | str):
        if isinstance(value, str):
            text_bytes(value)
        return value
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise InvalidArgument(f"integer {value} lies outside ±(2^53 − 1): write it as a string")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"real {value} has no canonical form: only finite numbers are allowed")
        return value.hex()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or not KEY.match(key):
                raise InvalidArgument(f"JSON key {key!r} must match [a-z_][A-Za-z0-9_]*")
        return {key: _canonical(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner, depth + 1) for inner in value]
    raise InvalidArgument(f"{type(value).__name__} {value!r} has no canonical JSON form")


def parse_json(text: bytes, *, largest: int = 16 * 2**20) -> Any:
    """Read JSON from outside: refuses duplicate keys, NaN, too deep and too large, each in one sentence."""
    if len(text) > largest:
        raise DataError(f"JSON of {len(text)} bytes exceeds the limit of {largest} bytes")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) != len(items):
            raise DataError("JSON repeats a key: every key may stand once; the file was altered or badly written")
        return found

    def real(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else constant(text)

    def constant(name: str) -> Any:
        raise DataError(f"JSON holds {name[:20]}, which is not a number: the file was altered or badly written")

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant, parse_float=real)
    except UnicodeDecodeError:
        raise DataError("not readable as JSON (not UTF-8): the file was altered or badly written") from None
    except json.JSONDecodeError as error:
        where = f"{error.msg} in line {error.lineno}, column {error.colno}"
        raise DataError(f"not readable as JSON ({where}): the file was altered or badly written") from None
    except ValueError:
        raise DataError("not readable as JSON (a number has too many digits): the file was altered") from None
    except RecursionError:
        raise DataError(f"JSON nests deeper than {DEEPEST_JSON} levels") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(DEEPEST_JSON + 1):
        inner: list[Any] = []
        for one in level:
            if type(one) is dict:
                inner += one.values()
            elif type(one) is list:
                inner += one
        level = inner
    if level:
        raise DataError(f"JSON nests deeper than {DEEPEST_JSON} levels")


def plain_json(value: Any) -> str:
    """What people and ``run.json`` read: sorted keys, ordinary numbers, no NaN."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=1, allow_nan=False) + "\n"


def array_bytes(array: np.ndarray) -> bytes:
    """dtype, shape and C-order little-endian content of an array."""
    array = np.asarray(array)
    dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
    if dtype.kind not in "biuf":
        raise DataError(f"an array of {array.dtype} cannot be committed: use integers, reals or booleans")
    data = np.ascontiguousarray(array, dtype=dtype)
    if data.dtype.kind == "f" and np.isnan(data).any():
        raise DataError("an array holds NaN, which cannot be committed or trained on: remove or fill those values")
    shape = b"".join(u64(size) for size in array.shape)
    raw = data.tobytes()
    return text_bytes(data.dtype.str) + u32(array.ndim) + shape + u64(len(raw)) + raw


def field_bytes(value: Any) -> bytes:
    """One value of an example: none, text, raw bytes, integer, real or array."""
    if value is None:
        return b"\x00"
    if isinstance(value, str):
        return b"\x01" + text_bytes(value)
    if isinstance(value, bytes):
        return b"\x02" + u64(len(value)) + value
    if isinstance(value, bool | np.bool_):
        return b"\x03" + struct.pack("<q", int(value))
    if isinstance(value, int | np.integer):
        return b"\x03" + struct.pack("<q", int(value))
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            raise DataError("a real value is NaN, which cannot be committed or trained on: remove or fill it")
        return b"\x04" + struct.pack("<d", float(value))
    if isinstance(value, np.ndarray):
        return b"\x05" + array_bytes(value)
    raise DataError(f"a value of type {type(value).__name__} cannot be committed: use text, numbers, bytes or arrays")


def example_bytes(fields: Mapping[str, Any]) -> bytes:
    """Canonical bytes of one example; ``id``, ``label`` and ``subject`` are mandatory."""
    for name in ("id", "label", "subject"):
        if name not in fields:
            raise DataError(f"an example has no field {name!r}: id, label and subject are mandatory")
    ordered = sorted(fields.items(), key=lambda item: item[0].encode("utf-8"))
    return (
        b"expunge/example/1"
        + u32(len(ordered))
        + b"".join(text_bytes(name) + field_bytes(value) for name, value in ordered)
    )
