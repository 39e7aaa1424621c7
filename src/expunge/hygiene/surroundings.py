"""Which runs, bundles, tunings and studies lie around a run: its parents, and whatever stands beside any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from expunge.core.errors import ExpungeError
from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json
from expunge.records.bundle import ENVELOPE, PACKED
from expunge.records.documents import ENTRIES, STORES
from expunge.records.model_file import ModelFile
from expunge.records.run_file import RunFile
from expunge.records.tuning import TRIALS, Tuning
from expunge.train.run import COMMITTED, Run


@dataclass
class Surroundings:
    """What was found.

    ``parents`` are nearest first; ``strangers`` have another root, and whether they are of the same data is still to be
    told; ``unclear`` says what may hold the rows and could not be looked at, one sentence each.
    """

    run: Run
    parents: list[Run] = field(default_factory=list[Run])
    others: list[Run] = field(default_factory=list[Run])
    committed: list[Run] = field(default_factory=list[Run])  # of the same root, not trained so far
    strangers: list[Run] = field(default_factory=list[Run])
    stored: list[Run] = field(default_factory=list[Run])  # results of studies
    tunings: list[Path] = field(default_factory=list[Path])
    bundles: list[Path] = field(default_factory=list[Path])  # of any data set; files that end in .zip may be none
    links: list[Path] = field(default_factory=list[Path])  # to runs, not followed
    unclear: list[str] = field(default_factory=list[str])

    @property
    def runs(self) -> tuple[Run, ...]:
        """Every run that is not a study's, the one itself first."""
        return (self.run, *self.parents, *self.others)


def look_around(run: Run, folders: Sequence[Path] = ()) -> Surroundings:
    """The parents of a run, the runs in the folders where it and they lie, and those in ``folders``, or these."""
    found = Surroundings(run)
    _add_parents(found)
    seen = {one.path.resolve() for one in found.runs}
    named = [folder.resolve() for folder in folders]
    for place in sorted({*(path.parent for path in seen), *named}):
        for path in [place, *_folders(place, found)] if place in named else _folders(place, found):
            _add(found, path, seen)
        found.bundles += sorted(path.resolve() for path in place.glob(f"*{PACKED}") if path.is_file())
    found.unclear += [
        f"{link} is a link to a run and was not followed: name its folder in `folders`"
        for link in found.links
        if link.resolve() not in seen
    ]
    return found


def _add_parents(found: Surroundings) -> None:
    at = found.run
    while at.told.parent is not None:
        parent = _parent_of(at)
        if parent is None:
            digest = at.told.parent.weights_digest
            found.unclear.append(
                f"the parent of {at.path} with weights {digest[:12]}… is not where that run names it: wherever it is, "
                "nothing of it was looked at"
            )
            return
        found.parents.append(parent)
        at = parent


def _parent_of(run: Run) -> Run | None:
    """The folder that a run names as its parent, whatever is left in it."""
    described = run.told.parent
    if described is None:
        return None
    for path in (Path(described.path), run.path / described.relative):
        candidate = _open(path)
        if candidate is not None and candidate.told.weights_digest == described.weights_digest:
            return Run(path.resolve(), candidate.told)
    return None


def _add(found: Surroundings, path: Path, seen: set[Path]) -> None:
    if path in seen:
        return
    seen.add(path)
    root = found.run.told.dataset_root
    if (path / RunFile.NAME).is_file():
        other = _open(path)
        if other is None:
            found.unclear.append(f"{path} has a {RunFile.NAME} that cannot be read: nothing of it was looked at")
        elif other.told.dataset_root != root:
            found.strangers.append(other)
        else:
            (found.committed if other.told.status == COMMITTED else found.others).append(other)
        return
    if (path / ModelFile.NAME).is_file():
        found.unclear += _exported(found, path)
        return
    if (path / ENVELOPE).is_file():
        found.bundles.append(path)
        return
    if tuned_on(path) == root:
        found.tunings.append(path)
        for inner in _folders(path, found):
            _add(found, inner, seen)
    for marker in STORES:
        if (path / marker).is_file():
            for other in _stored((path / marker).parent):
                (found.stored if other.told.dataset_root == root else found.strangers).append(other)


def _exported(found: Surroundings, path: Path) -> Iterator[str]:
    """A sentence on a model that was exported from another run of the data: it holds what that run's weights do."""
    told = _object_in(path / ModelFile.NAME) or {}
    if told.get("dataset_root") == found.run.told.dataset_root and told.get("trained") != found.run.told.weights_digest:
        yield (
            f"{path} is a model that was exported from a run with other weights on the same data: remove it, and every "
            "copy that was handed on, if that run held the forgotten rows"
        )


def _stored(store: Path) -> Iterator[Run]:
    for found in sorted(store.glob(f"{ENTRIES}/{RunFile.NAME}")):
        other = _open(found.parent)
        if other is not None:
            yield other


def tuned_on(path: Path) -> str | None:
    """Root of the data set that a tuning was made on; None for a folder that is none."""
    asked = asked_first(path)
    told = next((found for found in (_object_in(path / Tuning.NAME), asked) if found is not None), {})
    root = told.get("data_root")
    return root if isinstance(root, str) else None


def asked_first(path: Path) -> Mapping[str, Any] | None:
    """The request of a tuning, from the first line of its trials; None where there is none."""
    request = (_object_in(path / TRIALS) or {}).get("request")
    return cast("dict[str, Any]", request) if isinstance(request, dict) else None


def _object_in(path: Path) -> Mapping[str, Any] | None:
    """What a file or its first line holds, if that is an object."""
    try:
        content = read_bytes(path, "the tuning")
        value: Any = parse_json(content.splitlines()[0] if path.name == TRIALS and content else content)
    except ExpungeError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _folders(place: Path, found: Surroundings) -> list[Path]:
    """Folders in a place; links are kept apart and not followed."""
    try:
        items = sorted(place.iterdir())
    except OSError as error:
        found.unclear.append(f"{place} could not be read ({error.strerror or error})")
        return []
    found.links += [item for item in items if item.is_symlink() and (item / RunFile.NAME).is_file()]
    return [item.resolve() for item in items if item.is_dir() and not item.is_symlink()]


def _open(path: Path) -> Run | None:
    """A run whose run.json has what is read here; None for anything else."""
    try:
        return Run.open_any(path)
    except ExpungeError:
        return None
