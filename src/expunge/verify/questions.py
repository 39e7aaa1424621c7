"""What a reader of a certificate should ask: a table of questions, each with the ground that a record gives for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from expunge.core.wording import counted
from expunge.records.certificate import Certificate, Question
from expunge.records.record import GuaranteeKind, Initiator, Request
from expunge.records.verdict import FindingOutcome, Level, Status

OWNER = "the model’s owner"
AUDITOR = "the auditor who verifies for you"
BOTH = "the auditor, then the owner"
UNLIKE = frozenset({"environment-mismatch", "verifier-not-deterministic"})  # reasons that are the machine's


@dataclass(frozen=True)
class QuestionRow:
    """A row of the table: the question with its stable word, why it matters, whom to ask, and when there is ground.

    Names in braces are filled in from ``_figures``.
    """

    word: str
    question: str
    why: str
    whom: str
    when: Callable[[Certificate], bool]


def questions(told: Certificate) -> tuple[Question, ...]:
    """Those that this record gives ground for, the most weighty first."""
    figures = _figures(told)
    return tuple(
        Question(
            word=row.word,
            question=row.question.format(**figures),
            why=row.why.format(**figures),
            whom=row.whom,
        )
        for row in QUESTIONS
        if row.when(told)
    )


def _figures(told: Certificate) -> dict[str, str]:
    """What questions name of this record; nothing that its owner worded."""
    run, window = told.run, told.run.audit_window
    code = [("model", run.environment.factory != "zoo"), ("method", run.algorithm.source is not None)]
    return {
        "chosen": counted(_chosen(told), "row"),
        "code": " and ".join(what for what, own in code if own),
        "others": counted(_others(told), "other record"),
        "retired": counted(len(run.retired), "thing"),
        "until": "" if window is None else window.until.text[:10],
    }


def _asked(told: Certificate) -> list[Request]:
    """Requests that this record answers."""
    return [request for request, own in told.requests if own]


def _chosen(told: Certificate) -> int:
    """Rows that no person asked for."""
    return sum(len(request.slots) for request in _asked(told) if request.initiator is Initiator.OWNER)


def _others(told: Certificate) -> int:
    """Records of the log outside the chain."""
    return 0 if told.log is None else max(0, told.log.head.size - len(told.chain))


def _reasons(told: Certificate) -> set[str]:
    """Why a verification was left open."""
    findings = () if told.checked is None else told.checked.verdict.findings
    return {item.reason or "" for item in findings if item.outcome is FindingOutcome.UNDECIDED}


def _remarked(told: Certificate, word: str) -> bool:
    return told.checked is not None and word in {remark.word for remark in told.checked.verdict.remarks}


def _forgot(told: Certificate) -> bool:
    return told.forgotten.slots > 0


def _unlike(told: Certificate) -> bool:
    return bool(UNLIKE & _reasons(told))


def _not_repeated(told: Certificate) -> bool:
    """Whether the run was not carried out again, and could be."""
    reached = None if told.checked is None else told.checked.verdict.reached
    if reached is None or told.status is Status.REFUSED or _unlike(told):
        return False
    return reached < Level.V3 <= told.highest


def _untested(told: Certificate, *, named: bool) -> bool:
    """Whether the guarantee rests on tests, which are named or not."""
    guarantee = told.run.guarantee
    return _forgot(told) and guarantee.kind is GuaranteeKind.EMPIRICAL and bool(guarantee.tests) == named


QUESTIONS = (
    QuestionRow(
        "refused",
        "Why does the record not hold?",
        "A code names what was seen, never why. Until that is answered, rely on nothing here.",
        OWNER,
        lambda told: told.status is Status.REFUSED,
    ),
    QuestionRow(
        "not-checked",
        "Who compares this with a list of trusted keys?",
        "Nobody did so here: whoever made the file could have written every line of it.",
        AUDITOR,
        lambda told: told.checked is None,
    ),
    QuestionRow(
        "environment",
        "Which machine can repeat this run?",
        "The one used here computes other bits, so nothing was compared. A record can name a machine that nobody has, "
        "and is then never refused.",
        BOTH,
        _unlike,
    ),
    QuestionRow(
        "evidence",
        "Where is what the check lacked?",
        "What is not handed over is not checked, whatever the reason.",
        OWNER,
        lambda told: "evidence-missing" in _reasons(told) and not told.adopted,
    ),
    QuestionRow(
        "replay",
        "Who will carry the run out again (V3)?",
        "Until then the guarantee is what the owner claims. It takes the rows that are left and about as long as the "
        "training.",
        AUDITOR,
        _not_repeated,
    ),
    QuestionRow(
        "owner-chose",
        "Did a person ask for this, and under which case?",
        "By the record {chosen} went on the owner’s own initiative, and who picks whom to forget can steer the result "
        "a little.",
        OWNER,
        lambda told: _chosen(told) > 0,
    ),
    QuestionRow(
        "no-case",
        "Under which case was this asked?",
        "No case is named, so that nothing ties these rows to a person who asked.",
        OWNER,
        lambda told: any(not one.cases and one.initiator is Initiator.PERSON for one in _asked(told)),
    ),
    QuestionRow(
        "no-receipt",
        "Where is the person’s letter, and what did it ask?",
        "The record holds no receipt: that the case it names is the one that you know rests on the owner’s word.",
        "your own files, then the owner",
        lambda told: any(not one.receipts and one.initiator is Initiator.PERSON for one in _asked(told)),
    ),
    QuestionRow(
        "whose-rows",
        "Are these all the rows of whoever asked?",
        "The record numbers rows and names nobody; whose they are is the owner’s word.",
        "the owner: look up a row that you know by its slot",
        _forgot,
    ),
    QuestionRow(
        "old-states",
        "Do older versions still exist?",
        "Nothing is declared destroyed: kept checkpoints, other folders and backups may still hold the rows.",
        OWNER,
        lambda told: told.nothing_retired is not None,
    ),
    QuestionRow(
        "window",
        "Was the old model destroyed after {until}?",
        "It holds the forgotten rows and is kept until then, so that the old run can still be repeated.",
        OWNER,
        lambda told: told.run.audit_window is not None,
    ),
    QuestionRow(
        "destruction-declared",
        "Who saw that the old states were destroyed?",
        "{retired} that held the rows are declared destroyed, which nothing proves; copies are not known here.",
        OWNER,
        lambda told: bool(told.run.retired),
    ),
    QuestionRow(
        "no-evaluation",
        "How was it measured that the rows are forgotten?",
        "Nothing proves it, and no test is named: compare with models that were trained without them.",
        OWNER,
        lambda told: _untested(told, named=False),
    ),
    QuestionRow(
        "tests",
        "May I see the evaluation?",
        "Nothing proves that the rows are forgotten; the tests were passed by the owner’s account.",
        OWNER,
        lambda told: _untested(told, named=True),
    ),
    QuestionRow(
        "trained-elsewhere",
        "On which rows was the model really trained?",
        "It was trained elsewhere: rows and training are its owner’s word, and nobody can repeat them.",
        OWNER,
        lambda told: told.adopted,
    ),
    QuestionRow(
        "base",
        "What was the base trained on?",
        "Training began with weights from elsewhere. If they had seen these rows, nothing here made them forget.",
        OWNER,
        lambda told: bool((told.recipe or {}).get("base")) or told.run.guarantee.base is not None,
    ),
    QuestionRow(
        "foreign-code",
        "Who has read the source code of the {code}?",
        "It is the owner’s own, and could carry the forgotten rows itself (in a file, an option, its text). No level "
        "shows that it does not.",
        "somebody who reads code, and whom the owner did not choose",
        lambda told: told.run.environment.factory != "zoo" or told.run.algorithm.source is not None,
    ),
    QuestionRow(
        "other-records",
        "What stands in {others} of the log?",
        "It may be of other models, or of a branch in which forgotten people sit again. A record that you kept from "
        "before is to be given to the check, which then demands it as an ancestor.",
        BOTH,
        lambda told: _others(told) > 0,
    ),
    QuestionRow(
        "no-witness",
        "Who else keeps the log’s head?",
        "No witness that is known here signed it, so that the log could show you one history and others another.",
        "other auditors of the same owner: compare",
        lambda told: told.log is None or not told.log.witnesses,
    ),
    QuestionRow(
        "zero-beacon",
        "Why was no public random value used?",
        "Without one the owner could have tried many recipes or data sets, and kept the one that suited.",
        OWNER,
        lambda told: told.grindable is not None and not told.adopted,
    ),
    QuestionRow(
        "beacon-from-outside",
        "Is the beacon’s value the one that its source published?",
        "Nobody compared it here; if it was made up, the order of the training could be chosen.",
        AUDITOR,
        lambda told: told.grindable is None and not told.adopted,
    ),
    QuestionRow(
        "recorded-afterwards",
        "Why were the data committed to only after the training?",
        "A commitment that is signed afterwards orders nothing: it could have been written to fit.",
        OWNER,
        lambda told: told.commit.recorded_afterwards,
    ),
    QuestionRow(
        "dates-ahead",
        "Whose clock is wrong?",
        "Dates in these records lie after the clock of the check: one of the two is wrong, or the dates are made up.",
        BOTH,
        lambda told: _remarked(told, "dates-ahead"),
    ),
    QuestionRow(
        "method-seed",
        "Why this number for the method’s draws?",
        "The owner named it with the request, so that several could have been tried and one kept.",
        OWNER,
        lambda told: told.run.randomness.request_seed is not None,
    ),
    QuestionRow(
        "no-model",
        "Which weights answer in the service?",
        "The weights were not handed over; they are known by their digest only.",
        OWNER,
        lambda told: not told.has_model,
    ),
)
