"""Small tables: the answer first, everything escaped."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import pytest

from expunge.core.text_table import TextTable, with_interval
from expunge.core.values import Direction, Measurement, Undecided


class Read(HTMLParser):
    """Tags in their order, and the texts between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not attrs
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_notebook_shows_the_answer_first_and_no_markup_of_others() -> None:
    hostile = "<script>alert('x')</script> & \"more\""
    read = Read()
    read.feed(TextTable(hostile, ("a", hostile), (("1", hostile), ("2", "")), (hostile,)).as_html())
    assert read.texts == [hostile, "a", hostile, "1", hostile, "2", hostile]
    assert set(read.tags) == {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td"}
    assert (read.tags.count("tr"), read.tags.count("td"), read.tags.count("th")) == (3, 4, 2)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.25, 0.75, "0.5 [0.25, 0.75]"), (0.5, 0.5, "0.5"), (-math.inf, 0.75, "0.5 [∞, 0.75]")],
)
def test_a_measurement_with_its_interval(low: float, high: float, said: str) -> None:
    measured = Measurement(value=0.5, low=low, high=high, n=4, unit="example", direction=Direction.HIGH)
    assert with_interval(measured) == said
    assert with_interval(Undecided("no rows")) == with_interval(None) == "–"
