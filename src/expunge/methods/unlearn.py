"""``unlearn``: a run, a forget set and a method give a run whose parent is the first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.streams import lineage_seed
from expunge.core.values import Certified, Progress
from expunge.core.wording import check_cases
from expunge.data.commitment import tombstones_digest
from expunge.data.forget_set import ForgetSet, choose, released, saved_slots
from expunge.data.handed import GivenData, Names, said_of
from expunge.data.spellings import left_alike
from expunge.data.splits import Split
from expunge.data.stored import write_commitment
from expunge.methods.adopted import budget_of, refuse_adopted
from expunge.methods.contract import DEFAULT_BUDGET, Method, Need, Parent, Unlearned
from expunge.methods.given import calibration_of
from expunge.methods.lookup import make_method
from expunge.methods.retrain import Retrain
from expunge.methods.tuned_fields import check_kind, check_tuning, said_of_fields
from expunge.records.catalogue import CERTIFIED_METHODS
from expunge.records.run_file import Forgetting, ParentFile, RunFile, TunedFields, UnlearnRequest, UnlearnTerms
from expunge.records.scalars import Large, Slots
from expunge.schedule.fields import require_interval, require_kind
from expunge.schedule.recipe import Profile, Recipe
from expunge.schedule.stepless import refuse_steps
from expunge.train.answers import check_answers
from expunge.train.exactness import Exactness, differing, examine, require_same
from expunge.train.examples import Examples
from expunge.train.finish import finish_model
from expunge.train.folder import continued, finished_or_other, sound, start_or_continue, writing
from expunge.train.log import RunLog
from expunge.train.perturbation import draw_noise, keep_key, key_of, reveal_key
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run, keep_base, slots_by_split, write_run_file
from expunge.train.trace import Trace


def unlearn(
    parent: Run | Path | str,
    forget: Sequence[str] | str | ForgetSet,
    *,
    method: Method | str = "exact-replay",
    out: Path | str,
    budget: float | None = None,
    seed: int = 0,
    data: GivenData = None,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    device: str | None = None,
    checkpoint_interval: int | None = None,
    trace: Trace | None = None,
    progress: Progress | None = None,
    cases: Sequence[str] = (),
    tuning: TunedFields | None = None,
    salts: Path | str | None = None,
    before: Callable[[Run, ForgetSet], object] | None = None,
) -> Run:
    """Forget and record. The same call on an interrupted folder continues it.

    ``data`` are the rows where they moved, in any form that ``train`` takes, read as the run's own unless said.
    ``salts`` is where the run's salt file lies now, if it moved. The request is written into the new run's log.
    ``tuning`` tells where the method's fields come from: what ``study.tuning.chosen_entry`` gives beside the method.
    Without it a method with a budget is flagged as untuned, unless it has nothing to tune.

    ``cases`` name the deletion cases that ask for it, as the record will; without one the request is the owner's.
    ``before`` is called with the run and what it is to forget, once that is known to be possible and before it is done.
    """
    check_cases(cases)
    for name, value, kinds, what in (
        ("forget", forget, (str, list, tuple, ForgetSet), "rules such as subject:NAME"),
        ("method", method, (str, Method), "the name of a method, or a method"),
        ("out", out, (str, os.PathLike), "a folder"),
        ("budget", budget, (int, float, type(None)), "a share of the training's work"),
        ("seed", seed, (int,), "a whole number"),
    ):
        require_kind(name, value, kinds, what)
    require_interval(checkpoint_interval)
    run = Run.of(parent, "parent")
    refuse_steps(run.recipe.model, {"checkpoint_interval": checkpoint_interval, "trace": trace and trace.kept})
    chosen = make_method(method) if isinstance(method, str) else method
    refuse_adopted(run, chosen)
    budget = budget_of(run, chosen, budget)
    if tuning is not None:
        check_tuning(tuning, run, chosen, budget)
    rules = [forget] if isinstance(forget, str) else forget
    folder = Path(out)
    if (answered := _answered(run, chosen, rules, folder, budget, seed, device, tuning)) is not None:
        return _of_cases(answered, cases)
    rows = run.data(said_of(data, label=label, subject=subject, id=id), salts=salts, gone=saved_slots(rules))
    train = rows[Split.TRAIN]
    forget_set = (
        rules if isinstance(rules, ForgetSet) else choose(rules, train, root=run.root.hex(), forgotten=run.tombstones)
    )
    if tuning is not None:
        check_kind(tuning, forget_set)
    if forget_set.root != run.root.hex():
        raise InvalidArgument(
            f"the forget set belongs to the data set {forget_set.root[:12]}…, the run was trained on "
            f"{run.root.hex()[:12]}…: choose it from this run's rows"
        )
    ancestor = run.exact_ancestor if Need.CHECKPOINTS in chosen.needs else run
    named = device or run.told.device
    if folder.resolve() in {run.path.resolve(), ancestor.path.resolve()}:
        raise InvalidArgument(f"`out` {folder} is the run that is to forget: choose another folder")
    examples = Examples(run.recipe, train, find_device(named))
    with pinned(run.recipe), writing(folder):
        told = _begun(run, folder, chosen, forget_set, budget, seed, named, tuning)
        told = replace(told, released=slots_by_split(released(forget_set.rules, rows, run.released)))
        if salts is not None:
            told = replace(told, data=replace(told.data, salt_file=str(run.salts(salts).place)))
        if (done := finished_or_other(folder, told)) is not None:
            return _of_cases(done, cases)
        empty = np.union1d(run.tombstones, forget_set.slots)
        made = _recipe(run, chosen)
        key = key_of(run.path, run.told)
        known, found = _looked_at(run, ancestor, examples, made, empty, named, key)
        if Need.CHECKPOINTS in chosen.needs:
            known = replace(known, exact_refused=known.exact_refused or not_exact_before(ancestor))
        known = replace(known, calibration=calibration_of(run.recipe, rows, told.released, examples.device))
        chosen.validate(known, forget_set.slots, budget=budget, seed=seed)
        if before is not None:
            before(run, forget_set)
        told = replace(told, trace=chosen.traces(known, trace or Trace.LOSSES).value)
        if key is not None:
            keep_key(folder, key)
        started = start_or_continue(folder, told).told
        reveal_key(folder)
        keep_base(folder, run.recipe)
        write_commitment(folder, run.commitment, run.units, run.tiers)
        forget_set.write(folder)
        if started.environment is not None and run.recipe.profile is Profile.EXACT:
            require_same(found.environment, started.environment, f"{folder} was begun", "choose a new `out`")
        told = replace(continued(told, started), environment=found.environment)
        write_run_file(folder, told)
        RunLog(folder / "log.jsonl").add_request(
            slots=forget_set.slots.tolist(), root=run.root.hex(), model=run.weights_digest, cases=cases
        )
        result = chosen(
            known,
            forget_set.slots,
            budget=budget,
            seed=seed,
            workspace=folder,
            progress=progress,
            checkpoint_interval=checkpoint_interval,
            trace=trace or Trace.LOSSES,
        )
        check_answers(made, result.model, examples, np.setdiff1d(np.arange(len(train)), empty))
        return _finish(folder, told, run, chosen, result, tuning, left_alike(train, forget_set.slots, empty))


def _of_cases(run: Run, cases: Sequence[str]) -> Run:
    """A finished run again; a case that it was not asked for by would be lost."""
    known = [case for request in run.log.requests() for case in request.cases]
    lost = [case for case in cases if case not in known]
    if lost:
        raise RunError(
            f"{run.path} was asked for by {', '.join(known) or 'the owner'}, not by case {lost[0]!r}: leave "
            "`cases` out to take it as it is, or choose another `out`"
        )
    return run


def _answered(
    run: Run,
    method: Method,
    rules: Sequence[str] | ForgetSet,
    folder: Path,
    budget: float | None,
    seed: int,
    device: str | None,
    tuning: TunedFields | None,
) -> Run | None:
    """The finished run of the very same words; it needs no data, which may rightly be gone by then."""
    if isinstance(rules, ForgetSet) or not all(str(one).startswith(("subject:", "class:", "random:")) for one in rules):
        return None
    if not (folder / "run.json").is_file():
        return None
    found = Run.open_any(folder)
    request = found.told.request
    same = (
        found.told.status == "finished"
        and isinstance(request, UnlearnRequest)
        and request == replace(_request(run, method, request.forget, budget, seed, device, tuning), rest=request.rest)
        and found.told.rules == tuple(rules)
    )
    return sound(found) if same else None


def parent_of(run: Run | Path | str, *, data: GivenData = None, device: str | None = None) -> Parent:
    """A run as methods see it, for calling them without writing anything: ``method(parent, slots, budget=…)``.

    Whatever is done with it belongs inside ``pinned(parent.recipe)``.
    """
    found = Run.of(run)
    named, rows = device or found.told.device, found.data(data)
    examples = Examples(found.recipe, rows[Split.TRAIN], find_device(named))
    with pinned(found.recipe):
        key = key_of(found.path, found.told)
        known, _ = _looked_at(found, found.exact_ancestor, examples, found.recipe, found.tombstones, named, key)
    return replace(known, calibration=calibration_of(found.recipe, rows, found.told.released, examples.device))


def not_exact_before(ancestor: Run) -> str | None:
    """What goes on from states that are not exact is not exact either."""
    reason = ancestor.result.exact_refused
    return None if reason is None else f"it goes on from states of {ancestor.path.name}, which is not exact: {reason}"


def _looked_at(
    run: Run,
    ancestor: Run,
    examples: Examples,
    made: Recipe,
    emptied: np.ndarray,
    device: str,
    key: bytes | None,
) -> tuple[Parent, Exactness]:
    """Examine what the result may be called; ``made`` is the recipe it belongs to. Call it pinned."""
    schedule = run.schedule if made == run.recipe else run.schedule_of(made)
    found = examine(made, schedule, examples, emptied)
    noise = None if key is None else draw_noise(made, key, schedule.seed)
    return _parent(run, ancestor, examples, found, device, noise, same_lineage=made == run.recipe), found


def _parent(
    run: Run,
    ancestor: Run,
    examples: Examples,
    found: Exactness,
    device: str,
    noise: np.ndarray | None,
    *,
    same_lineage: bool,
) -> Parent:
    """``noise`` is that of the lineage which the result belongs to: another training seed draws another."""
    environment = ancestor.told.environment or {}
    changed = differing(found.environment, environment)
    replay = f"it was trained in another environment ({'; '.join(changed)})" if changed else found.lossy
    refused, here, there = found.refused, found.environment.get("initial_weights"), environment.get("initial_weights")
    if refused is None and same_lineage and here != there:
        refused = f"model {run.recipe.model!r} came out of its factory with other initial weights than in the training"
    return Parent(
        recipe=run.recipe,
        schedule=run.schedule,
        root=run.root,
        beacon=run.beacon,
        units=run.units,
        tiers=run.tiers,
        examples=examples,
        model=run.model(device),
        weights_digest=run.weights_digest,
        emptied=run.tombstones,
        ancestor_emptied=ancestor.tombstones,
        exact_refused=refused,
        replay_refused=replay,
        continues=found.lossy is None,
        folder=ancestor.path,
        account=_account(run),
        noise=noise,
    )


def _account(run: Run) -> Mapping[str, Any] | None:
    """What certified removals have spent; a run that was certified has an account."""
    account = run.told.account
    if account is None and (isinstance(run.guarantee, Certified) or run.method in CERTIFIED_METHODS):
        raise DataError(f"{run.path} was certified, but its account is gone: run.json was altered; use another run")
    return account


def _request(
    run: Run,
    method: Method,
    forget: str,
    budget: float | None,
    seed: int,
    device: str | None,
    tuning: TunedFields | None,
) -> UnlearnRequest:
    """What decides the result; ``forget`` is the digest of the slots."""
    return UnlearnRequest(
        parent=run.weights_digest,
        root=run.told.dataset_root,
        parent_tombstones=tombstones_digest(run.tombstones).hex(),
        forget=forget,
        method=method.told,
        budget=(DEFAULT_BUDGET if budget is None else budget) if method.takes_budget else None,
        seed=Large(seed),
        device=device or run.told.device,
        tuning=None if tuning is None else tuning.digest,
    )


def _begun(
    run: Run,
    folder: Path,
    method: Method,
    forget_set: ForgetSet,
    budget: float | None,
    seed: int,
    device: str,
    tuning: TunedFields | None,
) -> RunFile:
    """run.json of an unlearning as it begins: data, beacon and preprocessing are the parent's."""
    request = _request(run, method, tombstones_digest(forget_set.slots).hex(), budget, seed, device, tuning)
    recipe, told = _recipe(run, method), run.told
    return RunFile(
        status="running",
        operation="unlearn",
        request=request,
        recipe=recipe.as_json(),
        recipe_digest=recipe.digest.hex(),
        data=told.data,
        dataset_root=told.dataset_root,
        beacon=told.beacon,
        beacon_described=told.beacon_described,
        beacon_note=told.beacon_note,
        lineage_seed=lineage_seed(recipe.digest, run.commitment.root, run.beacon).hex(),
        tombstones=Slots(tuple(np.union1d(run.tombstones, forget_set.slots).tolist())),
        released={},
        method=request.method,
        parent=ParentFile(
            path=str(run.path.resolve()),
            relative=os.path.relpath(run.path.resolve(), folder.resolve()),
            weights_digest=run.weights_digest,
        ),
        preprocessing=told.preprocessing,
        environment=None,
        device=device,
        noise_commitment=told.noise_commitment,
        forgotten=len(forget_set),
        rules=forget_set.rules,
        adopted=told.adopted,
        asked=UnlearnTerms(budget=request.budget, seed=request.seed),
    )


def _recipe(run: Run, method: Method) -> Recipe:
    """The recipe that the result belongs to: the parent's, unless a retraining asks for another seed."""
    if isinstance(method, Retrain) and method.training_seed is not None:
        return replace(run.recipe, seed=method.training_seed)
    return run.recipe


def _finish(
    folder: Path,
    told: RunFile,
    run: Run,
    method: Method,
    result: Unlearned,
    tuning: TunedFields | None,
    alike: str | None,
) -> Run:
    if not result.recorded:  # the optimiser's moments hold the forget set: they go before the run is called finished
        for left in (folder / "checkpoints").glob("*"):  # also what a killed process was writing
            left.unlink()
    untuned, fields = said_of_fields(method, tuning)
    reused = {str(shard): steps for shard, steps in result.reused.items()} if Need.CHECKPOINTS in method.needs else {}
    complete = replace(
        told,
        training_example_steps=run.schedule.work(run.tombstones, least_present=run.recipe.least_present),
        training_row_sums=run.told.training_row_sums or run.result.row_sums,
        notices=result.notices if alike is None else (*result.notices, alike),
        account=result.account,
        trajectory="recorded" if result.recorded else "none",
        checkpoint_interval=result.interval if result.recorded else None,
        tuning=fields,
        forgetting=Forgetting(
            allowed=result.cost.allowed,
            stopped=result.stopped,
            prepaid=result.cost.prepaid,
            seen=result.seen,
            reused_steps=reused,
            untuned=untuned,
        ),
        rest={**told.rest, **({} if result.recorded else {"checkpoint_interval": None})},
    )
    return finish_model(
        folder,
        complete,
        result.model,
        alive=result.alive,
        guarantee=result.guarantee,
        exact_refused=result.exact_refused,
        cost=result.cost,
        steps=result.steps,
        sums=result.sums,
    )
