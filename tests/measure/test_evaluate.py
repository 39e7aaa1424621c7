"""Evaluations of real runs, from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import run_json

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.hashing import canonical_json, sha256
from expunge.core.values import Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.measure import PROBES
from expunge.measure.evaluate import evaluate, holdout_rows, trial_of
from expunge.measure.judgement import BY_RECORD, SAME, judge
from expunge.measure.readings import Kept
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.document import read_document, seal, write_document
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.schedule.recipe import Optimiser
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import train

RULE = "random:20%:3"


@pytest.fixture(scope="module")
def noisy(pictures_like: Any) -> Dataset:
    """Pictures of which a third carry a wrong label: there is something to remember."""
    dataset: Dataset = pictures_like(rows=400, people=40, seed=4)
    labels = dataset.labels.copy()
    generator = np.random.default_rng(0)
    wrong = generator.random(400) < 0.33
    labels[wrong] = (labels[wrong] + generator.integers(1, 3, int(wrong.sum()))) % 3
    return replace(dataset, labels=labels)


@pytest.fixture(scope="module")
def runs(noisy: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("evaluate")
    base = train(
        noisy,
        out=folder / "base",
        model="mlp",
        epochs=80,
        batch_size=32,
        model_options={"width": 64},
        optimiser=Optimiser(rate=0.1, weight_decay=0.0),
    )
    references = [
        unlearn(base, RULE, method=Retrain(training_seed=seed), out=folder / f"r{seed}", data=noisy)
        for seed in (None, 1, 2, 3, 4, 5, 6)
    ]
    return {
        "folder": folder,
        "base": base,
        "references": references,
        "witnesses": [
            train(noisy, out=folder / f"w{seed}", recipe=replace(base.recipe, seed=seed)) for seed in (21, 22)
        ],
        "exact": unlearn(base, RULE, method="exact-replay", out=folder / "exact", data=noisy),
        "fine-tune": unlearn(base, RULE, method="fine-tune", out=folder / "fine-tune", data=noisy),
    }


def probe(content: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in content["probes"] if item["name"] == name)


def test_the_exact_run_has_the_retrained_runs_every_value(runs: dict[str, Any], noisy: Dataset) -> None:
    found = evaluate(runs["exact"], runs["references"], data=noisy)
    content = to_plain(found)
    twin = to_plain(evaluate(runs["references"][0], runs["references"][1:], data=noisy))
    for item, other in zip(content["probes"], twin["probes"], strict=True):
        if item["role"] != "cost":
            assert item["unlearned"] == other["unlearned"]
    assert content["guarantee"] == {"kind": "exact"}
    assert content["same_as"] == runs["exact"].weights_digest
    assert content["verdict"] == {"verdict": "supported", "p": 0.0, "detail": SAME}
    for altered in ({"verdict": Undecided(BY_RECORD)}, {"weights_digest": "0" * 64}, {"same_as": "0" * 64}):
        with pytest.raises(DataError, match="same_as is of other weights or not supported: it was altered"):
            read_document(Evaluation, write_document(seal(replace(found, **altered))).encode(), "evaluation.json")
    assert len(content["references"]) == 6
    assert any("has the original's own seed: it serves to compare bits" in notice for notice in content["notices"])


def test_an_exact_run_without_its_twin_is_exact_by_its_record(runs: dict[str, Any], noisy: Dataset) -> None:
    found = evaluate(runs["exact"], runs["references"][1:], witnesses=runs["witnesses"], data=noisy)
    assert found.verdict == Undecided(BY_RECORD)
    assert found.same_as is None
    assert found.answer.startswith("Exact by its record")


def test_fine_tuning_leaves_what_was_remembered(runs: dict[str, Any], noisy: Dataset) -> None:
    """On wrong labels the original's memory is plain: it is refuted, and so is a short fine-tuning."""
    found = evaluate(runs["fine-tune"], runs["references"], witnesses=runs["witnesses"], data=noisy)
    content = to_plain(found)
    assert found.memory is not None
    assert found.memory.left > 0.5
    assert found.answer == f"No: about {found.memory.left:.0%} of the memory is left."
    assert found.memory.stands_out > 0
    assert min(shown.stands_out for shown in found.examples if shown.stands_out is not None) <= 0.05
    original, reference = probe(content, "mean-margin")["original"], probe(content, "mean-margin")["reference_mean"]
    assert original["value"] > reference + 1
    assert content["verdict"]["verdict"] == "refuted"
    assert content["guarantee"]["passed"] == []
    assert any("untuned" in notice for notice in content["notices"])


def test_values_by_hand(runs: dict[str, Any], noisy: Dataset) -> None:
    run: Run = runs["fine-tune"]
    content = to_plain(evaluate(run, runs["references"], data=noisy))
    rows = run.data(noisy)
    model = run.model()

    def accuracy(dataset: Dataset, slots: np.ndarray) -> float:
        inputs = torch.from_numpy(run.recipe.inputs.encode(dataset))[slots]
        with torch.no_grad():
            return float((model(inputs).argmax(1).numpy() == dataset.labels[slots]).mean())

    slots = run.forget_set.slots
    retained = np.setdiff1d(np.arange(len(rows[Split.TRAIN])), slots)
    assert probe(content, "forget-accuracy")["unlearned"]["value"] == pytest.approx(accuracy(rows[Split.TRAIN], slots))
    assert probe(content, "retain-accuracy")["unlearned"]["value"] == pytest.approx(
        accuracy(rows[Split.TRAIN], retained)
    )
    everything = np.arange(len(rows[Split.HOLDOUT]))
    assert probe(content, "test-accuracy")["unlearned"]["value"] == pytest.approx(
        accuracy(rows[Split.HOLDOUT], everything)
    )
    assert content["trial"]["forget"] == len(slots)
    assert content["trial"]["attack"] + content["trial"]["scored"] == content["trial"]["holdout"]
    assert probe(content, "example-steps")["unlearned"]["value"] == run_json(run)["example_steps"]


def test_the_same_evaluation_twice_is_the_same_bytes(runs: dict[str, Any], noisy: Dataset, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        evaluate(runs["fine-tune"], runs["references"], data=noisy, out=tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    content = json.loads((tmp_path / "a.json").read_text())
    digest = content.pop("digest")
    assert digest == sha256(b"expunge/evaluation/1", canonical_json(content)).hex()


def test_references_must_be_honest_retrainings_of_the_same_request(
    runs: dict[str, Any], noisy: Dataset, tmp_path: Path
) -> None:
    other = unlearn(runs["base"], "random:3:9", method="retrain", out=tmp_path / "other", data=noisy)
    with pytest.raises(InvalidArgument, match="forgot other examples"):
        evaluate(runs["exact"], [other], data=noisy)
    with pytest.raises(InvalidArgument, match="is the run itself"):
        evaluate(runs["exact"], [runs["exact"]], data=noisy)
    with pytest.raises(InvalidArgument, match="has forgotten 64 rows, before this request 0 were gone"):
        evaluate(runs["exact"], [], original=runs["references"][1], data=noisy)
    with pytest.raises(InvalidArgument, match=r"has other weights than the run that .* came from"):
        evaluate(runs["fine-tune"], [], original=runs["witnesses"][0], data=noisy)
    with pytest.raises(InvalidArgument, match="was made by 'fine-tune'"):
        evaluate(runs["exact"], [runs["fine-tune"]], data=noisy)
    longer = train(noisy, out=tmp_path / "longer", model="mlp", epochs=2)
    retrained = unlearn(longer, RULE, method="retrain", out=tmp_path / "retrained", data=noisy)
    with pytest.raises(InvalidArgument, match="only the seed may differ"):
        evaluate(runs["exact"], [retrained], data=noisy)
    with pytest.raises(InvalidArgument, match="is a training, it forgot nothing"):
        evaluate(runs["base"], runs["references"], data=noisy)


def test_two_references_of_one_lineage_count_once(runs: dict[str, Any], noisy: Dataset, tmp_path: Path) -> None:
    again = unlearn(runs["base"], RULE, method=Retrain(training_seed=1), out=tmp_path / "again", data=noisy)
    content = to_plain(evaluate(runs["fine-tune"], [runs["references"][1], again], data=noisy))
    assert len(content["references"]) == 1
    assert any("share a lineage" in notice for notice in content["notices"])


def test_witnesses_must_be_trainings_of_the_same_recipe_with_everybody(
    runs: dict[str, Any], noisy: Dataset, tmp_path: Path
) -> None:
    run, references = runs["fine-tune"], runs["references"]

    def refused(witness: Run, match: str) -> None:
        with pytest.raises(InvalidArgument, match=match):
            evaluate(run, references, witnesses=[witness], data=noisy)

    refused(runs["base"], "shares its seed with .*base, and with it luck that would look like memory")
    same = train(noisy, out=tmp_path / "same", recipe=replace(runs["base"].recipe, seed=3))
    refused(same, "shares its seed with .*r3")
    refused(references[1], "was trained without 64 rows, .* without 0: a witness holds the forget set")
    refused(
        train(noisy, out=tmp_path / "longer", model="mlp", epochs=2), "has another recipe: only the seed may differ"
    )
    other = train(noisy.take(np.arange(300)), out=tmp_path / "other", recipe=replace(runs["base"].recipe, seed=9))
    refused(other, "was trained on other data")
    with pytest.raises(InvalidArgument, match="`witnesses` 3 must be a list of runs, trained with the forget set"):
        evaluate(run, references, witnesses=3, data=noisy)  # type: ignore[arg-type]


def test_forgotten_rows_must_be_there_to_be_measured(runs: dict[str, Any], noisy: Dataset) -> None:
    run: Run = runs["exact"]
    train_rows = run.data(noisy)[Split.TRAIN]
    gone = {train_rows.ids[slot] for slot in run.forget_set.slots[:4]}
    left = noisy.take(np.array([row for row, name in enumerate(noisy.ids) if name not in gone]))
    with pytest.raises(DataError, match="4 of 64 forgotten rows are no longer in the data"):
        evaluate(run, runs["references"], data=left)


def test_holdout_rows_of_forgotten_people_are_left_out(noisy: Dataset, tmp_path: Path) -> None:
    base = train(noisy, out=tmp_path / "base", model="mlp", epochs=1)
    people = [f"subject:someone-{number:02d}" for number in range(8)]
    child = unlearn(base, people, out=tmp_path / "child", data=noisy)
    content = to_plain(evaluate(child, [], data=noisy))
    holdout = child.data(noisy)[Split.HOLDOUT]
    forgotten = {f"someone-{number:02d}" for number in range(8)}
    expected = sum(subject in forgotten for subject in holdout.subjects)
    assert content["trial"]["excluded_holdout"] == expected > 0
    assert content["trial"]["holdout"] == len(holdout) - expected


def test_holdout_rows_that_are_forgotten_rows_again_are_left_out(noisy: Dataset) -> None:
    """Under another name and another label: nobody has to tell a row from itself."""
    train_rows, others = noisy.take(np.arange(100)), noisy.take(np.arange(100, 140))
    (pixels,) = noisy.content
    again = others.content[pixels].copy()
    again[[3, 8]], again[5] = train_rows.content[pixels][[11, 12]], train_rows.content[pixels][40]
    holdout = replace(others, content={pixels: again}, subjects=tuple(f"stranger-{row}" for row in range(40)))
    assert np.setdiff1d(np.arange(40), holdout_rows(train_rows, holdout, np.array([11, 12]))).tolist() == [3, 8]
    gone = replace(train_rows, present=np.arange(100) != 11)
    assert np.setdiff1d(np.arange(40), holdout_rows(gone, holdout, np.array([11, 12]))).tolist() == [8]


def test_forgetting_a_class(noisy: Dataset, tmp_path: Path) -> None:
    base = train(noisy, out=tmp_path / "base", model="mlp", epochs=3)
    child = unlearn(base, "class:1", out=tmp_path / "child", data=noisy)
    content = to_plain(evaluate(child, [], data=noisy))
    assert content["trial"]["dropped_classes"] == ["1"]
    rows = child.data(noisy)
    left = np.setdiff1d(np.arange(len(rows[Split.TRAIN])), child.tombstones)
    staying = {rows[Split.TRAIN].subjects[slot] for slot in left}
    gone = set(rows[Split.TRAIN].subjects) - staying
    holdout = rows[Split.HOLDOUT]
    expected = sum(
        label != 1 and name not in gone for label, name in zip(holdout.labels, holdout.subjects, strict=True)
    )
    assert probe(content, "test-accuracy")["unlearned"]["n"] == expected
    assert probe(content, "forget-accuracy")["unlearned"]["value"] < 0.2


def test_what_is_known_of_models_changes_nothing(tmp_path: Path) -> None:
    """Measurements kept from one evaluation to the next are those that would be made again."""
    base = train("digits", out=tmp_path / "base", model="mlp", epochs=2, model_options={"width": 8})
    first, second = "random:5%:1", "random:5%:2"
    runs = {
        (rule, method): unlearn(base, rule, method=method, out=tmp_path / f"{method}-{rule[-1]}")
        for rule in (first, second)
        for method in ("fine-tune", "exact-replay", "retrain")
    }
    kept = Kept()
    for (rule, _), run in runs.items():
        references = [runs[rule, "retrain"]] if run is not runs[rule, "retrain"] else []
        plain = to_plain(evaluate(run, references, out=tmp_path / "plain.json"))
        shared = to_plain(evaluate(run, references, out=tmp_path / "shared.json", kept=kept))
        assert shared == plain
    digests = {run.weights_digest for run in (base, *runs.values())}
    assert len(kept.readings) == len(digests)


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Folders of the runs whose models are opened."""
    opened: list[Path] = []
    open_model = Run.model

    def counted(run: Run, *arguments: Any, **options: Any) -> Any:
        opened.append(run.path)
        return open_model(run, *arguments, **options)

    monkeypatch.setattr(Run, "model", counted)
    return opened


def test_a_model_that_was_asked_is_not_opened_again(
    runs: dict[str, Any], noisy: Dataset, openings: list[Path], tmp_path: Path
) -> None:
    """Neither by the same evaluation, nor in another trial; of rows that it was not asked about it is."""
    run, references, kept = runs["fine-tune"], runs["references"], Kept()
    rows = run.data(noisy)
    first = evaluate(run, references, data=rows, out=tmp_path / "1.json", kept=kept)
    assert sorted(openings) == sorted(model.path for model in (run, runs["base"], *references[1:]))
    openings.clear()
    again = evaluate(run, references, data=rows, out=tmp_path / "2.json", kept=kept)
    assert (again, openings) == (first, [])
    evaluate(runs["exact"], references[:3], data=rows, out=tmp_path / "3.json", kept=kept)
    exact = runs["exact"].path  # to be asked; and where bits are said to be equal both are held to their word
    assert openings == [exact, references[0].path, exact]
    openings.clear()
    evaluate(references[0], references[1:3], data=rows, out=tmp_path / "3.json", kept=kept)
    assert openings == []  # its weights are those of the exact run
    other = unlearn(runs["base"], "random:10%:9", method="fine-tune", out=tmp_path / "other", data=noisy)
    openings.clear()
    asked = evaluate(other, [], data=rows, out=tmp_path / "4.json", kept=kept)
    assert openings == [other.path]
    assert asked == evaluate(other, [], data=rows, out=tmp_path / "5.json")
    openings.clear()
    holdout = rows[Split.HOLDOUT]
    fewer = {**rows, Split.HOLDOUT: replace(holdout, present=np.arange(len(holdout)) > 0)}
    evaluate(run, references[1:2], data=fewer, out=tmp_path / "6.json", kept=kept)
    assert len(openings) == 3


def test_two_runs_in_one_trial_are_measured_as_each_alone(
    runs: dict[str, Any], noisy: Dataset, openings: list[Path], tmp_path: Path
) -> None:
    pair, rows = [runs["fine-tune"], runs["exact"]], runs["base"].data(noisy)
    with pinned(runs["base"].recipe):
        trial = trial_of(pair, runs["base"], runs["references"][1:], rows, witnesses=runs["witnesses"])
        together = judge(trial, [probe() for probe in PROBES])
    assert len(openings) == 11
    for run, judgement in zip(pair, together, strict=True):
        beside = {"witnesses": runs["witnesses"], "data": rows, "out": tmp_path / "alone.json"}
        alone = evaluate(run, runs["references"][1:], **beside)
        assert [one.unlearned for one in judgement.probes] == [one.unlearned for one in alone.probes]
        assert [one.verdict for one in judgement.probes] == [one.verdict for one in alone.probes]
        assert (judgement.verdict, judgement.guards) == (alone.verdict, alone.guards)
    other = unlearn(runs["base"], "random:10%:8", method="fine-tune", out=tmp_path / "other", data=noisy)
    with pytest.raises(InvalidArgument, match="a trial is of one request"):
        trial_of([*pair, other], runs["base"], [], rows)
