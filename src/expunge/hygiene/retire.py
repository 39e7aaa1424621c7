"""Ending what hygiene found: sound new run first, then old states, then salts, then the declaration.

What is about to go is written down before the first file goes (``hygiene-intent.json`` in the run folder), so that a
destruction which was cut short is known and finished by the same command. Every step can be done twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from expunge.core.clock import FORM, utc_now
from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.files import read_bytes, write_bytes, write_text
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.core.values import Progress
from expunge.data.salts import LEFTOVER, destroy_salts, read_salts, remove_leftover
from expunge.hygiene.held_salts import check_salts, salts_of_rows
from expunge.hygiene.holdings import Remedy, is_recorded
from expunge.hygiene.places import Kinship, forgotten_rows
from expunge.hygiene.recordable import check_recorded
from expunge.hygiene.strays import READ_OFF, may_stray
from expunge.hygiene.survey import Survey
from expunge.records.bundle import ENVELOPE
from expunge.records.declaration import (
    INTENT,
    Declaration,
    Destroyed,
    Window,
    read_declaration,
    together,
    write_declaration,
)
from expunge.train.checkpoint import read_checkpoint
from expunge.train.folder import sound, writing
from expunge.train.run import Run

FORMAT = "expunge/hygiene-intent/1"
RETIRED, RETIRED_FORMAT = "retired.json", "expunge/retired/1"
LONGEST_WINDOW = 3650
STATES = re.compile(  # what holdings are called inside their folder
    r"(?:[^/]+/)*(?:[^/]+\.safetensors|\.[^/]+\.part)\Z|trace(?:\.bin|/[^/]+\.bin)\Z"
    r"|(?:evaluation|tuning)\.json\Z|trials\.jsonl\Z"
)
TUNED = frozenset({"tuning.json", "trials.jsonl"})
OLD = frozenset({Kinship.PARENT, Kinship.BESIDE, Kinship.BUNDLE})  # what an auditor can replay lies there


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to end; ``folder`` is the run or tuning that it lies in, None for salts."""

    path: Path
    folder: Path | None
    what: str
    digest: str | None
    remedy: Remedy
    keep: int
    rows: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "folder": None if self.folder is None else str(self.folder),
            "what": self.what,
            "digest": self.digest,
            "remedy": self.remedy.value,
            "keep": self.keep,
            "rows": list(self.rows),
        }


def declare_window(found: Survey, days: int, *, now: str | None = None) -> Declaration:
    """Destroy nothing for so many days: the old state stays for auditors, and the record says until when."""
    run = found.run
    if type(days) is not int or not 1 <= days <= LONGEST_WINDOW:
        raise InvalidArgument(f"an audit window of {days} days must last 1 to {LONGEST_WINDOW} days")
    if (run.path / "record" / "envelope.json").is_file():
        raise RunError(
            f"the record of {run.path} is signed and cannot name a window any more: declare it before `expunge attest`"
        )
    if (run.path / INTENT).is_file():
        raise RunError(f"a destruction of {run.path} was begun: finish it with `expunge hygiene {run.path} --destroy`")
    if not any(place.kinship in OLD and place.holdings for place in found.places):
        raise InvalidArgument(
            f"an audit window of {days} days would keep nothing: no old state of {run.path} is left where it was "
            "looked for, so leave --window out, or name the folder that it lies in with --folder"
        )
    before = read_declaration(run.path)
    until = datetime.strptime(now or utc_now(), FORM).replace(tzinfo=UTC) + timedelta(days=days)
    declared = Declaration(() if before is None else before.retired, Window(days, until.strftime(FORM)))
    write_declaration(run.path, declared)
    return declared


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
        (run.path / INTENT).unlink(missing_ok=True)
    return declared


def _together(found: Survey, begun: Sequence[Step]) -> list[Step]:
    """Steps of a destruction that was cut short, then what was found since; salts last, each row once."""
    steps = {(step.path, step.remedy): _without_needed(step, found) for step in begun}
    for step in _steps(found):
        known = steps.setdefault((step.path, step.remedy), step)
        if step.remedy is Remedy.SALTS and not set(step.rows) <= set(known.rows):
            rows = tuple(sorted({*step.rows, *known.rows}))
            steps[step.path, step.remedy] = replace(step, rows=rows, what=salts_of_rows(len(rows)))
    meant = [step for step in steps.values() if step.remedy is not Remedy.SALTS or step.rows]
    return sorted(meant, key=lambda step: step.remedy in (Remedy.SALTS, Remedy.LEFTOVER))


def _still_meant(step: Step, found: Survey) -> bool:
    """What its owner keeps by now is not ended, unless it was before; nor what is left of salts that are not ours."""
    if not step.path.exists():
        return True
    if step.remedy is Remedy.LEFTOVER:
        return step.path in {holding.path for holding in found.ours}
    if step.folder not in found.kept and step.path not in found.kept:
        return True
    return step.remedy is Remedy.CUT and step.path.stat().st_size <= step.keep


def _without_needed(step: Step, found: Survey) -> Step:
    """Salts that a living run needs by now stay, unless they are gone already."""
    if step.remedy is not Remedy.SALTS or not found.needed:
        return step
    gone = set(read_salts(step.path, found.run.told.data.rows).destroyed)
    rows = tuple(row for row in step.rows if row not in found.needed or row in gone)
    return step if rows == step.rows else replace(step, rows=rows, what=salts_of_rows(len(rows)))


def _check_sound(run: Run) -> None:
    """The new run must stand alone: its weights, and every state that it says it recorded."""
    sound(run)
    if not is_recorded(run):
        return
    for shard in range(run.recipe.shards):
        for checkpoint in run.log.checkpoints(shard):
            path = run.path / "checkpoints" / checkpoint.name
            if read_checkpoint(path, checkpoint) is None:
                raise RunError(
                    f"{path} is missing or not what the log of {run.path} says: nothing is destroyed while the new run "
                    "is not sound; make it again, or restore that file"
                )


def _steps(found: Survey) -> Iterator[Step]:
    for place in found.places:
        for holding in place.ours:
            salts = holding.remedy in (Remedy.SALTS, Remedy.LEFTOVER)
            yield Step(
                path=holding.path,
                folder=None if salts else place.path,
                what=holding.what,
                digest=holding.digest,
                remedy=holding.remedy,
                keep=holding.keep,
                rows=holding.rows,
            )


def _intend(run: Run, steps: Sequence[Step], before: Sequence[Destroyed]) -> None:
    content = {
        "format": FORMAT,
        "run": run.weights_digest,
        "before": [{"what": item.what, "digest": item.digest} for item in before],
        "steps": [step.as_json() for step in steps],
    }
    write_text(run.path / INTENT, plain_json(content))


def _unfinished(run: Run) -> tuple[list[Step], tuple[Destroyed, ...]]:
    """Steps of a destruction that was cut short, and what was declared before it; else none, and what is declared.

    What is gone must have been ended by it, not moved away.
    """
    declared = read_declaration(run.path)
    retired = () if declared is None else declared.retired
    path = run.path / INTENT
    if not path.is_file():
        return [], retired
    value = parse_json(read_bytes(path, "the intent"))
    try:
        found = cast("dict[str, Any]", value)
        if (found["format"], found["run"]) != (FORMAT, run.weights_digest):
            raise ValueError
        steps = [_step(item) for item in found["steps"]]
        before = retired
        if "before" in found:
            before = tuple(Destroyed(item["what"], item["digest"]) for item in found["before"])
        if retired[: len(before)] != before:
            raise ValueError
    except (LookupError, TypeError, ValueError):
        raise RunError(
            f"{path} is not the intent of a destruction for this run: it was altered; remove it and look again"
        ) from None
    for step in steps:
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
    return steps, before


def _may_end(step: Step, run: Run) -> bool:
    """Whether hygiene could have listed this: a file of a run, tuning or bundle beside it, or this run's own salts.

    The intent is read from a folder that others may have written; nothing else in it is believed either.
    """
    if step.remedy is Remedy.LEFTOVER:
        return step.folder is None and LEFTOVER.match(step.path.name) is not None
    if step.folder is None or step.remedy is Remedy.SALTS:
        return step.folder is None and step.remedy is Remedy.SALTS and set(step.rows) <= set(forgotten_rows(run))
    if ".." in step.path.parts or not step.path.is_relative_to(step.folder):
        return False
    inner = step.path.relative_to(step.folder).as_posix()
    if step.folder == run.path:  # the new run itself must stay sound
        own: set[str] = set() if is_recorded(run) else _own_states(run)
        return inner in READ_OFF or inner in own or may_stray(run, inner)
    return STATES.match(inner) is not None and (inner in TUNED or _of_same_data(step.folder, run))


def _own_states(run: Run) -> set[str]:
    """States of a method that takes steps of its own; what it came to is the model, not they."""
    folder = run.path / "checkpoints"
    return {f"checkpoints/{path.name}" for path in folder.iterdir()} if folder.is_dir() else set()


def _of_same_data(folder: Path, run: Run) -> bool:
    """A bundle, or a run of the same data; of a folder that is gone nothing can be ended."""
    if not folder.is_dir() or _is_bundle(folder):
        return True
    try:
        return Run.open_any(folder).told.dataset_root == run.told.dataset_root
    except ExpungeError:
        return False


def _was_ours(step: Step, run: Run) -> bool:
    """Whether a file that is gone went by our hand: its folder is still there and says so, or needs not to."""
    if step.folder is None:
        return step.remedy is Remedy.LEFTOVER
    return step.folder == run.path or _is_bundle(step.folder) or (step.folder / RETIRED).is_file()


def _is_bundle(folder: Path) -> bool:
    """A bundle holds files of a fixed list: no lock and no note can be laid into it."""
    return (folder / ENVELOPE).is_file() and not (folder / "run.json").exists()


def _step(item: Mapping[str, Any]) -> Step:
    return Step(
        path=Path(item["path"]),
        folder=None if item["folder"] is None else Path(item["folder"]),
        what=str(item["what"]),
        digest=None if item["digest"] is None else str(item["digest"]),
        remedy=Remedy(item["remedy"]),
        keep=int(item["keep"]),
        rows=tuple(int(row) for row in item["rows"]),
    )


def _mark(folder: Path, run: Run, steps: Sequence[Step]) -> None:
    """Say in the old folder what went and for which run, before it goes."""
    path = folder / RETIRED
    gone = [{"file": str(step.path.relative_to(folder)), "what": step.what, "digest": step.digest} for step in steps]
    if path.is_file():
        value = parse_json(read_bytes(path, "the note of what was retired"))
        earlier: list[Any] = cast("dict[str, Any]", value).get("gone", []) if isinstance(value, dict) else []
        gone = [*(item for item in earlier if item not in gone), *gone]
    write_text(path, plain_json({"format": RETIRED_FORMAT, "for": run.weights_digest, "gone": gone}))


def _end(step: Step) -> None:
    match step.remedy:
        case Remedy.REMOVE:
            step.path.unlink(missing_ok=True)
        case Remedy.CUT:
            _cut(step)
        case Remedy.REDACT:
            _redact(step)
        case Remedy.SALTS:
            destroy_salts(step.path, step.rows)
        case Remedy.LEFTOVER:
            remove_leftover(step.path)
        case Remedy.OWNER:
            pass


def _cut(step: Step) -> None:
    if step.path.is_file() and step.path.stat().st_size > step.keep:
        with step.path.open("rb") as handle:
            kept = handle.read(step.keep)
        write_bytes(step.path, kept)


def _redact(step: Step) -> None:
    """An evaluation without its examples; its digest is that of what is left."""
    if not step.path.is_file():
        return
    value = parse_json(read_bytes(step.path, "the evaluation"))
    if not isinstance(value, dict):
        return
    found = cast("dict[str, Any]", value)
    left = {name: inner for name, inner in found.items() if name != "digest"} | {"examples": []}
    digest = sha256(b"expunge/evaluation/1", canonical_json(left)).hex()
    write_text(step.path, plain_json({**left, "digest": digest}))
