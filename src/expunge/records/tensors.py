"""safetensors files from outside, read by hand: no torch, no third-party parser, one form per content.

The form is what the safetensors library writes without metadata: u64 length of the header, the header (compact JSON,
padded with spaces to a multiple of 8), then the tensors without gaps, larger types first and by name within a type. The
header is built again from what was read and must be the same bytes, so a file is a function of its tensors.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, BinaryIO, cast

from expunge.core.errors import DataError, RecordError
from expunge.core.hashing import LARGEST_INTEGER, parse_json, text_bytes, u32, u64
from expunge.records.limits import LIMITS, MEBIBYTE, Code, Limits, refused

TENSORS = ".safetensors"  # how names of such files end
TENSORS_TAG = b"expunge/tensors/1"
LENGTH_BYTES = 8
MOST_AXES = 64
FIELDS = ("dtype", "shape", "data_offsets")
PICKLE = re.compile(rb"\x80[\x02-\x05]|PK\x03\x04")  # a bare pickle, or torch's zip around one


@dataclass(frozen=True)
class NumberKind:
    """A type of numbers: its name in the file, in PyTorch and in digests, and its bytes; later rows stand first."""

    code: str
    name: str
    size: int


KINDS = (
    NumberKind("BOOL", "bool", 1),
    NumberKind("U8", "uint8", 1),
    NumberKind("I8", "int8", 1),
    NumberKind("F8_E5M2", "float8_e5m2", 1),
    NumberKind("F8_E4M3", "float8_e4m3fn", 1),
    NumberKind("I16", "int16", 2),
    NumberKind("U16", "uint16", 2),
    NumberKind("F16", "float16", 2),
    NumberKind("BF16", "bfloat16", 2),
    NumberKind("I32", "int32", 4),
    NumberKind("U32", "uint32", 4),
    NumberKind("F32", "float32", 4),
    NumberKind("C64", "complex64", 8),
    NumberKind("F64", "float64", 8),
    NumberKind("I64", "int64", 8),
    NumberKind("U64", "uint64", 8),
)
RANK = {kind.code: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file; ``start`` and ``end`` count bytes from the file's beginning."""

    name: str
    kind: NumberKind
    shape: tuple[int, ...]
    start: int
    end: int


class TensorsDigest:
    """SHA-256 over (name, type, shape, bytes) of ``count`` tensors by name, as ``train.state.tensors_digest``."""

    def __init__(self, count: int) -> None:
        self._state = sha256(TENSORS_TAG + u32(count))

    def begin(self, name: str, tensor: Tensor) -> None:
        """Go on with a tensor under this name; its bytes follow."""
        self.feed(text_bytes(name) + text_bytes(tensor.kind.name))
        self.feed(u32(len(tensor.shape)) + b"".join(u64(length) for length in tensor.shape))

    def feed(self, piece: bytes) -> None:
        self._state.update(piece)

    def digest(self) -> bytes:
        return self._state.digest()


class TensorFile:
    """The tensors of an untrusted safetensors file; the whole header is checked before anything is handed out."""

    def __init__(self, stream: BinaryIO, size: int, what: str, limits: Limits = LIMITS) -> None:
        self._stream, self._what = stream, what
        self.tensors = _tensors(stream, size, what, limits)

    def chunks(self, tensor: Tensor, size: int = MEBIBYTE) -> Iterator[bytes]:
        """A tensor's bytes, at most ``size`` at a time."""
        self._stream.seek(tensor.start)
        left = tensor.end - tensor.start
        while left:
            piece = self._stream.read(min(size, left))
            if not piece:
                raise _unsafe(self._what, "it ended before its last tensor")
            left -= len(piece)
            yield piece

    def content(self, tensor: Tensor) -> bytes:
        """All bytes of a tensor."""
        return b"".join(self.chunks(tensor))

    def digest(self, prefix: str = "") -> bytes:
        """Over all tensors; with a ``prefix`` those whose names begin with it, under the rest of their names."""
        chosen = (tensor for tensor in self.tensors if tensor.name.startswith(prefix))
        return self.digest_of({tensor.name.removeprefix(prefix): tensor for tensor in chosen})

    def digest_of(self, tensors: Mapping[str, Tensor]) -> bytes:
        """Over some of the tensors, under these names."""
        state = TensorsDigest(len(tensors))
        for name in sorted(tensors):
            state.begin(name, tensors[name])
            for piece in self.chunks(tensors[name]):
                state.feed(piece)
        return state.digest()


def header_bytes(tensors: Sequence[Tensor], first: int) -> bytes:
    """The one header of these tensors, with its length before it; ``first`` is where the tensors' bytes begin."""
    fields = {
        tensor.name: {
            "dtype": tensor.kind.code,
            "shape": list(tensor.shape),
            "data_offsets": [tensor.start - first, tensor.end - first],
        }
        for tensor in tensors
    }
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return u64(len(text)) + text


def _tensors(stream: BinaryIO, size: int, what: str, limits: Limits) -> tuple[Tensor, ...]:
    stream.seek(0)
    start = stream.read(LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    first = LENGTH_BYTES + length
    if len(start) < LENGTH_BYTES or first > size:
        hint = "it looks like a pickle, which can run code and is never opened" if PICKLE.match(start) else ""
        raise _unsafe(what, hint or f"its header of {length} bytes does not fit into its {size} bytes")
    if length > limits.header_bytes:
        raise refused(
            Code.SIZE_LIMIT, f"{what} has a header of {length} bytes, the limit is {limits.header_bytes}: refuse it"
        )
    text = stream.read(length)
    if len(text) != length:
        raise _unsafe(what, "it was cut short")
    try:
        value = parse_json(text, largest=limits.header_bytes)
    except DataError as error:
        raise _unsafe(what, f"header: {str(error)[:300]}") from None
    if not isinstance(value, dict):
        raise _unsafe(what, "its header is no JSON object")
    found = [_tensor(name, entry, first, what) for name, entry in cast("dict[str, Any]", value).items()]
    _check_layout(found, first, size, what)
    try:
        again = header_bytes(found, first)
    except UnicodeEncodeError:
        raise _unsafe(what, "a tensor's name holds a lone surrogate") from None
    if again != start + text:
        raise _unsafe(what, "its header is not written as the safetensors library writes it")
    return tuple(found)


def _tensor(name: str, entry: Any, first: int, what: str) -> Tensor:
    where = f"tensor {name[:60]!r}"
    if name == "__metadata__":
        raise _unsafe(what, "it holds metadata, which nothing signs: write the tensors without")
    if not isinstance(entry, dict) or set(cast("dict[str, Any]", entry)) != set(FIELDS):
        raise _unsafe(what, f"{where} must have exactly the fields {', '.join(FIELDS)}")
    fields = cast("dict[str, Any]", entry)
    code = fields["dtype"]
    if not isinstance(code, str) or code not in RANK:
        raise _unsafe(what, f"{where} is of type {code!r:.40}, known are {', '.join(RANK)}")
    shape, offsets = _counts(fields["shape"]), _counts(fields["data_offsets"])
    if shape is None or len(shape) > MOST_AXES or offsets is None or len(offsets) != 2:
        raise _unsafe(what, f"the shape or the offsets of {where} are no rows of whole numbers from 0")
    kind = KINDS[RANK[code]]
    if offsets[1] - offsets[0] != math.prod(shape) * kind.size:
        raise _unsafe(what, f"{where}: its offsets span {offsets[1] - offsets[0]} bytes, its shape needs others")
    return Tensor(name, kind, shape, first + offsets[0], first + offsets[1])


def _counts(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    numbers = cast("list[Any]", value)
    return tuple(numbers) if all(type(n) is int and 0 <= n <= LARGEST_INTEGER for n in numbers) else None


def _check_layout(tensors: Sequence[Tensor], first: int, size: int, what: str) -> None:
    at = first
    for tensor in tensors:
        if tensor.start != at:
            raise _unsafe(what, f"tensor {tensor.name[:60]!r} does not begin where the one before it ends")
        at = tensor.end
    if at != size:
        raise _unsafe(what, f"its tensors end at byte {at}, the file at {size}")
    order = [(-RANK[tensor.kind.code], tensor.name) for tensor in tensors]
    if order != sorted(order):
        raise _unsafe(what, "its tensors are not ordered by type and name")


def _unsafe(what: str, reason: str) -> RecordError:
    return refused(
        Code.UNSAFE_FILE, f"{what} is not a safetensors file as it must be: {reason}; ask for the file again"
    )
