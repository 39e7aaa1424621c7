"""A certificate as one HTML page that prints on two sheets: who asked, what is claimed, what was checked, what is not.

It shows what ``verify.certificate`` took from a bundle; nothing here decides anything. Every text in them may
come from a stranger.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, cast

from markupsafe import Markup

from expunge.core.errors import InvalidArgument
from expunge.core.files import write_bytes
from expunge.core.wording import LONGEST_CASE, clean, counted
from expunge.records.certificate import Certificate, ChainRecord, Climb, Rung, first_ranges
from expunge.records.claims import NOT_CLAIMED
from expunge.records.record import (
    AuditWindow,
    Checkpoints,
    GuaranteeKind,
    Initiator,
    Operation,
    Request,
    RunData,
    RunRecord,
)
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
from expunge.report.glossary import words_in
from expunge.report.numerals import few
from expunge.report.templates import environment, resource

MOST_REQUESTS, MOST_LINKS, MOST_CASES, MOST_QUESTIONS = 3, 5, 6, 12  # what two sheets have room for; --json has all
MOST_REFUSALS, MOST_FINDINGS = 4, 200  # of a level: that stand open, and that are folded
LONGEST_REASON, LONGEST_DETAIL = 400, 1000  # of a finding that stands open, and of one that is folded
FOLDED, ROOM = re.compile("<details>.*?</details>", re.DOTALL), 9_000  # letters of two sheets
TONES = {None: "open", Status.REFUSED: "bad", Status.UNDECIDED: "open"}
OUTCOMES = (
    (FindingOutcome.REFUSED, "bad", "refused"),
    (FindingOutcome.UNDECIDED, "open", "undecided"),
    (FindingOutcome.HOLDS, "none", "hold"),
    (FindingOutcome.NOT_CHECKED, "none", "had nothing to look at"),
)
MARKS = {  # of a rung: how it is shown, and said
    Climb.CLIMBED: ("✓", "climbed"),
    Climb.REFUSED: ("✗", "refused here"),
    Climb.UNDECIDED: ("?", "undecided here"),
    Climb.UNTRIED: ("○", "not tried"),
    Climb.BEYOND: ("–", "out of reach"),
}


@dataclass(frozen=True)
class Banner:
    """A line that nobody should overlook; ``tone`` is good, plain, open or bad."""

    tone: str
    title: str
    text: str


@dataclass(frozen=True)
class FoldedFinding:
    """A finding as the page shows it; the tone is that of its outcome."""

    name: str
    tone: str
    outcome: str
    detail: str


@dataclass(frozen=True)
class FoldedLevel:
    """All that was found at a level: how much of each kind, what stands open, and what is folded away."""

    title: str
    counts: list[tuple[str, str]]
    failed: list[FoldedFinding]
    others: list[FoldedFinding]
    more: str


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
    (before, name, after), refused = told.title, told.status is Status.REFUSED
    text = (
        environment()
        .get_template("certificate.html")
        .render(
            style=Markup(resource("page.css") + resource("certificate.css")),
            heading=f"{'Refused. ' if refused else ''}Certificate: {before}{name}{after}",
            title=Markup("{}<code>{}</code>{}").format(before, name, after),
            summary=f"This record is refused. It says: {told.summary}" if refused else told.summary,
            verdict=_verdict(told),
            first=told.status is not Status.ACCEPTED,
            banners=list(_banners(told)),
            guarantee=told.called.capitalize(),
            tone=_tone(told),
            meaning=_meaning(told),
            rungs=list(_rungs(told)),
            says=_says(told),
            left_open=told.left_open,
            questions=told.questions[:MOST_QUESTIONS],
            more_questions=more_than(told.questions, MOST_QUESTIONS, "question"),
            requests=[_request(*asked) for asked in told.requests[:MOST_REQUESTS]],
            more_requests=more_than(told.requests, MOST_REQUESTS, "earlier request"),
            forgot=told.forgotten.slots > 0,
            owners=owners(told.forgotten),
            facts=list(record_facts(told)),
            erasure=list(erasure(told)),
            verification=told.verification,
            expected=_expected(told),
            levels=list(_levels(told)),
            remarks=[] if told.checked is None else [clean(one.text) for one in told.checked.verdict.remarks],
            chain=_chain(told.chain),
            claims=told.claims,
            not_claimed=NOT_CLAIMED.items(),
            is_crowded=_is_crowded,
            words_in=words_in,
        )
    )
    return text.encode("utf-8")


def _is_crowded(html: str) -> bool:
    """Whether more stands open on a page than two sheets have room for in letters of the usual size."""
    return len(Markup(FOLDED.sub("", html)).striptags()) > ROOM


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


def _banners(told: Certificate) -> Iterator[Banner]:
    if told.tolerant:
        yield Banner(
            "bad",
            "Tolerant run",
            "Nothing pinned the bits of this run. It can never be called exact, and carrying it out again gives "
            "weights that are near these, not these.",
        )
    window, checked = told.run.audit_window, told.checked
    if window is not None:
        over = checked is not None and checked.at is not None and checked.at >= window.until.text
        yield Banner("open", *_pending(window, over))


def _verdict(told: Certificate) -> Banner:
    """What came of the verification: why it is refused or left open, or what is shown and what is not."""
    checked = told.checked
    if checked is None:
        return Banner(
            "open",
            "Not checked",
            "Signatures were not checked against anybody’s list of keys: everything on this page is the bundle’s own "
            "word. Make it again with --keys and a list that you got by another way than the bundle.",
        )
    when = f"Checked on {time(checked.at)}" if checked.at else "Checked"
    verdict = checked.verdict
    asked = verdict.asked.name
    if verdict.status is Status.REFUSED:
        codes = few([code.value for code in verdict.codes], 6)
        return Banner("bad", "Refused", f"{checked.in_short} Do not rely on this record. {when}: {codes}.")
    if verdict.status is Status.UNDECIDED:
        reached = "no level" if verdict.reached is None else verdict.reached.name
        return Banner("open", "Undecided", f"{checked.in_short} {when}: asked for {asked}, reached {reached}.")
    tone = "good" if _tone(told) == "good" else "plain"
    return Banner(tone, f"Accepted at {asked}", f"{when} against a list of trusted keys. {checked.in_short}")


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


def _tone(told: Certificate) -> str:
    """Green only where all that is claimed was carried out again, and nothing came from elsewhere."""
    if told.tolerant:
        return "bad"
    run = told.run
    proved = run.guarantee.kind is not GuaranteeKind.EMPIRICAL and run.guarantee.base is None
    whole = told.standing == "verified" and proved and run.environment.factory == "zoo"
    return TONES.get(told.status, "good" if whole else "exact")


def _meaning(told: Certificate) -> str:
    """What the guarantee says; of one that is only claimed, under which condition."""
    why = told.run.environment.not_exact
    empirical = told.run.guarantee.kind is GuaranteeKind.EMPIRICAL
    said = clean(told.meaning, 2 * LONGEST_LIST)
    if empirical and why is not None:
        said += f" It is not exact: {clean(why, LONGEST_LIST)}."
    if empirical or told.standing == "verified":
        return said
    would = "That would mean" if told.status is Status.REFUSED else "If that is true"
    return f"{would}: {said[0].lower()}{said[1:]}"


def _rungs(told: Certificate) -> Iterator[tuple[Rung, str, str]]:
    """The ladder from its top, each rung with its mark and how it was climbed; the next one to climb is called so."""
    above = next((rung for rung in told.ladder if rung.climb is not Climb.CLIMBED), None)
    for rung in reversed(told.ladder):
        mark, how = MARKS[rung.climb]
        yield rung, mark, f"{how}, the next step" if rung is above and rung.climb is Climb.UNTRIED else how


def _says(told: Certificate) -> str:
    return "Nothing: no list of keys was given." if told.checked is None else told.checked.says


def _request(asked: Request, own: bool) -> dict[str, str]:
    ranges, slots = first_ranges(asked), len(asked.slots)
    rows = ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in ranges)
    more = slots - sum(last - first + 1 for first, last in ranges)
    return {
        "case": few([clean(case, LONGEST_CASE) for case in asked.cases], MOST_CASES) or "no case named",
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


def _levels(told: Certificate) -> Iterator[FoldedLevel]:
    """What was found at each level, lowest first."""
    findings = () if told.checked is None else told.checked.verdict.findings
    for rung in told.ladder:
        here = [item for item in findings if item.level is rung.level]
        failed, held = [item for item in here if not item.stands], [item for item in here if item.stands]
        counts = Counter(item.outcome for item in here)
        if here:
            yield FoldedLevel(
                title=f"{rung.level.name} {rung.title}",
                counts=[(tone, f"{counts[one]:,} {said}") for one, tone, said in OUTCOMES if counts[one]],
                failed=[_finding(item) for item in failed[:MOST_REFUSALS]],
                others=[_finding(item) for item in [*failed[MOST_REFUSALS:], *held][:MOST_FINDINGS]],
                more=more_than(here, MOST_REFUSALS + MOST_FINDINGS, "finding"),
            )


def _finding(found: Finding) -> FoldedFinding:
    word = found.reason or "" if found.code is None else found.code.value
    return FoldedFinding(
        name=words(found.name),
        tone=next(tone for one, tone, _ in OUTCOMES if one is found.outcome),
        outcome=f"{found.outcome.value.replace('-', ' ')} {word}".strip(),
        detail=clean(found.detail, LONGEST_REASON if not found.stands else LONGEST_DETAIL),
    )


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
