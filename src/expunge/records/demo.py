"""What ``expunge audit-demo`` found: one document, from which terminal, page and ``--json`` are written."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.records.form import Plain


@dataclass(frozen=True, kw_only=True)
class Spread(Plain):
    """The least, the middle and the largest of some distances."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Played(Plain):
    """The honest story: a training of so many rows and steps, and how many rows of a person were forgotten; places."""

    model: str
    rows: int
    person: str
    forgotten: int
    steps: int
    bundle: str
    keys: str
    data: str
    salts: str


@dataclass(frozen=True, kw_only=True)
class Honest(Plain):
    """What the verifier says of the honest bundle at a level, and how many seconds it took."""

    level: str
    status: str
    standing: str
    seconds: float
    as_documented: bool


@dataclass(frozen=True, kw_only=True)
class Forged(Plain):
    """A forgery, the code that it must be refused with at its level, and what ``verify`` said of it at that level."""

    expected: str
    level: str
    status: str
    codes: tuple[str, ...]
    detail: str
    bundle: str
    as_documented: bool


@dataclass(frozen=True, kw_only=True)
class ForgedLog(Forged):
    """A forger's log of a training. ``l2`` is how far forged steps land from the true ones, over all weights.

    ``noise`` is how far honest repeats of a step land apart, ``tolerance`` what Proof-of-Learning lets pass,
    ``published`` its answer; ``reached`` is the highest level that accepts.
    """

    forger: str
    target: str
    steps: int
    steps_forged: int
    absorbed: int
    l2: Spread
    noise: Spread
    tolerance: float
    example_steps: float
    published: str
    reached: str | None


@dataclass(frozen=True, kw_only=True)
class AbsorbedSwap(Forged):
    """The swap that rounding swallows, and every recorded step carried out again with no tolerance at all."""

    target: str
    step: int
    steps: int
    tolerance: float
    largest_distance: float
    replay: str
    reached: str | None


@dataclass(frozen=True, kw_only=True)
class MadeUp(Forged):
    """A training that never was: work done and claimed in example-steps, and what Proof-of-Learning answered."""

    spoof: str
    steps: int
    example_steps: float
    claimed: float
    largest_distance: float
    tolerance: float
    published: str
    reached: str | None


@dataclass(frozen=True, kw_only=True)
class Attack(Forged):
    """A row of the table of attacks, and the answer one level lower, where there is one."""

    number: str
    title: str
    one_level_lower: str | None


@dataclass(frozen=True, kw_only=True)
class DemoResult(Plain):
    """Everything that was shown, part by part. ``as_documented`` says whether every line came out as it must."""

    folder: str
    story: Played
    honest: tuple[Honest, ...]
    forgeries: tuple[ForgedLog, ...]
    absorbed: AbsorbedSwap
    made_up: tuple[MadeUp, ...]
    attacks: tuple[Attack, ...]
    as_documented: bool
    seconds: float

    @property
    def wrong(self) -> int:
        """How many lines did not come out as documented."""
        return sum(not line.as_documented for line in self.lines)

    @property
    def lines(self) -> tuple[Honest | Forged, ...]:
        """Everything that comes out as documented, or does not."""
        return (*self.honest, *self.forgeries, self.absorbed, *self.made_up, *self.attacks)
