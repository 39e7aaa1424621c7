"""The tables of the leaderboard: one for each setting, one over all settings, and one for each method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from expunge.core.values import Refuted, Supported, Undecided
from expunge.core.wording import clean, counted
from expunge.records.figures import NOT_MEASURED, Estimate, MeanFigure, Means
from expunge.records.outcome import OutcomeName
from expunge.records.over_trainings import OverTrainings
from expunge.records.results import VERDICTS, Mark, Results, Row, Setting, guarantee_rank
from expunge.records.row_tuning import STATES
from expunge.report.columns import FIGURE_KEYS, HEADINGS, JUDGED, MEMORY, METHOD, OLDER, Heading, heading_of
from expunge.report.comparison import TONES, Notes, TableCell, left_out, own_reason
from expunge.report.numerals import DASH, SPACE, shown
from expunge.report.outcome import OUTCOMES
from expunge.report.study_text import STYLES, between, number, signed

WORTH = {"Supported": 1.0, "Refuted": -1.0, "Undecided": 0.0}
BROKEN = ("collapsed", "failed", "changed nothing", "over-forgotten")
LONGEST_SHOWN = 60


PLAIN = "number"  # the style of a figure of which no more than its name is known


@dataclass(frozen=True)
class Badge:
    """A mark beside a name."""

    words: str
    tone: str
    detail: str


@dataclass(frozen=True)
class Line:
    """A row of a table. ``said`` takes the place of the cells where there is nothing to show."""

    name: str
    href: str
    number: int | None
    badges: tuple[Badge, ...]
    cells: tuple[TableCell, ...]
    said: str = ""
    below: str = ""


@dataclass(frozen=True)
class Board:
    """A sortable table: bands stay on top, lines are sorted, notes explain the dashes."""

    key: str
    caption: str
    headings: tuple[Heading, ...]
    bands: tuple[Line, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    start: int

    def without_last(self) -> Board:
        """The same without its last column."""

        def cut(lines: Sequence[Line]) -> tuple[Line, ...]:
            return tuple(replace(line, cells=line.cells[:-1]) for line in lines)

        return replace(self, headings=self.headings[:-1], bands=cut(self.bands), lines=cut(self.lines))


def setting_board(study: Results, setting: Setting, at: int, links: Mapping[str, str], start: int) -> Board:
    """All methods of one setting, in their order, below the original and the retrained references."""
    notes, keys = Notes(start), _measured(setting)
    references = counted(study.references, "model")
    below = f"never saw them; mean of {references}"
    bands = (
        band("Retrained references", below, setting.retrained, keys, notes, _known(setting)),
        band("Original", "nothing forgotten", setting.original_figures, keys, notes),
    )
    lines = tuple(
        Line(
            name=row.label,
            href=links[row.method],
            number=setting.number(row),
            badges=tuple(badge for badge in badges(row) if badge.words != "untuned"),  # stands in its column
            cells=_cells(setting, row, keys, notes) if row.took_part else (),
            said="" if row.took_part else why_not(row),
        )
        for row in setting.ranked
    )
    for text in left_out(
        (heading_of(key).title, _why_empty(setting, key)) for key in _keys((setting,)) if key not in keys
    ):
        notes.number(text)
    caption = f"Methods in setting {at}: {clean(setting.title, LONGEST_SHOWN)}"
    board = Board(str(at), caption, _headings(keys), bands, lines, tuple(notes.texts), start)
    searched = any(row.tuning.state in ("tuned", "oracle-tuned") for row in setting.rows)
    return board if searched else board.without_last()  # that nothing was tuned is said once


def _measured(setting: Setting) -> tuple[str, ...]:
    """Figures that any row has: a column of dashes says nothing."""
    rows = [row for row in setting.rows if row.took_part]
    return tuple(key for key in _keys((setting,)) if not rows or any(_says(row, key) for row in rows))


def _says(row: Row, key: str) -> bool:
    """Whether a row has a figure, or a verdict on its method that is not that of every run alike."""
    if key != METHOD.key:
        return row.figures.mean(key) is not None
    told = row.concluded
    return told is not None and not isinstance(told.verdict, Undecided) and set(row.outcomes) != {"same"}


def _why_empty(setting: Setting, key: str) -> str:
    if key == METHOD.key:
        reasons = [_why_unsaid(row.concluded) for row in setting.ranked if row.concluded is not None]
        return Counter(filter(None, reasons)).most_common(1)[0][0] if any(reasons) else "each is bit for bit"
    return why_undecided((row.figures for row in setting.ranked), key)


def why_undecided(figures: Iterable[Means], key: str) -> str:
    """Why nobody has a figure: the first reason that is given."""
    reasons = (one.reason for own in figures if isinstance(one := own[key], Undecided))
    return own_reason(next(reasons, NOT_MEASURED.reason), STYLES)


def method_board(found: Sequence[tuple[Setting, Row]], numbers: Mapping[str, int], name: str) -> Board:
    """One method in all its settings."""
    notes = Notes()
    keys = _keys([setting for setting, _ in found])
    several = len({row.label for _, row in found}) > 1
    lines = tuple(
        Line(
            name=clean(setting.title, LONGEST_SHOWN),
            href=f"#part-{at}",
            number=numbers[setting.id],
            badges=badges(row),
            cells=_cells(setting, row, keys, notes, clipped=bool(row.outcomes)) if row.took_part else (),
            said="" if row.took_part else why_not(row),
            below=row.label if several else "",
        )
        for at, (setting, row) in enumerate(found, 1)
    )
    headings = (Heading("method", "Setting", "", "ascending"), *_headings(keys)[1:])
    return Board("0", f"{name} in every setting", headings, (), lines, tuple(notes.texts), 1)


def _headings(keys: Sequence[str]) -> tuple[Heading, ...]:
    """Of these figures, between what is said of a row and how it was tuned."""
    return (*HEADINGS[:3], *map(heading_of, keys), HEADINGS[-1])


def _keys(settings: Sequence[Setting]) -> tuple[str, ...]:
    """Figures in their order: what is said of methods, where it is, then what is judged, as far as it was asked."""
    asked = {name for setting in settings for name in setting.further}
    concluded = any(row.concluded is not None for setting in settings for row in setting.rows)
    judged = tuple(heading.key for heading in JUDGED if heading.key in asked)
    figures = (key for key in FIGURE_KEYS if MEMORY.key not in asked or key not in OLDER)
    return (*((METHOD.key,) if concluded else ()), *judged, *figures)


def overview(study: Results, links: Mapping[str, str]) -> Board | None:
    """Method by setting: memory left, or forgetting gap, and verdicts; none where there is one setting only.

    Methods stand by the mean of their places in the settings' tables; one that is not in a setting is last there.
    """
    if len(study.settings) < 2:
        return None
    found: dict[tuple[str, str], list[Row | None]] = {}
    for at, setting in enumerate(study.settings):
        for row in setting.rows:
            found.setdefault((row.method, row.label), [None] * len(study.settings))[at] = row
    ordered = sorted(found, key=lambda key: (_mean_place(study, found[key]), key))
    headings = (
        HEADINGS[0],
        *(
            Heading(f"setting-{at}", f"{at}. {title_of(study, setting)}", _model(setting), "ascending")
            for at, setting in enumerate(study.settings, 1)
        ),
    )
    key_shown = MEMORY.key if _asked(study) else "forgetting-gap"
    lines = tuple(
        Line(key[1], links[key[0]], None, (), tuple(_small(row, key_shown) for row in found[key])) for key in ordered
    )
    figure = "Memory left" if _asked(study) else "Forgetting gap"
    return Board("0", f"{figure} and verdicts over all settings", headings, (), lines, (), 1)


def _asked(study: Results) -> bool:
    """Whether the study asked how much of the memory is left."""
    return any(MEMORY.key in setting.further for setting in study.settings)


def title_of(study: Results, setting: Setting) -> str:
    """The setting's own, where it has one: the study's is said once."""
    return clean(setting.forget if setting.title == study.title else setting.title, LONGEST_SHOWN)


def badges(row: Row) -> tuple[Badge, ...]:
    """The row's marks; a mark that not all seeds show says how many do."""
    return tuple(
        Badge(
            mark.mark if mark.count == mark.of else f"{mark.mark} {mark.count}/{mark.of}",
            "bad" if mark.mark in BROKEN else "open",
            mark.detail or "",
        )
        for mark in row.marks
    )


def mark_words(mark: Mark) -> str:
    """A mark in a line of text."""
    return mark.mark if mark.count == mark.of else f"{mark.mark} ({mark.count} of {mark.of})"


def why_not(row: Row) -> str:
    """Why a method has no figures in a setting."""
    parts = [f"{status} {row.count(status)}" for status in ("refused", "failed", "missing") if row.count(status)]
    reasons = list(dict.fromkeys(seed.reason for seed in row.seeds if seed.reason))
    if not parts:
        return "no seed was planned"
    words = parts[0].split()[0] if len(parts) == 1 else ", ".join(parts)
    if words == "missing":
        words = "not run" if reasons else "no result so far"
    return f"{words}: {'; '.join(reasons[:3])}" if reasons else words


def verdict_lines(row: Row) -> tuple[tuple[str, str], ...]:
    """``still remembers 2``, ``cannot be said 1``: what came out for how many seeds, with their tones."""
    if row.outcomes:
        found = [
            (OUTCOMES[word].badge, OUTCOMES[word].tone, row.outcomes.count(word)) for word in get_args(OutcomeName)
        ]
    else:
        found = [(word, TONES[word], row.judged(word)) for word in VERDICTS]
    total = sum(count for _, _, count in found)
    return tuple((word if count == total == 1 else f"{word} {count}", tone) for word, tone, count in found if count)


def verdict_words(row: Row) -> str:
    return ", ".join(words for words, _ in verdict_lines(row)) or DASH


def guarantee_words(guarantee: str | None) -> tuple[str, str]:
    """Its name, and what stands in its brackets."""
    kind, _, inside = (guarantee or "").partition("(")
    return kind.strip(), inside.removesuffix(")").strip()


def band(
    name: str,
    below: str,
    figures: Means,
    keys: Sequence[str],
    notes: Notes,
    known: Mapping[str, TableCell] | None = None,
) -> Line:
    """Figures that a study does not give for a band are left blank; what is undecided is a dash with its note."""
    cells = [
        (known or {}).get(key, TableCell()) if key not in figures.found else figure_cell(figures[key], key, notes)
        for key in keys
    ]
    return Line(name, "", None, (), (TableCell(), TableCell(), *cells, TableCell()), below=below)


def _known(setting: Setting) -> dict[str, TableCell]:
    """What holds for the references without being measured: they are what the gaps are read against."""
    known = {"utility-gap": TableCell("0", below="by definition")}
    if setting.noise is not None:
        known["forgetting-gap"] = TableCell(number(setting.noise, "spreads"), below="each to the others")
    return known


def _cells(
    setting: Setting, row: Row, keys: Sequence[str], notes: Notes, *, clipped: bool = True
) -> tuple[TableCell, ...]:
    kind, inside = guarantee_words(row.guarantee)
    rank = guarantee_rank(row.guarantee) or 0
    guarantee = TableCell(kind, below=inside if rank == 1 else "", tone="accent" if rank else "", sort=str(rank))
    return (
        guarantee,
        _verdict(row, notes),
        *(
            _concluded(row.concluded, notes)
            if key == METHOD.key
            else figure_cell(row.figures[key], key, notes, _beside(setting, row, key), clipped=clipped)
            for key in keys
        ),
        _tuning(row),
    )


def _verdict(row: Row, notes: Notes) -> TableCell:
    total = sum(row.verdicts.values())
    if not total:
        return TableCell(DASH, note=notes.number("; ".join(row.reasons[:2]) or "no seed was judged"))
    worth = sum(WORTH[word] * row.judged(word) for word in VERDICTS) / total
    return TableCell(lines=verdict_lines(row), sort=f"{worth:.6g}")


def _concluded(told: OverTrainings | None, notes: Notes) -> TableCell:
    """What is said of the method; of what is undecided or refuted a note says why."""
    if told is None:
        return TableCell()
    unsaid, verdict = _why_unsaid(told), told.verdict
    if unsaid:
        return TableCell(DASH, note=notes.number(unsaid))
    word = verdict.word.capitalize()
    note = notes.number(own_reason(verdict.detail, STYLES)) if isinstance(verdict, Refuted) else None
    within = told.memory is not None and isinstance(verdict, Supported) and verdict.p > 0.0
    below = f"at most {shown(told.memory.bound, MEMORY.key)}" if within and told.memory is not None else ""
    return TableCell(word, below, note, TONES[word], sort=f"{WORTH[word]:g}")


def _why_unsaid(told: OverTrainings) -> str:
    """Why nothing is said of a method; empty where something is. How its runs came out stands beside."""
    if not isinstance(told.verdict, Undecided):
        return ""
    return own_reason(told.verdict.reason.partition("; of these")[0], STYLES)


def _beside(setting: Setting, row: Row, key: str) -> str:
    if key != "forget-accuracy":
        return ""
    difference = setting.difference(row, key)
    return signed(difference.mean, "points") if isinstance(difference, Estimate) else ""


def figure_cell(figure: MeanFigure, key: str, notes: Notes, beside: str = "", *, clipped: bool = True) -> TableCell:
    """A figure with its interval; a dash with a note where it is undecided."""
    if isinstance(figure, Undecided):
        return TableCell(DASH, note=notes.number(own_reason(figure.reason, STYLES)))
    style = STYLES.get(key, PLAIN)
    value = number(figure.mean, style)
    return TableCell(value, beside=beside, below=between(figure, style, clipped=clipped), sort=f"{figure.mean:.9g}")


def _tuning(row: Row) -> TableCell:
    state, search = row.tuning.state, row.tuning.search
    trials = counted(search.trials, "trial") if search is not None and search.trials else ""
    tone = "open" if state in ("untuned", "oracle-tuned") else ""
    return TableCell(state, below=trials, tone=tone, sort=str(STATES.index(state)))


def _small(row: Row | None, key: str) -> TableCell:
    if row is None:
        return TableCell(DASH, lines=(("not in this setting", ""),))
    if not row.took_part:
        word = next((word for word in ("refused", "failed") if row.count(word)), "no result so far")
        return TableCell(DASH, lines=((word, ""),))
    gap = row.figures[key]
    lines = verdict_lines(row) + ((("collapsed", "bad"),) if row.has("collapsed") else ())
    if isinstance(gap, Undecided):
        return TableCell(DASH, lines=lines)
    return TableCell(number(gap.mean, STYLES[key]), lines=lines, sort=f"{gap.mean:.9g}")


def _mean_place(study: Results, rows: Sequence[Row | None]) -> float:
    places = [
        len(setting.rows) + 1 if row is None or not row.took_part else setting.number(row)
        for setting, row in zip(study.settings, rows, strict=True)
    ]
    return sum(places) / len(places)


def _model(setting: Setting) -> str:
    return f"{setting.data},{SPACE}{setting.model or ''}"
