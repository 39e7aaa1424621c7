"""A small table as people read it, in a terminal or in a notebook."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

from expunge.core.values import Figure, Measurement

ROUNDING = 1e-12


@dataclass(frozen=True)
class TextTable:
    """Rows of texts under their headers; ``answer`` says what they come to, ``notes`` what else must be known."""

    answer: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def as_html(self) -> str:
        """For a notebook, which shows it in its own style: the answer first, everything escaped."""
        head = "".join(f"<th>{escape(header)}</th>" for header in self.headers)
        lines = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self.rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div><p><strong>{escape(self.answer)}</strong></p>{table}{notes}</div>"


def four_digits(value: float) -> str:
    """A number without its unit; what rounding leaves of nothing is 0."""
    return f"{value:.4g}" if abs(value) > ROUNDING else "0"


def with_interval(figure: Figure | None) -> str:
    """A measurement with its interval; a dash where it is undecided."""
    if not isinstance(figure, Measurement):
        return "–"
    if figure.low == figure.high:
        return four_digits(figure.value)
    low, high = (f"{bound:.3g}" if math.isfinite(bound) else "∞" for bound in (figure.low, figure.high))
    return f"{four_digits(figure.value)} [{low}, {high}]"
