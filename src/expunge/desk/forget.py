"""``forget``: a run, who must go and a guarantee give a run that earned it, and nothing left that holds the rows.

Composed of what is there: the cheapest method that earns the guarantee, ``unlearn``, hygiene, ``attest``. Every step
can be done twice, so that the same call on what was interrupted goes on, and on what is done answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.attest.attest import Attested, attest
from expunge.attest.kept import kept_record
from expunge.attest.office import Office
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import clear_unfinished
from expunge.core.values import Certified, ClaimVerdict, Empirical, Exact, OpenBar, Undecided
from expunge.data.forget_set import released
from expunge.data.handed import GivenData
from expunge.desk.candidates import KINDS, Candidate, candidates_of, cheapest, expected
from expunge.desk.request import ForgetRequest
from expunge.hygiene.recordable import unsigned
from expunge.hygiene.retire import check_destroyable, check_reason, declare_kept, destroy, open_window
from expunge.hygiene.survey import Survey, survey
from expunge.methods.lookup import read_method
from expunge.methods.removal_account import allowance
from expunge.methods.unlearn import unlearn
from expunge.records.documents import RECORD
from expunge.records.record import GuaranteeKind
from expunge.records.scalars import Slots
from expunge.report.facts import read_evaluation
from expunge.study.evaluate import evaluate
from expunge.study.references import company_of
from expunge.train.run import Run, slots_by_split, write_run_file

UNSIGNED = "kept, since no record of it is signed"
Consent = bool | Callable[[Survey], bool]  # to a destruction: given, refused, or asked for with what would go


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
    if request.finished is not None:
        return request.finished
    if found is None or found.told.method is None:
        chosen = cheapest(run, request.asked, candidates_of(run, request.forget.slots, request.rows, request.device))
    else:
        method = read_method(found.told.method)
        chosen = Candidate(method=method, cost=expected(run, request.forget.slots, method, request.rows))
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
        if not isinstance(yes, bool):
            check_destroyable(found, unrecorded=unrecorded)  # whatever refuses it does so before anybody is asked
            yes = open_window(found) is None and yes(found)
        if not yes:
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
