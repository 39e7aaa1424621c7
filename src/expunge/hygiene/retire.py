"""Ending what hygiene found: sound new run first, then old states, then salts, then the declaration.

What is about to go is written down before the first file goes (``hygiene-intent.json`` in the run folder), so that a
destruction which was cut short is known and finished by the same command. Every step can be done twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from expunge.core.clock import FORM, utc_now
from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.core.files import read_bytes, unfinished_name, write_bytes, write_text
from expunge.core.hashing import parse_json
from expunge.core.values import Progress
from expunge.core.wording import LONGEST_TEXT, says_why
from expunge.data.salts import destroy_salts, read_salts, remove_leftover
from expunge.hygiene.held_salts import check_salts, salts_of_rows
from expunge.hygiene.places import Kinship, forgotten_rows
from expunge.hygiene.recordable import check_recorded
from expunge.hygiene.strays import is_read_off, may_stray
from expunge.hygiene.surroundings import tuned_on
from expunge.hygiene.survey import Survey
from expunge.records.bundle import ENVELOPE, holding_rows
from expunge.records.declaration import (
    Declaration,
    Destroyed,
    Gone,
    Intent,
    IntentStep,
    RetiredFile,
    Window,
    read_declaration,
    together,
    write_declaration,
)
from expunge.records.document import read_document, write_document
from expunge.records.documents import RECORD, STATES, declared, redacted, state_name
from expunge.records.holds import Held, Remedy
from expunge.records.run_file import RunFile
from expunge.records.scalars import Slots
from expunge.records.tensors import TENSORS
from expunge.train.accumulate import sound_sums
from expunge.train.checkpoint import read_checkpoint
from expunge.train.folder import sound, writing
from expunge.train.run import Run

LONGEST_WINDOW = 3650
OLD = frozenset({Kinship.PARENT, Kinship.BESIDE, Kinship.BUNDLE})  # what an auditor can replay lies there


def declare_window(found: Survey, window: int, *, now: str | None = None) -> Declaration:
    """Destroy nothing for a ``window`` of days: the old state stays for auditors, and the record says until when."""
    run = found.run
    if type(window) is not int or not 1 <= window <= LONGEST_WINDOW:
        raise InvalidArgument(f"an audit window of {window} days must last 1 to {LONGEST_WINDOW} days")
    if (run.path / RECORD).is_file():
        raise RunError(
            f"the record of {run.path} is signed and cannot name a window any more: declare it before `expunge attest`"
        )
    if (run.path / Intent.NAME).is_file():
        raise RunError(
            f"a destruction of {run.path} was begun: finish it with `expunge hygiene {run.path}` and `destroy`"
        )
    if not any(place.kinship in OLD and place.holdings for place in found.places):
        raise InvalidArgument(
            f"an audit window of {window} days would keep nothing: no old state of {run.path} is left where it was "
            "looked for, so leave `window` out, or name the folder that it lies in with `folders`"
        )
    before = read_declaration(run.path)
    until = datetime.strptime(now or utc_now(), FORM).replace(tzinfo=UTC) + timedelta(days=window)
    declared = Declaration(() if before is None else before.retired, Window(window, until.strftime(FORM)))
    write_declaration(run.path, declared)
    return declared


def declare_kept(found: Survey, reason: str) -> Declaration:
    """Destroy nothing, and say why: the record repeats it."""
    check_reason(reason)
    before = found.declared or Declaration()
    declared = replace(before, kept_state=reason)
    write_declaration(found.run.path, declared)
    return declared


def check_reason(reason: str) -> None:
    """A reason that nobody could read is refused."""
    if not says_why(reason):
        raise InvalidArgument(
            f"`keep_state` {reason[:60]!r} must say why old state is left, in 1 to {LONGEST_TEXT} printable characters "
            "with a letter among them: the record repeats it"
        )


def open_window(found: Survey, now: str | None = None) -> Window | None:
    """The audit window that is not over yet, if there is one."""
    window = None if found.declared is None else found.declared.window
    return window if window is not None and (now or utc_now()) < window.until else None


def check_destroyable(found: Survey, *, unrecorded: bool = False) -> None:
    """Refuse where something would go that is still needed: it could not be had afterwards.

    The new run must be sound and not the old one over again, the salts must be its own, and the records of its parents
    and of the answers beside it must be signed. ``unrecorded`` gives the last up: none can be made then.
    """
    salts = [holding.path for holding in found.ours if holding.remedy is Remedy.SALTS]
    salts += [step.path for step in _unfinished(found.run)[0] if step.remedy is Remedy.SALTS]
    for path in dict.fromkeys(salts):
        check_salts(found.run, path, found.data)
    if found.misnamed:
        raise InvalidArgument(f"nothing is destroyed before all that was named is looked at: {found.misnamed[0]}")
    if not unrecorded:
        check_recorded(found)
    _check_sound(found.run)
    if found.unchanged is not None:
        why = found.unchanged.why
        raise RunError(f"nothing is destroyed, since {found.run.path} holds the forgotten rows itself: {why}")


def destroy(found: Survey, *, unrecorded: bool = False, progress: Progress | None = None) -> Declaration:
    """End everything that can be ended, and write hygiene.json. A destruction that was cut short is finished first.

    Asking whether it is meant is the caller's part.
    """
    check_destroyable(found, unrecorded=unrecorded)
    run = found.run
    with ExitStack() as held:
        held.enter_context(writing(run.path))
        begun, before = _unfinished(run)
        steps = _together(found, [step for step in begun if _still_meant(step, found)])
        folders = dict.fromkeys(step.folder for step in steps if step.folder is not None)
        others = [folder for folder in folders if folder != run.path and folder.is_dir() and not _is_bundle(folder)]
        for folder in others:
            held.enter_context(writing(folder))
        _intend(run, steps, before)
        for folder in others:
            _mark(folder, run, [step for step in steps if step.folder == folder])
        for done, step in enumerate(steps):
            _end(step)
            if progress is not None:
                progress(done + 1, len(steps))
        declared = Declaration(together(before, [Destroyed(step.what, step.digest) for step in steps]))
        write_declaration(run.path, declared)
        (run.path / Intent.NAME).unlink(missing_ok=True)
    return declared


def _together(found: Survey, begun: Sequence[IntentStep]) -> list[IntentStep]:
    """Steps of a destruction that was cut short, then what was found since; salts last, each row once."""
    steps = {(step.path, step.remedy): _without_needed(step, found) for step in begun}
    for step in _steps(found):
        known = steps.setdefault((step.path, step.remedy), step)
        if step.remedy is Remedy.SALTS and not set(step.rows) <= set(known.rows):
            rows = Slots(tuple(sorted({*step.rows, *known.rows})))
            steps[step.path, step.remedy] = replace(step, rows=rows, what=salts_of_rows(len(rows)))
    meant = [step for step in steps.values() if step.remedy is not Remedy.SALTS or step.rows]
    return sorted(meant, key=lambda step: step.remedy in (Remedy.SALTS, Remedy.LEFTOVER))


def _still_meant(step: IntentStep, found: Survey) -> bool:
    """What its owner keeps by now is not ended, unless it was before; nor what is left of salts that are not ours."""
    if not step.path.exists():
        return True
    if step.remedy is Remedy.LEFTOVER:
        return step.path in {holding.path for holding in found.ours}
    if step.folder not in found.kept and step.path not in found.kept:
        return True
    return step.remedy is Remedy.CUT and step.path.stat().st_size <= step.keep


def _without_needed(step: IntentStep, found: Survey) -> IntentStep:
    """Salts that a living run needs by now stay, unless they are gone already."""
    if step.remedy is not Remedy.SALTS or not found.needed:
        return step
    gone = set(read_salts(step.path, found.run.told.data.rows).destroyed)
    rows = Slots(tuple(row for row in step.rows if row not in found.needed or row in gone))
    return step if rows == step.rows else replace(step, rows=rows, what=salts_of_rows(len(rows)))


def _check_sound(run: Run) -> None:
    """The new run must stand alone: its weights, and every state that it says it recorded."""
    sound(run)
    if run.result.sums is not None:
        sound_sums(run.path, run.result.sums)
    if not run.told.replayable:
        return
    for shard in range(run.recipe.shards):
        for checkpoint in run.log.checkpoints(shard):
            path = run.path / state_name(shard, checkpoint.step)
            if read_checkpoint(path, checkpoint) is None:
                raise RunError(
                    f"{path} is missing or not what the log of {run.path} says: nothing is destroyed while the new run "
                    "is not sound; make it again, or restore that file"
                )


def _steps(found: Survey) -> Iterator[IntentStep]:
    for place in found.places:
        for holding in place.ours:
            salts = holding.remedy in (Remedy.SALTS, Remedy.LEFTOVER)
            yield IntentStep(
                path=holding.path,
                folder=None if salts else place.path,
                what=holding.what,
                digest=holding.digest,
                remedy=holding.remedy,
                keep=holding.keep,
                rows=Slots(holding.rows),
            )


def _intend(run: Run, steps: Sequence[IntentStep], before: Sequence[Destroyed]) -> None:
    intent = Intent(run=run.weights_digest, before=tuple(before), steps=tuple(steps))
    write_text(run.path / Intent.NAME, write_document(intent))


def _unfinished(run: Run) -> tuple[Sequence[IntentStep], tuple[Destroyed, ...]]:
    """Steps of a destruction that was cut short, and what was declared before it; else none, and what is declared.

    What is gone must have been ended by it, not moved away.
    """
    declared = read_declaration(run.path)
    retired = () if declared is None else declared.retired
    path = run.path / Intent.NAME
    if not path.is_file():
        return (), retired
    value = parse_json(read_bytes(path, "the intent"))
    try:
        intent = read_document(Intent, value, str(path))
    except DataError:
        intent = None
    before = retired if intent is None or intent.before is None else intent.before
    if intent is None or intent.run != run.weights_digest or retired[: len(before)] != before:
        raise RunError(
            f"{path} is not the intent of a destruction for this run: it was altered; remove it and look again"
        )
    for step in intent.steps:
        if not _may_end(step, run):
            raise RunError(
                f"{path} names {step.path}, which is no old state of this run's data: it was altered; remove it and "
                "look again"
            )
        if not step.path.exists() and not _was_ours(step, run):
            raise RunError(
                f"{step.path} was to be destroyed, is not there, and nothing says that it was: put it back, or remove "
                f"{path} and look again"
            )
    return intent.steps, before


def _may_end(step: IntentStep, run: Run) -> bool:
    """Whether hygiene could have listed this: a file of a run, tuning or bundle beside it, or this run's own salts.

    The intent is read from a folder that others may have written; nothing else in it is believed either.
    """
    if step.remedy is Remedy.LEFTOVER:
        return step.folder is None and unfinished_name(step.path.name) is not None
    if step.folder is None or step.remedy is Remedy.SALTS:
        return step.folder is None and step.remedy is Remedy.SALTS and set(step.rows) <= set(forgotten_rows(run))
    if ".." in step.path.parts or not step.path.is_relative_to(step.folder):
        return False
    inner = step.path.relative_to(step.folder).as_posix()
    if step.folder == run.path:  # the new run itself must stay sound
        own = not run.told.tells_seen and inner.startswith(f"{STATES}/")
        return own or is_read_off(inner) or may_stray(run, inner)
    return _may_hold(inner) and _of_same_data(step, step.folder, run)


def _may_hold(inner: str) -> bool:
    """Whether what lies under this name in an old folder can hold rows, by its declaration; any tensors can."""
    if unfinished_name(inner.rpartition("/")[2]) is not None or inner.endswith(TENSORS):
        return True
    named = declared(inner)
    return any(holding_rows([inner])) or (named is not None and named.holds.held is not Held.NOTHING)


def _of_same_data(step: IntentStep, folder: Path, run: Run) -> bool:
    """A bundle, a run or a tuning of the same data; where nothing is left, nothing can be ended."""
    if not folder.is_dir() or _is_bundle(folder):
        return True
    root = run.told.dataset_root
    if not (folder / RunFile.NAME).is_file():
        return tuned_on(folder) == root or not step.path.exists()
    try:
        return Run.open_any(folder).told.dataset_root == root
    except ExpungeError:
        return False


def _was_ours(step: IntentStep, run: Run) -> bool:
    """Whether a file that is gone went by our hand: its folder is still there and says so, or needs not to."""
    if step.folder is None:
        return step.remedy is Remedy.LEFTOVER
    return step.folder == run.path or _is_bundle(step.folder) or (step.folder / RetiredFile.NAME).is_file()


def _is_bundle(folder: Path) -> bool:
    """A bundle holds files of a fixed list: no lock and no note can be laid into it."""
    return (folder / ENVELOPE).is_file() and not (folder / RunFile.NAME).exists()


def _mark(folder: Path, run: Run, steps: Sequence[IntentStep]) -> None:
    """Say in the old folder what went and for which run, before it goes."""
    path = folder / RetiredFile.NAME
    gone = [Gone(file=str(step.path.relative_to(folder)), what=step.what, digest=step.digest) for step in steps]
    earlier: tuple[Gone, ...] = ()
    if path.is_file():
        earlier = read_document(RetiredFile, read_bytes(path, "the note of what was retired"), str(path)).gone
    gone = (*(item for item in earlier if item not in gone), *gone)
    write_text(path, write_document(RetiredFile(run=run.weights_digest, gone=gone)))


def _end(step: IntentStep) -> None:
    match step.remedy:
        case Remedy.REMOVE:
            step.path.unlink(missing_ok=True)
        case Remedy.CUT:
            _cut(step)
        case Remedy.REDACT:
            left = redacted(step.path)
            if left is not None:
                write_text(step.path, left)
        case Remedy.SALTS:
            destroy_salts(step.path, step.rows)
        case Remedy.LEFTOVER:
            remove_leftover(step.path)
        case Remedy.OWNER:
            pass


def _cut(step: IntentStep) -> None:
    if step.path.is_file() and step.path.stat().st_size > step.keep:
        with step.path.open("rb") as handle:
            kept = handle.read(step.keep)
        write_bytes(step.path, kept)
