"""run.json: what a run folder says of itself, from the commitment to the finished weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from expunge.core.beacon import Beacon
from expunge.core.errors import DataError, InvalidArgument
from expunge.core.text_table import TextTable
from expunge.core.values import Empirical
from expunge.core.wording import LONGEST_NAME, clean
from expunge.records.catalogue import ACCUMULATED_MODELS, Execution, execution_of
from expunge.records.document import Document
from expunge.records.form import INLINE, Plain, Through, to_plain
from expunge.records.holds import NOTHING, Holds
from expunge.records.learnt import Learnt, told_of
from expunge.records.method_file import MethodFile, NothingToTune, TunedFields
from expunge.records.scalars import Amount, Digest, Large, Second, Slots
from expunge.records.values import WrittenGuarantee


def _beacon(told: Any) -> Beacon:
    try:
        return Beacon.from_json(told)
    except InvalidArgument as error:
        raise DataError(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Roots(Plain):
    """Roots over the leaves of each split, in hexadecimal."""

    train: Digest
    calibration: Digest
    holdout: Digest


@dataclass(frozen=True, kw_only=True)
class AnyRequest(Plain):
    """What decides a run's result, and is compared when its command is given again."""

    def difference(self, other: AnyRequest) -> str | None:
        """Where another request differs, said as what is there and what is asked for; None where it does not."""
        there, here = to_plain(self), to_plain(other)
        return None if there == here else _difference(there, here)


@dataclass(frozen=True, kw_only=True)
class CommitRequest(AnyRequest):
    """Fix data and recipe."""

    operation: Literal["commit"] = "commit"
    recipe: Mapping[str, Any]
    roots: Roots
    noise_commitment: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class TrainRequest(AnyRequest):
    """Train, ``without`` the slots of a digest where some are left out."""

    operation: Literal["train"] = "train"
    recipe: Mapping[str, Any]
    roots: Roots
    beacon: Digest
    device: str
    without: Digest | None = None
    noise_commitment: Digest | None = None

    @property
    def committed(self) -> CommitRequest:
        """The part that a commitment fixes."""
        return CommitRequest(recipe=self.recipe, roots=self.roots, noise_commitment=self.noise_commitment)


@dataclass(frozen=True, kw_only=True)
class UnlearnRequest(AnyRequest):
    """Forget. ``forget`` and ``parent_tombstones`` are digests of slots, ``parent`` of weights."""

    operation: Literal["unlearn"] = "unlearn"
    parent: Digest
    root: Digest
    parent_tombstones: Digest
    forget: Digest
    method: MethodFile
    budget: float | None
    seed: Large
    device: str
    tuning: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class OwnersWord:
    """What the owner of a model that was trained elsewhere says of its training; nobody can check it.

    ``weights`` is the digest of the tensors as they were handed over, under the owner's names.
    """

    weights: Digest
    epochs: int | None = None
    batch_size: int | None = None
    rate: float | None = None


@dataclass(frozen=True, kw_only=True)
class AdoptRequest(AnyRequest):
    """Take over weights as they are; ``without`` is the digest of slots that they were trained without, if any."""

    operation: Literal["adopt"] = "adopt"
    recipe: Mapping[str, Any]
    roots: Roots
    told: OwnersWord
    device: str
    without: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class Counts(Plain):
    """Rows of each split."""

    train: int
    calibration: int
    holdout: int


@dataclass(frozen=True, kw_only=True)
class DataFile(Plain):
    """Where the data came from and what they were committed to; ``source`` is as the data's reader described itself.

    Of an adopted run ``holdout`` is where rows come from that its model never saw, and ``split_column`` what tells
    them from those that it was trained on.
    """

    source: Mapping[str, Any] | None
    rows: int
    counts: Counts
    roots: Roots
    split_seed: Large
    split_by: str
    salts: str | None = None  # "open" or "secret"; older folders say nothing and are open
    note: str | None = None
    salt_file: str | None = None
    holdout: Mapping[str, Any] | None = None
    split_column: str | None = None
    held: Mapping[str, Any] | None = None  # how columns that were handed over in memory are read

    @property
    def secret(self) -> bool:
        return self.salts == "secret"

    @property
    def in_parts(self) -> bool:
        """Whether reading the source alone gives other rows than were committed."""
        return self.holdout is not None or self.split_column is not None


@dataclass(frozen=True, kw_only=True)
class ParentFile(Plain):
    """The run that this one came from: where it lay, from anywhere and from here, and the weights that it had."""

    path: str
    relative: str
    weights_digest: Digest


@dataclass(frozen=True, kw_only=True)
class OriginFile(Plain):
    """Where a part of the preprocessing has its constants from."""

    name: str
    origin: str = field(metadata={"name": "from"})


@dataclass(frozen=True, kw_only=True)
class UnlearnTerms:
    """What only an unlearning has from its start: the share of the training's work it may take, and its seed."""

    budget: float | None
    seed: Large


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a finished run holds, and what it took: work in example-steps or row-sums, time in seconds.

    Of an accumulated model ``sums`` is the digest of what was summed.
    """

    weights_digest: Digest
    parameters: int
    alive: tuple[bool, ...]
    guarantee: WrittenGuarantee
    exact_refused: str | None
    example_steps: Amount
    seconds: Amount
    steps: int
    row_sums: int | None = None
    sums: Digest | None = None

    @property
    def work(self) -> str:
        """What it took, in its own unit: sums take no steps, and steps are no sums."""
        return f"{self.example_steps:g} example-steps" if self.row_sums is None else f"{self.row_sums:,} row-sums"


@dataclass(frozen=True, kw_only=True)
class Predicted(Plain):
    """What a request was expected to cost before it was carried out; seconds where somebody measured them."""

    example_steps: Amount
    row_sums: Amount = 0
    seconds: Amount | None = None


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """What only a finished unlearning says of how it went; ``predicted`` where it was planned."""

    allowed: Amount | None
    stopped: str | None
    prepaid: tuple[str, ...]
    seen: tuple[str, ...]
    reused_steps: Mapping[str, int]
    untuned: bool
    predicted: Predicted | None = None


@dataclass(frozen=True, kw_only=True)
class RunFile(Document):
    """The whole file. What older versions did not write may be absent: the trace, the beacon's description."""

    FORMAT: ClassVar[str] = "expunge/run/1"
    NAME: ClassVar[str] = "run.json"
    HOLDS: ClassVar[Holds] = NOTHING

    status: Literal["running", "committed", "finished"]
    operation: Literal["train", "unlearn", "adopt"]
    request: CommitRequest | TrainRequest | UnlearnRequest | AdoptRequest
    recipe: Mapping[str, Any]
    recipe_digest: Digest
    data: DataFile
    dataset_root: Digest
    beacon: Digest | None
    beacon_described: Annotated[Beacon, Through(Mapping[str, Any], Beacon.as_json, _beacon)] | None = None
    beacon_note: str
    lineage_seed: Digest | None
    tombstones: Slots
    released: Mapping[str, Slots]
    method: MethodFile | None
    parent: ParentFile | None
    preprocessing: tuple[OriginFile, ...]
    environment: Mapping[str, Any] | None
    device: str
    noise_commitment: Digest | None = None
    committed_at: Second | None = None
    trace: str | None = None
    checkpoint_interval: int | None = None
    keep_checkpoints: int | None = None  # how many of each shard stay, where not all of them do
    forgotten: int | None = None
    rules: tuple[str, ...] | None = None
    trajectory: Literal["recorded", "none"] | None = None
    training_example_steps: Amount | None = None
    training_row_sums: int | None = None
    notices: tuple[str, ...] | None = None
    account: Mapping[str, Any] | None = None
    adopted: OwnersWord | None = None  # of the run, or of the one that it descends from
    tuning: TunedFields | NothingToTune | None = None
    learnt: tuple[Learnt, ...] | None = None
    asked: UnlearnTerms | None = field(default=None, metadata=INLINE)
    result: Result | None = field(default=None, metadata=INLINE)
    forgetting: Forgetting | None = field(default=None, metadata=INLINE)

    def check(self, where: str) -> None:
        """A finished run has a result that it can have, and every slot is of its split; none trained on is released."""
        if self.status == "finished" and self.result is None:
            raise DataError(f"{where} has no 'weights_digest': the file was altered or another version wrote it")
        if self.adopted is not None and self.result is not None and not isinstance(self.result.guarantee, Empirical):
            raise DataError(
                f"{where} guarantee is higher than a model that was trained elsewhere can have: the file was altered"
            )
        if self.operation == "adopt" and self.adopted is None:
            raise DataError(f"{where} adopted a model of which nothing is told: the file was altered")
        counts = self.data.counts
        beside = {"calibration": counts.calibration, "holdout": counts.holdout}
        if strange := self.released.keys() - beside.keys():
            named = clean(repr(min(strange)), LONGEST_NAME)
            raise DataError(
                f"{where} released names {named}, which is none of {', '.join(beside)}: the file was altered"
            )
        released = ((f"released {name}", name, slots, beside[name]) for name, slots in self.released.items())
        for what, split, slots, count in (("tombstones", "train", self.tombstones, counts.train), *released):
            if max(slots, default=-1) >= count:
                raise DataError(
                    f"{where} {what} names slot {max(slots)}, the data has {count} {split} rows: the file was altered"
                )

    @property
    def answers(self) -> str | None:
        """How well the model answers rows as they are labelled; older runs do not say."""
        return told_of([found for found in self.learnt or () if found.tier is None])

    @property
    def by_tier(self) -> str | None:
        """The same of the training rows of each tier; the last is trained on for the fewest epochs."""
        return told_of([found for found in self.learnt or () if found.tier is not None])

    @property
    def table(self) -> TextTable:
        """The guarantee, and what it is of."""
        done, counts = self.result, self.data.counts
        forgot = None if self.operation != "unlearn" or self.method is None else self.method.name
        facts = (
            ("operation", self.operation if forgot is None else f"forgot {self.forgotten} rows by {forgot}"),
            ("model", self.recipe.get("model")),
            ("rows", f"{counts.train} train, {counts.calibration} calibration, {counts.holdout} holdout"),
            ("forgotten so far", len(self.tombstones)),
            ("answers", self.answers),
            ("weights", self.weights_digest),
        )
        rows = tuple((name, str(value)) for name, value in facts if value is not None)
        refused = () if done is None or done.exact_refused is None else (f"not exact: {done.exact_refused}",)
        answer = f"guarantee {done.guarantee}" if done is not None else f"{self.status}, no guarantee earned yet"
        return TextTable(answer, ("", ""), rows, (*refused, *(self.notices or ())))

    @property
    def weights_digest(self) -> str | None:
        """Of the finished weights; None before."""
        return None if self.result is None else self.result.weights_digest

    @property
    def recorded(self) -> bool:
        """Whether the states of a whole trajectory were recorded.

        An unlearning says so when it is finished; while it says nothing, its states may be such.
        """
        unsaid = self.trajectory is None and self.status != "finished"
        return self.operation == "train" or self.trajectory == "recorded" or unsaid

    @property
    def execution(self) -> Execution:
        """How it came about, by its method; none but ours goes by the schedule."""
        name = self.operation if self.method is None else self.method.name
        return execution_of(name, foreign=False, accumulated=self.recipe.get("model") in ACCUMULATED_MODELS)

    @property
    def tells_seen(self) -> bool:
        """Whether it says of what it keeps which rows had a part in it: states of the schedule do, and sums."""
        return self.recorded and self.execution is not Execution.OWN_STEPS

    @property
    def replayable(self) -> bool:
        """Whether the states that were recorded are those of the schedule, which says what each has seen."""
        return self.recorded and self.execution is Execution.SCHEDULE


def _difference(there: Mapping[str, Any], here: Mapping[str, Any], prefix: str = "") -> str:
    for name in sorted(set(there) | set(here), key=lambda name: (name not in ("name", "method"), name)):
        before, now = there.get(name, "nothing"), here.get(name, "nothing")
        if before == now:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            return _difference(before, now, f"{prefix}{name} ")
        return f"{prefix}{name.replace('_', ' ')} {_short(before)} there, {_short(now)} asked for"
    return "the same request"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
