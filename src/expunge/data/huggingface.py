"""Hugging Face data sets: a folder written by ``save_to_disk``, or one by its name. Needs the extra ``language``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.installed import needed_by
from expunge.data.arrow import arrays_in, found_in
from expunge.data.columns import FoundColumn, Table, assemble
from expunge.data.dataset import Column, Dataset
from expunge.data.images import stack
from expunge.data.wording import one_line

if TYPE_CHECKING:
    from expunge.data.source import Source

LABEL, SPLIT, IMAGE = "label", "train", "Image"
ONE, SEVERAL = ("dataset_info.json", "state.json"), ("dataset_dict.json",)
ARRAYS = ("Array2D", "Array3D", "Array4D", "Array5D", "List", "LargeList", "Sequence")


def is_saved(folder: Path) -> bool:
    """Whether a folder was written by ``datasets.save_to_disk``."""
    return any(all((folder / name).is_file() for name in names) for names in (ONE, SEVERAL))


def read_saved(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """A folder on disk; the label is the column ``label`` unless said."""
    return assemble(saved_table(source, columns), source, source.label or LABEL, columns, classes)


def saved_table(source: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """The columns of a folder on disk."""
    return held_table(saved(source), source, columns)


def saved(source: Source) -> Any:
    """A saved data set as its library opens it."""
    with needed_by(source.location):
        import datasets
    try:
        return datasets.load_from_disk(source.location)
    except Exception as error:
        raise DataError(
            f"{source.location} could not be read as a saved data set ({one_line(error)}): save it again"
        ) from error


def read_named(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """``hf:NAME``, ``hf:OWNER/NAME`` or ``hf:OWNER/NAME/CONFIG``, from the local cache or the network."""
    return assemble(named_table(source, columns), source, source.label or LABEL, columns, classes)


def named_table(source: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """The columns of a data set by its name."""
    return held_table(named(source), source, columns)


def named(source: Source) -> Any:
    """A data set by its name, as its library opens it."""
    parts = source.location.removeprefix("hf:").split("/", 2)
    if not all(parts):
        raise InvalidArgument(
            f"data {source.location!r} has no full name: give hf:NAME, hf:OWNER/NAME or one with /CONFIG"
        )
    with needed_by(source.location):
        import datasets
    try:
        return datasets.load_dataset("/".join(parts[:2]), parts[2] if len(parts) == 3 else None)
    except Exception as error:  # whatever network, hub or cache may raise
        raise DataError(
            f"{source.location} could not be loaded ({one_line(error)}): check the name and the network, or save the "
            "data set with save_to_disk where there is one and give that folder"
        ) from error


def held_table(found: Any, source: Source, columns: tuple[Column, ...] | None = None) -> Table:
    """The columns of a ``datasets.Dataset``, or of one split of several."""
    rows = _split(found, source)
    where = source.location
    if len(rows) == 0:
        raise DataError(f"{where} holds no rows: a data set needs at least one")
    count = source.taken(len(rows), again=columns is not None)
    rows = rows if count == len(rows) else rows.select(range(count))
    if source.image_size is not None and not any(type(feature).__name__ == IMAGE for feature in rows.features.values()):
        raise InvalidArgument(
            f"`image_size` {source.image_size} makes no sense for {where}, which has no column of images: leave it out"
        )
    plain: Any = rows.with_format("arrow")[:]
    return Table(
        source.shown,
        {name: _found(plain.column(name), feature, name, source, columns) for name, feature in rows.features.items()},
    )


def _split(found: Any, source: Source) -> Any:
    if not isinstance(found, dict):
        if source.split is not None and source.split != str(found.split):
            raise InvalidArgument(
                f"`split` {source.split} cannot be chosen: {source.location} was saved as one split "
                f"({found.split or 'without a name'}): leave it out"
            )
        return found
    wanted = source.split or SPLIT
    if wanted not in found:
        raise InvalidArgument(
            f"{source.location} has no split {wanted!r}: say `split` with one of {', '.join(map(str, found))}"
        )
    return found[wanted]


def _found(column: Any, feature: Any, name: str, source: Source, columns: tuple[Column, ...] | None) -> FoundColumn:
    """One column by its feature: a plain value, a class with a name, an image, or arrays of one shape."""
    kind, where = type(feature).__name__, source.location
    if kind == "Value":
        return found_in(column, name, where)
    if kind == "ClassLabel":
        return _class_names(found_in(column, name, where), feature, name, where)
    if kind == IMAGE:
        pixels = _images(column.to_pylist(), name, source, columns)
        return FoundColumn(pixels, np.zeros(len(pixels), dtype=bool))
    if kind in ARRAYS:
        values = arrays_in(column, name, where)
        return FoundColumn(values, np.zeros(len(values), dtype=bool))
    raise DataError(
        f"{where}: column {name!r} holds {kind}, which cannot be read; words, numbers, classes, images and arrays of "
        "one shape can: drop the column"
    )


def _class_names(found: FoundColumn, feature: Any, name: str, where: str) -> FoundColumn:
    missing = found.missing | (found.values < 0)
    if (found.values >= len(feature.names)).any():
        raise DataError(f"{where}: column {name!r} holds a class above its {len(feature.names)} names: save it again")
    words = [str(feature.names[int(value)]) for value in np.where(missing, 0, found.values)]
    values = np.empty(len(words), dtype=object)
    values[:] = ["" if gone else word for word, gone in zip(words, missing, strict=True)]
    return FoundColumn(values, missing)


def _images(cells: list[Any], name: str, source: Source, columns: tuple[Column, ...] | None) -> np.ndarray:
    """Decoded images. A cell keeps the bytes of a file, or the path of one that lies elsewhere."""

    def opened(row: int) -> Path | bytes:
        cell = cells[row]
        if cell is None or (cell["bytes"] is None and not os.path.isfile(cell["path"] or "")):
            raise DataError(f"{source.location}, row {row}: column {name!r} holds no image: fill it or remove the row")
        return Path(cell["path"]) if cell["bytes"] is None else cell["bytes"]

    shown = [f"{name} of row {row}" for row in range(len(cells))]
    return stack(name, shown, opened, source.image_size, columns, source.location)[1]
