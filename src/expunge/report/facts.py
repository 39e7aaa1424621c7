"""A run as the report knows it: what its run.json says, and its evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, ExpungeError, RunError
from expunge.core.files import read_bytes
from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import Empirical, Exact, Guarantee, Supported
from expunge.core.wording import LONGEST_NAME, clean, without_places
from expunge.records.document import read_document
from expunge.records.evaluation import Evaluation
from expunge.records.run_file import AdoptRequest, OwnersWord, Result, RunFile, TrainRequest, UnlearnRequest
from expunge.report.numerals import listed

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
    told: RunFile
    result: Result
    unlearning: Unlearning | None
    evaluation: Evaluation | None

    @property
    def trained(self) -> bool:
        """Whether it stands at the beginning: trained here, or elsewhere and adopted."""
        return self.told.operation != "unlearn"

    @property
    def method(self) -> str:
        return "training" if self.unlearning is None else self.unlearning.method

    @property
    def weights_digest(self) -> str:
        return self.result.weights_digest

    @property
    def tombstones(self) -> tuple[int, ...]:
        return self.told.tombstones

    @property
    def guarantee(self) -> Guarantee:
        return self.result.guarantee

    @property
    def earned(self) -> Guarantee:
        """The guarantee after the tests, where there were any."""
        return self.guarantee if self.evaluation is None else self.evaluation.guarantee

    @property
    def is_exact(self) -> bool:
        """Whether the run claims to be bit-identical to training without the forget set."""
        return self.told.recorded and isinstance(self.guarantee, Exact)

    @property
    def is_retraining(self) -> bool:
        """Whether these are the weights of training from the start without the forget set."""
        if self.trained:
            return bool(self.tombstones)
        return self.unlearning is not None and self.unlearning.method == "retrain" and self.told.recorded

    @property
    def remarks(self) -> tuple[tuple[str, str], ...]:
        """What run.json says about itself that a reader should know."""
        forgetting = self.told.forgetting
        found = (
            ("trained elsewhere", _owners_word(self.told.adopted)),
            ("not bit-exact", self.result.exact_refused),
            ("stopped early", None if forgetting is None else forgetting.stopped),
            ("beacon", self.told.beacon_note),
            ("salts", self.told.data.note),
        )
        return tuple((name, without_places(clean(value))) for name, value in found if value is not None)


def read_facts(folder: Path) -> Facts:
    """Open a run's folder; what is no run, unfinished, altered or measured on other weights is refused."""
    if not (folder / RunFile.NAME).is_file():
        raise RunError(f"{folder} is not a run: it has no run.json; `expunge.train(…, out={folder})` makes one")
    told = read_document(RunFile, read_bytes(folder / RunFile.NAME, "the run"), f"{RunFile.NAME} in {folder}", RunError)
    if told.status != "finished" or told.result is None:
        raise RunError(
            f"{folder} is not finished: it is running or was interrupted; run the command that made it again, it "
            "continues, then report"
        )
    if isinstance(told.result.guarantee, Empirical) and told.result.guarantee.passed:
        raise DataError(
            f"{RunFile.NAME} in {folder} guarantee claims tests passed, which only an evaluation can: "
            "run.json was altered"
        )
    _check_recipe(folder, told)
    evaluation = read_evaluation(folder)
    facts = Facts(folder, told, told.result, _unlearning(told, evaluation), evaluation)
    if evaluation is not None:
        _check_belongs(facts, evaluation)
    return facts


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation in a run's folder, none where there is none; a file that was altered is refused."""
    path = folder / Evaluation.NAME
    if not path.exists():
        return None
    return read_document(Evaluation, read_bytes(path, "the evaluation"), f"{Evaluation.NAME} in {folder}")


def _unlearning(told: RunFile, evaluation: Evaluation | None) -> Unlearning | None:
    forgotten, rules = told.forgotten or 0, tuple(clean(rule) for rule in told.rules or ())
    request, method, parent = told.request, told.method, told.parent
    if isinstance(request, UnlearnRequest) and method is not None and parent is not None:
        asked = {} if told.asked is None else {"budget": told.asked.budget, "seed": told.asked.seed}
        settings = {**method.fields, **asked}
        return Unlearning(
            method=clean(method.name, LONGEST_NAME),
            settings=tuple((clean(name, LONGEST_NAME), plain(value)) for name, value in settings.items()),
            parent=parent.weights_digest,
            forgotten=forgotten,
            rules=rules,
            forget_digest=request.forget,
            untuned=told.forgetting is not None and told.forgetting.untuned,
        )
    trained = isinstance(request, TrainRequest | AdoptRequest)
    if trained and request.without is not None and evaluation is not None:
        return Unlearning(
            method=AFRESH,
            settings=() if told.adopted else (("seed", plain(told.recipe.get("seed"))),),
            parent=evaluation.original.weights_digest,
            forgotten=forgotten,
            rules=rules,
            forget_digest=request.without,
            untuned=False,
        )
    return None


def _owners_word(word: OwnersWord | None) -> str | None:
    """What the owner of an adopted model says of its training."""
    if word is None:
        return None
    said = {"epochs": word.epochs, "batch size": word.batch_size, "rate": word.rate}
    told = listed([f"{name} {plain(value)}" for name, value in said.items() if value is not None])
    return f"by its owner's word with {told}" if told else "its owner does not say how"


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


def _check_recipe(folder: Path, told: RunFile) -> None:
    try:
        same = sha256(canonical_json(told.recipe)).hex() == told.recipe_digest
    except ExpungeError:  # a recipe that has no canonical form was never written by a training
        same = False
    if not same:
        raise RunError(f"{folder}: the recipe does not match its digest: run.json was altered; restore it")


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
    if (evaluation.method, evaluation.forget.examples, evaluation.forget.rules) != described:
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
    if evaluation.same_as is not None:
        honest = honest and evaluation.same_as == facts.weights_digest
    elif isinstance(evaluation.verdict, Supported):
        honest = honest and bool(required) and all(isinstance(probe.verdict, Supported) for probe in required)
    if not honest:
        raise DataError(
            f"evaluation.json in {facts.folder} concludes more than its probes and run.json say (it claims {claimed}): "
            f"{again}"
        )
