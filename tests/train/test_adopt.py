"""Models that were trained elsewhere: taken over to the byte, made to forget, measured, and never called more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import Refused, retold, run_json
from tests.train import elsewhere
from tests.train.elsewhere import FACTORY, MEAN, SCALE, STD

import expunge
from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedEver, UnsupportedYet
from expunge.core.hashing import canonical_json
from expunge.core.values import Empirical, Measurement, Supported, Undecided
from expunge.data.dataset import Dataset
from expunge.data.encoding import Encoding, Preparation
from expunge.data.parts import joined
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.hygiene.survey import survey
from expunge.measure.contract import NO_HOLDOUT
from expunge.measure.evaluate import evaluate
from expunge.methods.contract import Need
from expunge.methods.fine_tune import FineTune
from expunge.methods.unlearn import parent_of, unlearn
from expunge.models.front import Front
from expunge.report.report import report
from expunge.schedule.recipe import Recipe
from expunge.schedule.recipe_file import read_recipe
from expunge.study.rehearsal import check_rehearsable
from expunge.train.adopt import adopt
from expunge.train.run import Run
from expunge.train.training import train

GONE = 24
RULE = "subject:someone-00"
PREPARED = {"scale": SCALE, "mean": MEAN, "std": STD}
METHODS = (
    *("fine-tune", "scrub", "neggrad-plus", "saliency-unlearning", "selective-synaptic-dampening", "random-labels"),
    *("boundary-shrink", "fisher-noise", "gradient-ascent"),
)
Adopt = Callable[..., Run]


@pytest.fixture(scope="module")
def rows(pictures_like: Any) -> tuple[Dataset, Dataset]:
    """What the model was trained on, and what it never saw; the first person owns 24 rows."""
    found: Dataset = pictures_like(rows=336, people=14, seed=6)
    found = elsewhere.as_arrays(found)
    return found.take(np.arange(240)), found.take(np.arange(240, 336))


@pytest.fixture(scope="module")
def place(rows: tuple[Dataset, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as an owner has them: weights, three retrained ones, rows."""
    place = tmp_path_factory.mktemp("elsewhere")
    data, holdout = rows
    elsewhere.as_npz(data, place / "data.npz")
    elsewhere.as_npz(holdout, place / "holdout.npz")
    elsewhere.saved(elsewhere.trained(data), place / "model.safetensors")
    staying = data.take(np.arange(GONE, len(data)))
    for seed in (1, 2, 3):
        elsewhere.saved(elsewhere.trained(staying, seed), place / f"retrained-{seed}.safetensors")
    return place


@pytest.fixture(scope="module")
def adopted(place: Path) -> Run:
    return adopt(
        place / "model.safetensors",
        str(place / "data.npz"),
        model=FACTORY,
        holdout=str(place / "holdout.npz"),
        out=place / "adopted",
        epochs=12,
        batch_size=16,
        rate=0.05,
        **PREPARED,
    )


@pytest.fixture(scope="module")
def references(place: Path) -> list[Run]:
    return [
        adopt(
            place / f"retrained-{seed}.safetensors",
            str(place / "data.npz"),
            model=FACTORY,
            holdout=str(place / "holdout.npz"),
            out=place / f"retrained-{seed}",
            epochs=12,
            batch_size=16,
            rate=0.05,
            without=RULE,
            **PREPARED,
        )
        for seed in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def alone(place: Path) -> Run:
    """Adopted without holdout, and without a word on how it was trained."""
    return adopt(place / "model.safetensors", str(place / "data.npz"), model=FACTORY, out=place / "alone", **PREPARED)


def test_weights_are_kept_to_the_byte_and_rows_come_in_as_their_owner_prepares_them(
    adopted: Run, place: Path, rows: tuple[Dataset, Dataset]
) -> None:
    theirs = elsewhere.trained(rows[0])
    ours = adopted.model()
    kept = {name.removeprefix("body."): value for name, value in ours.state_dict().items()}
    assert kept.keys() == theirs.state_dict().keys()
    assert all(torch.equal(kept[name], value) for name, value in theirs.state_dict().items())
    pixels = torch.from_numpy(rows[1].content["x"])[:, None]
    assert torch.allclose(ours(pixels), theirs(elsewhere.prepared(rows[1])), atol=1e-6)
    assert adopted.told.operation == "adopt"
    assert adopted.told.trajectory == "none"
    assert not adopted.told.recorded
    assert not adopted.told.replayable
    assert adopted.guarantee == Empirical()
    assert "it answers 240 of 240 training rows as they are labelled (100.0%)" in (adopted.told.notices or ())


def test_everybody_was_trained_on_and_the_holdout_is_dealt_one_to_three(
    adopted: Run, rows: tuple[Dataset, Dataset]
) -> None:
    found = adopted.data()
    assert {split: len(part) for split, part in found.items()} == {
        Split.TRAIN: 240,
        Split.CALIBRATION: 24,
        Split.HOLDOUT: 72,
    }
    assert np.array_equal(found[Split.TRAIN].content["x"], rows[0].content["x"])
    others = {image.tobytes() for image in rows[1].content["x"]}
    assert all(image.tobytes() in others for image in found[Split.HOLDOUT].content["x"])


def test_a_file_a_state_dict_and_a_module_are_one_model(
    adopted: Run, rows: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    data, holdout = rows
    model = elsewhere.trained(data)
    for name, weights in {"state": model.state_dict(), "module": model}.items():
        found = expunge.adopt(
            weights, data, model=FACTORY, holdout=holdout, out=tmp_path / name, epochs=12, batch_size=16, **PREPARED
        )
        assert found.weights_digest == adopted.weights_digest
        assert found.root == adopted.root
        assert found.lineage_seed == adopted.lineage_seed
        with pytest.raises(DataError, match="adopted with data in memory"):
            found.data()
        together = joined(data, holdout)
        assert found.data(together)[Split.HOLDOUT].present.all()
        run = unlearn(found, RULE, method="fine-tune", out=tmp_path / f"{name}-forgot", data=together)
        assert len(run.tombstones) == GONE


def test_rows_in_memory_as_people_hold_them(rows: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    """Pairs of arrays are the data set that their file is; a frame may say who was trained on."""
    model = elsewhere.trained(rows[0], epochs=1)
    pairs = [(part.content["x"], part.labels) for part in rows]
    for name, (x, y) in zip(("data", "holdout"), pairs, strict=True):
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    held = adopt(model, pairs[0], model=FACTORY, holdout=pairs[1], out=tmp_path / "held")
    filed = adopt(model, tmp_path / "data.npz", model=FACTORY, holdout=tmp_path / "holdout.npz", out=tmp_path / "filed")
    assert held.told.data.roots == filed.told.data.roots
    whole = tuple(np.concatenate(parts) for parts in zip(*pairs, strict=True))
    assert held.data(whole)[Split.HOLDOUT].present.all()
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(30.0), "won": [0, 1] * 15, "part": ["train"] * 20 + ["test"] * 10})
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2))
    run = adopt(linear, frame, label="won", model="mlp", split_column="part", out=tmp_path / "frame")
    counts = run.told.data.counts
    assert (counts.train, counts.calibration, counts.holdout) == (20, 2, 8)
    assert len(run.data(frame.drop(columns="part"))[Split.TRAIN]) == 20


def test_the_same_command_again_gives_the_same_run_and_another_is_refused(
    adopted: Run, place: Path, refused: Refused
) -> None:
    same = {"model": FACTORY, "holdout": str(place / "holdout.npz"), "out": adopted.path, **PREPARED}
    word = {"epochs": 12, "batch_size": 16, "rate": 0.05}
    before = (adopted.path / "run.json").read_bytes()
    again = adopt(place / "model.safetensors", str(place / "data.npz"), **same, **word)
    assert again.weights_digest == adopted.weights_digest
    assert (adopted.path / "run.json").read_bytes() == before
    with refused(RunError, "holds another run (recipe epochs 12 there, 3 asked for)"):
        adopt(place / "model.safetensors", str(place / "data.npz"), **same, **{**word, "epochs": 3})
    with refused(RunError, "holds another run (told weights"):
        adopt(place / "retrained-1.safetensors", str(place / "data.npz"), **same, **word)


@pytest.fixture(scope="module")
def forgot(adopted: Run, place: Path) -> dict[str, Run]:
    return {name: unlearn(adopted, RULE, method=name, out=place / name) for name in METHODS}


def test_approximate_methods_work_and_earn_nothing_above_empirical(forgot: dict[str, Run], adopted: Run) -> None:
    for run in forgot.values():
        assert run.guarantee == Empirical()
        assert run.told.adopted == adopted.told.adopted
        assert len(run.tombstones) == GONE
        assert run.parent.weights_digest == adopted.weights_digest
    twice = unlearn(forgot["scrub"], "subject:someone-01", method="fine-tune", out=adopted.path.parent / "twice")
    assert twice.guarantee == Empirical()
    assert twice.told.adopted == adopted.told.adopted


def test_references_of_the_owners_and_nowhere_the_word(
    forgot: dict[str, Run], adopted: Run, references: list[Run], tmp_path: Path
) -> None:
    for reference in references:
        assert len(reference.tombstones) == GONE
        assert reference.root == adopted.root
    assert len({reference.lineage_seed for reference in references}) == 3
    evaluations = [evaluate(run, [reference.path for reference in references]) for run in forgot.values()]
    for evaluation in evaluations:
        assert len(evaluation.references) == 3
        assert isinstance(evaluation["test-accuracy"].unlearned, Measurement)
        assert isinstance(evaluation["loss-threshold"].unlearned, Measurement)
        assert isinstance(evaluation["example-steps"].original, Undecided)
        assert not isinstance(evaluation.verdict, Supported)
    page = report([run.path for run in forgot.values()], out=tmp_path / "page.html", original=adopted.path)
    shown = page.read_text(encoding="utf-8")
    assert "The model was trained elsewhere" in shown
    assert "no longer matches" not in shown
    report([adopted.path, *(reference.path for reference in references)], out=tmp_path / "models.html")
    written = [shown, (tmp_path / "models.html").read_text(encoding="utf-8")]
    for run in (adopted, *forgot.values(), *references):
        written += [file.read_text(encoding="utf-8") for file in run.path.glob("*.json*")]
    assert not [text for text in written if "Exact" in text]


def test_a_reference_is_judged_itself(adopted: Run, references: list[Run], tmp_path: Path) -> None:
    """An owner's retraining is a run like any other: what it was trained without is what it forgot."""
    first, *others = references
    found = evaluate(first, others, original=adopted, out=tmp_path / "first.json")
    assert found.method is None
    assert len(found.references) == 2


def test_what_an_owner_does_not_tell_of_a_reference_is_no_other_recipe(
    forgot: dict[str, Run], place: Path, refused: Refused, tmp_path: Path
) -> None:
    """Epochs and rate may stay unsaid; how rows are prepared may not differ. And nothing is retrained by word alone."""
    beside: dict[str, Any] = {"model": FACTORY, "holdout": str(place / "holdout.npz"), "without": [RULE]}
    scrubbed, data = forgot["scrub"], str(place / "data.npz")
    silent = adopt(place / "retrained-1.safetensors", data, out=tmp_path / "silent", **beside, **PREPARED)
    assert len(evaluate(scrubbed, [silent]).references) == 1
    other = adopt(
        place / "retrained-1.safetensors", data, out=tmp_path / "other", **beside, **{**PREPARED, "scale": SCALE / 2}
    )
    with refused(InvalidArgument, "has another model or preparation of rows"):
        evaluate(scrubbed, [other])
    same = adopt(scrubbed.model().body, data, out=tmp_path / "same", **beside, **PREPARED)
    assert same.weights_digest == scrubbed.weights_digest
    found = evaluate(scrubbed, [same])
    assert found.same_as is None
    assert not isinstance(found.verdict, Supported)


def test_references_come_from_where_the_model_came_from(
    forgot: dict[str, Run], references: list[Run], small_run: Run, refused: Refused, pictures: Dataset, tmp_path: Path
) -> None:
    scrubbed = forgot["scrub"]
    with refused(InvalidArgument, "is no retraining by the owner", "adopt that with `without`"):
        evaluate(scrubbed, [forgot["fine-tune"]])
    ours = unlearn(small_run, RULE, out=tmp_path / "ours", data=pictures)
    odd = retold(references[0], dataset_root=ours.told.dataset_root, tombstones=list(ours.told.tombstones))
    with refused(InvalidArgument, "was trained elsewhere", "retrain the run's own recipe"):
        evaluate(ours, [odd], data=pictures)


def test_rows_that_are_prepared_otherwise_show_at_once(place: Path, tmp_path: Path) -> None:
    other = adopt(
        place / "model.safetensors",
        str(place / "data.npz"),
        model=FACTORY,
        out=tmp_path / "other",
        scale=-SCALE,
        std=STD,
    )
    (said,) = (notice for notice in other.told.notices or () if "as they are labelled" in notice)
    assert "of 240 training rows" in said
    assert "100.0%" not in said
    assert said.endswith(
        "if its owner knows of more, `scale`, `mean`, `std`, or the order of columns or classes, are others"
    )


def test_without_a_holdout_nothing_stands_in_for_it(alone: Run, place: Path, tmp_path: Path) -> None:
    assert "no holdout" in " ".join(alone.told.notices or ())
    found = alone.data()
    assert len(found[Split.TRAIN]) == 240
    assert len(found[Split.HOLDOUT]) == len(found[Split.CALIBRATION]) == 0
    run = unlearn(alone, RULE, method="scrub", out=tmp_path / "scrub")
    references = [
        adopt(
            place / f"retrained-{seed}.safetensors",
            str(place / "data.npz"),
            model=FACTORY,
            out=tmp_path / str(seed),
            without=RULE,
            **PREPARED,
        )
        for seed in (1, 2, 3)
    ]
    evaluation = evaluate(run, references)
    for name in ("test-accuracy", "loss-threshold", "membership-classifier"):
        assert evaluation[name].unlearned == evaluation[name].original == Undecided(NO_HOLDOUT)
        assert evaluation[name].references == (Undecided(NO_HOLDOUT),) * 3
        assert evaluation[name].verdict == Undecided(NO_HOLDOUT)
    assert evaluation["average-gap"].unlearned == Undecided(f"test-accuracy: {NO_HOLDOUT}")
    assert isinstance(evaluation["mean-margin"].unlearned, Measurement)
    assert isinstance(evaluation["retain-accuracy"].unlearned, Measurement)
    assert evaluation.trial.holdout == evaluation.trial.attack == evaluation.trial.scored == 0
    assert isinstance(evaluation.verdict, Undecided)
    assert evaluation.verdict.reason.startswith(f"test-accuracy: {NO_HOLDOUT}")
    assert "no holdout" in report([run.path], out=tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_budget_is_said_in_epochs_where_nobody_told_how_many_there_were(
    alone: Run, adopted: Run, tmp_path: Path
) -> None:
    unsaid = unlearn(alone, RULE, method="fine-tune", out=tmp_path / "unsaid")
    assert unsaid.forgetting.allowed == 240
    said = unlearn(alone, RULE, method="fine-tune", budget=0.25, out=tmp_path / "said")
    assert said.forgetting.allowed == 60
    assert said.told.training_example_steps == 240
    told = unlearn(adopted, RULE, method="fine-tune", out=tmp_path / "told")
    assert told.forgetting.allowed == pytest.approx(0.1 * 12 * 240)


def test_what_nobody_handed_over_is_refused_with_what_would_earn_more(
    adopted: Run, alone: Run, tmp_path: Path, refused: Refused
) -> None:
    for name in ("exact-replay", "retrain"):
        with refused(UnsupportedEver, repr(name), "trained elsewhere", "nobody knows who sat", "`expunge train`"):
            unlearn(adopted, RULE, method=name, out=tmp_path / "none")
    with refused(UnsupportedEver, "a certificate covers a training", "`expunge train`"):
        unlearn(adopted, RULE, method="certified-logistic", out=tmp_path / "none")
    for name in ("bad-teacher", "retrain-last-layers", "neural-tangent-kernel"):
        with refused(UnsupportedEver, "the weights that its training began with", "`expunge train`"):
            unlearn(adopted, RULE, method=name, out=tmp_path / "none")
    assert not (tmp_path / "none").exists()

    class Calibrated(FineTune):
        name = "calibrated"
        needs = FineTune.needs | {Need.CALIBRATION}

    with refused(UnsupportedEver, "it needs calibration rows, and no holdout was given", "`holdout`"):
        unlearn(alone, RULE, method=Calibrated(), out=tmp_path / "none")
    assert unlearn(adopted, RULE, method=Calibrated(), out=tmp_path / "calibrated").guarantee == Empirical()
    with refused(UnsupportedYet, "tuning on", "trained elsewhere"):
        check_rehearsable(adopted, adopted.data(), np.zeros(0, dtype=np.int64))
    assert parent_of(adopted).weights_digest == adopted.weights_digest
    with refused(InvalidArgument, "was adopted, it forgot nothing"):
        _ = adopted.forget_set
    with refused(InvalidArgument, "was adopted, it has no parent"):
        _ = adopted.parent


def test_forgotten_rows_may_be_gone_from_the_data_and_no_others(adopted: Run, place: Path, tmp_path: Path) -> None:
    """Both places are read again, and each row is held against its leaf."""
    run = unlearn(adopted, RULE, method="fine-tune", out=tmp_path / "forgot")
    with np.load(place / "data.npz") as kept:
        parts = {name: kept[name] for name in kept}
    np.savez(tmp_path / "left.npz", **{name: values[GONE:] for name, values in parts.items()})
    found = run.data(str(tmp_path / "left.npz"))
    assert not found[Split.TRAIN].present[:GONE].any()
    assert found[Split.TRAIN].present[GONE:].all()
    assert found[Split.HOLDOUT].present.all()
    np.savez(tmp_path / "fewer.npz", **{name: values[GONE + 1 :] for name, values in parts.items()})
    with pytest.raises(DataError, match="only rows that were already forgotten may be missing"):
        run.data(str(tmp_path / "fewer.npz"))


def test_hygiene_says_what_the_owner_still_has(adopted: Run, forgot: dict[str, Run]) -> None:
    found = survey(forgot["scrub"])
    assert any("the file of weights that was adopted" in caveat for caveat in found.caveats)
    parent = next(place for place in found.places if place.path.resolve() == adopted.path.resolve())
    assert [holding.path.name for holding in parent.holdings] == ["model.safetensors"]


def test_a_column_says_who_was_trained_on(tmp_path: Path, refused: Refused) -> None:
    generator = np.random.default_rng(0)
    marks = ["train"] * 60 + ["calibration"] * 5 + ["holdout"] * 10 + ["test"] * 8
    lines = [
        f"{a:.6f},{b:.6f},{int(a > b)},{mark}"
        for (a, b), mark in zip(generator.normal(size=(83, 2)), marks, strict=True)
    ]
    table = tmp_path / "rows.csv"
    table.write_text("a,b,won,part\n" + "\n".join(lines) + "\n", encoding="utf-8")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 128), torch.nn.ReLU(), torch.nn.Linear(128, 2))
    found = adopt(
        model, str(table), label="won", model="mlp", split_column="part", mean=(0.5, 1.0), out=tmp_path / "run"
    )
    counts = found.told.data.counts
    assert (counts.train, counts.calibration, counts.holdout) == (60, 5 + 2, 10 + 6)
    read = found.data()
    assert [column.name for column in read[Split.TRAIN].columns] == ["a", "b"]
    assert read[Split.TRAIN].ids == tuple(f"row-{row}" for row in range(60))
    row = torch.tensor([[2.0, 3.0]])
    assert torch.allclose(found.model()(row), model(row - torch.tensor([0.5, 1.0])), atol=1e-6)
    with refused(InvalidArgument, "`split_column` 'where' is no content column", "name one of image"):
        adopt(model, "digits", model="mlp", split_column="where", out=tmp_path / "none")
    with refused(InvalidArgument, "has no column 'where'", "a, b"):
        adopt(model, str(table), label="won", model="mlp", split_column="where", out=tmp_path / "none")
    with refused(DataError, "`split_column` 'part' holds 'valid'", "train, calibration, holdout, or test"):
        table.write_text(table.read_text(encoding="utf-8").replace(",calibration", ",valid"), encoding="utf-8")
        adopt(model, str(table), label="won", model="mlp", split_column="part", out=tmp_path / "none")


def test_what_was_trained_on_is_no_holdout(
    place: Path, rows: tuple[Dataset, Dataset], tmp_path: Path, refused: Refused
) -> None:
    weights, data = place / "model.safetensors", str(place / "data.npz")
    with refused(DataError, "240 of 240 rows of `holdout` stand in the data too", "take these rows out"):
        adopt(weights, data, model=FACTORY, holdout=data, out=tmp_path / "none", **PREPARED)
    relabelled = replace(rows[0], labels=(rows[0].labels + 1) % len(rows[0].classes))
    with refused(DataError, "240 of 240 rows of `holdout` stand in the data too, with the same content"):
        adopt(weights, rows[0], model=FACTORY, holdout=relabelled, out=tmp_path / "none", **PREPARED)
    named = [replace(part, ids=tuple(f"{row % 100}" for row in range(len(part))), positional=False) for part in rows]
    with refused(DataError, "ids of `holdout` stand in the data too"):
        adopt(
            weights, named[0].take(np.arange(100)), model=FACTORY, holdout=named[1], out=tmp_path / "none", **PREPARED
        )
    with refused(DataError, "must both have a column of ids, or neither"):
        adopt(weights, rows[0], model=FACTORY, holdout=named[1], out=tmp_path / "none", **PREPARED)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], tuple[str, ...]]] = {
    "a pickle": (
        {"weights": "model.pt"},
        InvalidArgument,
        ("model.pt is a pickle", "never read", "torch import load", "weights_only=True", "model.safetensors'"),
    ),
    "another ending": (
        {"weights": "data.npz"},
        InvalidArgument,
        ("must be a file of weights that ends in .safetensors",),
    ),
    "no file": (
        {"weights": "nothing.safetensors"},
        InvalidArgument,
        ("does not exist", "check the path of the weights"),
    ),
    "another width": (
        {"model_options": {"width": 5}},
        InvalidArgument,
        ("do not fit model", "'0.weight' is (6, 1, 3, 3) float32, the model has (5, 1, 3, 3) float32"),
    ),
    "another factory": (
        {"model": "mlp"},
        InvalidArgument,
        ("do not fit model 'mlp'", "are missing ('3.weight', '3.bias')", "are unknown", "name the factory"),
    ),
    "no epochs": ({"epochs": 0}, InvalidArgument, ("epochs 0 must be a whole number from 1",)),
    "a scale of nothing": ({"scale": 0.0}, InvalidArgument, ("`scale` 0 must be a finite number other than 0",)),
    "a negative deviation": ({"std": (0.5, -1.0)}, InvalidArgument, ("`std` 0.5,-1 must be finite numbers above 0",)),
    "two means for one channel": (
        {"mean": (0.1, 0.2)},
        InvalidArgument,
        ("`mean` has 2 values, rows have 1 channels",),
    ),
    "a few rows only": (
        {"data": Source(location="digits", rows=20)},
        InvalidArgument,
        ("`rows` 20 would leave out rows that the model was trained on", "`split_column`"),
    ),
    "a name beside a source": (
        {"data": Source(location="digits"), "label": "y"},
        InvalidArgument,
        ("`label` is said beside a Source, which says itself how its rows are read",),
    ),
    "a seed": ({"split_seed": -1}, InvalidArgument, ("split seed -1 must lie between",)),
    "nobody left": ({"without": "random:240:1"}, InvalidArgument, ("random count 240 must be a whole number",)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(name: str, place: Path, tmp_path: Path, refused: Any) -> None:
    changes, kind, parts = REFUSED[name]
    given: dict[str, Any] = {"model": FACTORY, "holdout": str(place / "holdout.npz"), **PREPARED, **changes}
    weights, data = given.pop("weights", "model.safetensors"), given.pop("data", str(place / "data.npz"))
    with refused(kind, *parts):
        adopt(place / weights, data, out=tmp_path / "none", **given)
    assert not (tmp_path / "none").exists()


def test_weights_in_memory_are_tensors_and_finite(
    rows: tuple[Dataset, Dataset], tmp_path: Path, refused: Refused
) -> None:
    state: dict[str, Any] = dict(elsewhere.trained(rows[0], epochs=1).state_dict())
    with refused(InvalidArgument, "'0.bias' of the weights is a list, no tensor"):
        adopt({**state, "0.bias": [1.0]}, rows[0], model=FACTORY, out=tmp_path / "none")
    with pytest.raises(RunError, match="not finite"):
        adopt({**state, "0.bias": state["0.bias"] * torch.nan}, rows[0], model=FACTORY, out=tmp_path / "none")
    wrapped = {f"module.{name}": value for name, value in state.items()}
    with refused(InvalidArgument, "names behind 'module.' come from a wrapper", "model.module.state_dict()"):
        adopt(wrapped, rows[0], model=FACTORY, out=tmp_path / "none")
    with refused(InvalidArgument, "of the data and `holdout` one is a place and the other rows in memory"):
        adopt(state, rows[0], model=FACTORY, holdout="digits", out=tmp_path / "none")


def test_of_tied_tensors_one_name_will_do(rows: tuple[Dataset, Dataset], tmp_path: Path, refused: Refused) -> None:
    model = elsewhere.tied((1, 8, 8), 3)
    state = model.state_dict()
    name = "tests.train.elsewhere:tied"
    whole = adopt(state, rows[0], model=name, out=tmp_path / "whole")
    one = adopt({key: state[key] for key in state if key != "down.weight"}, rows[0], model=name, out=tmp_path / "one")
    assert one.weights_digest == whole.weights_digest
    with refused(InvalidArgument, "down.weight, up.weight are one tensor"):
        adopt({**state, "up.weight": state["up.weight"] + 1}, rows[0], model=name, out=tmp_path / "none")


def test_columns_that_we_would_encode_are_refused(tmp_path: Path, refused: Refused) -> None:
    table = tmp_path / "people.csv"
    table.write_text("age,town,won\n" + "31,Ulm,1\n40,Bonn,0\n" * 10, encoding="utf-8")
    with refused(UnsupportedYet, "column 'town' holds categories", "as the model is given them, as numbers"):
        adopt({}, str(table), label="won", model="mlp", out=tmp_path / "none")


def test_no_run_json_of_an_adopted_model_claims_more(adopted: Run, forgot: dict[str, Run], refused: Refused) -> None:
    for run in (adopted, forgot["scrub"]):
        for guarantee in ({"kind": "exact"}, {"kind": "certified", "epsilon": 1.0, "delta": 1e-5}):
            with refused(DataError, "guarantee is higher than a model that was trained elsewhere can have"):
                retold(run, guarantee=guarantee)
    told = run_json(adopted)
    del told["adopted"]
    (adopted.path.parent / "odd").mkdir(exist_ok=True)
    (adopted.path.parent / "odd" / "run.json").write_text(json.dumps(told), encoding="utf-8")
    with refused(DataError, "adopted a model of which nothing is told"):
        Run.open(adopted.path.parent / "odd")


def test_a_preparation_is_part_of_the_recipe_and_none_is_left_out(adopted: Run, small_run: Run) -> None:
    assert "preparation" not in small_run.recipe.as_json()["inputs"]
    inputs = adopted.recipe.as_json()["inputs"]
    assert inputs["preparation"] == {"scale": SCALE, "mean": [MEAN], "std": [STD]}
    assert Recipe.from_json(adopted.recipe.as_json()) == adopted.recipe
    assert read_recipe(canonical_json(adopted.recipe.as_json())) == adopted.recipe
    other = replace(adopted.recipe, inputs=replace(adopted.recipe.inputs, preparation=Preparation(SCALE)))
    assert other.digest != adopted.recipe.digest
    with pytest.raises(DataError, match="std"):
        Recipe.from_json(
            {
                **adopted.recipe.as_json(),
                "inputs": {**inputs, "preparation": {"scale": 1.0, "mean": [0.0], "std": [0.0]}},
            }
        )


def test_a_prepared_front_says_how_to_come_back(adopted: Run) -> None:
    encoding: Encoding = adopted.recipe.inputs
    front = Front(encoding)
    assert not list(front.state_dict())
    rows = torch.arange(128).reshape(2, 1, 8, 8)
    centre, unit = front.scale_of_rows()
    assert torch.allclose(centre + unit * front(rows), rows.float(), atol=1e-4)
    assert encoding.standardised == 0


def test_a_training_here_has_no_preparation(pictures: Dataset, adopted: Run, tmp_path: Path, refused: Refused) -> None:
    """Forgotten rows may have had a part in a mean: whoever trains without them would still carry it."""
    for fields in ({"preparation": Preparation(SCALE)}, {"model": "mlp", "preparation": Preparation()}):
        with refused(UnsupportedEver, "a preparation is of models that were trained elsewhere"):
            train(pictures, out=tmp_path / "run", **fields)
    with refused(UnsupportedEver, "a preparation is of models that were trained elsewhere"):
        train(adopted.data()[Split.TRAIN], out=tmp_path / "run", recipe=adopted.recipe)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", "a"),
        ("mean", "a"),
        ("mean", [0.0, "b"]),
        ("std", True),
        ("rate", "fast"),
        ("out", 3),
        ("split_seed", "x"),
        ("split_column", 4),
        ("without", 3),
        ("model_options", 3),
        ("device", 3),
        ("weights", 3),
        ("weights", [1]),
    ],
)
def test_a_value_of_another_kind_is_one_sentence(name: str, value: Any, tmp_path: Path) -> None:
    """Before anything is read, as ``train`` refuses it."""
    given: dict[str, Any] = {"weights": {}, "model": "mlp", "out": tmp_path / "run", name: value}
    with pytest.raises(InvalidArgument, match=f"^`{name}` .* must be "):
        adopt(given.pop("weights"), "none.npz", **given)
    assert not (tmp_path / "run").exists()
