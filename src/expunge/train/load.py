"""``load`` and ``export``: a finished run by its folder, and its model in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.models.named import name_of_model
from expunge.records.model_file import ModelFile
from expunge.records.run_file import RunFile
from expunge.schedule.fields import require_kind
from expunge.train.export import ExportedModel
from expunge.train.run import Run


def load(path: PathLike[str] | str, *, model: str | Callable[..., nn.Module] | None = None) -> Run | ExportedModel:
    """Open a finished run, or a model that was exported; anything missing or altered is refused in one sentence.

    ``model`` is the factory of an exported model that is none of ours, by itself or by name: what a folder from
    elsewhere names is imported and called only if it is this one.
    """
    require_kind("path", path, (str, PathLike), "a folder")
    folder = Path(path)
    if (folder / ModelFile.NAME).is_file() and not (folder / RunFile.NAME).is_file():
        return ExportedModel.open(folder, None if model is None else name_of_model(model))
    if model is not None:
        raise InvalidArgument(f"`model` is for a model that was exported, {folder} is none: leave it out")
    return Run.open(folder)


def export(run: Run | Path | str, out: Path | str) -> ExportedModel:
    """Write the model of a run into the folder ``out``: its weights, and as JSON all that is needed to give it rows.

    A model of a factory's then runs without Expunge; README.txt says how. The folder holds nothing else of the run.
    """
    return Run.of(run).export(out)
