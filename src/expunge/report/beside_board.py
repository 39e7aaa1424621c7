"""Of a leaderboard, what decides nothing: the probes that are printed beside, in a table of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from expunge.core.wording import clean
from expunge.records.figures import Means
from expunge.records.results import Row, Setting
from expunge.report.board import LONGEST_SHOWN, Board, Line, figure_cell, why_undecided
from expunge.report.columns import BESIDE, HEADINGS, KNOWN, MEMORY, OLDER, Heading, heading_of
from expunge.report.comparison import Notes, TableCell, left_out

CAPTION = "Printed beside, decides nothing"


def beside_setting(setting: Setting, at: int, links: Mapping[str, str], start: int) -> Board | None:
    """All methods of one setting, below the references and the original; none where nothing was measured."""
    found = [row for row in setting.ranked if row.took_part]
    keys, notes = _keys((setting,)), Notes(start)
    told = _measured(keys, found)
    if not told:
        return None
    bands = tuple(
        Line(name, "", None, (), _cells(own, told, notes, blank=True))
        for name, own in (("Retrained references", setting.retrained), ("Original", setting.original))
    )
    lines = tuple(
        Line(row.label, links[row.method], setting.number(row), (), _cells(row.figures, told, notes)) for row in found
    )
    for text in left_out(
        (heading_of(key).title, why_undecided((row.figures for row in found), key)) for key in keys if key not in told
    ):
        notes.number(text)
    headings = (HEADINGS[0], *map(heading_of, told))
    return Board(f"{at}-beside", f"{CAPTION}: setting {at}", headings, bands, lines, tuple(notes.texts), start)


def beside_method(found: Sequence[tuple[Setting, Row]], numbers: Mapping[str, int], start: int) -> Board | None:
    """One method in all settings in which it ran."""
    rows = [(at, setting, row) for at, (setting, row) in enumerate(found, 1) if row.took_part]
    told = _measured(_keys([setting for setting, _ in found]), [row for _, _, row in rows])
    if not told:
        return None
    notes = Notes(start)
    lines = tuple(
        Line(
            clean(setting.title, LONGEST_SHOWN),
            f"#part-{at}",
            numbers[setting.id],
            (),
            _cells(row.figures, told, notes, clipped=bool(row.outcomes)),
        )
        for at, setting, row in rows
    )
    headings = (Heading("method", "Setting", "", "ascending"), *map(heading_of, told))
    return Board("0-beside", CAPTION, headings, (), lines, tuple(notes.texts), start)


def _keys(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Ours in their order, then those of third parties, as far as any row has them."""
    further = dict.fromkeys(name for setting in settings for name in setting.further)
    ours = (heading.key for heading in BESIDE if heading.key in further)
    theirs = (name for name in further if name not in KNOWN)
    return (*(OLDER if MEMORY.key in further else ()), *ours, *theirs)


def _measured(keys: Sequence[str], rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(key for key in keys if any(row.figures.mean(key) is not None for row in rows))


def _cells(
    own: Means, keys: Sequence[str], notes: Notes, *, blank: bool = False, clipped: bool = True
) -> tuple[TableCell, ...]:
    """``blank`` where a study does not give a figure at all."""
    return tuple(
        TableCell() if blank and key not in own.found else figure_cell(own[key], key, notes, clipped=clipped)
        for key in keys
    )
