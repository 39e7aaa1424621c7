"""What a study of verdicts found: tables, floors and whether they were met, as text and as a file."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from expunge.core.values import Refuted
from expunge.measure.judgement import Judgement
from studies.keep import rounded

Cell = str | float | None
HEADS = (
    *("model", "references", "claim", "draws", "Supported", "Refuted", "Undecided"),
    *("memory left", "fewest effective rows", "decided by"),
)


def reason(found: Judgement) -> str:
    """What decided, without its numbers."""
    verdict = found.verdict
    if any(guard.fired and guard.name == "collapse" for guard in found.guards):
        return "collapsed"
    if not isinstance(verdict, Refuted):
        return verdict.word
    told = (one.probe.name for one in found.probes if one.verdict.detail == verdict.detail)
    name = next(told, "rows that stand out")
    return f"over-forgotten by {name}" if verdict.over_forgotten else name


@dataclass(frozen=True)
class Tally:
    """How the models of one kind were judged, a draw of references each."""

    name: str
    references: int
    judged: Sequence[Judgement]

    def count(self, word: str) -> int:
        return sum(one.verdict.word == word for one in self.judged)

    @property
    def supported(self) -> float:
        return self.count("supported") / len(self.judged)

    @property
    def refuted(self) -> float:
        return self.count("refuted") / len(self.judged)

    @property
    def left(self) -> float | None:
        """Mean ρ, where it could be told."""
        told = [one.memory.left for one in self.judged if one.memory is not None]
        return float(np.mean(told)) if told else None

    @property
    def fewest(self) -> float | None:
        """Effective rows of the draw that has the fewest."""
        return min((one.memory.effective_rows for one in self.judged if one.memory is not None), default=None)

    @property
    def claims(self) -> str:
        return listed(Counter(str(one.claim) for one in self.judged))

    @property
    def row(self) -> tuple[Cell, ...]:
        """Under ``HEADS``."""
        shares = (self.supported, self.refuted, self.count("undecided") / len(self.judged))
        decided = listed(Counter(map(reason, self.judged)))
        return self.name, self.references, self.claims, len(self.judged), *shares, self.left, self.fewest, decided


def listed(found: Counter[str]) -> str:
    """The most frequent first; how often, unless there is but one."""
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{name} {count}" for name, count in found.most_common())


@dataclass(frozen=True, kw_only=True)
class Floor:
    """What must hold, and what was found: a number within bounds, or yes."""

    row: str
    what: str
    found: float | bool
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        if isinstance(self.found, bool):
            return self.found
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)

    def __str__(self) -> str:
        bounds = [f"{sign} {bound:.3g}" for sign, bound in (("≥", self.least), ("≤", self.most)) if bound is not None]
        what = f"{self.what} {' and '.join(bounds)}".strip()
        found = ("no", "yes")[self.found] if isinstance(self.found, bool) else f"{self.found:.3g}"
        return f"row {self.row}: {what}: {found}, {'' if self.met else 'NOT '}met"


@dataclass(frozen=True)
class Table:
    """Cells under their heads."""

    heads: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]

    @classmethod
    def of(cls, tallies: Iterable[Tally]) -> Table:
        return cls(HEADS, [tally.row for tally in tallies])

    @property
    def lines(self) -> list[str]:
        """In Markdown."""
        rows = (self.heads, ["---"] * len(self.heads), *(map(shown, row) for row in self.rows))
        return [f"| {' | '.join(row)} |" for row in rows]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a part found, of which recipe: tables, floors, and what else is to be said."""

    recipe: str
    tables: Sequence[Table]
    floors: Sequence[Floor]
    remarks: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """In Markdown."""
        tables = [line for table in self.tables for line in ("", *table.lines)]
        return [f"{self.recipe}.", *tables, "", *(f"- {line}" for line in (*self.remarks, *map(str, self.floors)))]

    def written(self, command: str) -> str:
        """As a file, with the date and the command that repeats it."""
        told = {"date": datetime.date.today().isoformat(), "command": command, **rounded(asdict(self))}
        return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read(text: str) -> tuple[dict[str, Any], Found]:
    """What was written: date and command, and what was found."""
    told = json.loads(text)
    tables = [Table(tuple(table["heads"]), table["rows"]) for table in told["tables"]]
    floors = [Floor(**floor) for floor in told["floors"]]
    return told, Found(recipe=told["recipe"], tables=tables, floors=floors, remarks=told["remarks"])


def shown(cell: Cell) -> str:
    if cell is None:
        return "–"
    return cell if isinstance(cell, str) else f"{cell:.3g}"
