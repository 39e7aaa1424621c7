"""A run as the report knows it: what its run.json says, and its evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, ExpungeError, RunError
from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import Empirical, Exact, Guarantee, Supported
from expunge.core.wording import LONGEST_NAME, clean, without_places
from expunge.data.splits import Split
from expunge.report.entry import Entry, read_entry
from expunge.report.evaluation import Evaluation, read_evaluation, read_guarantee

FORMAT = "expunge/run/1"
MOST_SLOTS = 2**31
AFRESH = "retrained from the start"  # what the table calls a training without the forget set that was evaluated


@dataclass(frozen=True)
class Unlearning:
    """What only forgetting has: the method and how it was set, the parent, and the forget set.

    A training without some rows that was evaluated has it too; its parent is the original it was evaluated against.
    """

    method: str
    settings: tuple[tuple[str, str], ...]
    parent: str
    forgotten: int
    rules: tuple[str, ...]
    forget_digest: str
    untuned: bool


@dataclass(frozen=True)
class Facts:
    """A finished run. ``folder`` serves to read the data again and to name the run in errors; no page shows it."""

    folder: Path
    trained: bool
    unlearning: Unlearning | None
    guarantee: Guarantee
    recorded: bool
    weights_digest: str
    dataset_root: str
    roots: Mapping[str, str]
    training_rows: int
    tombstones: tuple[int, ...]
    released: Mapping[Split, tuple[int, ...]]
    lineage_seed: str
    recipe: Mapping[str, Any]
    recipe_digest: str
    source: Mapping[str, Any] | None
    committed: Mapping[str, Any]  # what run.json says of the data: their salts among it
    environment: Mapping[str, Any]
    remarks: tuple[tuple[str, str], ...]
    example_steps: float
    seconds: float
    parameters: int
    evaluation: Evaluation | None

    @property
    def method(self) -> str:
        return "training" if self.unlearning is None else self.unlearning.method

    @property
    def earned(self) -> Guarantee:
        """The guarantee after the tests, where there were any."""
        return self.guarantee if self.evaluation is None else self.evaluation.guarantee

    @property
    def is_retraining(self) -> bool:
        """Whether these are the weights of training from the start without the forget set."""
        if self.trained:
            return bool(self.tombstones)
        return self.unlearning is not None and self.unlearning.method == "retrain" and self.recorded


def read_facts(folder: Path) -> Facts:
    """Open a run's folder; what is no run, unfinished, altered or measured on other weights is refused."""
    if not (folder / "run.json").is_file():
        raise RunError(f"{folder} is not a run: it has no run.json; `expunge train … --out {folder}` makes one")
    entry = read_entry(folder / "run.json", "the run", f"run.json in {folder}")
    found = entry.optional("format")
    if found is None or found.value != FORMAT:
        shown = None if found is None else found.value
        raise RunError(f"run.json in {folder} has the format {shown!r}, not {FORMAT!r}: another version wrote it")
    if entry["status"].value != "finished":
        raise RunError(
            f"{folder} is not finished: it is running or was interrupted; run the command that made it again, it "
            "continues, then report"
        )
    facts = _facts(folder, entry)
    if facts.evaluation is not None:
        _check_belongs(facts, facts.evaluation)
    return facts


def _facts(folder: Path, entry: Entry) -> Facts:
    trained = entry["operation"].one_of("train", "unlearn") == "train"
    tombstones, evaluation = _slots(entry["tombstones"]), read_evaluation(folder)
    unlearning = None if trained else _unlearning(entry)
    if trained and tombstones and evaluation is not None:
        unlearning = _afresh(entry, evaluation)
    environment, source = entry.optional("environment"), entry["data"].optional("source")
    return Facts(
        folder=folder,
        trained=trained,
        unlearning=unlearning,
        guarantee=_guarantee(entry["guarantee"]),
        recorded=trained or entry["trajectory"].value == "recorded",
        weights_digest=entry["weights_digest"].digest(),
        dataset_root=entry["dataset_root"].digest(),
        roots={name: entry["data"]["roots"][name].digest() for name in ("train", "calibration", "holdout")},
        training_rows=entry["data"]["counts"]["train"].count(),
        tombstones=tombstones,
        released=_released(entry.optional("released")),
        lineage_seed=entry["lineage_seed"].digest(),
        recipe=_recipe(folder, entry),
        recipe_digest=entry["recipe_digest"].digest(),
        source=None if source is None else source.items(),
        committed=entry["data"].items(),
        environment={} if environment is None else environment.items(),
        remarks=_remarks(entry),
        example_steps=entry["example_steps"].amount(),
        seconds=entry["seconds"].amount(),
        parameters=entry["parameters"].count(),
        evaluation=evaluation,
    )


def _guarantee(entry: Entry) -> Guarantee:
    found = read_guarantee(entry)
    if isinstance(found, Empirical) and found.passed:
        raise DataError(f"{entry.where} claims tests passed, which only an evaluation can: run.json was altered")
    return found


def _unlearning(entry: Entry) -> Unlearning:
    described, untuned = entry["method"], entry.optional("untuned")
    settings = {**described["fields"].items(), "budget": entry.items().get("budget"), "seed": entry["seed"].value}
    return Unlearning(
        method=described["name"].name(),
        settings=tuple((clean(name, LONGEST_NAME), plain(value)) for name, value in settings.items()),
        parent=entry["parent"]["weights_digest"].digest(),
        forgotten=entry["forgotten"].count(),
        rules=tuple(rule.text() for rule in entry["rules"]),
        forget_digest=entry["request"]["forget"].digest(),
        untuned=untuned is not None and untuned.yes(),
    )


def _afresh(entry: Entry, evaluation: Evaluation) -> Unlearning:
    return Unlearning(
        method=AFRESH,
        settings=(("seed", plain(entry["recipe"]["seed"].value)),),
        parent=evaluation.original.weights_digest,
        forgotten=entry["forgotten"].count(),
        rules=tuple(rule.text() for rule in entry["rules"]),
        forget_digest=entry["request"]["without"].digest(),
        untuned=False,
    )


def plain(value: Any) -> str:
    """A setting as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        shown = ", ".join(plain(item) for item in value[:12])
        return clean(f"{shown}, … ({len(value)})" if len(value) > 12 else shown)
    return clean(without_places(str(value)), LONGEST_NAME)


def _slots(entry: Entry) -> tuple[int, ...]:
    slots = entry.value
    if not isinstance(slots, list) or not all(type(slot) is int and 0 <= slot < MOST_SLOTS for slot in slots):
        raise DataError(f"{entry.where} is no list of slots (whole numbers from 0): the file was altered")
    return tuple(slots)


def _released(entry: Entry | None) -> Mapping[Split, tuple[int, ...]]:
    names = [] if entry is None else [name for name in ("calibration", "holdout") if entry.optional(name) is not None]
    return {} if entry is None else {Split(name): _slots(entry[name]) for name in names}


def _recipe(folder: Path, entry: Entry) -> Mapping[str, Any]:
    recipe = entry["recipe"].items()
    try:
        same = sha256(canonical_json(recipe)).hex() == entry["recipe_digest"].digest()
    except ExpungeError:  # a recipe that has no canonical form was never written by a training
        same = False
    if not same:
        raise RunError(f"{folder}: the recipe does not match its digest: run.json was altered; restore it")
    return recipe


def _remarks(entry: Entry) -> tuple[tuple[str, str], ...]:
    """What run.json says about itself that a reader should know."""
    found = [
        ("not bit-exact", entry.optional("exact_refused")),
        ("stopped early", entry.optional("stopped")),
        ("beacon", entry.optional("beacon_note")),
        ("salts", entry["data"].optional("note")),
    ]
    return tuple((name, value.remark()) for name, value in found if value is not None)


def _check_belongs(facts: Facts, evaluation: Evaluation) -> None:
    again = "run expunge evaluate again"
    if facts.unlearning is None:
        raise DataError(f"{facts.folder} is a training, it forgot nothing: its evaluation.json belongs elsewhere")
    if evaluation.weights_digest != facts.weights_digest:
        raise DataError(
            f"evaluation.json in {facts.folder} measured other weights ({evaluation.weights_digest[:12]}…) than the "
            f"run holds ({facts.weights_digest[:12]}…): {again}"
        )
    method = None if facts.trained else facts.unlearning.method
    described = (method, facts.unlearning.forgotten, facts.unlearning.rules)
    if (evaluation.method, evaluation.forgotten, evaluation.rules) != described:
        raise DataError(f"evaluation.json in {facts.folder} names another method or forget set than run.json: {again}")
    foreign = {shown.slot for shown in evaluation.examples} - set(facts.tombstones)
    if foreign:
        raise DataError(
            f"evaluation.json in {facts.folder} shows slot {min(foreign)}, which this run did not forget: {again}"
        )
    _check_earned(facts, evaluation, again)


def _check_earned(facts: Facts, evaluation: Evaluation, again: str) -> None:
    """No page prints a higher guarantee than was earned, nor a verdict that its own probes contradict."""
    claimed = evaluation.guarantee
    if isinstance(facts.guarantee, Empirical):
        supported = {probe.name for probe in evaluation.probes if isinstance(probe.verdict, Supported)}
        passed = claimed.passed if isinstance(claimed, Empirical) else None
        if passed is None or not supported.issuperset(passed):
            raise DataError(
                f"evaluation.json in {facts.folder} claims {claimed}, which its tests do not support: {again}"
            )
        honest = not passed or isinstance(evaluation.verdict, Supported)
    else:
        honest = claimed == facts.guarantee
    required = [probe for probe in evaluation.probes if probe.required]
    if isinstance(evaluation.verdict, Supported):
        honest = honest and all(isinstance(probe.verdict, Supported) for probe in required)
    if not honest:
        raise DataError(
            f"evaluation.json in {facts.folder} concludes more than its probes and run.json say (it claims {claimed}): "
            f"{again}"
        )


def is_exact(facts: Facts) -> bool:
    """Whether the run claims to be bit-identical to training without the forget set."""
    return facts.recorded and isinstance(facts.guarantee, Exact)
