"""``load`` and ``export``: a finished run by its folder, and its model in a folder of its own."""

from __future__ import annotations

from pathlib import Path

from expunge.records.model_file import ModelFile
from expunge.records.run_file import RunFile
from expunge.train.export import ExportedModel
from expunge.train.run import Run


def load(path: Path | str) -> Run | ExportedModel:
    """Open a finished run, or a model that was exported; anything missing or altered is refused in one sentence."""
    folder = Path(path)
    exported = (folder / ModelFile.NAME).is_file() and not (folder / RunFile.NAME).is_file()
    return ExportedModel.open(folder) if exported else Run.open(folder)


def export(run: Run | Path | str, out: Path | str) -> ExportedModel:
    """Write the model of a run into the folder ``out``: its weights, and as JSON all that is needed to give it rows.

    A model of a factory's then runs without Expunge; README.txt says how. The folder holds nothing else of the run.
    """
    return Run.of(run).export(out)
