"""``expunge.train(…)``: every argument by its name, as on the command line, checked before anything is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from expunge.core.beacon import Beacon
from expunge.core.errors import InvalidArgument
from expunge.core.values import Progress
from expunge.data.forget_set import ForgetSet
from expunge.data.handed import AnyData, Names, hand_over
from expunge.data.splits import SplitBy
from expunge.schedule.fields import RecipeFields, chosen, require, require_interval, require_kind
from expunge.schedule.recipe import (
    Calendar,
    MemoryLayout,
    Optimiser,
    OptimiserName,
    Placement,
    Precision,
    Profile,
    Recipe,
    Scalar,
    Voting,
)
from expunge.train import training
from expunge.train.apart import TrainsApart
from expunge.train.run import Run
from expunge.train.trace import Trace

UNSAID = RecipeFields()


def train(
    data: AnyData,
    *,
    out: Path | str,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    columns: Sequence[str] | None = None,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    text: Sequence[str] = (),
    date: Sequence[str] = (),
    missing: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    no_header: bool = False,
    image_size: int | None = None,
    split: str | None = None,
    rows: int | None = None,
    recipe: Recipe | None = None,
    model: str | Callable[..., nn.Module] | None = None,
    model_options: Mapping[str, Scalar] | None = None,
    task: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimiser: OptimiserName | Optimiser | str | None = None,
    rate: float | None = None,
    momentum: float | None = None,
    weight_decay: float | None = None,
    calendar: Calendar | str | None = None,
    flip: bool | None = None,
    crop: int | None = None,
    shards: int | None = None,
    slices: int | None = None,
    placement: Placement | str | None = None,
    stages: Sequence[int] | str | None = None,
    voting: Voting | str | None = None,
    seed: int | None = None,
    least_present: int | None = None,
    category_buckets: int | None = None,
    text_buckets: int | None = None,
    precision: Precision | str | None = None,
    profile: Profile | str | None = None,
    threads: int | None = None,
    layout: MemoryLayout | str | None = None,
    perturbation: float | None = None,
    without: Sequence[str] | str | ForgetSet | None = None,
    split_seed: int = 0,
    split_by: SplitBy | str = "rows",
    device: str = "cpu",
    checkpoint_interval: int | None = None,
    keep_checkpoints: int | None = None,
    trace: Trace | str | None = None,
    noise_key: Path | str | None = None,
    commit_only: bool = False,
    salts: Path | str | None = None,
    beacon: Beacon | Path | str | None = None,
    base: Path | str | None = None,
    apart: TrainsApart | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Run:
    """Train with a record that can be replayed; the same call on an interrupted folder continues it.

    ``data`` are a path or a ``Source``, a frame of pandas or polars, an Arrow table, a ``datasets.Dataset``, a
    map-style torch ``Dataset``, or arrays ``(X, y)``. ``label``, ``subject`` and ``id`` name columns; of arrays
    ``subject`` and ``id`` are a name for each row, and ``columns`` names those of X. What each column holds is found
    unless ``numeric``, ``categorical``, ``text`` or ``date`` say it. ``missing="indicator"`` takes a missing number for
    0 and marks it in a column of its own.

    ``model`` is a name or a function ``(inputs, classes)`` that builds a ``torch.nn.Module`` and can be imported;
    unless said, one that fits the data. All recipe fields are as `expunge train` has them; ``recipe`` replaces them.

    ``placement="tiers:FILE"`` names a CSV with the columns subject and tier, whole numbers from 0: the rows of a higher
    tier are trained on later, and cost less to forget. ``stages`` are the epochs of each tier, or slice.

    ``without`` names training rows as ``unlearn`` does; their chairs stay empty from the first step. The weights are
    those of retraining without these rows, and the run is a reference wherever a retraining is.

    A recipe with a perturbation draws its noise under a secret key. It is made here and kept in the folder as
    ``noise.key``; ``noise_key`` names the file of an existing one, so that a training can be repeated.

    ``commit_only`` fixes data and recipe in the folder and trains nothing; the same call without it, and with a
    ``beacon`` drawn since (itself, 64 hexadecimal digits or a JSON file), trains from there. ``salts`` is a file of
    secret salts, which ``commit_only`` draws where there is none.

    ``keep_checkpoints`` bounds the folder: of each shard's states so many are kept, evenly spaced, the last among
    them. It changes no weights; the run says what exact forgetting costs from then on.

    ``base`` is a safetensors file of weights that training begins with; its digest is part of the recipe, and the
    result is exact relative to it at most.

    ``apart=SideBySide(2)`` of ``expunge.study.side_by_side`` trains two shards at once, each in a process of its own,
    to the same bytes.

    ``progress`` is called with the steps done and their number, ``tell`` with what was found of the data.
    """
    for name, value, kinds, what in (
        ("out", out, (str, os.PathLike), "a folder"),
        ("device", device, (str,), "cpu or cuda"),
        ("split_seed", split_seed, (int,), "a whole number"),
        ("noise_key", noise_key, (str, os.PathLike, type(None)), "a file"),
        ("salts", salts, (str, os.PathLike, type(None)), "a file"),
        ("base", base, (str, os.PathLike, type(None)), "a file of weights"),
        ("beacon", beacon, (str, os.PathLike, Beacon, type(None)), "64 hexadecimal digits or a file"),
        ("without", without, (str, list, tuple, ForgetSet, type(None)), "rules such as subject:NAME"),
        ("commit_only", commit_only, (bool,), "true or false"),
        ("recipe", recipe, (Recipe, type(None)), "a Recipe, as `expunge.make_recipe(…)` makes one"),
    ):
        require_kind(name, value, kinds, what)
    require_interval(checkpoint_interval)
    for name, function in (("progress", progress), ("tell", tell), ("apart", apart)):
        require(name, function, function is None or callable(function), "a function")
    fields = RecipeFields(
        model=model,
        model_options={} if model_options is None else model_options,
        task=task,
        epochs=epochs,
        batch_size=batch_size,
        optimiser=optimiser,
        rate=rate,
        momentum=momentum,
        weight_decay=weight_decay,
        calendar=calendar,
        flip=flip,
        crop=crop,
        shards=shards,
        slices=slices,
        placement=placement,
        stages=stages,
        voting=voting,
        seed=seed,
        least_present=least_present,
        category_buckets=category_buckets,
        text_buckets=text_buckets,
        precision=precision,
        profile=profile,
        threads=threads,
        layout=layout,
        perturbation=perturbation,
    )
    if recipe is not None and fields.said() != UNSAID.said():
        raise InvalidArgument(
            "fields of a recipe are said beside a whole recipe, which has them: give one or the other"
        )
    handed = hand_over(
        data,
        label=label,
        subject=subject,
        id=id,
        columns=columns,
        numeric=_names("numeric", numeric),
        categorical=_names("categorical", categorical),
        text=_names("text", text),
        date=_names("date", date),
        missing=missing,
        separator=separator,
        decimal=decimal,
        encoding=encoding,
        no_header=no_header,
        image_size=image_size,
        split=split,
        rows=rows,
    )
    return training.train(
        handed,
        out=out,
        recipe=recipe,
        split_seed=split_seed,
        split_by=chosen(SplitBy, split_by, "split_by"),
        device=device,
        checkpoint_interval=checkpoint_interval,
        keep_checkpoints=keep_checkpoints,
        trace=None if trace is None else chosen(Trace, trace, "trace"),
        progress=progress,
        noise_key=noise_key,
        without=without,
        salts=salts,
        beacon=beacon,
        commit_only=commit_only,
        base=base,
        apart=apart,
        tell=tell,
        **({} if recipe is not None else fields.said()),
    )


def _names(name: str, given: Any) -> tuple[str, ...]:
    """Columns by their names; a single name is one of them."""
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, list | tuple):
        raise InvalidArgument(f"`{name}` {given!r:.80} must be a list of columns' names")
    return tuple(given)
