"""What bundles that lie beside runs still hold of forgotten rows: weights, states and the trace of an older record.

A bundle stays a bundle without them: its record names weights by their digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.data.splits import Split
from expunge.hygiene.holdings import CHECKPOINT, Holding, Remedy
from expunge.hygiene.places import forgotten_rows
from expunge.records.bundle import ENVELOPE, Bundle, open_bundle
from expunge.records.record import RunRecord
from expunge.records.statement import read_unchecked
from expunge.schedule.recipe_file import read_recipe
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import first_steps
from expunge.train.run import Run

MODEL, TRACE, RECIPE, STATES = "model.safetensors", "trace.bin", "recipe.json", "checkpoints/"
WHY = "the run that it is of was trained on them"


def bundle_holdings(
    path: Path, run: Run, forgotten: np.ndarray, kin: Mapping[bytes, Run] | None = None
) -> Iterator[Holding]:
    """Files of a bundle of the run's data set that hold some of these slots; of a zip, the zip itself.

    ``kin`` are runs of the same data under other roots, by root: a bundle of one of these is its owner's.
    """
    with open_bundle(path) as bundle:
        statement = read_unchecked(bundle.read(ENVELOPE), ENVELOPE, bundle)
        record = statement.predicate
        if not isinstance(record, RunRecord):
            return
        if record.data.root != run.root:
            if kin is not None and record.data.root in kin:
                yield from _of_kin(path, bundle, record, run, kin[record.data.root])
            return
        held = np.setdiff1d(forgotten, np.array(record.data.tombstones, dtype=np.int64))
        names = _holding(bundle, record, run, held) if len(held) else []
        if names and path.is_file():
            yield Holding(
                path=path,
                what=f"a bundle as a zip: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}",
                why=f"{WHY}; remove the zip yourself, or write it again without them",
                slots=len(held),
                digest=None,
                bytes=path.stat().st_size,
                remedy=Remedy.OWNER,
            )
            return
        for name in names:
            yield Holding(
                path=path / name,
                what={MODEL: "model in a bundle: weights", TRACE: "trace in a bundle: digests of losses"}.get(
                    name, f"state in a bundle: {Path(name).stem}"
                ),
                why=WHY,
                slots=len(held),
                digest=statement.digest.hex() if name == MODEL else bundle.digest(name).hex(),
                bytes=bundle.size(name),
                remedy=Remedy.REMOVE,
            )


def _of_kin(path: Path, bundle: Bundle, record: RunRecord, run: Run, other: Run) -> Iterator[Holding]:
    """A bundle of the same rows under another commitment."""
    seats = other.commitment.source_rows(Split.TRAIN, np.arange(len(other.commitment.leaves[Split.TRAIN.code])))
    held = np.setdiff1d(np.intersect1d(seats, forgotten_rows(run)), seats[list(record.data.tombstones)])
    if len(held) and any(name in (MODEL, TRACE) or name.startswith(STATES) for name in bundle.names):
        yield Holding(
            path=path,
            what="a bundle of another commitment of the same data",
            why=f"{WHY}; remove its weights, states and trace yourself",
            slots=len(held),
            digest=None,
            bytes=sum(bundle.size(name) for name in bundle.names),
            remedy=Remedy.OWNER,
        )


def _holding(bundle: Bundle, record: RunRecord, run: Run, held: np.ndarray) -> list[str]:
    """Names of the files that came after the first step with one of the slots; all states where that is not known."""
    found = [name for name in (MODEL, TRACE) if name in bundle]
    first = _first_steps(bundle, record, run, held)
    for name in bundle.names:
        named = CHECKPOINT.match(name.removeprefix(STATES)) if name.startswith(STATES) else None
        if named is not None and int(named["step"]) > first.get(int(named["shard"]), -1):
            found.append(name)
    return found


def _first_steps(bundle: Bundle, record: RunRecord, run: Run, held: np.ndarray) -> dict[int, int]:
    """By shard the first step with one of the slots, or a number behind every step where none sits there."""
    if RECIPE not in bundle or record.checkpoints is None:
        return {}
    try:
        recipe = read_recipe(bundle.read(RECIPE), RECIPE, bundle.limits)
        if recipe.digest != record.recipe or recipe.perturbation:
            return {}
        schedule = Schedule.of(recipe, run.root, run.units, record.randomness.beacon.value)
    except ExpungeError:
        return {}
    steps = {shard: first_steps(schedule, shard, held) for shard in range(schedule.shards)}
    return {shard: int(found.min()) if len(found) else schedule.total_steps(shard) for shard, found in steps.items()}
