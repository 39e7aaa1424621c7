"""One attack: what the attacker does, the code that it must be refused with, and at which level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from expunge.adversary.table.scene import Scene
from expunge.adversary.table.story import Handed, code_from
from expunge.records.demo import Attack, Forged
from expunge.records.limits import Code
from expunge.records.verdict import Level, Status, Verdict
from expunge.verify.verify import verify

Told = TypeVar("Told", bound=Forged)
Make = Callable[[Scene, Path], Handed]


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """A row of the table. ``also`` are further codes that the same bundle cannot avoid, behind the documented one."""

    number: str
    title: str
    code: Code
    level: Level
    make: Make
    also: tuple[Code, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AttackAttempt:
    """What became of an attack: the verdict at its level, and one level lower, if there is one."""

    fixture: Fixture
    handed: Handed
    verdict: Verdict
    below: Verdict | None

    @property
    def as_documented(self) -> bool:
        """Refused with the documented code, most basic of all, at the documented level; accepted one level lower."""
        fixture, codes = self.fixture, self.verdict.codes
        return (
            self.verdict.status is Status.REFUSED
            and codes[:1] == (fixture.code,)
            and set(codes[1:]) <= set(fixture.also)
            and {finding.level for finding in self.verdict.refusals} == {fixture.level}
            and (self.below is None or self.below.status is Status.ACCEPTED)
        )

    @property
    def told(self) -> Attack:
        """The row as the demonstration shows it."""
        fixture = self.fixture
        return told_as(
            Attack,
            self.handed,
            self.verdict,
            fixture.code,
            fixture.level,
            number=fixture.number,
            title=fixture.title,
            one_level_lower=None if self.below is None else self.below.status.value,
            as_documented=self.as_documented,
        )


def attempt(fixture: Fixture, scene: Scene, out: Path) -> AttackAttempt:
    """Carry an attack out in a new folder and show the bundle to the verifier, at its level and one lower."""
    handed = fixture.make(scene, out)
    below = None if fixture.level is Level.V0 else shown(handed, Level(fixture.level - 1))
    return AttackAttempt(fixture=fixture, handed=handed, verdict=shown(handed, fixture.level), below=below)


def shown(handed: Handed, level: Level) -> Verdict:
    """What the verifier says of what it was handed."""
    with code_from(handed.code):
        return verify(
            handed.bundle,
            keys=handed.keys,
            level=level,
            data=str(handed.data),
            salts=handed.salts,
            known_checkpoint=handed.known_checkpoint,
            known_records=handed.known_records,
            trust=handed.trust,
            checkpoints=handed.checkpoints,
        )


def told_as(
    kind: Callable[..., Told], handed: Handed, verdict: Verdict, code: Code, level: Level, **fields: object
) -> Told:
    """A line of the demonstration: what was expected of the verifier, what it said, and ``fields`` of its ``kind``."""
    return kind(
        expected=code.value,
        level=level.name,
        status=verdict.status.value,
        codes=tuple(found.value for found in verdict.codes),
        detail=next((finding.detail for finding in verdict.refusals), "nothing was refused"),
        bundle=str(handed.bundle),
        **fields,
    )
