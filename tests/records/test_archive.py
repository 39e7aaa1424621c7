"""Zips from outside: only our own form is read; what other programs and forgers write is judged and refused; fuzz."""

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
from expunge.records.bundle import ENVELOPE, Bundle, Repacked, open_bundle, write_zip
from expunge.records.limits import Limits


def test_one_content_has_one_zip(tmp_path: Path) -> None:
    write_zip(tmp_path / "one.zip", FILES)
    write_zip(tmp_path / "two.zip", dict(reversed(FILES.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as foreign:  # a foreign implementation reads it
        assert foreign.testzip() is None
        assert {name: foreign.read(name) for name in foreign.namelist()} == FILES
        assert foreign.namelist() == sorted(FILES)


def repacked(path: Path, **limits: int) -> None:
    """Refused for its form alone: everything that its directory says would pass."""
    with pytest.raises(Repacked, match="is not packed as attest packs") as caught:
        open_bundle(path, Limits(**limits))
    assert caught.value.code == "UNSAFE_FILE"


def test_a_zip_of_another_program_is_refused_whatever_it_holds(tmp_path: Path) -> None:
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        repacked(zip_of(tmp_path / f"{how}.zip", *sorted(FILES.items()), how=how))
    refused(zip_of(tmp_path / "folders.zip", ("log/", b""), ("log/checkpoint", b"x")), "UNSAFE_FILE")
    write_zip(tmp_path / "ours.zip", FILES)
    assert read_all(tmp_path / "ours.zip") == FILES
    with (tmp_path / "order.zip").open("wb") as target:
        names = sorted(FILES, reverse=True)
        archive.write_archive(target, [(name, lambda name=name: io.BytesIO(FILES[name])) for name in names])
    repacked(tmp_path / "order.zip")


def test_large_numbers_are_written_as_zip64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "THRESHOLD", 200)
    write_zip(tmp_path / "large.zip", FILES)
    assert b"PK\x06\x06" in (tmp_path / "large.zip").read_bytes()
    assert read_all(tmp_path / "large.zip") == FILES
    with zipfile.ZipFile(tmp_path / "large.zip") as foreign:
        assert {name: foreign.read(name) for name in foreign.namelist()} == FILES
    monkeypatch.undo()
    repacked(tmp_path / "large.zip")  # zip64 where no number needs it
    with zipfile.ZipFile(tmp_path / "python.zip", "w") as target, target.open(ENVELOPE, "w", force_zip64=True) as file:
        file.write(b"{}")
    repacked(tmp_path / "python.zip")


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
    repacked(liar)
    honest = forged_zip(tmp_path / "h.zip", "trace.bin", deflated(zeros[:9000]), 9000, check=zlib.crc32(zeros[:9000]))
    repacked(honest, zip_ratio=1000)
    refused(honest, "SIZE_LIMIT", zip_ratio=2)


@pytest.mark.parametrize(
    ("packed", "size", "method"),
    [
        (deflated(b"hello")[:-1], 5, 8),
        (deflated(b"hello") + b"x", 5, 8),
        (deflated(b"hello"), 6, 8),
        (deflated(b"hello"), 5, 8),
        (b"\xff\xff\xff", 5, 8),
        (b"", 0, 8),
        (b"hello", 4, 0),
        (b"hello", 6, 0),
    ],
)
def test_packed_bytes_are_never_looked_at(tmp_path: Path, packed: bytes, size: int, method: int) -> None:
    repacked(forged_zip(tmp_path / "forged.zip", "trace.bin", packed, size, method, zlib.crc32(b"hello")))


def test_bytes_that_are_not_what_they_announce(tmp_path: Path) -> None:
    write_zip(tmp_path / "ours.zip", {ENVELOPE: b"{}", "trace.bin": b"hello"})
    content = (tmp_path / "ours.zip").read_bytes()
    (tmp_path / "ours.zip").write_bytes(content.replace(b"hello", b"other"))
    with open_bundle(tmp_path / "ours.zip") as bundle, pytest.raises(RecordError, match=r"UNSAFE_FILE.*check sum"):
        bundle.read("trace.bin")


@pytest.mark.parametrize(
    ("name", "attributes", "size", "code"),
    [
        ("../trace.bin", 0o100644 << 16, 1, "UNSAFE_PATH"),
        ("trace.bin", 0o120777 << 16, 1, "UNSAFE_PATH"),
        ("trace.bin", 0x400, 1, "UNSAFE_PATH"),
        ("trace.bin", 0o100644 << 16, 1_000_000, "SIZE_LIMIT"),
        ("trace.bin", 0o100644 << 16, 2**32 - 2, "SIZE_LIMIT"),
        ("model.pkl", 0o100644 << 16, 1, "UNSAFE_FILE"),
        ("trace.bin", 0o100644 << 16, 1, "UNSAFE_FILE"),
    ],
)
def test_everything_is_judged_from_the_directory_before_anything_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, attributes: int, size: int, code: str
) -> None:
    """Guard 36 and 37: a directory alone, with nothing at all where the files should lie."""
    row = struct.pack("<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, 1, size, len(name), 0, 0, 0, 0, attributes, 0)
    envelope = struct.pack("<4s6H3L5H2L", b"PK\1\2", 788, 20, 0, 0, 0, 33, 0, 2, 2, 13, 0, 0, 0, 0, 0o100644 << 16, 0)
    rows = envelope + ENVELOPE.encode() + row + name.encode()
    path = tmp_path / "rows.zip"
    path.write_bytes(rows + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(rows), 0, 0))
    monkeypatch.setattr(Bundle, "stream", None)
    refused(path, code)


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
    time = struct.pack("<2H", 0x5455, 5) + b"\x01\0\0\0\0"  # as Info-ZIP writes it
    for extra in (struct.pack("<2H", 0x7075, 2) + b"xx", b"abc", struct.pack("<2H", 9, 5) + b"x", time):
        entry = zipfile.ZipInfo("recipe.json")
        entry.extra = extra
        refused(zip_of(tmp_path / "extra.zip", (entry, b"{}")), "UNSAFE_FILE")


def test_nothing_is_unpacked_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_zip(tmp_path / "b.zip", FILES)
    monkeypatch.chdir(tmp_path)
    assert read_all(tmp_path / "b.zip") == FILES
    assert [item.name for item in tmp_path.iterdir()] == ["b.zip"]


@pytest.mark.parametrize("how", ["ours", "stored", "deflated"])
def test_fuzz_of_zips_ends_in_the_same_files_or_a_refusal(tmp_path: Path, how: str) -> None:
    """Whatever is altered is refused, whoever packed it; what is not refused is what was there."""
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
        assert how == "ours"
        assert (found, bytes(altered)) == (files, content)


def test_the_stream_of_a_window_behaves_like_a_file() -> None:
    window = archive._Window(io.BytesIO(b"0123456789"), 2, 5)  # pyright: ignore[reportPrivateUsage]
    stream = io.BufferedReader(window)
    assert stream.read() == b"23456"
    assert stream.seek(1) == 1
    assert (stream.read(2), stream.tell()) == (b"34", 3)
    assert stream.seek(-2, os.SEEK_CUR) == 1
    assert stream.read(99) == b"3456"
