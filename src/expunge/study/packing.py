"""An entry of the store as plain arrays of bytes and back: how results travel between machines.

A result is cut in parts, so that a job is sent what it reads and no more: checkpoints are by far the largest part, and
exact replays alone look at them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import write_text
from expunge.records.document import read_document, write_document
from expunge.records.run_file import RunFile
from expunge.records.study_store import Entry
from expunge.study.job import Job
from expunge.study.store import Store

OWN = "entry.json"  # written by whoever keeps the entry, and last


class SentPart(Enum):
    """What may be sent on its own."""

    RECORD = "record"
    WEIGHTS = "weights"
    CHECKPOINTS = "checkpoints"


class File(NamedTuple):
    """Access rights and content: the key of a perturbation is nobody else's to read."""

    mode: int
    content: np.ndarray


Files = Mapping[str, File]


def part_of(name: str) -> SentPart:
    """Which part a file of an entry belongs to."""
    if name.startswith("checkpoints/"):
        return SentPart.CHECKPOINTS
    return SentPart.WEIGHTS if name == "model.safetensors" else SentPart.RECORD


def needed(job: Job) -> list[tuple[str, SentPart]]:
    """What a job reads of its inputs: key and part, in a fixed order."""
    parts = [SentPart.RECORD, SentPart.WEIGHTS]
    if job.method is not None and _replays(job.method):
        parts.append(SentPart.CHECKPOINTS)
    return [(key, part) for key in dict.fromkeys(job.needs) for part in parts]


def _replays(method: str) -> bool:
    from expunge.methods.given import Need
    from expunge.methods.lookup import find_method

    return Need.CHECKPOINTS in find_method(method).needs


def pack(folder: Path, part: SentPart) -> dict[str, File]:
    """The files of one part by their names in the folder; mapped, not read: whoever takes them copies."""
    found: dict[str, File] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name.startswith(".") or name == OWN or not path.is_file() or part_of(name) is not part:
            continue
        status = path.stat()
        content = (
            np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray) if status.st_size else np.zeros(0, np.uint8)
        )
        found[name] = File(status.st_mode & 0o777, content)
    return found


def unpack(files: Files, folder: Path, *, sync: bool = True) -> None:
    """Write files where they were packed; with ``sync`` each is on the disk before the next."""
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode), "wb") as handle:
            handle.write(file.content.data)
            if sync:
                handle.flush()
                os.fsync(handle.fileno())


def file_entry(store: Store, entry: Entry, parts: list[Files]) -> None:
    """Bring a result into the store: whole under another name first, then renamed, then its entry."""
    place = store.place(entry.key)
    coming, going = place.with_name(f".{entry.key}.coming"), place.with_name(f".{entry.key}.going")
    try:
        for left in (coming, going):  # by somebody who was killed here
            shutil.rmtree(left, ignore_errors=True)
        coming.mkdir(parents=True)
        for files in parts:
            unpack(files, coming)
        if place.exists():  # what an interrupted job of another engine left
            place.rename(going)
        coming.rename(place)
        shutil.rmtree(going, ignore_errors=True)
    except OSError as error:
        raise RunError(
            f"{place} could not be written ({error.strerror or error}): what is computed is kept; make room, then run "
            "the same command again"
        ) from error
    store.keep(entry)


def settle(folder: Path, home: Path) -> None:
    """Let a run name its parent where both will lie once they are in the store ``home``, not where it was made."""
    path = folder / "run.json"
    if not path.is_file():
        return
    told = read_document(RunFile, path.read_bytes(), str(path), RunError)
    if told.parent is not None:
        at = Path(told.parent.path)
        parent = replace(told.parent, path=str(home / at.parent.name / at.name))
        write_text(path, write_document(replace(told, parent=parent)))
