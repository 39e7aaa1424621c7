"""``train``: from data and a recipe to a recorded run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.beacon import Beacon
from expunge.core.errors import DataError, InvalidArgument, UnsupportedEver
from expunge.core.values import Empirical, Exact, Progress
from expunge.data.commitment import commit
from expunge.data.dataset import Dataset
from expunge.data.encoding import Encoding, make_encoding
from expunge.data.handed import AnyData, HandedData, hand_over
from expunge.data.labels import LabelKind
from expunge.data.source import Source
from expunge.data.spellings import spelt_alike
from expunge.data.splits import Split, SplitBy, split_rows
from expunge.data.stored import write_commitment
from expunge.data.tiers import TierFile
from expunge.data.told import tell_of
from expunge.models.base import offer
from expunge.models.named import with_model
from expunge.models.resolver import build_empty, convolves, holds_batch_norm
from expunge.models.sums import accumulation_of
from expunge.models.zoo import ZOO
from expunge.records.catalogue import NUMBER_TASKS
from expunge.schedule.fields import require_interval
from expunge.schedule.keeping import said_of_kept
from expunge.schedule.placement import dealt_by, number_units
from expunge.schedule.recipe import MemoryLayout, Placement, Profile, Recipe
from expunge.schedule.schedule import Schedule
from expunge.schedule.stepless import refuse_steps
from expunge.train.answers import check_answers, learnt
from expunge.train.apart import TrainsApart, lacking, take_over
from expunge.train.begun import begun, fixed
from expunge.train.committed import chosen_beacon, chosen_salts, hold
from expunge.train.described import described_data
from expunge.train.exactness import Exactness, examine, require_same
from expunge.train.examples import Examples
from expunge.train.finish import finish
from expunge.train.folder import as_begun, continued, finished_or_other, start_or_continue, writing
from expunge.train.initial_weights import opened_beside
from expunge.train.loading import assemble
from expunge.train.perturbation import (
    draw_noise,
    keep_key,
    key_of,
    new_key,
    read_key,
    reveal_key,
)
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run, keep_base, write_run_file
from expunge.train.shards import Recording, carry_out_shards, interval_of
from expunge.train.trace import Trace
from expunge.train.without import Without, answered, leave_out

FEW_STEPS = 100
BUCKETS = ("category_buckets", "text_buckets", "preparation")  # fields of a recipe that are its encoding's


def make_recipe(dataset: Dataset, *, tiers: np.ndarray | None = None, **fields: Any) -> Recipe:
    """A recipe for a data set: how its columns come in, its classes, and whatever fields are given; ``tiers`` are those
    of the subjects that are trained on, where it deals by them.

    Where the model holds a batch norm and ``least_present`` is not given, 2 is written into the recipe: a batch norm
    over one row is undefined. Where ``layout`` is not given, convolutions of ours lie with channels last, and those of
    anyone in the speed profile: they are faster so.
    """
    if dataset.of_numbers and np.ptp(dataset.labels) == 0:
        raise DataError(
            f"every label is {dataset.labels[0]:g}: there is nothing to learn; name another column as label"
        )
    refuse_steps(fields.get("model"), fields)
    if tiers is not None:
        fields |= {"placement": Placement.SUBJECT, "slices": int(tiers.max()) + 1}
    buckets = {name: fields.pop(name) for name in BUCKETS if name in fields}
    encoding = make_encoding(dataset, **buckets)
    fields = with_model(encoding, fields)
    recipe = _completed(Recipe(inputs=encoding, classes=dataset.classes, **fields), fields)
    return recipe if tiers is None else dealt_by(recipe, tiers)


def _said_of_labels(recipe: Recipe | None, task: str | None) -> LabelKind:
    """What a recipe or a task says of labels before they are read."""
    if (task if recipe is None else recipe.task) in NUMBER_TASKS:
        return LabelKind.NUMBERS
    return LabelKind.CLASSES if recipe is not None or task == "classification" else LabelKind.UNSAID


def _completed(recipe: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """The recipe with what its model asks for where it is not given."""
    if recipe.accumulated:
        accumulation_of(recipe)  # refuses what cannot be summed
        return recipe
    model = build_empty(recipe)
    if "layout" not in fields and convolves(model) and (recipe.model in ZOO or recipe.profile is Profile.SPEED):
        recipe = replace(recipe, layout=MemoryLayout.CHANNELS_LAST)
    if not holds_batch_norm(model):
        return recipe
    if recipe.batch_size < 2:
        raise InvalidArgument(
            "batch size 1 with a batch norm is undefined (numbers pass one in front): ask for 2 or more"
        )
    if "least_present" not in fields:
        return replace(recipe, least_present=2)
    if recipe.least_present < 2:
        raise InvalidArgument(
            "least present 1 with a batch norm is undefined for a batch of one row: leave it out, or 2"
        )
    return recipe


def _recipe_like(kept: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """What these fields make of the columns and classes of a recipe that is there already."""
    buckets = {name: fields[name] for name in BUCKETS if name in fields}
    others = {name: value for name, value in fields.items() if name not in buckets}
    encoding = Encoding(kept.inputs.columns, **buckets)
    others = with_model(encoding, others)
    return _completed(Recipe(inputs=encoding, classes=kept.classes, **others), others)


def train(
    data: AnyData | HandedData,
    *,
    out: Path | str,
    recipe: Recipe | None = None,
    split_seed: int = 0,
    split_by: SplitBy = SplitBy.ROWS,
    device: str = "cpu",
    checkpoint_interval: int | None = None,
    keep_checkpoints: int | None = None,
    trace: Trace | None = None,
    progress: Progress | None = None,
    noise_key: Path | str | None = None,
    without: Without = None,
    source: Source | None = None,
    salts: Path | str | None = None,
    beacon: Beacon | Path | str | None = None,
    commit_only: bool = False,
    tell: Callable[[str], object] | None = None,
    base: Path | str | None = None,
    tiers: np.ndarray | Path | str | None = None,
    apart: TrainsApart | None = None,
    only: int | None = None,
    **fields: Any,
) -> Run:
    """Train and record, as ``train.call`` says it argument by argument; ``fields`` are those of a recipe.

    ``tiers`` are a file of subjects, for fields that deal by tiers; or, of a recipe that does, those of the units.
    ``apart`` trains the shards side by side; ``only`` one shard is trained, and the run left unfinished.
    """
    handed = data if isinstance(data, HandedData) else hand_over(data)
    if recipe is not None and fields:
        raise InvalidArgument(f"give a recipe or the fields {sorted(fields)}, not both")
    folder, drawn = Path(out), chosen_beacon(beacon)
    fields = fields if recipe is not None else as_begun(folder, fields)
    if base is not None:
        fields["base"] = offer(base)
        recipe = recipe if recipe is None else replace(recipe, base=fields.pop("base"))
    if commit_only and (without is not None or beacon is not None):
        raise InvalidArgument(
            "a commitment is over all rows and before any beacon: give `without` and `beacon` to the training after it"
        )
    done = answered(
        folder,
        None if isinstance(tiers, str | Path) else without,
        handed,
        lambda run: recipe or _recipe_like(run.recipe, fields),
        split_seed=split_seed,
        split_by=split_by.value,
        device=device,
        noise_key=noise_key,
        salts=salts,
        beacon=drawn,
    )
    if done is not None:
        return done
    handed, dataset = handed.find(kind=_said_of_labels(recipe, fields.get("task")))
    assignment = split_rows(dataset, seed=split_seed, by=split_by)
    training_rows = dataset.take(np.flatnonzero(assignment == Split.TRAIN.code))
    if isinstance(tiers, str | Path):
        tiers = TierFile.read(tiers).of(dataset.subjects, training_rows.subjects)
    if recipe is None:
        recipe = make_recipe(dataset, tiers=tiers, **fields)
    if recipe.classes != dataset.classes:
        raise InvalidArgument(
            f"the recipe was made for the classes {list(recipe.classes)[:20]}, the data have "
            f"{list(dataset.classes)[:20]}: make a recipe for these data"
        )
    if recipe.inputs.preparation is not None:
        raise UnsupportedEver(
            "a preparation is of models that were trained elsewhere: rows that are forgotten later may have had a part "
            "in its mean and deviation; leave it out, here nothing is fitted before the training"
        )
    said = {"checkpoint_interval": checkpoint_interval, "keep_checkpoints": keep_checkpoints, "base": base}
    said |= {"noise_key": noise_key, "device": None if device == "cpu" else device}
    refuse_steps(recipe.model, {**said, "trace": trace and trace.kept})
    trace = (Trace.OFF if recipe.accumulated else Trace.LOSSES) if trace is None else trace
    require_interval(checkpoint_interval)
    require_interval(keep_checkpoints, "keep_checkpoints")
    salted = chosen_salts(folder, salts, len(dataset), draw=commit_only)
    commitment = commit(dataset, assignment, salted)
    described = described_data(
        handed.source or source,
        commitment,
        salted,
        split_seed=split_seed,
        split_by=split_by.value,
        held=handed.held,
    )
    units = number_units(training_rows.subjects)
    schedule = Schedule.of(recipe, commitment.root, units, drawn.value, tiers)
    if commit_only:
        key = _noise_key(recipe, folder, noise_key)
        return hold(folder, fixed(recipe, described, device, key), commitment, units, key, tiers)
    examples = Examples(recipe, training_rows, find_device(device))
    left_out = leave_out(without, dataset, commitment)
    left_out.check(recipe, schedule)
    emptied = left_out.slots
    present = np.setdiff1d(np.arange(len(examples)), emptied)
    if len(emptied):
        examples = examples.only(present)
    with pinned(recipe), writing(folder):
        interval = interval_of(schedule, checkpoint_interval)
        key = _noise_key(recipe, folder, noise_key)
        told = replace(
            begun(fixed(recipe, described, device, key), schedule, drawn, left_out),
            trace=trace.value,
            checkpoint_interval=None if recipe.accumulated else interval,
        )
        run = finished_or_other(folder, told)
        if run is not None:
            return run
        found = examine(recipe, schedule, examples, emptied)
        if key is not None:
            keep_key(folder, key)
        run = start_or_continue(folder, told)
        reveal_key(folder)
        keep_base(folder, recipe)
        write_commitment(folder, commitment, units, tiers)
        left_out.write(folder)
        _same_environment(run, found)
        told = replace(
            continued(told, run.told),
            checkpoint_interval=told.checkpoint_interval,
            keep_checkpoints=keep_checkpoints,
            environment=found.environment,
        )
        write_run_file(folder, told)
        left_out.ask(folder, commitment)
        tell_of(tell, dataset, handed.said, recipe.inputs)
        steps = sum(schedule.total_steps(shard) for shard in range(recipe.shards))
        if tell is not None and steps < FEW_STEPS and not recipe.accumulated:
            tell(f"{steps} steps in all, in which a model may learn little: more `epochs` take more")
        recording = Recording(folder, interval, trace, found.lossy is None, keep_checkpoints)
        if apart is not None:
            for place in apart(run, lacking(recording, recipe, schedule, emptied), left_out.forget, progress):
                take_over(recording, place, schedule, found.environment)
        carried = carry_out_shards(
            recipe,
            schedule,
            examples,
            emptied,
            recording=recording,
            progress=progress,
            noise=None if key is None else draw_noise(recipe, key, schedule.seed),
            only=only,
        )
        if only is not None:
            return Run(folder, told)
        model = assemble(recipe, carried.members)
        check_answers(recipe, model, examples, present)
        earned, alike = left_out.earned(told, recipe, schedule, noise_key is not None), spelt_alike(training_rows)
        refused = found.refused or opened_beside(recipe)
        kept = said_of_kept(recipe, schedule, units, present, interval, keep_checkpoints)
        more = tuple(told for told in (alike, kept) if told is not None)
        calibration = dataset.take(np.flatnonzero(assignment == Split.CALIBRATION.code))
        return finish(
            folder,
            replace(
                earned,
                notices=(*(earned.notices or ()), *more) if more else earned.notices,
                learnt=learnt(recipe, model, examples, present, calibration, schedule.tiers),
            ),
            recipe,
            carried,
            guarantee=Exact(recipe.base) if refused is None else Empirical(),
            exact_refused=refused,
            steps=sum(
                schedule.total_steps(shard) for shard, member in enumerate(carried.members) if member is not None
            ),
        )


def _noise_key(recipe: Recipe, folder: Path, given: Path | str | None) -> bytes | None:
    """The key that was given, else that of the run which the folder holds already, else a new one."""
    if recipe.perturbation == 0:
        if given is not None:
            raise InvalidArgument(f"the noise key {given} has no use without a perturbation: ask for one, or leave it")
        return None
    if given is not None:
        return read_key(given)
    if (folder / "run.json").exists():
        kept = key_of(folder, Run.open_any(folder).told)
        if kept is not None:
            return kept
    return new_key()


def _same_environment(run: Run, found: Exactness) -> None:
    before = run.told.environment
    if before is not None and run.recipe.profile is Profile.EXACT:
        require_same(found.environment, before, f"{run.path} was begun", "choose a new `out` to start afresh")
