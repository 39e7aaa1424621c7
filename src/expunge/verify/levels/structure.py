"""Level V1, what was committed: leaves, splits and units as files, and the schedule's figures that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.hashing import sha256
from expunge.core.merkle import DIGEST_BYTES, GrowingTree
from expunge.core.wording import counted
from expunge.data.splits import SPLITS, Split
from expunge.data.stored import LEAVES
from expunge.records.bundle import ASSIGNMENT, TIERS, UNIT_BYTES, UNITS, Bundle
from expunge.records.limits import MEBIBYTE, Code, refused
from expunge.records.record import LEAF_FORMAT
from expunge.schedule.recipe import Placement, Recipe
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import seats_of_steps
from expunge.verify.levels.chain import links
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing


def check_rows(opened: OpenedRecord) -> str:
    """Refuse more rows than the verifier allows before any file of them is read: files may be nothing but holes."""
    data, limit = opened.committed.data, opened.bundle.limits.rows
    rows = max(data.rows, data.count + data.calibration.rows + data.holdout.rows)
    if rows > limit:
        raise refused(
            Code.SIZE_LIMIT, f"{rows:,} rows were committed, the limit is {limit:,}: raise limit rows, or refuse it"
        )
    return f"{counted(data.rows, 'row')} committed"


def check_data(opened: OpenedRecord) -> str:
    """Every run names the data set of the commitment."""
    data = opened.committed.data
    if opened.commit.digest != data.root:
        raise _changed("the commitment is signed for another root than it names")
    if data.leaf_format != LEAF_FORMAT:
        raise _changed(f"leaves are of the format {data.leaf_format[:60]!r}, known is {LEAF_FORMAT!r}")
    for name, record, _ in links(opened):
        if (record.data.root, record.data.count) != (data.root, data.count):
            raise _changed(
                f"{name} has {counted(record.data.count, 'slot')} under root {record.data.root.hex()[:16]}…, committed "
                f"were {data.count:,} under {data.root.hex()[:16]}…"
            )
        if record.data.tombstones[-1:] >= (data.count,):
            raise _changed(f"{name} empties slot {record.data.tombstones[-1]} of {counted(data.count, 'slot')}")
    return f"{counted(data.count, 'slot')} under root {data.root.hex()[:16]}…, in every run"


def leaf_files(opened: OpenedRecord) -> Iterator[tuple[str, Split]]:
    """The files of leaves, one for each split."""
    yield from ((LEAVES[split], split) for split in SPLITS)


def check_leaves(opened: OpenedRecord, split: Split) -> str:
    """The file's leaves are as many as were committed, and have the committed root."""
    data = opened.committed.data
    count, root = {
        Split.TRAIN: (data.count, data.root),
        Split.CALIBRATION: (data.calibration.rows, data.calibration.root),
        Split.HOLDOUT: (data.holdout.rows, data.holdout.root),
    }[split]
    name = LEAVES[split]
    size = _size(opened.bundle, name, "the root that was committed cannot be computed again")
    if size != count * DIGEST_BYTES:
        raise _changed(f"{name} has {size:,} bytes, {count:,} leaves of {DIGEST_BYTES} were committed")
    tree = GrowingTree()
    with opened.bundle.stream(name) as stream:
        while piece := stream.read(MEBIBYTE):
            for at in range(0, len(piece), DIGEST_BYTES):
                tree.add(piece[at : at + DIGEST_BYTES])
    if tree.root != root:
        raise _changed(f"{name} has the root {tree.root.hex()[:16]}…, committed was {root.hex()[:16]}…")
    return f"root of {count:,} leaves computed again"


def check_splits(opened: OpenedRecord) -> str:
    """Every source row's split, as committed; the splits have as many rows as there are leaves."""
    data = opened.committed.data
    size = _size(opened.bundle, ASSIGNMENT, "which row is in which split is not known")
    counts = (data.count, data.calibration.rows, data.holdout.rows)
    if size != data.rows or sum(counts) != data.rows:
        raise _changed(f"{ASSIGNMENT} has {size:,} rows, committed were {data.rows:,} in splits of {counts}")
    codes = np.frombuffer(opened.bundle.read(ASSIGNMENT), dtype=np.uint8)
    found = tuple(int(number) for number in np.bincount(codes, minlength=len(SPLITS)))
    if found != counts or sha256(codes.data) != data.assignment:
        raise _changed(f"{ASSIGNMENT} is not the one committed: its splits have {found} rows, {counts} are leaves")
    return f"{data.rows:,} source rows: {', '.join(f'{n:,} {s.value}' for n, s in zip(counts, SPLITS, strict=True))}"


def check_units(opened: OpenedRecord) -> str:
    """Unit numbers of all slots, as committed; they count subjects in the order of their first slots. Where the recipe
    deals by tiers, that of every unit.
    """
    data = opened.committed.data
    size = _size(opened.bundle, UNITS, "shards and slices cannot be computed again")
    if size != data.count * UNIT_BYTES:
        raise _other_map(f"{UNITS} has {size:,} bytes, {counted(data.count, 'slot')} have {data.count * UNIT_BYTES:,}")
    found = opened.bundle.digest(UNITS)
    if found != data.units:
        raise _other_map(f"{UNITS} has digest {found.hex()[:16]}…, committed was {data.units.hex()[:16]}…")
    if len(opened.units) == 0:
        raise _other_map(f"{UNITS} seats nobody")
    before = np.maximum.accumulate(np.concatenate([np.array([-1]), opened.units[:-1]]))
    if opened.units.min() < 0 or bool((opened.units > before + 1).any()):
        raise _other_map(f"{UNITS} does not number subjects by their first slot")
    units = int(opened.units.max()) + 1
    tiers = _check_tiers(opened, units)
    return f"{counted(units, 'unit')}{tiers} over {counted(data.count, 'slot')}, digest as committed"


def _check_tiers(opened: OpenedRecord, units: int) -> str:
    """The file of tiers is the one that the recipe names; where it names none, there is none."""
    named = opened.recipe.tiers
    if named is None:
        if TIERS in opened.bundle:
            raise _other_map(f"{TIERS} is there, and the recipe deals by no tiers")
        return ""
    size = _size(opened.bundle, TIERS, "slices cannot be computed again")
    if size != units * UNIT_BYTES:
        raise _other_map(f"{TIERS} has {size:,} bytes, {counted(units, 'unit')} have {units * UNIT_BYTES:,}")
    found = opened.bundle.digest(TIERS).hex()
    if found != named:
        raise _other_map(f"{TIERS} has digest {found[:16]}…, the recipe's is {named[:16]}…")
    return f" in {counted(opened.recipe.slices, 'tier')}"


def check_shape(opened: OpenedRecord) -> str:
    """What each run says of its schedule's shape is what the recipe says."""
    recipe = opened.recipe
    for name, record, _ in links(opened):
        named = record.schedule
        if (named.shards, named.slices) != (recipe.shards, recipe.slices):
            raise _other_map(
                f"{name} names {named.shards} shards × {named.slices} slices, the recipe has {recipe.shards} × "
                f"{recipe.slices}"
            )
        if (named.batch_size, named.least_present, named.drop_last) != (recipe.batch_size, recipe.least_present, False):
            raise refused(
                Code.SCHEDULE_ROOT_MISMATCH,
                f"{name} names batches of {named.batch_size}, least present {named.least_present}, drop last "
                f"{str(named.drop_last).lower()}; the recipe has {recipe.batch_size}, {recipe.least_present}, false",
            )
    return f"{recipe.shards} shards × {recipe.slices} slices, batches of {recipe.batch_size}, as in the recipe"


def check_size(opened: OpenedRecord) -> str:
    """Refuse what would take longer or more memory to compute again than the verifier allows; nobody is seated yet."""
    recipe, count, limits = opened.recipe, opened.committed.data.count, opened.bundle.limits
    passes = _passes(opened)
    again = sum(len(record.reuse) for _, record, _ in links(opened))  # the first touch of each: one order is drawn
    draws = schedule_draws(recipe, count) * passes + count * again
    if draws > limits.draws:
        raise _too_large(f"{draws:,} draws", f"{limits.draws:,}", "draws")
    epochs = recipe.shards * sum(recipe.stage_epochs) * passes
    if epochs > limits.epochs:
        raise _too_large(f"{epochs:,} epochs", f"{limits.epochs:,}", "epochs")
    steps = sum(recipe.stage_epochs) * (recipe.shards + count // recipe.batch_size)
    if steps > limits.steps:
        raise _too_large(f"up to {steps:,} steps", f"{limits.steps:,}", "steps")
    seats = count * recipe.slices if recipe.tiers else count * (recipe.slices + 1) // 2
    if seats > limits.seats:
        raise _too_large(f"{seats:,} seats in memory", f"{limits.seats:,}", "seats")
    places = count if recipe.placement is Placement.SLOT else int(opened.units.max()) + 1
    if recipe.shards * recipe.slices > places:
        raise _other_map(f"{recipe.shards} shards × {recipe.slices} slices do not fit {places:,} rows or subjects")
    return f"{draws:,} draws seat {counted(count, 'slot')}"


def schedule_draws(recipe: Recipe, count: int) -> int:
    """Words that are drawn for all orders, and comparisons for dealing slots out to shards and slices."""
    return count * (recipe.shards * sum(recipe.stage_epochs) + recipe.shards * recipe.slices)


def _passes(opened: OpenedRecord) -> int:
    """How often all orders may be looked through: for the root, for who is alive, for weights that did not move."""
    same = Counter(statement.digest for statement in opened.runs).values()
    alive = len(opened.runs) if opened.recipe.least_present > 1 else 0
    return 1 + alive + sum(number * (number - 1) // 2 for number in same)


def check_shard_map(opened: OpenedRecord) -> str:
    """Slots are dealt out to shards and slices, as recipe, units and seed give it."""
    try:
        schedule = opened.schedule
    except InvalidArgument as error:  # what the recipe cannot do with these data
        raise _other_map(str(error)) from None
    sizes = [len(schedule.shard_slots(shard)) for shard in range(schedule.shards)]
    return f"slots dealt out again: {min(sizes):,} to {max(sizes):,} in each of {counted(len(sizes), 'shard')}"


def check_lengths(opened: OpenedRecord) -> str:
    """Steps by shard, as the schedule has them."""
    schedule = opened.schedule
    totals = tuple(schedule.total_steps(shard) for shard in range(schedule.shards))
    for name, record, _ in links(opened):
        if record.schedule.steps != totals:
            raise refused(
                Code.SCHEDULE_LENGTH_MISMATCH,
                f"{name} names {_steps(record.schedule.steps)}, the schedule has {_steps(totals)}",
            )
    return f"{_steps(totals)}, in every run"


def check_alive(opened: OpenedRecord) -> str:
    """Shards that have anybody left, computed from the tombstones of each run."""
    schedule = opened.schedule
    for name, record, _ in links(opened):
        found = alive_shards(opened.recipe, schedule, record.data.tombstones)
        if not found:
            raise refused(Code.RECIPE_DEGENERATE, f"{name} skips every step: no batch has enough rows to be trained on")
        if found != record.alive:
            odd = sorted(set(found) ^ set(record.alive))[0]
            raise refused(
                Code.ENSEMBLE_MEMBER_MISMATCH,
                f"{name} names {counted(len(record.alive), 'shard')} alive, {len(found)} are; shard {odd} is wrong",
            )
    return f"{len(opened.record.alive)} of {counted(schedule.shards, 'shard')} alive"


def alive_shards(recipe: Recipe, schedule: Schedule, emptied: tuple[int, ...]) -> tuple[int, ...]:
    """The shards that have at least one step with enough rows."""
    present = np.ones(schedule.count, dtype=np.int64)
    present[np.array(emptied, dtype=np.int64)] = 0
    return tuple(shard for shard in range(schedule.shards) if _anybody(recipe, schedule, shard, present))


def _anybody(recipe: Recipe, schedule: Schedule, shard: int, present: np.ndarray) -> bool:
    seated = int(present[schedule.shard_slots(shard)].sum())
    if recipe.least_present == 1 or seated == 0:
        return seated > 0
    return any(
        bool((seats_of_steps(schedule, shard, epoch, present) >= recipe.least_present).any())
        for stage in schedule.stages[shard]
        for epoch in range(stage.first_epoch, stage.first_epoch + stage.epochs)
    )


def _size(bundle: Bundle, name: str, so: str) -> int:
    if name not in bundle:
        raise EvidenceMissing(f"{name} is missing, so {so}")
    return bundle.size(name)


def _steps(steps: tuple[int, ...]) -> str:
    return f"{counted(sum(steps), 'step')} in {counted(len(steps), 'shard')}"


def _changed(reason: str) -> RecordError:
    return refused(Code.DATASET_ROOT_CHANGED, f"{reason}: rows were added, removed or exchanged after the commitment")


def _other_map(reason: str) -> RecordError:
    return refused(Code.SHARD_MAP_MISMATCH, f"{reason}: who sits in which shard is not what was committed")


def _too_large(found: str, limit: str, name: str) -> RecordError:
    return refused(
        Code.SIZE_LIMIT, f"the schedule asks for {found}, the limit is {limit}: raise limit {name}, or refuse it"
    )
