"""``.npz`` files: what becomes of shapes and types, and files that are broken or mean harm."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind
from expunge.data.forms import read
from expunge.data.source import Source

LABELS = np.array([0, 1, 2, 1])


def saved(folder, **arrays):
    np.savez(folder / "rows.npz", **arrays)
    return str(folder / "rows.npz")


def rows_of(folder, x, y=LABELS, **more):
    return read(Source(location=saved(folder, x=x, y=y, **more)))


@pytest.mark.parametrize(
    ("shape", "dtype", "kind", "layout", "scale"),
    [
        ((28, 28), "u1", ColumnKind.IMAGE, "HW", 1 / 255),
        ((8, 9, 3), "u1", ColumnKind.IMAGE, "HWC", 1 / 255),
        ((3, 8, 9), "u1", ColumnKind.IMAGE, "CHW", 1 / 255),
        ((8, 9, 3), "f4", ColumnKind.ARRAY, "HWC", 1.0),
        ((8, 9), "i8", ColumnKind.ARRAY, "HW", 1.0),
        ((5,), "u1", ColumnKind.ARRAY, "", 1.0),
        ((5,), "f8", ColumnKind.ARRAY, "", 1.0),
        ((2, 3, 4, 5), "f2", ColumnKind.ARRAY, "", 1.0),
        ((5,), "?", ColumnKind.ARRAY, "", 1.0),
        ((5,), ">f4", ColumnKind.ARRAY, "", 1.0),
    ],
)
def test_shapes_and_types_decide(tmp_path, shape, dtype, kind, layout, scale):
    values = np.arange(4 * np.prod(shape)).reshape(4, *shape).astype(dtype)
    rows = rows_of(tmp_path, values)
    assert rows.columns == (Column("x", kind, shape, layout, scale),)
    np.testing.assert_array_equal(rows.content["x"], values)
    assert rows.content["x"].dtype == values.dtype
    assert rows.ids == rows.subjects == ("row-0", "row-1", "row-2", "row-3")
    again = read(Source(location=str(tmp_path / "rows.npz")), columns=rows.columns, classes=rows.classes)
    assert again.columns == rows.columns


def test_one_number_per_row(tmp_path):
    rows = rows_of(tmp_path, np.array([1.0, 2.0, 3.0, 4.0]))
    assert rows.columns == (Column("x", ColumnKind.ARRAY, (1,)),)
    assert rows.content["x"].tolist() == [[1.0], [2.0], [3.0], [4.0]]


def test_ids_and_subjects_come_in(tmp_path):
    rows = rows_of(tmp_path, np.eye(4), ids=np.array([7, 8, 9, 10]), subjects=np.array([" ann", "bob", "ann", "bob"]))
    assert rows.ids == ("7", "8", "9", "10")
    assert rows.subjects == ("ann", "bob", "ann", "bob")
    assert not rows.positional


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (np.array([3, 1, 3, 1], dtype=np.uint8), (1, 3)),
        (np.array([3.0, 1.0, 3.0, -1.0]), (-1, 1, 3)),
        (np.array([True, False, True, True]), (0, 1)),
        (np.array(["b", "a", "b", "10"]), ("10", "a", "b")),
        (np.array([b"b", b"a", b"b", "ü".encode()]), ("a", "b", "ü")),
    ],
)
def test_labels(tmp_path, labels, classes):
    rows = rows_of(tmp_path, np.eye(4), labels)
    assert rows.classes == classes
    assert [type(value) for value in rows.classes] == [type(value) for value in classes]


def finite_arrays(dtype: str) -> st.SearchStrategy[np.ndarray]:
    bounds = {"min_value": -(2.0**100), "max_value": 2.0**100} if np.dtype(dtype).kind == "f" else {}
    shape = st.tuples(st.just(4), st.integers(1, 4), st.integers(1, 4))
    return npst.arrays(dtype, shape, elements=npst.from_dtype(np.dtype(dtype), allow_nan=False, **bounds))


@given(st.sampled_from(["u1", "i4", "f4", "f8", "?"]).flatmap(finite_arrays))
def test_arrays_come_back_bit_by_bit(tmp_path_factory, values):
    rows = rows_of(tmp_path_factory.mktemp("arrays"), values)
    assert rows.content["x"].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"x": np.eye(4)}, ["no array 'y'", "it holds x", "np.savez"]),
        ({"y": LABELS}, ["no array 'x'", "it holds y"]),
        ({}, ["no array 'x'", "no arrays"]),
        ({"x": np.eye(3), "y": LABELS}, ["'y'", "(4,)", "(3,)"]),
        ({"x": np.eye(4), "y": np.eye(4)}, ["'y'", "(4, 4)", "argmax"]),
        ({"x": np.eye(4), "y": LABELS, "ids": np.arange(3)}, ["'ids'", "(3,)", "(4,)"]),
        ({"x": np.eye(4), "y": LABELS, "id": np.arange(4)}, ["'id'", "unread", "'ids'"]),
        ({"x": np.eye(4), "y": LABELS, "subject": LABELS}, ["'subject'", "'subjects'"]),
        ({"x": np.eye(4), "y": LABELS, "ids": np.eye(4)[0]}, ["'ids'", "float64", "text or whole numbers"]),
        ({"x": np.eye(4), "y": LABELS, "ids": LABELS}, ["'1'", "more than once"]),
        ({"x": np.eye(4), "y": LABELS, "subjects": np.array(["a", "", "b", "c"])}, ["entry 1", "'subjects'", "empty"]),
        ({"x": np.float64(3), "y": LABELS}, ["'x'", "()", "no rows"]),
        ({"x": np.zeros((0, 3)), "y": np.zeros(0)}, ["'x'", "no rows"]),
        ({"x": np.zeros((4, 0)), "y": LABELS}, ["'x'", "without a single number"]),
        ({"x": np.eye(4, dtype=complex), "y": LABELS}, ["'x'", "complex128"]),
        ({"x": np.array(["a", "b", "c", "d"]), "y": LABELS}, ["'x'", "CSV or Parquet"]),
        ({"x": np.eye(4, dtype=np.longdouble), "y": LABELS}, ["'x'", "64 bits"]),
        ({"x": np.array([[1.0], [np.nan], [2], [3]]), "y": LABELS}, ["'x'", "row 1", "finite"]),
        ({"x": np.eye(4), "y": np.array([0, 1, np.nan, 0])}, ["label of row 2", "nan"]),
        ({"x": np.eye(4), "y": np.array(["a", "", "b", "c"])}, ["entry 1", "'y'", "empty"]),
        ({"x": np.eye(4), "y": np.array([b"a", b"\xff", b"b", b"c"])}, ["'y'", "UTF-8"]),
        ({"x": np.eye(4), "y": np.array([0, 1, 2, 2**60])}, [str(2**60), "2^53"]),
        ({"x": np.eye(4), "y": np.zeros(4, dtype="M8[s]")}, ["labels", "datetime64"]),
        ({"x": np.eye(4), "y": np.zeros(4, dtype=int)}, ["one class only"]),
    ],
)
def test_refusals(refused, tmp_path, arrays, parts):
    if arrays.get("x") is not None and arrays["x"].dtype == np.longdouble and np.longdouble(0).itemsize == 8:
        pytest.skip("this platform has no reals longer than 64 bits")
    with refused(DataError, "rows.npz", *parts):
        read(Source(location=saved(tmp_path, **arrays)))


def test_quantities_are_no_classes(refused, tmp_path):
    with refused(InvalidArgument, "label 0.5", "`task` regression"):
        rows_of(tmp_path, np.eye(4), np.array([0, 1, 0.5, 2]))


class Harm:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_objects_are_never_opened(refused, tmp_path):
    x = np.array([Harm(), Harm(), Harm(), Harm()], dtype=object)
    with refused(DataError, "'x'", "run code", "astype"):
        rows_of(tmp_path, x)
    (tmp_path / "rows.npz").write_bytes(pickle.dumps(Harm()))
    with refused(DataError, "NumPy archive"):
        read(Source(location=str(tmp_path / "rows.npz")))


def entry(shape: tuple[int, ...], content: bytes, descr: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\x01\x00\x20\x00" + b"{'descr': '<f8', 'shape': (4, 1" + b" ",
        entry((10**12, 10**6), b"\0" * 64),
        entry((4, 3), b"\0" * 8),
        entry((4, 1), b"\0" * 320),
        entry((-4, -1), b"\0" * 32),
        b"\x93NUMPY\x01\x00",
        b"no array at all",
        b"",
        b"\x93NUMPY\x01\x00\x10\x00__import__('os')",
    ],
    ids=["open bracket", "huge", "short", "long", "negative", "no header", "text", "nothing", "code"],
)
def test_false_headers_are_refused_before_memory_is_taken(refused, tmp_path, content):
    path = tmp_path / "rows.npz"
    saved(tmp_path, y=LABELS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", content)
    with refused(DataError, "rows.npz"):
        read(Source(location=str(path)))


def test_headers_of_old_files_are_read(tmp_path):
    """Python 2 wrote shapes as (4L, 1L)."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (4L, 1L), }".ljust(117) + b"\n"
    saved(tmp_path, y=LABELS)
    with zipfile.ZipFile(tmp_path / "rows.npz", "a") as archive:
        content = np.arange(4.0).tobytes()
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content)
    assert read(Source(location=str(tmp_path / "rows.npz"))).content["x"].tolist() == [[0.0], [1.0], [2.0], [3.0]]


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(refused, tmp_path, share):
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((4, 50)), y=LABELS)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with refused(DataError, "NumPy archive"):
        read(Source(location=str(path)))


@given(st.data())
def test_damaged_bytes_are_refused_or_change_nothing(tmp_path_factory, data):
    """The archive's checksums: a flipped byte is refused with our error, or it lies where nothing is read."""
    path = tmp_path_factory.mktemp("damaged") / "rows.npz"
    x = np.arange(8.0).reshape(4, 2)
    np.savez_compressed(path, x=x, y=LABELS)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        rows = read(Source(location=str(path)))
    except DataError:
        return
    np.testing.assert_array_equal(rows.content["x"], x)


def test_a_recipe_refuses_other_shapes_and_classes(refused, tmp_path):
    columns = (Column("x", ColumnKind.IMAGE, (2, 2), "HW", 1 / 255),)
    with refused(DataError, "(3, 2)", "(2, 2)"):
        read(Source(location=saved(tmp_path, x=np.zeros((4, 3, 2), np.uint8), y=LABELS)), columns=columns)
    with refused(DataError, "float64", "image"):
        read(Source(location=saved(tmp_path, x=np.zeros((4, 2, 2)), y=LABELS)), columns=columns)
    with refused(DataError, "'2'", "0, 1"):
        read(
            Source(location=saved(tmp_path, x=np.zeros((4, 2, 2), np.uint8), y=LABELS)), columns=columns, classes=(0, 1)
        )
    kept = read(
        Source(location=saved(tmp_path, x=np.zeros((1, 2, 2), np.uint8), y=[2])), columns=columns, classes=(0, 1, 2)
    )
    assert kept.labels.tolist() == [2]
