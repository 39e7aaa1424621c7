"""What bundles that lie beside runs still hold of forgotten rows: weights, states and the trace of an older record.

A bundle stays a bundle without them: its record names weights by their digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.data.splits import Split
from expunge.hygiene.holdings import Holding, whole
from expunge.hygiene.places import forgotten_rows
from expunge.records.bundle import ENVELOPE, MODEL, RECIPE, TRAINED, Bundle, holding_rows, open_bundle
from expunge.records.holds import Named, Remedy
from expunge.records.record import RunRecord
from expunge.records.statement import read_unchecked
from expunge.schedule.recipe_file import read_recipe
from expunge.schedule.seats import first_steps
from expunge.train.run import Run


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
        files = _holding(bundle, record, run, held) if len(held) else []
        if files and path.is_file():
            names = [named.name for named in files]
            yield Holding(
                path=path,
                what=f"a bundle as a zip: {', '.join(names[:3])}{', …' if len(names) > 3 else ''}",
                why=f"{TRAINED}; remove the zip yourself, or write it again without them",
                slots=len(held),
                bytes=path.stat().st_size,
                remedy=Remedy.OWNER,
            )
            return
        for named in files:
            digest = statement.digest if named.name == MODEL else bundle.digest(named.name)
            yield whole(path / named.name, named, len(held), digest.hex())


def _of_kin(path: Path, bundle: Bundle, record: RunRecord, run: Run, other: Run) -> Iterator[Holding]:
    """A bundle of the same rows under another commitment."""
    seats = other.commitment.source_rows(Split.TRAIN, np.arange(len(other.commitment.leaves[Split.TRAIN.code])))
    held = np.setdiff1d(np.intersect1d(seats, forgotten_rows(run)), seats[list(record.data.tombstones)])
    if len(held) and any(holding_rows(bundle.names)):
        yield Holding(
            path=path,
            what="a bundle of another commitment of the same data",
            why=f"{TRAINED}; remove its weights, states and trace yourself",
            slots=len(held),
            bytes=sum(bundle.size(name) for name in bundle.names),
            remedy=Remedy.OWNER,
        )


def _holding(bundle: Bundle, record: RunRecord, run: Run, held: np.ndarray) -> list[Named]:
    """The files that came after the first step with one of the slots; all states where that is not known."""
    first = _first_steps(bundle, record, run, held)
    found = holding_rows(bundle.names)
    return [named for named in found if named.step is None or named.step > first.get(named.shard or 0, -1)]


def _first_steps(bundle: Bundle, record: RunRecord, run: Run, held: np.ndarray) -> dict[int, int]:
    """By shard the first step with one of the slots, or a number behind every step where none sits there."""
    if RECIPE not in bundle or record.checkpoints is None:
        return {}
    try:
        recipe = read_recipe(bundle.read(RECIPE), RECIPE, bundle.limits)
        if recipe.digest != record.recipe or recipe.perturbation:
            return {}
        schedule = run.schedule_of(recipe, record.randomness.beacon.value)
    except ExpungeError:
        return {}
    steps = {shard: first_steps(schedule, shard, held) for shard in range(schedule.shards)}
    return {shard: int(found.min()) if len(found) else schedule.total_steps(shard) for shard, found in steps.items()}
