"""A model in a folder of its own: weights under their owner's names, and all that is needed to give it rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import read_bytes, write_text
from expunge.core.version import __version__
from expunge.data.handed import AnyData, Names
from expunge.models.accumulated import Accumulated
from expunge.models.ensemble import Ensemble, MeanAnswer
from expunge.models.front import Front, Fronted
from expunge.models.resolver import build_empty, given_to, resolve
from expunge.records.document import read_document, seal, write_document
from expunge.records.model_file import Behind, InFront, ModelFile
from expunge.records.run_file import RunFile
from expunge.schedule.recipe import Recipe
from expunge.train.accumulate import accumulated_model
from expunge.train.answering import Answering, Predictions
from expunge.train.handed_over import take_up
from expunge.train.state import Tensors, copied, read_tensors, tensors_digest, write_tensors

WEIGHTS, README = "model.safetensors", "README.txt"
UNREAD = ("location", "rows", "subject", "split")  # what rows to come need not be told
BUCKETS = """
Words are hashed: a category counts 1 in one bucket of its column, a text log(1 + n) in that of each word (lower-cased
runs of letters, digits and underscores) that it has n times. The bucket is the first 8 bytes, little-endian, of
SHA-256("expunge/bucket/1" + named(column) + named(word)) modulo the column's buckets, where named(text) is its length
in UTF-8 as 8 bytes, little-endian, and the text. Numbers and dates (days since 1970) come first, then the buckets of
each hashed column, both in the order of the recipe's columns.
"""
MAPPED = """
Rows go through a map to whole numbers, whose constants are the tensors that begin with "map_". Some were derived from
rows of people: of a table they are the least and the greatest value of each number.
"""
OF_CLASSES = 'Class number k of its answers is entry k of "classes" in the recipe.'
OF_NUMBERS = (
    'Its answer, times "unit" and plus "mean" of "back" where these stand, is a number in the units of the labels.'
)
PAGE = """A model, exported by Expunge {version}. model.json says how it is given rows; what follows says it in words.

{how}

{answers} In front of the model stands what "front" says:
(entries * scale - mean) / std, one mean for all entries, for each channel (images are channels first), or for each of
the first entries of a row.
{buckets}
The run says: {says} Nothing in this folder proves that; a signed record does (`expunge attest` on the run).

The weights and the means in "front" were made of rows of people, and may tell something of them. Beside these stand
the names of columns and of classes as the owner's data spell them; no value of a row, no id, no person's name.
"""

LARGEST_ROW = 2**24  # numbers in one row that an exported model may ask for
LEAST = 4096  # an option may be as large as that, however few weights there are


@dataclass(frozen=True)
class ExportedModel:
    """A folder that ``export`` wrote, and what its model.json says.

    ``trusted`` names the factory that may be called: the folder alone names none that is.
    """

    path: Path
    told: ModelFile
    trusted: str | None = None

    @classmethod
    def open(cls, path: PathLike[str] | str, trusted: str | None = None) -> ExportedModel:
        """Open an exported model; anything missing or altered is refused in one sentence."""
        folder = Path(path)
        file = folder / ModelFile.NAME
        found = cls(folder, read_document(ModelFile, read_bytes(file, "the model"), str(file), RunError), trusted)
        if tensors_digest(found._tensors()).hex() != found.told.weights:
            raise RunError(f"{found.path / WEIGHTS} does not hold the weights of its {ModelFile.NAME}: it was altered")
        found._check_size()
        if not found.recipe.is_foreign:
            assert found.model is not None, "whatever cannot be built is refused here and not at the first answer"
        return found

    def _check_size(self) -> None:
        """No part of a model is larger than all its weights together: what says so would only eat memory."""
        recipe, numbers = self.recipe, sum(value.numel() for value in self._tensors().values())
        inputs = math.prod(recipe.inputs.shape)
        options = (option for option in recipe.model_options.values() if isinstance(option, int))
        large = max((recipe.shards, len(recipe.classes), *options))
        if not recipe.inputs.columns or inputs > LARGEST_ROW or large > max(numbers, LEAST):
            raise self._altered("in the recipe")

    @cached_property
    def recipe(self) -> Recipe:
        return Recipe.from_json(self.told.recipe)

    @cached_property
    def model(self) -> nn.Module:
        """The module with what stands in front of it and behind, in eval mode: encoded rows in, answers out."""
        if self.recipe.is_foreign and self.trusted != self.recipe.model:
            raise InvalidArgument(
                f"{self.path} names a factory of somebody's, {self.recipe.model!r}, which would be imported and called "
                "with options that stand there: give it as `model` if it is the one that you trust"
            )
        tensors, members = self._tensors(), []
        if self.recipe.accumulated:
            return accumulated_model(self.recipe, self.path / WEIGHTS, self.told.weights)
        if len(self.told.front) > self.recipe.shards:
            raise self._altered()
        for place, told in enumerate(self.told.front):
            try:
                member = build_empty(self.recipe)
            except (RuntimeError, ArithmeticError, ValueError, MemoryError) as error:
                raise self._altered("in the recipe") from error
            prefix = _prefix(self.recipe, place)
            own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            take_up(member.body, own, self.recipe.model)
            self._set_front(member.front, told)
            members.append(member)
        backs = [member.back for member in members if member.back is not None]
        if len(backs) != len(self.told.back or ()):
            raise self._altered("behind")
        for back, behind in zip(backs, self.told.back or (), strict=True):
            back.take_up(behind.mean, behind.unit)
        if self.recipe.shards == 1:
            return members[0].eval()
        return (Ensemble(members, self.recipe.voting) if self.recipe.classes else MeanAnswer(members)).eval()

    @property
    def answering(self) -> Answering:
        return Answering(self.recipe, self.told.reading, "cpu", self.model.to)

    def predict(self, data: AnyData, *, id: str | Names | None = None) -> Predictions:
        """What it answers to rows, as the run that it was exported from does."""
        return self.answering.predict(data, id=id)

    def score(self, data: AnyData, *, label: str | None = None) -> dict[str, float]:
        """How well it answers rows whose labels are there."""
        return self.answering.score(data, label=label)

    def _tensors(self) -> Tensors:
        return read_tensors(self.path / WEIGHTS)

    def _set_front(self, front: Front, told: InFront) -> None:
        """Take up the running statistics; what is constant must be what the recipe says."""
        statistics = front.statistics()
        if statistics is None:
            fits = told == in_front(front)
        elif fits := told.scale == 1.0 and len(told.mean) == front.standardised:
            mean, variance, small = statistics
            mean.copy_(torch.tensor(told.mean))
            variance.copy_((torch.tensor(told.std, dtype=torch.float64).square() - small).clamp(min=0))
        if not fits:
            raise self._altered()

    def _altered(self, where: str = "in front") -> RunError:
        return RunError(
            f"{self.path / ModelFile.NAME}: what stands {where} is not what the recipe asks for: it was altered"
        )


def in_front(front: Front) -> InFront:
    """What a front does to rows, in constants."""
    statistics = front.statistics()
    if statistics is not None:
        mean, variance, small = statistics
        deviation = (variance.double() + small).sqrt()
        return InFront(scale=1.0, mean=tuple(mean.tolist()), std=tuple(deviation.tolist()))
    if front.mean is None or front.std is None:
        return InFront(scale=front.scale, mean=(0.0,), std=(1.0,))
    means, deviations = torch.broadcast_tensors(front.mean.flatten(), front.std.flatten())
    return InFront(scale=front.scale, mean=tuple(means.tolist()), std=tuple(deviations.tolist()))


def export(recipe: Recipe, model: nn.Module, told: RunFile, out: Path | str) -> ExportedModel:
    """Write the model of a run into a folder of its own; model.json last, so that half a folder is none."""
    folder = Path(out)
    members = list(model.shards) if isinstance(model, Ensemble | MeanAnswer) else [model]
    tensors: Tensors = {}
    fronts: list[InFront] = []
    backs: list[Behind] = []
    if isinstance(model, Accumulated):
        tensors, fronts, members = copied(model.state_dict()), [InFront(scale=1.0, mean=(0.0,), std=(1.0,))], []
    for at, member in enumerate(members):
        assert isinstance(member, Fronted)
        fronts.append(in_front(member.front))
        if member.back is not None:
            backs.append(Behind(mean=float(member.back.mean), unit=float(member.back.unit)))
        prefix = _prefix(recipe, at)
        tensors |= {prefix + name: value for name, value in copied(member.body.state_dict()).items()}
    assert told.result is not None
    file = seal(
        ModelFile(
            how=_how(recipe, len(fronts)),
            recipe=recipe.as_json(),
            reading=_reading(told),
            front=tuple(fronts),
            back=tuple(backs) or None,
            weights=tensors_digest(tensors).hex(),
            trained=told.result.weights_digest,
            dataset_root=told.dataset_root,
            guarantee=told.result.guarantee,
            says=_says(told),
        )
    )
    _check_place(folder, file)
    write_tensors(folder / WEIGHTS, tensors)
    buckets = MAPPED if recipe.accumulated else BUCKETS if recipe.inputs.hashed else ""
    answers = OF_CLASSES if recipe.classes else OF_NUMBERS
    page = PAGE.format(version=__version__, how=file.how, answers=answers, buckets=buckets, says=file.says)
    write_text(folder / README, page)
    write_text(folder / ModelFile.NAME, write_document(file))
    return ExportedModel(folder, file, recipe.model)


def _prefix(recipe: Recipe, shard: int) -> str:
    """What stands before the owner's names where several models answer as one."""
    return f"shards.{shard}." if recipe.shards > 1 else ""


def _check_place(folder: Path, file: ModelFile) -> None:
    """A new folder, or one that holds this very export or a part of it."""
    there = {item.name for item in folder.iterdir()} if folder.is_dir() else set[str]()
    same = ModelFile.NAME not in there or ExportedModel.open(folder).told.digest == file.digest
    if not same or (folder.exists() and not folder.is_dir()) or there - {WEIGHTS, README, ModelFile.NAME}:
        raise RunError(f"{folder} holds something else already: choose another `out`")


def _reading(told: RunFile) -> dict[str, Any]:
    """How columns are read, as the run's source says it."""
    known = told.data.source or told.data.held or {}
    return {name: value for name, value in known.items() if name not in UNREAD and value not in (None, False, [])}


def _says(told: RunFile) -> str:
    """Its guarantee in words."""
    assert told.result is not None
    forgot = "" if told.method is None else f"it forgot {len(told.tombstones)} rows by {told.method.name}; "
    whose = "it was trained elsewhere, on its owner's word; " if told.adopted is not None else ""
    refused = "" if told.result.exact_refused is None else f" (not exact: {told.result.exact_refused})"
    return f"{whose}{forgot}guarantee {told.result.guarantee}{refused}."


def _how(recipe: Recipe, members: int) -> str:
    """One line that says how to run it."""
    named = f", model={recipe.model!r}" if recipe.is_foreign else ""
    opened = f"model = expunge.load(FOLDER{named}); model.predict(rows)"
    if not recipe.is_foreign:
        return f"{opened}, in Python with Expunge"
    module, _, factory = recipe.model.partition(":")
    given = given_to(resolve(recipe.model)[0], recipe)
    made = f"{factory}({', '.join(f'{name}={value!r}' for name, value in given.items())})"
    vote = f"probabilities vote by {recipe.voting.value}" if recipe.classes else "numbers are averaged"
    shards = f", for each of {members} shards, whose {vote} (the names of shard N begin with 'shards.N.')"
    which = shards if recipe.shards > 1 else ""
    return (
        f"from {module} import {factory}; from safetensors.torch import load_file; model = {made}; "
        f"model.load_state_dict(load_file('{WEIGHTS}')); model.eval(){which}; or with Expunge {opened}"
    )
