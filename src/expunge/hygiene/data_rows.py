"""The forgotten rows in the data themselves: read again, and opened against the leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from expunge.core.errors import ExpungeError
from expunge.data.dataset import Dataset
from expunge.data.forms import read
from expunge.data.salts import SecretSalts
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.hygiene.holdings import Holding
from expunge.hygiene.places import Kinship, Place
from expunge.records.holds import Remedy
from expunge.train.run import Run

SOURCE = "source"  # what `data` calls the place that the run itself names


@dataclass(frozen=True)
class FoundRows:
    """Forgotten rows that the data still hold, and rows of which nobody can tell; None where not even their number."""

    there: int
    unknown: int | None


def shown_place(run: Run, named: str | Dataset | None) -> str:
    """Where the data lie, as people name it."""
    described = run.told.data.source
    location = "handed over in memory" if described is None else str(described["location"])
    return named if isinstance(named, str) and named != SOURCE else location


def read_again(run: Run, named: str | Dataset | None, salts: Path | None) -> FoundRows:
    """Read the data where they are ``named``, or where the run says, and count forgotten rows in them."""
    override = None if named == SOURCE else named
    rows = run.data(override, salts=salts)
    there = int(rows[Split.TRAIN].present[run.tombstones].sum())
    there += sum(int(rows[split].present[slots].sum()) for split, slots in run.released.items())
    return FoundRows(there, _unknown_rows(run, override, salts, sum(int(part.present.sum()) for part in rows.values())))


def _unknown_rows(run: Run, named: str | Dataset | None, salts: Path | None, seated: int) -> int | None:
    """Rows of the source that no leaf can be compared with, since their salts are destroyed; None where unclear."""
    secret = run.salts(salts)
    if not isinstance(secret, SecretSalts) or not secret.destroyed:
        return 0
    if isinstance(named, Dataset):
        return len(named) - seated
    source = Source.from_json(run.told.data.source or {**(run.told.data.held or {}), "location": named})
    if source.rows is not None:
        return None
    if named is not None:
        source = replace(source, location=named)
    return len(read(source, columns=run.recipe.inputs.columns, classes=run.recipe.classes)) - seated


def data_place(
    run: Run, named: str | Dataset, salts: Path | None, unclear: list[str], misnamed: list[str]
) -> Place | None:
    """The data as they were named, if they still hold forgotten rows."""
    place = shown_place(run, named)
    try:
        found = read_again(run, named, salts)
    except ExpungeError as error:
        misnamed.append(f"the data ({place}): {error}")
        return None
    if found.unknown is None:
        unclear.append(f"the data ({place}): with their salts gone and `rows` cutting it, what is left cannot be told")
        return None
    count = found.there + found.unknown
    if not count:
        return None
    why = "the source still has them" if found.there else "rows stand in their places, and their salts are destroyed"
    holding = Holding(
        path=Path(place),
        what="rows themselves",
        why=f"{why}; nothing here writes into your data, so remove them yourself",
        slots=count,
        bytes=0,
        remedy=Remedy.OWNER,
    )
    return Place(path=holding.path, kinship=Kinship.DATA, holdings=(holding,))
