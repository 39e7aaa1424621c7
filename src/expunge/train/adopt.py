"""``adopt``: a model that was trained elsewhere becomes a run, on its owner's word for how and on what."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from expunge.core.beacon import ZERO
from expunge.core.errors import InvalidArgument, UnsupportedEver, UnsupportedYet
from expunge.core.hashing import sha256
from expunge.core.values import Cost, Empirical
from expunge.data.commitment import Commitment, commit
from expunge.data.dataset import ColumnKind, Dataset
from expunge.data.encoding import Preparation
from expunge.data.forget_set import ForgetSet
from expunge.data.handed import AnyData, HandedData, hand_over
from expunge.data.labels import LabelKind
from expunge.data.parts import RowParts, parted
from expunge.data.salts import OPEN
from expunge.data.source import Source
from expunge.data.splits import Split, SplitBy
from expunge.data.stored import write_commitment
from expunge.models.resolver import build_empty
from expunge.records.catalogue import NUMBER_TASKS
from expunge.records.run_file import AdoptRequest, DataFile, Learnt, OwnersWord, RunFile
from expunge.records.scalars import Slots
from expunge.schedule.fields import require_kind
from expunge.schedule.placement import number_units
from expunge.schedule.recipe import Calendar, Optimiser, Recipe, Scalar
from expunge.schedule.schedule import Schedule
from expunge.train.answers import check_answers, learnt
from expunge.train.described import described_data
from expunge.train.exactness import examine
from expunge.train.examples import Examples
from expunge.train.finish import finish_model
from expunge.train.folder import as_begun, finished_or_other, start_or_continue, writing
from expunge.train.handed_over import HandedOver, handed_over, take_up
from expunge.train.origins import ADOPTED, origins
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run, write_run_file
from expunge.train.state import Tensors, check_finite, tensors_digest
from expunge.train.trace import Trace
from expunge.train.training import make_recipe
from expunge.train.without import LeftOut, Without, leave_out

NO_SCHEDULE = "the model was trained elsewhere: who sat in which of its steps is not known"
ONE_EPOCH = 1  # of a recipe whose epochs nobody told: shares of the training are then epochs


def adopt(
    weights: HandedOver,
    data: AnyData,
    *,
    model: str | Callable[..., nn.Module],
    out: Path | str,
    holdout: AnyData | None = None,
    label: str | None = None,
    subject: str | None = None,
    id: str | None = None,
    split_column: str | None = None,
    split_seed: int = 0,
    without: Without = None,
    scale: float = 1.0,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    epochs: int | None = None,
    batch_size: int | None = None,
    rate: float | None = None,
    task: str = "classification",
    model_options: Mapping[str, Scalar] | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> Run:
    """Take over a model that was trained elsewhere, weights to the byte, and record what its owner says of it.

    ``weights`` is FILE.safetensors, a state dict or a module; ``model`` names the factory that makes the empty model.
    It is given rows as ``(entries · scale − mean) / std``, and nothing else stands in front of it. All rows of
    ``data`` were trained on, unless ``split_column`` says otherwise or ``without`` names rows that were left out.
    Rows of ``holdout`` were not: they are dealt 1:3 to calibration and holdout by ``split_seed``.

    ``epochs``, ``batch_size`` and ``rate`` are the owner's word. Budgets are shares of the training where its epochs
    are told, else they are epochs. The run and whatever comes of it is empirical at most.
    """
    for name, value, kinds, what in (
        ("out", out, (str, os.PathLike), "a folder"),
        ("split_seed", split_seed, (int,), "a whole number"),
        ("split_column", split_column, (str, type(None)), "a column's name"),
        ("without", without, (str, list, tuple, ForgetSet, type(None)), "rules such as subject:NAME"),
        ("scale", scale, (int, float), "a number"),
        ("rate", rate, (int, float, type(None)), "a number"),
        ("model_options", model_options, (Mapping, type(None)), "names with a value each"),
        ("device", device, (str,), "cpu or cuda"),
    ):
        require_kind(name, value, kinds, what)
    preparation = Preparation(scale, _several("mean", mean), _several("std", std))
    given, own = _given(data, holdout, split_column, label, subject, id), handed_over(weights)
    given, dataset, assignment = given.find(
        split_seed, LabelKind.NUMBERS if task in NUMBER_TASKS else LabelKind.CLASSES
    )
    _refuse_hashed(dataset)
    fields = {
        "preparation": preparation,
        "model": model,
        "model_options": dict(model_options or {}),
        "task": task,
        "threads": threads,
        "epochs": ONE_EPOCH if epochs is None else epochs,
        "optimiser": Optimiser(rate=rate or 0.0, momentum=0.0, weight_decay=0.0, calendar=Calendar.CONSTANT),
        **({} if batch_size is None else {"batch_size": batch_size}),
    }
    recipe = make_recipe(dataset, **as_begun(Path(out), fields))
    commitment = commit(dataset, assignment)
    training_rows = dataset.take(np.flatnonzero(assignment == Split.TRAIN.code))
    units = number_units(training_rows.subjects)
    schedule = Schedule.of(recipe, commitment.root, units, ZERO.value)
    left_out = leave_out(without, dataset, commitment)
    left_out.check(recipe, schedule)
    word = OwnersWord(weights=tensors_digest(own).hex(), epochs=epochs, batch_size=batch_size, rate=rate)
    described = described_data(
        given.data.source,
        commitment,
        OPEN,
        split_seed=split_seed,
        split_by=SplitBy.ROWS.value,
        held=given.data.held,
    )
    others = None if given.holdout is None or given.holdout.source is None else given.holdout.source.as_json()
    described = replace(described, holdout=others, split_column=split_column)
    told = _begun(recipe, described, word, left_out, device)
    examples = Examples(recipe, training_rows, find_device(device))
    present = np.setdiff1d(np.arange(len(examples)), left_out.slots)
    folder = Path(out)
    with pinned(recipe), writing(folder):
        done = finished_or_other(folder, told)
        if done is not None:
            return done
        taken = _taken_up(recipe, own)
        check_answers(recipe, taken.to(examples.device), examples, present)
        calibration = dataset.take(np.flatnonzero(assignment == Split.CALIBRATION.code))
        found = learnt(recipe, taken, examples, present, calibration)
        told = replace(
            told,
            environment=examine(recipe, schedule, examples, left_out.slots).environment,
            notices=(*_notices(word, commitment), *_said_of(found)),
            learnt=found,
        )
        start_or_continue(folder, told)
        write_commitment(folder, commitment, units)
        left_out.write(folder)
        write_run_file(folder, told)
        left_out.ask(folder, commitment)
        return finish_model(
            folder,
            told,
            taken,
            alive=(True,),
            guarantee=Empirical(),
            exact_refused=None,
            cost=Cost(0.0, 0.0),
            steps=0,
        )


@dataclass(frozen=True)
class _Parted:
    """Rows as they were handed over: in two places, or both in memory."""

    data: HandedData
    holdout: HandedData | None
    split_column: str | None

    def find(self, seed: int, kind: LabelKind) -> tuple[_Parted, Dataset, np.ndarray]:
        """All rows as they are read for the first time, the split code of each, and what was found of how to read."""
        if self.data.source is not None:
            others = None if self.holdout is None else self.holdout.source
            places, rows, codes = RowParts(self.data.source, others, self.split_column).find(seed, kind)
            beside = None if places.holdout is None else HandedData(places.holdout)
            return _Parted(HandedData(places.data), beside, self.split_column), rows, codes
        data, found = self.data.find(kind=kind)
        others = None
        if self.holdout is not None:
            known = tuple(column for column in found.columns if column.name != self.split_column)
            others = self.holdout.filled(data.held).read(known, found.classes)
        return replace(self, data=data), *parted(found, others, self.split_column, seed)


def _given(
    data: AnyData,
    holdout: AnyData | None,
    split_column: str | None,
    label: str | None,
    subject: str | None,
    id: str | None,
) -> _Parted:
    handed = hand_over(data, label=label, subject=subject, id=id)
    others = None if holdout is None else hand_over(holdout)
    if others is not None and (handed.source is None) != (others.source is None):
        raise InvalidArgument(
            "of the data and `holdout` one is a place and the other rows in memory: give both in one way"
        )
    if others is not None and handed.source is not None and not isinstance(holdout, Source):
        others = HandedData(replace(handed.source, location=others.said.location))
    for place in (handed, others):
        if place is not None and place.said.rows is not None:
            raise InvalidArgument(
                f"`rows` {place.said.rows} would leave out rows that the model was trained on: give a file of those it "
                "was trained on, or mark them in a column and name it with `split_column`"
            )
    return _Parted(handed, others, split_column)


def _several(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    given: Any = values
    found: tuple[Any, ...] = tuple(given) if isinstance(given, list | tuple | np.ndarray) else (given,)
    for value in found:
        require_kind(name, value, (int, float, np.number), "a number, or one a channel")
    return tuple(float(value) for value in found)


def _refuse_hashed(dataset: Dataset) -> None:
    """Buckets are an encoding of our own: no model that was trained elsewhere has seen them."""
    hashed = (ColumnKind.CATEGORY, ColumnKind.TEXT)
    odd = next((one for one in dataset.columns if one.kind in hashed), None)
    if odd is not None:
        raise UnsupportedYet(
            f"column {odd.name!r} holds {'categories' if odd.kind is ColumnKind.CATEGORY else 'text'}, which only the "
            "owner knows how to make numbers of: give the columns as the model is given them, as numbers"
        )


def _begun(recipe: Recipe, described: DataFile, word: OwnersWord, left_out: LeftOut, device: str) -> RunFile:
    """run.json of an adopted model as it begins."""
    told = RunFile(
        status="running",
        operation="adopt",
        request=AdoptRequest(
            recipe=recipe.as_json(), roots=described.roots, told=word, device=device, without=left_out.request
        ),
        recipe=recipe.as_json(),
        recipe_digest=recipe.digest.hex(),
        data=described,
        dataset_root=described.roots.train,
        beacon=ZERO.value.hex(),
        beacon_described=ZERO,
        beacon_note=NO_SCHEDULE,
        lineage_seed=sha256(b"expunge/adopted/1", bytes.fromhex(word.weights)).hex(),
        tombstones=Slots(()),
        released={},
        method=None,
        parent=None,
        preprocessing=origins(ADOPTED, recipe),
        environment=None,
        device=device,
        trace=Trace.OFF.value,
        adopted=word,
    )
    return replace(left_out.begun(told), trajectory="none")


def _taken_up(recipe: Recipe, weights: Tensors) -> nn.Module:
    model = build_empty(recipe)
    if model.unready is not None:
        raise UnsupportedEver(f"model {recipe.model!r} cannot be kept in named tensors: {model.unready}")
    take_up(model.body, weights, recipe.model)
    check_finite(weights)
    return model.eval()


def _notices(word: OwnersWord, commitment: Commitment) -> tuple[str, ...]:
    found = ["what it was trained on, and how, is its owner's word"]
    if word.epochs is None:
        found.append("its epochs are not told: a budget of an unlearning is said in epochs, 1 unless said")
    if not commitment.leaves[Split.HOLDOUT.code]:
        found.append("no holdout: whatever needs rows that were never trained on stays undecided; give `holdout`")
    return tuple(found)


def _said_of(found: Sequence[Learnt]) -> tuple[str, ...]:
    """How well it answers training rows as they are labelled: rows prepared otherwise show here at once."""
    told = next((told for told in found if told.split == Split.TRAIN.value), None)
    if told is None:
        return ()
    if (error := told.figures.get("mae")) is not None:
        return (
            f"it answers {told.rows:,} training rows with a mean absolute error of {error:.4g}: if its owner knows of "
            "less, `scale`, `mean`, `std`, the order of columns, or the unit of the labels, are others",
        )
    right = told.figures.get("accuracy", 1.0)
    said = f"it answers {round(right * told.rows):,} of {told.rows:,} training rows as they are labelled ({right:.1%})"
    if right < 1:
        said += ": if its owner knows of more, `scale`, `mean`, `std`, or the order of columns or classes, are others"
    return (said,)
