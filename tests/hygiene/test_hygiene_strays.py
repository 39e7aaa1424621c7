"""Old weights that lie where nobody wrote them, or in the place of others, are seen; nothing else is taken for them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from tests.hygiene.worlds import ANOTHER, files, signed

from expunge.data.dataset import Dataset
from expunge.hygiene.places import Kinship
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.holds import Remedy
from expunge.train.run import Run

STRAYS = ("old.safetensors", "record/old.safetensors", "trace/old.safetensors", "deep/er/old.safetensors")


@pytest.mark.parametrize("run", ["forgot", "base", "other"])
@pytest.mark.parametrize("name", [*STRAYS, "checkpoints/shard-0-step-00000004.safetensors"])
def test_an_old_model_laid_into_any_folder_is_found_and_ended(
    run: str, name: str, forgot: Run, pictures: Dataset
) -> None:
    runs = forgot.path.parent
    if run == "other":  # forgot the same person, and holds nothing
        unlearn(runs / "base", "subject:someone-03", out=runs / "other", method="retrain", data=pictures)
    model = (runs / "base" / "model.safetensors").read_bytes()
    destroy(survey(forgot))
    assert survey(forgot).clean
    before, stray = files(runs), runs / run / name
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(model)
    found = survey(forgot)
    assert not found.clean
    assert [holding.path for holding in found.holdings] == [stray]
    assert "weights" in found.holdings[0].what
    declared = destroy(found)
    assert declared.retired[-1].digest == Run.open(runs / "base").weights_digest
    assert not stray.exists()
    assert {name for name in files(runs)} - set(before) <= {f"{run}/retired.json"}
    assert survey(forgot).clean


def test_a_state_that_the_log_never_named_is_found_whatever_it_holds(forgot: Run) -> None:
    destroy(survey(forgot))
    states = forgot.path / "checkpoints"
    stray = states / "shard-0-step-00000001.safetensors"
    content = bytearray(next(iter(sorted(states.iterdir()))).read_bytes())
    content[-1] ^= 1
    stray.write_bytes(content)
    (holding,) = survey(forgot).holdings
    assert (holding.path, holding.remedy) == (stray, Remedy.REMOVE)
    assert "cannot be told" in holding.why


@pytest.mark.parametrize("which", ["model.safetensors", "state"])
@pytest.mark.parametrize("content", ["old", "unknown"])
def test_weights_that_were_overwritten_are_seen(which: str, content: str, forgot: Run) -> None:
    base = forgot.path.parent / "base"
    listed = {holding.path.name for holding in survey(forgot).holdings}
    state = max(path.name for path in (forgot.path / "checkpoints").iterdir() if path.name in listed)
    name = which if which == "model.safetensors" else f"checkpoints/{state}"
    old = bytearray((base / name).read_bytes())
    if content == "unknown":
        old[-1] ^= 1
    destroy(survey(forgot))
    (forgot.path / name).unlink()
    (forgot.path / name).write_bytes(old)
    found = survey(forgot)
    assert not found.clean
    (place,) = found.places
    assert place.kinship is Kinship.ITSELF
    (holding,) = place.holdings
    assert (holding.path, holding.remedy) == (forgot.path / name, Remedy.OWNER)
    assert (str(base) if content == "old" else "what it holds cannot be told") in holding.why


def test_a_sibling_that_forgot_them_and_was_overwritten_is_seen(forgot: Run, pictures: Dataset) -> None:
    runs = forgot.path.parent
    other = unlearn(runs / "base", ["subject:someone-03", ANOTHER], out=runs / "other", data=pictures)
    signed(other.path)
    old = (runs / "base" / "model.safetensors").read_bytes()
    destroy(survey(forgot))
    assert survey(forgot).clean
    (other.path / "model.safetensors").write_bytes(old)
    (place,) = survey(forgot).places
    assert (place.path, place.kinship) == (other.path, Kinship.BESIDE)


def test_what_expunge_did_not_write_is_named_and_not_taken_for_clean(forgot: Run, tmp_path: Path) -> None:
    destroy(survey(forgot))
    (forgot.path / "record").mkdir()
    (tmp_path / "afar.bin").write_bytes(b"anything")
    for name in ("export.onnx", "record/notes.txt", "trace/average.safetensors", "trace/shard-9.bin"):
        (forgot.path / name).write_bytes(b"in another form")
    os.symlink(tmp_path / "afar.bin", forgot.path / "link.bin")
    found = survey(forgot)
    assert not found.holdings
    assert not found.clean
    said = "\n".join(found.unclear)
    for name in ("export.onnx", "record/notes.txt", "trace/average.safetensors", "trace/shard-9.bin", "link.bin"):
        assert str(forgot.path / name) in said
    shutil.rmtree(forgot.path / "record")
    for name in ("export.onnx", "trace/average.safetensors", "trace/shard-9.bin", "link.bin"):
        (forgot.path / name).unlink()
    assert survey(forgot).clean


@pytest.mark.parametrize("name", [".run.json.part", ".retired.json.part", ".hygiene.json.part", ".leaves.bin.part"])
def test_an_unfinished_note_holds_nothing(name: str, forgot: Run) -> None:
    base = forgot.path.parent / "base"
    expected = [(holding.what, holding.digest) for holding in survey(forgot).holdings]
    for run in (base, forgot.path):
        (run / name).write_bytes(b"{")
    assert [(holding.what, holding.digest) for holding in survey(forgot).holdings] == expected
    (base / ".model.safetensors.part").write_bytes(b"half")
    assert base / ".model.safetensors.part" in {holding.path for holding in survey(forgot).holdings}
