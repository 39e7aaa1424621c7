"""What a file from outside may measure, and the codes under which evidence is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from expunge.core.errors import InvalidArgument, RecordError

MEBIBYTE = 2**20
GIBIBYTE = 2**30


class Code(StrEnum):
    """What was seen when evidence is refused, not the motive."""

    UNSAFE_FILE = "UNSAFE_FILE"  # not on the list, not of the form its name promises, or not a plain file
    UNSAFE_PATH = "UNSAFE_PATH"  # a name that could lead elsewhere or be taken for another one; a link; a device
    SIZE_LIMIT = "SIZE_LIMIT"  # larger, deeper, more or denser than the limits allow
    MALFORMED_JSON = "MALFORMED_JSON"  # not canonical JSON, or not the fields that its place asks for
    SIGNATURE_INVALID = "SIGNATURE_INVALID"  # a trusted key is named, and it did not sign these bytes
    KEY_NOT_TRUSTED = "KEY_NOT_TRUSTED"  # signed with a key that is not on the verifier's own list
    LOG_INCONSISTENT = "LOG_INCONSISTENT"  # fork, rollback, altered entry, or a checkpoint that is not that log's


def refused(code: Code, sentence: str) -> RecordError:
    """The refusal to raise."""
    return RecordError(code.value, sentence)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upper bounds on what is read from outside; bytes unless said. The verifier may raise or lower each."""

    total_bytes: int = 64 * GIBIBYTE  # all files of a bundle, unpacked
    files: int = 100_000
    json_bytes: int = 16 * MEBIBYTE  # one JSON file or payload
    json_depth: int = 32  # levels: a value inside nothing is level 0
    zip_ratio: int = 100  # unpacked bytes per packed byte, each file
    header_bytes: int = 16 * MEBIBYTE  # header of a safetensors file
    note_bytes: int = 64 * 1024  # a checkpoint with its signature lines
    signatures: int = 16  # of an envelope or a note

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not int or value < 1:
                raise InvalidArgument(f"limit {item.name.replace('_', ' ')} {value!r} must be a whole number from 1")
        if self.json_depth > 32:
            raise InvalidArgument(f"limit json depth {self.json_depth} exceeds 32, the deepest that can be written")


LIMITS = Limits()
