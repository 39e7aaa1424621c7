"""Zips from outside, read by hand: what other programs write, what forgers write, and fuzz."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.records.bundles import FILES, read_all, refused, zip_of

from expunge.core.errors import RecordError
from expunge.records import archive
from expunge.records.bundle import ENVELOPE, open_bundle, write_zip
from expunge.records.limits import Limits


def test_one_content_has_one_zip(tmp_path: Path) -> None:
    write_zip(tmp_path / "one.zip", FILES)
    write_zip(tmp_path / "two.zip", dict(reversed(FILES.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as foreign:  # a foreign implementation reads it
        assert foreign.testzip() is None
        assert {name: foreign.read(name) for name in foreign.namelist()} == FILES
        assert foreign.namelist() == sorted(FILES)


def test_a_zip_of_another_program_is_read_and_said_to_be_another(tmp_path: Path) -> None:
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = zip_of(tmp_path / f"{how}.zip", *FILES.items(), how=how)
        assert read_all(path) == FILES
        with open_bundle(path) as bundle:
            assert not bundle.exact
    folders = zip_of(tmp_path / "folders.zip", ("log/", b""), ("log/checkpoint", b"x"))
    assert set(read_all(folders)) == {ENVELOPE, "log/checkpoint"}


def test_large_numbers_are_written_as_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "THRESHOLD", 200)
    write_zip(tmp_path / "large.zip", FILES)
    assert b"PK\x06\x06" in (tmp_path / "large.zip").read_bytes()
    assert read_all(tmp_path / "large.zip") == FILES
    with open_bundle(tmp_path / "large.zip") as bundle:
        assert bundle.exact
    with zipfile.ZipFile(tmp_path / "large.zip") as foreign:
        assert {name: foreign.read(name) for name in foreign.namelist()} == FILES
    monkeypatch.undo()
    assert read_all(tmp_path / "large.zip") == FILES
    with zipfile.ZipFile(tmp_path / "python.zip", "w") as target, target.open(ENVELOPE, "w", force_zip64=True) as file:
        file.write(b"{}")
    told = refused(tmp_path / "python.zip", "UNSAFE_FILE")  # zip64 where no number needs it
    assert "own header differs" in told or "zip64 field does not hold" in told  # Python writes it in one of two ways


def forged_zip(path: Path, name: str, packed: bytes, size: int, method: int = 8, check: int = 0) -> Path:
    """A zip by hand, which can lie about sizes: the envelope, and one file."""
    entries = [(ENVELOPE, b"{}", 2, 0, zlib.crc32(b"{}")), (name, packed, size, method, check)]
    body, rows = b"", b""
    for title, content, length, how, crc in entries:
        middle = struct.pack("<5H3L2H", 20, 0, how, 0, 33, crc, len(content), length, len(title), 0)
        rows += b"PK\x01\x02\x14\x03" + middle + struct.pack("<3H2L", 0, 0, 0, 0, len(body)) + title.encode()
        body += b"PK\x03\x04" + middle + title.encode() + content
    path.write_bytes(body + rows + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(rows), len(body), 0))
    return path


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(content) + stream.flush()


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(10_000_000)
    assert "10000000 bytes, the limit is 100 times" in refused(
        forged_zip(tmp_path / "ratio.zip", "trace.bin", deflated(zeros), len(zeros)), "SIZE_LIMIT"
    )
    refused(forged_zip(tmp_path / "total.zip", "trace.bin", deflated(zeros), len(zeros)), "SIZE_LIMIT", total_bytes=999)
    liar = forged_zip(tmp_path / "liar.zip", "trace.bin", deflated(zeros), 1000, check=zlib.crc32(bytes(1000)))
    with open_bundle(liar) as bundle, pytest.raises(RecordError, match=r"SIZE_LIMIT.*more than the 1000 bytes"):
        bundle.read("trace.bin")
    honest = forged_zip(tmp_path / "h.zip", "trace.bin", deflated(zeros[:9000]), 9000, check=zlib.crc32(zeros[:9000]))
    assert len(read_all(honest, Limits(zip_ratio=1000))["trace.bin"]) == 9000
    refused(honest, "SIZE_LIMIT", zip_ratio=2)


@pytest.mark.parametrize(
    ("packed", "size", "method", "content"),
    [
        (deflated(b"hello")[:-1], 5, 8, b"hello"),
        (deflated(b"hello") + b"x", 5, 8, b"hello"),
        (deflated(b"hello"), 6, 8, b"hello"),
        (deflated(b"hello"), 5, 8, b"other"),
        (b"\xff\xff\xff", 5, 8, b"hello"),
        (b"hello", 5, 0, b"other"),
        (b"", 0, 8, b""),
    ],
)
def test_packed_bytes_that_are_not_what_they_announce(
    tmp_path: Path, packed: bytes, size: int, method: int, content: bytes
) -> None:
    path = forged_zip(tmp_path / "forged.zip", "trace.bin", packed, size, method, zlib.crc32(content))
    with open_bundle(path) as bundle, pytest.raises(RecordError, match="UNSAFE_FILE"):
        bundle.read("trace.bin")


def test_zips_of_another_form(tmp_path: Path) -> None:
    path = tmp_path / "forged.zip"
    write_zip(path, {ENVELOPE: b"{}", "trace.bin": b"abc"})
    good = path.read_bytes()
    row = good.index(b"PK\x01\x02")
    second = good.index(b"PK\x03\x04", 4)
    forms = {
        "something before": b"#!/bin/sh\n" + good,
        "something behind": good + b"x",
        "a comment": good[:-2] + b"\x03\0abc",
        "a gap": good[:row] + b"gap" + good[row:-6] + struct.pack("<L", row + 3) + good[-2:],
        "another disk": good[:-18] + b"\x01" + good[-17:],
        "encrypted": good.replace(b"\x14\0\0\0\0\0", b"\x14\0\x01\0\0\0"),
        "streamed sizes": good.replace(b"\x14\0\0\0\0\0", b"\x14\0\x08\0\0\0"),
        "bzip2": good.replace(b"\x14\0\0\0\0\0", b"\x14\0\0\0\x0c\0"),
        "a local name of its own": good[: second + 30] + b"T" + good[second + 31 :],
        "a local size of its own": good[: second + 22] + b"\x09" + good[second + 23 :],
        "too few rows": good[:-12] + b"\x01" + good[-11:],
        "too many rows": good[:-14] + b"\x03\0\x03\0" + good[-10:],
        "cut short": good[:-1],
        "half": good[: len(good) // 2],
        "nothing": b"",
        "no zip": b"x" * 500,
        "two archives": good + good,
    }
    for what, content in forms.items():
        path.write_bytes(content)
        assert refused(path, "UNSAFE_FILE"), what
    path.write_bytes(good)
    assert read_all(path) == {ENVELOPE: b"{}", "trace.bin": b"abc"}


def test_a_second_name_in_an_extra_field(tmp_path: Path) -> None:
    for extra in (struct.pack("<2H", 0x7075, 2) + b"xx", b"abc", struct.pack("<2H", 9, 5) + b"x"):
        entry = zipfile.ZipInfo("recipe.json")
        entry.extra = extra
        refused(zip_of(tmp_path / "extra.zip", (entry, b"{}")), "UNSAFE_FILE")
    entry = zipfile.ZipInfo("recipe.json")
    entry.extra = struct.pack("<2H", 0x5455, 5) + b"\x01\0\0\0\0"  # a time, as Info-ZIP writes it
    assert set(read_all(zip_of(tmp_path / "time.zip", (entry, b"{}")))) == {ENVELOPE, "recipe.json"}


def test_nothing_is_unpacked_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zip_of(tmp_path / "b.zip", *FILES.items(), how=zipfile.ZIP_DEFLATED)
    monkeypatch.chdir(tmp_path)
    read_all(path)
    assert [item.name for item in tmp_path.iterdir()] == ["b.zip"]
    monkeypatch.setattr(archive, "SPOOL_BYTES", 10)  # now through a file without a name
    assert read_all(path) == FILES
    assert [item.name for item in tmp_path.iterdir()] == ["b.zip"]


@pytest.mark.parametrize("how", ["ours", "stored", "deflated"])
def test_fuzz_of_zips_ends_in_the_same_files_or_a_refusal(tmp_path: Path, how: str) -> None:
    """Whatever is altered: the same bytes under the same names, other bytes under a right check sum, or a refusal."""
    files = {
        name: FILES[name] for name in (ENVELOPE, "recipe.json", "trace.bin", "model.safetensors", "log/checkpoint")
    }
    path = tmp_path / "fuzz.zip"
    if how == "ours":
        write_zip(path, files)
    else:
        zip_of(path, *files.items(), how=zipfile.ZIP_STORED if how == "stored" else zipfile.ZIP_DEFLATED)
    content = path.read_bytes()
    noise = np.random.default_rng(1)
    changed = 0
    for _ in range(500):
        altered = bytearray(content)
        at = int(noise.integers(len(altered)))
        kind = int(noise.integers(5))
        if kind <= 1:
            altered[at] ^= 1 << int(noise.integers(8))
        elif kind == 2:
            altered[at] = int(noise.integers(256))
        elif kind == 3:
            del altered[at : at + int(noise.integers(1, 40))]
        else:
            altered[at:at] = noise.bytes(int(noise.integers(1, 5)))
        path.write_bytes(bytes(altered))
        try:
            found = read_all(path)
        except RecordError as error:
            assert error.code in ("UNSAFE_FILE", "UNSAFE_PATH", "SIZE_LIMIT", "MALFORMED_JSON")  # noqa: PT017
            continue
        assert found == files or bytes(altered) == content
        with open_bundle(path) as bundle:
            assert bundle.exact == (how == "ours" and bytes(altered) == content)
        changed += bytes(altered) != content
    assert changed > 0  # dates and the like: nothing that is read depends on them, and ``exact`` tells


def test_the_stream_of_a_window_behaves_like_a_file() -> None:
    window = archive._Window(io.BytesIO(b"0123456789"), 2, 5)  # pyright: ignore[reportPrivateUsage]
    stream = io.BufferedReader(window)
    assert stream.read() == b"23456"
    assert stream.seek(1) == 1
    assert (stream.read(2), stream.tell()) == (b"34", 3)
    assert stream.seek(-2, os.SEEK_CUR) == 1
    assert stream.read(99) == b"3456"
