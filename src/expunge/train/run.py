"""A run on disk: a plain folder with run.json, the commitment, checkpoints, weights and a log.

What of it is read without its model needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from expunge.core.beacon import GIVEN, ZERO, Beacon
from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import link_or_copy, read_bytes, write_text
from expunge.core.hashing import parse_json
from expunge.core.values import Guarantee
from expunge.core.wording import choice
from expunge.data.commitment import Commitment, open_again
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, read_forget_set
from expunge.data.handed import AnyData, GivenData, HandedData, Names, hand_over
from expunge.data.parts import parts_of
from expunge.data.salts import Salts, salts_of
from expunge.data.splits import Split
from expunge.data.stored import read_commitment, read_tiers, read_units
from expunge.records.declaration import RetiredFile
from expunge.records.document import read_document, write_document
from expunge.records.documents import BASE, TRACE
from expunge.records.forget_file import ForgetFile
from expunge.records.model_file import ModelFile
from expunge.records.run_file import Forgetting, Result, RunFile
from expunge.records.scalars import Slots
from expunge.schedule.fields import require_kind
from expunge.schedule.recipe import Recipe
from expunge.schedule.schedule import Schedule
from expunge.train.described import counts_of
from expunge.train.log import RunLog
from expunge.train.trace import Trace

if TYPE_CHECKING:
    import torch
    from torch import nn

    from expunge.train.answering import Answering, Predictions
    from expunge.train.export import ExportedModel

OF_A_MODEL = ("model", "model_options", "task", "classes", "inputs")  # fields of a recipe
COMMITTED = "committed"  # status of a folder that holds data and recipe, fixed, and no training yet


@dataclass(frozen=True)
class Run:
    """A folder and what its run.json says."""

    path: Path
    told: RunFile

    def __fspath__(self) -> str:
        """The folder: wherever a run's folder may be named, the run itself may stand."""
        return str(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.told.operation}, {self.told.status})"

    def _repr_html_(self) -> str:
        return self.told.table.as_html()

    @classmethod
    def open(cls, path: PathLike[str] | str) -> Run:
        """Open a finished run; anything missing or altered is refused in one sentence."""
        run = cls.open_any(path)
        if run.told.status == COMMITTED:
            raise run._untrained()
        if run.told.status != "finished":
            raise run._unfinished()
        return run

    @classmethod
    def of(cls, run: Run | Path | str, name: str = "run") -> Run:
        """A run as it was handed over, itself or by its folder; ``name`` is the argument's."""
        require_kind(name, run, (Run, str, PathLike), "a run, or its folder")
        return run if isinstance(run, Run) else cls.open(run)

    @classmethod
    def open_any(cls, path: PathLike[str] | str) -> Run:
        """Open a run whatever its state."""
        folder = Path(path)
        if (folder / ModelFile.NAME).is_file() and not (folder / RunFile.NAME).is_file():
            raise RunError(
                f"{folder} is an exported model and no run: use the run that it was exported from, or take its weights "
                "over with `expunge adopt`; it answers rows by `expunge predict`"
            )
        if not (folder / RunFile.NAME).is_file():
            raise RunError(f"{folder} is not a run: it has no run.json; `expunge.train(…, out={folder})` makes one")
        content = parse_json(read_bytes(folder / RunFile.NAME, "the run"))
        told = content if isinstance(content, dict) else {"format": content}
        return cls(folder, read_document(RunFile, told, str(folder / RunFile.NAME), RunError))

    def _untrained(self) -> RunError:
        return RunError(
            f"{self.path} holds a commitment and no model so far: run its training command without `commit_only`, and "
            "with `beacon` if one was drawn since"
        )

    def forgot_nothing(self) -> InvalidArgument:
        """What is said where a run that forgot is asked for."""
        what = "was adopted" if self.told.operation == "adopt" else "is a training"
        return InvalidArgument(f"{self.path} {what}, it forgot nothing: name a run that `expunge unlearn` made")

    def _unfinished(self) -> RunError:
        return RunError(
            f"{self.path} was interrupted or failed: run its command again, and it continues or says why not"
        )

    @cached_property
    def recipe(self) -> Recipe:
        recipe = Recipe.from_json(self.told.recipe)
        if recipe.digest.hex() != self.told.recipe_digest:
            raise RunError(f"{self.path}: the recipe does not match its digest: run.json was altered")
        if recipe.base is not None and (self.path / BASE).is_file():
            from expunge.models.base import offer

            offer(self.path / BASE, recipe.base)
        return recipe

    def has_recipe_of(self, other: Run) -> bool:
        """Whether both are of one recipe but for the seed; where both were trained elsewhere, of one model and rows.

        What an owner tells of a training, or does not tell, is no part of what is compared.
        """
        one, another = self.recipe, other.recipe
        if self.told.adopted is None or other.told.adopted is None:
            return replace(one, seed=0) == replace(another, seed=0)
        return all(getattr(one, name) == getattr(another, name) for name in OF_A_MODEL)

    @cached_property
    def commitment(self) -> Commitment:
        """Leaves and splits; roots and counts must be those in run.json."""
        found = read_commitment(self.path, self.told.data.roots)
        if counts_of(found) != replace(self.told.data.counts, rest={}):
            raise RunError(f"{self.path}: run.json counts other rows than there are leaves: it was altered; restore it")
        return found

    @property
    def root(self) -> bytes:
        return bytes.fromhex(self.told.dataset_root)

    @property
    def lineage_seed(self) -> str:
        """Of the schedule, in hexadecimal."""
        if self.told.lineage_seed is None:
            raise self._untrained()
        return self.told.lineage_seed

    @property
    def beacon(self) -> bytes:
        return self.beacon_described.value

    @cached_property
    def beacon_described(self) -> Beacon:
        """The beacon and where it is from; a run of an older version says the value alone."""
        value, described = self.told.beacon, self.told.beacon_described
        if value is None:
            raise self._untrained()
        if described is None:
            return ZERO if value == ZERO.value.hex() else Beacon(value=bytes.fromhex(value), source=GIVEN)
        if described.value.hex() != value:
            raise RunError(f"{self.path}: two beacons are named: run.json was altered; restore it")
        return described

    @property
    def trace(self) -> Trace:
        """What was recorded of every step; a run of an older version has losses or nothing."""
        named = self.told.trace
        if named is None:
            return Trace.LOSSES if (self.path / TRACE).is_dir() else Trace.OFF
        return choice(Trace, named, f"{self.path / 'run.json'}: trace")

    @cached_property
    def units(self) -> np.ndarray:
        return read_units(self.path)

    @cached_property
    def tiers(self) -> np.ndarray | None:
        """Tier of every unit; None where the recipe deals by nothing of the kind."""
        return None if self.recipe.tiers is None else read_tiers(self.path, self.recipe.tiers)

    @cached_property
    def schedule(self) -> Schedule:
        return self.schedule_of(self.recipe)

    def schedule_of(self, recipe: Recipe, beacon: bytes | None = None) -> Schedule:
        """Who would sit where under another recipe, and perhaps another beacon, on the same data."""
        return Schedule.of(recipe, self.commitment.root, self.units, beacon or self.beacon, self.tiers)

    @cached_property
    def tombstones(self) -> np.ndarray:
        """Every slot that this run has forgotten, its ancestors' included."""
        return np.array(self.told.tombstones, dtype=np.int64)

    @property
    def released(self) -> dict[Split, list[int]]:
        """Calibration and holdout slots of people forgotten by name: their rows may be gone as well."""
        return {Split(name): list(slots) for name, slots in self.told.released.items()}

    @property
    def result(self) -> Result:
        """What it came to; a run that is not finished has come to nothing."""
        if self.told.result is None:
            raise self._unfinished()
        return self.told.result

    @property
    def forgetting(self) -> Forgetting:
        """How it forgot; a training forgot nothing."""
        if self.told.forgetting is None:
            raise self.forgot_nothing()
        return self.told.forgetting

    @property
    def guarantee(self) -> Guarantee:
        return self.result.guarantee

    @property
    def weights_digest(self) -> str:
        return self.result.weights_digest

    @property
    def method(self) -> str | None:
        """Name of the method that made it; None for a training."""
        return None if self.told.method is None else self.told.method.name

    @cached_property
    def forget_set(self) -> ForgetSet:
        """What this run forgot, or was trained without; a plain training forgot nothing."""
        if self.told.operation != "unlearn" and not self.told.tombstones:
            raise self.forgot_nothing()
        return read_forget_set(read_bytes(self.path / ForgetFile.NAME, "the forget set"))

    @cached_property
    def parent(self) -> Run:
        """The run that this one came from; it must still be the one it was."""
        described = self.told.parent
        if described is None:
            what = "was adopted" if self.told.operation == "adopt" else "is a training"
            raise InvalidArgument(f"{self.path} {what}, it has no parent: name the original with `original`")
        candidates = (Path(described.path), self.path / described.relative)
        for candidate in candidates:
            if (candidate / "run.json").is_file():
                parent = Run.open(candidate)
                if parent.weights_digest == described.weights_digest:
                    return parent
        raise RunError(
            f"the parent of {self.path} is no longer at {described.path} with weights "
            f"{described.weights_digest[:12]}…: put it back there, or name it where a command takes `original`"
        )

    @property
    def exact_ancestor(self) -> Run:
        """The nearest run that training or an exact method made, or that was adopted: no other is replayed from."""
        return self if self.told.recorded or self.told.operation == "adopt" else self.parent.exact_ancestor

    @property
    def log(self) -> RunLog:
        return RunLog(self.path / "log.jsonl", writer=False)

    def salts(self, moved: Path | str | None = None) -> Salts:
        """Open ones, or those of the salt file; ``moved`` is where it lies now."""
        return salts_of(self.told.data, moved)

    def data(
        self,
        override: GivenData = None,
        *,
        salts: Path | str | None = None,
        gone: Sequence[int] = (),
    ) -> Mapping[Split, Dataset]:
        """Read the data again and check each row against its leaf; ``salts`` is where a salt file lies now.

        Rows that were forgotten may be missing, and so may those of the training slots that are named as ``gone``.

        Splits that were opened before are returned as they are: whoever hands them over vouches that they are what an
        earlier call with this commitment and these tombstones gave.
        """
        if isinstance(override, Mapping) and Split.TRAIN in override:
            return cast("Mapping[Split, Dataset]", override)
        salted = self.salts(salts)
        if self.told.data.in_parts and (override is None or isinstance(override, str | Path)):
            return self._from_parts(None if override is None else str(override), salted)
        described = self.told.data.source
        if described is None and override is None:
            raise DataError(self._in_memory())
        if override is None and described is not None:
            override = str(described.get("location"))
        handed = override if isinstance(override, HandedData) else hand_over(override)
        handed = handed.filled(described or self.told.data.held)
        found = handed.read(self.recipe.inputs.columns, self.recipe.classes)
        missing = np.union1d(self.tombstones, np.array(gone, dtype=np.int64))
        return open_again(found, self.commitment, missing, self.released, cut=handed.cut, salts=salted)

    def _from_parts(self, moved: str | None, salts: Salts) -> Mapping[Split, Dataset]:
        """Rows of an adopted run, from both their places; ``moved`` is where those that it was trained on lie now."""
        found = parts_of(self.told.data, moved).again(self.recipe.inputs.columns, self.recipe.classes)
        return open_again(found, self.commitment, self.tombstones, self.released, salts=salts)

    def _in_memory(self) -> str:
        if self.told.operation == "train" or self.told.adopted is None:
            return f"{self.path} was trained on data in memory: hand the same data over again with `data`"
        return (
            f"{self.path} was adopted with data in memory: hand the same rows over again with `data`, those of a "
            "holdout behind the others, as `expunge.data.parts.joined(data, holdout)` puts them"
        )

    def answering(self, device: str | None = None) -> Answering:
        """The model as it answers rows from outside; ``device`` is the run's own unless said."""
        from expunge.train.answering import Answering

        told = self.told.data
        return Answering(self.recipe, told.source or told.held or {}, device or self.told.device, self.model)

    def predict(self, data: AnyData, *, id: str | Names | None = None) -> Predictions:
        """What its model answers to rows in any form that ``train`` takes.

        A label is not needed, and columns that the model does not know are passed over. ``id`` names the rows, as in
        the run unless said.
        """
        return self.answering().predict(data, id=id)

    def score(self, data: AnyData, *, label: str | None = None) -> dict[str, float]:
        """How well it answers rows whose labels are there; ``label`` names their column, as in the run unless said."""
        return self.answering().score(data, label=label)

    def export(self, out: Path | str) -> ExportedModel:
        """Write its model into a folder of its own, with all that is needed to give it rows and nothing else."""
        from expunge.train.export import export

        return export(self.recipe, self.model(), self.told, out)

    def model(self, device: torch.device | str = "cpu") -> nn.Module:
        """The stored weights in a model of their recipe, in eval mode; their digest is checked."""
        from expunge.train.loading import load_model

        return load_model(self.recipe, self.model_file, self.weights_digest, self.result.alive, device)

    @property
    def retired(self) -> bool:
        """Whether its weights were destroyed, because they held rows that were forgotten since."""
        return (self.path / RetiredFile.NAME).is_file() and not (self.path / "model.safetensors").is_file()

    @property
    def model_file(self) -> Path:
        """Where the stored weights lie; a run whose weights were destroyed says so."""
        path = self.path / "model.safetensors"
        if self.retired:
            raise RunError(
                f"{self.path} was retired: its weights held rows that were forgotten since, and were destroyed; use "
                "the run that forgot them"
            )
        return path


def keep_base(folder: Path, recipe: Recipe) -> None:
    """Keep the weights that a recipe begins with beside the run, so that the folder stands alone."""
    from expunge.models.base import place_of_base

    if recipe.base is not None and not (folder / BASE).exists():
        link_or_copy(place_of_base(recipe.base), folder / BASE)


def write_run_file(path: Path, told: RunFile) -> None:
    """run.json, whole or not at all."""
    write_text(path / RunFile.NAME, write_document(told))


def slots_by_split(found: Mapping[str, Sequence[int]]) -> dict[str, Slots]:
    """Slots as run.json lists them."""
    return {name: Slots(tuple(slots)) for name, slots in found.items()}
