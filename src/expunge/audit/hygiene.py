"""``hygiene``: what still holds the rows that a run has forgotten, as far as this machine can be looked at.

Nothing here can show that no copy exists (N3): what was not looked at is said beside what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, cast

import numpy as np

from expunge.audit.claims import EXACT_METHODS
from expunge.audit.declaration import Declaration, read_declaration
from expunge.audit.handed_over import bundle_holdings
from expunge.audit.holdings import Holding, Remedy, held_by, holdings_of, unknown_files
from expunge.audit.surroundings import Surroundings, look_around
from expunge.core.errors import ExpungeError, InvalidArgument
from expunge.core.files import read_bytes
from expunge.core.hashing import parse_json
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.salts import SecretSalts
from expunge.data.source import Source, read
from expunge.data.splits import SPLITS, Split
from expunge.train.run import Run

SOURCE = "source"  # what --data calls the place that the run itself names
INTENT = "hygiene-intent.json"
ELSEWHERE = (
    "backups, snapshots, other machines and folders, deployed copies, and models distilled from these (N3)",
    "free space on the disk: removed files may be readable there until it is used again",
    "HTML reports made with examples: they show forgotten rows and do not say which run they belong to",
)


class Kinship(Enum):
    """How a folder stands to the run."""

    ITSELF = "the run itself"
    PARENT = "parent"
    BESIDE = "beside it"
    BUNDLE = "a bundle"
    TUNING = "tuning"
    STUDY = "a study's store"
    DATA = "the data"
    SALTS = "the salts"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder or file, how it stands to the run, and what it holds."""

    path: Path
    kinship: Kinship
    holdings: tuple[Holding, ...]

    @property
    def ours(self) -> tuple[Holding, ...]:
        """What can be ended here."""
        return tuple(holding for holding in self.holdings if holding.remedy is not Remedy.OWNER)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What holds the forgotten rows; ``unseen`` and ``notes`` are sentences. ``declared`` is what was said before."""

    run: Run
    places: tuple[Place, ...]
    unseen: tuple[str, ...]
    notes: tuple[str, ...]
    declared: Declaration | None
    interrupted: bool

    @property
    def holdings(self) -> tuple[Holding, ...]:
        return tuple(holding for place in self.places for holding in place.holdings)

    @property
    def ours(self) -> tuple[Holding, ...]:
        """What ``--destroy`` ends."""
        return tuple(holding for place in self.places for holding in place.ours)

    @property
    def clean(self) -> bool:
        """Whether nothing was found; a destruction that was cut short is not over."""
        return not self.holdings and not self.interrupted

    def as_json(self) -> dict[str, Any]:
        return {
            "run": str(self.run.path),
            "weights_digest": self.run.weights_digest,
            "forgotten": len(self.run.tombstones),
            "clean": self.clean,
            "interrupted": self.interrupted,
            "holds": [
                {"of": str(place.path), "kinship": place.kinship.value, **holding.as_json()}
                for place in self.places
                for holding in place.holdings
            ],
            "unseen": list(self.unseen),
            "notes": list(self.notes),
            "declared": None if self.declared is None else self.declared.as_json(),
        }


def survey(
    run: Run | Path | str,
    *,
    folders: Sequence[Path] = (),
    keep: Sequence[Path] = (),
    data: str | Dataset | None = None,
    salts: Path | None = None,
) -> Survey:
    """List every file that still holds a row which ``run`` has forgotten.

    ``folders`` are looked through for runs besides those where the run and its parents lie; runs in ``keep`` are not
    touched by a destruction. ``data`` says where the rows lie now (or ``source``: where the run says), so that the
    source is read and compared as well; ``salts`` where the salt file lies, if it moved.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    run = Run(run.path.resolve(), run.manifest)
    forgotten = run.tombstones
    if not len(forgotten):
        raise InvalidArgument(f"{run.path} has forgotten nothing: name a run that `expunge unlearn` made")
    found = look_around(run, folders)
    unseen = list(found.unseen)
    places = [*_runs(found, forgotten, unseen), *_bundles(found, forgotten, unseen)]
    places += [*_tunings(found, forgotten), *_studies(found, forgotten)]
    places += [*_data(run, data, salts, unseen), *_salts(run, salts, unseen)]
    kept = _kept(keep, places)
    return Survey(
        run=run,
        places=tuple(_left_alone(place) if place.path in kept else place for place in places if place.holdings),
        unseen=(*unseen, *ELSEWHERE),
        notes=tuple(_notes(found, places)),
        declared=read_declaration(run.path),
        interrupted=(run.path / INTENT).is_file(),
    )


def _runs(found: Surroundings, forgotten: np.ndarray, unseen: list[str]) -> Iterator[Place]:
    parents = {one.path for one in found.parents}
    for one in found.runs:
        kinship = Kinship.PARENT if one.path in parents else Kinship.BESIDE
        holdings = _looked_into(one, forgotten, unseen)
        yield Place(path=one.path, kinship=Kinship.ITSELF if one is found.run else kinship, holdings=holdings)
        if len(held_by(one, forgotten)) or one is found.run:  # an old model may have been laid into the new folder
            unseen += [f"{one.path / name}: not written by Expunge, so look yourself" for name in unknown_files(one)]


def _looked_into(run: Run, forgotten: np.ndarray, unseen: list[str]) -> tuple[Holding, ...]:
    try:
        return tuple(holdings_of(run, forgotten))
    except ExpungeError as error:
        unseen.append(f"{run.path} could not be looked into ({error})")
        return ()


def _bundles(found: Surroundings, forgotten: np.ndarray, unseen: list[str]) -> Iterator[Place]:
    for path in found.bundles:
        try:
            holdings = tuple(bundle_holdings(path, found.run, forgotten))
        except ExpungeError as error:
            if path.is_dir():  # a zip that is no bundle is somebody else's
                unseen.append(f"{path} could not be looked into ({error})")
            continue
        yield Place(path=path, kinship=Kinship.BUNDLE, holdings=holdings)


def _tunings(found: Surroundings, forgotten: np.ndarray) -> Iterator[Place]:
    """A tuning's trials and choice come from its twins, and hold what these were trained on."""
    for folder in found.tunings:
        held = _held_by_tuning(folder, found, forgotten)
        files = [folder / name for name in ("trials.jsonl", "tuning.json") if (folder / name).is_file()]
        if not held:
            continue
        holdings = tuple(
            Holding(
                path=path,
                what="tuning history: scores and the fields that they chose",
                why="its rehearsals read these rows",
                slots=held,
                digest=None,
                bytes=path.stat().st_size,
                remedy=Remedy.REMOVE,
            )
            for path in files
        )
        yield Place(path=folder, kinship=Kinship.TUNING, holdings=holdings)


def _held_by_tuning(folder: Path, found: Surroundings, forgotten: np.ndarray) -> int:
    """How many of the slots its rehearsals read: all, but those that both twins and the request left out."""
    twins = [run for run in found.others if run.path.parent == folder]
    if twins:
        spared = twins[0].tombstones
        for twin in twins[1:]:
            spared = np.intersect1d(spared, twin.tombstones)
        return len(np.setdiff1d(forgotten, spared))
    try:
        first = read_bytes(folder / "trials.jsonl", "the tuning").splitlines()[0]
        avoided = cast("dict[str, Any]", parse_json(first))["request"]["avoid"]["digest"]
    except (ExpungeError, LookupError, TypeError):
        return len(forgotten)
    return 0 if avoided == tombstones_digest(forgotten).hex() else len(forgotten)


def _studies(found: Surroundings, forgotten: np.ndarray) -> Iterator[Place]:
    for run in found.stored:
        held = held_by(run, forgotten)
        if not len(held):
            continue
        files = [path for path in run.path.rglob("*") if path.is_file()]
        digest = run.manifest.get("weights_digest")
        holding = Holding(
            path=run.path,
            what="a result of a study",
            why="trained on them; the study would make it again, so remove its folder yourself",
            slots=len(held),
            digest=None if digest is None else str(digest),
            bytes=sum(path.stat().st_size for path in files),
            remedy=Remedy.OWNER,
        )
        yield Place(path=run.path, kinship=Kinship.STUDY, holdings=(holding,))


def _data(run: Run, named: str | Dataset | None, salts: Path | None, unseen: list[str]) -> Iterator[Place]:
    described = run.manifest["data"]["source"]
    location = "handed over in memory" if described is None else str(described["location"])
    if named is None:
        unseen.append(f"the data ({location}): --data PATH, or --data {SOURCE}, compares them row by row")
        return
    place = named if isinstance(named, str) and named != SOURCE else location
    try:
        rows = run.data(None if named == SOURCE else named, salts=salts)
    except ExpungeError as error:
        unseen.append(f"the data ({place}): {error}")
        return
    there = int(rows[Split.TRAIN].present[run.tombstones].sum())
    there += sum(int(rows[split].present[slots].sum()) for split, slots in run.released.items())
    unknown = _unknown_rows(run, named, salts, sum(int(part.present.sum()) for part in rows.values()))
    if unknown is None:
        unseen.append(f"the data ({place}): with their salts gone and --rows cutting it, what is left cannot be told")
        return
    if there + unknown:
        why = "the source still has them" if there else "rows stand in their places, and their salts are destroyed"
        holding = Holding(
            path=Path(place),
            what="rows themselves",
            why=f"{why}; nothing here writes into your data, so remove them yourself",
            slots=there + unknown,
            digest=None,
            bytes=0,
            remedy=Remedy.OWNER,
        )
        yield Place(path=holding.path, kinship=Kinship.DATA, holdings=(holding,))


def _unknown_rows(run: Run, named: str | Dataset | None, salts: Path | None, seated: int) -> int | None:
    """Rows of the source that no leaf can be compared with, since their salts are destroyed; None where unclear."""
    secret = run.salts(salts)
    if not isinstance(secret, SecretSalts) or not secret.destroyed:
        return 0
    if isinstance(named, Dataset):
        return len(named) - seated
    source = Source.from_json(run.manifest["data"]["source"] or {"location": named})
    if source.rows is not None:
        return None
    if named != SOURCE:
        source = replace(source, location=named)
    return len(read(source, columns=run.recipe.inputs.columns, classes=run.recipe.classes)) - seated


def _salts(run: Run, moved: Path | None, unseen: list[str]) -> Iterator[Place]:
    rows = forgotten_rows(run)
    try:
        found = run.salts(moved)
    except ExpungeError as error:
        unseen.append(f"the salts: {error}")
        return
    if not isinstance(found, SecretSalts):
        return
    path, gone = found.path, found.destroyed
    there = len(set(rows) - set(gone))
    if there:
        holding = Holding(
            path=path,
            what=f"salts of {there} row" + ("" if there == 1 else "s"),
            why="with its salt, a guess of a row can be tested against its leaf",
            slots=there,
            digest=None,
            bytes=32 * there,
            remedy=Remedy.SALTS,
        )
        yield Place(path=path, kinship=Kinship.SALTS, holdings=(holding,))


def forgotten_rows(run: Run) -> tuple[int, ...]:
    """Rows of the source that belong to forgotten people, ascending: emptied chairs, and their rows in other splits."""
    slots = {split: np.array(run.released.get(split, []), dtype=np.int64) for split in SPLITS}
    slots[Split.TRAIN] = run.tombstones
    rows = [np.flatnonzero(run.commitment.assignment == split.code)[slots[split]] for split in SPLITS]
    return tuple(int(row) for row in np.sort(np.concatenate(rows)))


def _kept(keep: Sequence[Path], places: Sequence[Place]) -> set[Path]:
    found = {path.resolve() for path in keep}
    strange = sorted(str(path) for path in found - {place.path for place in places})
    if strange:
        raise InvalidArgument(f"--keep {strange[0]} is none of the folders that were looked into: check its name")
    return found


def _left_alone(place: Place) -> Place:
    """A place that its owner keeps: still listed, ended by nobody."""
    why = "{}; kept as you asked"
    kept = tuple(replace(item, remedy=Remedy.OWNER, why=why.format(item.why)) for item in place.holdings)
    return replace(place, holdings=kept)


def _notes(found: Surroundings, places: Sequence[Place]) -> Iterator[str]:
    """What is no file and still belongs beside the list."""
    for one in (found.run, *found.others):
        method = one.method
        if method is not None and method not in EXACT_METHODS and not len(held_by(one, found.run.tombstones)):
            yield (
                f"{one.path} was made by {method}: whether its weights still hold them is no question of files, and "
                "nothing here answers it (N5)"
            )
    if (found.run.path / "record" / "envelope.json").is_file():
        yield (
            "the record of this run is signed already: it does not list what is destroyed from now on; hand "
            "hygiene.json over beside the bundle"
        )
    parents = [place for place in places if place.kinship is Kinship.PARENT and place.ours]
    if parents and found.run.method is not None and not (found.run.path / "evaluation.json").is_file():
        yield "once the parent's weights are gone, `expunge evaluate` cannot compare with them: evaluate before"
