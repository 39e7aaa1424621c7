"""No constant of a recipe hangs on a row: kinds fix scales and layouts, and the rows that stay give the same. No torch.

An encoding holds no number that is fitted by rule; what could be is a scale that no kind fixes, the kind that a column
is taken for, and what a class is. Each would carry something of a forgotten row into every step.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from expunge.core.errors import ExpungeError
from expunge.core.wording import counted
from expunge.data.columns import FoundColumn, Table, assemble
from expunge.data.dataset import Column, ColumnKind, Dataset
from expunge.data.digits import COLUMN as DIGITS
from expunge.data.encoding import image_layout
from expunge.data.source import Source
from expunge.data.splits import SPLITS, Split
from expunge.records.limits import Code, refused
from expunge.verify.levels.contents import Contents
from expunge.verify.opened import OpenedRecord

PIXELS = 1 / 255  # what 8-bit pixels are multiplied by, whichever file they come from; the digits have their own
LAID_OUT = (ColumnKind.IMAGE, ColumnKind.ARRAY)
WORDS = (ColumnKind.CATEGORY, ColumnKind.TEXT)
SPELLED = (".csv", ".tsv")  # tables without types, in which words may spell numbers


def check_constants(opened: OpenedRecord) -> str:
    """Scales and layouts are what a column's kind fixes, so that no row had a part in them. Reads nothing."""
    columns = opened.recipe.inputs.columns
    for column in columns:
        layout = image_layout(column.shape) if column.kind in LAID_OUT else ""
        scale = PIXELS if column.kind is ColumnKind.IMAGE else 1.0
        if column == DIGITS or (column.scale == scale and column.layout == layout):
            continue
        raise refused(
            Code.PREPROCESSING_FITTED,
            f"column {column.name!r} ({column.kind.value}) comes in with scale {column.scale:.17g} and layout "
            f"{column.layout or 'none'}, its kind fixes {scale:.17g} and {layout or 'none'}: a constant that nothing "
            "fixes may have been fitted on the rows, the forgotten ones among them",
        )
    return f"the constants of {counted(len(columns), 'column')} are those of their kinds"


def check_inferred(opened: OpenedRecord, contents: Contents) -> str:
    """What columns and classes are taken for hangs on no forgotten row: those that stay give the same."""
    recipe = opened.recipe
    found = _as_if_new(contents, recipe.classes)
    if found is not None:
        _check_columns(recipe.inputs.columns, found.columns)
        _check_classes(recipe.classes, found.classes)
    there = _forgotten_at_hand(opened, contents)
    if there and contents.source is not None:
        _check_words(opened, contents, contents.source)
    labels = f"{len(recipe.classes)} classes" if recipe.classes else "labels that are numbers"
    told = f"{counted(len(recipe.inputs.columns), 'column')} and {labels}"
    if found is None:
        return f"{told}; from so few rows nothing can be inferred to compare them with"
    if there and any(column.kind is ColumnKind.IMAGE for column in recipe.inputs.columns):
        return f"{told} are those of the rows at hand; {there} forgotten ones among them could hide what hangs on them"
    return f"{told} are those of the rows that stay"


def _as_if_new(contents: Contents, classes: tuple[int | str, ...]) -> Dataset | None:
    """The rows at hand as somebody would read them who has no recipe; None where that cannot be done."""
    for given in _possible(classes):
        try:
            return contents.read_with(None, given, contents.left)  # what stands behind a cut has no part in it
        except ExpungeError:  # one class left, say: then the classes are taken as given
            continue
    return None


def _possible(classes: tuple[int | str, ...]) -> tuple[tuple[int | str, ...] | None, ...]:
    """What classes may be taken for without looking at them: those found, else those given; numbers are none."""
    return (None, classes) if classes else (classes,)


def _forgotten_at_hand(opened: OpenedRecord, contents: Contents) -> int:
    """How many rows that may be gone are still among the data."""
    return sum(int(contents.rows[split].present[_may_miss(opened, split)].sum()) for split in SPLITS)


def _may_miss(opened: OpenedRecord, split: Split) -> np.ndarray:
    if split is Split.TRAIN:
        return opened.tombstones
    return np.array(opened.released.get(split, ()), dtype=np.int64)


def _check_words(opened: OpenedRecord, contents: Contents, source: Source) -> None:
    """The same for columns of words, on the rows that stay alone: a column of numbers is one on fewer rows too."""
    recipe = opened.recipe
    names = [column.name for column in recipe.inputs.columns if column.kind in WORDS]
    spelled = source.location.lower().endswith(SPELLED)
    if not names and not spelled:
        return
    label = source.label or "label"
    values: dict[str, list[np.ndarray]] = {name: [] for name in (label, *names)}
    for split in SPLITS:
        rows = contents.rows[split]
        stay = np.setdiff1d(np.flatnonzero(rows.present), _may_miss(opened, split))
        values[label].append(np.array([str(rows.label(row)) for row in stay], dtype=object))
        for name in names:
            values[name].append(rows.content[name][stay])
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    holes = np.zeros(len(joined[label]), dtype=bool)
    table = Table(source.shown, {name: FoundColumn(words, holes, spelled) for name, words in joined.items()})
    described = Source(
        location=source.location,
        categorical=tuple(name for name in source.categorical if name in names),
        text=tuple(name for name in source.text if name in names),
    )
    for given in _possible(recipe.classes):
        try:
            found = assemble(table, described, label, None, given)
        except ExpungeError:
            continue
        _check_columns([column for column in recipe.inputs.columns if column.name in names], found.columns)
        if spelled:
            _check_classes(recipe.classes, found.classes)
        return


def _check_columns(committed: Iterable[Column], found: Iterable[Column]) -> None:
    here = {column.name: column for column in found}
    for column in committed:
        other = here.get(column.name)
        if other != column:
            raise refused(
                Code.PREPROCESSING_FITTED,
                f"column {column.name!r} is {_shown(column)} in the recipe, and {_shown(other)} when read off the rows "
                "that stay: how it comes in hangs on the forgotten ones, so forgetting them changes it; train again "
                "with the kind named (`numeric`, `categorical`, `text`)",
            )


def _shown(column: Column | None) -> str:
    return "not there" if column is None else f"{column.kind.value} {column.shape}, scale {column.scale:.6g}"


def _check_classes(committed: tuple[int | str, ...], found: tuple[int | str, ...]) -> None:
    """The rows that stay may lack classes; those that they have stand in the same order."""
    left = tuple(name for name in committed if name in found)
    if left != found:
        raise refused(
            Code.PREPROCESSING_FITTED,
            f"the rows that stay have the classes {list(found)[:10]}, of which the recipe makes {list(left)[:10]}: "
            "what a class is, or where it stands, hangs on the forgotten ones; a list may lack classes, nothing else",
        )
