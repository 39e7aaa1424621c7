"""Readings in the store: what a run's model answered lies beside its weights, so that evaluations open no model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from expunge.core.errors import RunError
from expunge.core.files import write_with
from expunge.core.hashing import sha256
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure.readings import READ, SIGNALS, Answered, AnyReading, Arrays, Reading, ReadingKey
from expunge.tasks.task import signals_of
from expunge.train.run import Run

BELIEFS = "beliefs.safetensors"
REMOVE = "remove it, and it is made again"


class StoredReadings:
    """What some runs' models answered to these rows, each in its run's folder.

    Of a task with classes the beliefs are kept, from which its signals follow; of any other reading all arrays. An
    ``original`` may be asked about fewer rows one day than another: of it all arrays are kept, by these rows.
    """

    def __init__(self, runs: Iterable[Run], rows: Mapping[Split, Dataset], original: Run | None = None) -> None:
        self.rows = rows
        self.folders = {} if original is None else {original.weights_digest: original.path}
        self.by_rows = frozenset(self.folders)
        self.folders |= {run.weights_digest: run.path for run in runs}

    def get(self, key: ReadingKey, /) -> Answered | None:
        weights_digest = key[1]
        path = self._place(key)
        if self._of_beliefs(key):
            beliefs = stored_beliefs(self.folders[weights_digest], weights_digest)
            self._refuse_others({(split, "beliefs"): beliefs[split.value] for split in READ}, path)
            return {split: self._signals(split, beliefs[split.value]) for split in READ}
        if not self.lies(key):
            return None
        arrays = _stored(path, weights_digest)
        named = {split.value: split for split in READ}
        found: dict[Split, dict[str, np.ndarray]] = {split: {} for split in READ}
        for name, values in arrays.items():
            split, _, inner = name.partition(".")
            if split not in named:
                raise RunError(f"{path} could not be read ({name!r:.40} is of no split): {REMOVE}")
            found[named[split]][inner] = values
        if isinstance(key[0], Reading):
            self._refuse_others({(split, name): one for split in READ for name, one in found[split].items()}, path)
        return found

    def lies(self, key: ReadingKey) -> bool:
        """Whether it is kept."""
        return self._place(key).is_file()

    def _refuse_others(self, arrays: Mapping[tuple[Split, str], np.ndarray], path: Path) -> None:
        """Of other rows than these."""
        for (split, name), values in arrays.items():
            if len(values) != len(self.rows[split]):
                told = f"{name} of {len(values)} rows in a split of {len(self.rows[split])}"
                raise RunError(f"{path} could not be read ({told}): {REMOVE}")

    def __setitem__(self, key: ReadingKey, answered: Answered, /) -> None:
        if self._of_beliefs(key):
            arrays = {split.value: found["beliefs"] for split, found in answered.items()}
        else:
            each = [(split, *item) for split, found in answered.items() for item in found.items()]
            arrays = {f"{split.value}.{inner}": values for split, inner, values in each}
        write_with(self._place(key), lambda temporary: save_file(arrays, temporary, {"weights_digest": key[1]}))

    def _place(self, key: ReadingKey) -> Path:
        reading, weights_digest, looked = key
        return self.folders[weights_digest] / (BELIEFS if self._of_beliefs(key) else file_name(reading, looked))

    def _of_beliefs(self, key: ReadingKey) -> bool:
        reading, weights_digest, _ = key
        return reading == SIGNALS and weights_digest not in self.by_rows and not self.rows[Split.TRAIN].of_numbers

    def _signals(self, split: Split, beliefs: np.ndarray) -> Arrays:
        """NaN where a row is no longer there, as are its beliefs."""
        rows = self.rows[split]
        found = {"beliefs": beliefs}
        for name, values in signals_of(beliefs[rows.present], rows.labels[rows.present]).items():
            found[name] = np.full(len(rows), np.nan)
            found[name][rows.present] = values
        return found


def file_name(reading: AnyReading, looked: bytes) -> str:
    """Where a reading of these rows, or this request, lies in a run's folder; with other settings it is another."""
    told = sha256(repr(reading).encode(), looked).hex()
    return f"reading-{reading.name}-{told[:16]}.safetensors"


def stored_beliefs(folder: Path, weights_digest: str) -> Arrays:
    """A softmax's logits for every row of these weights, by split."""
    path = folder / BELIEFS
    found = _stored(path, weights_digest)
    if set(found) != {split.value for split in READ}:
        raise RunError(f"{path} could not be read (it does not hold both splits): {REMOVE}")
    return found


def _stored(path: Path, weights_digest: str) -> Arrays:
    try:
        with safe_open(path, "numpy") as stored:
            told = stored.metadata() or {}
            arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path} could not be read ({reason}): {REMOVE}") from None
    if told.get("weights_digest") != weights_digest:
        raise RunError(f"{path} holds the answers of other weights than {weights_digest[:12]}…: remove it")
    return arrays
