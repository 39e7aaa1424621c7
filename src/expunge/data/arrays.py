"""NumPy files: ``x`` holds the rows, ``y`` their labels, and, if present, ``ids`` and ``subjects`` name them."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from expunge.core.errors import DataError, ExpungeError
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import image_layout
from expunge.data.labels import labels_of, nobodys, refuse_quantity, words_in
from expunge.data.wording import one_line

if TYPE_CHECKING:
    from expunge.data.source import Source

NAMES = ("x", "y", "ids", "subjects")
NEAR = {"id": "ids", "subject": "subjects"}  # left unread, they would cost every person a name


def read(source: Source, columns: tuple[Column, ...] | None, classes: tuple[int | str, ...] | None) -> Dataset:
    """One content column named ``x``; pickled objects are never read."""
    where = source.location
    found = _load(where)
    _check_lengths(found, where)
    count = source.taken(len(found["x"]), again=columns is not None)
    if count < len(found["x"]):
        where = source.shown
        found = {name: values[:count].copy() for name, values in found.items()}
    return made_of(found, where, columns, classes)


def made_of(
    found: Mapping[str, np.ndarray],
    where: str,
    columns: tuple[Column, ...] | None,
    classes: tuple[int | str, ...] | None,
) -> Dataset:
    """The rows of arrays by their names."""
    _check_lengths(found, where)
    rows = _rows(found["x"])
    return make_dataset(
        labels=found["y"].tolist() if classes == () else labels_of(found["y"], where),
        columns=(array_column("x", rows, where, columns),),
        content={"x": rows},
        ids=_names("ids", found, where),
        subjects=_names("subjects", found, where),
        classes=classes,
        where=where,
    )


def read_raw(source: Source, columns: tuple[Column, ...], classes: tuple[int | str, ...]) -> Dataset:
    """Rows for a model to answer: labels and subjects may be missing, and are not looked at."""
    found = _load(source.location, needed=("x",))
    count = source.taken(len(found["x"]), again=True)
    kept = {name: values[:count] for name, values in found.items() if name in ("x", "ids")}
    return unlabelled(kept, source.shown, columns, classes)


def unlabelled(
    found: Mapping[str, np.ndarray], where: str, columns: tuple[Column, ...], classes: tuple[int | str, ...]
) -> Dataset:
    """Rows whose labels nobody looks at, all alike."""
    _check_lengths(found, where)
    rows = _rows(found["x"])
    return make_dataset(
        labels=[nobodys(classes)] * len(rows),
        columns=(array_column("x", rows, where, columns),),
        content={"x": rows},
        ids=_names("ids", found, where),
        classes=classes,
        where=where,
    )


def _rows(found: np.ndarray) -> np.ndarray:
    """One number per row is a row of one number."""
    return found.reshape(-1, 1) if found.ndim == 1 else found


def _check_lengths(found: Mapping[str, np.ndarray], where: str) -> None:
    rows = found["x"]
    if rows.ndim == 0 or len(rows) == 0:
        raise DataError(f"{where}: array 'x' of shape {rows.shape} holds no rows: its first axis counts them")
    for name, values in found.items():
        if name != "x" and values.shape != (len(rows),):
            raise DataError(
                f"{where}: array {name!r} has shape {values.shape}, {(len(rows),)} is needed, one entry for each row "
                f"of 'x' {rows.shape}" + (": for one-hot rows save y.argmax(axis=1)" if values.ndim == 2 else "")
            )


def array_column(name: str, values: np.ndarray, where: str, given: tuple[Column, ...] | None = None) -> Column:
    """The column that an array per row makes: 8-bit images by 1/255, every other number as it is."""
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        raise DataError(
            f"{where}: array {name!r} is of type {values.dtype}, numbers of at most 64 bits are needed: save it with "
            "astype(np.float32), or words as a CSV or Parquet table"
        )
    shape = tuple(int(size) for size in values.shape[1:])
    if 0 in shape:
        raise DataError(f"{where}: array {name!r} of shape {values.shape} has rows without a single number")
    layout = image_layout(shape)
    if values.dtype == np.uint8 and layout:
        column = Column(name, ColumnKind.IMAGE, shape, layout, 1 / 255)
    else:
        column = Column(name, ColumnKind.ARRAY, shape, layout)
    if given is None:
        return column
    if column not in given:
        raise DataError(
            f"{where}: array {name!r} has rows of shape {shape} and type {values.dtype}, the recipe was made for "
            f"{[(known.name, known.kind.value, known.shape) for known in given]}: give the data that the run was "
            "trained on"
        )
    return column


def _names(name: str, found: Mapping[str, np.ndarray], where: str) -> list[str] | None:
    values = found.get(name)
    if values is None:
        return None
    if values.dtype.kind not in "iuUS":
        raise DataError(f"{where}: array {name!r} is of type {values.dtype}: names are text or whole numbers")
    return [str(int(value)) for value in values] if values.dtype.kind in "iu" else words_in(name, values, where)


def refuse_measured(labels: np.ndarray, where: str) -> None:
    """Labels of reals that look measured are no classes without a word; whole numbers of an integer type are."""
    if labels.dtype.kind == "f":
        refuse_quantity(labels, f"{where}: array 'y'")


def refuse_measured_in(source: Source) -> None:
    """The same of the labels in a file."""
    refuse_measured(_load(source.location)["y"][: source.rows], source.shown)


def _load(where: str, needed: tuple[str, ...] = ("x", "y")) -> dict[str, np.ndarray]:
    try:
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(where) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
            for name in needed:
                if name not in there:
                    raise DataError(
                        f"{where} has no array {name!r}, it holds {', '.join(there) or 'no arrays'}: save it with "
                        "np.savez(FILE, x=rows, y=labels) and, if known, ids= and subjects="
                    )
            for name, meant in NEAR.items():
                if name in there and meant not in there:
                    raise DataError(f"{where} holds an array {name!r} that would go unread: save it as {meant!r}")
            return {name: _array(archive, name, where) for name in NAMES if name in there}
    except ExpungeError:
        raise
    except MemoryError:
        raise DataError(f"{where} needs more memory than there is: save fewer rows or smaller numbers") from None
    except Exception as error:  # whatever the readers of archives, headers and compressed bytes make of a broken file
        raise DataError(f"{where} could not be read as a NumPy archive ({one_line(error)}): save it again") from error


def _array(archive: zipfile.ZipFile, name: str, where: str) -> np.ndarray:
    """One array, after its header was held against the bytes that are there: a false header allocates nothing."""
    entry = f"{name}.npy"
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if dtype.hasobject:
            raise DataError(
                f"{where}: array {name!r} holds Python objects, which are never read because they can run code: save "
                "it with astype(str) or astype(np.float32)"
            )
        size = dtype.itemsize
        for length in shape:
            size *= int(length)
        left = archive.getinfo(entry).file_size - stream.tell()
        if size != left:
            raise DataError(f"{where}: array {name!r} says {size} bytes and has {left}: the file is damaged")
    with archive.open(entry) as stream:
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
