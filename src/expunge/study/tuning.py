"""Tuning by rehearsal: the fields of each method that come nearest to twins, whether they carry over, and the record.

``tune_method`` makes the entry of one method, ``tuning_of`` puts entries together, ``read_tuning`` reads what was kept
in a file, and ``chosen_entry`` hands a method with its chosen fields to ``unlearn``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.core.files import read_bytes
from expunge.core.hashing import canonical_json
from expunge.methods.contract import Method
from expunge.methods.fields import searches
from expunge.methods.lookup import find_method, made_from
from expunge.methods.tuned_fields import recipe_but_seed
from expunge.records.document import read_document, seal
from expunge.records.form import to_plain
from expunge.records.run_file import TunedFields
from expunge.records.tuning import (
    NOTHING,
    SCORE,
    Attempt,
    KeptTrial,
    Original,
    Sampler,
    SearchCost,
    Settled,
    Tuned,
    Tuning,
    TuningCost,
    TuningTrial,
    nothing_forgets,
    part,
    score_of,
)
from expunge.study.rehearsal import Rehearsal, described_slots
from expunge.study.score import TuningStage
from expunge.study.search import Tried, best, check_trials, optuna_version, search

TRIALS = 30
LUCK = 2.0  # spreads of the score: a gain below it may be that of single twins
CARRIED = 0.5  # of the gain on the first set: with less on the second the tuning did not transfer
NOT_BETTER = "nothing better than doing nothing"
NO_TRANSFER = "tuning did not transfer"


def tune_method(
    method: str | type[Method],
    rehearsal: Rehearsal,
    *,
    budget: float,
    trials: int = TRIALS,
    seed: int = 0,
    kept: Sequence[KeptTrial] = (),
    on_trial: Callable[[KeptTrial], None] | None = None,
) -> Tuned:
    """Search a method's fields and check them on the second set.

    ``on_trial`` is told of everything that was computed; ``kept`` is what it was told before, in the same order.
    """
    kind = find_method(method) if isinstance(method, str) else method
    check_trials(trials)
    check_budget(budget)
    if not kind.takes_budget:
        raise InvalidArgument(
            f"method {kind.name!r} has no budget and nothing to tune: it does all the work that its guarantee needs"
        )
    whose = next((record.method for record in kept if record.method != kind.name), None)
    if whose is not None:
        raise DataError(f"a kept trial is of the method {whose!r}, not of {kind.name!r}: hand over its own alone")

    def attempt(made: Method, stage: TuningStage) -> Attempt:
        return rehearsal.attempt(made, stage, budget=budget, seed=seed)

    def tell(stage: TuningStage, trial: TuningTrial) -> None:
        if on_trial is not None:
            on_trial(KeptTrial(method=kind.name, stage=stage.value, **vars(trial)))

    searched = searches(kind)
    done = search(
        kind,
        lambda made: attempt(made, TuningStage.CHOICE),
        trials=trials if searched and rehearsal.nothing(TuningStage.CHOICE) is None else 1,
        seed=seed,
        kept=[part(TuningTrial, record) for record in kept if record.stage == TuningStage.CHOICE.value],
        on_trial=lambda trial: tell(TuningStage.CHOICE, trial),
    )
    default, found = done[0], best(done)
    chosen = default if found is None else found
    transfers: dict[int, TuningTrial] = {}
    for one in (default, chosen) if TuningStage.TRANSFER in rehearsal.forget else ():
        trial = one.trial
        if trial.index in transfers:
            continue
        again = _transferred_before(kept, trial)
        if again is None:
            carried = attempt(one.made, TuningStage.TRANSFER)
            again = TuningTrial(index=trial.index, fields=trial.fields, repeats=None, **vars(carried))
            tell(TuningStage.TRANSFER, again)
        transfers[trial.index] = again
    return _entry(kind, done if searched else [], default.trial, chosen.trial, found is not None, transfers)


def _transferred_before(kept: Sequence[KeptTrial], trial: TuningTrial) -> TuningTrial | None:
    """What a trial's fields came to on the second set, if that is known."""
    known = (one for one in kept if one.stage == TuningStage.TRANSFER.value and one.index == trial.index)
    return next((one for one in known if canonical_json(one.fields) == canonical_json(trial.fields)), None)


def _entry(
    kind: type[Method],
    tried: Sequence[Tried],
    default: TuningTrial,
    chosen: TuningTrial,
    admissible: bool,
    transfers: Mapping[int, TuningTrial],
) -> Tuned:
    trials = tuple(one.trial for one in tried)
    carried = transfers.get(chosen.index)
    better = is_better(chosen) if admissible else None
    transferred = _transferred(chosen, carried) if better else None
    spent = [*(trials or (default,)), *transfers.values()]
    return Tuned(
        method=kind.name,
        state="nothing to tune" if not trials else "tuned" if admissible else "default kept",
        search={name: to_plain(where) for name, where in searches(kind).items()},
        default=_settled(default, transfers),
        chosen=_settled(chosen, transfers),
        better=better,
        transferred=transferred,
        notices=tuple(_notices(trials, chosen, admissible, better, carried, transferred)),
        trials=trials,
        cost=SearchCost(
            example_steps=sum(attempt.example_steps for attempt in spent),
            scoring=sum(attempt.scoring for attempt in spent),
            seconds=round(sum(attempt.seconds for attempt in spent), 3),
        ),
    )


def _settled(trial: TuningTrial, transfers: Mapping[int, TuningTrial]) -> Settled:
    carried = transfers.get(trial.index)
    return Settled(
        trial=trial.index,
        fields=trial.fields,
        choice=part(Attempt, trial),
        transfer=None if carried is None else part(Attempt, carried),
    )


def is_better(attempt: Attempt) -> bool | None:
    """Whether a model is nearer to its twins than the original by more than luck; None where nothing was scored."""
    score = attempt.score
    if score is None or score.spread is None:
        return None
    gain = 1.0 - score.value
    return gain > 0 and gain >= LUCK * score.spread


def _transferred(first: Attempt, second: Attempt | None) -> bool | None:
    """Whether half of the gain on the first set was made on the second too; None where nothing is to gain there."""
    if second is None or first.score is None or (second.reason or "").startswith(NOTHING):
        return None
    return second.score is not None and 1.0 - second.score.value >= CARRIED * (1.0 - first.score.value)


def _notices(
    trials: Sequence[TuningTrial],
    chosen: TuningTrial,
    admissible: bool,
    better: bool | None,
    carried: TuningTrial | None,
    transferred: bool | None,
) -> list[str]:
    notices: list[str] = []
    states = [trial.state for trial in trials]
    if not trials:
        notices.append("nothing to tune: no field has a search range")
    elif not admissible and (chosen.reason or "").startswith(NOTHING):
        notices.append(f"{chosen.reason}; the default is kept")
    elif not admissible:
        notices.append(f"none of {len(trials)} trials is admissible, the default is kept: {chosen.reason}")
    elif "failed" in states:
        notices.append(f"{states.count('failed')} of {len(trials)} trials failed")
    if better is False:
        notices.append(NOT_BETTER)
    if transferred is False:
        notices.append(NO_TRANSFER)
    if carried is not None and carried.state != "admissible":
        notices.append(f"on the second set: {carried.reason}")
    return notices


def tuning_of(rehearsal: Rehearsal, entries: Sequence[Tuned], *, budget: float, trials: int, seed: int) -> Tuning:
    """All that is stored of a tuning, with its digest."""
    found = Tuning(
        mode=rehearsal.mode.value,
        score=SCORE,
        recipe_digest=rehearsal.parent.recipe.digest.hex(),
        recipe_but_seed=recipe_but_seed(rehearsal.parent.recipe),
        data_root=rehearsal.parent.root.hex(),
        budget=float(budget),
        trials=trials,
        seed=seed,
        sampler=Sampler(name="tpe", optuna=optuna_version()),
        original=Original(
            weights_digest=rehearsal.parent.weights_digest,
            forgotten=described_slots(rehearsal.forgotten),
            untouched=tuple(
                rehearsal.untouched(stage) for stage in rehearsal.forget if rehearsal.nothing(stage) is None
            ),
        ),
        rehearsal=rehearsal.told(),
        twins=rehearsal.twins,
        methods=tuple(entries),
        cost=TuningCost(
            trials=sum(entry.cost.example_steps for entry in entries),
            scoring=sum(entry.cost.scoring for entry in entries),
            twins=sum(twin.example_steps for twin in rehearsal.twins),
            seconds=round(sum(entry.cost.seconds for entry in entries), 3),
        ),
    )
    return seal(replace(found, conclusion=nothing_forgets([found])))


def read_tuning(path: Path | str) -> Tuning:
    """Read a tuning and check its digest."""
    return read_document(Tuning, read_bytes(Path(path), "the tuning"), str(path))


def chosen_entry(tuning: Tuning, name: str) -> tuple[Method, TunedFields]:
    """A method with the fields that a tuning chose, and what ``unlearn(tuning=…)`` must know of them."""
    kind = find_method(name)
    entry = tuning.of(kind.name)
    if entry is None:
        others = ", ".join(sorted(found.method for found in tuning.methods)) or "none"
        raise InvalidArgument(f"the tuning holds nothing of the method {kind.name!r}, but of {others}: tune it too")
    if tuning.score != SCORE:
        raise InvalidArgument(
            f"the tuning chose by score {tuning.score or 1}, now it is {SCORE}: the older one could be met by shifting "
            "answers; prepare again by `expunge tune` into another folder"
        )
    try:
        method = made_from(kind, entry.chosen.fields)
    except (ExpungeError, TypeError) as error:
        raise DataError(f"the tuning was altered: it has no readable {name!r} ({error}); tune again") from None
    return method, TunedFields(
        digest=tuning.digest,
        mode=tuning.mode,
        state=entry.state,
        method=method.told,
        recipe_but_seed=tuning.recipe_but_seed,
        data_root=tuning.data_root,
        budget=tuning.budget,
        kind=tuning.rehearsal.kind,
        size=tuning.rehearsal.sets[0].count,
        trials=len(entry.trials),
        score=score_of(entry.chosen.choice),
        default_score=score_of(entry.default.choice),
        transfer_score=score_of(entry.chosen.transfer),
        better=entry.better,
        transferred=entry.transferred,
        notices=entry.notices,
    )


def check_budget(budget: float) -> None:
    if not 0 < budget <= 10:
        raise InvalidArgument(f"budget {budget:.4g} must be a share of the training's work above 0, 10 at most")
