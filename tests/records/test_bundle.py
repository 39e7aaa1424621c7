"""Bundles from outside: fixture 26 of the specification, as a folder and as a zip, and every cap."""

from __future__ import annotations

import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.records.bundles import FILES, MODEL, read_all, refused, zip_of

from expunge.core.errors import InvalidArgument, RecordError, RunError
from expunge.records.bundle import ENVELOPE, Bundle, kind_of, open_bundle, write_folder, write_zip
from expunge.records.limits import Limits

BAD_PATHS = [
    "/etc/passwd",
    "../envelope.json",
    "log/../../envelope.json",
    "log/./checkpoint",
    "log//checkpoint",
    "checkpoints\\x.safetensors",
    "C:envelope.json",
    "C:/envelope.json",
    "..",
    ".",
    "",
    "log/",
    "envelope.json/",
    "envelope.json.",
    "envelope.json ",
    "envelope.json\n",
    "envelope.json\0",
    "\u202eenvelope.json",
    "envelope\u2024json",
    "énvelope.json",
    "e\u0301nvelope.json",
    "log/...",
    "a" * 300,
]
NOT_LISTED = [
    "model.pt",
    "model.pkl",
    "Envelope.json",
    "ENVELOPE.JSON",
    "run.py",
    ".DS_Store",
    "nul",
    "log",
    "log/notes.txt",
    "log/checkpoint-07",
    "log/inclusion-xyz.json",
    "log/inclusion-" + "0F" * 32 + ".json",
    "parents/a/envelope.json",
    "parents/" + "1e" * 31 + ".json",
    "checkpoints/latest.safetensors",
    "checkpoints/shard-0-step-100.safetensors",
    "checkpoints/shard-00-step-00000100.safetensors",
    "checkpoints/shard-0-step-000000100.safetensors",
    "checkpoints/log/checkpoint",
    "leaves.bin.exe",
]


@pytest.fixture(params=["folder", "zip"])
def write(request: pytest.FixtureRequest) -> Callable[[Path, dict[str, bytes | Path]], None]:
    return write_folder if request.param == "folder" else write_zip


def test_what_is_written_is_read(tmp_path: Path, write: Callable[..., None]) -> None:
    (tmp_path / "source").write_bytes(MODEL)
    write(tmp_path / "bundle", {**FILES, "model.safetensors": tmp_path / "source"})
    assert read_all(tmp_path / "bundle") == FILES
    with open_bundle(tmp_path / "bundle") as bundle:
        assert bundle.names == tuple(sorted(FILES))
        assert "model.safetensors" in bundle
        assert "optimiser.safetensors" not in bundle
        assert bundle.json("recipe.json") == {"epochs": 3}
        with bundle.tensors("model.safetensors") as file:
            assert [tensor.name for tensor in file.tensors] == ["bias", "weight"]
        with bundle.stream("leaves.bin") as stream:
            stream.seek(250)
            assert stream.read() == bytes(range(250, 256))
            assert stream.seek(-1, os.SEEK_END) == 255
            assert stream.read(5) == b"\xff"
        with pytest.raises(InvalidArgument, match="holds no optimiser"):
            bundle.read("optimiser.safetensors")
    with pytest.raises(RunError, match="exists"):
        write(tmp_path / "bundle", FILES)
    with pytest.raises(RecordError, match="UNSAFE_FILE"):
        write(tmp_path / "other", {"model.pt": b""})
    with pytest.raises(RecordError, match="UNSAFE_PATH"):
        write(tmp_path / "other", {"../envelope.json": b""})
    assert sorted(item.name for item in tmp_path.iterdir()) == ["bundle", "source"]


@pytest.mark.parametrize("name", BAD_PATHS)
def test_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    if name not in ("log/", "envelope.json/"):
        with pytest.raises(RecordError, match="UNSAFE_PATH"):
            kind_of(name)
    entry = zipfile.ZipInfo("x" if "\0" in name else name or "x")
    entry.filename = entry.orig_filename = name  # as a forger would write it
    path = zip_of(tmp_path / "forged.zip", (entry, b""))
    refused(path, "UNSAFE_FILE" if name in ("log/", "envelope.json/") or len(name) > 255 else "UNSAFE_PATH")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["forged.zip"]


@pytest.mark.parametrize("name", NOT_LISTED)
def test_names_that_are_not_on_the_list(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecordError, match="UNSAFE_FILE"):
        kind_of(name)
    collides = name.lower() == ENVELOPE
    refused(zip_of(tmp_path / "forged.zip", (name, b"x")), "UNSAFE_PATH" if collides else "UNSAFE_FILE")
    target = tmp_path / "folder" / name
    target.parent.mkdir(parents=True)
    target.write_bytes(b"x")
    (tmp_path / "folder" / ENVELOPE).write_bytes(b"{}")
    refused(tmp_path / "folder", "UNSAFE_PATH" if collides else "UNSAFE_FILE")


def test_folders_that_are_not_on_the_list(tmp_path: Path) -> None:
    (tmp_path / "b" / "log" / "deep").mkdir(parents=True)
    assert "no folder of a bundle" in refused(tmp_path / "b", "UNSAFE_FILE")
    refused(zip_of(tmp_path / "forged.zip", ("deep/", b"")), "UNSAFE_FILE")
    refused(zip_of(tmp_path / "full.zip", ("log/", b"x")), "UNSAFE_FILE")


def test_links_and_devices_in_folders(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    write_folder(folder, {ENVELOPE: b"{}"})
    (folder / "recipe.json").symlink_to(folder / ENVELOPE)
    assert "is a link or a device" in refused(folder, "UNSAFE_PATH")
    (folder / "recipe.json").unlink()
    (folder / "log").symlink_to(tmp_path)
    refused(folder, "UNSAFE_PATH")
    (folder / "log").unlink()
    os.mkfifo(folder / "trace.bin")
    refused(folder, "UNSAFE_PATH")
    (folder / "trace.bin").unlink()
    assert read_all(folder) == {ENVELOPE: b"{}"}


@pytest.mark.parametrize(
    "mode",
    [stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR | 0o755],
)
def test_links_and_devices_in_zips(tmp_path: Path, mode: int) -> None:
    entry = zipfile.ZipInfo("recipe.json")
    entry.external_attr = mode << 16
    refused(zip_of(tmp_path / "forged.zip", (entry, b"/etc/passwd")), "UNSAFE_PATH")
    entry.external_attr = 0x400  # a reparse point of Windows
    refused(zip_of(tmp_path / "forged.zip", (entry, b"/etc/passwd")), "UNSAFE_PATH")


def test_a_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    write_folder(tmp_path / "b", FILES)
    with open_bundle(tmp_path / "b") as bundle:
        (tmp_path / "b" / "trace.bin").write_bytes(b"longer than before" * 99)
        with pytest.raises(RecordError, match=r"UNSAFE_FILE.*changed"):
            bundle.read("trace.bin")
        (tmp_path / "b" / "leaves.bin").unlink()
        (tmp_path / "b" / "leaves.bin").symlink_to("/etc/passwd")
        with pytest.raises(RunError, match="could not be read"):
            bundle.digest("leaves.bin")


def test_two_files_of_one_name(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = zip_of(tmp_path / "twice.zip", ("recipe.json", b"{}"), ("recipe.json", b"[]"))
    assert "would be a guess" in refused(path, "UNSAFE_PATH")
    refused(zip_of(tmp_path / "case.zip", ("recipe.json", b"{}"), ("Recipe.json", b"[]")), "UNSAFE_PATH")


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "trapped"),)

    content = pickle.dumps(Trap())
    refused(zip_of(tmp_path / "listed.zip", ("model.pkl", content)), "UNSAFE_FILE")
    for name, code in (("model.safetensors", "UNSAFE_FILE"), ("recipe.json", "MALFORMED_JSON")):
        write_folder(tmp_path / name, {ENVELOPE: b"{}", name: content})
        with pytest.raises(RecordError, match=code):
            read_all(tmp_path / name)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    "text", [b"[NaN]", b'{"a":1,"a":2}', b"[" * 34 + b"]" * 34, b"[" * 100_000, b"[1.5]", b"{}\n", b"\xff", b""]
)
def test_json_of_a_bundle_is_canonical(tmp_path: Path, text: bytes, write: Callable[..., None]) -> None:
    write(tmp_path / "b", {ENVELOPE: b"{}", "recipe.json": text})
    with open_bundle(tmp_path / "b") as bundle, pytest.raises(RecordError, match="MALFORMED_JSON"):
        bundle.json("recipe.json")


def test_every_cap_is_hit(tmp_path: Path, write: Callable[..., None]) -> None:
    write(tmp_path / "b", FILES)
    total = sum(map(len, FILES.values()))
    length = int.from_bytes(MODEL[:8], "little")
    caps = {"total_bytes": total, "files": len(FILES), "json_bytes": 18, "note_bytes": 15}
    if (tmp_path / "b").is_dir():
        caps["files"] += 3  # its folders count
    assert read_all(tmp_path / "b", Limits(**caps, header_bytes=length)) == FILES
    for name, value in caps.items():
        assert str(value - 1) in refused(tmp_path / "b", "SIZE_LIMIT", **{name: value - 1})
    with (
        open_bundle(tmp_path / "b", Limits(header_bytes=length - 1)) as bundle,
        pytest.raises(RecordError, match="SIZE_LIMIT"),
        bundle.tensors("model.safetensors"),
    ):
        pass
    with open_bundle(tmp_path / "b", Limits(json_depth=1)) as bundle:
        assert bundle.json("recipe.json") == {"epochs": 3}


def test_paths_that_are_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is missing"):
        open_bundle(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert f"holds no {ENVELOPE}" in refused(tmp_path / "empty", "UNSAFE_FILE")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    refused(tmp_path / "empty.zip", "UNSAFE_FILE")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="neither a folder nor a file"):
        open_bundle(tmp_path / "pipe")
    with pytest.raises(RunError, match="could not be read"):
        open_bundle(Path("a\0b"))


def test_a_closed_bundle_hands_out_nothing(tmp_path: Path) -> None:
    write_zip(tmp_path / "b.zip", FILES)
    bundle: Bundle = open_bundle(tmp_path / "b.zip")
    bundle.close()
    with pytest.raises(InvalidArgument, match="is closed"):
        bundle.read("trace.bin")
