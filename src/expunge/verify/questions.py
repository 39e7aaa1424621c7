"""What a reader of a certificate should ask: each question is computed from the records and from what was remarked."""

from __future__ import annotations

from collections.abc import Callable

from expunge.core.wording import counted
from expunge.records.certificate import Certificate, Question
from expunge.records.record import GuaranteeKind, Initiator
from expunge.records.verdict import FindingOutcome, Level, Status

OWNER = "the model’s owner"
AUDITOR = "the auditor who verifies for you"
BOTH = "the auditor, then the owner"
FILES = "your own files, then the owner"
READER = "somebody who reads code, and whom the owner did not choose"
UNLIKE = frozenset({"environment-mismatch", "verifier-not-deterministic"})  # reasons that are the machine's


def questions(told: Certificate) -> tuple[Question, ...]:
    """Most weighty first."""
    return tuple(found for ask in QUESTIONS if (found := ask(told)) is not None)


def _unchecked(told: Certificate) -> Question | None:
    if told.checked is not None:
        return None
    return Question(
        word="not-checked",
        question="Who compares this with a list of trusted keys?",
        why="Nobody did so here: whoever made the file could have written every line of it.",
        whom=AUDITOR,
    )


def _refused(told: Certificate) -> Question | None:
    if told.status is not Status.REFUSED:
        return None
    return Question(
        word="refused",
        question="Why does the record not hold?",
        why="A code names what was seen, never why. Until that is answered, rely on nothing here.",
        whom=OWNER,
    )


def _reasons(told: Certificate) -> dict[str, str]:
    """Why a verification was left open, and what was said of each reason first."""
    if told.checked is None:
        return {}
    doubts = [item for item in told.checked.verdict.findings if item.outcome is FindingOutcome.UNDECIDED]
    return {item.reason or "": item.detail for item in reversed(doubts)}


def _machine(told: Certificate) -> Question | None:
    if not UNLIKE & _reasons(told).keys():
        return None
    return Question(
        word="environment",
        question="Which machine can repeat this run?",
        why="The one used here computes other bits, so nothing was compared. A record can name a machine that nobody "
        "has, and is then never refused.",
        whom=BOTH,
    )


def _evidence(told: Certificate) -> Question | None:
    if "evidence-missing" not in _reasons(told) or told.adopted:
        return None
    return Question(
        word="evidence",
        question="Where is what the check lacked?",
        why="What is not handed over is not checked, whatever the reason.",
        whom=OWNER,
    )


def _repeated(told: Certificate) -> Question | None:
    """Where a replay can be had, and was not."""
    reached = None if told.checked is None else told.checked.verdict.reached
    asked_already = told.status is Status.REFUSED or UNLIKE & _reasons(told).keys()
    if asked_already or reached is None or reached >= Level.V3 or told.highest < Level.V3:
        return None
    return Question(
        word="replay",
        question="Who will carry the run out again (V3)?",
        why="Until then the guarantee is what the owner claims. It takes the rows that are left and about as long as "
        "the training.",
        whom=AUDITOR,
    )


def _case(told: Certificate) -> Question | None:
    asked = [request for request, own in told.requests if own]
    owners = sum(len(request.slots) for request in asked if request.initiator is Initiator.OWNER)
    if not asked or (not owners and all(request.cases for request in asked)):
        return None
    who = f" and {counted(owners, 'row')} went on the owner’s own initiative" if owners else ""
    named = "A case is named," if all(request.cases for request in asked) else "No case is named,"
    return Question(
        word="no-case",
        question="Whose request does this answer, and under which case?",
        why=f"{named}{who or ' so that nothing ties these rows to a person who asked'}."
        + (" Who picks whom to forget can steer the result a little." if owners else ""),
        whom=OWNER,
    )


def _receipt(told: Certificate) -> Question | None:
    if all(request.receipts or request.initiator is Initiator.OWNER for request, own in told.requests if own):
        return None
    return Question(
        word="no-receipt",
        question="Where is the person’s letter, and what did it ask?",
        why="The record holds no receipt: that the case it names is the one that you know rests on the owner’s word.",
        whom=FILES,
    )


def _whose(told: Certificate) -> Question | None:
    gone = told.forgotten
    if not gone.slots:
        return None
    part = f" {gone.in_part:,} of these people keep rows in the training." if gone.in_part else ""
    return Question(
        word="whose-rows",
        question="Are these all the rows of whoever asked?",
        why=f"The record numbers rows and names nobody; whose they are is the owner’s word.{part}",
        whom="the owner: look up a row that you know by its slot",
    )


def _old(told: Certificate) -> Question | None:
    run = told.run
    if not told.forgotten.slots:
        return None
    if run.audit_window is not None:
        question, why = (
            f"Was the old model destroyed after {run.audit_window.until.text[:10]}?",
            "It holds the forgotten rows and is kept until then, so that the old run can still be repeated.",
        )
    elif run.retired:
        question, why = (
            "Who saw that the old states were destroyed?",
            f"{counted(len(run.retired), 'thing')} are declared destroyed, which nothing proves; copies and backups "
            "are not known here.",
        )
    else:
        question, why = (
            "Do older versions still exist?",
            "Nothing is declared destroyed: kept checkpoints, other folders and backups may still hold the rows.",
        )
    return Question(word="old-states", question=question, why=why, whom=OWNER)


def _branches(told: Certificate) -> Question | None:
    others = 0 if told.log is None else told.log.head.size - len(told.chain)
    if others <= 0:
        return None
    return Question(
        word="other-records",
        question=f"What stands in {counted(others, 'other record')} of the log?",
        why="It may be of other models, or of a branch in which forgotten people sit again. A record that you kept "
        "from before is to be given to the check, which then demands it as an ancestor.",
        whom=BOTH,
    )


def _witness(told: Certificate) -> Question | None:
    if told.log is not None and told.log.witnesses:
        return None
    return Question(
        word="no-witness",
        question="Who else keeps the log’s head?",
        why="No witness that is known here signed it, so that the log could show you one history and others another.",
        whom="other auditors of the same owner: compare",
    )


def _foreign(told: Certificate) -> Question | None:
    model, method = told.run.environment.factory != "zoo", told.run.algorithm.source is not None
    if not model and not method:
        return None
    what = "model and method" if model and method else "model" if model else "method"
    return Question(
        word="foreign-model" if model else "foreign-method",
        question=f"Who has read the source code of the {what}?",
        why="It is the owner’s own, and could carry the forgotten rows itself (in a file, an option, its text). No "
        "level shows that it does not.",
        whom=READER,
    )


def _base(told: Certificate) -> Question | None:
    if not (told.recipe or {}).get("base") and told.run.guarantee.base is None:
        return None
    return Question(
        word="base",
        question="What was the base trained on?",
        why="Training began with weights from elsewhere. If they had seen these rows, nothing here made them forget.",
        whom=OWNER,
    )


def _adopted(told: Certificate) -> Question | None:
    if not told.adopted:
        return None
    return Question(
        word="trained-elsewhere",
        question="On which rows was the model really trained?",
        why="It was trained elsewhere: rows and training are its owner’s word, and nobody can repeat them.",
        whom=OWNER,
    )


def _beacon(told: Certificate) -> Question | None:
    if told.adopted:
        return None
    if told.grindable is not None:
        return Question(
            word="zero-beacon",
            question="Why was no public random value used?",
            why="Without one the owner could have tried many recipes or data sets, and kept the one that suited.",
            whom=OWNER,
        )
    return Question(
        word="beacon-from-outside",
        question="Is the beacon’s value the one that its source published?",
        why="Nobody compared it here; if it was made up, the order of the training could be chosen.",
        whom=AUDITOR,
    )


def _afterwards(told: Certificate) -> Question | None:
    if not told.commit.recorded_afterwards:
        return None
    return Question(
        word="recorded-afterwards",
        question="Why were the data committed to only after the training?",
        why="A commitment that is signed afterwards orders nothing: it could have been written to fit.",
        whom=OWNER,
    )


def _tests(told: Certificate) -> Question | None:
    guarantee = told.run.guarantee
    if guarantee.kind is not GuaranteeKind.EMPIRICAL or not told.forgotten.slots:
        return None
    if guarantee.tests:
        return Question(
            word="tests",
            question="May I see the evaluation?",
            why="Nothing proves that the rows are forgotten; the tests were passed by the owner’s account.",
            whom=OWNER,
        )
    return Question(
        word="no-evaluation",
        question="How was it measured that the rows are forgotten?",
        why="Nothing proves it, and no test is named: compare with models that were trained without them.",
        whom=OWNER,
    )


def _seed(told: Certificate) -> Question | None:
    if told.run.randomness.request_seed is None:
        return None
    return Question(
        word="method-seed",
        question="Why this number for the method’s draws?",
        why="The owner named it with the request, so that several could have been tried and one kept.",
        whom=OWNER,
    )


def _weights(told: Certificate) -> Question | None:
    if told.has_model:
        return None
    return Question(
        word="no-model",
        question="Which weights answer in the service?",
        why="The weights were not handed over; they are known by their digest only.",
        whom=OWNER,
    )


def _clock(told: Certificate) -> Question | None:
    if told.checked is None or "dates-ahead" not in {remark.word for remark in told.checked.verdict.remarks}:
        return None
    return Question(
        word="dates-ahead",
        question="Whose clock is wrong?",
        why="Dates in these records lie after the clock of the check: one of the two is wrong, or the dates are made "
        "up.",
        whom=BOTH,
    )


QUESTIONS: tuple[Callable[[Certificate], Question | None], ...] = (
    *(_refused, _unchecked, _machine, _evidence, _repeated, _case, _receipt, _whose, _old, _tests, _adopted, _base),
    *(_foreign, _branches, _witness, _beacon, _afterwards, _clock, _seed, _weights),
)
