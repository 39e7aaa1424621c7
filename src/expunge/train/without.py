"""Training on everything but some rows: which they are, what run.json says of them, and a run that is there already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.beacon import Beacon
from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.data.commitment import Commitment, tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, choose, released
from expunge.data.handed import HandedData
from expunge.data.source import Source
from expunge.data.splits import SPLITS
from expunge.records.run_file import RunFile, TrainRequest
from expunge.records.scalars import Slots
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.folder import sound
from expunge.train.log import RunLog
from expunge.train.perturbation import commitment_of, read_key
from expunge.train.run import Run, slots_by_split
from expunge.train.shards import anybody

Without = Sequence[str] | str | ForgetSet | None
IN_WORDS = ("subject:", "class:", "random:")  # rules whose text alone says which rows of a data set are meant
GIVEN_KEY = (
    "the noise was drawn under a key that was given: whoever holds this model beside another one of the same key and "
    "seed can take the noise out, so publish one of them only"
)


@dataclass(frozen=True)
class LeftOut:
    """The chairs that stay empty from the first step, and what is written down about them."""

    forget: ForgetSet | None
    released: Mapping[str, Sequence[int]]

    @property
    def slots(self) -> np.ndarray:
        return np.zeros(0, dtype=np.int64) if self.forget is None else self.forget.slots

    @property
    def request(self) -> str | None:
        """What it adds to the request: the digest of the slots; None where nobody is left out."""
        return None if self.forget is None else tombstones_digest(self.slots).hex()

    def begun(self, told: RunFile) -> RunFile:
        """run.json with the chairs that stay empty."""
        told = replace(told, tombstones=Slots(tuple(self.slots.tolist())), released=slots_by_split(self.released))
        if self.forget is None:
            return told
        return replace(told, forgotten=len(self.forget), rules=self.forget.rules, trajectory="recorded")

    def earned(self, told: RunFile, recipe: Recipe, schedule: Schedule, given_key: bool) -> RunFile:
        """run.json with what the finished run says beside what every training says."""
        if self.forget is None:
            return told
        return replace(
            told,
            training_example_steps=schedule.work(np.zeros(0, dtype=np.int64), least_present=recipe.least_present),
            notices=(GIVEN_KEY,) if given_key and recipe.perturbation else (),
        )

    def check(self, recipe: Recipe, schedule: Schedule) -> None:
        """Rows so few that no step can be taken on them are no training set."""
        if self.forget is None:
            return
        if not any(anybody(recipe, schedule, shard, self.slots) for shard in range(schedule.shards)):
            raise RunError(
                "fewer rows remain than a step needs: nothing can be trained on them; leave out fewer, or add rows"
            )

    def write(self, folder: Path) -> None:
        if self.forget is not None:
            self.forget.write(folder)

    def ask(self, folder: Path, commitment: Commitment) -> None:
        """The request that these chairs are emptied for, into the run's log; before any training no model is asked."""
        if self.forget is not None:
            root = commitment.root.hex()
            RunLog(folder / "log.jsonl").add_request(slots=self.slots.tolist(), root=root, model=None)


def leave_out(without: Without, dataset: Dataset, commitment: Commitment) -> LeftOut:
    """Resolve the rules against the training rows, as ``unlearn`` does."""
    if without is None:
        return LeftOut(None, {})
    rows = {split: dataset.take(np.flatnonzero(commitment.assignment == split.code)) for split in SPLITS}
    train, root = rows[SPLITS[0]], commitment.root.hex()
    if isinstance(without, ForgetSet):
        found = without
        if found.root != root:
            raise InvalidArgument(
                f"the forget set belongs to the data set {found.root[:12]}…, these rows are the data set "
                f"{root[:12]}…: choose it from these rows"
            )
        if len(found) == 0 or int(found.slots[-1]) >= len(train) or len(found) == len(train):
            raise InvalidArgument(
                f"the forget set names {len(found)} slots of {len(train)} training rows: some must go, some must stay"
            )
    else:
        rules = _listed(without)
        if not rules:
            raise InvalidArgument("without names nobody: leave it out, or name rows such as subject:NAME")
        found = choose(rules, train, root=root, forgotten=np.zeros(0, dtype=np.int64))
    return LeftOut(found, released(found.rules, rows, {}))


def answered(
    folder: Path,
    without: Without,
    data: HandedData,
    recipe_of: Callable[[Run], Recipe],
    *,
    split_seed: int,
    split_by: str,
    device: str,
    noise_key: Path | str | None,
    salts: Path | str | None,
    beacon: Beacon,
) -> Run | None:
    """The finished run of the very same words. The rows it left out may rightly be gone from the data by then."""
    if without is None or not (folder / "run.json").is_file():
        return None
    found = Run.open_any(folder)
    told, described, request = found.told, found.told.data, found.told.request
    same = (
        told.status == "finished"
        and isinstance(request, TrainRequest)
        and _same_rows(found, without)
        and described.source == _place(data, described.source)
        and (described.split_seed, described.split_by, request.device) == (split_seed, split_by, device)
        and (noise_key is None or commitment_of(read_key(noise_key)) == told.noise_commitment)
        and request.beacon == beacon.value.hex()
        and (salts is None) == (not described.secret)
        and recipe_of(found) == found.recipe
    )
    if not same:
        return None
    try:
        found.data(data if data.source is None else None, salts=salts)
    except DataError:  # other data: the ordinary way says in which respect
        return None
    return sound(found)


def _place(data: HandedData, described: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Where the data lie, with what was found of them when they were read first."""
    if data.source is None:
        return None
    return (data.source if described is None else data.source.with_found(Source.from_json(described))).as_json()


def _same_rows(found: Run, without: Sequence[str] | str | ForgetSet) -> bool:
    if isinstance(without, ForgetSet):
        return without.root == found.root.hex() and np.array_equal(without.slots, found.tombstones)
    rules = _listed(without)
    return found.told.rules == tuple(rules) and all(rule.startswith(IN_WORDS) for rule in rules)


def _listed(without: Sequence[str] | str) -> list[str]:
    return [without] if isinstance(without, str) else list(without)
