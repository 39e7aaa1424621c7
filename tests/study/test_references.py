"""References and witnesses: trained once, shared with studies, found by an evaluation, refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from tests.conftest import retold, run_json

import expunge
from expunge.cli.app import commands
from expunge.core.errors import InvalidArgument, RunError, UnsupportedYet
from expunge.core.values import Undecided
from expunge.data.dataset import Dataset
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.study import references as made
from expunge.study.evaluate import evaluate
from expunge.study.grid import lay_out
from expunge.study.references import halves, halves_kept, references, witnesses
from expunge.study.store import Store
from expunge.study.study_file import read_study
from expunge.study.training_job import HALF_SEEDS, REFERENCE_SEEDS, WITNESS_SEEDS
from expunge.train.run import Run, write_run_file

RULE = "random:5%:1"
STUDY = """
references = 2
witnesses = 1
seeds = [0]
methods = ["fine-tune"]

[data.digits]
location = "digits"

[training.mlp]
model = "mlp"
model_options = { width = 8 }
epochs = 1

[forget.some]
rules = "random:5%:1"
"""
Refused = Callable[..., AbstractContextManager[object]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("company")


@pytest.fixture(scope="module")
def base(place: Path) -> Run:
    return expunge.train("digits", model="mlp", model_options={"width": 8}, epochs=1, out=place / "base")


@pytest.fixture(scope="module")
def found(base: Run) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    return references(base, RULE, count=2, jobs=1), witnesses(base, count=1, jobs=1)


def test_they_are_trainings_of_the_recipe_under_seeds_of_their_own(
    base: Run, found: tuple[tuple[Run, ...], tuple[Run, ...]], place: Path
) -> None:
    retrained, knowing = found
    assert [run.recipe.seed for run in retrained] == [REFERENCE_SEEDS, REFERENCE_SEEDS + 1]
    assert [run.recipe.seed for run in knowing] == [WITNESS_SEEDS]
    for run in (*retrained, *knowing):
        assert replace(run.recipe, seed=0) == replace(base.recipe, seed=0)
        assert run.path.is_relative_to(place / "store")
        assert not (run.path / "checkpoints").exists()
    by_hand = unlearn(base, RULE, method="retrain", out=place / "by-hand")
    assert all(np.array_equal(run.tombstones, by_hand.tombstones) for run in retrained)
    assert len(knowing[0].tombstones) == 0
    seeded = Retrain(training_seed=REFERENCE_SEEDS + 1)
    assert unlearn(base, RULE, method=seeded, out=place / "seeded").weights_digest == retrained[1].weights_digest


def test_what_was_trained_is_never_trained_again(
    base: Run, found: tuple[tuple[Run, ...], tuple[Run, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> object:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("expunge.study.local.LocalEngine.submit", never)
    assert references(base, [RULE], count=2) == found[0]
    assert references(base, RULE, count=1) == found[0][:1]
    assert witnesses(base, count=1) == found[1]


def test_a_study_on_the_same_store_shares_them(
    found: tuple[tuple[Run, ...], tuple[Run, ...]], place: Path, tmp_path: Path
) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    jobs = {job.key: job for job in lay_out(read_study(tmp_path / "study.toml")).jobs}
    kept = {entry.key for entry in Store(place / "store").entries()}
    assert kept <= set(jobs)
    assert {jobs[key].title.rpartition(", ")[2] for key in kept} == {"reference 1", "reference 2", "witness 1"}


def test_an_evaluation_finds_those_of_its_request(
    base: Run,
    found: tuple[tuple[Run, ...], tuple[Run, ...]],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: Refused,
) -> None:
    run = unlearn(base, RULE, method="fine-tune", out=place / "tuned")
    opened: list[Path] = []
    open_model = Run.model
    monkeypatch.setattr(Run, "model", lambda self, *more: (opened.append(self.path), open_model(self, *more))[1])
    evaluation = evaluate(run)
    assert [one.weights_digest for one in evaluation.references] == [one.weights_digest for one in found[0]]
    assert [one.weights_digest for one in evaluation.witnesses or ()] == [one.weights_digest for one in found[1]]
    assert set(opened) == {run.path, base.path}, "what a store holds was read when it was trained"
    again = unlearn(base, RULE, method="neggrad-plus", out=place / "again")
    opened.clear()
    beside = evaluate(again)
    assert opened == [again.path], "one model is read, and none of those that stand beside it"
    assert beside.original == evaluation.original
    assert references(run, count=2) == found[0]
    other = unlearn(base, "random:5%:2", method="fine-tune", out=place / "other")
    assert evaluate(other).references == ()
    with refused(InvalidArgument, "elsewhere keeps no runs: name the folder that `expunge references` was told"):
        evaluate(run, store=place / "elsewhere")
    by_hand = evaluate(run, found[0][1], witnesses=found[1][0], store=place / "elsewhere")
    assert len(by_hand.references) == len(by_hand.witnesses or ()) == 1


def test_a_run_that_says_it_has_the_weights_of_a_retraining_is_opened(
    base: Run, found: tuple[tuple[Run, ...], tuple[Run, ...]], place: Path, refused: Refused
) -> None:
    """What models answered is kept by their digests: a model that remembers must not pass by naming another's."""
    run = unlearn(base, RULE, method="fine-tune", out=place / "liar")
    with refused(RunError, "it was altered"):
        evaluate(retold(run, weights_digest=found[0][1].weights_digest), out=place / "lie.json")
    copied = retold(found[0][1], weights_digest=run.weights_digest)
    with refused(RunError, "it was altered"):
        evaluate(run, copied, store=place / "elsewhere", out=place / "lie.json")
    own = unlearn(base, RULE, method=Retrain(), out=place / "own")
    with refused(RunError, "it was altered"):
        evaluate(run, retold(own, weights_digest=run.weights_digest), store=place / "elsewhere")


def test_answers_that_are_gone_are_asked_for_again_and_altered_ones_are_refused(
    base: Run, found: tuple[tuple[Run, ...], tuple[Run, ...]], place: Path, refused: Refused
) -> None:
    run, beliefs = unlearn(base, RULE, method="fine-tune", out=place / "gone"), found[0][0].path / "beliefs.safetensors"
    before, arrays = evaluate(run), load_file(beliefs)
    beliefs.unlink()
    assert evaluate(run) == before
    digest = {"weights_digest": found[0][0].weights_digest}
    assert {name: values.tolist() for name, values in load_file(beliefs).items()} == {
        name: values.tolist() for name, values in arrays.items()
    }
    save_file({name: values[:-1].copy() for name, values in arrays.items()}, beliefs, digest)
    with refused(RunError, "could not be read (beliefs of", "remove it, and it is made again"):
        evaluate(run)
    save_file(arrays, beliefs, digest)
    (own,) = base.path.glob("reading-signals-*.safetensors")
    kept = load_file(own)
    for other, why in (
        ({**kept, "elsewhere.loss": kept["train.loss"]}, "'elsewhere.loss' is of no split"),
        ({**kept, "train.loss": kept["train.loss"][:-1].copy()}, "loss of"),
    ):
        save_file(other, own, {"weights_digest": base.weights_digest})
        with refused(RunError, why, "remove it, and it is made again"):
            evaluate(run)
    save_file(kept, own, {"weights_digest": run.weights_digest})
    with refused(RunError, "holds the answers of other weights"):
        evaluate(run)
    own.unlink()
    assert evaluate(run) == before


def test_half_models_are_found_where_somebody_asks_for_what_compares_with_them(
    base: Run, found: tuple[tuple[Run, ...], tuple[Run, ...]], place: Path, tmp_path: Path, refused: Refused
) -> None:
    """What the first of two lacks the second has; `evaluate` and `worst` find them in the store."""
    halved = halves(base, count=2, jobs=1)
    assert halves_kept(base) == halves(base, count=2) == halved
    assert [run.recipe.seed for run in halved] == [HALF_SEEDS, HALF_SEEDS + 1]
    rows = np.arange(len(base.units))
    assert sorted(np.concatenate([run.tombstones for run in halved])) == rows.tolist()
    assert not np.array_equal(halved[0].tombstones, rows[: len(rows) // 2])
    assert halves_kept(base, tmp_path) == ()
    run = unlearn(base, RULE, method="fine-tune", out=place / "asked")
    plain, asked = evaluate(run), evaluate(run, probes=["likelihood-ratio"], out=tmp_path / "asked.json")
    assert plain.probe("likelihood-ratio") is None
    assert asked["likelihood-ratio"].unlearned == Undecided(
        "needs 8 half models with each row and 8 without, has 1 of one kind: 14 more, at about 7 trainings, by "
        "`expunge halves`"
    )
    assert [one.digest for one in (plain, asked)] != [plain.digest] * 2
    assert (plain.verdict, plain.guarantee) == (asked.verdict, asked.guarantee)
    lira = [str(base.path), "--size", "5%", "--objective", "distant", "--proxy", "lira"]
    invoked = CliRunner().invoke(commands(), ["worst", *lira, "--out", str(tmp_path / "set.json")])
    assert isinstance(invoked.exception, InvalidArgument)
    assert "rows lie in fewer than 2 of 2 half models" in str(invoked.exception)
    listed = CliRunner().invoke(commands(), ["halves", str(base.path), "--count", "2", "--json"])
    assert [one["weights_digest"] for one in json.loads(listed.stdout)] == [run.weights_digest for run in halved]
    said = CliRunner().invoke(commands(), ["halves", str(base.path), "--count", "1"]).stdout
    assert "1 half model; evaluate --probe likelihood-ratio, which needs 16, and worst" in said
    with refused(InvalidArgument, "`count` 0 must be a whole number from 1 to 1000"):
        halves(base, count=0)


def test_half_models_of_a_run_that_forgot_hold_nobody_who_went_before(base: Run, place: Path) -> None:
    first = unlearn(base, "random:3:7", method="fine-tune", out=place / "went")
    jobs = list(islice(made._Request.of(first, "random:2:1", store=None, data=None).halves(), 2))
    lacking = [set(job.means.without or ()) for job in jobs]
    assert lacking[0] & lacking[1] == set(first.tombstones.tolist())
    assert lacking[0] | lacking[1] == set(range(len(base.units)))


def test_a_request_after_another_is_retrained_without_both(base: Run, place: Path) -> None:
    first = unlearn(base, "random:3:7", method="fine-tune", out=place / "first")
    second = unlearn(first, RULE, method="fine-tune", out=place / "second")
    (reference,) = references(second, count=1, jobs=1)
    assert np.array_equal(reference.tombstones, second.tombstones)
    (witness,) = witnesses(second, count=1, jobs=1)
    assert np.array_equal(witness.tombstones, first.tombstones)
    evaluation = evaluate(second)
    assert len(evaluation.references) == len(evaluation.witnesses or ()) == 1


def test_the_seed_of_the_original_is_left_out(place: Path) -> None:
    same = expunge.train(
        "digits", model="mlp", model_options={"width": 8}, epochs=1, seed=WITNESS_SEEDS, out=place / "same-seed"
    )
    (witness,) = witnesses(same, count=1, jobs=1, store=place / "second-store")
    assert witness.recipe.seed == WITNESS_SEEDS + 1


@pytest.mark.parametrize("count", [0, -1, 1001, 2.5, "8", True])
def test_counts_that_are_none_are_refused(base: Run, refused: Refused, count: object) -> None:
    with refused(InvalidArgument, f"`count` {count!r} must be a whole number from 1 to 1000"):
        references(base, RULE, count=count)  # type: ignore[arg-type]


def test_what_cannot_be_trained_here_again_is_refused(
    base: Run, small_run: Run, pictures: Dataset, refused: Refused, tmp_path: Path
) -> None:
    with refused(InvalidArgument, "forgot nothing so far", "say with `forget`"):
        references(base)
    with refused(
        UnsupportedYet, "handed over in memory", "by unlearn with the method retrain and another training seed"
    ):
        witnesses(small_run)
    adopted = replace(small_run, told=replace(small_run.told, operation="adopt", adopted=object()))
    for train in (witnesses, lambda run: references(run, RULE)):
        with refused(InvalidArgument, "was trained elsewhere", "adopt that with `without`"):
            train(adopted)
    secret = replace(base, told=replace(base.told, data=replace(base.told.data, salts="secret")))
    with refused(UnsupportedYet, "its salts are secret"):
        witnesses(secret)


def test_rows_that_are_gone_cannot_be_witnessed(tmp_path: Path, refused: Refused) -> None:
    """The sentence names what to do; nothing is left that would be taken for a witness."""
    rows = np.random.default_rng(0).normal(size=(120, 4))
    np.savez(tmp_path / "rows.npz", x=rows, y=np.arange(120) % 3)
    run = expunge.train(tmp_path / "rows.npz", model="mlp", epochs=1, out=tmp_path / "base")
    np.savez(tmp_path / "rows.npz", x=rows[:100], y=np.arange(100) % 3)
    with refused(RunError, "witness 1 of base could not be trained", "are not those that"):
        witnesses(run, count=1, jobs=1)
    assert not list((tmp_path / "store").glob("??/*/run.json"))


@pytest.mark.usefixtures("found")
def test_a_worker_that_is_killed_continues_to_the_same_weights(base: Run, place: Path) -> None:
    """What was begun under a key is what a worker goes on with: its folder stays until its entry stands."""
    (job,) = [*made._Request.of(base, None, store=None, data=None, needs_forgotten=False).witnesses()][:1]
    store = Store(place / "store")
    before = run_json(Run.open(store.place(job.key)))["weights_digest"]
    store.discard(job.key)
    (witness,) = witnesses(base, count=1, jobs=1)
    assert witness.weights_digest == before
    store.discard(job.key)
    half = store.place(job.key)
    (half / "model.safetensors").unlink()
    write_run_file(half, replace(witness.told, status="running", result=None))  # as a kill in its midst leaves it
    (again,) = witnesses(base, count=1, jobs=1)
    assert again.weights_digest == before
    assert (half / "model.safetensors").is_file()
