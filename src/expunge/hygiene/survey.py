"""``hygiene``: what still holds the rows that a run has forgotten, as far as this machine can be looked at.

Nothing here can show that no copy exists (N3): what was not looked at is said beside what was found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import ExpungeError, InvalidArgument
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.hygiene.data_rows import SOURCE, data_place, shown_place
from expunge.hygiene.handed_over import bundle_holdings
from expunge.hygiene.held_salts import check_salts, needed_salts, salts_place
from expunge.hygiene.holdings import Holding, digests_of, held_by, holdings_of, whole
from expunge.hygiene.other_commitments import place_of, same_data
from expunge.hygiene.places import Kinship, Place
from expunge.hygiene.strays import strays
from expunge.hygiene.surroundings import Surroundings, asked_first, look_around
from expunge.records.bundle import MODEL, Repacked
from expunge.records.catalogue import Execution
from expunge.records.declaration import Declaration, Intent, read_declaration
from expunge.records.documents import RECORD, lying
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.records.holds import Remedy
from expunge.records.run_file import RunFile
from expunge.train.run import Run

KEPT = "kept as you asked"
OWNERS = "the file of weights that was adopted, and whatever its owner keeps of the training: they hold these rows too"
ELSEWHERE = (
    "backups, snapshots, other machines and folders, deployed copies, and models distilled from these (N3)",
    "free space on the disk: removed files may be readable there until it is used again",
    "HTML reports made with examples: they show forgotten rows and do not say which run they belong to",
)


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What holds the forgotten rows. ``declared`` is what was said before.

    Sentences: ``misnamed`` are places that were asked for by name and could not be looked at, ``unclear`` what may hold
    the rows and could not be looked into, ``caveats`` what is never looked at. ``needed`` says by row of the source
    which living runs need its salt; ``data`` and ``salts`` are where these were said to lie.
    """

    run: Run
    places: tuple[Place, ...]
    misnamed: tuple[str, ...]
    unclear: tuple[str, ...]
    caveats: tuple[str, ...]
    notes: tuple[str, ...]
    declared: Declaration | None
    interrupted: bool
    kept: frozenset[Path]
    needed: Mapping[int, list[Path]]
    data: str | Dataset | None
    salts: Path | None

    @property
    def holdings(self) -> tuple[Holding, ...]:
        return tuple(holding for place in self.places for holding in place.holdings)

    @property
    def ours(self) -> tuple[Holding, ...]:
        """What ``destroy`` ends."""
        return tuple(holding for place in self.places for holding in place.ours)

    @property
    def unchanged(self) -> Holding | None:
        """The run's own model, where its method changed nothing: it is the old one over again."""
        own = (item for place in self.places if place.kinship is Kinship.ITSELF for item in place.holdings)
        return next((item for item in own if item.digest == self.run.weights_digest), None)

    @property
    def unseen(self) -> tuple[str, ...]:
        """Everything that was not looked at, what matters most first."""
        return (*self.misnamed, *self.unclear, *self.caveats)

    @property
    def clean(self) -> bool:
        """Whether all that is known of was looked at, and holds nothing; a destruction cut short is not over."""
        return not (self.holdings or self.interrupted or self.misnamed or self.unclear)

    def as_json(self) -> dict[str, Any]:
        """Not by the form: the fields hold runs and rows, and what is printed is concluded from the places."""
        return {
            "run": str(self.run.path),
            "weights_digest": self.run.told.weights_digest,
            "forgotten": len(self.run.tombstones),
            "clean": self.clean,
            "interrupted": self.interrupted,
            "holds": [
                {
                    "of": str(place.path),
                    "kinship": place.kinship.value,
                    "path": str(holding.path),
                    "remedy": holding.remedy.value,
                    **{name: getattr(holding, name) for name in ("what", "why", "slots", "digest", "bytes")},
                }
                for place in self.places
                for holding in place.holdings
            ],
            "unclear": [*self.misnamed, *self.unclear],
            "unseen": list(self.unseen),
            "notes": list(self.notes),
            "declared": None if self.declared is None else to_plain(self.declared),
        }


def survey(
    run: Run | Path | str,
    *,
    folders: Sequence[Path] = (),
    keep: Sequence[Path] = (),
    kept_why: str = KEPT,
    data: str | Dataset | None = None,
    salts: Path | None = None,
    to_come: RunFile | None = None,
) -> Survey:
    """List every file that still holds a row which ``run`` has forgotten.

    ``folders`` are looked through for runs besides those where the run and its parents lie; runs in ``keep`` are not
    touched by a destruction, and ``kept_why`` is said of what they hold. ``data`` says where the rows lie now (or
    ``source``: where the run says), so that the source is read and compared as well; ``salts`` where the salt file
    lies, if it moved.

    ``to_come`` is what the run.json of a child will say that is not made so far: then the run itself is its parent, and
    is listed among what holds the rows that the child will have forgotten.
    """
    run = Run.of(run)
    parent, run = run, Run(run.path.resolve(), run.told if to_come is None else to_come)
    forgotten = run.tombstones
    if not len(forgotten):
        raise InvalidArgument(f"{run.path} has forgotten nothing: name a run that `expunge unlearn` made")
    strange = [folder for folder in folders if not os.access(folder, os.R_OK | os.X_OK) or not folder.is_dir()]
    misnamed = [f"{folder} is no folder that can be read: check what `folders` names" for folder in strange]
    found = look_around(run, [folder for folder in folders if folder not in strange])
    if to_come is not None:
        found.parents.insert(0, Run(run.path, parent.told))
    unclear, caveats = list(found.unclear), list[str](ELSEWHERE)
    if run.told.adopted is not None:
        caveats.insert(0, OWNERS)
    kin = list(same_data(run, found.strangers, data, salts, unclear))
    places = [*_runs(found, forgotten, unclear, made=to_come is None), *_of_kin(kin, unclear)]
    places += [*_bundles(found, forgotten, {other.root: other for other, _ in kin}, unclear)]
    places += [*_tunings(found, forgotten), *_studies(found, forgotten)]
    if data is None:
        where = shown_place(run, None)
        caveats.insert(0, f"the data ({where}): `data` PATH, or `data` {SOURCE}, compares them row by row")
    else:
        places += _some(data_place(run, data, salts, unclear, misnamed))
    kept = frozenset(path.resolve() for path in keep)
    living = (*found.parents, *found.others, *found.committed, *found.stored, *found.strangers)
    places = [place.left(kept_why) if place.path in kept else place for place in places]
    needed = needed_salts(run, places, living, salts)
    try:
        held = salts_place(run, salts, needed)
        if held is not None and salts is not None:
            check_salts(run, held.path, data)
        places += _some(held.left(kept_why) if held is not None and held.path in kept else held)
    except ExpungeError as error:
        if salts is None:
            unclear.append(f"the salts: {error}")
        else:  # what is wrong with them is wrong with the data that they open too
            misnamed.insert(0, str(error))
    _check_kept(kept, places)
    return Survey(
        run=run,
        places=tuple(place for place in places if place.holdings),
        misnamed=tuple(misnamed),
        unclear=tuple(unclear),
        caveats=tuple(caveats),
        notes=tuple(_notes(found, places)),
        declared=read_declaration(run.path),
        interrupted=(run.path / Intent.NAME).is_file(),
        kept=kept,
        needed=needed,
        data=data,
        salts=salts,
    )


def _some(place: Place | None) -> list[Place]:
    return [] if place is None else [place]


def _runs(found: Surroundings, forgotten: np.ndarray, unclear: list[str], *, made: bool) -> Iterator[Place]:
    """What runs hold; the run itself is one of them where it is ``made`` already."""
    parents = {one.path for one in found.parents}
    runs = found.runs if made else found.runs[1:]
    tainted: dict[str, str] = {}
    for one in runs:
        try:
            tainted |= digests_of(one, forgotten)
        except ExpungeError:
            continue  # said below
    for one in runs:
        kinship = Kinship.PARENT if one.path in parents else Kinship.BESIDE
        holdings: list[Holding] = []
        try:
            holdings += holdings_of(one, forgotten)
            listed = {holding.path for holding in holdings}
            for stray in strays(one, listed, tainted, forgotten):
                if isinstance(stray, Holding):
                    holdings.append(stray)
                else:
                    unclear.append(stray)
        except ExpungeError as error:
            unclear.append(f"{one.path} could not be looked into ({error})")
        yield Place(
            path=one.path,
            kinship=Kinship.ITSELF if one is found.run else kinship,
            holdings=_not_our_own(found, holdings) if made else tuple(holdings),
        )


def _not_our_own(found: Surroundings, holdings: Sequence[Holding]) -> tuple[Holding, ...]:
    """Weights that are the new run's own are not gone while it is there: where nothing changed, none are ended."""
    own = found.run.weights_digest
    return tuple(
        replace(item, remedy=Remedy.OWNER, why=f"{item.why}; {found.run.path} has the same weights")
        if item.digest == own and item.remedy is Remedy.REMOVE
        else item
        for item in holdings
    )


def _of_kin(kin: Sequence[tuple[Run, tuple[int, ...]]], unclear: list[str]) -> Iterator[Place]:
    for other, held in kin:
        try:
            yield place_of(other, held)
        except ExpungeError as error:
            unclear.append(f"{other.path} could not be looked into ({error})")


def _bundles(
    found: Surroundings, forgotten: np.ndarray, kin: Mapping[bytes, Run], unclear: list[str]
) -> Iterator[Place]:
    for path in found.bundles:
        try:
            holdings = tuple(bundle_holdings(path, found.run, forgotten, kin))
        except Repacked:
            unclear.append(f"{path} holds the files of a bundle and is not packed as attest packs: look yourself")
            continue
        except ExpungeError as error:
            if path.is_dir():  # a zip that is no bundle is somebody else's
                unclear.append(f"{path} could not be looked into ({error})")
            continue
        yield Place(path=path, kinship=Kinship.BUNDLE, holdings=holdings)


def _tunings(found: Surroundings, forgotten: np.ndarray) -> Iterator[Place]:
    """A tuning's trials and choice come from its twins, and hold what these were trained on."""
    for folder in found.tunings:
        held = _held_by_tuning(folder, found, forgotten)
        if held:
            holdings = tuple(whole(path, named, held) for path, named in lying(folder) if named is not None)
            yield Place(path=folder, kinship=Kinship.TUNING, holdings=holdings)


def _held_by_tuning(folder: Path, found: Surroundings, forgotten: np.ndarray) -> int:
    """How many of the slots its rehearsals read: all, but those that both twins and the request left out."""
    twins = [run for run in found.others if run.path.parent == folder]
    if twins:
        spared = twins[0].tombstones
        for twin in twins[1:]:
            spared = np.intersect1d(spared, twin.tombstones)
        return len(np.setdiff1d(forgotten, spared))
    avoided = (asked_first(folder) or {}).get("avoid")
    spared = isinstance(avoided, dict) and avoided.get("digest") == tombstones_digest(forgotten).hex()
    return 0 if spared else len(forgotten)


def _studies(found: Surroundings, forgotten: np.ndarray) -> Iterator[Place]:
    for run in found.stored:
        held = held_by(run, forgotten)
        if not len(held):
            continue
        files = [path for path in run.path.rglob("*") if path.is_file()]
        digest = run.told.weights_digest
        holding = Holding(
            path=run.path,
            what="a result of a study",
            why="trained on them; the study would make it again, so remove its folder yourself",
            slots=len(held),
            digest=digest,
            bytes=sum(path.stat().st_size for path in files),
            remedy=Remedy.OWNER,
        )
        yield Place(path=run.path, kinship=Kinship.STUDY, holdings=(holding,))


def _check_kept(kept: frozenset[Path], places: Sequence[Place]) -> None:
    strange = sorted(str(path) for path in kept - {place.path for place in places})
    if strange:
        raise InvalidArgument(f"`keep` {strange[0]} is none of the folders that were looked into: check its name")


def _notes(found: Surroundings, places: Sequence[Place]) -> Iterator[str]:
    """What is no file and still belongs beside the list."""
    holding = {place.path for place in places if any(item.path.name == MODEL for item in place.holdings)}
    for one in (found.run, *found.others):
        method = one.method
        if (
            one.path not in holding
            and method is not None
            and one.told.execution is Execution.OWN_STEPS
            and not len(held_by(one, found.run.tombstones))
        ):
            yield (
                f"{one.path} was made by {method}: whether its weights still hold them is no question of files, and "
                "nothing here answers it (N5)"
            )
    if (found.run.path / RECORD).is_file():
        yield (
            "the record of this run is signed already: it does not list what is destroyed from now on; hand "
            f"{Declaration.NAME} over beside the bundle"
        )
    parents = [place for place in places if place.kinship is Kinship.PARENT and place.ours]
    if parents and found.run.method is not None and not (found.run.path / Evaluation.NAME).is_file():
        yield "once the parent's weights are gone, `expunge evaluate` cannot compare with them: evaluate before"
