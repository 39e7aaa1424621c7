"""A verdict as people read it: findings by level, the answer, what it may be called, and what it does not prove."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.core.wording import counted
from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.limits import Code
from expunge.records.record import Initiator, Request
from expunge.records.verdict import Finding, FindingOutcome, Level, Status, Verdict
from expunge.verify.ladder import TITLES, left_open, rungs
from expunge.verify.wording import level_says


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Everything that a verdict says, line by line; letters that would steer a terminal are shown as ``?``."""
    for line in _lines(verdict):
        yield "".join(letter if letter.isprintable() else "?" for letter in line)


def _lines(verdict: Verdict) -> Iterator[str]:
    for level in Level:
        findings = [finding for finding in verdict.findings if finding.level is level]
        if findings:
            yield f"{level.name} {TITLES[level]}"
            yield from (f"  {_finding(finding)}" for finding in findings)
    yield ""
    yield from _answer(verdict)
    record = verdict.record
    if record is not None and verdict.run is not None:
        refused = verdict.status is Status.REFUSED
        if refused:
            yield "the record, which is refused, says this; what failed above says where it is not so:"
        other = ", which are not those of the file" if Code.SUBJECT_DIGEST_MISMATCH in verdict.codes else ""
        yield f"model: {verdict.run.name}, signed weights {verdict.run.digest.hex()[:16]}{other}"
        yield from (f"signed by: {key.name}, key {key.keyid[:16]}" for key in verdict.signers)
        yield from (f"asked: {_request(request)}" for request in record.requests)
        standing = "claimed by a refused record" if refused else verdict.standing.value
        yield f"guarantee: {record.guarantee}, {standing}"
        yield from (f"  {claim}  {CLAIMS[claim]}" for claim in record.claim if claim in CLAIMS)
    if verdict.remarks:
        yield "to be kept in mind:"
        yield from (f"  {remark.text}" for remark in verdict.remarks)
    if record is not None:
        yield "what this does not prove:"
        yield from (f"  {number}  {sentence}" for number, sentence in NOT_CLAIMED.items())


def _finding(finding: Finding) -> str:
    word = finding.outcome.value
    if finding.outcome is FindingOutcome.REFUSED and finding.code is not None:
        word = f"REFUSED {finding.code.value}"
    elif finding.outcome is FindingOutcome.UNDECIDED:
        word = f"UNDECIDED {finding.reason}"
    elif finding.outcome is FindingOutcome.NOT_CHECKED:
        word = "–"
    return f"{word:<9} {finding.name}: {finding.detail}"


def _request(request: Request) -> str:
    who = "by a person" if request.initiator is Initiator.PERSON else "by the owner"
    cases = f"case {', '.join(request.cases)}" if request.cases else "no case named"
    receipts = counted(len(request.receipts), "receipt") if request.receipts else "no receipt"
    return f"{cases[:200]}, {who}, received {request.received}, {counted(len(request.slots), 'row')}, {receipts}"


def answer(verdict: Verdict) -> str:
    """The answer in one line."""
    return next(_answer(verdict))


def _answer(verdict: Verdict) -> Iterator[str]:
    reached = verdict.reached
    height = "no level was reached" if reached is None else f"level reached: {reached.name}"
    match verdict.status:
        case Status.ACCEPTED:
            yield f"accepted at {verdict.asked.name}"
        case Status.REFUSED:
            yield f"refused: {', '.join(code.value for code in verdict.codes)}; {height}"
        case Status.UNDECIDED:
            reasons = dict.fromkeys(finding.reason for finding in verdict.findings if finding.reason is not None)
            yield f"undecided at {verdict.asked.name}: {', '.join(filter(None, reasons))}; {height}"
    if reached is not None and verdict.status is not Status.REFUSED:
        words = {remark.word for remark in verdict.remarks}
        yield level_says(reached, verdict.record, model="no-model" not in words)
        if verdict.record is not None:
            yield left_open(verdict.record, rungs(verdict.record, verdict, adopted="trained-elsewhere" in words))
