"""The head of a certificate: what was forgotten, of whom, from which model, when, and by what."""

from __future__ import annotations

from expunge.core.clock import Time
from expunge.core.wording import clean, counted
from expunge.records.catalogue import Execution
from expunge.records.certificate import Emptied
from expunge.records.record import GuaranteeKind, Operation, RunRecord
from expunge.records.statement import Statement

LONGEST_METHOD = 200  # letters of its name
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WORKS = {  # how a method that can earn more than passed tests does it
    "retrain": " trained the model again from the start without them",
    "exact-replay": " took the training up where no state had seen them, and carried it on without them",
    "certified-logistic": " took their part out of a linear model by a step that is computed from all other rows",
}
ON_SUMS = {  # the same of a model whose weights follow from sums
    "retrain": " added up the other rows again, and derived the weights of these sums",
    "exact-replay": " took them out of the sums over all rows, and derived the weights again",
}
APPROXIMATE = " changed the weights of the finished model, and is approximate"


def title(run: Statement, record: RunRecord, gone: Emptied) -> tuple[str, str, str]:
    """How many rows of how many people, of which model, when: the words before the model's name, the name, the rest."""
    date, rows = f", {day(record.recorded_at)}", counted(gone.newly, "row") + _people(gone)
    match record.operation:
        case Operation.ADOPT:
            without = f" without {rows}" if gone.newly else ""
            return "Model ", run.name, f", trained elsewhere{without} and taken over{date}"
        case Operation.TRAIN if gone.newly:
            return "Training of the model ", run.name, f" without {rows}{date}"
        case Operation.TRAIN | Operation.RETRAIN | Operation.UNLEARN if not gone.newly:
            return "Training of the model ", run.name, f" on {counted(gone.of, 'row')}{date}"
        case _:
            return f"Forgetting of {rows} from the model ", run.name, date


def summary(record: RunRecord, gone: Emptied) -> str:
    """What was forgotten, and by what; it is the record's word."""
    algorithm, some = record.algorithm, f"{gone.newly:,} of {counted(gone.of, 'training row')}"
    if record.operation in (Operation.TRAIN, Operation.ADOPT):
        where = " elsewhere, by its owner’s word," if record.operation is Operation.ADOPT else ""
        on = f"without {some}{_belong(gone)}" if gone.newly else f"on {counted(gone.of, 'row')}; nothing was forgotten"
        return f"By this record the model was trained{where} {on}."
    name, works = clean(algorithm.name, LONGEST_METHOD), WORKS.get(algorithm.name, APPROXIMATE)
    if record.came_about is Execution.SOLVE:
        works = ON_SUMS.get(algorithm.name, works)
    if algorithm.source is not None:
        works = f", whose code is not built in,{APPROXIMATE}"
    are = "is" if gone.newly == 1 else "are"
    if record.guarantee.kind is GuaranteeKind.EMPIRICAL:
        are += " to be"
    earlier = f" With earlier requests it is {gone.slots:,} rows in all." if gone.slots > gone.newly else ""
    return f"By this record {some} {are} forgotten{_belong(gone)}: the method {name}{works}.{earlier}"


def day(told: Time) -> str:
    """``2026-11-30T12:00:00Z`` as ``30 November 2026``."""
    year, month, date = str(told)[:10].split("-")
    return f"{int(date)} {MONTHS[int(month) - 1]} {year}"


def _people(gone: Emptied) -> str:
    if gone.people is None:
        return ""
    return f" of {gone.people:,} {'person' if gone.people == 1 else 'people'}"


def _belong(gone: Emptied) -> str:
    if gone.people is None or gone.in_part is None:
        return ""
    if not gone.in_part:
        return f" (all rows{_people(gone)})"
    return f" (rows{_people(gone)}, {gone.in_part:,} of whom {'keeps' if gone.in_part == 1 else 'keep'} others here)"
