"""The head of a certificate for a terminal: what was forgotten, what was checked, what was not, and whom to ask."""

from __future__ import annotations

from collections.abc import Iterator

from expunge.core.wording import clean
from expunge.records.certificate import Certificate

LONGEST_LINE = 2_000


def certificate_lines(told: Certificate) -> Iterator[str]:
    """The same sentences as the page's; letters that would steer a terminal are shown as the page shows them."""
    for line in _lines(told):
        yield clean(line, LONGEST_LINE)


def _lines(told: Certificate) -> Iterator[str]:
    checked = told.checked
    if checked is None:
        yield "not checked: no list of keys was given, so the page is the bundle's own word (--keys)"
    else:
        yield checked.answer
        yield checked.in_short
    yield ""
    yield "".join(told.title)
    yield told.summary
    yield f"{told.called}: {told.meaning}"
    yield ""
    yield from (f"{rung.level.name} {rung.title}, {rung.climb.value}: {rung.shows}" for rung in told.ladder[::-1])
    yield told.left_open
    yield ""
    yield "questions to ask:"
    yield from (f"  {asked.question} {asked.why} Ask {asked.whom}." for asked in told.questions)
    yield ""
