"""References, witnesses, half models: ordinary trainings under own seeds, each carried out once and kept in a store.

References are trained without the rows of a request, witnesses with them, half models without half of all rows. All
share the recipe of the run that is to forget; no two of them share a lineage seed, and none shares one with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count as numbers
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.values import Exact
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.splits import Split
from expunge.measure.readings import Answered, Kept, ReadingKey
from expunge.measure.row import MINIMUM
from expunge.methods.contract import Method
from expunge.methods.lookup import make_method
from expunge.models.resolver import factory_digest
from expunge.records.study_store import JobOutcome
from expunge.study.engine import check_jobs, cores
from expunge.study.job import PlannedData, Train
from expunge.study.local import LocalEngine
from expunge.study.possible import Possible, cost, possible_of
from expunge.study.progress import StudyStanding, Watch
from expunge.study.readings import StoredReadings
from expunge.study.scheduler import carry_out_jobs
from expunge.study.store import Store
from expunge.study.training_job import HALF_SEEDS, REFERENCE_SEEDS, WITNESS_SEEDS, half_sets, training_job
from expunge.train.run import Run

MOST = 1000
"""As many references, witnesses or half models of one request as anybody may ask for."""


def references(
    run: Run | Path | str,
    forget: Sequence[str] | str | None = None,
    *,
    count: int = 8,
    jobs: int | None = None,
    store: Path | str | None = None,
    data: str | None = None,
    show: Callable[[StudyStanding], None] | None = None,
    say: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
    tell: Callable[[str], object] | None = None,
) -> tuple[Run, ...]:
    """Retrain without the rows of a request, ``count`` times in all; those that the store has are taken as they are.

    ``run`` is one that is to forget, with ``forget`` as ``unlearn`` takes it, or one that forgot already. ``store`` is
    the folder of that name beside the original run unless said. ``jobs`` of them are trained at once, as many as there
    are cores unless said; the same call goes on where it was interrupted. ``tell`` is told what evidence this request
    can get, before any of it is paid for.
    """
    wanted = _checked(count)
    request = _Request.of(run, forget, store=store, data=data)
    if tell is not None and request.forget is not None:
        kept, knowing = (len(request.kept(make)) for make in (request.references, request.witnesses))
        asked = max(wanted, MINIMUM)
        tell(str(possible_of(request.original, request.forget, references=kept, witnesses=knowing, wanted=asked)))
    return request.trained(islice(request.references(), wanted), jobs, Watch(1, None, show, say, warn))


def witnesses(
    run: Run | Path | str,
    *,
    count: int = 4,
    jobs: int | None = None,
    store: Path | str | None = None,
    data: str | None = None,
    show: Callable[[StudyStanding], None] | None = None,
    say: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
    tell: Callable[[str], object] | None = None,
) -> tuple[Run, ...]:
    """Train with everybody, as the run itself was trained, ``count`` times in all: what remembering looks like.

    ``run`` is one that is to forget, or one that forgot already. All its requests share them. They hold the rows that
    are to be forgotten: they must be trained before these are gone, and go themselves once the verdict is reached.
    ``tell`` is told what they cost, before that is paid.
    """
    wanted = _checked(count)
    request = _Request.of(run, None, store=store, data=data, needs_forgotten=False)
    lacking = wanted - len(request.kept(request.witnesses))
    if tell is not None and lacking > 0:
        tell(
            f"{wanted} witnesses serve every request of this run; {lacking} to train: {cost(request.original, lacking)}"
        )
    return request.trained(islice(request.witnesses(), wanted), jobs, Watch(1, None, show, say, warn))


def possible(
    run: Run | Path | str,
    forget: Sequence[str] | str | ForgetSet,
    *,
    method: Method | str | None = None,
    store: Path | str | None = None,
    data: str | None = None,
) -> Possible:
    """The evidence that a request to a run can get: its ``str`` is one sentence, and nothing is trained for it.

    An exact ``method`` needs none, and the sentence says so.
    """
    original = Run.of(run)
    chosen = forget if isinstance(forget, ForgetSet) else _chosen(original, forget, data)
    by = make_method(method) if isinstance(method, str) else method
    exact = by is not None and by.reach is Exact and original.exact_ancestor.result.exact_refused is None
    kept = company_of(original, chosen, store=store)
    return possible_of(
        original,
        chosen,
        references=len(kept.references),
        witnesses=len(kept.witnesses),
        refused=kept.refused,
        exactly=by.name if by is not None and exact else None,
    )


def halves(
    run: Run | Path | str,
    *,
    count: int = 16,
    jobs: int | None = None,
    store: Path | str | None = None,
    data: str | None = None,
    show: Callable[[StudyStanding], None] | None = None,
    say: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> tuple[Run, ...]:
    """Train without half of the rows, drawn anew for each two models, ``count`` times in all.

    What the first of two lacks, the second has: of an even number each row is known to half. ``run`` is one that is to
    forget, or one that forgot already; all its requests share them. They hold rows that are to be forgotten, as
    witnesses do.
    """
    wanted = _checked(count)
    request = _Request.of(run, None, store=store, data=data, needs_forgotten=False)
    return request.trained(islice(request.halves(), wanted), jobs, Watch(1, None, show, say, warn))


@dataclass(frozen=True)
class Company:
    """What a store holds of a request, and why more cannot be trained here, if so."""

    references: tuple[Run, ...] = ()
    witnesses: tuple[Run, ...] = ()
    halves: tuple[Run, ...] = ()
    refused: str | None = None


def company_of(
    run: Run, forget: ForgetSet | None = None, *, store: Path | str | None = None, with_halves: bool = False
) -> Company:
    """Who stands beside a run that forgot, or is to ``forget``, as far as trained before; nothing is trained."""
    try:
        request = _Request.of(run, forget, store=store, data=None)
    except (InvalidArgument, RunError, UnsupportedYet) as error:  # none can have been trained
        return Company(refused=str(error))
    halved = request.kept(request.halves) if with_halves else ()
    return Company(request.kept(request.references), request.kept(request.witnesses), halved)


def check_store(store: Path | str | None) -> None:
    """A folder that is named must be one that keeps runs."""
    if store is not None and not _is_store(Path(store)):
        raise InvalidArgument(
            f"`store` {store} keeps no runs: name the folder that `expunge references` was told, or leave it out"
        )


def _is_store(folder: Path) -> bool:
    return (folder / "store.json").is_file()


def readings_beside(runs: Sequence[Run], rows: Mapping[Split, Dataset], original: Run | None) -> Kept:
    """What these runs of a store and their original answered lies beside each; of all others it is kept in memory.

    Where there is none of a store, or nothing can be written beside the original, it is one of the others.
    """
    shared = runs and original is not None and os.access(original.path, os.W_OK)
    return Kept(_InStore(StoredReadings(runs, rows, original if shared else None), {}))


def halves_kept(run: Run | Path | str, store: Path | str | None = None) -> tuple[Run, ...]:
    """The half models of a run that were trained before."""
    try:
        request = _Request.of(run, None, store=store, data=None, needs_forgotten=False)
    except (InvalidArgument, RunError, UnsupportedYet):  # none can have been trained
        return ()
    return request.kept(request.halves)


@dataclass(frozen=True)
class _InStore:
    """Readings beside the runs of a store; those of any other run are kept in memory."""

    stored: StoredReadings
    others: dict[ReadingKey, Answered]

    def get(self, key: ReadingKey, /) -> Answered | None:
        if key[1] not in self.stored.folders:
            return self.others.get(key)
        return self.stored.get(key) if self.stored.lies(key) else None

    def __setitem__(self, key: ReadingKey, answered: Answered, /) -> None:
        if key[1] in self.stored.folders:
            self.stored[key] = answered
        else:
            self.others[key] = answered


@dataclass(frozen=True)
class _Request:
    """What is to be forgotten of which run, and where its references and witnesses are kept."""

    original: Run
    forget: ForgetSet | None
    folder: Path
    location: str | None

    @classmethod
    def of(
        cls,
        run: Run | Path | str,
        forget: Sequence[str] | str | ForgetSet | None,
        *,
        store: Path | str | None,
        data: str | None,
        needs_forgotten: bool = True,
    ) -> _Request:
        given = Run.of(run)
        forgot = given.told.operation == "unlearn" and forget is None
        original = given.parent if forgot else given
        _refuse(original)
        chosen = None
        if forgot:
            chosen = given.forget_set
        elif isinstance(forget, ForgetSet):
            chosen = forget
        elif forget is not None:
            chosen = _chosen(original, forget, data)
        elif needs_forgotten:
            raise InvalidArgument(
                f"{given.path} forgot nothing so far: say with `forget` what references are to be trained without"
            )
        folder = original.path.resolve().parent / "store" if store is None else Path(store)
        return cls(original, chosen, folder, data)

    def references(self) -> Iterator[Train]:
        """Jobs of all references that there may be, in their order."""
        assert self.forget is not None
        before = _forgotten(self.original)
        rules = (*before.rules, *self.forget.rules) if before is not None else self.forget.rules
        without = ForgetSet(np.union1d(self.original.tombstones, self.forget.slots), rules, self.forget.root)
        return self._jobs(REFERENCE_SEEDS, without, "reference")

    def witnesses(self) -> Iterator[Train]:
        """Jobs of all witnesses that there may be, in their order."""
        return self._jobs(WITNESS_SEEDS, _forgotten(self.original), "witness")

    def halves(self) -> Iterator[Train]:
        """Jobs of all half models that there may be, in their order."""
        sets = half_sets(self.original.root, len(self.original.units), _forgotten(self.original))
        return self._jobs(HALF_SEEDS, sets, "half model")

    def _jobs(self, first: int, without: ForgetSet | Iterator[ForgetSet] | None, what: str) -> Iterator[Train]:
        """``without`` is what all of them do without, or each in its turn."""
        recipe, factory = self.original.recipe, factory_digest(self.original.recipe.model)
        seeds = (seed for seed in numbers(first) if seed != recipe.seed)
        lacking = without if isinstance(without, Iterator) else repeat(without)
        for number, seed, less in zip(range(1, MOST + 1), seeds, lacking, strict=False):
            yield training_job(
                replace(recipe, seed=seed),
                self.described,
                f"{what} {number} of {self.original.path.name}",
                without=less,
                factory=factory,
                device=self.original.told.device,
                replayed=False,
                tiers=self.original.tiers,
            )

    @cached_property
    def described(self) -> PlannedData:
        told = self.original.told.data
        source = dict(told.source or {})
        if self.location is not None:
            source["location"] = self.location
        return PlannedData(
            source=source,
            roots=told.roots,
            split_seed=told.split_seed,
            split_by=told.split_by,
            numbers=None if self.original.recipe.classes else True,
        )

    def kept(self, make: Callable[[], Iterator[Train]]) -> tuple[Run, ...]:
        """Those that were trained before, from the first on."""
        if not _is_store(self.folder):
            return ()
        store, found = Store(self.folder), list[Run]()
        for job in make():
            entry = store.entry(job.key)
            if entry is None or entry.outcome is not JobOutcome.DONE:
                break
            found.append(Run.open(store.place(job.key)))
        return tuple(found)

    def trained(self, make: Iterator[Train], jobs: int | None, watch: Watch) -> tuple[Run, ...]:
        """Carry out what the store lacks."""
        wanted = list(make)
        places = min(cores() if jobs is None else jobs, len(wanted))
        check_jobs(places)
        watch.places = places
        store = Store(self.folder)
        with LocalEngine(store, places) as engine:
            outcomes = carry_out_jobs(wanted, store, engine, watch)
        for job in wanted:
            entry = outcomes.entries.get(job.key)
            if entry is None or entry.outcome is not JobOutcome.DONE:
                reason = "it was not begun" if entry is None else entry.reason
                raise RunError(f"{job.title} could not be trained ({reason}): what is done is kept in {self.folder}")
        return tuple(Run.open(store.place(job.key)) for job in wanted)


def _chosen(run: Run, forget: Sequence[str] | str, data: str | None) -> ForgetSet:
    rules = [forget] if isinstance(forget, str) else list(forget)
    return choose(rules, run.data(data)[Split.TRAIN], root=run.root.hex(), forgotten=run.tombstones)


def _forgotten(run: Run) -> ForgetSet | None:
    """Everything that a run has forgotten, and by which rules, from the first request on."""
    if not len(run.tombstones):
        return None
    rules: tuple[str, ...] = ()
    at = run
    while at.told.operation == "unlearn":
        rules = (*at.forget_set.rules, *rules)
        at = at.parent
    if len(at.tombstones):
        rules = (*at.forget_set.rules, *rules)
    return ForgetSet(run.tombstones, rules, run.root.hex())


def _refuse(run: Run) -> None:
    """What cannot be trained here again."""
    told = run.told
    if told.adopted is not None:
        raise InvalidArgument(
            f"{run.path} was trained elsewhere, so nobody here can train it again: let its owner do so without these "
            "rows, and adopt that with `without`"
        )
    what = None
    if told.data.source is None:
        what = "its data were handed over in memory, where other processes cannot read them; train on a file"
    elif told.data.secret:
        what = "its salts are secret, so its data set cannot be committed to again"
    elif run.recipe.base is not None:
        what = "its training begins with a base"
    if what is not None:
        raise UnsupportedYet(
            f"references, witnesses and half models of {run.path}: {what}; make them one by one, by unlearn with the "
            "method retrain and another training seed"
        )


def _checked(count: int) -> int:
    if type(count) is not int or not 1 <= count <= MOST:
        raise InvalidArgument(f"`count` {count!r:.40} must be a whole number from 1 to {MOST}")
    return count
