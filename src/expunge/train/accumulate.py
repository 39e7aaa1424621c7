"""Carrying an accumulation out: sums over everybody present, kept so that rows can be taken out of them again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from expunge.core.errors import RunError
from expunge.core.values import Progress
from expunge.models.accumulated import Accumulated
from expunge.models.sums import Begun, SumArrays, Summed, accumulation_of
from expunge.records.documents import PARTIAL, SUMS
from expunge.schedule.recipe import Recipe
from expunge.train.carried import Carried
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.state import Tensors, read_tensors, tensors_digest, write_tensors


def accumulate(
    recipe: Recipe,
    seed: bytes,
    examples: Examples,
    emptied: np.ndarray,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Carried:
    """Sum everybody present. A folder keeps the sums, and on the way what an interrupted accumulation goes on from."""
    meter, count = Meter(), len(examples)
    present = np.setdiff1d(np.arange(count), emptied)
    rows, labels = examples.encoded(present)

    def offer(begun: Begun) -> None:
        if progress is not None:
            progress(begun.slots, count)
        if folder is not None and begun.slots < count:
            with meter.apart():
                _keep(folder / PARTIAL, begun, meter)

    begun = None if folder is None else _begun(folder / PARTIAL, meter)
    return _carried(recipe, accumulation_of(recipe, seed).anew(rows, labels, present, begun, offer), meter, folder)


def subtract(
    recipe: Recipe,
    seed: bytes,
    examples: Examples,
    emptied: np.ndarray,
    gone: np.ndarray,
    source: Path,
    digest: str | None,
    folder: Path | None = None,
) -> Carried:
    """Take the rows that are ``gone`` out of the sums of the run in ``source``, whose ``digest`` it says."""
    state = kept_sums(source, digest)
    meter, left = Meter(), np.setdiff1d(np.arange(len(examples)), emptied)
    rows, labels = examples.encoded(np.union1d(left, gone))
    return _carried(recipe, accumulation_of(recipe, seed).without(state, rows, labels, gone, left), meter, folder)


def accumulated_model(recipe: Recipe, path: Path, digest: str) -> Accumulated:
    """The model whose weights lie in a file; their digest must be the one that was announced."""
    found = read_tensors(path)
    if tensors_digest(found).hex() != digest:
        raise RunError(f"{path} does not hold the weights {digest[:12]}… of its run.json: it was altered")
    return Accumulated(recipe, _arrays(found)).eval()


def sound_sums(folder: Path, digest: str | None) -> Tensors:
    """The sums that a run keeps; they must be those that it says."""
    found = read_tensors(folder / SUMS)
    if tensors_digest(found).hex() != digest:
        raise RunError(f"{folder / SUMS} does not hold the sums that its run.json says: it was altered")
    return found


def kept_sums(folder: Path, digest: str | None) -> SumArrays:
    """The same as arrays."""
    return _arrays(sound_sums(folder, digest))


def _carried(recipe: Recipe, made: Summed, meter: Meter, folder: Path | None) -> Carried:
    meter.row_sums += made.row_sums
    seconds, state = meter.seconds, _tensors(made.state)
    if folder is not None:
        write_tensors(folder / SUMS, state)
        (folder / PARTIAL).unlink(missing_ok=True)
    return Carried(
        [Accumulated(recipe, made.weights).eval()],
        thirds=meter.thirds,
        seconds=seconds,
        row_sums=meter.row_sums,
        sums=tensors_digest(state).hex(),
        notices=made.notices,
    )


def _keep(path: Path, begun: Begun, meter: Meter) -> None:
    spent = {"slots": begun.slots, "milliseconds": round(1000 * meter.seconds)}
    state = _tensors(begun.state) | {name: torch.tensor([value]) for name, value in spent.items()}
    write_tensors(path, state | {"digest": torch.tensor(list(tensors_digest(state)))})


def _begun(path: Path, meter: Meter) -> Begun | None:
    """What an interrupted accumulation has kept; a damaged file is none."""
    try:
        found = read_tensors(path)
    except RunError:
        return None
    digest = found.pop("digest", torch.zeros(0))
    if bytes(digest.tolist()) != tensors_digest(found):
        return None
    slots, milliseconds = (int(found.pop(name)) for name in ("slots", "milliseconds"))
    meter.continue_from(0, milliseconds / 1000)
    return Begun(_arrays(found), slots)


def _tensors(arrays: SumArrays) -> Tensors:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def _arrays(tensors: Tensors) -> SumArrays:
    return {name: value.numpy() for name, value in tensors.items()}
