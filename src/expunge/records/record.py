"""What a record says: the commitment of a lineage, and a run of it. Field by field as they are signed.

A record is the predicate of an in-toto statement (``records.statement``); these classes are its schema. Steps, slots,
rows and shards are counted from 0; digests are SHA-256; times are the owner's clock unless said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, u32, u64
from expunge.core.merkle import leaf_hash, tree_hash
from expunge.core.values import relative_to
from expunge.records.catalogue import Execution, execution_of
from expunge.records.scalars import Large
from expunge.records.trace_file import TraceMode

LEAF_FORMAT = "expunge/leaf/1"  # how leaves of a commitment are made


class Operation(Enum):
    """What a record is of."""

    COMMIT = "commit"
    TRAIN = "train"
    RETRAIN = "retrain"
    UNLEARN = "unlearn"
    ADOPT = "adopt"  # weights that were trained elsewhere, taken over as they are


class GuaranteeKind(Enum):
    EXACT = "exact"
    CERTIFIED = "certified"
    EMPIRICAL = "empirical"


class LeafSalts(Enum):
    """Whether leaves can be tested against a guess of their content (open), or not (secret)."""

    OPEN = "open"
    SECRET = "secret"


class Initiator(Enum):
    PERSON = "person"
    OWNER = "owner"


class ProfileName(Enum):
    """What was pinned; a tolerant run claims no bits."""

    EXACT_CPU = "exact-cpu"
    EXACT_GPU_PINNED = "exact-gpu-pinned"
    TOLERANT = "tolerant"


@dataclass(frozen=True, kw_only=True)
class SplitRoot:
    """Rows of a split that is never trained on, and the root over their leaves."""

    rows: int
    root: bytes


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a part of the preprocessing has its constants from."""

    name: str
    origin: str


def preprocessing_digest(recipe: Mapping[str, Any], origins: tuple[Origin, ...]) -> bytes:
    """Digest of how content becomes what the model sees: encoding, augmentation, and where constants are from.

    ``recipe`` is its JSON, as ``recipe.json`` of a bundle has it.
    """
    return sha256(
        b"expunge/preprocessing/1",
        canonical_json(
            {
                "inputs": recipe["inputs"],
                "augmentation": recipe["augmentation"],
                "origins": [{"name": item.name, "origin": item.origin} for item in origins],
            }
        ),
    )


@dataclass(frozen=True, kw_only=True)
class CommittedData:
    """The data set as it was committed. ``count`` is n, the number of training slots; ``rows`` counts all splits."""

    rows: int
    count: int
    root: bytes
    calibration: SplitRoot
    holdout: SplitRoot
    leaf_format: str
    salts: LeafSalts
    units: bytes  # SHA-256 of units.bin
    assignment: bytes  # SHA-256 of assignment.bin
    preprocessing: bytes  # see ``preprocessing_digest``
    origins: tuple[Origin, ...]
    source: Mapping[str, Any]  # how rows are read, without the place where they lie; {} for data in memory


@dataclass(frozen=True, kw_only=True)
class Commit:
    """Data and recipe, fixed before a beacon is known: the root of a lineage's chain."""

    operation: Operation
    recorded_at: Time
    recorded_afterwards: bool  # written after the training, so that it orders nothing
    recipe: bytes
    data: CommittedData
    claim: tuple[str, ...]
    not_claimed: tuple[str, ...]
    noise_commitment: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class GuaranteePart:
    """What the result may be called; epsilon and delta only where certified, tests only where empirical."""

    kind: GuaranteeKind
    epsilon: float | None = None
    delta: float | None = None
    tests: tuple[str, ...] | None = None
    confidence: float | None = None
    base: bytes | None = None  # only where exact: the weights that training began with

    def __str__(self) -> str:
        """The kind, with its bounds where it is certified, and its base where it is relative to one."""
        if self.base is not None:
            return f"{self.kind.value} {relative_to(self.base.hex())}"
        if self.kind is GuaranteeKind.CERTIFIED and self.epsilon is not None and self.delta is not None:
            return f"certified (ε = {self.epsilon:g}, δ = {self.delta:g})"
        return self.kind.value


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What ran: "train", "adopt" (nothing), or a method by name; fields are its hyper-parameters.

    ``package`` is the digest of our sources where the record was written, ``tree`` the git tree that they are checked
    out from unchanged. ``source`` is the digest of a foreign method's sources; ``budget`` the share of the training's
    work that the method was allowed.
    """

    name: str
    version: str
    fields: Mapping[str, Any]
    package: bytes
    source: bytes | None = None
    tree: str | None = None
    budget: float | None = None


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where bits belong to. ``factory`` is "zoo" or the digest of the model's sources in hexadecimal.

    Sums of whole numbers belong to no machine: there is no self-test, and no weights to begin with.
    """

    profile: ProfileName
    fingerprint: Mapping[str, Any]
    self_test: bytes | None = None
    factory: str
    initial_weights: bytes | None = None
    not_exact: str | None = None  # why the run may not be called exact, if so


@dataclass(frozen=True, kw_only=True)
class RunData:
    """The committed data and the chairs that are empty in this run, its ancestors' included; ascending.

    ``released`` are calibration and holdout slots of people forgotten by name: their rows may be gone as well.
    """

    root: bytes
    count: int
    tombstones: tuple[int, ...]
    preprocessing: bytes
    released_calibration: tuple[int, ...]
    released_holdout: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Who asked for which slots to be forgotten, of which data set, in which model (none: before any training).

    A retraining that begins a chain of its own repeats the requests of the models before it; one that was made before
    any training then names the model of the training that answered it.
    """

    cases: tuple[str, ...]
    initiator: Initiator
    received: Time
    slots: tuple[int, ...]
    receipts: tuple[bytes, ...]
    root: bytes
    model: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class BeaconPart:
    """What the schedule hangs on besides recipe and data; ``not_before`` is when the value became public."""

    source: str
    value: bytes
    round: int | None = None
    not_before: Time | None = None


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """Where every draw comes from. The last two belong to a method that takes steps of its own."""

    beacon: BeaconPart
    derivation: str
    lineage_seed: bytes
    request_seed: Large | None = None
    method_seed: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class SchedulePart:
    """The schedule's root over all steps, empty chairs included, and the figures that shape it; steps by shard."""

    root: bytes
    steps: tuple[int, ...]
    batch_size: int
    shards: int
    slices: int
    least_present: int
    drop_last: bool


@dataclass(frozen=True, kw_only=True)
class State:
    """One checkpoint: digests of parameters, persistent buffers, optimiser state, and of the shard's trace so far."""

    shard: int
    step: int
    weights: bytes
    buffers: bytes
    optimiser: bytes
    trace: bytes

    @property
    def leaf(self) -> bytes:
        """RFC 6962 leaf hash of this state."""
        return leaf_hash(
            b"expunge/state/1"
            + u32(self.shard)
            + u64(self.step)
            + self.weights
            + self.buffers
            + self.optimiser
            + self.trace
        )


def states_root(states: tuple[State, ...]) -> bytes:
    """Root of the checkpoint tree: shard by shard, by step."""
    return tree_hash(state.leaf for state in states)


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Every recorded state, by shard and step; ``buffers`` names the tensors of a model that are no parameters."""

    interval: int
    count: int
    root: bytes
    buffers: tuple[str, ...]
    states: tuple[State, ...]


@dataclass(frozen=True, kw_only=True)
class TracePart:
    """``trace.bin``: for each shard its steps, then its epochs; ``digest`` is SHA-256 of the file."""

    mode: TraceMode
    digest: bytes


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """Up to which step of a shard earlier states stand; ``first_touched`` is missing where nobody new sat there.

    They are those of the nearest run before this one whose trajectory was recorded; ``leaf`` is its state at ``step``,
    and new are the empty chairs that were taken there. Step 0 is no reuse: the shard was trained again from its
    initial weights.
    """

    shard: int
    step: int
    leaf: bytes | None = None
    first_touched: int | None = None


@dataclass(frozen=True, kw_only=True)
class Retired:
    """Something that held forgotten data and was declared destroyed: ``what`` it was, and its digest if it had one."""

    what: str
    digest: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class AuditWindow:
    """Until when the old state is kept in escrow, so that the old run can still be replayed."""

    days: int
    until: Time


@dataclass(frozen=True, kw_only=True)
class CostPart:
    """Work in thirds of an example-step (a forward pass is one third), or in rows added or subtracted; and seconds."""

    thirds: int
    seconds: float
    row_sums: int | None = None


@dataclass(frozen=True, kw_only=True)
class SumsPart:
    """What a run was solved from: digests of its sums, of the constants of its map, and of its penalty if it has one.

    Each is the digest of tensors, in the form of the weights'.
    """

    digest: bytes
    constants: bytes
    penalty: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One run: what was asked, what ran on what, and what came out. ``alive`` are the shards that have anybody left."""

    operation: Operation
    recorded_at: Time
    recorded_afterwards: bool
    guarantee: GuaranteePart
    algorithm: Algorithm
    recipe: bytes
    environment: Environment
    data: RunData
    requests: tuple[Request, ...]  # those that the parent's record does not answer
    randomness: Randomness
    schedule: SchedulePart
    alive: tuple[int, ...]
    reuse: tuple[Reuse, ...]
    retired: tuple[Retired, ...]
    cost: CostPart
    commit: bytes  # digest of the lineage's commit envelope
    parent: bytes  # digest of the parent's envelope; a training's parent is its commit
    claim: tuple[str, ...]
    not_claimed: tuple[str, ...]
    checkpoints: Checkpoints | None = None  # none where no trajectory was recorded
    trace: TracePart | None = None
    audit_window: AuditWindow | None = None
    noise_commitment: bytes | None = None
    execution: Execution | None = None  # none in records of the first form, which read as ``came_about`` says
    sums: SumsPart | None = None  # where the weights were solved for
    kept_state: str | None = None  # why old state that holds forgotten rows was left, where its owner left it

    @property
    def came_about(self) -> Execution:
        """How the run came about."""
        return self.execution or execution_of(self.algorithm.name, foreign=self.algorithm.source is not None)
