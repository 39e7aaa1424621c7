"""A certificate: what a bundle's record says, and what a verification of it came to, each by itself.

Texts and numbers as a page or another program reads them: digests in hexadecimal, times as written in the record. What
is not known is None. Nothing of the record becomes verified by standing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from expunge.records.verdict import Standing, Verdict

FORMAT = "expunge/certificate/1"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model that the record is of."""

    name: str
    weights_digest: str


@dataclass(frozen=True, kw_only=True)
class RecordedFacts:
    """When the record was signed; ``afterwards`` says what it then orders, where that was later than the run."""

    at: str
    afterwards: str | None


@dataclass(frozen=True, kw_only=True)
class AlgorithmFacts:
    """What ran; ``foreign`` is the digest of sources that are not built in."""

    name: str
    version: str
    fields: Mapping[str, Any]
    budget: float | None
    package: str
    foreign: str | None


@dataclass(frozen=True, kw_only=True)
class GuaranteeFacts:
    kind: str
    epsilon: float | None
    delta: float | None
    tests: tuple[str, ...] | None
    confidence: float | None
    meaning: str  # where it holds


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a verification came to, in its own words; ``says`` is what the level reached allows to be said."""

    verdict: Verdict
    at: str | None
    answer: str
    says: str

    @property
    def execution_verified(self) -> bool:
        return self.verdict.standing is Standing.VERIFIED


@dataclass(frozen=True, kw_only=True)
class RequestFacts:
    """A request of the chain; ``own`` where this record answers it. Few ranges of slots, to compare with a receipt."""

    own: bool
    cases: tuple[str, ...]
    initiator: str
    received: str
    slots: int
    first_ranges: tuple[tuple[int, int], ...]
    receipts: int
    before_training: bool


@dataclass(frozen=True, kw_only=True)
class ForgottenFacts:
    """Empty chairs in all; ``beside`` counts rows of the same people that never trained."""

    slots: int
    owner_initiated: int
    digest: str
    of: int
    beside: int


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    root: str
    count: int
    calibration: int
    holdout: int
    salts: str
    remark: str


@dataclass(frozen=True, kw_only=True)
class RecipeFacts:
    """The recipe's digest, and its plainest fields where the file in the bundle is that recipe."""

    digest: str
    fields: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    """``recorded`` says whether the run's own trajectory is on record."""

    root: str
    steps: int
    recorded: bool
    shards: int
    slices: int
    alive: int


@dataclass(frozen=True, kw_only=True)
class RandomnessFacts:
    source: str
    value: str
    round: int | None
    not_before: str | None
    lineage_seed: str
    zero: bool
    remark: str | None


@dataclass(frozen=True, kw_only=True)
class EnvironmentFacts:
    profile: str
    tolerant: bool
    not_exact: str | None
    fingerprint: Mapping[str, Any]
    self_test: str
    factory: str


@dataclass(frozen=True, kw_only=True)
class LogFacts:
    """The log's head. Witnesses count only where their keys are on the list; other names are only names."""

    origin: str
    size: int
    root: str
    witnesses: tuple[str, ...]
    other_signers: tuple[str, ...]
    remark: str | None


@dataclass(frozen=True, kw_only=True)
class LinkFacts:
    """A record of the chain, and the digest of its envelope."""

    operation: str
    algorithm: str | None
    at: str
    afterwards: bool
    name: str
    digest: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class ReuseFacts:
    shard: int
    step: int
    first_touched: int | None


@dataclass(frozen=True, kw_only=True)
class RetiredFacts:
    what: str
    digest: str | None


@dataclass(frozen=True, kw_only=True)
class WindowFacts:
    days: int
    until: str


@dataclass(frozen=True, kw_only=True)
class CostFacts:
    example_steps: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A claim, or what is not claimed, by its id."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """What an auditor types for a level, and what it does."""

    level: str
    command: str
    does: str


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """All of it. Without a list of keys ``checked`` is None: every line is the bundle's own word."""

    subject: Subject
    operation: str
    envelope: str
    recorded: RecordedFacts
    algorithm: AlgorithmFacts
    guarantee: GuaranteeFacts
    checked: Checked | None
    requests: tuple[RequestFacts, ...]  # the newest first
    forgotten: ForgottenFacts
    data: DataFacts
    recipe: RecipeFacts
    schedule: ScheduleFacts
    randomness: RandomnessFacts
    environment: EnvironmentFacts
    log: LogFacts | None
    chain: tuple[LinkFacts, ...]
    reuse: tuple[ReuseFacts, ...]
    retired: tuple[RetiredFacts, ...]
    nothing_retired: str | None
    window: WindowFacts | None
    cost: CostFacts
    claims: tuple[Sentence, ...]
    not_claimed: tuple[Sentence, ...]
    verification: tuple[Command, ...]

    def as_json(self) -> dict[str, Any]:
        """The verdict as it is printed alone, beside what the certificate adds to it."""
        found, checked = asdict(replace(self, checked=None)), self.checked
        if checked is not None:
            said = {"at": checked.at, "answer": checked.answer, "says": checked.says}
            found["checked"] = {**checked.verdict.as_json(), **said, "execution_verified": checked.execution_verified}
        return {"format": FORMAT, **found}
