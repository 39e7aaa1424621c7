"""``forget``: a run, who must go and a guarantee give a run that earned it, and nothing left that holds the rows.

Composed of what is there: the cheapest method that earns the guarantee, ``unlearn``, hygiene, ``attest``. Every step
can be done twice, so that the same call on what was interrupted goes on, and on what is done answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np

from expunge.attest.attest import Attested, attest
from expunge.attest.kept import kept_record
from expunge.attest.office import Office
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import clear_unfinished, read_bytes
from expunge.core.values import Certified, ClaimVerdict, Empirical, Exact, OpenBar, Undecided
from expunge.core.wording import choice
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, choose, released
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.desk.candidates import KINDS, Candidate, candidates_of, cheapest, predicted
from expunge.hygiene.recordable import unsigned
from expunge.hygiene.retire import check_destroyable, check_reason, declare_kept, destroy, open_window
from expunge.hygiene.surroundings import look_around
from expunge.hygiene.survey import Survey, survey
from expunge.methods.lookup import read_method
from expunge.methods.removal_account import allowance
from expunge.methods.unlearn import unlearn
from expunge.records.declaration import RetiredFile
from expunge.records.document import read_document
from expunge.records.documents import RECORD
from expunge.records.record import GuaranteeKind
from expunge.records.run_file import RunFile, UnlearnRequest
from expunge.records.scalars import Slots
from expunge.report.facts import read_evaluation
from expunge.study.evaluate import evaluate
from expunge.study.references import company_of
from expunge.train.run import Run, slots_by_split, write_run_file

NAMED = ("subject:", "class:", "random:")  # rules that say by themselves who must go
UNSIGNED = "kept, since no record of it is signed"
NUMBERED = re.compile(r"(?P<stem>.+)\.(?P<number>[1-9][0-9]*)\Z")
Consent = bool | Callable[[Survey], bool]  # to a destruction: given, refused, or asked for with what would go


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """Who is to be forgotten by which run, and what is to be earned. Nothing is written for knowing that."""

    run: Run
    rules: tuple[str, ...]
    asked: GuaranteeKind
    out: Path | None
    data: GivenData
    salts: Path | None
    device: str | None

    @classmethod
    def of(
        cls,
        run: Run | Path | str,
        rules: Sequence[str] | str,
        guarantee: GuaranteeKind | str,
        *,
        out: Path | str | None = None,
        data: GivenData = None,
        salts: Path | str | None = None,
        device: str | None = None,
    ) -> ForgetRequest:
        """The rules in one order. A run that is retired still has the answers that it gave, and gives no others."""
        found = cls(
            run=Run.of(run),
            rules=tuple(sorted({rules} if isinstance(rules, str) else set(rules))),
            asked=choice(GuaranteeKind, guarantee, "`guarantee`") if isinstance(guarantee, str) else guarantee,
            out=None if out is None else Path(out),
            data=data,
            salts=None if salts is None else Path(salts),
            device=device,
        )
        if found.run.retired and found.answer is None:
            raise RunError(
                f"{found.run.path} was retired: its weights held rows that were forgotten since, and were destroyed; "
                f"forget from {_heir(found.run)}"
            )
        return found

    @cached_property
    def rows(self) -> Mapping[Split, Dataset]:
        return self.run.data(self.data, salts=self.salts)

    @cached_property
    def forget(self) -> ForgetSet:
        run = self.run
        return choose(self.rules, self.rows[Split.TRAIN], root=run.root.hex(), forgotten=run.tombstones)

    @cached_property
    def answer(self) -> Run | None:
        """The run that answers this very request, finished or not."""
        return next((one for one in self._children if self._is_answer(one)), None)

    @cached_property
    def folder(self) -> Path:
        """Where the answer lies, or is to lie."""
        if self.answer is not None:
            return self.answer.path
        return self.out or next(path for path in self._numbered if not _taken(path))

    @property
    def _children(self) -> Iterator[Run]:
        for path in self._numbered if self.out is None else [self.out]:
            if not _taken(path):
                return
            if (path / RunFile.NAME).is_file():
                yield Run.open_any(path)

    @property
    def _numbered(self) -> Iterator[Path]:
        """RUN.1, RUN.2, … beside a training; what follows on a run that forgot has the numbers after its own."""
        found = NUMBERED.match(self.run.path.name) if self.run.told.operation == "unlearn" else None
        stem, last = (self.run.path.name, 0) if found is None else (found["stem"], int(found["number"]))
        return (self.run.path.with_name(f"{stem}.{number}") for number in count(last + 1))

    def _is_answer(self, one: Run) -> bool:
        asked, method = one.told.request, one.told.method
        if not isinstance(asked, UnlearnRequest) or asked.parent != self.run.weights_digest or method is None:
            return False
        earned = read_method(method).reach if one.told.result is None else one.guarantee
        if earned.rank < KINDS[self.asked].rank:
            return False
        if all(rule.startswith(NAMED) for rule in self.rules):
            return sorted(one.told.rules or ()) == list(self.rules)
        return asked.forget == tombstones_digest(self.forget.slots).hex()

    def branches(self, emptied: np.ndarray) -> tuple[str, ...]:
        """A line for each other child of the run that forgot rows which this branch holds."""
        return tuple(
            f"{one.path.name} has forgotten {', '.join(one.told.rules or ())}: this branch still holds these rows"
            for one in look_around(self.run).others
            if one.told.parent is not None
            and one.told.parent.weights_digest == self.run.weights_digest
            and one.path.resolve() != self.folder.resolve()
            and len(np.setdiff1d(one.tombstones, emptied))
        )


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a request comes to, before any of it is done: ``found`` is what would hold the rows."""

    folder: Path
    candidates: tuple[Candidate, ...]
    chosen: Candidate
    branches: tuple[str, ...]
    found: Survey


@dataclass(frozen=True, kw_only=True)
class Forgot:
    """What came of a request; ``found`` is what still holds the rows now.

    ``settled`` says whether old state was ended or is kept for a reason, ``unsigned`` are runs that were left because
    no record of them is signed. ``judged`` stands where tests decide, ``attested`` where a bundle was written now.
    """

    run: Run
    parent: Run
    branches: tuple[str, ...]
    found: Survey
    settled: bool
    unsigned: tuple[Path, ...]
    judged: ClaimVerdict | None
    attested: Attested | None

    @property
    def fully(self) -> bool:
        """Whether it may be called fully forgotten: exactly, and nothing that was looked at holds the rows."""
        return isinstance(self.run.guarantee, Exact) and self.found.clean and self.kept_state is None

    @property
    def kept_state(self) -> str | None:
        """Why old state was left."""
        return None if self.found.declared is None else self.found.declared.kept_state

    @property
    def account(self) -> str | None:
        """What certified removals have spent before and after, of what they may."""
        after, before, earned = self.run.told.account, self.parent.told.account, self.run.guarantee
        if after is None or not isinstance(earned, Certified):
            return None
        allowed = allowance(self.run.recipe.perturbation, earned.epsilon, earned.delta, len(after["spent"]))
        spent = "nothing, it was opened now" if before is None else f"{max(before['spent']):.3g}"
        return f"{spent} before, {max(after['spent']):.3g} after, of {allowed:.3g} that may be spent"


def foresee(request: ForgetRequest) -> Foreseen:
    """What a request would come to; nothing is written."""
    run, slots = request.run, request.forget.slots
    candidates = candidates_of(run, slots, request.rows, request.device)
    chosen = cheapest(run, request.asked, candidates)
    emptied = np.union1d(run.tombstones, slots)
    gone = slots_by_split(released(request.rules, request.rows, run.released))
    to_come = replace(run.told, tombstones=Slots(tuple(emptied.tolist())), released=gone, result=None)
    return Foreseen(
        folder=request.folder,
        candidates=candidates,
        chosen=chosen,
        branches=request.branches(emptied),
        found=survey(run, salts=request.salts, to_come=to_come),
    )


def forget(
    run: Run | Path | str,
    forget: Sequence[str] | str,
    *,
    guarantee: GuaranteeKind | str,
    out: Path | str | None = None,
    key: Path | str | None = None,
    yes: Consent = False,
    unrecorded: bool = False,
    keep_state: str | None = None,
    data: GivenData = None,
    salts: Path | str | None = None,
    device: str | None = None,
    bar: OpenBar = lambda what: nullcontext(lambda done, total: None),
    tell: Callable[[Candidate], object] | None = None,
) -> Forgot:
    """Forget by the cheapest method that earns the guarantee, end what holds the rows, and sign what was done.

    ``forget`` are rules as ``unlearn`` takes them. ``out`` is ``RUN.1`` beside the run, or the next number, unless
    said. Nothing is destroyed without ``yes``; with ``unrecorded`` also what no signed record is of. ``keep_state``
    says why old state is left instead. With a ``key`` the parent's record is signed before anything is destroyed, and
    the new run's afterwards, into a bundle beside it. ``data`` and ``salts`` are where these lie now, if they moved.
    ``tell`` is told which method was chosen, before it begins.
    """
    _check_terms(yes, unrecorded, keep_state)
    request = ForgetRequest.of(run, forget, guarantee, out=out, data=data, salts=salts, device=device)
    bundle = _bundle_of(request.folder)
    if key is not None:
        Office.of(key).check()
        if bundle.exists() and not (request.folder / RECORD).is_file():
            raise RunError(f"{bundle} exists, where the bundle is to be written: remove it, or choose another `out`")
    child = _carried_out(request, key, bar, tell)
    _sign(request.run, key)
    for one in (request.run.path, child.path):  # what a killed process left of a bundle holds what the bundle would
        clear_unfinished(_bundle_of(one))
    judged = _judged(child, request, bar)
    found, left, settled = _cleared(child, request.salts, yes, unrecorded, keep_state, bar)
    attested = None
    if key is not None and settled and not bundle.exists():
        with bar("attest") as progress:
            attested = attest(child, key=key, out=bundle, progress=progress)
    return Forgot(
        run=child,
        parent=request.run,
        branches=request.branches(child.tombstones),
        found=found,
        settled=settled,
        unsigned=tuple(left),
        judged=judged,
        attested=attested,
    )


def _bundle_of(folder: Path) -> Path:
    return folder.resolve().with_name(f"{folder.resolve().name}-bundle")


def _check_terms(yes: Consent, unrecorded: bool, keep_state: str | None) -> None:
    if unrecorded and yes is not True:
        raise InvalidArgument("`unrecorded` has no use without `yes`: it says what else is destroyed")
    if keep_state is not None:
        if yes is True:
            raise InvalidArgument("`keep_state` and `yes` exclude each other: leave old state, or destroy it")
        check_reason(keep_state)


def _carried_out(
    request: ForgetRequest, key: Path | str | None, bar: OpenBar, tell: Callable[[Candidate], object] | None
) -> Run:
    """The run that answers the request, made, gone on with, or as it stands."""
    run, found = request.run, request.answer
    if found is not None and found.told.status == "finished":
        return found
    if found is None or found.told.method is None:
        chosen = cheapest(run, request.asked, candidates_of(run, request.forget.slots, request.rows, request.device))
    else:
        method = read_method(found.told.method)
        chosen = Candidate(method=method, cost=predicted(run, request.forget.slots, method))
    if tell is not None:
        tell(chosen)
    with bar(chosen.method.name) as progress:
        made = unlearn(
            run,
            request.rules,
            method=chosen.method,
            out=request.folder,
            data=request.rows,
            salts=request.salts,
            device=request.device,
            progress=progress,
            before=lambda asked, forget: _sign(asked, key),
        )
    if made.guarantee.rank < KINDS[request.asked].rank:
        raise RunError(
            f"{made.path} came out as {made.guarantee}, less than `guarantee` {request.asked.value} "
            f"({made.result.exact_refused}): nothing was destroyed; remove that folder, or ask for less"
        )
    told = replace(made.told, forgetting=replace(made.forgetting, predicted=chosen.cost))
    write_run_file(made.path, told)
    return Run(made.path, told)


def _sign(run: Run, key: Path | str | None) -> None:
    """Sign the record of a run and enter it, unless it is; one that another key signed is refused."""
    if key is not None and kept_record(run, Office.of(key).key) is None:
        attest(run, key=key, model=False, bundle=False)


def _judged(child: Run, request: ForgetRequest, bar: OpenBar) -> ClaimVerdict | None:
    """What tests say of a result that nothing else speaks for, while its parent is there to compare it with."""
    if not isinstance(child.guarantee, Empirical):
        return None
    kept = read_evaluation(child.path)
    if kept is None and not request.run.retired and company_of(child).references:
        with bar("measure") as progress:
            kept = evaluate(child, data=request.data, device=request.device, progress=progress)
    if kept is not None:
        return kept.verdict
    return Undecided(
        f"no model was trained without these rows to compare it with: `expunge references {child.path}`, then "
        f"`expunge evaluate {child.path}`, while {request.run.path} has its weights"
    )


def _cleared(
    child: Run, salts: Path | None, yes: Consent, unrecorded: bool, reason: str | None, bar: OpenBar
) -> tuple[Survey, list[Path], bool]:
    """What still holds the rows, which runs were left for want of a record, and whether old state is settled."""
    found, left = _looked_at(child, salts, unrecorded)
    if reason is not None:
        declare_kept(found, reason)
    elif found.ours or found.interrupted:
        check_destroyable(found, unrecorded=unrecorded)
        agreed = yes if isinstance(yes, bool) else open_window(found) is None and yes(found)
        if not agreed:
            return found, left, found.declared is not None and found.declared.kept_state is not None
        with bar("destroy") as progress:
            destroy(found, unrecorded=unrecorded, progress=progress)
    else:
        return found, left, True
    return *_looked_at(child, salts, unrecorded), True


def _looked_at(child: Run, salts: Path | None, unrecorded: bool) -> tuple[Survey, list[Path]]:
    """What holds the rows; runs that no signed record is of are left alone."""
    found = survey(child, salts=salts)
    left = [] if unrecorded else unsigned(found)
    return (survey(child, salts=salts, keep=left, kept_why=UNSIGNED) if left else found), left


def _taken(path: Path) -> bool:
    """Whether anything lies there that a new run could not take the place of."""
    return path.exists() and not (path.is_dir() and all(item.name.startswith(".") for item in path.iterdir()))


def _heir(run: Run) -> str:
    """Where the life of a retired run goes on: the run that it went for, or what that was retired for in its turn."""
    beside = {one.told.weights_digest: one for one in look_around(run).others}
    while run.retired:
        note = run.path / RetiredFile.NAME
        heir = read_document(RetiredFile, read_bytes(note, "the note of what was retired"), str(note)).run
        if heir not in beside:
            return f"the run that they went for, with weights {heir[:12]}…"
        run = beside.pop(heir)
    return str(run.path)
