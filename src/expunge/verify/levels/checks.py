"""Carrying out checks one by one: each becomes a finding, and a refusal ends nothing but its own check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from expunge.core.errors import RecordError
from expunge.records.limits import Code
from expunge.records.verdict import Finding, Level, holds, not_checked, refused_finding, undecided

EVIDENCE_MISSING = "evidence-missing"


class EvidenceMissing(Exception):
    """What a check needs is not in the bundle; neither a refusal nor a pass. Never leaves the verifier."""


class NotChecked(str):
    """What a check returns where there is nothing that it could look at, in place of what it saw."""


class Checks:
    """The findings of one level, in the order in which they were made."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.findings: list[Finding] = []

    def run(self, name: str, check: Callable[[], str], *, until_replayed: bool = False) -> bool:
        """Whether the property ``name`` holds. ``check`` returns what it saw in figures, or raises a refusal.

        ``until_replayed`` says that a full replay decides instead, whatever was found.
        """
        try:
            seen = check()
        except RecordError as error:
            found = refused_finding(name, self.level, Code(error.code), without_code(error))
            return self.add(replace(found, until_replayed=until_replayed))
        except EvidenceMissing as error:
            found = undecided(name, self.level, EVIDENCE_MISSING, str(error))
            return self.add(replace(found, until_replayed=until_replayed))
        made = not_checked if isinstance(seen, NotChecked) else holds
        return self.add(made(name, self.level, str(seen)))

    def add(self, finding: Finding) -> bool:
        """Enter a finding and say whether it stands."""
        self.findings.append(finding)
        return finding.stands


def without_code(error: RecordError) -> str:
    """The sentence of a refusal."""
    return str(error).removeprefix(f"{error.code}: ")
