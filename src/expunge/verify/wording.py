"""The sentences of a certificate: what a guarantee means, what a level allows to be said, what deserves a question."""

from __future__ import annotations

from expunge.records.catalogue import Execution
from expunge.records.record import GuaranteeKind, GuaranteePart, RunRecord
from expunge.records.verdict import Level

MOST_TESTS = 5  # that a sentence names
OPEN_LEAVES = "leaves not hidden: salts are open, so guesses of a row can be tested"
SECRET_LEAVES = "leaves hidden: salts are secret, and a destroyed salt hides its row for good"
GRINDABLE = (
    "schedule not protected against grinding: no beacon was drawn after the commitment, so the owner could have tried "
    "recipes or data sets before training"
)
GRINDABLE_SECRET = (
    "schedule not protected against grinding: no beacon was drawn after the commitment, so the owner could have tried "
    "recipes or salts before training"
)
ADOPTED = (
    "trained elsewhere: on which rows the model was trained, and how, is its owner's word; the schedule that was "
    "computed again is that of the recipe as told, and nobody trained by it"
)
UNWITNESSED = "without a witness a log fork shown to one auditor only would not be seen"
OWN_LOG = "the log is signed by the owner's own key"
NOTHING_RETIRED = "nothing is declared destroyed: earlier states that hold the forgotten rows may still exist"
OWN_SEED = (
    "the method's draws hang on a number that the owner named with the request, so they could have tried several and "
    "kept one"
)
SOLVED = (
    "the weights follow from sums over rows, and no step was taken: that these rows and no others are in the sums only "
    "V3 and V4 show, by adding the rows up again"
)
WITNESSED_UNCHECKED = (
    "its other signers are on nobody's list here: without a witness a log fork shown to one auditor only would not be "
    "seen"
)
COMMITTED_AFTERWARDS = "recorded afterwards: the commitment was signed after the training, so it orders nothing"
RECORDED_AFTERWARDS = "recorded afterwards: this record, or the request that it answers, was written later than the run"


def guarantee_meaning(guarantee: GuaranteePart, *, forgot: bool) -> str:
    """What a guarantee means where it holds."""
    if guarantee.kind is GuaranteeKind.EXACT:
        if guarantee.base is not None:
            without = " without the forgotten examples" if forgot else ""
            return (
                f"The weights are bit for bit those of a training{without} that began with base "
                f"{guarantee.base.hex()[:16]}…. What the base saw before is not covered."
            )
        if forgot:
            return (
                "The weights are bit for bit those of training without the forgotten examples. Whoever has the other "
                "rows can run the computation again and compare."
            )
        return "The weights come out bit for bit whenever recipe, data and schedule are carried out again."
    if guarantee.kind is GuaranteeKind.CERTIFIED and guarantee.epsilon is not None and guarantee.delta is not None:
        return (
            "Under the method's assumptions nobody can tell the weights from retrained ones beyond "
            f"ε = {guarantee.epsilon:g}, except with probability δ = {guarantee.delta:g}."
        )
    if guarantee.tests:
        more = f" and {len(guarantee.tests) - MOST_TESTS} more" if guarantee.tests[MOST_TESTS:] else ""
        named = ", ".join(guarantee.tests[:MOST_TESTS]) + more
        return f"Nothing is proved. The named tests were passed ({named}), by the owner's account."
    return "Nothing is proved about what the weights remember, and no test is named."


def emptied_throughout(record: RunRecord) -> bool:
    """Whether the record states steps whose chairs of forgotten rows were empty; a method's own are not."""
    return bool(record.data.tombstones) and record.checkpoints is not None


def level_says(reached: Level | None, record: RunRecord | None, *, model: bool) -> str:
    """What may be said of a record after a verification that reached this level."""
    if reached is None:
        return "Record, log and files do not fit together in form, so nothing may be said of them: see what failed."
    weights = "the named weights are these bytes" if model else "the weights were not handed over to be compared"
    if reached is Level.V0:
        return f"A key on the list signed this record, it is in this log, and {weights}. Nothing else was shown."
    empty = (
        ". By the record's own account no chair of the forgotten rows was occupied in any step"
        if record is not None and emptied_throughout(record)
        else ""
    )
    solved = record is not None and record.came_about is Execution.SOLVE
    structure = (
        "The record is consistent: seed, root, tombstones, requests and chain fit together"
        if solved
        else "The record is consistent: seed, root, tombstones, requests, chain and reuse fit together, and the whole "
        f"schedule was computed again{empty}"
    )
    if reached is Level.V1:
        return f"{structure}. {weights[0].upper()}{weights[1:]}; nothing was shown of how they came about."
    if record is not None and record.came_about is Execution.OWN_STEPS:
        return (
            f"{structure}. The method was carried out again from the weights of its parent, which were handed over, "
            "and gave the same bits: its execution is verified. How those weights came about was not looked at; the "
            "record of that run is verified by itself."
        )
    if solved and reached is Level.V2:
        return f"{structure}. A drawn part was made again from the rows that are left and gave the same bits."
    if solved:
        return (
            f"{structure}. The rows that are left were added up again, which gave the same bits: the execution is "
            "verified, on whichever machine."
        )
    if reached is Level.V2:
        return f"{structure}. A drawn share of the steps was carried out again and gave the same bits."
    if reached is Level.V3:
        return f"{structure}. Every step was carried out again and gave the same bits: the execution is verified."
    return f"{structure}. The training was carried out from nothing and gave the same bits: the execution is verified."
