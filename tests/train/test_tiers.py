"""Trainings that deal by tiers: what is committed, what exact forgetting gives and costs, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json

import expunge
from expunge.adversary.pol.proof import prove
from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.data.tiers import TierFile
from expunge.methods.exact_replay import ExactReplay, planned
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import parent_of, unlearn
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.state import weights_digest
from expunge.train.training import train

LATE = {f"someone-{at:02d}" for at in (1, 4, 6, 9, 13)}
NORMED = {"model": "cnn", "model_options": {"norm": "batch", "width": 4}}
FORMS: dict[str, dict[str, Any]] = {
    "mlp": {"model": "mlp", "shards": 1},
    "mlp in shards": {"model": "mlp", "shards": 4},
    "cnn with a batch norm": {**NORMED, "shards": 1},
    "cnn with a batch norm in shards": {**NORMED, "shards": 4},
}


def tiers_file(place: Path, tiers: Mapping[str, object]) -> Path:
    place.write_text("subject,tier\n" + "".join(f"{name},{tier}\n" for name, tier in tiers.items()), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def told(pictures: Dataset) -> dict[str, int]:
    return {name: int(name in LATE) for name in dict.fromkeys(pictures.subjects)}


@pytest.fixture(scope="module")
def tiers(told: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiers_file(tmp_path_factory.mktemp("tiers") / "tiers.csv", told)


@pytest.fixture(scope="module")
def make(pictures: Dataset, tiers: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """A tiered training, once for each form."""
    made: dict[str, Run] = {}

    def trained(form: str) -> Run:
        if form not in made:
            made[form] = expunge.train(
                pictures,
                out=tmp_path_factory.mktemp("tiered") / "run",
                placement=f"tiers:{tiers}",
                stages=(3, 1),
                batch_size=16,
                checkpoint_interval=2,
                **FORMS[form],
            )
        return made[form]

    return trained


@pytest.fixture(scope="module")
def run(make: Callable[..., Run]) -> Run:
    return make("mlp in shards")


def test_the_tier_of_everybody_is_committed_and_is_the_slice(run: Run, pictures: Dataset, told: dict[str, int]) -> None:
    subjects = run.data(pictures)[Split.TRAIN].subjects
    by_unit = list(dict.fromkeys(subjects))
    stored = np.frombuffer((run.path / "tiers.bin").read_bytes(), dtype="<u8")
    assert stored.tolist() == [told[name] for name in by_unit]
    assert run.schedule.cells[:, 1].tolist() == [told[name] for name in subjects]
    assert run.recipe.stage_epochs == (3, 1)
    assert run.recipe.as_json() | {"placement": "tiers", "slices": 2, "epochs": 4} == run.recipe.as_json()
    first, last = run.schedule.stages[0]
    assert {told[subjects[slot]] for slot in first.slots} == {0}
    assert {told[subjects[slot]] for slot in last.slots} == {0, 1}


def slots_of(run: Run) -> dict[str, np.ndarray]:
    cells = run.schedule.cells
    order = np.random.default_rng(0).permutation(len(cells))
    return {
        "1 row": order[:1],
        "10 rows": order[:10],
        "100 rows": order[:100],
        "a late row": np.flatnonzero(cells[:, 1] == 1)[:1],
        "a tier": np.flatnonzero(cells[:, 1] == 1),
        "a shard": np.flatnonzero(cells[:, 0] == 0)[: None if run.recipe.shards > 1 else 60],
    }


@pytest.mark.parametrize("form", FORMS)
def test_exact_replay_gives_the_bits_of_retraining_for_what_was_counted(
    form: str, make: Callable[..., Run], pictures: Dataset
) -> None:
    run = make(form)
    parent = parent_of(run, data=pictures)
    for name, slots in slots_of(run).items():
        with pinned(run.recipe):
            replayed, retrained = (method(parent, np.sort(slots)) for method in (ExactReplay(), Retrain()))
        assert weights_digest(replayed.model) == weights_digest(retrained.model) != run.weights_digest, name
        assert replayed.cost.example_steps == planned(run, slots), name
        if name in ("a late row", "a tier"):
            assert all(step >= run.schedule.stage_ends(shard)[0] for shard, step in replayed.reused.items())


def test_training_without_somebody_gives_the_same_bits(
    run: Run, pictures: Dataset, tiers: Path, tmp_path: Path
) -> None:
    fields = {"placement": f"tiers:{tiers}", "stages": "3,1", "batch_size": 16, **FORMS["mlp in shards"]}
    without = expunge.train(pictures, out=tmp_path / "without", without="subject:someone-04", **fields)
    replayed = unlearn(run, ["subject:someone-04"], method="exact-replay", out=tmp_path / "replayed", data=pictures)
    other = Retrain(training_seed=5)
    seeded = unlearn(run, ["subject:someone-04"], method=other, out=tmp_path / "seeded", data=pictures)
    for child in (without, replayed, seeded):
        assert child.tiers is not None
        assert child.tiers.tolist() == run.tiers.tolist()
        assert child.recipe.tiers == run.recipe.tiers
    again = unlearn(replayed, ["subject:someone-06"], method="exact-replay", out=tmp_path / "twice", data=pictures)
    both = ["subject:someone-04", "subject:someone-06"]
    anew = unlearn(run, both, method="retrain", out=tmp_path / "anew", data=pictures)
    assert again.weights_digest == anew.weights_digest


def test_how_each_tier_is_answered_is_said_and_never_judged(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    rows = run.data(pictures)[Split.TRAIN]
    figures = {found.tier: found for found in run.told.learnt or ()}
    assert set(figures) == {None, 0, 1}
    of_tier = run.schedule.tiers
    assert [figures[tier].rows for tier in (0, 1)] == np.bincount(of_tier).tolist()
    assert run.told.answers is not None
    assert "tier" not in run.told.answers
    child = unlearn(run, ["subject:someone-04"], method="exact-replay", out=tmp_path / "child", data=pictures)
    judged = expunge.evaluate(child, data=pictures)
    assert [one.tier for one in judged.by_tier or ()] == [0, 1]
    right = [answer == rows.label(row) for row, answer in enumerate(child.predict(rows).labels)]
    for one in judged.by_tier or ():
        chosen = [row for row in np.flatnonzero(of_tier == one.tier) if row not in child.tombstones]
        assert one.unlearned.n == len(chosen)
        assert one.unlearned.value == pytest.approx(np.mean([right[row] for row in chosen]))
    assert not {"by_tier", "tier"} & {probe.name for probe in judged.probes}
    printed = [table for table in judged.tables if "never judged" in table.answer]
    assert [row[:2] for row in printed[0].rows] == [("0", "84"), ("1", "28")]


def test_untiered_runs_say_nothing_of_tiers(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    child = unlearn(small_run, ["subject:someone-04"], method="retrain", out=tmp_path / "child", data=pictures)
    assert expunge.evaluate(child, data=pictures).by_tier is None
    assert '"by_tier"' not in (child.path / "evaluation.json").read_text(encoding="utf-8")
    assert '"tier"' not in (small_run.path / "run.json").read_text(encoding="utf-8")
    assert small_run.tiers is None
    assert not (child.path / "tiers.bin").exists()


def test_a_run_keeps_to_its_tiers(
    run: Run, pictures: Dataset, told: dict[str, int], tiers: Path, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"stages": (3, 1), "batch_size": 16, **FORMS["mlp in shards"]}
    swapped = tiers_file(tmp_path / "swapped.csv", {**told, "someone-01": 0, "someone-02": 1})
    copied = Path(shutil.copytree(run.path, tmp_path / "copied"))
    with pytest.raises(RunError, match="holds another run"):
        expunge.train(pictures, out=copied, placement=f"tiers:{swapped}", **fields)
    committed = expunge.train(
        pictures, out=tmp_path / "early", placement=f"tiers:{swapped}", commit_only=True, **fields
    )
    assert (committed.path / "tiers.bin").is_file()
    assert run_json(committed)["request"]["recipe"]["tiers"] == committed.recipe.tiers != run.recipe.tiers
    with pytest.raises(RunError, match="holds another run"):
        expunge.train(pictures, out=committed.path, placement=f"tiers:{tiers}", **fields)
    (copied / "tiers.bin").write_bytes((copied / "tiers.bin").read_bytes()[::-1])
    with pytest.raises(RunError, match=r"tiers.bin does not hold the tiers .* of the recipe: it was altered; restore"):
        _ = Run.open(copied).schedule
    (copied / "tiers.bin").write_bytes(b"odd")
    with pytest.raises(RunError, match="has 3 bytes, not 8 for each unit"):
        _ = Run.open(copied).schedule


BAD: tuple[tuple[str, Callable[[dict[str, Any]], None], str], ...] = (
    ("an unknown subject", lambda told: told.update(nobody=0), "line 17 of .* names a subject that no row of the data"),
    ("a missing subject", lambda told: told.pop("someone-03"), "row 30 of the data belongs to a subject whom .* does"),
    ("a negative tier", lambda told: told.update({"someone-02": -1}), "line 4 of .* says tier '-1': tiers are whole"),
    ("half a tier", lambda told: told.update({"someone-02": 0.5}), "line 4 of .* says tier '0.5': tiers are whole"),
    ("no tier", lambda told: told.update({"someone-02": ""}), "line 4 of .* says tier '': tiers are whole numbers"),
    ("a gap", lambda told: told.update({"someone-02": 3}), "tier 2 of .* has nobody: number tiers 0, 1, 2"),
    ("a vast tier", lambda told: told.update({"someone-02": 10**30}), "says tier '1000000.*: tiers are whole numbers"),
    (
        "a field more",
        lambda told: told.update({"someone-02": "1,1"}),
        "line 4 of .* has 3 fields: each names",
    ),
    ("a subject twice", lambda told: told.update({"someone-01,0\nsomeone-01": 1}), "names a subject a second time"),
)


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_files_that_do_not_fit_are_refused(
    change: Callable[[dict[str, Any]], None], words: str, told: dict[str, int], pictures: Dataset, tmp_path: Path
) -> None:
    altered: dict[str, Any] = dict(told)
    change(altered)
    place = tiers_file(tmp_path / "tiers.csv", altered)
    with pytest.raises((DataError, InvalidArgument), match=words) as raised:
        expunge.train(pictures, out=tmp_path / "run", placement=f"tiers:{place}", stages=(3, 1))
    assert "someone" not in str(raised.value).replace(str(place), "")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"who,tier\na,0\n", "does not begin with the line subject,tier: a tiers file does"),
        (b"subject,tier\n", "names no subject: a tiers file has a line for each"),
        (b"", "does not begin with the line subject,tier"),
        (b"subject,tier\n\xff,0\n", "is no CSV in UTF-8"),
    ],
)
def test_what_is_no_tiers_file_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    place = tmp_path / "tiers.csv"
    place.write_bytes(content)
    with pytest.raises(DataError, match=words):
        TierFile.read(place)
    with pytest.raises(RunError, match="is missing: the tiers file cannot be opened without it"):
        TierFile.read(tmp_path / "none.csv")


def test_names_with_commas_and_lines_are_read_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / "tiers.csv"
    place.write_text('\ufeffsubject,tier\r\n"a, b",0\r\n\r\n"c\nd",1\r\n', encoding="utf-8")
    assert TierFile.read(place).tiers == {"a, b": 0, "c\nd": 1}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stages": (3, 1, 1)}, "stages 3, 1, 1 are 3, and there are 2 slices: say the epochs of each"),
        ({"stages": (3, 1), "epochs": 9}, "stages 3, 1 are 4 epochs, and `epochs` says 9: leave `epochs` out"),
        ({"stages": (3, 0)}, r"`stages` \(3, 0\) must be whole numbers of epochs from 1, such as 9,1"),
        ({"stages": "3;1"}, "`stages` '3;1' must be whole numbers of epochs from 1, such as 9,1"),
        ({"stages": 3}, "`stages` 3 must be whole numbers of epochs from 1, such as 9,1"),
        ({"slices": 2}, "`slices` 2 with `placement` tiers:.*: each tier is a slice; leave it out"),
        ({"shards": 6}, "tier 1 has 5 subjects in training, and 6 shards need one each in every tier"),
        (
            {"placement": "subject", "stages": (3, 1)},
            "stages 3, 1 without slices: each is the epochs of a slice",
        ),
        ({"placement": "tiers"}, "placement tiers with no tiers: they come from a file of subjects; name it in"),
        ({"placement": "tears:x"}, "`placement` 'tears:x'"),
    ],
)
def test_what_goes_with_no_tiers_is_refused(
    fields: dict[str, Any], words: str, tiers: Path, pictures: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InvalidArgument, match=words):
        expunge.train(pictures, out=tmp_path / "run", **{"placement": f"tiers:{tiers}", **fields})
    assert not (tmp_path / "run").exists()


def test_a_recipe_alone_does_not_know_the_tiers(run: Run, pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="deals subjects by tiers, which are not at hand: name their file"):
        expunge.train(pictures, out=tmp_path / "run", recipe=run.recipe)
    again = train(pictures, out=tmp_path / "run", recipe=run.recipe, tiers=run.tiers)
    assert again.weights_digest == run.weights_digest


def test_no_proof_of_learning_is_made_of_a_tiered_training(run: Run, pictures: Dataset) -> None:
    with pytest.raises(UnsupportedYet, match="a proof of a training whose stages are said, or whose subjects have"):
        prove(run, data=pictures)
