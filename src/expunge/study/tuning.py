"""Tuning by rehearsal: the fields of each method that come nearest to a twin, whether they carry over, and the record.

``tune_method`` makes the entry of one method, ``tuning_of`` puts entries together, ``write_tuning`` and ``read_tuning``
keep them in a file, and ``chosen_entry`` hands a method with its chosen fields to ``unlearn``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, ExpungeError, InvalidArgument
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.methods.contract import Method
from expunge.methods.fields import searches
from expunge.methods.lookup import find_method, method_from_json
from expunge.methods.tuned_fields import recipe_but_seed
from expunge.study.rehearsal import Rehearsal, described_slots
from expunge.study.score import Attempt, Mode, Stage
from expunge.study.search import Trial, best, check_trials, optuna_version, search

FORMAT = "expunge/tuning/1"
TRIALS = 30
WORSE = 2.0  # times the score on the first set: beyond it the tuning did not transfer
NO_TRANSFER = "tuning did not transfer"
CLOCK = "seconds"  # what two runs of the same tuning may differ in

Record = dict[str, Any]


def tune_method(
    method: str | type[Method],
    rehearsal: Rehearsal,
    *,
    budget: float,
    trials: int = TRIALS,
    seed: int = 0,
    kept: Sequence[Mapping[str, Any]] = (),
    on_trial: Callable[[Record], None] | None = None,
) -> Record:
    """Search a method's fields and check them on the second set. The entry is plain JSON.

    ``on_trial`` is told of everything that was computed; ``kept`` is what it was told before, in the same order.
    """
    kind = find_method(method) if isinstance(method, str) else method
    check_trials(trials)
    check_budget(budget)
    if not kind.takes_budget:
        raise InvalidArgument(
            f"method {kind.name!r} has no budget and nothing to tune: it does all the work that its guarantee needs"
        )
    before = _Kept(kind.name, kept)

    def attempt(made: Method, stage: Stage) -> Attempt:
        return rehearsal.attempt(made, stage, budget=budget, seed=seed)

    def told(stage: Stage) -> Callable[[Trial], None]:
        def tell(trial: Trial) -> None:
            if on_trial is not None:
                on_trial({"method": kind.name, "stage": stage.value, **trial.as_json()})

        return tell

    searched = searches(kind)
    done = search(
        kind,
        lambda made: attempt(made, Stage.CHOICE),
        trials=trials if searched else 1,
        seed=seed,
        kept=before.trials,
        on_trial=told(Stage.CHOICE),
    )
    default, found = done[0], best(done)
    chosen = default if found is None else found
    transfers: dict[int, Trial] = {}
    for trial in (default, chosen) if Stage.TRANSFER in rehearsal.forget else ():
        if trial.index in transfers:
            continue
        again = before.transfer(trial)
        if again is None:
            assert trial.made is not None
            again = replace(trial, attempt=attempt(trial.made, Stage.TRANSFER), repeats=None)
            told(Stage.TRANSFER)(again)
        transfers[trial.index] = again
    return _entry(kind, done if searched else [], default, chosen, found, transfers)


def _entry(
    kind: type[Method],
    trials: list[Trial],
    default: Trial,
    chosen: Trial,
    found: Trial | None,
    transfers: Mapping[int, Trial],
) -> Record:
    carried = transfers.get(chosen.index)
    transferred = None if carried is None else _transferred(chosen.attempt, carried.attempt)
    state = "nothing to tune" if not trials else "default kept" if found is None else "tuned"
    spent = [trial.attempt for trial in {id(one): one for one in [*trials, default, *transfers.values()]}.values()]
    return {
        "method": kind.name,
        "state": state,
        "search": {name: where.as_json() for name, where in searches(kind).items()},
        "default": _outcome(default, transfers),
        "chosen": _outcome(chosen, transfers),
        "transferred": transferred,
        "notices": _notices(trials, default, found, carried, transferred),
        "trials": [trial.as_json() for trial in trials],
        "cost": {
            "example_steps": sum(attempt.example_steps for attempt in spent),
            "scoring": sum(attempt.scoring for attempt in spent),
            CLOCK: round(sum(attempt.seconds for attempt in spent), 3),
        },
    }


def _outcome(trial: Trial, transfers: Mapping[int, Trial]) -> Record:
    carried = transfers.get(trial.index)
    return {
        "trial": trial.index,
        "fields": dict(trial.fields),
        Stage.CHOICE.value: trial.attempt.as_json(),
        Stage.TRANSFER.value: None if carried is None else carried.attempt.as_json(),
    }


def _transferred(first: Attempt, second: Attempt) -> bool:
    """Whether the score on the second set is no more than twice that on the first."""
    if first.score is None or second.score is None:
        return False
    return second.score.value <= WORSE * first.score.value


def _notices(
    trials: list[Trial], default: Trial, found: Trial | None, carried: Trial | None, transferred: bool | None
) -> list[str]:
    notices: list[str] = []
    states = [trial.attempt.state for trial in trials]
    if not trials:
        notices.append("nothing to tune: no field has a search range")
    elif found is None:
        first = default.attempt.as_json()["reason"]
        notices.append(f"none of {len(trials)} trials is admissible, the default is kept: {first}")
    elif "failed" in states:
        notices.append(f"{states.count('failed')} of {len(trials)} trials failed")
    if transferred is False:
        notices.append(NO_TRANSFER)
    if carried is not None and carried.attempt.state != "admissible":
        notices.append(f"on the second set: {carried.attempt.as_json()['reason']}")
    return notices


class _Kept:
    """What an interrupted tuning had computed for one method."""

    def __init__(self, name: str, records: Sequence[Mapping[str, Any]]) -> None:
        self._found: dict[Stage, list[Trial]] = {stage: [] for stage in Stage}
        for record in records:
            try:
                stage, whose = Stage(record["stage"]), record["method"]
            except (KeyError, ValueError, TypeError) as error:
                raise DataError(f"a kept trial cannot be read ({error!r}): it was altered") from None
            if whose != name:
                raise DataError(f"a kept trial is of the method {whose!r}, not of {name!r}: hand over its own alone")
            own = {key: value for key, value in record.items() if key not in ("stage", "method")}
            self._found[stage].append(Trial.from_json(own))

    @property
    def trials(self) -> list[Trial]:
        return self._found[Stage.CHOICE]

    def transfer(self, trial: Trial) -> Trial | None:
        """What a trial's fields came to on the second set, if that is known."""
        known = (one for one in self._found[Stage.TRANSFER] if one.index == trial.index)
        return next((one for one in known if canonical_json(one.fields) == canonical_json(trial.fields)), None)


def tuning_of(rehearsal: Rehearsal, entries: Sequence[Record], *, budget: float, trials: int, seed: int) -> Record:
    """All that is stored of a tuning. ``digest`` is that of everything but what the clock said."""
    content: Record = {
        "format": FORMAT,
        "mode": rehearsal.mode.value,
        "recipe_digest": rehearsal.parent.recipe.digest.hex(),
        "recipe_but_seed": recipe_but_seed(rehearsal.parent.recipe),
        "data_root": rehearsal.parent.root.hex(),
        "budget": float(budget),
        "trials": trials,
        "seed": seed,
        "sampler": {"name": "tpe", "optuna": optuna_version()},
        "original": {
            "weights_digest": rehearsal.parent.weights_digest,
            "forgotten": described_slots(rehearsal.forgotten),
            "untouched": [rehearsal.untouched(stage).as_json() for stage in rehearsal.forget],
        },
        "rehearsal": rehearsal.as_json(),
        "twins": [twin.as_json() for twin in rehearsal.twins.values()],
        "methods": list(entries),
        "cost": {
            "trials": sum(entry["cost"]["example_steps"] for entry in entries),
            "scoring": sum(entry["cost"]["scoring"] for entry in entries),
            "twins": sum(twin.example_steps for twin in rehearsal.twins.values()),
            CLOCK: round(sum(entry["cost"][CLOCK] for entry in entries), 3),
        },
    }
    content["digest"] = digest_of(content)
    return content


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON without seconds and without the digest itself, as hex."""
    told = {name: value for name, value in content.items() if name != "digest"}
    return sha256(b"expunge/tuning/1", canonical_json(timeless(told))).hex()


def timeless(value: Any) -> Any:
    """The same without what the clock said."""
    if isinstance(value, Mapping):
        return {name: timeless(inner) for name, inner in value.items() if name != CLOCK}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def write_tuning(path: Path, content: Mapping[str, Any]) -> None:
    """tuning.json, whole or not at all."""
    write_text(path, plain_json(dict(content)))


def read_tuning(path: Path | str) -> Record:
    """Read a tuning and check its digest."""
    try:
        return check_tuning_file(parse_json(read_bytes(Path(path), "the tuning")))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def check_tuning_file(content: Any) -> Record:
    """A tuning as it was written; anything else is refused."""
    form = content.get("format") if isinstance(content, dict) else None
    if form != FORMAT:
        raise DataError(f"this is not a tuning: its format is {form!r}, not {FORMAT!r}")
    altered = "the tuning was altered: {}; tune again, or take the file as `expunge tune` wrote it"
    try:
        digest = digest_of(content)
    except ExpungeError as error:
        raise DataError(altered.format(error)) from None
    if content.get("digest") != digest:
        raise DataError(altered.format("its digest is not that of its content"))
    if content.get("mode") not in [mode.value for mode in Mode]:
        raise DataError(altered.format(f"mode {content.get('mode')!r} is none of this version"))
    return content


def chosen_entry(content: Mapping[str, Any], name: str) -> tuple[Method, Record]:
    """A method with the fields that a tuning chose, and what ``unlearn(tuning=…)`` must know of them."""
    kind = find_method(name)
    try:
        entries = {str(entry["method"]): entry for entry in content["methods"]}
        if kind.name not in entries:
            raise InvalidArgument(
                f"the tuning holds nothing of the method {kind.name!r}, but of {', '.join(sorted(entries)) or 'none'}: "
                "tune it too"
            )
        entry = entries[kind.name]
        chosen, default = entry["chosen"], entry["default"]
        method = method_from_json({"name": kind.name, "fields": dict(chosen["fields"])})
        transfer = chosen[Stage.TRANSFER.value]
        told: Record = {
            "digest": str(content["digest"]),
            "mode": Mode(content["mode"]).value,
            "state": str(entry["state"]),
            "method": method.as_json(),
            "recipe_but_seed": str(content["recipe_but_seed"]),
            "data_root": str(content["data_root"]),
            "budget": _number(content["budget"]),
            "kind": str(content["rehearsal"]["kind"]),
            "size": int(content["rehearsal"]["sets"][0]["count"]),
            "trials": len(entry["trials"]),
            "score": _score(chosen[Stage.CHOICE.value]),
            "default_score": _score(default[Stage.CHOICE.value]),
            "transfer_score": None if transfer is None else _score(transfer),
            "transferred": {None: None, True: True, False: False}[entry["transferred"]],
            "notices": [str(notice) for notice in entry["notices"]],
        }
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"the tuning was altered: it has no readable {name!r} ({error!r}); tune again") from None
    return method, told


def _score(attempt: Mapping[str, Any]) -> float | None:
    return None if attempt["score"] is None else _number(attempt["score"]["value"])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def check_budget(budget: float) -> None:
    if not 0 < budget <= 10:
        raise InvalidArgument(f"budget {budget:.4g} must be a share of the training's work above 0, 10 at most")
