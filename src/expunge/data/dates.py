"""Dates as days since the first of January 1970: year first, or day.month.year; a time of day is a part of a day."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date

from expunge.data.labels import spell

EPOCH = date(1970, 1, 1).toordinal()
DAY = 86_400
WRITTEN = "2024-01-31 or 31.01.2024"  # as sentences show it
TIME = r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d(?:\.\d{1,9})?))?(?P<zone>Z|[+-]\d\d:?\d\d)?)?"
YEAR_FIRST = re.compile(r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)" + TIME, re.ASCII)
DAY_FIRST = re.compile(r"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{4})" + TIME, re.ASCII)


def days(word: str) -> float:
    """Days since 1970 of a date, in universal time where it has a zone; not a number where the word is none.

    Slashes after a day or a month tell nobody which of them comes first, so such a word is no date.
    """
    found = YEAR_FIRST.fullmatch(word.strip()) or DAY_FIRST.fullmatch(word.strip())
    if found is None:
        return math.nan
    try:
        whole = date(int(found["year"]), int(found["month"]), int(found["day"])).toordinal() - EPOCH
    except ValueError:
        return math.nan
    hour, minute, second = int(found["hour"] or 0), int(found["minute"] or 0), float(found["second"] or 0)
    if hour > 23 or minute > 59 or second >= 60:
        return math.nan
    return whole + (3600 * hour + 60 * minute + second - _offset(found["zone"])) / DAY


def spells_dates(words: Iterable[str]) -> bool:
    """Whether every word is a date but those that are missing, and one is."""
    return spell(words, lambda word: not math.isnan(days(word)))


def shown_day(value: float) -> str:
    """Days since 1970 as a date."""
    return date.fromordinal(EPOCH + math.floor(value)).isoformat()


def _offset(zone: str | None) -> int:
    """Seconds that a zone is ahead of universal time."""
    if zone is None or zone == "Z":
        return 0
    seconds = 3600 * int(zone[1:3]) + 60 * int(zone[-2:])
    return seconds if zone[0] == "+" else -seconds
