"""Every document, every binary file of a run folder, and what each holds: hygiene reads this and no other name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json, plain_json
from expunge.records.bundle import ENVELOPE
from expunge.records.declaration import Declaration, Intent, RetiredFile
from expunge.records.document import Document, sealed
from expunge.records.evaluation import POOL, Evaluation
from expunge.records.forget_file import ForgetFile
from expunge.records.holds import NOTHING, Held, Holds, Layout, Named, Remedy, rows, states, sums
from expunge.records.model_file import ModelFile
from expunge.records.plan import PlanFile
from expunge.records.results import Results
from expunge.records.run_file import RunFile
from expunge.records.study_store import Entry, ScoreFile, StoreFile, StudyFile
from expunge.records.tensors import TENSORS
from expunge.records.tuning import TRIED, Tuning

DOCUMENTS: tuple[type[Document], ...] = (
    *(RunFile, ForgetFile, Evaluation),
    *(Declaration, Intent, RetiredFile),
    ModelFile,
    *(Tuning, StoreFile, StudyFile, Entry, ScoreFile, Results),
    PlanFile,
)

STATES, TRACE, SIGNED = "checkpoints", "trace", "record"  # folders inside a run's
LOG = "log.jsonl"
BASE = "base.safetensors"  # the weights that training began with
STORES = (StoreFile.NAME, f"store/{StoreFile.NAME}")  # what marks a store, or a study with one
ENTRIES = "??/*"  # of a store
RECORD = f"{SIGNED}/{ENVELOPE}"
SHARD = r"(?P<shard>0|[1-9][0-9]*)"
SUMS, PARTIAL = f"{STATES}/sums{TENSORS}", f"{STATES}/partial{TENSORS}"  # of an accumulated model
STATE = Layout(
    rf"shard-{SHARD}-step-(?P<step>[0-9]{{8,16}})\.safetensors",
    states("state of shard {shard} after step {step}"),
    STATES,
)
LAYOUTS: tuple[Layout, ...] = (  # in the order in which hygiene lists and ends them
    STATE,
    Layout(r"(?:sums|partial)\.safetensors", sums("what was summed over rows"), STATES),
    Layout(r"model\.safetensors", states("model")),
    Layout(rf"shard-{SHARD}\.bin", states("trace of shard {shard}", remedy=Remedy.CUT), TRACE),
    Layout(
        r"(?:beliefs|reading-.+-[0-9a-f]{16})\.safetensors",
        rows("a model's answers to every row, kept for measuring", "they were read off the rows themselves"),
    ),
    Layout(r"trials\.jsonl", TRIED),
    Layout(rf"epochs-{SHARD}\.bin", NOTHING, TRACE),
    Layout(r"(?:envelope|commit)\.json|commit-checkpoint", NOTHING, SIGNED),
    Layout(r"(?:leaves(?:-calibration|-holdout)?|assignment|units|tiers)\.bin", NOTHING),
    Layout(r"log\.jsonl|\.?noise\.key|\.lock", NOTHING),
    Layout(re.escape(POOL), NOTHING),
    Layout(r"base\.safetensors", NOTHING),  # what it saw before its training here is not covered
)


def declared(name: str) -> Named | None:
    """What a file of this name in a run's folder is declared to hold; None for what nobody here writes."""
    told = next((Named(name, document.HOLDS) for document in DOCUMENTS if name == document.NAME), None)
    return told or next((named for layout in LAYOUTS if (named := layout.named(name)) is not None), None)


def lying(folder: Path) -> Iterator[tuple[Path, Named | None]]:
    """Files of a folder that may hold rows, in the order of the tables; None for a strange one among states."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [(path, path.relative_to(folder).as_posix()) for path in files]
    for layout in (layout for layout in LAYOUTS if layout.holds.held is not Held.NOTHING):
        for path, name in names:
            if (named := layout.named(name)) is not None:
                yield path, named
            elif layout is STATE and name.rpartition("/")[0] == layout.folder and declared(name) is None:
                yield path, None
    for document in (document for document in DOCUMENTS if document.HOLDS.held is not Held.NOTHING):
        if (folder / document.NAME).is_file():
            yield folder / document.NAME, Named(document.NAME, document.HOLDS)


def state_name(shard: int, step: int) -> str:
    """What the state of a shard after a step is called inside a run's folder."""
    return f"{STATES}/shard-{shard}-step-{step:08d}{TENSORS}"


def shown_rows(content: bytes, holds: Holds) -> set[int]:
    """Slots that the list of a document shows, whatever else it holds."""
    value = parse_json(content)
    found = cast("dict[str, Any]", value).get(str(holds.shown)) if isinstance(value, dict) else None
    items = cast("list[Any]", found) if isinstance(found, list) else []
    told = [cast("dict[str, Any]", item).get("slot") if isinstance(item, dict) else item for item in items]
    return {slot for slot in told if type(slot) is int}


def redacted(path: Path) -> str | None:
    """A document without the rows that its list shows, its digest made anew; None where no document lies."""
    kind = next((document for document in DOCUMENTS if path.name == document.NAME), None)
    value = parse_json(read_bytes(path, "the document")) if kind is not None and path.is_file() else None
    if kind is None or not isinstance(value, dict):
        return None
    return plain_json(sealed(kind, {**value, str(kind.HOLDS.shown): []}))
