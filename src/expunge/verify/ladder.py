"""The ladder of levels: what each one shows of a record, how far a verification came, and what it left open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from expunge.core.wording import clean
from expunge.records.catalogue import Execution
from expunge.records.certificate import Climb, Rung
from expunge.records.record import GuaranteeKind, Operation, ProfileName, RunRecord
from expunge.records.verdict import FindingOutcome, Level, Status, Verdict
from expunge.verify.wording import emptied_throughout

V0, V1, V2, V3, V4 = Level
LONGEST_REASON = 400
TITLES = {V0: "form", V1: "structure", V2: "spot replay", V3: "full replay", V4: "twin run"}
SHOWS = {
    V0: "a key on the list signed these records, and that they stand in the log",
    V1: "the records agree with each other: seed, schedule and digests computed again, every request honoured",
    V2: "a share of the steps, drawn by the verifier's computer, gives the same bits when it is carried out again",
    V3: "the training ran as told: every step gives the same bits when it is carried out again",
    V4: "the model comes of the rows that sit in its steps: trained again from the beginning, with no state of the "
    "owner's, to the same bits",
}
SHOWS_OF_A_METHOD = {
    V2: "the method ran as told: carried out again from the weights that it began with, it gives the same bits",
    V3: "this holds for the whole of the method",
}
SHOWS_OF_SUMS = {
    V1: "the records agree with each other: seed, requests and tombstones; and, where the sums were given, that the "
    "weights follow from them",
    V2: "a part of the model, drawn by the verifier's computer, comes out of the rows that are left",
    V3: "the recorded sums are those of the rows that are left, which were added up again, and the weights follow",
    V4: "the model comes of the rows that are left alone: added up from nothing, on any machine, to the same bits",
}
SAID = {  # before what a level shows, by how far it was climbed
    Climb.CLIMBED: "It is shown that",
    Climb.REFUSED: "It was to show that",
    Climb.UNDECIDED: "It was to show that",
    Climb.UNTRIED: "It would show that",
}
OPEN = {
    None: "that anybody on a list of trusted keys signed this, and that the files are whole",
    V0: "that the records agree with each other, and that every request is honoured",
    V1: "that the training ran as told: no step of it was carried out again",
    V2: "the steps that were not drawn",
    V3: "that the model can be had without any state of the owner's: the rule for using states again was not tried",
    V4: "what no repetition can show: see what it does not prove",
}
OPEN_OF_A_METHOD = {
    V1: "that the method ran as told: it was not carried out again",
    V2: "that this holds for the whole of the method",
    V3: "how the weights came about that the method began with: the record of that run is verified by itself",
}
OPEN_OF_SUMS = {
    V1: "that the sums are those of the rows that are left: no row was looked at",
    V2: "the parts that were not drawn",
    V3: "that the model can be had from the rows alone: they were added up by the recorded constants",
}
NEXT = {
    V0: "compare signatures, log and files with a list of trusted keys",
    V1: "compute the whole schedule again and compare",
    V2: "carry a drawn share of the steps out again",
    V3: "carry every step out again",
    V4: "train again from nothing and compare every bit",
}
NEXT_OF_A_METHOD = {V2: "carry the method out again", V3: "carry the whole method out again"}
NEXT_OF_SUMS = {
    V1: "compare requests, tombstones and seed, and derive the weights from sums that are given",
    V2: "make a part of the model again",
    V3: "add the rows up again and compare",
    V4: "add the rows up from nothing and compare every bit",
}
ELSEWHERE = "the model was trained elsewhere, and nothing of that training is on record"
UNPINNED = "nothing pinned the bits of this run, so that a repetition gives other ones"
UNRECORDED = "nothing was recorded that could be carried out again"
FROM_A_MODEL = "the method began with a finished model, about which no training from nothing decides"
IN_SHORT = {
    None: "Not even the form is shown to hold.",
    V0: "Only signatures, log and files were looked at: nothing was checked of what the records say.",
    V1: "The records are consistent. That is NOT proof that the training ran as told: no step of it was carried out "
    "again.",
    V2: "A drawn share of the steps was carried out again and gave the same bits; the other steps were not.",
    V3: "Every step was carried out again and gave the same bits: the training ran as told.",
    V4: "The training was carried out again from nothing and gave the same bits: it ran as told.",
}
IN_SHORT_OF_A_METHOD = {
    V1: "The records are consistent. That is NOT proof that the method ran as told: it was not carried out again.",
    V2: "The method was carried out again and gave the same bits: it ran as told.",
    V3: "The whole method was carried out again and gave the same bits: it ran as told.",
}
IN_SHORT_OF_SUMS = {
    V1: "The records are consistent. That is NOT proof that the weights are of the rows that are left: no row was "
    "looked at.",
    V2: "A drawn part of the model was made again from the rows and gave the same bits; the others were not.",
    V3: "All rows that are left were added up again and gave the same bits: the weights are of them alone.",
    V4: "All rows that are left were added up from nothing and gave the same bits: the weights are of them alone.",
}
NO_PROOF = " That is NOT proof that it forgot."
DOUBTS = {  # reasons of undecided findings; where one lacks here, what was found says it
    "environment-mismatch": "The machine of this check does not compute like the one that the record names, so that a "
    "repetition would show nothing.",
    "verifier-not-deterministic": "The machine of this check gives no result twice, so that nothing can be compared.",
    "code-not-trusted": "The record needs code that is not built in, and nobody here has allowed it to run.",
    "tolerant-profile": "Nothing pinned the bits of this run, so that no repetition can confirm them.",
}
BASE = " What the base saw before is not covered."
FOREIGN = " What the owner's own model code carries besides is not covered."


def ceiling(record: RunRecord, *, adopted: bool) -> tuple[Level, str]:
    """How far up a verification of this record can come anywhere, and why no further."""
    environment = record.environment
    if adopted:
        return V1, ELSEWHERE
    if environment.profile is ProfileName.TOLERANT or environment.not_exact is not None:
        return V1, UNPINNED
    if record.checkpoints is None and record.sums is None:
        return (V3, FROM_A_MODEL) if record.came_about is Execution.OWN_STEPS else (V1, UNRECORDED)
    return V4, ""


@dataclass(frozen=True)
class _Words:
    """What is said of the levels, by how a run came about."""

    shows: Mapping[Level, str]
    open: Mapping[Level | None, str]
    next: Mapping[Level, str]
    in_short: Mapping[Level | None, str]


STEPS = _Words(SHOWS, OPEN, NEXT, IN_SHORT)
METHOD = _Words(
    SHOWS | SHOWS_OF_A_METHOD, OPEN | OPEN_OF_A_METHOD, NEXT | NEXT_OF_A_METHOD, IN_SHORT | IN_SHORT_OF_A_METHOD
)
SUMS = _Words(SHOWS | SHOWS_OF_SUMS, OPEN | OPEN_OF_SUMS, NEXT | NEXT_OF_SUMS, IN_SHORT | IN_SHORT_OF_SUMS)
WORDS = {Execution.SCHEDULE: STEPS, Execution.OWN_STEPS: METHOD, Execution.SOLVE: SUMS}


def _words(record: RunRecord) -> _Words:
    return STEPS if record.operation is Operation.ADOPT else WORDS[record.came_about]


def rungs(record: RunRecord, verdict: Verdict | None, *, adopted: bool) -> tuple[Rung, ...]:
    """The five levels from the lowest, each with how far it was climbed and what that shows."""
    top, why = ceiling(record, adopted=adopted)
    shows = dict(_words(record).shows)
    if emptied_throughout(record):
        shows[V1] += ", the places of forgotten rows empty in every step on record"
        shows[V4] = shows[V4].replace("rows that sit in its steps", "rows that are left")
    found: list[Rung] = []
    for level in Level:
        climb = _climb(level, verdict, top)
        said = f"Nobody can climb {level.name}: {why}" if climb is Climb.BEYOND else f"{SAID[climb]} {shows[level]}"
        found.append(Rung(level=level, title=TITLES[level], climb=climb, shows=f"{said}."))
    return tuple(found)


def _climb(level: Level, verdict: Verdict | None, top: Level) -> Climb:
    here = set[FindingOutcome]()
    if verdict is not None:
        here = {finding.outcome for finding in verdict.findings if finding.level is level}
        if FindingOutcome.REFUSED in here:
            return Climb.REFUSED
        if verdict.reached is not None and level <= verdict.reached:
            return Climb.CLIMBED
    if level > top:
        return Climb.BEYOND
    return Climb.UNDECIDED if FindingOutcome.UNDECIDED in here else Climb.UNTRIED


def left_open(record: RunRecord, ladder: Sequence[Rung]) -> str:
    """What the rungs that were climbed did not show, and what of it the next one could."""
    words, above = _words(record), [rung for rung in ladder if rung.climb is not Climb.CLIMBED]
    reached = None if len(above) == len(ladder) else ladder[-1 - len(above)].level
    open_ = f"Not shown: {words.open[reached]}."
    if not above:
        return open_
    level, climb = above[0].level, above[0].climb
    match climb:
        case Climb.BEYOND:
            return f"{open_} {above[0].shows}"
        case Climb.UNTRIED:
            return f"{open_} {level.name} would {words.next[level]}."
        case _:
            return f"{open_} {level.name} was tried, and {'refused' if climb is Climb.REFUSED else 'left undecided'}."


def in_short(verdict: Verdict, record: RunRecord) -> str:
    """What a verification came to, for somebody who reads no other sentence; a refusal's and a doubt's say why."""
    reached = verdict.reached
    if verdict.status is Status.REFUSED:
        first, *more = verdict.refusals
        seen = "" if first.code is None else f"{first.code.seen}: "
        return _sentence(f"{seen}{first.detail}") + (f" And {len(more):,} more, below." if more else "")
    stands = _words(record).in_short[reached]
    if reached is not None and reached >= V2:
        stands += NO_PROOF if record.guarantee.kind is GuaranteeKind.EMPIRICAL else ""
        stands += BASE if record.guarantee.base is not None else ""
        stands += "" if record.environment.factory == "zoo" else FOREIGN
    if verdict.status is Status.ACCEPTED:
        return stands
    doubts = [item for item in verdict.findings if item.outcome is FindingOutcome.UNDECIDED]
    why = doubts[0].detail if doubts else f"not all that {verdict.asked.name} asks for was looked at"
    known = DOUBTS.get(doubts[0].reason or "") if doubts else None
    return f"{known or _sentence(why)} That is neither a pass nor a refusal. What stands: {stands}"


def _sentence(text: str) -> str:
    text = clean(text, LONGEST_REASON).rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."
