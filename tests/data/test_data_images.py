"""A folder of images: order, colours, sizes, people, and files that are no images."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from expunge.core.errors import DataError, InvalidArgument
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import make_encoding
from expunge.data.forms import read
from expunge.data.source import Source

GREY = Column("image", ColumnKind.IMAGE, (6, 4), "HW", 1 / 255)
COLOUR = Column("image", ColumnKind.IMAGE, (6, 4, 3), "HWC", 1 / 255)


def picture(path: Path, value: int = 0, *, mode: str = "L", size: tuple[int, int] = (4, 6), **options) -> None:
    """Width 4 and height 6 unless said; rows of pixels differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = (np.arange(size[1] * size[0]).reshape(size[1], size[0]) * 3 + value).astype(np.uint8)
    Image.fromarray(grey).convert(mode).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    for name, value in [("dog/b.png", 1), ("cat/z.PNG", 2), ("cat/a.png", 3), ("cat/deep/c.bmp", 4), ("dog/a.png", 5)]:
        picture(tmp_path / name, value)
    return tmp_path


def test_rows_are_in_the_order_of_their_paths(folder):
    rows = read(Source(location=str(folder)))
    assert rows.ids == ("cat/a.png", "cat/deep/c.bmp", "cat/z.PNG", "dog/a.png", "dog/b.png")
    assert rows.subjects == rows.ids
    assert not rows.positional
    assert rows.classes == ("cat", "dog")
    assert rows.labels.tolist() == [0, 0, 0, 1, 1]
    assert rows.columns == (GREY,)
    assert rows.content["image"][:, 0, 0].tolist() == [3, 4, 2, 5, 1]
    assert rows.content["image"][0, 1].tolist() == [15, 18, 21, 24]
    assert make_encoding(rows).shape == (1, 6, 4)


@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "bmp", "gif", "webp"])
def test_every_ending_is_read(tmp_path, ending):
    picture(tmp_path / f"a/x.{ending}", **({"lossless": True} if ending == "webp" else {}))
    picture(tmp_path / f"b/x.{ending}", **({"lossless": True} if ending == "webp" else {}))
    rows = read(Source(location=str(tmp_path)))
    shape = rows.content["image"].shape
    assert shape == ((2, 6, 4, 3) if ending in ("gif", "webp") else (2, 6, 4)), "these know no grey"
    seen = rows.content["image"][0].reshape(24, -1)[:, 0].astype(int)
    np.testing.assert_allclose(seen, np.arange(24) * 3, atol=6 if ending in ("jpg", "jpeg") else 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "CMYK"])
def test_one_coloured_image_makes_all_coloured(folder, mode):
    picture(folder / ("dog/c.jpg" if mode == "CMYK" else "dog/c.png"), 9, mode=mode)
    rows = read(Source(location=str(folder)))
    assert rows.columns == (COLOUR,)
    assert rows.content["image"].shape == (6, 6, 4, 3)
    np.testing.assert_array_equal(rows.content["image"][0, ..., 0], rows.content["image"][0, ..., 2])


def test_black_and_white_is_grey(folder):
    Image.new("1", (4, 6), 1).save(folder / "dog/c.png")
    rows = read(Source(location=str(folder)))
    assert rows.columns == (GREY,)
    assert set(rows.content["image"][-1].ravel()) == {255}


def test_a_class_of_numbers(tmp_path):
    for name in ("0", "10", "2"):
        picture(tmp_path / name / "x.png")
    rows = read(Source(location=str(tmp_path)))
    assert rows.classes == (0, 2, 10)
    assert read(Source(location=str(tmp_path)), classes=("0", "10", "2", "x")).labels.tolist() == [0, 1, 2]


def test_people_by_the_beginning_of_the_name(refused, tmp_path):
    for name in ("cat/ann_1.png", "dog/ann-2.png", "cat/bob-new_3.png", "dog/deep_down/bob_4.png"):
        picture(tmp_path / name)
    rows = read(Source(location=str(tmp_path), subject="prefix"))
    assert dict(zip(rows.ids, rows.subjects, strict=True)) == {
        "cat/ann_1.png": "ann",
        "cat/bob-new_3.png": "bob",
        "dog/ann-2.png": "ann",
        "dog/deep_down/bob_4.png": "bob",
    }
    with refused(InvalidArgument, "`subject` owner", "no columns", "prefix"):
        read(Source(location=str(tmp_path), subject="owner"))
    for name in ("plain.png", "_1.png"):
        picture(tmp_path / "cat" / name)
        with refused(DataError, f"cat/{name}", "no person", "person_1.png"):
            read(Source(location=str(tmp_path), subject="prefix"))
        (tmp_path / "cat" / name).unlink()


def test_sizes_must_agree_or_be_made_equal(refused, folder):
    picture(folder / "dog/z.png", size=(5, 6))
    with refused(DataError, "dog/z.png", "5×6", "cat/a.png", "4×6", "`image_size`"):
        read(Source(location=str(folder)))
    rows = read(Source(location=str(folder), image_size=3))
    assert rows.columns == (Column("image", ColumnKind.IMAGE, (3, 3), "HW", 1 / 255),)
    assert rows.content["image"].shape == (6, 3, 3)


def test_resizing_is_fixed_for_ever(tmp_path):
    """The committed pixels are those after resizing, so the filter may never change."""
    picture(tmp_path / "a/x.png")
    picture(tmp_path / "b/x.png", 100)
    rows = read(Source(location=str(tmp_path), image_size=3))
    assert rows.content["image"].tolist() == RESIZED
    same = read(Source(location=str(tmp_path), image_size=3), columns=rows.columns, classes=rows.classes)
    np.testing.assert_array_equal(same.content["image"], rows.content["image"])


RESIZED = [
    [[10, 14, 17], [31, 35, 38], [52, 56, 59]],
    [[110, 114, 117], [131, 135, 138], [152, 156, 159]],
]


def test_by_a_recipe_colour_and_size_are_given(refused, folder):
    grey = read(Source(location=str(folder)))
    coloured = read(Source(location=str(folder)), columns=(COLOUR,), classes=("cat", "dog"))
    np.testing.assert_array_equal(coloured.content["image"], np.repeat(grey.content["image"][..., None], 3, axis=-1))
    one = read(Source(location=str(folder)), columns=(GREY,), classes=("bird", "cat", "dog"))
    assert one.labels.tolist() == [1, 1, 1, 2, 2]
    with refused(DataError, "4×6", "`image_size`"):
        read(Source(location=str(folder)), columns=(Column("image", ColumnKind.IMAGE, (6, 5), "HW", 1 / 255),))
    with refused(DataError, "'image'", "'age'"):
        read(Source(location=str(folder)), columns=(Column("age", ColumnKind.NUMERIC),))
    with refused(DataError, "'dog'", "cat, bird"):
        read(Source(location=str(folder)), columns=(GREY,), classes=("cat", "bird"))


@pytest.mark.parametrize(
    ("name", "parts"),
    [("x.png", ["x.png", "folder of its class"]), ("cat/notes.txt", ["cat/notes.txt", ".png", "move it away"])],
)
def test_files_in_the_wrong_place_are_refused(refused, folder, name, parts):
    (folder / name).write_bytes(b"")
    with refused(DataError, *parts):
        read(Source(location=str(folder)))


def test_what_systems_leave_behind_is_passed_over(folder):
    for name in ("cat/.DS_Store", "cat/Thumbs.db", "README.txt", ".cache/x.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"?")
    assert len(read(Source(location=str(folder)))) == 5


def test_folders_that_cannot_be_entered_are_refused(refused, folder, monkeypatch):
    """Images would be missing without a word."""
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        with refused(DataError, "deep", "Permission denied", "rights"):
            read(Source(location=str(folder)))
    (folder / "fox").symlink_to(folder / "dog")
    with refused(DataError, "fox", "link to a folder"):
        read(Source(location=str(folder)))


def test_an_empty_folder_is_refused(refused, tmp_path):
    (tmp_path / "cat").mkdir()
    with refused(DataError, str(tmp_path), "no images", "one folder per class"):
        read(Source(location=str(tmp_path)))


def test_one_class_is_refused(refused, tmp_path):
    picture(tmp_path / "cat/x.png")
    with refused(DataError, "one class only", "'cat'"):
        read(Source(location=str(tmp_path)))


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "webp", "bmp"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_damaged_images_are_named(refused, folder, ending, kept):
    path = folder / f"dog/broken.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (6, 4), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with refused(DataError, f"dog/broken.{ending}", "could not be decoded", "remove it"):
        read(Source(location=str(folder)))


def test_another_file_by_the_name_of_an_image_is_refused(refused, folder):
    (folder / "dog/page.png").write_text("<html>")
    with refused(DataError, "dog/page.png", "could not be decoded"):
        read(Source(location=str(folder)))


def test_sixteen_bits_are_refused(refused, folder):
    Image.fromarray(np.full((6, 4), 40_000, dtype=np.uint16)).save(folder / "dog/deep.png")
    with refused(DataError, "dog/deep.png", "I;16", "8 bits"):
        read(Source(location=str(folder)))


@pytest.mark.parametrize("side", [10_000, 30_000])
def test_bombs_are_refused(refused, folder, side):
    """A header that promises ten thousand or more pixels each way, in a hundred bytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (folder / "dog/bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with refused(DataError, "dog/bomb.png", "too large"):
        read(Source(location=str(folder)))


def test_random_damage_never_escapes(folder):
    """Whatever a decoder makes of flipped bytes, it is an image or our error."""
    draw = np.random.default_rng(1)
    outcomes = set()
    for ending in ("png", "jpg", "gif", "webp", "bmp"):
        path = folder / f"dog/damaged.{ending}"
        picture(path)
        content = path.read_bytes()
        for _ in range(25):
            damaged = bytearray(content)
            for at in draw.integers(0, len(content), 3):
                damaged[at] = draw.integers(0, 256)
            path.write_bytes(damaged)
            try:
                with warnings.catch_warnings():
                    outcomes.add(len(read(Source(location=str(folder)))))
            except DataError as error:
                outcomes.add("damaged" in str(error))
        os.remove(path)
    assert outcomes == {6, True}
