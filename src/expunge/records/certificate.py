"""A certificate: what a bundle's records say, and what a verification of them came to, each by itself.

The records stand here as they were signed, beside what follows from them. What is not known is None. Nothing of a
record becomes verified by standing here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from expunge.core.hashing import parse_json, sha256
from expunge.records.bundle import RECIPE, Bundle
from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.form import some_of, to_plain
from expunge.records.note import TreeHead
from expunge.records.record import Commit, Operation, ProfileName, Request, RunRecord
from expunge.records.statement import Statement
from expunge.records.verdict import Level, LevelName, Standing, Status, Verdict

FORMAT = "expunge/certificate/1"
FIRST_RANGES = 8  # of a request's slots, to compare with a receipt; the record has them all
PLAIN = (
    "model",
    "task",
    "epochs",
    "batch_size",
    "shards",
    "slices",
    "seed",
    "precision",
    "profile",
    "perturbation",
    "base",
    "training",
)
OPTIMISER = (("optimiser", "name"), ("rate", "rate"), ("momentum", "momentum"), ("weight_decay", "weight_decay"))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a verification came to, in its own words; ``says`` is what the level reached allows to be said.

    ``in_short`` is for those who read one sentence: what stands, or why it is refused or left open.
    """

    verdict: Verdict
    at: str | None
    answer: str
    says: str
    in_short: str

    @property
    def execution_verified(self) -> bool:
        return self.verdict.standing is Standing.VERIFIED


@dataclass(frozen=True, kw_only=True)
class Emptied:
    """Empty chairs in all; ``beside`` counts rows of the same people that never trained.

    ``newly`` are those that this record empties first, and ``people`` whose they are, so many of them ``in_part``: with
    rows that stay. None where no people were committed, or the bundle does not show them.
    """

    slots: int
    owner_initiated: int
    digest: bytes
    of: int
    beside: int
    newly: int
    people: int | None
    in_part: int | None


@dataclass(frozen=True, kw_only=True)
class Logged:
    """The log's head. Witnesses count only where their keys are on the list; other names are only names."""

    head: TreeHead
    witnesses: tuple[str, ...]
    other_signers: tuple[str, ...]
    remark: str | None


@dataclass(frozen=True, kw_only=True)
class ChainRecord:
    """A record of the chain, and the digest of its envelope."""

    envelope: bytes
    statement: Statement


class Climb(Enum):
    """How a verification fared at a level."""

    CLIMBED = "climbed"
    REFUSED = "refused"
    UNDECIDED = "undecided"
    UNTRIED = "not tried"
    BEYOND = "out of reach"  # for everybody: there is nothing that could be looked at


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A level of the ladder: what it is called, how far it was climbed, and what that shows or would show."""

    level: LevelName
    title: str
    climb: Climb
    shows: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a reader should ask, why it matters, and whom; ``word`` is stable."""

    word: str
    question: str
    why: str
    whom: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """What an auditor types for a level, and what it does."""

    level: str
    command: str
    does: str


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """All of it. Without a list of keys ``checked`` is None: every line is the bundle's own word.

    ``title`` is what was forgotten, with the model's name between two texts, ``summary`` that and by what in one
    sentence; ``ladder`` has the lowest level first, ``left_open`` is what the level reached did not show. ``has_model``
    says that the weights were handed over.
    ``meaning`` is where the guarantee holds, ``afterwards`` what a record orders that is later than the run, ``leaves``
    what those of the data hide, ``grindable`` what a beacon of zeros leaves open; ``recipe`` has the plainest fields of
    the bundle's file where that is the recipe signed for.
    """

    commit: Commit
    run: RunRecord
    chain: tuple[ChainRecord, ...]
    checked: Checked | None
    title: tuple[str, str, str]
    summary: str
    ladder: tuple[Rung, ...]
    left_open: str
    questions: tuple[Question, ...] = ()
    meaning: str
    afterwards: str | None
    forgotten: Emptied
    leaves: str
    has_model: bool
    recipe: Mapping[str, Any] | None
    grindable: str | None
    log: Logged | None
    nothing_retired: str | None
    verification: tuple[Command, ...]

    @property
    def subject(self) -> Statement:
        """The model that the record is of."""
        return self.chain[-1].statement

    @property
    def requests(self) -> list[tuple[Request, bool]]:
        """Requests of the chain, and whether this record answers them; the newest first."""
        runs = [(link.statement.predicate, link is self.chain[-1]) for link in self.chain]
        found = [(asked, own) for run, own in runs if isinstance(run, RunRecord) for asked in run.requests]
        return found[::-1]

    @property
    def tolerant(self) -> bool:
        return self.run.environment.profile is ProfileName.TOLERANT

    @property
    def adopted(self) -> bool:
        """Whether the chain begins with a model that was trained elsewhere."""
        return self.chain[1].statement.predicate.operation is Operation.ADOPT

    @property
    def highest(self) -> Level:
        """As far up as anybody can climb."""
        return max(rung.level for rung in self.ladder if rung.climb is not Climb.BEYOND)

    @property
    def status(self) -> Status | None:
        """The answer of the verification; None where there was none."""
        return None if self.checked is None else self.checked.verdict.status

    @property
    def standing(self) -> str:
        """Whose word the guarantee is."""
        if self.status is Status.REFUSED:
            return "claimed by a refused record"
        return "verified" if self.checked is not None and self.checked.execution_verified else "claimed"

    @property
    def called(self) -> str:
        """The guarantee, and whose word it is; what a base leaves open is said where its meaning is."""
        return f"{str(self.run.guarantee).partition(';')[0]}, {self.standing}"

    @property
    def claims(self) -> list[tuple[str, str]]:
        """What the record claims, by id."""
        return [(one, CLAIMS.get(one, "not a claim that is known here")) for one in self.run.claim]

    def as_json(self) -> dict[str, Any]:
        """Not by the form: chosen parts of the records, where a key stands for what is not known too."""
        run, data, algorithm, beacon = self.run, self.commit.data, self.run.algorithm, self.run.randomness.beacon
        window, log, checked = run.audit_window, self.log, self.checked
        return {
            "format": FORMAT,
            "title": "".join(self.title),
            "summary": self.summary,
            "subject": {"name": self.subject.name, "weights_digest": self.subject.digest.hex()},
            "operation": run.operation.value,
            "envelope": self.chain[-1].envelope.hex(),
            "recorded": {"at": run.recorded_at.text, "afterwards": self.afterwards},
            "algorithm": {
                **some_of(algorithm, "name", "version", "budget", "package"),
                "fields": readable(algorithm.fields),
                "foreign": to_plain(algorithm.source),
            },
            "guarantee": {
                **some_of(run.guarantee, "kind", "epsilon", "delta", "tests", "confidence"),
                **({} if run.guarantee.base is None else some_of(run.guarantee, "base")),
                "meaning": self.meaning,
                "standing": self.standing,
            },
            "checked": None
            if checked is None
            else {
                **checked.verdict.as_json(),
                **some_of(checked, "at", "answer", "says", "in_short", "execution_verified"),
            },
            "ladder": to_plain(self.ladder),
            "left_open": self.left_open,
            "questions": to_plain(self.questions),
            "requests": [_asked(request, own) for request, own in self.requests],
            "forgotten": to_plain(self.forgotten),
            "data": {
                **some_of(data, "root", "count", "salts"),
                "calibration": data.calibration.rows,
                "holdout": data.holdout.rows,
                "remark": self.leaves,
            },
            "recipe": {"digest": run.recipe.hex(), "fields": self.recipe},
            "schedule": {
                **some_of(run.schedule, "root", "shards", "slices"),
                "steps": sum(run.schedule.steps),
                "recorded": run.checkpoints is not None,
                "alive": len(run.alive),
            },
            "randomness": {
                **some_of(beacon, "source", "value", "round", "not_before"),
                "lineage_seed": run.randomness.lineage_seed.hex(),
                "zero": self.grindable is not None,
                "remark": self.grindable,
            },
            "environment": {
                **some_of(run.environment, "profile", "not_exact", "self_test", "factory"),
                "tolerant": self.tolerant,
                "fingerprint": readable(run.environment.fingerprint),
            },
            "log": None
            if log is None
            else {
                **some_of(log.head, "origin", "size", "root"),
                **some_of(log, "witnesses", "other_signers", "remark"),
            },
            "chain": [_linked(link) for link in self.chain],
            "reuse": [some_of(one, "shard", "step", "first_touched") for one in run.reuse],
            "retired": [some_of(one, "what", "digest") for one in run.retired],
            "nothing_retired": self.nothing_retired,
            "window": None if window is None else some_of(window, "days", "until"),
            "cost": {"example_steps": run.cost.thirds / 3, "seconds": run.cost.seconds},
            "claims": [{"id": name, "text": text} for name, text in self.claims],
            "not_claimed": [{"id": name, "text": text} for name, text in NOT_CLAIMED.items()],
            "verification": to_plain(self.verification),
        }


def _asked(request: Request, own: bool) -> dict[str, Any]:
    return {
        **some_of(request, "cases", "initiator", "received"),
        "own": own,
        "slots": len(request.slots),
        "first_ranges": first_ranges(request),
        "receipts": len(request.receipts),
        "before_training": request.model is None,
    }


def _linked(link: ChainRecord) -> dict[str, Any]:
    record = link.statement.predicate
    return {
        "operation": record.operation.value,
        "algorithm": record.algorithm.name if isinstance(record, RunRecord) else None,
        "at": record.recorded_at.text,
        "afterwards": record.recorded_afterwards,
        "name": link.statement.name,
        "digest": link.envelope.hex(),
        "subject": link.statement.digest.hex(),
    }


def first_ranges(request: Request) -> list[tuple[int, int]]:
    """The slots of a request as first and last of each unbroken row of them, the first few."""
    found: list[tuple[int, int]] = []
    for slot in request.slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = found[-1][0], slot
        else:
            found.append((slot, slot))
    return found[:FIRST_RANGES]


def recipe_fields(bundle: Bundle, run: RunRecord) -> Mapping[str, Any] | None:
    """The recipe's plainest fields, where the file in the bundle is that recipe."""
    if RECIPE not in bundle:
        return None
    content = bundle.read(RECIPE)
    value = parse_json(content, largest=bundle.limits.json_bytes)
    if sha256(content) != run.recipe or not isinstance(value, dict):
        return None
    fields = {name: readable(value[name]) for name in PLAIN if name in value}
    optimiser = value.get("optimiser")
    if isinstance(optimiser, dict):
        fields |= {name: readable(optimiser[key]) for name, key in OPTIMISER if key in optimiser}
    return fields


def readable(value: Any) -> Any:
    """Numbers and texts as they are; reals, which records write in hexadecimal, as numbers; anything else as text."""
    if isinstance(value, str):
        if value.lstrip("-").startswith("0x"):
            try:
                return float.fromhex(value)
            except (ValueError, OverflowError):
                return value
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        told = cast("Mapping[str, Any]", value)
        return {str(name): readable(inner) for name, inner in sorted(told.items())}
    if isinstance(value, list | tuple):
        return [readable(inner) for inner in cast("Sequence[Any]", value)]
    return str(value)
