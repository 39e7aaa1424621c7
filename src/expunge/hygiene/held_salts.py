"""Secret salts of forgotten rows: which can go, which a living run needs, and whether the file is the right one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from expunge.core.errors import ExpungeError, RunError
from expunge.data.dataset import Dataset
from expunge.data.salts import HOLDS, HOLDS_LEFT, SALT_BYTES, SecretSalts, leftovers, read_salts
from expunge.hygiene.data_rows import SOURCE
from expunge.hygiene.holdings import Holding, whole
from expunge.hygiene.other_commitments import shares_salts
from expunge.hygiene.places import Kinship, Place, forgotten_rows, is_untrained, lives_on
from expunge.records.holds import Named, Remedy
from expunge.train.run import Run


def salts_place(run: Run, moved: Path | None, needed: Mapping[int, list[Path]]) -> Place | None:
    """What the salt file and its leftovers hold; ``needed`` says by row which living runs need its salt."""
    found = run.salts(moved)
    if not isinstance(found, SecretSalts):
        return None
    there = sorted(set(forgotten_rows(run)) - set(found.destroyed))
    free = tuple(row for row in there if row not in needed)
    holdings = [_salts(found.path, free, HOLDS.why, HOLDS.remedy)] if free else []
    if len(free) < len(there):
        bound = tuple(row for row in there if row in needed)
        runs = list(dict.fromkeys(path for row in bound for path in needed[row]))
        why = (
            f"{HOLDS.why}; {', '.join(map(str, runs))} still need{'s' if len(runs) == 1 else ''} them to read its "
            "data, also to forget these rows: forget them there first, then run this again"
        )
        holdings.append(_salts(found.path, bound, why, Remedy.OWNER))
    holdings += _left_over(run, found)
    return Place(path=found.path, kinship=Kinship.SALTS, holdings=tuple(holdings)) if holdings else None


def needed_salts(run: Run, places: Sequence[Place], runs: Sequence[Run], moved: Path | None) -> dict[int, list[Path]]:
    """Forgotten rows whose salts runs still need after what can be ended is gone, and which runs these are."""
    found: dict[int, list[Path]] = {}
    gone, of = forgotten_rows(run), {place.path: place for place in places}
    rows = run.told.data.rows
    for other in runs:
        living = lives_on(other, of.get(other.path)) or is_untrained(other)
        if not living or not shares_salts(run, other, moved) or other.told.data.rows != rows:
            continue
        try:
            spared = set(forgotten_rows(other))
        except ExpungeError:  # whatever it has forgotten cannot be told
            spared = set[int]()
        for row in set(gone) - spared:
            found.setdefault(row, []).append(other.path)
    return found


def check_salts(run: Run, path: Path, data: str | Dataset | None) -> None:
    """Refuse a file whose salts do not open the leaves of the rows that are still there; those of others would go."""
    try:
        parts = run.data(None if data == SOURCE else data, salts=path)
        opened = sum(int(part.present.sum()) for part in parts.values())
    except ExpungeError as error:
        raise RunError(
            f"salt file {path} is not shown to open the leaves of {run.path} ({str(error).partition(': ')[0]}): it may "
            "hold another data set's salts, and none of them may go; give the run's own with `salts` FILE, or the data "
            "with `data` PATH, or, if no data are left, remove the salt file yourself"
        ) from None
    if not opened:
        raise RunError(
            f"salt file {path} opens no leaf of {run.path}, since none of its rows is in the data any more: give the "
            "data with `data` PATH, or, if no data are left, remove the salt file yourself"
        )


def _salts(path: Path, rows: tuple[int, ...], why: str, remedy: Remedy) -> Holding:
    return Holding(
        path=path,
        what=salts_of_rows(len(rows)),
        why=why,
        slots=len(rows),
        bytes=SALT_BYTES * len(rows),
        remedy=remedy,
        rows=rows,
    )


def salts_of_rows(count: int) -> str:
    """How a declaration names them."""
    return f"{HOLDS.what} {count} row" + ("" if count == 1 else "s")


def _left_over(run: Run, salts: SecretSalts) -> Iterator[Holding]:
    """Second names and copies that a killed process left: what is forgotten since, they still hold."""
    for path in leftovers(salts.path):
        try:
            there = len(set(forgotten_rows(run)) - set(read_salts(path, len(salts)).destroyed))
        except ExpungeError:
            there = len(forgotten_rows(run))  # half of a file
        if there:
            yield whole(path, Named(path.name, HOLDS_LEFT), there)
