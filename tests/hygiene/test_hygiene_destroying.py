"""Destroying what was listed leaves what must stay, and a destruction cut short is finished."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import run_json
from tests.hygiene.worlds import ANOTHER, PERSON, SHAPE, Killed, files, signed

from expunge.attest.attest import attest
from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.hygiene import retire
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.declaration import Destroyed, read_declaration
from expunge.records.holds import Remedy
from expunge.records.keys import keygen
from expunge.train.run import Run
from expunge.train.training import train


def test_a_destruction_cut_short_in_a_bundle_is_finished_too(
    runs: Path, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = keygen(tmp_path / "keys", "example.com/unlearning")
    shutil.rmtree(runs / "base" / "record")
    attest(runs / "base", key=key, out=runs / "given", log=tmp_path / "log", origin="example.com/unlearning")
    forgot = unlearn(runs / "base", PERSON, out=runs / "forgot", data=pictures)

    def dying(folder: Path, declaration: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "write_declaration", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    declared = destroy(survey(forgot))
    assert "model in a bundle: weights" in {item.what for item in declared.retired}
    assert survey(forgot).clean


def test_destroying_leaves_nothing_listed_and_says_what_went(forgot: Run) -> None:
    base = forgot.path.parent / "base"
    before, found = files(base), survey(forgot)
    own = files(forgot.path)
    declared = destroy(found)
    assert survey(forgot).clean
    assert list(declared.retired) == [Destroyed(holding.what, holding.digest) for holding in found.holdings]
    assert read_declaration(forgot.path) == declared
    left = files(base)
    removed = {str(item.path.relative_to(base)) for item in found.holdings if item.remedy is Remedy.REMOVE}
    assert set(before) - set(left) == removed
    for holding in found.holdings:
        if holding.remedy is Remedy.CUT:
            name = str(holding.path.relative_to(base))
            assert left[name] == before[name][: holding.keep]
            del before[name]
    assert all(left[name] == content for name, content in before.items() if name not in removed)
    assert {name: content for name, content in files(forgot.path).items() if name in own} == own
    retired = json.loads(left["retired.json"])
    assert {item["file"] for item in retired["gone"]} >= removed
    assert retired["for"] == forgot.weights_digest


def test_the_new_run_forgets_the_next_person_bit_for_bit_after_the_old_state_is_gone(
    forgot: Run, pictures: Dataset
) -> None:
    runs = forgot.path.parent
    expected = unlearn(forgot, ANOTHER, out=runs.parent / "expected", data=pictures)
    again = unlearn(forgot, ANOTHER, out=runs.parent / "again", method="retrain", data=pictures)
    destroy(survey(forgot))
    replayed = unlearn(forgot.path, ANOTHER, out=runs / "next", data=pictures)
    assert replayed.weights_digest == expected.weights_digest == again.weights_digest
    assert run_json(replayed)["reused_steps"] == run_json(expected)["reused_steps"]
    assert (replayed.path / "trace" / "shard-0.bin").read_bytes() == (again.path / "trace" / "shard-0.bin").read_bytes()


def test_an_approximate_run_is_still_replayed_from_what_the_original_keeps(whole: Path, pictures: Dataset) -> None:
    runs = whole
    run = unlearn(runs / "base", PERSON, out=runs / "approximate", method="gradient-ascent", data=pictures)
    expected = unlearn(run, ANOTHER, out=runs.parent / "expected", data=pictures)
    destroy(survey(run))
    replayed = unlearn(run, ANOTHER, out=runs / "next", data=pictures)
    assert replayed.weights_digest == expected.weights_digest
    assert run_json(replayed)["reused_steps"] == run_json(expected)["reused_steps"]


def test_the_parent_is_refused_afterwards_in_one_sentence(forgot: Run, pictures: Dataset, refused: Any) -> None:
    base = forgot.path.parent / "base"
    destroy(survey(forgot))
    parent = Run.open(base)
    assert forgot.parent.weights_digest == parent.weights_digest
    with refused(RunError, "was retired"):
        parent.model()
    with refused(RunError, "was retired"):
        unlearn(base, ANOTHER, out=base.parent / "no", data=pictures)
    with refused(RunError, "was retired"):
        train(pictures, out=base, checkpoint_interval=3, **SHAPE)
    assert isinstance(forgot.model(), torch.nn.Module)


def test_a_destruction_cut_short_at_any_point_is_known_and_finished(
    original: Path, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def world(name: str) -> Run:
        shutil.copytree(original, tmp_path / name / "base")
        signed(tmp_path / name / "base")
        return unlearn(tmp_path / name / "base", PERSON, out=tmp_path / name / "forgot", data=pictures)

    whole = world("whole")
    declared = destroy(survey(whole))
    end, write, unlink = retire._end, retire.write_declaration, retire.write_text
    assert end is not None
    for at in itertools.count():
        run = world(f"killed-{at}")
        calls = itertools.count()

        def dying(original: Callable[..., None], at: int = at, calls: Any = calls) -> Callable[..., None]:
            def call(*arguments: Any) -> None:
                if next(calls) == at:
                    raise Killed
                original(*arguments)

            return call

        for name, function in (("_end", end), ("write_declaration", write), ("write_text", unlink)):
            monkeypatch.setattr(retire, name, dying(function))
        try:
            destroy(survey(run))
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.undo()
        interrupted = (run.path / "hygiene-intent.json").is_file()
        assert survey(run).interrupted == interrupted == (at > 0)
        assert not survey(run).clean
        assert not (run.path / "hygiene.json").is_file()
        assert destroy(survey(run)) == declared
        assert survey(run).clean
        expected = {name: content for name, content in files(whole.path.parent / "base").items() if name != "run.json"}
        found = files(run.path.parent / "base")
        assert {name: found.get(name) for name in expected} == expected
        assert Run.open(run.path).model() is not None
    assert at > 5, "it was cut short at every point"


def test_what_was_moved_away_meanwhile_is_not_called_destroyed(
    forgot: Run, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    def dying(step: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "_end", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    base = forgot.path.parent / "base"
    shutil.move(base, forgot.path.parent.parent / "moved")
    with refused(RunError, "is not there, and nothing says that it was"):
        destroy(survey(forgot))
    shutil.move(forgot.path.parent.parent / "moved", base)
    destroy(survey(forgot))
    assert survey(forgot).clean


@pytest.mark.parametrize("damage", ["weights", "state", "missing"])
def test_nothing_is_destroyed_while_the_new_run_is_not_sound(forgot: Run, damage: str, refused: Any) -> None:
    states = sorted((forgot.path / "checkpoints").glob("*"))
    target = forgot.path / "model.safetensors" if damage == "weights" else states[-1]
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.unlink()
    if damage != "missing":
        target.write_bytes(content)
    before = files(forgot.path.parent / "base")
    with refused(RunError, "altered" if damage == "weights" else "nothing is destroyed while"):
        destroy(survey(forgot))
    assert files(forgot.path.parent / "base") == before
    assert not (forgot.path / "hygiene.json").exists()


def test_a_parent_without_a_signed_record_is_destroyed_only_when_that_is_said(forgot: Run, refused: Any) -> None:
    shutil.rmtree(forgot.path.parent / "base" / "record")
    with refused(RunError, "has no signed record", "expunge attest", "`unrecorded`"):
        destroy(survey(forgot))
    destroy(survey(forgot), unrecorded=True)
    assert survey(forgot).clean


def test_a_run_that_is_being_written_is_left_alone(forgot: Run, refused: Any) -> None:
    from expunge.train.folder import writing

    before = files(forgot.path.parent / "base")
    with writing(forgot.path.parent / "base"), refused(RunError, "is being written by another process"):
        destroy(survey(forgot))
    assert files(forgot.path.parent / "base") == before


def test_runs_that_are_kept_stay_listed_and_whole(forgot: Run, pictures: Dataset, refused: Any) -> None:
    other = unlearn(forgot.path.parent / "base", ANOTHER, out=forgot.path.parent / "other", data=pictures)
    before = files(other.path)
    destroy(survey(forgot, keep=[other.path]))
    assert files(other.path) == before
    found = survey(forgot, keep=[other.path])
    assert {place.path.name for place in found.places} == {"other"}
    assert not found.ours
    assert all(holding.why.endswith("kept as you asked") for holding in found.holdings)
    with refused(InvalidArgument, "`keep`", "none of the folders"):
        survey(forgot, keep=[forgot.path.parent / "nowhere"])
