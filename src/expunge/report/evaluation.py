"""An evaluation as it is read back: measured and judged by others, checked here before it is shown."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from expunge.core.errors import DataError, ExpungeError
from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import (
    Certified,
    Direction,
    Empirical,
    Exact,
    Guarantee,
    Measurement,
    Refuted,
    Supported,
    Undecided,
    Verdict,
)
from expunge.core.wording import LONGEST_NAME, without_places
from expunge.report.entry import Entry, read_entry

FORMAT = "expunge/evaluation/1"
NAME = "evaluation.json"

Figure = Measurement | Undecided


@dataclass(frozen=True)
class Model:
    """A model that the run was compared with. ``lineage_seed`` stands for references only."""

    weights_digest: str
    lineage_seed: str | None
    example_steps: float
    seconds: float


@dataclass(frozen=True)
class Probe:
    """One test: what it said of the original, the run and every reference, and what follows."""

    name: str
    role: str
    required: bool
    scale: str
    summary: str
    original: Figure | None
    unlearned: Figure
    references: tuple[Figure, ...]
    reference_mean: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Guard:
    """A way to seem forgotten without being so, and whether it was found."""

    name: str
    fired: bool
    detail: str


@dataclass(frozen=True)
class Shown:
    """Confidence in the true label of one forgotten example; none where a model answered nothing finite."""

    slot: int
    label: str
    before: float | None
    after: float | None
    retrained: float | None


@dataclass(frozen=True)
class Evaluation:
    """The whole file."""

    weights_digest: str
    method: str | None
    forgotten: int
    rules: tuple[str, ...]
    counts: tuple[tuple[str, int], ...]
    dropped_classes: tuple[str, ...]
    original: Model
    references: tuple[Model, ...]
    probes: tuple[Probe, ...]
    guards: tuple[Guard, ...]
    notices: tuple[str, ...]
    verdict: Verdict
    guarantee: Guarantee
    examples: tuple[Shown, ...]
    tolerances_version: int
    digest: str

    def probe(self, name: str) -> Probe | None:
        return next((probe for probe in self.probes if probe.name == name), None)

    def warnings(self, name: str) -> tuple[str, ...]:
        """What the guards that fired say about one probe."""
        return tuple(guard.detail for guard in self.guards if guard.fired and guard.detail.startswith(f"{name}:"))


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation in a run's folder, none where there is none; a file that was altered is refused."""
    path = folder / NAME
    if not path.exists():
        return None
    shown = f"{NAME} in {folder}"
    entry = read_entry(path, "the evaluation", shown)
    found = entry.optional("format")
    if found is None or found.value != FORMAT:
        raise DataError(
            f"{shown} has the format {None if found is None else found.value!r}, not {FORMAT!r}: another version "
            "wrote it; run expunge evaluate again"
        )
    digest = entry["digest"].digest()
    try:
        content = {name: value for name, value in entry.items().items() if name != "digest"}
        same = sha256(FORMAT.encode(), canonical_json(content)).hex() == digest
    except ExpungeError:  # keys or numbers that no evaluation holds
        same = False
    if not same:
        raise DataError(f"{shown} does not match its digest: it was altered; run expunge evaluate again")
    return _evaluation(entry, digest)


def _evaluation(entry: Entry, digest: str) -> Evaluation:
    trial = entry["trial"]
    counts = ("forget", "retain", "holdout", "attack", "scored", "excluded_holdout", "duplicates")
    method = entry.optional("method")
    references = tuple(_model(item) for item in entry["references"])
    probes = tuple(_probe(item, len(references)) for item in entry["probes"])
    if len({probe.name for probe in probes}) != len(probes):
        raise DataError(f"{entry.where} names a probe twice: it was altered; run expunge evaluate again")
    return Evaluation(
        weights_digest=entry["weights_digest"].digest(),
        method=None if method is None else method.name(),
        forgotten=entry["forget"]["examples"].count(),
        rules=tuple(rule.text() for rule in entry["forget"]["rules"]),
        counts=tuple((name, trial[name].count()) for name in counts),
        dropped_classes=tuple(name.text(LONGEST_NAME) for name in trial["dropped_classes"]),
        original=_model(entry["original"]),
        references=references,
        probes=probes,
        guards=tuple(
            Guard(item["name"].name(), item["fired"].yes(), item["detail"].remark()) for item in entry["guards"]
        ),
        notices=tuple(item.remark() for item in entry["notices"]),
        verdict=_verdict(entry["verdict"]),
        guarantee=read_guarantee(entry["guarantee"]),
        examples=_examples(entry["examples"]),
        tolerances_version=entry["tolerances_version"].count(),
        digest=digest,
    )


def read_guarantee(entry: Entry) -> Guarantee:
    """A guarantee with plain fields."""
    match entry["kind"].one_of("exact", "certified", "empirical"):
        case "exact":
            return Exact()
        case "certified":
            return Certified(entry["epsilon"].between(0, math.inf), entry["delta"].between(0, 1))
        case _:
            level = entry.optional("level")
            passed = tuple(name.name() for name in entry["passed"])
            return Empirical(passed, None if level is None else level.between(0, 1))


def _model(entry: Entry) -> Model:
    lineage = entry.optional("lineage_seed")
    return Model(
        weights_digest=entry["weights_digest"].digest(),
        lineage_seed=None if lineage is None else lineage.digest(),
        example_steps=entry["example_steps"].amount(),
        seconds=entry["seconds"].amount(),
    )


def _probe(entry: Entry, references: int) -> Probe:
    original, mean = entry.optional("original"), entry.optional("reference_mean")
    found = tuple(_figure(item) for item in entry["references"])
    if len(found) != references:
        raise DataError(
            f"{entry.where} measures {len(found)} references of {references}: it was altered; run expunge evaluate "
            "again"
        )
    return Probe(
        name=entry["name"].name(),
        role=entry["role"].one_of("utility", "forgetting", "cost", "diagnostic"),
        required=entry["required"].yes(),
        scale=entry["scale"].name(),
        summary=entry["summary"].text(),
        original=None if original is None else _figure(original),
        unlearned=_figure(entry["unlearned"]),
        references=found,
        reference_mean=None if mean is None else mean.real(),
        verdict=_verdict(entry["verdict"]),
    )


def _figure(entry: Entry) -> Figure:
    reason = entry.optional("undecided")
    if reason is not None:
        return Undecided(reason.remark())
    low, high, reference = entry.optional("low"), entry.optional("high"), entry.optional("reference")
    try:
        return Measurement(
            value=entry["value"].real(),
            low=-math.inf if low is None else low.real(),
            high=math.inf if high is None else high.real(),
            n=entry["n"].count(),
            unit=entry["unit"].one_of("example", "run", "reference"),
            direction=Direction(entry["direction"].one_of("match", "high", "low")),
            level=entry["level"].between(0, 1),
            reference=None if reference is None else reference.real(),
            scale=entry["scale"].name(),
        )
    except DataError:
        raise
    except ExpungeError as error:
        raise DataError(f"{entry.where}: {error}") from None


def _verdict(entry: Entry) -> Verdict:
    kind = entry["verdict"].one_of("supported", "refuted", "undecided")
    p, detail = entry.optional("p"), without_places(entry["detail"].text())
    value = None if p is None else p.between(0, 1)
    if kind == "refuted":
        return Refuted(detail, value)
    if kind == "undecided":
        return Undecided(detail)
    if value is None:
        raise DataError(f"{entry.where} is supported without a p-value: the file was altered or badly written")
    return Supported(value, detail)


def _examples(entry: Entry) -> tuple[Shown, ...]:
    found: dict[int, Shown] = {}
    for item in entry:
        label = item["label"]
        slot = item["slot"].count()
        if slot in found:
            raise DataError(f"{item.where} shows slot {slot} twice: it was altered; run expunge evaluate again")
        values = [item.optional(name) for name in ("before", "after", "retrained")]
        before, after, retrained = (None if value is None else value.between(0, 1) for value in values)
        found[slot] = Shown(
            slot=slot,
            label=str(label.value) if type(label.value) is int else label.text(LONGEST_NAME),
            before=before,
            after=after,
            retrained=retrained,
        )
    return tuple(found[slot] for slot in sorted(found))
