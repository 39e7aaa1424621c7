"""``evaluate``: an unlearned run against its original and retrained references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.files import write_text
from expunge.core.hashing import canonical_json, sha256, slot_bytes
from expunge.core.statistics.tolerances import TOLERANCES_VERSION
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Empirical, Exact, Measurement, Progress, Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure import PROBES
from expunge.measure.beliefs import Beliefs, ReadBeliefs, read_beliefs
from expunge.measure.judgement import Judgement, Reading, judge
from expunge.measure.trial import Rows, Signals, Trial, probe_seed, split_holdout
from expunge.records.evaluation import Compared, Evaluation, Forgotten, Looked, Probed, Shown
from expunge.records.form import seal, to_plain, write_document
from expunge.records.run_file import TunedFields
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device

LEVEL = 0.95
SHOWN = 24
Known = dict[bytes, dict[tuple[object, str], Measurement | Undecided]]


def evaluate(
    run: Run | Path | str,
    references: Sequence[Run | Path | str],
    *,
    original: Run | Path | str | None = None,
    data: str | Dataset | Mapping[Split, Dataset] | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    beliefs: ReadBeliefs | None = None,
    known: Known | None = None,
) -> Evaluation:
    """Measure every probe on every model and judge. Written to ``evaluation.json`` in the run's folder.

    ``beliefs`` says what a run's model answers, where somebody has asked it already. ``known`` keeps what is found of
    single models from one evaluation to the next: references of many trials on the same rows are measured once.
    """
    unlearned = _opened(run)
    target = Path(out) if out is not None else unlearned.path / "evaluation.json"
    if target.suffix != ".json" or target.name in ("run.json", "forget.json"):
        raise InvalidArgument(
            f"--out {target} must end in .json and be no part of a run: an evaluation overwrites nothing else"
        )
    forget = unlearned.forget_set
    first = unlearned.parent if original is None else _original(unlearned, _opened(original))
    retrained, flags = _references(unlearned, [_opened(reference) for reference in references])
    rows = unlearned.data(data)

    def ask(model: Run) -> Beliefs:
        return read_beliefs(model, rows, find_device(device or unlearned.told.device))

    with pinned(unlearned.recipe):
        trial = _trial(unlearned, first, retrained, forget.slots, rows, beliefs or ask, flags, progress, known)
        judged = judge(trial, [probe() for probe in PROBES])
    evaluation = _evaluation(unlearned, trial, judged, rows[Split.TRAIN])
    write_text(target, write_document(evaluation))
    return evaluation


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else Run.open(run)


def _original(unlearned: Run, original: Run) -> Run:
    """The run before forgetting: same data, same recipe, with exactly the forget set still in."""
    before = np.setdiff1d(unlearned.tombstones, unlearned.forget_set.slots)
    if original.told.dataset_root != unlearned.told.dataset_root:
        raise InvalidArgument(f"--original {original.path} was trained on other data: its root differs")
    if replace(original.recipe, seed=0) != replace(unlearned.recipe, seed=0):
        raise InvalidArgument(f"--original {original.path} has another recipe than {unlearned.path}")
    if not np.array_equal(original.tombstones, before):
        raise InvalidArgument(
            f"--original {original.path} has forgotten {len(original.tombstones)} rows, before this request it "
            f"were {len(before)}: name the run that was unlearned"
        )
    return original


def _references(unlearned: Run, found: list[Run]) -> tuple[list[Run], tuple[str, ...]]:
    """References must be exact retrainings of the same request; two of one lineage count once."""
    kept: dict[str, Run] = {}
    for reference in found:
        if reference.path.resolve() == unlearned.path.resolve():
            raise InvalidArgument(f"reference {reference.path} is the run itself: name other retrainings")
        if reference.told.dataset_root != unlearned.told.dataset_root:
            raise InvalidArgument(f"reference {reference.path} was trained on other data: its root differs")
        if reference.told.tombstones != unlearned.told.tombstones:
            raise InvalidArgument(
                f"reference {reference.path} forgot other examples than {unlearned.path}: retrain with the same "
                "--forget"
            )
        if not reference.told.recorded:
            raise InvalidArgument(
                f"reference {reference.path} was made by {reference.method!r}: a reference is a run that `retrain` or "
                "`exact-replay` made"
            )
        if replace(reference.recipe, seed=0) != replace(unlearned.recipe, seed=0):
            raise InvalidArgument(f"reference {reference.path} has another recipe: only the seed may differ")
        if _factory(reference) != _factory(unlearned):
            raise InvalidArgument(
                f"reference {reference.path} was trained with another source of the model {reference.recipe.model!r} "
                "than the run: retrain it with the source as it is now"
            )
        kept.setdefault(reference.lineage_seed, reference)
    flags = ()
    if len(kept) < len(found):
        flags = (f"{len(found) - len(kept)} references share a lineage with another one and count once",)
    return list(kept.values()), flags


def _factory(run: Run) -> str | None:
    """Digest of the source that makes the model; "zoo" for our own."""
    return (run.told.environment or {}).get("factory")


def _trial(
    unlearned: Run,
    original: Run,
    references: list[Run],
    forgotten: np.ndarray,
    rows: Mapping[Split, Dataset],
    beliefs: ReadBeliefs,
    flags: tuple[str, ...],
    progress: Progress | None,
    known: Known | None,
) -> Trial:
    train, holdout = rows[Split.TRAIN], rows[Split.HOLDOUT]
    if not train.present[forgotten].all():
        gone = int((~train.present[forgotten]).sum())
        raise DataError(
            f"{gone} of {len(forgotten)} forgotten rows are no longer in the data: an evaluation must see them; give "
            "the data as they were with --data"
        )
    retained = np.setdiff1d(np.arange(len(train)), unlearned.tombstones)
    seed = probe_seed(unlearned.root)
    kept = _holdout_rows(train, holdout, unlearned.tombstones)
    if len(kept) == 0:
        raise DataError("no holdout row is left: an evaluation needs rows that were never trained on")
    dropped = _dropped_classes(train, retained, forgotten)
    attack, scored = split_holdout(seed, len(kept))
    slots = {Rows.FORGET: forgotten, Rows.RETAIN: retained, Rows.HOLDOUT: kept}

    read = 0

    def signals(run: Run) -> Signals:
        nonlocal read
        asked = beliefs(run)
        logits = {where: (asked.holdout if where is Rows.HOLDOUT else asked.train)[slots[where]] for where in Rows}
        read += 1
        if progress is not None:
            progress(read, len(references) + 2)
        labels = {where: (holdout if where is Rows.HOLDOUT else train).labels[slots[where]] for where in Rows}
        return Signals(
            weights_digest=run.weights_digest,
            lineage_seed=run.lineage_seed,
            logits=logits,
            labels=labels,
            example_steps=run.result.example_steps,
            seconds=run.result.seconds,
        )

    tuning_flags, unsupportable = _tuning(unlearned)
    return Trial(
        original=signals(original),
        unlearned=signals(unlearned),
        references=tuple(signals(reference) for reference in references),
        attack=attack,
        scored=scored,
        tested=np.flatnonzero(~np.isin(holdout.labels[kept], dropped)),
        seed=seed,
        duplicates=_duplicates(train, forgotten, retained),
        excluded_holdout=len(holdout) - len(kept),
        dropped_classes=tuple(str(train.classes[index]) for index in dropped),
        exact=isinstance(unlearned.guarantee, Exact),
        flags=flags + tuning_flags,
        unsupportable=unsupportable,
        alone={} if known is None else known.setdefault(_rows_digest(unlearned, forgotten, retained, kept), {}),
    )


def _rows_digest(run: Run, *slots: np.ndarray) -> bytes:
    """Which rows are looked at, in which role."""
    roots = canonical_json(to_plain(run.told.data.roots))  # the holdout's too: it may be another beside equal rows
    return sha256(sha256(roots), *(sha256(slot_bytes(found)) for found in slots))


def _tuning(run: Run) -> tuple[tuple[str, ...], str | None]:
    """What must be said of how the method's fields were chosen, and why that forbids support, if so."""
    if run.told.forgetting is not None and run.told.forgetting.untuned:
        return ("untuned: the method ran on the table's defaults or on fields set by hand",), None
    tuning = run.told.tuning
    if not isinstance(tuning, TunedFields):
        return (), None
    if tuning.mode == "oracle":
        return ("oracle-tuned: the fields were chosen on the retrained reference",), (
            "oracle-tuned: fields chosen on the reference can be refuted, never supported"
        )
    if tuning.transferred is False:
        return ("tuning did not transfer: on a second set the chosen fields scored over twice as badly",), None
    return (), None


def _holdout_rows(train: Dataset, holdout: Dataset, tombstones: np.ndarray) -> np.ndarray:
    """Holdout rows without those of subjects whose every training row is forgotten."""
    gone = np.zeros(len(train), dtype=bool)
    gone[tombstones] = True
    staying = {train.subjects[slot] for slot in np.flatnonzero(~gone)}
    forgotten = {train.subjects[slot] for slot in tombstones} - staying
    kept = [row for row, subject in enumerate(holdout.subjects) if subject not in forgotten and holdout.present[row]]
    return np.array(kept, dtype=np.int64)


def _dropped_classes(train: Dataset, retained: np.ndarray, forgotten: np.ndarray) -> np.ndarray:
    return np.setdiff1d(np.unique(train.labels[forgotten]), np.unique(train.labels[retained]))


def _duplicates(train: Dataset, forgotten: np.ndarray, retained: np.ndarray) -> int:
    """How many forgotten examples stand in the retain set too, content and label alike."""

    def content(slot: int) -> bytes:
        values = [train.content[column.name][slot] for column in train.columns]
        parts = [value.encode() if isinstance(value, str) else np.asarray(value).tobytes() for value in values]
        return sha256(*[sha256(part) for part in parts], int(train.labels[slot]).to_bytes(8, "little"))

    staying = {content(int(slot)) for slot in retained}
    return sum(content(int(slot)) in staying for slot in forgotten)


def _evaluation(run: Run, trial: Trial, judged: Judgement, train: Dataset) -> Evaluation:
    guarantee = run.guarantee
    if isinstance(guarantee, Empirical) and judged.passed:
        guarantee = Empirical(judged.passed, LEVEL)
    forgotten = trial.count(Rows.FORGET)
    return seal(
        Evaluation(
            weights_digest=run.weights_digest,
            method=run.method,
            forget=Forgotten(examples=forgotten, share=forgotten / len(train), rules=run.forget_set.rules),
            trial=Looked(
                forget=forgotten,
                retain=trial.count(Rows.RETAIN),
                holdout=trial.count(Rows.HOLDOUT),
                attack=len(trial.attack),
                scored=len(trial.scored),
                excluded_holdout=trial.excluded_holdout,
                duplicates=trial.duplicates,
                dropped_classes=trial.dropped_classes,
            ),
            original=_compared(trial.original, lineage=False),
            references=tuple(_compared(reference, lineage=True) for reference in trial.references),
            probes=tuple(_probed(reading, trial) for reading in judged.readings),
            guards=judged.guards,
            notices=judged.notices,
            verdict=judged.verdict,
            guarantee=guarantee,
            examples=_examples(trial, run, train),
            tolerances_version=TOLERANCES_VERSION,
        )
    )


def _compared(signals: Signals, *, lineage: bool) -> Compared:
    return Compared(
        weights_digest=signals.weights_digest,
        lineage_seed=signals.lineage_seed if lineage else None,
        example_steps=signals.example_steps,
        seconds=signals.seconds,
    )


def _probed(reading: Reading, trial: Trial) -> Probed:
    return Probed(
        name=reading.probe.name,
        role=reading.probe.role.value,
        required=reading.required,
        direction=reading.probe.direction.value,
        scale=reading.probe.scale,
        one_unit=reading.probe.unit(trial),
        summary=(reading.probe.__doc__ or "").strip().splitlines()[0],
        original=reading.original,
        unlearned=reading.unlearned,
        references=reading.references,
        reference_mean=reading.reference_mean,
        verdict=reading.verdict,
    )


def _examples(trial: Trial, run: Run, train: Dataset) -> tuple[Shown, ...]:
    """Confidence in the true label before, after and retrained, for examples drawn from the forget set by stream."""
    slots = run.forget_set.slots
    chosen = np.sort(stable_order(Stream(trial.seed, "probe/shown").words(len(slots)))[:SHOWN])
    before, after = trial.original.confidence(Rows.FORGET), trial.unlearned.confidence(Rows.FORGET)
    retrained = (
        np.mean([reference.confidence(Rows.FORGET) for reference in trial.references], axis=0)
        if trial.references
        else None
    )
    return tuple(
        Shown(
            slot=int(slots[index]),
            label=train.classes[int(train.labels[slots[index]])],
            before=_number(before[index]),
            after=_number(after[index]),
            retrained=None if retrained is None else _number(retrained[index]),
        )
        for index in chosen
    )


def _number(value: Any) -> float | None:
    """A confidence; null where the model answers nothing finite."""
    return float(value) if np.isfinite(value) else None
