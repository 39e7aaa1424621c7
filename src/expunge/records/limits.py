"""What a file from outside may measure, and the codes under which evidence is refused."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

from expunge.core.errors import InvalidArgument, RecordError

SEGMENTS = 40  # drawn at V2 beside those that are always replayed
MEBIBYTE = 2**20
GIBIBYTE = 2**30


class Code(StrEnum):
    """What was seen when evidence is refused, not the motive; ``seen`` says it in words."""

    seen: str

    def __new__(cls, code: str, seen: str = "") -> Self:
        member = str.__new__(cls, code)
        member._value_, member.seen = code, seen
        return member

    UNSAFE_FILE = "UNSAFE_FILE", "a file is not on the list, not of the form its name promises, or not a plain file"
    UNSAFE_PATH = (
        "UNSAFE_PATH",
        "a file has a name that could lead elsewhere or be taken for another one, or is a link or a device",
    )
    SIZE_LIMIT = "SIZE_LIMIT", "something is larger, deeper, more or denser than the limits allow"
    MALFORMED_JSON = "MALFORMED_JSON", "a document is not canonical JSON, or has not the fields that its place asks for"
    SIGNATURE_INVALID = "SIGNATURE_INVALID", "a trusted key is named, and it did not sign these bytes"
    KEY_NOT_TRUSTED = "KEY_NOT_TRUSTED", "it is signed with a key that is not on the verifier's own list"
    LOG_INCONSISTENT = (
        "LOG_INCONSISTENT",
        "the log was forked, rolled back or altered, or a checkpoint is not that log's",
    )
    SUBJECT_DIGEST_MISMATCH = "SUBJECT_DIGEST_MISMATCH", "the weights are not those that were signed"
    CHAIN_BROKEN = "CHAIN_BROKEN", "an ancestor's envelope is missing, or is of another kind than its place asks for"
    REQUEST_BINDING_MISMATCH = "REQUEST_BINDING_MISMATCH", "model, data set or request belong to another record"
    RECIPE_DIGEST_MISMATCH = "RECIPE_DIGEST_MISMATCH", "the recipe is not the one that was committed"
    RECIPE_DEGENERATE = "RECIPE_DEGENERATE", "the training could not move the weights"
    PREPROCESSING_MISMATCH = "PREPROCESSING_MISMATCH", "encoding or augmentation are not those committed"
    PREPROCESSING_FITTED = "PREPROCESSING_FITTED", "a constant of the preprocessing depends on the data"
    DATASET_ROOT_CHANGED = "DATASET_ROOT_CHANGED", "leaves, count or root are not those committed"
    BEACON_NOT_AFTER_COMMIT = "BEACON_NOT_AFTER_COMMIT", "the beacon could be known before the commitment"
    LINEAGE_SEED_MISMATCH = "LINEAGE_SEED_MISMATCH", "the lineage seed is not what recipe, root and beacon give"
    SHARD_MAP_MISMATCH = "SHARD_MAP_MISMATCH", "units, shards or slices are not those committed"
    SCHEDULE_ROOT_MISMATCH = "SCHEDULE_ROOT_MISMATCH", "the schedule that is named is not the one of the seed"
    SCHEDULE_LENGTH_MISMATCH = "SCHEDULE_LENGTH_MISMATCH", "steps or epochs are missing or too many"
    SCHEDULE_BATCH_MISMATCH = "SCHEDULE_BATCH_MISMATCH", "a step was carried out with other members"
    SCHEDULE_ORDER_MISMATCH = "SCHEDULE_ORDER_MISMATCH", "an epoch's members are right, their order is not"
    TRACE_DIGEST_MISMATCH = "TRACE_DIGEST_MISMATCH", "the trace is not the one that was signed"
    CHECKPOINT_LEAF_MISMATCH = "CHECKPOINT_LEAF_MISMATCH", "a state, or sums, are not those that were signed"
    REUSE_AFTER_TOUCH = "REUSE_AFTER_TOUCH", "a state that had seen forgotten rows was used again"
    ENSEMBLE_MEMBER_MISMATCH = "ENSEMBLE_MEMBER_MISMATCH", "the model's shards are not the last states"
    WEIGHTS_UNCHANGED = "WEIGHTS_UNCHANGED", "rows were forgotten that sat in steps or sums, and nothing moved"
    SUMS_IMPOSSIBLE = "SUMS_IMPOSSIBLE", "no rows that are present have such sums"
    FORGOTTEN_ROW_SEATED = "FORGOTTEN_ROW_SEATED", "a leaf seats a row that was forgotten"
    PENALTY_MISMATCH = "PENALTY_MISMATCH", "the penalty is not the one that follows from the sums"
    WEIGHTS_NOT_OF_SUMS = "WEIGHTS_NOT_OF_SUMS", "the weights do not follow from the recorded sums"
    TOMBSTONE_REVIVED = "TOMBSTONE_REVIVED", "a chair that was emptied is taken again"
    TOMBSTONE_UNREQUESTED = "TOMBSTONE_UNREQUESTED", "a chair was emptied that nobody asked for"
    REQUEST_MISSING = "REQUEST_MISSING", "a request on record is not honoured"
    PROFILE_CLAIM_MISMATCH = "PROFILE_CLAIM_MISMATCH", "exact is claimed where nothing pinned the bits"
    GUARANTEE_TOO_HIGH = "GUARANTEE_TOO_HIGH", "more is claimed than the method can earn"
    EXECUTION_MISMATCH = "EXECUTION_MISMATCH", "the run is said to have come about otherwise than its method works"
    CONTENT_LEAF_MISMATCH = "CONTENT_LEAF_MISMATCH", "a row, or its secret salt, is not what was committed"
    INIT_MISMATCH = "INIT_MISMATCH", "the initial weights are not those that the seed gives"
    REPLAY_STATE_MISMATCH = "REPLAY_STATE_MISMATCH", "the same steps, carried out again, give other bits"
    SUMS_MISMATCH = "SUMS_MISMATCH", "the rows that are present, summed again, give other sums"


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
    json_values: int = 2_000_000  # of one JSON file: each takes up to 150 bytes of memory while it is read
    chain_values: int = 4_000_000  # of all records of a bundle together, which are held at once
    json_total_bytes: int = 256 * MEBIBYTE  # all JSON files of a bundle together
    zip_ratio: int = 100  # unpacked bytes per packed byte, each file
    header_bytes: int = 16 * MEBIBYTE  # header of a safetensors file
    note_bytes: int = 64 * 1024  # a checkpoint with its signature lines
    signatures: int = 16  # of an envelope or a note
    draws: int = 2**34  # 64-bit words that computing a schedule again may take
    epochs: int = 2**24  # of all shards together; each takes its time, however few rows it has
    seats: int = 2**26  # slots of all stages of a schedule together, 8 bytes of memory each
    rows: int = 2**26  # of a data set, all splits together
    steps: int = 2**25  # of a schedule, all shards together: each is hashed by itself

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not int or value < 1:
                raise InvalidArgument(f"limit {item.name.replace('_', ' ')} {value!r} must be a whole number from 1")
        if self.json_depth > 32:
            raise InvalidArgument(f"limit json depth {self.json_depth} exceeds 32, the deepest that can be written")


LIMITS = Limits()
