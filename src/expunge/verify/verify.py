"""``verify``: what a bundle shows, level by level, against keys that the verifier holds. No torch up to level V1."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.files import read_bytes
from expunge.core.values import Progress
from expunge.core.wording import nearest
from expunge.records.bundle import ENVELOPE, open_bundle
from expunge.records.keys import KeyRole, TrustedKey, load_trusted
from expunge.records.limits import LIMITS, SEGMENTS, Code, Limits
from expunge.records.verdict import Finding, FindingOutcome, Level, Verdict, holds, refused_finding
from expunge.verify import checks
from expunge.verify.levels.remarks import remarks_of
from expunge.verify.opened import OpenedRecord, Supplied
from expunge.verify.outcomes import without_code

DIGEST = re.compile(r"[0-9a-fA-F]{64}")


def verify(
    bundle: Path | str,
    *,
    keys: Path | str | Sequence[TrustedKey],
    level: Level | str = Level.V1,
    limits: Limits = LIMITS,
    known_checkpoint: Path | str | None = None,
    known_records: Collection[str] = (),
    witnesses: int = 0,
    data: Any = None,
    salts: Path | str | None = None,
    checkpoints: Path | str | None = None,
    segments: int = SEGMENTS,
    noise_key: Path | str | None = None,
    trust: Collection[str] = (),
    base: Path | str | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Verify a record up to ``level``; nothing in the bundle is believed, and nothing in it is executed.

    ``keys`` is the verifier's own list, or its file. ``known_checkpoint`` is the file of a log checkpoint kept from an
    earlier visit, ``known_records`` are digests of records (64 hexadecimal digits) kept from one: the run must come
    from each of them. ``witnesses`` is how many of those on the list must have cosigned the log. The rest is for V2 and
    above: ``data`` and ``salts`` where rows are, ``checkpoints`` a folder with the recorded states, ``segments`` how
    many are drawn at V2, ``noise_key`` of a certified run, ``trust`` the digests of sources that may be executed
    although they are not built in, ``base`` the file of weights that training began with, if it did.
    """
    asked = level_of(level) if isinstance(level, str) else level
    if segments < 1:
        raise InvalidArgument(f"segments {segments} must be a whole number from 1: that many are drawn and replayed")
    trusted = tuple(keys) if isinstance(keys, Sequence) and not isinstance(keys, str) else load_trusted(Path(keys))
    if not trusted:
        raise InvalidArgument("no key is trusted, so nothing could ever be accepted: give your own list of keys")
    listed = sum(key.role is KeyRole.WITNESS for key in trusted)
    if not 0 <= witnesses <= listed:
        raise InvalidArgument(
            f"witnesses {witnesses} must be a whole number from 0 to {listed}: so many are on your list of keys"
        )
    supplied = Supplied(
        keys=trusted,
        level=asked,
        known_checkpoint=None
        if known_checkpoint is None
        else read_bytes(Path(known_checkpoint), "the known checkpoint"),
        known_records=tuple(_digest(record) for record in known_records),
        witnesses=witnesses,
        data=data,
        salts=salts,
        checkpoints=None if checkpoints is None else Path(checkpoints),
        segments=segments,
        noise_key=noise_key,
        trust=trust,
        base=base,
        progress=progress,
    )
    verdict = Verdict(asked=asked)
    if (Path(bundle) / "run.json").is_file():
        raise InvalidArgument(f"{bundle} is a run's folder and no bundle: make one with `expunge attest {bundle}`")
    try:
        opened = open_bundle(Path(bundle), limits)
    except RecordError as error:
        return verdict.and_also([refused_finding("bundle", Level.V0, Code(error.code), without_code(error))])
    with opened:
        return _verified(OpenedRecord(opened, supplied))


def _digest(record: str) -> bytes:
    if not DIGEST.fullmatch(record):
        raise InvalidArgument(
            f"`known_records` {record[:80]!r} is no digest of a record: give the 64 hexadecimal digits, SHA-256 of the "
            "envelope.json that you kept"
        )
    return bytes.fromhex(record)


def level_of(text: str) -> Level:
    """A level by its name, ``V0`` to ``V4``."""
    if text.upper() not in Level.__members__:
        raise InvalidArgument(
            f"level {text!r} is not one of {', '.join(Level.__members__)}{nearest(text, Level.__members__)}"
        )
    return Level[text.upper()]


def _verified(opened: OpenedRecord) -> Verdict:
    """Form and structure, then the replay where it was asked for and may decide anything."""
    asked = opened.supplied.level
    carry_out(opened, Level.V0, min(asked, Level.V1))
    signed = opened.signed
    verdict = Verdict(
        asked=asked,
        findings=tuple(opened.findings),
        remarks=remarks_of(opened),
        commit=opened.commit if signed else None,
        run=opened.run if signed else None,
        signers=opened.envelopes[ENVELOPE].keys if signed else (),
    )
    given = opened.supplied.checkpoints
    if asked < Level.V2 and given is not None and opened.chained and not opened.recipe.accumulated:
        raise InvalidArgument(
            f"`checkpoints` {given} is used from V2 on, and below that where weights follow from sums, which those of "
            f"model {opened.recipe.model!r} do not: ask for V2 or V3, or leave it out"
        )
    if asked < Level.V2 or not opened.chained or not _may_replay(verdict):
        return verdict
    try:
        carry_out(opened, Level.V2, _height(opened))
    except RecordError as error:  # a file that turns out not to be what it was is refused like any other
        opened.findings.append(refused_finding("replay", asked, Code(error.code), without_code(error)))
    return _decided(verdict, opened.findings[len(verdict.findings) :])


def _height(opened: OpenedRecord) -> Level:
    """How far to go: a spot of sums would take as long as the whole, so that whoever asks for V2 is shown V3."""
    asked = opened.supplied.level
    return Level.V3 if asked is Level.V2 and opened.solved and not opened.accumulation.in_parts else asked


def carry_out(opened: OpenedRecord, first: Level, last: Level) -> None:
    """All checks of these levels, in their order; the findings stand in the record under verification."""
    for check in checks.CHECKS:
        if first <= check.level <= last:
            checks.run(check, opened)


def _may_replay(verdict: Verdict) -> bool:
    """Nothing is carried out again for a record that is refused, unless the replay itself is what decides."""
    return all(finding.stands or _left_to_replay(finding, verdict.asked) for finding in verdict.findings)


def _left_to_replay(finding: Finding, asked: Level) -> bool:
    """Unchanged weights and a missing trace say nothing any more once every step was carried out again.

    A trace that is there and is not the one that was signed does.
    """
    open_ = finding.outcome is FindingOutcome.UNDECIDED or finding.code is Code.WEIGHTS_UNCHANGED
    return asked >= Level.V3 and finding.until_replayed and open_


def _decided(verdict: Verdict, replayed: Sequence[Finding]) -> Verdict:
    """The verdict with what the replay found, lower levels first, and what it decides."""
    replayed = sorted(replayed, key=lambda finding: finding.level)
    whole = any(finding.level >= Level.V3 for finding in replayed)
    if not whole or not all(finding.stands for finding in replayed):
        return verdict.and_also(replayed)
    kept = [
        holds(finding.name, finding.level, f"{finding.detail}; every step was carried out again, and it is so")
        if _left_to_replay(finding, verdict.asked)
        else finding
        for finding in verdict.findings
    ]
    return replace(verdict, findings=(*kept, *replayed))
