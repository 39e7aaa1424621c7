"""Pictures from their publishers' files: every byte in its place, and hostile or short files in one sentence."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.pictures import convert, main, pictures

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import ColumnKind
from expunge.data.forms import read
from expunge.data.source import Source

CIFAR = ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]


def idx(path: Path, values: list[Any], *, magic: int | None = None, shape: tuple[int, ...] | None = None) -> None:
    """Write an idx file value by value, with struct alone."""
    array = np.array(values)
    sizes = array.shape if shape is None else shape
    head = struct.pack(">I", 0x800 + array.ndim if magic is None else magic)
    content = head + b"".join(struct.pack(">I", size) for size in sizes)
    content += b"".join(struct.pack("B", int(value)) for value in array.flat)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def pixel(part: int, row: int, down: int, right: int) -> int:
    return (part * 100 + row * 37 + down * 7 + right * 3) % 256


def labelled(part: int, row: int) -> int:
    return (row + part) % 3


def write_idx(folder: Path, ending: str = "") -> Path:
    """Five pictures of 4×3 for training, two for testing."""
    folder.mkdir(exist_ok=True)
    for part, (name, count) in enumerate((("train", 5), ("t10k", 2))):
        rows = [[[pixel(part, row, down, right) for right in range(3)] for down in range(4)] for row in range(count)]
        idx(folder / f"{name}-images-idx3-ubyte{ending}", rows)
        idx(folder / f"{name}-labels-idx1-ubyte{ending}", [labelled(part, row) for row in range(count)])
    return folder


def channel(batch: int, row: int, colour: int, down: int, right: int) -> int:
    return (batch * 51 + row * 13 + colour * 85 + down * 5 + right) % 256


def write_cifar(folder: Path) -> Path:
    """Two pictures in each batch, three for testing; byte by byte."""
    folder.mkdir(exist_ok=True)
    for batch, name in enumerate([*CIFAR, "test_batch.bin"]):
        content = bytearray()
        for row in range(3 if batch == 5 else 2):
            content.append((batch + row) % 10)
            for colour in range(3):
                content += bytes(channel(batch, row, colour, down, right) for down in range(32) for right in range(32))
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_every_pixel_of_idx_files_is_in_its_place(ending: str, tmp_path: Path) -> None:
    x, y = pictures(write_idx(tmp_path / "idx", ending))
    assert (x.shape, x.dtype, y.shape) == ((7, 4, 3), np.uint8, (7,))
    places = [(0, row) for row in range(5)] + [(1, row) for row in range(2)]
    assert y.tolist() == [labelled(part, row) for part, row in places]
    for at, (part, row) in enumerate(places):
        assert x[at].tolist() == [[pixel(part, row, down, right) for right in range(3)] for down in range(4)]


def test_a_plain_file_and_a_packed_one_may_stand_side_by_side(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx")
    x, y = pictures(folder)
    for path in sorted(folder.iterdir())[:2]:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    again, labels = pictures(folder)
    assert again.tobytes() == x.tobytes()
    assert labels.tolist() == y.tolist()


def test_every_pixel_of_the_batches_is_in_its_place(tmp_path: Path) -> None:
    x, y = pictures(write_cifar(tmp_path / "cifar"))
    assert (x.shape, x.dtype, y.shape) == ((13, 32, 32, 3), np.uint8, (13,))
    places = [(batch, row) for batch in range(5) for row in range(2)] + [(5, row) for row in range(3)]
    assert y.tolist() == [(batch + row) % 10 for batch, row in places]
    for at, (batch, row) in enumerate(places):
        for down, right, colour in ((0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (31, 30, 2), (17, 5, 1), (31, 31, 2)):
            assert x[at, down, right, colour] == channel(batch, row, colour, down, right)


@pytest.mark.parametrize(
    ("write", "shape", "layout"), [(write_idx, (4, 3), "HW"), (write_cifar, (32, 32, 3), "HWC")], ids=["idx", "cifar"]
)
def test_what_is_written_is_read_as_pictures(
    write: Callable[[Path], Path], shape: tuple[int, ...], layout: str, tmp_path: Path
) -> None:
    folder = write(tmp_path / "publisher")
    x, y = convert(folder, tmp_path / "out.npz")
    rows = read(Source(location=str(tmp_path / "out.npz")))
    (column,) = rows.columns
    assert (column.kind, column.shape, column.layout) == (ColumnKind.IMAGE, shape, layout)
    np.testing.assert_array_equal(rows.content["x"], x)
    assert [rows.classes[label] for label in rows.labels] == y.tolist()
    assert rows.ids[:2] == ("row-0", "row-1")
    convert(folder, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "out.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.npz", "out.npz", "publisher"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_idx(tmp_path / "idx")
    command = [sys.executable, "-m", "studies.pictures", str(folder), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=280)
    assert (done.returncode, done.stderr) == (0, "")
    assert "7 pictures of shape (4, 3) in 3 classes" in done.stdout
    assert main([str(folder), str(tmp_path / "out.npz")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


def test_places_that_cannot_be(refused: Any, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx")
    with refused(InvalidArgument, "out.csv must end in .npz", "rename it"):
        convert(folder, tmp_path / "out.csv")
    (tmp_path / "out.npz").touch()
    with refused(InvalidArgument, "out.npz is there already and is not replaced", "choose another name"):
        convert(folder, tmp_path / "out.npz")
    with refused(InvalidArgument, "is not a folder: name the one that holds the publisher's files"):
        pictures(tmp_path / "out.npz")
    (tmp_path / "empty").mkdir()
    with refused(DataError, "holds neither idx files (train-images-idx3-ubyte, …) nor batches of CIFAR-10"):
        pictures(tmp_path / "empty")
    (tmp_path / "empty" / "data_batch_1").touch()
    with refused(DataError, "is pickled and never read because it can run code: fetch the binary version"):
        pictures(tmp_path / "empty")
    write_cifar(folder)
    with refused(DataError, "holds idx files and CIFAR-10 batches: put each set into a folder of its own"):
        pictures(folder)
    assert not list(tmp_path.glob("*.part"))


IMAGES, LABELS = "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
PICTURE = [[[1, 2, 3]] * 4]


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        (IMAGES, None, [f"has no {IMAGES} and no {IMAGES}.gz", "put it there"]),
        (LABELS, None, [f"has no {LABELS}"]),
        (IMAGES, b"", ["begins with nothing, an idx file of pictures with 00000803", "fetch the file again"]),
        (IMAGES, b"\x00\x00\x08", ["begins with 000008"]),
        (IMAGES, b"\x1f\x8b\x08\x00more", ["begins with 1f8b0800"]),
        (LABELS, b"<!DOCTYPE html>", ["begins with 3c21444f, an idx file of labels with 00000801"]),
        (IMAGES, b"\x00\x00\x08\x03\x00\x00\x00\x01", ["ends within its header of 16 bytes"]),
        (LABELS, b"\x00\x00\x08\x01", ["ends within its header of 8 bytes"]),
        (LABELS, struct.pack(">II", 0x801, 2), ["says that 2 bytes follow its header and has 0"]),
        (LABELS, struct.pack(">II3s", 0x801, 2, b"\0\1\2"), ["says that 2 bytes follow", "has more than 2"]),
        (LABELS, struct.pack(">II", 0x801, 0), ["says that it holds (0,) bytes, at least 1"]),
        (LABELS, struct.pack(">II3s", 0x801, 3, b"\0\1\2"), ["2 pictures in t10k-images", "3 labels in t10k-labels"]),
        (IMAGES, struct.pack(">IIII", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1), ["4294967295", "at most 2,147,483,648"]),
        (
            IMAGES,
            struct.pack(">IIII", 0x803, 60000, 28, 28),
            ["says that 47,040,000 bytes follow its header and has 0"],
        ),
        (IMAGES, struct.pack(">IIII", 0x803, 5, 1, 1) + bytes(5), ["pictures of (1, 1) for training and of (4, 3)"]),
    ],
)
def test_idx_files_that_are_not_what_they_say(
    name: str, content: bytes | None, parts: list[str], refused: Any, tmp_path: Path
) -> None:
    folder = write_idx(tmp_path / "idx")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with refused(DataError, *parts):
        pictures(folder)


def test_labels_where_pictures_should_be(refused: Any, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx")
    idx(folder / IMAGES, [1, 2, 3])
    with refused(DataError, "begins with 00000801, an idx file of pictures with 00000803"):
        pictures(folder)


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"no gzip at all", lambda data: data[:3]])
def test_packed_files_that_are_broken(damage: Callable[[bytes], bytes], refused: Any, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", ".gz")
    path = folder / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with refused(DataError, str(path), "could not be read", "fetch the file again"):
        pictures(folder)


def test_a_flipped_byte_in_a_packed_file(refused: Any, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "idx", ".gz")
    path = folder / f"{IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum at its end
    path.write_bytes(bytes(content))
    with refused(DataError, "could not be read", "fetch the file again"):
        pictures(folder)


def test_a_bomb_is_not_unpacked(refused: Any, tmp_path: Path) -> None:
    """Sixty megabytes behind a header that announces one byte: no more than that and one further is looked at."""
    import tracemalloc

    folder = write_idx(tmp_path / "idx", ".gz")
    content = struct.pack(">II", 0x801, 1) + bytes(60_000_000)
    (folder / f"{LABELS}.gz").write_bytes(gzip.compress(content))
    del content
    tracemalloc.start()
    try:
        with refused(DataError, "says that 1 bytes follow its header and has more than 1"):
            pictures(folder)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_header_alone_allocates_nothing(ending: str, refused: Any, tmp_path: Path) -> None:
    import tracemalloc

    folder = write_idx(tmp_path / "idx", ending)
    idx(folder / f"{LABELS}{ending}", [1, 2], shape=(2**31,))
    tracemalloc.start()
    try:
        with refused(DataError, "says that 2,147,483,648 bytes follow its header and has 2"):
            pictures(folder)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("data_batch_3.bin", None, ["data_batch_3.bin is missing", "all of data_batch_1.bin to test_batch.bin"]),
        ("test_batch.bin", b"", ["has 0 bytes, a batch has 3,073 for each picture"]),
        ("data_batch_2.bin", bytes(3073 + 3072), ["has 6,145 bytes"]),
        ("data_batch_5.bin", bytes(3073) + b"\x0a" + bytes(3072), ["has the label 10 at picture 1", "from 0 to 9"]),
    ],
)
def test_batches_that_are_not_what_they_should_be(
    name: str, content: bytes | None, parts: list[str], refused: Any, tmp_path: Path
) -> None:
    folder = write_cifar(tmp_path / "cifar")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with refused(DataError, *parts):
        pictures(folder)
