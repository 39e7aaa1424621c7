"""``worst``: which rows, or classes, of a run make the forget set that unlearning handles worst."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.attacks import ATTACKS
from expunge.attacks.contract import RANDOM_SETS, Candidates, Chooser, Chosen, End
from expunge.attacks.halves import HalfModels
from expunge.attacks.worst_distant import Distant, Proxy
from expunge.attacks.worst_heuristics import Heuristic, Moderate, OriginalLoss
from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import sha256
from expunge.core.selection.ranking import overlap
from expunge.core.settings import read_settings
from expunge.core.values import Progress
from expunge.core.wording import nearest
from expunge.data.forget_set import ForgetSet, read_forget_set
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.records.document import write_document
from expunge.records.run_file import RunFile
from expunge.records.scalars import Large
from expunge.records.selection import Overlaps, Selection, SelectionGuards, SelectionOrigin
from expunge.schedule.fields import require_kind
from expunge.tasks import TASKS
from expunge.tasks.task import ClassTask
from expunge.train.examples import Examples
from expunge.train.meter import Meter
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device

SIZE = re.compile(r"(?P<amount>\d{1,15}(?:\.\d{1,15})?)(?P<percent>%?)\Z", re.ASCII)
AGREED = 0.6  # what two selections by one rule must share
STUCK = "the optimiser did not move"


def make_chooser(name: str, settings: Mapping[str, str] | None = None) -> Chooser:
    """An objective or a heuristic by its name, with the fields that were set."""
    if name not in ATTACKS:
        raise InvalidArgument(f"{name[:80]!r} chooses no set: known are {', '.join(ATTACKS)}{nearest(name, ATTACKS)}")
    return ATTACKS[name](**read_settings(ATTACKS[name], settings or {}, "selection", name))


def worst(
    run: Run | Path | str,
    *,
    size: str | int,
    out: Path | str,
    objective: Chooser | str = "hidden",
    by: str = "row",
    cap_per_class: float | None = None,
    heuristic: Sequence[str] = (),
    beside: Sequence[Path | str] = (),
    halves: Sequence[Run | Path | str] = (),
    seed: int = 0,
    data: GivenData = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> ForgetSet:
    """Choose and write a forget set, which every command takes as ``forget``.

    ``size`` is a share such as ``10%`` or a count, of rows or, ``by`` class, of classes. ``objective`` is ``hidden``,
    ``distant``, the name of a heuristic, or one of ``ATTACKS`` with its fields. No class gives more than the share
    ``cap_per_class`` of its rows. Laid beside it are a random set, the heuristics that cost nothing, those named by
    ``heuristic``, and the sets in the files ``beside``: those chosen by the same rule under another seed or on another
    original must share most of it. ``halves`` are runs trained without half of the rows, for the proxy ``lira`` of
    ``distant``; their trainings are not counted into its cost. The same call again gives the same bytes; a finished
    file is taken as it is.
    """
    for name, value, kinds, what in (
        ("size", size, (str, int), "a share such as 10%, or a count"),
        ("out", out, (str, os.PathLike), "a file"),
        ("objective", objective, (str, Chooser), "hidden, distant, or one of ATTACKS"),
        ("seed", seed, (int,), "a whole number"),
        ("heuristic", heuristic, (list, tuple), "a list of names"),
        ("beside", beside, (list, tuple), "a list of files"),
        ("halves", halves, (list, tuple), "a list of runs"),
        ("cap_per_class", cap_per_class, (int, float, type(None)), "a share"),
    ):
        require_kind(name, value, kinds, what)
    opened, chooser = Run.of(run), make_chooser(objective) if isinstance(objective, str) else objective
    if by not in ("row", "class"):
        raise InvalidArgument(f"`by` {by!r} is not one of row, class")
    others = [make_chooser(name) for name in dict.fromkeys(heuristic)]
    for each in (chooser, *others):
        each.refuse(opened, whole_classes=by == "class")
    _refuse(opened, others, seed)
    half_models = HalfModels.of(halves, opened) if halves else None
    if half_models is not None and not (isinstance(chooser, Distant) and chooser.proxy is Proxy.LIRA):
        raise InvalidArgument("`halves` are read by `objective` distant with `proxy` lira alone: leave them out")
    compared = [_Compared.read(Path(file), opened) for file in dict.fromkeys(beside)]
    target, root = Path(out), opened.root.hex()
    train = opened.data(data)[Split.TRAIN]
    slots = np.setdiff1d(np.flatnonzero(train.present), opened.tombstones)
    labels = train.labels[slots]
    count = _count(size, len(np.unique(labels)) if by == "class" else len(slots), by)
    most = _most(cap_per_class, labels, len(train.classes), count, by)
    origin = SelectionOrigin(
        chooser=chooser.told,
        weights=opened.weights_digest,
        by="class" if by == "class" else "row",
        size=count,
        seed=Large(seed),
        cap_per_class=cap_per_class,
        heuristics=tuple(one.name for one in others),
        beside=tuple(one.digest for one in compared),
        halves=() if half_models is None else tuple(one.weights_digest for one in half_models.runs),
    )
    if (done := _finished(target, origin, root)) is not None:
        return done
    with pinned(opened.recipe):
        candidates = Candidates(
            run=opened,
            examples=Examples(opened.recipe, train, find_device(device or opened.told.device)),
            slots=slots,
            labels=labels,
            whole_classes=by == "class",
            count=count,
            seed=seed,
            most=most,
            meter=Meter(),
            halves=half_models,
            progress=progress,
        )
        chosen = chooser.choose(candidates)
        cost = candidates.meter.example_steps
        selection = Selection(
            origin=origin,
            guards=_guards(chosen, candidates, chooser, compared),
            cost=cost,
            rows=len(slots),
            measured=chosen.measured,
            value=chosen.value(chosen.places),
            random=tuple(chosen.value(places) for places in candidates.random(RANDOM_SETS)),
            classes=_histogram(labels[candidates.rows(chosen.places)], train.classes),
            overlaps=_overlaps(chosen, candidates, chooser, others, compared),
        )
    found = ForgetSet(slots[candidates.rows(chosen.places)], (f"worst:{chooser.name}",), root, selection)
    write_text(target, write_document(found.file))
    return found


@dataclass(frozen=True, eq=False)
class _Compared:
    """A saved set that is laid beside the one that is chosen."""

    name: str
    digest: str
    found: ForgetSet

    @classmethod
    def read(cls, path: Path, run: Run) -> _Compared:
        content = read_bytes(path, "the forget set")
        found = read_forget_set(content)
        if found.root != run.root.hex():
            raise InvalidArgument(
                f"{path} names slots of the data set {found.root[:12]}…, {run.path} was trained on "
                f"{run.root.hex()[:12]}…: lay sets of the same rows `beside`"
            )
        return cls(path.stem, sha256(content).hex(), found)


def _refuse(run: Run, others: Sequence[Chooser], seed: int) -> None:
    if not 0 <= seed < 2**53:
        raise InvalidArgument(f"seed {seed} of a selection must be a whole number from 0 to 2^53 − 1")
    if run.told.operation == "unlearn":
        raise InvalidArgument(
            f"{run.path} forgot {run.told.forgotten} rows already: sets are chosen on the training that requests will "
            "be made to; name that run"
        )
    if not isinstance(TASKS[run.recipe.task], ClassTask):
        raise UnsupportedYet(
            f"{run.path} learns the task {run.recipe.task!r}, whose labels are no classes: worst sets are chosen among "
            "rows of classes so far"
        )
    if run.recipe.shards > 1:
        raise UnsupportedYet(
            f"{run.path} has {run.recipe.shards} shards, whose answers are averaged and never trained as one: worst "
            "sets are chosen on a run with one shard so far"
        )
    odd = next((one for one in others if not isinstance(one, Heuristic)), None)
    if odd is not None:
        raise InvalidArgument(f"`heuristic` {odd.name} is an objective and no heuristic: give it as `objective`")


def _count(size: str | int, total: int, by: str) -> int:
    """How many rows or classes are wanted; none and all are no choice."""
    text = str(size)
    parsed, what = SIZE.match(text), "rows" if by == "row" else "classes"
    if parsed is None or (not parsed["percent"] and "." in parsed["amount"]):
        raise InvalidArgument(f"`size` {text[:40]!r} must be a share such as 10%, or a whole number of {what}")
    amount = float(parsed["amount"])
    count = max(1, round(total * amount / 100)) if parsed["percent"] and amount else int(amount)
    if not 0 < count < total:
        raise InvalidArgument(
            f"`size` {text} would choose {'none' if count == 0 else 'all or more'} of {total} {what}: ask for 1 to "
            f"{total - 1}"
        )
    return count


def _most(cap: float | None, labels: np.ndarray, classes: int, count: int, by: str) -> np.ndarray | None:
    """How many rows of each class may be chosen."""
    if cap is None:
        return None
    if by == "class":
        raise InvalidArgument("`cap_per_class` with `by` class: whole classes are chosen there; leave one of them out")
    if not 0 < cap < 1:
        raise InvalidArgument(f"`cap_per_class` {cap:g} must be a share above 0 and below 1, such as 0.2")
    most = np.floor(cap * np.bincount(labels, minlength=classes) + 1e-9).astype(np.int64)
    if most.sum() < count:
        raise InvalidArgument(
            f"`cap_per_class` {cap:g} allows {most.sum()} rows in all, `size` asks for {count}: raise the cap or ask "
            "for fewer"
        )
    return most


def _finished(target: Path, origin: SelectionOrigin, root: str) -> ForgetSet | None:
    """The set of the very same call, if it is there already; nothing else is written over."""
    if target.suffix != ".json" or target.name == RunFile.NAME or (target.parent / RunFile.NAME).exists():
        raise InvalidArgument(f"`out` {target} must be a .json file outside the folder of a run: choose another")
    if not target.exists():
        return None
    try:
        found = read_forget_set(read_bytes(target, "the forget set"))
    except DataError:
        raise RunError(f"{target} exists and is no forget set: choose another `out`") from None
    if found.root == root and found.selection is not None and found.selection.origin == origin:
        return found
    raise RunError(f"{target} holds another forget set: choose another `out`, or remove that file")


def _guards(chosen: Chosen, candidates: Candidates, chooser: Chooser, compared: Sequence[_Compared]) -> SelectionGuards:
    slots = candidates.slots[candidates.rows(chosen.places)]
    others = [
        one.found
        for one in compared
        if (told := one.found.selection) is not None
        and (told.origin.chooser, told.origin.by, told.origin.size)
        == (chooser.told, "class" if candidates.whole_classes else "row", candidates.count)
    ]
    agreement = min((overlap(slots, one.slots) for one in others), default=None)
    undecided = STUCK if chosen.stuck else None
    if undecided is None and agreement is not None and agreement < AGREED:
        undecided = f"another selection by the same rule shares {agreement:.0%} of it, less than {AGREED:.0%}"
    return SelectionGuards(
        tied=chosen.tied,
        chance=candidates.chance,
        start=chosen.start,
        held=chosen.held,
        fractional=chosen.fractional,
        reach=chosen.reach,
        halved=chosen.halved,
        agreement=agreement,
        undecided=undecided,
    )


def _histogram(labels: np.ndarray, classes: Sequence[int | str]) -> dict[str, int]:
    counts = np.bincount(labels, minlength=len(classes))
    return {str(name): int(count) for name, count in zip(classes, counts, strict=True)}


def _overlaps(
    chosen: Chosen,
    candidates: Candidates,
    chooser: Chooser,
    others: Sequence[Chooser],
    compared: Sequence[_Compared],
) -> Overlaps:
    """What the set shares with others of its size, and they with each other."""
    free: list[Chooser] = [OriginalLoss(), OriginalLoss(end=End.HIGH)]
    if "features" in candidates.original:
        free += [Moderate()] if candidates.whole_classes else [Moderate(), Distant()]
    for one in others:
        assert isinstance(one, Heuristic)
        free += [type(one)(end=end) for end in End]
    sets = {chooser.label: chosen.places, "random": candidates.random(1)[0]}
    for one in free:
        if one.label not in sets:
            sets[one.label] = one.choose(candidates).places
    rows = {name: candidates.slots[candidates.rows(places)] for name, places in sets.items()}
    rows |= {f"file {one.name}": one.found.slots for one in compared}
    shares = tuple(tuple(round(overlap(one, other), 4) for other in rows.values()) for one in rows.values())
    return Overlaps(names=tuple(rows), shares=shares)
