"""What hygiene refuses to end: another data set's salts, those that a living run needs, answers that were never signed,
and the old model itself where a method changed nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json
from tests.hygiene.worlds import ANOTHER, PERSON, THIRD, WHOLE, files, signed

from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.data.salts import draw_salts, read_salts
from expunge.hygiene.places import Kinship, forgotten_rows
from expunge.hygiene.retire import declare_window, destroy
from expunge.hygiene.survey import Survey, survey
from expunge.methods.unlearn import unlearn
from expunge.records.declaration import Destroyed
from expunge.records.holds import Remedy
from expunge.train.run import Run
from expunge.train.training import train


def salts_of(found: Survey) -> dict[Remedy, Any]:
    (place,) = [place for place in found.places if place.kinship is Kinship.SALTS]
    return {holding.remedy: holding for holding in place.holdings}


@pytest.mark.parametrize("named", [True, False])
def test_salts_of_another_data_set_are_never_destroyed(
    named: bool, secret: Run, pictures: Dataset, tmp_path: Path, refused: Any
) -> None:
    other = draw_salts(tmp_path / "other.salts", len(pictures))
    base = files(secret.path.parent / "base")
    if not named:  # laid where the run's own were
        os.replace(other.path, tmp_path / "people.salts")
    place = tmp_path / ("other.salts" if named else "people.salts")
    found = survey(secret, data=pictures, salts=place if named else None)
    assert not found.clean
    with refused((RunError if not named else InvalidArgument), str(place), "open the leaves of", "another data set"):
        destroy(found)
    assert place.read_bytes()[16:] == other.content
    assert files(secret.path.parent / "base") == base, "nothing else was touched either"
    assert not (secret.path / "hygiene-intent.json").exists()


def test_salts_that_cannot_be_tested_are_not_destroyed(secret: Run, pictures: Dataset, refused: Any) -> None:
    path, before = Path(run_json(secret)["data"]["salt_file"]), files(secret.path.parent)
    with refused(RunError, "none of them may go", "`data` PATH", "remove the salt file yourself"):
        destroy(survey(secret))
    assert files(secret.path.parent) == before
    nothing = pictures.take(np.array(forgotten_rows(secret)))
    with refused(RunError, "none of them may go"):
        destroy(survey(secret, data=nothing))
    assert read_salts(path, len(pictures)).destroyed == []
    left = np.setdiff1d(np.arange(len(pictures)), forgotten_rows(secret))
    destroy(survey(secret, data=pictures.take(left)))
    assert read_salts(path, len(pictures)).destroyed == list(forgotten_rows(secret)), "the others' leaves are enough"


def test_salts_that_a_kept_run_needs_stay_and_it_still_forgets_the_person(
    secret: Run, pictures: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "people.salts"
    kept = train(pictures, out=tmp_path / "runs" / "second", seed=1, salts=path, **WHOLE)
    signed(kept.path)
    found = survey(secret, data=pictures, keep=[kept.path])
    held = salts_of(found)
    assert set(held) == {Remedy.OWNER}
    assert held[Remedy.OWNER].slots == len(forgotten_rows(secret))
    assert str(kept.path) in held[Remedy.OWNER].why
    declared = destroy(found)
    assert not any("salts" in item.what for item in declared.retired)
    assert read_salts(path, len(pictures)).destroyed == []
    after = survey(secret, keep=[kept.path])
    assert not after.clean
    assert Kinship.SALTS in {place.kinship for place in after.places}
    second = unlearn(kept, PERSON, out=tmp_path / "runs" / "second-forgot", data=pictures)
    declared = destroy(survey(second, data=pictures, keep=[secret.path]))
    assert declared.retired[-1] == Destroyed(f"salts of {len(forgotten_rows(secret))} rows")
    assert read_salts(path, len(pictures)).destroyed == list(forgotten_rows(secret))


def test_only_the_salts_that_no_living_run_needs_go(secret: Run, pictures: Dataset, tmp_path: Path) -> None:
    """One that forgot the first person seats the second, in training; its salts and no others stay."""
    path = tmp_path / "people.salts"
    both = unlearn(secret, ANOTHER, out=tmp_path / "runs" / "both", data=pictures)
    signed(secret.path)
    found = survey(both, data=pictures, keep=[secret.path])
    first, second = set(forgotten_rows(secret)), set(forgotten_rows(both)) - set(forgotten_rows(secret))
    held = salts_of(found)
    assert (set(held[Remedy.SALTS].rows), set(held[Remedy.OWNER].rows)) == (first, second)
    destroy(found)
    assert set(read_salts(path, len(pictures)).destroyed) == first
    assert unlearn(secret, ANOTHER, out=tmp_path / "again", data=pictures).weights_digest == both.weights_digest


@pytest.mark.parametrize("commit_only", [False, True])
def test_salts_that_a_run_of_another_root_shares_stay(
    commit_only: bool, secret: Run, pictures: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "people.salts"
    out = tmp_path / "runs" / "other"
    given: dict[str, Any] = {"salts": path, "split_seed": 3, "commit_only": commit_only, **WHOLE}
    other = train(pictures, out=out, **given)
    assert other.root != secret.root
    destroy(survey(secret, data=pictures))
    after = survey(secret)
    assert str(other.path) in salts_of(after)[Remedy.OWNER].why
    assert read_salts(path, len(pictures)).destroyed == []
    if commit_only:
        other = train(pictures, out=out, **{**given, "commit_only": False})
    unlearn(other, PERSON, out=tmp_path / "runs" / "other-forgot", data=pictures)


def test_an_unsigned_answer_beside_is_ended_only_when_that_is_said(
    forgot: Run, pictures: Dataset, refused: Any
) -> None:
    runs = forgot.path.parent
    other = unlearn(runs / "base", ANOTHER, out=runs / "other", data=pictures)
    third = unlearn(runs / "base", THIRD, out=runs / "third", data=pictures)
    before = files(runs)
    ways = ("expunge attest", f"`keep` {other.path}", "`unrecorded`")
    with refused(RunError, f"{other.path} (which answers {ANOTHER})", f"{third.path} (which answers {THIRD})", *ways):
        destroy(survey(forgot))
    assert files(runs) == before
    signed(other.path)
    with refused(RunError, f"{third.path} (which answers {THIRD}) has no signed record", f"`keep` {third.path}"):
        destroy(survey(forgot))
    destroy(survey(forgot, keep=[third.path]))
    assert third.model() is not None
    assert not (other.path / "model.safetensors").exists()
    destroy(survey(forgot), unrecorded=True)
    assert survey(forgot).clean


@pytest.fixture
def idle(whole: Path, pictures: Dataset) -> Run:
    """What a method made that changed nothing: the weights are the original's."""
    return unlearn(whole / "base", PERSON, method="fine-tune", budget=0.0, out=whole / "idle", data=pictures)


def test_a_method_that_changed_nothing_leaves_the_old_weights_and_they_are_not_declared_gone(
    idle: Run, refused: Any
) -> None:
    base = idle.path.parent / "base"
    assert idle.weights_digest == Run.open(base).weights_digest
    before, found = files(idle.path.parent), survey(idle)
    (own,) = [place for place in found.places if place.kinship is Kinship.ITSELF]
    assert [holding.path.name for holding in own.holdings] == ["model.safetensors"]
    assert "changed nothing" in own.holdings[0].why
    assert str(base) in own.holdings[0].why
    with refused(RunError, str(idle.path), "holds the forgotten rows itself", "changed nothing", "exact-replay"):
        destroy(found, unrecorded=True)
    assert files(idle.path.parent) == before


def test_a_parent_that_changed_nothing_needs_no_record_since_it_can_have_none(
    idle: Run, pictures: Dataset, refused: Any
) -> None:
    child = unlearn(idle, ANOTHER, out=idle.path.parent / "child", data=pictures)
    with refused(RunError, str(idle.path), "can have none", "changed nothing", "`unrecorded`", "forget anew from"):
        destroy(survey(child))
    destroy(survey(child), unrecorded=True)
    assert survey(child).clean


def test_a_window_over_nothing_is_refused(forgot: Run, refused: Any) -> None:
    destroyed = destroy(survey(forgot))
    with refused(InvalidArgument, "would keep nothing", "`window`", "`folders`"):
        declare_window(survey(forgot), 30)
    assert survey(forgot).declared == destroyed, "nothing false was written"


@pytest.mark.parametrize("wrong", ["folder", "file", "data", "salts"])
def test_a_named_place_that_cannot_be_looked_at_is_not_clean_and_ends_nothing(
    wrong: str, forgot: Run, refused: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    given: dict[str, Callable[[], Survey]] = {
        "folder": lambda: survey(forgot, folders=[tmp_path / "nowhere"]),
        "file": lambda: survey(forgot, folders=[tmp_path / "file"]),
        "data": lambda: survey(forgot, data=str(tmp_path / "nowhere.csv")),
        "salts": lambda: survey(forgot, salts=tmp_path / "nowhere.salts"),
    }
    before, found = files(forgot.path.parent), given[wrong]()
    assert found.misnamed
    assert str(tmp_path) in found.misnamed[0]
    with refused(InvalidArgument, "nothing is destroyed before all that was named is looked at", found.misnamed[0]):
        destroy(found)
    assert files(forgot.path.parent) == before
    destroy(survey(forgot))
    assert survey(forgot).clean
    assert not given[wrong]().clean


def test_a_run_may_be_named_as_a_folder_itself(forgot: Run, tmp_path: Path) -> None:
    shutil.copytree(forgot.path.parent / "base", tmp_path / "attic" / "copy")
    assert tmp_path / "attic" / "copy" in {
        place.path for place in survey(forgot, folders=[tmp_path / "attic" / "copy"]).places
    }
