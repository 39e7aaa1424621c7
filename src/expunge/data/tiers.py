"""A file of tiers: which subjects' rows are trained on early, and which late, for these will be asked for first."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.files import read_bytes
from expunge.core.wording import counted

HEADER = ["subject", "tier"]
DIGITS = 10


@dataclass(frozen=True)
class TierFile:
    """The tier of every subject, a whole number from 0, and the line that says it; the highest is trained on last."""

    place: Path
    tiers: Mapping[str, int]
    lines: Mapping[str, int]

    @classmethod
    def read(cls, place: Path | str) -> TierFile:
        """Read a CSV with the columns subject and tier."""
        tiers, lines = dict[str, int](), dict[str, int]()
        found = cls(Path(place), tiers, lines)
        for number, row in found._rows():
            if len(row) != len(HEADER):
                raise found._odd(number, f"has {counted(len(row), 'field')}", "each names a subject and a tier")
            subject, tier = row
            if not (tier.isascii() and tier.isdigit() and len(tier) < DIGITS):
                raise found._odd(number, f"says tier {tier!r:.40}", "tiers are whole numbers from 0")
            if subject in tiers:
                raise found._odd(number, "names a subject a second time", "each has one tier")
            tiers[subject], lines[subject] = int(tier), number
        if not tiers:
            raise DataError(f"{place} names no subject: a tiers file has a line for each")
        found._check_held(tiers.values(), "nobody")
        return found

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Every line below the first with its number; blank ones are passed over."""
        try:
            text = read_bytes(self.place, "the tiers file").decode("utf-8-sig")
            rows = csv.reader(io.StringIO(text, newline=""))
            if next(rows, None) != HEADER:
                raise DataError(f"{self.place} does not begin with the line {','.join(HEADER)}: a tiers file does")
            yield from ((rows.line_num, row) for row in rows if row)
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{self.place} is no CSV in UTF-8 ({error}): a tiers file is") from None

    def _odd(self, line: int, what: str, rule: str) -> DataError:
        return DataError(f"line {line} of {self.place} {what}: {rule}")

    @property
    def count(self) -> int:
        """How many tiers there are."""
        return max(self.tiers.values()) + 1

    def of(self, subjects: Sequence[str], trained: Iterable[str]) -> np.ndarray:
        """The tier of every unit of the rows that are ``trained`` on; ``subjects`` are those of all rows."""
        known = set(subjects)
        unknown = [line for subject, line in self.lines.items() if subject not in known]
        if unknown:
            raise self._odd(
                unknown[0],
                "names a subject that no row of the data has",
                f"{counted(len(unknown), 'line')} like it; take them out",
            )
        missing = [row for row, subject in enumerate(subjects) if subject not in self.tiers]
        if missing:
            raise DataError(
                f"row {missing[0]} of the data belongs to a subject whom {self.place} does not name: every subject "
                f"needs a tier; {counted(len({subjects[row] for row in missing}), 'subject')} without one"
            )
        found = [self.tiers[subject] for subject in dict.fromkeys(trained)]
        self._check_held(found, "nobody in training")
        return np.array(found, dtype=np.int64)

    def _check_held(self, tiers: Iterable[int], nobody: str) -> None:
        held = set(tiers)
        empty = next((tier for tier in range(self.count) if tier not in held), None)
        if empty is not None:
            raise InvalidArgument(
                f"tier {empty} of {self.place} has {nobody}: number tiers 0, 1, 2 … so that each has somebody who is "
                "trained on"
            )
