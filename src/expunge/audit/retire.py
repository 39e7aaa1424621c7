"""Ending what hygiene found: sound new run first, then old states, then salts, then the declaration.

What is about to go is written down before the first file goes (``hygiene-intent.json`` in the run folder), so that a
destruction which was cut short is known and finished by the same command. Every step can be done twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from expunge.audit.bundle import ENVELOPE
from expunge.audit.declaration import Declaration, Destroyed, Window, read_declaration, together, write_declaration
from expunge.audit.holdings import Remedy, is_recorded
from expunge.audit.hygiene import INTENT, Kinship, Survey, forgotten_rows
from expunge.core.clock import FORM, utc_now
from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.files import read_bytes, write_bytes, write_text
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.data.salts import destroy_salts
from expunge.train.checkpoint import read_checkpoint
from expunge.train.folder import sound, writing
from expunge.train.run import Run

FORMAT = "expunge/hygiene-intent/1"
RETIRED, RETIRED_FORMAT = "retired.json", "expunge/retired/1"
LONGEST_WINDOW = 3650
STATES = re.compile(  # what holdings are called inside their folder
    r"(?:checkpoints/)?(?:[^/]+\.safetensors|\.[^/]+\.part)\Z|trace(?:\.bin|/[^/]+\.bin)\Z"
    r"|(?:evaluation|tuning)\.json\Z|trials\.jsonl\Z"
)
READ_OFF = frozenset({"beliefs.safetensors", "evaluation.json"})
TUNED = frozenset({"tuning.json", "trials.jsonl"})
Progress = Callable[[int, int], None]


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


def declare_window(run: Run, days: int, *, now: str | None = None) -> Declaration:
    """Destroy nothing for so many days: the old state stays for auditors, and the record says until when."""
    if type(days) is not int or not 1 <= days <= LONGEST_WINDOW:
        raise InvalidArgument(f"an audit window of {days} days must last 1 to {LONGEST_WINDOW} days")
    if (run.path / "record" / "envelope.json").is_file():
        raise RunError(
            f"the record of {run.path} is signed and cannot name a window any more: declare it before `expunge attest`"
        )
    if (run.path / INTENT).is_file():
        raise RunError(f"a destruction of {run.path} was begun: finish it with `expunge hygiene {run.path} --destroy`")
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
    """Refuse unless the new run is sound and the records of its parents are signed: neither can be had afterwards.

    ``unrecorded`` gives the second up: no record of this run that names its parents can be made then.
    """
    for place in found.places:
        signed = (place.path / "record" / "envelope.json").is_file()
        if place.kinship is Kinship.PARENT and place.ours and not signed and not unrecorded:
            raise RunError(
                f"{place.path} has no signed record, and none can be made without its states: run `expunge attest "
                f"{place.path}` first, or give --unrecorded if the chain of {found.run.path} needs no record"
            )
    _check_sound(found.run)


def destroy(found: Survey, *, unrecorded: bool = False, progress: Progress | None = None) -> Declaration:
    """End everything that can be ended, and write hygiene.json. A destruction that was cut short is finished first.

    Asking whether it is meant is the caller's part.
    """
    check_destroyable(found, unrecorded=unrecorded)
    run = found.run
    with ExitStack() as held:
        held.enter_context(writing(run.path))
        steps = _unfinished(run)
        named = {(step.path, step.remedy) for step in steps}
        steps += [step for step in _steps(found) if (step.path, step.remedy) not in named]
        steps.sort(key=lambda step: step.remedy is Remedy.SALTS)
        folders = dict.fromkeys(step.folder for step in steps if step.folder is not None)
        others = [folder for folder in folders if folder != run.path and folder.is_dir() and not _is_bundle(folder)]
        for folder in others:
            held.enter_context(writing(folder))
        _intend(run, steps)
        for folder in others:
            _mark(folder, run, [step for step in steps if step.folder == folder])
        for done, step in enumerate(steps):
            _end(step)
            if progress is not None:
                progress(done + 1, len(steps))
        before = read_declaration(run.path)
        gone = [Destroyed(step.what, step.digest) for step in steps]
        declared = Declaration(together(() if before is None else before.retired, gone))
        write_declaration(run.path, declared)
        (run.path / INTENT).unlink(missing_ok=True)
    return declared


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
            salts = holding.remedy is Remedy.SALTS
            yield Step(
                path=holding.path,
                folder=None if salts else place.path,
                what=holding.what,
                digest=holding.digest,
                remedy=holding.remedy,
                keep=holding.keep,
                rows=forgotten_rows(found.run) if salts else (),
            )


def _intend(run: Run, steps: Sequence[Step]) -> None:
    content = {"format": FORMAT, "run": run.weights_digest, "steps": [step.as_json() for step in steps]}
    write_text(run.path / INTENT, plain_json(content))


def _unfinished(run: Run) -> list[Step]:
    """Steps of a destruction that was cut short. What is gone must have been ended by it, not moved away."""
    path = run.path / INTENT
    if not path.is_file():
        return []
    value = parse_json(read_bytes(path, "the intent"))
    try:
        found = cast("dict[str, Any]", value)
        if (found["format"], found["run"]) != (FORMAT, run.weights_digest):
            raise ValueError
        steps = [_step(item) for item in found["steps"]]
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
    return steps


def _may_end(step: Step, run: Run) -> bool:
    """Whether hygiene could have listed this: a file of a run, tuning or bundle beside it, or this run's own salts.

    The intent is read from a folder that others may have written; nothing else in it is believed either.
    """
    if step.folder is None or step.remedy is Remedy.SALTS:
        return step.folder is None and step.remedy is Remedy.SALTS and set(step.rows) <= set(forgotten_rows(run))
    if ".." in step.path.parts or not step.path.is_relative_to(step.folder):
        return False
    inner = step.path.relative_to(step.folder).as_posix()
    if step.folder == run.path:  # the new run itself must stay sound
        return inner in (READ_OFF if is_recorded(run) else {*READ_OFF, *_own_states(run)})
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
        return Run.open_any(folder).manifest.get("dataset_root") == run.manifest["dataset_root"]
    except ExpungeError:
        return False


def _was_ours(step: Step, run: Run) -> bool:
    """Whether a file that is gone went by our hand: its folder is still there and says so, or needs not to."""
    if step.folder is None:
        return False
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
