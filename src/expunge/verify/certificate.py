"""From a bundle and what was checked of it to its certificate.

What a record claims and what a verification reached stand apart: nothing of the first becomes the second by being
printed. Without a verdict every line is the bundle's own word.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from expunge.core.errors import RecordError
from expunge.data.commitment import tombstones_digest
from expunge.records.bundle import COMMIT, ENVELOPE, HEAD, MODEL, Bundle
from expunge.records.canonical import malformed
from expunge.records.certificate import Certificate, ChainRecord, Checked, Command, Emptied, Logged, recipe_fields
from expunge.records.envelope import envelope_digest
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code, refused
from expunge.records.note import open_checkpoint, read_checkpoint, read_note
from expunge.records.record import BeaconPart, Commit, CommittedData, Initiator, LeafSalts, Operation, RunRecord
from expunge.records.statement import Statement, read_unchecked
from expunge.records.trust import of_method, of_model
from expunge.records.verdict import Level, Verdict
from expunge.verify.ladder import ceiling, in_short, left_open, rungs
from expunge.verify.people import People, committed_units, people_of
from expunge.verify.questions import questions
from expunge.verify.summary import summary, title
from expunge.verify.verdict_text import answer
from expunge.verify.wording import (
    COMMITTED_AFTERWARDS,
    GRINDABLE,
    GRINDABLE_SECRET,
    NOTHING_RETIRED,
    OPEN_LEAVES,
    RECORDED_AFTERWARDS,
    SECRET_LEAVES,
    UNWITNESSED,
    WITNESSED_UNCHECKED,
    guarantee_meaning,
    level_says,
)

ZERO = "zero"


def certificate(
    bundle: Bundle,
    verdict: Verdict | None = None,
    keys: Sequence[TrustedKey] = (),
    *,
    at: str | None = None,
) -> Certificate:
    """The certificate of an open bundle.

    ``verdict`` is what a verification against ``keys`` said; without one nothing was checked. ``at`` is when that was,
    a second in UTC.
    """
    chain = _chain(bundle)
    commit, run = chain[0].statement.predicate, chain[-1].statement.predicate
    if not isinstance(commit, Commit) or not isinstance(run, RunRecord):
        raise malformed(str(bundle.path), "its chain must lead from a commitment to a run")
    if verdict is not None and verdict.run not in (None, chain[-1].statement):
        raise refused(Code.UNSAFE_FILE, f"{bundle.path} changed after it was verified: verify a copy of your own")
    recipe, window = recipe_fields(bundle, run), run.audit_window
    adopted = chain[1].statement.predicate.operation is Operation.ADOPT
    forgotten, ladder = _emptied(bundle, commit, run, chain), rungs(run, verdict, adopted=adopted)
    found = Certificate(
        commit=commit,
        run=run,
        chain=tuple(chain),
        checked=None if verdict is None else _checked(bundle, verdict, run, at),
        title=title(chain[-1].statement, run, forgotten),
        summary=summary(run, forgotten),
        ladder=ladder,
        left_open=left_open(run, ladder),
        meaning=guarantee_meaning(run.guarantee, forgot=bool(run.data.tombstones)),
        afterwards=_afterwards(commit, run),
        forgotten=forgotten,
        leaves=OPEN_LEAVES if commit.data.salts is LeafSalts.OPEN else SECRET_LEAVES,
        has_model=MODEL in bundle,
        recipe=recipe,
        grindable=_grindable(commit, run.randomness.beacon),
        log=_log(bundle, keys if verdict is not None else ()),
        nothing_retired=None if not run.data.tombstones or run.retired or window else NOTHING_RETIRED,
        verification=_verification(
            bundle, commit, run, *(str((recipe or {}).get(name, "")) for name in ("model", "base")), adopted=adopted
        ),
    )
    return replace(found, questions=questions(found))


def _chain(bundle: Bundle) -> list[ChainRecord]:
    """The records from the commitment to the run, as each names the one before it."""
    if COMMIT not in bundle:
        raise refused(Code.CHAIN_BROKEN, f"{bundle.path} holds no {COMMIT}: nothing says what was committed")
    names = [COMMIT, *(name for name in bundle.names if name.startswith("parents/"))]
    known: dict[bytes, Statement] = {}
    for name in names:
        content = bundle.read(name)
        known[envelope_digest(content)] = read_unchecked(content, name, bundle)
    content = bundle.read(ENVELOPE)
    found = [ChainRecord(envelope=envelope_digest(content), statement=read_unchecked(content, ENVELOPE, bundle))]
    while isinstance(record := found[-1].statement.predicate, RunRecord):
        parent = record.parent
        if parent not in known:
            raise refused(
                Code.CHAIN_BROKEN,
                f"{bundle.path}: the envelope {parent.hex()[:16]}… that the chain leads to is missing: ask for it",
            )
        found.append(ChainRecord(envelope=parent, statement=known.pop(parent)))
    return found[::-1]


def _afterwards(commit: Commit, run: RunRecord) -> str | None:
    if commit.recorded_afterwards:
        return COMMITTED_AFTERWARDS
    return RECORDED_AFTERWARDS if run.recorded_afterwards else None


def _checked(bundle: Bundle, verdict: Verdict, run: RunRecord, at: str | None) -> Checked:
    says = level_says(verdict.reached, run, model=MODEL in bundle)
    return Checked(verdict=verdict, at=at, answer=answer(verdict), says=says, in_short=in_short(verdict, run))


def _emptied(bundle: Bundle, commit: Commit, run: RunRecord, chain: Sequence[ChainRecord]) -> Emptied:
    emptied, records = set(run.data.tombstones), [link.statement.predicate for link in chain]
    before = records[-2]
    newly = emptied.difference(before.data.tombstones) if isinstance(before, RunRecord) else emptied
    people = _people(bundle, commit.data, newly or emptied, emptied)
    requests = [request for record in records if isinstance(record, RunRecord) for request in record.requests]
    owners = {slot for request in requests if request.initiator is Initiator.OWNER for slot in request.slots}
    return Emptied(
        slots=len(emptied),
        owner_initiated=len(emptied & owners),
        digest=tombstones_digest(run.data.tombstones),
        of=run.data.count,
        beside=len(run.data.released_calibration) + len(run.data.released_holdout),
        newly=len(newly or emptied),
        people=None if people is None else people.count,
        in_part=None if people is None else people.in_part,
    )


def _people(bundle: Bundle, data: CommittedData, newly: set[int], emptied: set[int]) -> People | None:
    """Whose the rows are that a record empties first; None where the bundle does not show it."""
    if not emptied or min(emptied) < 0 or max(emptied) >= data.count:
        return None
    units = committed_units(bundle, data)
    return None if units is None else people_of(newly, emptied, units)


def _grindable(commit: Commit, beacon: BeaconPart) -> str | None:
    if beacon.source != ZERO and any(beacon.value):
        return None
    return GRINDABLE if commit.data.salts is LeafSalts.OPEN else GRINDABLE_SECRET


def _log(bundle: Bundle, keys: Sequence[TrustedKey]) -> Logged | None:
    if HEAD not in bundle:
        return None
    content = bundle.read(HEAD)
    note = read_note(content, HEAD, bundle.limits)
    head = read_checkpoint(note.text, HEAD)
    witnesses: list[str] = []
    others = [line.name for line in note.lines if line.name != head.origin]
    try:
        opened = open_checkpoint(content, keys, HEAD, bundle.limits) if keys else None
    except RecordError:  # the verdict says so
        opened = None
    if opened is not None:
        witnesses, others = [seen.key.name for seen in opened.witnesses], list(opened.unknown)
    remark = None if witnesses else WITNESSED_UNCHECKED if others else UNWITNESSED
    return Logged(head=head, witnesses=tuple(witnesses), other_signers=tuple(others), remark=remark)


def _verification(
    bundle: Bundle, commit: Commit, run: RunRecord, model: str, base: str, *, adopted: bool
) -> tuple[Command, ...]:
    name = shlex.quote(bundle.path.name or "bundle")
    verify = f"expunge verify {name} --keys trusted.json --level"
    given = "--data DATA" + (" --salts SALTS" if commit.data.salts is LeafSalts.SECRET else "")
    if commit.noise_commitment is not None:
        given += " --noise-key KEY"
    if base:
        given += " --base BASE"
    foreign = [] if run.algorithm.source is None else [of_method(run)]
    foreign += [] if run.environment.factory == "zoo" else [of_model(model, run)]
    given += "".join(f" --trust {shlex.quote(digest)}" for digest in foreign)
    if run.sums is not None:
        weights = f"{verify} V1 --checkpoints CHECKPOINTS"
        return (
            Command(level="V1", command=f"{verify} V1", does="form and structure; nothing of the owner's is needed"),
            Command(level="V1", command=weights, does="the weights derived again from the sums, no row needed"),
            Command(
                level="V3", command=f"{verify} V3 {given} --checkpoints CHECKPOINTS", does="the rows added up again"
            ),
            Command(level="V4", command=f"{verify} V4 {given}", does="the rows added up from nothing, on any machine"),
        )
    own = any(item.startswith("checkpoints/") for item in bundle.names)
    states = given if own else f"{given} --checkpoints CHECKPOINTS"
    steps = [("V1", f"{verify} V1", "form and structure, in seconds; nothing of the owner's is needed")]
    top, _ = ceiling(run, adopted=adopted)
    if top is Level.V3:
        again = f"{verify} V3 {given} --checkpoints PARENT"
        steps.append(("V3", again, "the method again, from the parent's model while that is kept"))
    elif top is Level.V4:
        steps += [
            ("V2", f"{verify} V2 {states}", "some steps again"),
            ("V3", f"{verify} V3 {states}", "every step again"),
            ("V4", f"{verify} V4 {given}", "the training again from nothing"),
        ]
    return tuple(Command(level=level, command=command, does=does) for level, command, does in steps)
