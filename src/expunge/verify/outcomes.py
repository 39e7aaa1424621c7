"""What a check can come to beside a plain pass and a refusal, which is an error with its code."""

from __future__ import annotations

from expunge.core.errors import RecordError

EVIDENCE_MISSING = "evidence-missing"


class LeftUndecided(Exception):
    """The property can be neither confirmed nor refused here, for a stable ``reason``. Never leaves the verifier."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class EvidenceMissing(LeftUndecided):
    """What a check needs is not in the bundle, or was not given."""

    def __init__(self, sentence: str) -> None:
        super().__init__(EVIDENCE_MISSING, sentence)


class NotChecked(str):
    """What a check returns where there is nothing that it could look at, in place of what it saw."""


def without_code(error: RecordError) -> str:
    """The sentence of a refusal."""
    return str(error).removeprefix(f"{error.code}: ")
