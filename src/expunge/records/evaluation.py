"""evaluation.json: what was measured of a run beside its original and retrained references, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from expunge.core.errors import DataError
from expunge.core.text_table import TextTable, four_digits, with_interval
from expunge.core.values import Exact, Measurement, Refuted, Supported, Undecided
from expunge.core.wording import LONGEST_NAME, clean
from expunge.records.by_tier import TierFigure, of_tiers
from expunge.records.document import Sealed
from expunge.records.form import Plain
from expunge.records.holds import Holds, listed
from expunge.records.outcome import OutcomeName
from expunge.records.published import PublishedFigure, of_a_run
from expunge.records.scalars import Amount, Bound, Cleaned, Digest, Name, Remark, Share, Short, Words
from expunge.records.values import WrittenFigure, WrittenGuarantee, WrittenVerdict

AGAIN = "run expunge evaluate again"
POOL = "pool.json"
"""What an evaluation of several requests is called in a run's folder; it shows no rows."""
BESIDE = "printed beside, not judged"
FIRST = 6  # rows that stand out, where a table is printed
MODELS = ("probe", "original", "this run", "retrained")
WHEN = ("before", "after", "retrained")
OVER_FORGOTTEN = "over-forgotten"
RULES_VERSION = 2
"""Raised with any change of the verdict's rules; part of the digest of an evaluation."""


STANDS_OUT = 0.05
"""A row is still known where a retrained model answers it so by a smaller chance, adjusted over all rows."""


def _label(value: Any) -> Any:
    if isinstance(value, str):
        return Cleaned.of(value, clean(value, LONGEST_NAME))
    return value if type(value) in (int, float) else None


@dataclass(frozen=True, kw_only=True)
class Forgotten(Plain):
    """The forget set: how many examples, which share of the training rows, and how it was named."""

    examples: int
    share: Share
    rules: tuple[Words, ...]


@dataclass(frozen=True, kw_only=True)
class Looked(Plain):
    """Rows that were looked at, by role; ``attack`` and ``scored`` are parts of the holdout."""

    forget: int
    retain: int
    holdout: int
    attack: int
    scored: int
    excluded_holdout: int
    duplicates: int
    dropped_classes: tuple[Short, ...]


@dataclass(frozen=True, kw_only=True)
class Compared(Plain):
    """A model that the run was compared with. ``lineage_seed`` stands for references only."""

    weights_digest: Digest
    lineage_seed: Digest | None = None
    example_steps: Amount
    seconds: Amount


@dataclass(frozen=True, kw_only=True)
class Probed(Plain):
    """One probe: what it said of the original, the run and every reference, and what follows.

    ``gap_left`` is how much of the original's distance from the references is left, where it lies off them: 1 is
    untouched, 0 as retrained.
    """

    name: Name
    role: Literal["utility", "forgetting", "cost", "diagnostic"]
    required: bool
    direction: Literal["match", "high", "low"]
    scale: Name
    one_unit: float | None
    summary: Words
    original: WrittenFigure | None
    unlearned: WrittenFigure
    references: tuple[WrittenFigure, ...]
    reference_mean: float | None
    verdict: WrittenVerdict
    gap_left: float | None = None


@dataclass(frozen=True, kw_only=True)
class Guard(Plain):
    """A way to seem forgotten without being so, and whether it was found."""

    name: Name
    fired: bool
    detail: Remark


@dataclass(frozen=True, kw_only=True)
class MemoryEvidence(Plain):
    """How much of the memory of the forget set is left: 0 as retrained, 1 as before; ``bound`` may be left at most.

    ``original`` is what the original reads, ``spread`` the standard deviation of retraining, ``smallest_claim`` the
    smallest share that such a trial could bound, ``stands_out`` how many rows are still known.
    """

    left: float
    bound: float
    original: float
    spread: float
    references: int
    witnesses: int
    effective_rows: float
    smallest_claim: float | None
    stands_out: int


@dataclass(frozen=True, kw_only=True)
class ShownAnswers(Plain):
    """What models answered to one forgotten example whose label is a number; none where it was nothing finite."""

    before: float | None
    after: float | None
    retrained: float | None


@dataclass(frozen=True, kw_only=True)
class ShownExample(Plain):
    """Confidence in the true label of one forgotten example; none where a model answered nothing finite.

    Where labels are numbers there is none, and ``answers`` are what was answered instead. ``stands_out`` is the chance,
    adjusted over all rows, that a retrained model answers it so; small = still known.
    """

    slot: int
    label: Annotated[Any, Bound("a label", _label)]
    before: Share | None
    after: Share | None
    retrained: Share | None
    stands_out: Share | None = None
    answers: ShownAnswers | None = None

    @property
    def still_known(self) -> bool:
        """Whether no retrained model would answer it so."""
        return self.stands_out is not None and self.stands_out <= STANDS_OUT


def _chance(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _told(one: ShownExample) -> str:
    """What a row was answered before, after and retrained."""
    shown = one if one.answers is None else one.answers
    told = [f"{getattr(shown, when):.3f} {when}" for when in WHEN if getattr(shown, when) is not None]
    return f": {', '.join(told)}" if told else ""


def _share(left: float | None) -> str:
    return "–" if left is None else f"{left:.0%}"


def _found(probe: Probed) -> tuple[str, ...]:
    """Of the original, of the run, and the references' mean."""
    mean = "–" if probe.reference_mean is None else four_digits(probe.reference_mean)
    return probe.name, with_interval(probe.original), with_interval(probe.unlearned), mean


@dataclass(frozen=True, kw_only=True)
class Pooled(Plain):
    """One request of a pool: the run that answered it, how many examples it forgot, and how they were named."""

    weights_digest: Digest
    examples: int
    rules: tuple[Words, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Sealed):
    """The whole file, of one run or of a ``pool`` of several requests of one method.

    ``claim`` is what was asked of the run, ``same_as`` the weights digest of a retraining that it equals bit for bit.
    Files of the first rules have neither, and say nothing of memory. ``as_published`` stands where it was asked for,
    ``by_tier`` where the training dealt subjects by tiers.
    """

    FORMAT: ClassVar[str] = "expunge/evaluation/1"
    NAME: ClassVar[str] = "evaluation.json"
    HOLDS: ClassVar[Holds] = listed(
        "examples of an evaluation: labels and confidences", "they describe single rows", "examples"
    )
    AGAIN: ClassVar[str] = f"; {AGAIN}"

    weights_digest: Digest
    method: Name | None
    forget: Forgotten
    trial: Looked
    original: Compared
    references: tuple[Compared, ...]
    probes: tuple[Probed, ...]
    guards: tuple[Guard, ...]
    notices: tuple[Remark, ...]
    verdict: WrittenVerdict
    guarantee: WrittenGuarantee
    examples: tuple[ShownExample, ...]
    tolerances_version: int  # of the verdict's rules; 1 are those of margins from the references' spread
    claim: Name | None = None
    memory: MemoryEvidence | None = None
    witnesses: tuple[Compared, ...] | None = None
    same_as: Digest | None = None
    pool: tuple[Pooled, ...] | None = None
    as_published: tuple[PublishedFigure, ...] | None = None
    by_tier: tuple[TierFigure, ...] | None = None

    def check(self, where: str) -> None:
        """A probe and a slot once, and a figure for each reference."""
        for at, probe in enumerate(self.probes):
            if len(probe.references) != len(self.references):
                raise DataError(
                    f"{where} probes [{at}] measures {len(probe.references)} references of {len(self.references)}: it "
                    f"was altered; {AGAIN}"
                )
        if len({probe.name for probe in self.probes}) != len(self.probes):
            raise DataError(f"{where} names a probe twice: it was altered; {AGAIN}")
        if self.same_as not in (None, self.weights_digest) or (
            self.same_as and not isinstance(self.verdict, Supported)
        ):
            raise DataError(f"{where} same_as is of other weights or not supported: it was altered; {AGAIN}")
        slots = [shown.slot for shown in self.examples]
        for at, slot in enumerate(slots):
            if slot in slots[:at]:
                raise DataError(f"{where} examples [{at}] shows slot {slot} twice: it was altered; {AGAIN}")

    @property
    def outcome(self) -> OutcomeName | None:
        """What the verdict means; none where it is by the rules of an earlier release."""
        verdict = self.verdict
        if self.tolerances_version < RULES_VERSION:
            return None
        if self.same_as is not None:
            return "same"
        if isinstance(verdict, Supported):
            return "little left"
        if isinstance(verdict, Refuted):
            return self._refuted(verdict)
        return "recorded" if isinstance(self.guarantee, Exact) else "unsaid"

    def _refuted(self, verdict: Refuted) -> OutcomeName:
        """Too little, too much, or something else: by the probe that decided."""
        found = (probe for probe in self.probes if probe.required and isinstance(probe.verdict, Refuted))
        deciding = next((probe for probe in found if probe.verdict.detail == verdict.reason), None)
        if verdict.reason.startswith("collapsed") or (deciding is not None and deciding.role == "utility"):
            return "broke"
        if verdict.reason.startswith(OVER_FORGOTTEN):
            return "too much"
        if self._less_sure and (deciding is None or deciding.direction != "match"):
            return "too much"
        return "remembers" if deciding is None or deciding.direction == "match" else "broke"

    @property
    def _less_sure(self) -> bool:
        """Whether the run is less sure of the forgotten rows than any model that never saw them; of few, row by row."""
        margin = self.probe("mean-margin")
        if margin is None or not isinstance(margin.unlearned, Measurement):
            out = [one for one in self.examples if one.still_known]
            return bool(out) and all((one.after or 0.0) < (one.retrained or 0.0) for one in out)
        others = [one.value for one in margin.references if isinstance(one, Measurement)]
        return bool(others) and margin.unlearned.value < min(others)

    @property
    def answer(self) -> str:
        """The first sentence that anybody reads."""
        verdict, said = self.verdict, self.reason
        if self.tolerances_version < RULES_VERSION:
            return f"By the rules of an earlier release: {verdict.word} ({verdict.detail})."
        if self.same_as is not None:
            return f"Yes, by {self.method}: bit for bit the model that never saw them."
        if self.outcome in ("little left", "recorded"):
            found = f"{said[:1].upper()}{said[1:]}"
        else:
            found = f"{'No' if isinstance(verdict, Refuted) else 'Cannot be said'}: {said}"
        if self.pool is not None:
            return f"{found}, over {len(self.pool)} requests: this speaks of {self.method}, never of one person."
        return f"{found}."

    @property
    def reason(self) -> str:
        """Why, without the name of the probe that says so."""
        return self._own(self.verdict.detail)

    def _own(self, detail: str) -> str:
        name, _, rest = detail.partition(": ")
        return rest if rest and self.probe(name) is not None else detail

    @property
    def standing_out(self) -> tuple[str, ...]:
        """The shown rows that are still known, one by one."""
        return tuple(
            f"slot {one.slot}, labelled {one.label}, stands out ({_chance(one.stands_out)}){_told(one)}"
            for one in self.examples
            if one.stands_out is not None and one.still_known
        )

    @property
    def table(self) -> TextTable:
        """What decides: what each probe found, and which rows are still known."""
        deciding = sorted((one for one in self.probes if one.required), key=lambda one: one.role == "utility")
        rows = tuple((*_found(one), one.verdict.word, one.verdict.detail) for one in deciding)
        out = self.standing_out
        more = (f"{len(out) - FIRST} more of the rows shown stand out",) if len(out) > FIRST else ()
        return TextTable(self.answer, (*MODELS, "verdict", "why"), rows, (*out[:FIRST], *more))

    @property
    def beside(self) -> TextTable:
        """What decides nothing, why some of it was not measured, what else must be known, and the verdict."""
        others = [one for one in self.probes if not one.required]
        shown = [one for one in others if not isinstance(one.unlearned, Undecided)]
        left = any(one.gap_left is not None for one in shown)
        rows = tuple((*_found(one), *((_share(one.gap_left),) if left else ())) for one in shown)
        why: dict[str, list[str]] = {}
        for one in others:
            if one.verdict.detail != BESIDE:
                why.setdefault(self._own(one.verdict.detail), []).append(one.name)
        claim = "" if self.claim is None else f", claim {self.claim}"
        notes = (
            *(f"{', '.join(names)}: {reason}" for reason, names in why.items()),
            *(f"note: {notice}" for notice in self.notices),
            f"verdict: {self.verdict.word}{claim} ({self.verdict.detail})",
        )
        headers = (*MODELS, "gap left") if left else MODELS
        return TextTable("printed beside, decides nothing", headers, rows, notes)

    @property
    def tables(self) -> tuple[TextTable, ...]:
        """All that is printed of it."""
        tiers = [of_tiers(self.by_tier)] if self.by_tier else []
        return self.table, self.beside, *tiers, *([of_a_run(self.as_published)] if self.as_published else [])

    def __repr__(self) -> str:
        return f"Evaluation({self.answer!r})"

    def _repr_html_(self) -> str:
        return "".join(table.as_html() for table in self.tables)

    def __getitem__(self, name: str) -> Probed:
        found = self.probe(name)
        if found is None:
            raise DataError(f"the evaluation has no probe {name!r}: another version wrote it; {AGAIN}")
        return found

    def probe(self, name: str) -> Probed | None:
        return next((probe for probe in self.probes if probe.name == name), None)

    def warnings(self, name: str) -> tuple[str, ...]:
        """What the guards that fired say about one probe."""
        return tuple(guard.detail for guard in self.guards if guard.fired and guard.detail.startswith(f"{name}:"))
