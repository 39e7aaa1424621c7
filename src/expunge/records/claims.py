"""What a record may claim, and what it never claims: fixed sentences by id, and the highest guarantee of each method.

A record holds ids only, so nobody words a claim of their own. N1–N9 stand on every record and every certificate.
"""

from __future__ import annotations

from collections.abc import Mapping

from expunge.core.values import Exact
from expunge.records.catalogue import ROWS
from expunge.records.record import GuaranteeKind, Operation

CLAIMS: Mapping[str, str] = {
    "C1": "This recipe and these data were fixed as committed.",
    "C2": "This algorithm ran on the committed data under the schedule that recipe, data and beacon determine.",
    "C3": "The chairs of the requested examples were empty in every step, and no reused state had seen them.",
    "C4": "The weights are bit for bit those of training without the requested examples.",
    "C5": "The weights are within (epsilon, delta) of training without the requested examples, under the assumptions "
    "of the method.",
    "C6": "This method ran with these fields on this model; nothing is claimed about what the weights remember.",
    "C7": "The weights are bit for bit those of training from the named base without the requested examples; what the "
    "base saw before is not covered.",
    "C8": "These weights were taken over as they were handed over; on which rows they were trained, and how, is the "
    "word of their owner.",
    "C9": "The weights follow from sums over the committed rows, as recipe, data and beacon determine them.",
    "C10": "The rows of the requested examples are in none of these sums.",
}

NOT_CLAIMED: Mapping[str, str] = {
    "N1": "That the committed data set is all the data that touched the model: a pretrained backbone, tuning or "
    "people's choices may have seen more.",
    "N2": "That the service answers with these weights.",
    "N3": "That no other copy, backup, checkpoint, log or distilled child exists; destruction is declared, not proven.",
    "N4": "That other examples do not carry the same information: twins, family photos, paraphrases.",
    "N5": "That an approximate method forgot: only that this algorithm ran, under its stated assumptions.",
    "N6": "Safety against adaptive requests, or against somebody who holds the models before and after.",
    "N7": "Bit-exactness outside the named profile, or the absence of a hardware fault.",
    "N8": "Confidentiality towards the auditor: there is no zero knowledge here.",
    "N9": "Legal compliance: this is evidence for accountability, not erasure as a legal conclusion.",
}


def highest(algorithm: str) -> GuaranteeKind:
    """The highest guarantee that an algorithm can earn; one that is not built in earns no more than tests."""
    if algorithm not in ROWS:
        return GuaranteeKind.EMPIRICAL
    return GuaranteeKind.EXACT if ROWS[algorithm].ceiling is Exact else GuaranteeKind.CERTIFIED


def claims_of(
    operation: Operation,
    kind: GuaranteeKind | None,
    *,
    emptied: bool,
    recorded: bool,
    base: bool = False,
    solved: bool = False,
) -> tuple[str, ...]:
    """The ids that a record of this kind holds: no more, no fewer.

    ``emptied`` says whether any chair is empty, ``recorded`` whether a trajectory of training was recorded, ``base``
    whether that began with weights from elsewhere, ``solved`` whether there are sums in the place of a trajectory.
    """
    if operation is Operation.COMMIT:
        return ("C1",)
    if operation is Operation.ADOPT:
        return ("C8",)
    found = ["C9" if solved else "C2" if recorded else "C6"]
    if (solved or recorded) and emptied:
        found.append("C10" if solved else "C3")
    if kind is GuaranteeKind.EXACT and emptied:
        found.append("C7" if base else "C4")
    if kind is GuaranteeKind.CERTIFIED:
        found.append("C5")
    return tuple(found)


def not_claimed() -> tuple[str, ...]:
    """The ids of what no record claims."""
    return tuple(NOT_CLAIMED)
