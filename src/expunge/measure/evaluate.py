"""``evaluate``: an unlearned run against its original and retrained references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.files import write_text
from expunge.core.hashing import sha256, slot_bytes
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Empirical, Exact, Progress
from expunge.data.dataset import Dataset, content_digest
from expunge.data.forget_set import ForgetSet
from expunge.data.handed import GivenData, Names, said_of
from expunge.data.splits import Split
from expunge.measure import published
from expunge.measure.by_tier import by_tier
from expunge.measure.claim import Claim
from expunge.measure.company import listed, original_of, references_of, witnesses_of
from expunge.measure.contract import Probe, readings_of
from expunge.measure.frozen_layers import with_guard
from expunge.measure.judgement import Judged, Judgement, judge
from expunge.measure.lookup import probes as all_probes
from expunge.measure.lookup import probes_asked, probes_for
from expunge.measure.numbers import residuals_of_calibration, with_margins
from expunge.measure.readings import SIGNALS, AnyReading, Kept, RequestReading, RequestRows, answered, rows_digest
from expunge.measure.trial import Answers, Ground, Half, Trial, TrialModel, Whose, probe_seed, split_holdout
from expunge.records.document import seal, write_document
from expunge.records.evaluation import (
    RULES_VERSION,
    STANDS_OUT,
    WHEN,
    Compared,
    Evaluation,
    Forgotten,
    Looked,
    Pooled,
    Probed,
    ShownAnswers,
    ShownExample,
)
from expunge.records.published import PublishedFigure
from expunge.records.run_file import TunedFields
from expunge.train.profile import pinned
from expunge.train.run import Run

LEVEL = 0.95
SHOWN = 24


def evaluate(
    run: Run | Path | str,
    references: Sequence[Run | Path | str] | Run | Path | str = (),
    *,
    witnesses: Sequence[Run | Path | str] | Run | Path | str = (),
    claim: str | None = None,
    probes: Sequence[str] = (),
    halves: Sequence[Run] = (),
    as_published: bool = False,
    original: Run | Path | str | None = None,
    data: GivenData = None,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> Evaluation:
    """Measure every probe on every model and judge. Written to ``evaluation.json`` in the run's folder.

    ``references`` are runs retrained without the forget set, ``witnesses`` runs of the same recipe that were trained
    with it; both under seeds of their own. ``claim`` is ``indistinguishable`` or ``at-most:P%``, that so much of the
    memory is left at most; unless said, the strongest that original and references can support. ``as_published`` adds
    figures as papers print them, which decide nothing.

    ``probes`` names further ones of ``ASKED``, which cost more than a forward pass; ``halves`` are models of the recipe
    that were each trained without half of the rows, for those that compare with such.

    ``data`` are the rows where they are no longer where the run found them: a path, or whatever ``train`` takes;
    ``label``, ``subject`` and ``id`` are those of the run unless said.

    ``kept`` holds what models answered and what was found of them, from one evaluation to the next: references of many
    trials on the same rows are asked and measured once.
    """
    unlearned = Run.of(run)
    asked, further = None if claim is None else Claim.of(claim), probes_asked(probes)
    given = listed("references", references, "retrained without the forget set")
    remembering = listed("witnesses", witnesses, "trained with the forget set")
    target = target_of(out, unlearned.path / Evaluation.NAME)
    forget = unlearned.forget_set
    first = unlearned.parent if original is None else original_of(unlearned, Run.of(original, "original"))
    retrained, known, flags = references_of(unlearned, first, given)
    knowing = witnesses_of(unlearned, first, retrained, remembering)
    rows = unlearned.data(said_of(data, label=label, subject=subject, id=id))
    if as_published:
        published.require(unlearned, rows)
    with pinned(unlearned.recipe):
        measured = (*probes_for(unlearned.recipe.classes), *with_guard(further, unlearned, first))
        trial = trial_of(
            [unlearned],
            first,
            retrained,
            rows,
            measured,
            witnesses=knowing,
            halves=halves,
            retrained=known,
            device=device,
            flags=flags,
            progress=progress,
            kept=kept,
        )
        (judged,) = judge(trial, [probe() for probe in measured], asked)
        printed = published.as_published(trial, trial.unlearned[0]) if as_published else None
    evaluation = evaluation_of(unlearned, forget, trial, judged, rows[Split.TRAIN], printed=printed)
    write_text(target, write_document(evaluation))
    return evaluation


def target_of(out: Path | str | None, unsaid: Path) -> Path:
    """The file to write; a file of a run that is something else is never overwritten."""
    target = unsaid if out is None else Path(out)
    if target.suffix != ".json" or target.name in ("run.json", "forget.json"):
        raise InvalidArgument(
            f"`out` {target} must end in .json and be no part of a run: an evaluation overwrites nothing else"
        )
    return target


def trial_of(
    unlearned: Sequence[Run],
    original: Run,
    references: Sequence[Run],
    rows: Mapping[Split, Dataset],
    probes: Sequence[type[Probe]] | None = None,
    *,
    witnesses: Sequence[Run] = (),
    halves: Sequence[Run] = (),
    retrained: frozenset[str] = frozenset(),
    device: str | None = None,
    flags: tuple[str, ...] = (),
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> Trial:
    """Ask all models what the probes read. Unlearned runs answer one request; call it pinned to their recipe.

    No model is opened of which ``kept`` knows the answers. ``flags`` must be said of every unlearned run.
    """
    run = unlearned[0]
    forgotten = run.forget_set.slots
    for other in unlearned[1:]:
        if other.told.dataset_root != run.told.dataset_root or not np.array_equal(other.forget_set.slots, forgotten):
            raise InvalidArgument(f"{other.path} answers another request than {run.path}: a trial is of one request")
    train, holdout = rows[Split.TRAIN], rows[Split.HOLDOUT]
    if not train.present[forgotten].all():
        gone = int((~train.present[forgotten]).sum())
        raise DataError(
            f"{gone} of {len(forgotten)} forgotten rows are no longer in the data: an evaluation must see them; give "
            "the data as they were with `data`"
        )
    retained = np.setdiff1d(np.arange(len(train)), run.tombstones)
    held_out = holdout_rows(train, holdout, run.tombstones)
    if len(held_out) == 0 and (len(holdout) or run.told.adopted is None):
        raise DataError("no holdout row is left: an evaluation needs rows that were never trained on")
    dropped = _dropped_classes(train, retained, forgotten)
    seed, looked = probe_seed(run.root), rows_digest(run, rows)
    attack, scored = split_holdout(seed, len(held_out))
    slots = {
        Whose.FORGET: (Split.TRAIN, forgotten),
        Whose.RETAIN: (Split.TRAIN, retained),
        Whose.HOLDOUT: (Split.HOLDOUT, held_out),
    }
    measured = all_probes() if probes is None else probes
    of_all = readings_of(measured)
    of_witnesses = readings_of([probe for probe in measured if probe.witnesses_needed])
    digest = sha256(looked, *(sha256(slot_bytes(at)) for _, at in slots.values()))
    request = RequestRows(forget=forgotten, retain=retained, seed=seed, digest=digest)
    total, asked = len(unlearned) + len(references) + len(witnesses) + len(halves) + 1, 0

    def ask(model: Run, readings: Sequence[AnyReading] = of_all) -> TrialModel:
        nonlocal asked
        told_of = answered(model, readings, rows, looked, request, device or run.told.device, kept)
        asked += 1
        if progress is not None:
            progress(asked, total)
        return TrialModel(
            weights_digest=model.weights_digest,
            lineage_seed=model.lineage_seed,
            answers=Answers(
                read={
                    reading: {
                        where: {name: values[at] for name, values in told[split].items()}
                        for where, (split, at) in slots.items()
                    }
                    if not isinstance(reading, RequestReading)
                    else {where: told[Split.TRAIN] if where is Whose.FORGET else {} for where in slots}
                    for reading, told in told_of.items()
                },
                example_steps=None if model.told.operation == "adopt" else model.result.example_steps,
                seconds=None if model.told.operation == "adopt" else model.result.seconds,
            ),
        )

    def ask_unlearned(model: Run) -> TrialModel:
        said, unsupportable = _tuning(model)
        exact = isinstance(model.guarantee, Exact)
        retrained = model.told.recorded and model.method == "retrain"
        return replace(ask(model), exact=exact, flags=flags + said, unsupportable=unsupportable, retrained=retrained)

    def ask_half(model: Run) -> Half:
        told = ask(model, (SIGNALS,))
        trained = {where: split is Split.TRAIN for where, (split, _) in slots.items()}
        knew = {where: trained[where] & ~np.isin(at, model.tombstones) for where, (_, at) in slots.items()}
        return Half(weights_digest=told.weights_digest, answers=told.answers, knew=knew)

    trial = Trial(
        original=ask(original),
        unlearned=tuple(ask_unlearned(model) for model in unlearned),
        references=tuple(ask(reference) for reference in references),
        witnesses=tuple(ask(witness, of_witnesses) for witness in witnesses),
        halves=tuple(ask_half(half) for half in halves),
        retrained=retrained,
        ground=Ground(
            labels={where: rows[split].labels[at] for where, (split, at) in slots.items()},
            attack=attack,
            scored=scored,
            tested=np.flatnonzero(~np.isin(holdout.labels[held_out], dropped)),
            seed=seed,
            digest=digest,
            duplicates=_duplicates(train, forgotten, retained),
            excluded_holdout=len(holdout) - len(held_out),
            dropped_classes=tuple(str(train.classes[index]) for index in dropped),
            random=all(rule.startswith("random:") for rule in run.forget_set.rules),
        ),
        figures={} if kept is None else kept.figures,
    )
    alone = [] if references else [residuals_of_calibration(original, rows, device or run.told.device)]
    return with_margins(trial, alone)


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
    if tuning.better is False:
        return ("tuning found nothing better than doing nothing within this budget",), None
    if tuning.transferred is False:
        return ("tuning did not transfer: on a second set the chosen fields did not do as well",), None
    return (), None


def holdout_rows(train: Dataset, holdout: Dataset, tombstones: np.ndarray) -> np.ndarray:
    """Holdout rows without those of subjects whose every training row is forgotten, or with a forgotten row's content.

    Nobody has to tell a row from itself.
    """
    staying = {train.subjects[slot] for slot in np.setdiff1d(np.arange(len(train)), tombstones)}
    forgotten = {train.subjects[slot] for slot in tombstones} - staying
    there = tombstones[train.present[tombstones]]
    known = {content_digest(train, int(slot), labelled=False) for slot in there}
    kept = [row for row, subject in enumerate(holdout.subjects) if subject not in forgotten and holdout.present[row]]
    return np.array([row for row in kept if content_digest(holdout, row, labelled=False) not in known], dtype=np.int64)


def _dropped_classes(train: Dataset, retained: np.ndarray, forgotten: np.ndarray) -> np.ndarray:
    if train.of_numbers:
        return np.zeros(0)
    return np.setdiff1d(np.unique(train.labels[forgotten]), np.unique(train.labels[retained]))


def _duplicates(train: Dataset, forgotten: np.ndarray, retained: np.ndarray) -> int:
    """How many forgotten examples stand in the retain set too, content and label alike."""
    staying = {content_digest(train, int(slot)) for slot in retained}
    return sum(content_digest(train, int(slot)) in staying for slot in forgotten)


def evaluation_of(
    run: Run,
    forget: ForgetSet,
    trial: Trial,
    judged: Judgement,
    train: Dataset,
    pool: tuple[Pooled, ...] | None = None,
    printed: tuple[PublishedFigure, ...] | None = None,
) -> Evaluation:
    """As it is written. Of a ``pool`` no examples are shown, and no run earns a guarantee by it."""
    guarantee = Empirical() if pool is not None else run.guarantee
    if pool is None and isinstance(guarantee, Empirical) and judged.passed:
        guarantee = Empirical(judged.passed, LEVEL)
    ground = trial.ground
    forgotten = ground.count(Whose.FORGET)
    return seal(
        Evaluation(
            weights_digest=trial.unlearned[0].weights_digest,
            method=run.method,
            forget=Forgotten(examples=forgotten, share=forgotten / len(train), rules=forget.rules),
            trial=Looked(
                forget=forgotten,
                retain=ground.count(Whose.RETAIN),
                holdout=ground.count(Whose.HOLDOUT),
                attack=len(ground.attack),
                scored=len(ground.scored),
                excluded_holdout=ground.excluded_holdout,
                duplicates=ground.duplicates,
                dropped_classes=ground.dropped_classes,
            ),
            original=_compared(trial.original, lineage=False),
            references=tuple(_compared(reference, lineage=True) for reference in trial.references),
            probes=tuple(_probed(one, trial) for one in judged.probes),
            guards=judged.guards,
            notices=judged.notices,
            verdict=judged.verdict,
            guarantee=guarantee,
            examples=() if pool else _examples(trial, trial.unlearned[0], forget.slots, train, judged.outstanding),
            tolerances_version=RULES_VERSION,
            claim=str(judged.claim),
            memory=judged.memory,
            witnesses=tuple(_compared(witness, lineage=True) for witness in trial.witnesses) or None,
            same_as=run.weights_digest if judged.same and pool is None else None,
            pool=pool,
            as_published=printed,
            by_tier=None if pool else by_tier(trial, run),
        )
    )


def _compared(model: TrialModel, *, lineage: bool) -> Compared:
    return Compared(
        weights_digest=model.weights_digest,
        lineage_seed=model.lineage_seed if lineage else None,
        example_steps=model.answers.example_steps or 0.0,
        seconds=model.answers.seconds or 0.0,
    )


def _probed(judged: Judged, trial: Trial) -> Probed:
    return Probed(
        name=judged.probe.name,
        role=judged.probe.role.value,
        required=judged.required,
        direction=judged.probe.direction.value,
        scale=judged.probe.scale,
        one_unit=judged.probe.unit(tuple(reference.answers for reference in trial.references)),
        summary=(judged.probe.__doc__ or "").strip().splitlines()[0],
        original=judged.original,
        unlearned=judged.unlearned,
        references=judged.references,
        reference_mean=judged.reference_mean,
        verdict=judged.verdict,
        gap_left=judged.gap_left,
    )


def _examples(
    trial: Trial, asked: TrialModel, slots: np.ndarray, train: Dataset, outstanding: np.ndarray | None
) -> tuple[ShownExample, ...]:
    """Confidence in the true label before, after and retrained, of rows that stand out, at most half, and of those that
    retraining changes most, which are the same for every run; the answers themselves where labels are numbers.
    """

    def said(model: TrialModel) -> np.ndarray:
        return model.answers.of(Whose.FORGET)["answer"] if train.of_numbers else model.answers.confidence(Whose.FORGET)

    order = stable_order(Stream(trial.ground.seed, "probe/shown").words(len(slots)))
    told = {"before": said(trial.original), "after": said(asked)}
    if trial.references:
        told["retrained"] = np.mean([said(reference) for reference in trial.references], axis=0)
        changed = np.nan_to_num(np.abs(told["before"] - told["retrained"]))
        order = order[np.argsort(-changed[order], kind="stable")]
    if outstanding is not None:
        known = np.flatnonzero(outstanding <= STANDS_OUT)
        first = known[np.argsort(outstanding[known], kind="stable")][: SHOWN // 2]
        order = np.concatenate([first, order[~np.isin(order, first)]])
    found: list[ShownExample] = []
    for index in np.sort(order[:SHOWN]):
        parts: dict[str, Any] = {name: _number(told[name][index]) if name in told else None for name in WHEN}
        if train.of_numbers:
            parts = {**dict.fromkeys(WHEN), "answers": ShownAnswers(**parts)}
        if outstanding is not None:
            parts["stands_out"] = float(outstanding[index])
        found.append(ShownExample(slot=int(slots[index]), label=train.label(int(slots[index])), **parts))
    return tuple(found)


def _number(value: Any) -> float | None:
    """A confidence, or an answer; null where the model answers nothing finite."""
    return float(value) if np.isfinite(value) else None
