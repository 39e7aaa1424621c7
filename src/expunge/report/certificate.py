"""A certificate as one HTML page that prints on two sheets: who asked, what is claimed, what was checked, what is not.

It shows what ``verify.certificate`` took from a bundle; nothing here decides anything. Every text in them may
come from a stranger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.files import write_bytes
from expunge.core.wording import clean, counted
from expunge.records.certificate import Certificate, ChainRecord, Checked, first_ranges
from expunge.records.claims import NOT_CLAIMED
from expunge.records.record import AuditWindow, Checkpoints, Initiator, Operation, Request, RunData, RunRecord
from expunge.records.verdict import Finding, FindingOutcome, Status, Verdict
from expunge.report.certificate_facts import (
    LONGEST_LIST,
    CertificateFact,
    erasure,
    more_than,
    owners,
    record_facts,
    time,
    words,
)
from expunge.report.numerals import listed
from expunge.report.templates import environment, resource

MOST_REQUESTS, MOST_LINKS = 3, 5  # what two sheets have room for; --json has all
MOST_FINDINGS, MOST_BESIDE, MOST_REFUSALS, MOST_REMARKS = 44, 9, 5, 3  # beside: where others fail
LONGEST_DETAIL, LONGEST_REMARK, LONGEST_REASON = 84, 240, 180
SAID_ELSEWHERE = (  # remarks of a verification that have a line of their own on the page
    *("zero-beacon", "recorded-afterwards", "open-salts", "no-witness", "tolerant", "not-exact", "erasure-pending"),
    *("destruction-declared", "owner-requests", "no-model", "nothing-retired"),
)
TONES = {Status.ACCEPTED: "good", Status.REFUSED: "bad", Status.UNDECIDED: "open"}


@dataclass(frozen=True)
class Banner:
    """A line that nobody should overlook; ``tone`` is good, open or bad."""

    tone: str
    title: str
    text: str


def write_certificate(told: Certificate, out: Path | str) -> Path:
    """Write the page and return its path."""
    target = Path(out)
    if target.is_dir():
        raise InvalidArgument(f"`out` {target} is a folder: name the file, for example {target / 'certificate.html'}")
    write_bytes(target, certificate_page(told))
    return target


def certificate_page(told: Certificate) -> bytes:
    """The page. Same certificate, same bytes."""
    told = _harmless(told)
    forgot = told.forgotten.slots > 0
    text = (
        environment()
        .get_template("certificate.html")
        .render(
            style=Markup(resource("page.css") + resource("certificate.css")),
            name=words(told.subject.name),
            lead=_lead(told),
            banners=list(_banners(told)),
            guarantee=str(told.run.guarantee).capitalize(),
            standing=_standing(told),
            tone=_tone(told),
            meaning=clean(told.meaning, LONGEST_LIST),
            says=_says(told),
            requests=[_request(*asked) for asked in told.requests[:MOST_REQUESTS]],
            more_requests=more_than(told.requests, MOST_REQUESTS, "earlier request"),
            forgot=forgot,
            owners=owners(told.forgotten),
            facts=list(record_facts(told)),
            erasure=list(erasure(told)),
            verification=told.verification,
            expected=_expected(told),
            findings=_findings(told),
            chain=_chain(told.chain),
            claims=told.claims,
            not_claimed=NOT_CLAIMED.items(),
        )
    )
    return text.encode("utf-8")


def _harmless(value: Any) -> Any:
    """The same without control and direction characters in any text; of a verdict only what it found and who signed."""
    if isinstance(value, Verdict):
        value = replace(value, commit=None, run=None)
    if value is None or isinstance(value, Enum | bytes | int | RunData | Checkpoints):
        return value  # nothing in them is written as text
    if isinstance(value, str):
        return clean(value, 100_000)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: _harmless(getattr(value, item.name)) for item in fields(value)})
    if isinstance(value, Mapping):
        return {clean(str(name)): _harmless(inner) for name, inner in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return tuple(_harmless(inner) for inner in cast("Sequence[Any]", value))
    return value


def _lead(told: Certificate) -> str:
    return f"This record is refused. It says: {_told(told)}" if _status(told) is Status.REFUSED else _told(told)


def _status(told: Certificate) -> Status | None:
    return None if told.checked is None else told.checked.verdict.status


def _told(told: Certificate) -> str:
    forgotten, algorithm, operation = told.forgotten, words(told.run.algorithm.name), told.run.operation
    rows = f"{forgotten.slots:,} of {counted(forgotten.of, 'training row')}"
    if operation is Operation.TRAIN:
        without = f" without {rows}" if forgotten.slots else f" on {counted(forgotten.of, 'row')}"
        return f"By this record the model was trained{without}."
    if operation is Operation.ADOPT:
        without = f", and without {rows}" if forgotten.slots else ""
        return f"By this record the model was trained elsewhere, by its owner’s word on these data{without}."
    verb = "trained again" if operation is Operation.RETRAIN else "changed"
    asked = f"so that {rows} {'is' if forgotten.slots == 1 else 'are'} forgotten"
    return f"By this record the model was {verb} by {algorithm} {asked}."


def _banners(told: Certificate) -> Iterator[Banner]:
    checked = told.checked
    if told.tolerant:
        yield Banner(
            "bad",
            "Tolerant run",
            "Nothing pinned the bits of this run. It can never be called exact, and carrying it out again gives "
            "weights that are near these, not these.",
        )
    if checked is None:
        yield Banner(
            "open",
            "Not checked",
            "Signatures were not checked against anybody’s list of keys: everything on this page is the bundle’s own "
            "word. Make it again with --keys and a list that you got by another way than the bundle.",
        )
    else:
        yield _verdict(checked)
    window = told.run.audit_window
    if window is not None:
        over = checked is not None and checked.at is not None and checked.at >= window.until.text
        yield Banner("open", *_pending(window, over))


def _verdict(checked: Checked) -> Banner:
    when = f" on {time(checked.at)}" if checked.at else ""
    verdict = checked.verdict
    asked, reached = verdict.asked.name, "no level" if verdict.reached is None else verdict.reached.name
    if verdict.status is Status.ACCEPTED:
        return Banner("good", f"Accepted at {asked}", f"Checked{when} against a list of trusted keys.")
    if verdict.status is Status.REFUSED:
        codes = listed([code.value for code in verdict.codes[:6]])
        return Banner("bad", "Refused", f"Checked{when}: {codes}. Do not rely on this record; the table says why.")
    return Banner("open", "Undecided", f"Checked{when}: asked for {asked}, reached {reached}. Evidence is missing.")


def _pending(window: AuditWindow, over: bool) -> tuple[str, str]:
    until, days = time(window.until), counted(window.days, "day")
    if over:
        return (
            "Erasure was pending",
            f"The old state was kept for auditors until {until}. This record was signed before and does not say that "
            "it was destroyed since: ask for that declaration.",
        )
    return (
        f"Erasure pending until {until}",
        f"The old state, which holds the forgotten rows, is kept for {days} so that the old run can still be replayed.",
    )


def _standing(told: Certificate) -> str:
    if _status(told) is Status.REFUSED:
        return "claimed by a refused record"
    return "verified" if told.checked is not None and told.checked.execution_verified else "claimed"


def _tone(told: Certificate) -> str:
    checked = told.checked
    if told.tolerant:
        return "bad"
    if checked is None or checked.verdict.status is not Status.ACCEPTED:
        return "open" if checked is None else TONES[checked.verdict.status]
    return "good" if checked.execution_verified else "exact"


def _says(told: Certificate) -> str:
    return "Nothing: no list of keys was given." if told.checked is None else told.checked.says


def _request(asked: Request, own: bool) -> dict[str, str]:
    ranges, slots = first_ranges(asked), len(asked.slots)
    rows = ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges)
    more = slots - sum(last - first + 1 for first, last in ranges)
    return {
        "case": clean(", ".join(asked.cases), 48) or "no case named",
        "who": "a person" if asked.initiator is Initiator.PERSON else "the owner",
        "received": time(asked.received),
        "rows": f"{counted(slots, 'slot')}: {rows}" + (f" and {more:,} more" if more else ""),
        "receipts": counted(len(asked.receipts), "receipt") if asked.receipts else "no receipt",
        "when": "answered here" if own else "earlier",
    }


def _expected(told: Certificate) -> list[CertificateFact]:
    found = [
        CertificateFact("SHA-256 of envelope.json", "", told.chain[-1].envelope.hex()),
        CertificateFact("weights", "", told.subject.digest.hex()),
        CertificateFact("data", "", told.commit.data.root.hex()),
        CertificateFact("recipe", "", told.run.recipe.hex()),
    ]
    return found if told.log is None else [*found, CertificateFact("log", "", told.log.head.root.hex())]


def _findings(told: Certificate) -> dict[str, Any]:
    """What failed first and in its own words; what holds after it, shorter."""
    checked = told.checked
    if checked is None:
        return {"failed": [], "held": [], "more": "", "remarks": []}
    failed = [item for item in checked.verdict.findings if not item.stands]
    held = [item for item in checked.verdict.findings if item.stands]
    remarks = [item for item in checked.verdict.remarks if item.word not in SAID_ELSEWHERE]
    room = MOST_BESIDE if failed else MOST_FINDINGS
    left = max(0, len(failed) - MOST_REFUSALS) + max(0, len(held) - room)
    return {
        "failed": [_finding(item, LONGEST_REASON) for item in failed[:MOST_REFUSALS]],
        "held": [_finding(item, LONGEST_DETAIL) for item in held[:room]],
        "more": f"and {counted(left, 'finding')} more, which expunge verify prints" if left else "",
        "remarks": [clean(item.text, LONGEST_REMARK) for item in remarks[:MOST_REMARKS]],
    }


def _finding(found: Finding, longest: int) -> dict[str, str]:
    word = found.reason or "" if found.code is None else found.code.value
    return {
        "property": words(found.name, 34),
        "level": found.level.name,
        "tone": {FindingOutcome.HOLDS: "good", FindingOutcome.REFUSED: "bad"}.get(found.outcome, "open"),
        "outcome": f"{found.outcome.value.replace('-', ' ')} {words(word)}".strip(),
        "detail": clean(found.detail, longest),
    }


def _chain(links: Sequence[ChainRecord]) -> list[dict[str, str]]:
    """The commitment, then the last envelopes; what lies between is counted."""
    found: list[dict[str, str]] = []
    for link in links:
        record = link.statement.predicate
        operation, at = record.operation.value, time(record.recorded_at)
        if isinstance(record, RunRecord) and record.operation is Operation.UNLEARN:
            operation += f" ({words(record.algorithm.name)})"
        at += ", afterwards" if record.recorded_afterwards else ""
        found.append({"operation": operation, "at": at, "digest": link.envelope.hex()})
    if len(found) <= MOST_LINKS:
        return found
    hidden = len(found) - MOST_LINKS + 1
    between = {"operation": f"{counted(hidden, 'earlier record')} between", "at": "", "digest": ""}
    return [found[0], between, *found[hidden + 1 :]]
