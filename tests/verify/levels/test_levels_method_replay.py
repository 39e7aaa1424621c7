"""Methods that take steps of their own, carried out again from their parent's model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.linear_problems import FIELDS as CERTIFIED
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified

from expunge.adversary.table.story import record_of
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.core.values import Empirical
from expunge.data.dataset import Dataset
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.keys import SigningKey
from expunge.records.verdict import Level, Status
from expunge.train.run import Run
from expunge.train.state import tensors_digest, write_tensors
from expunge.train.training import train
from expunge.verify.levels import method_replay

PERSON = "subject:someone-03"
FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "checkpoint_interval": 4}


@pytest.fixture(scope="module")
def base(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("method_replay") / "base", **FIELDS)


def test_an_approximate_method_is_carried_out_again_from_its_parents_model(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """Reals of its fields, its budget and its seed come from the record."""
    run = unlearn(base, PERSON, method="neggrad-plus", out=tmp_path / "run", data=pictures, budget=0.3, seed=5)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    missing = verified(bundle, trusted, "V2", data=pictures)
    assert finding_of(missing, "method").reason == "evidence-missing"
    assert "once that run is retired this is as it should be" in finding_of(missing, "method").detail
    assert finding_of(verified(bundle, trusted, "V2", data=pictures, checkpoints=run.path), "method").reason
    for level in ("V2", "V3"):
        verdict = verified(bundle, trusted, level, data=pictures, checkpoints=base.path)
        assert verdict.status is Status.ACCEPTED, verdict.as_json()
    twin = verified(bundle, trusted, "V4", data=pictures, checkpoints=base.path)
    assert (twin.status, twin.reached) == (Status.UNDECIDED, Level.V3)


def test_a_method_that_reads_calibration_rows_is_handed_the_same_ones(
    base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without those of a person forgotten by name: the owner left them out, and here they may be gone."""
    person = base.data(pictures)[Split.CALIBRATION].subjects[0]
    run = unlearn(
        base, f"subject:{person}", method="light-perturbation", out=tmp_path / "run", data=pictures, budget=2.0
    )
    assert run.released[Split.CALIBRATION]
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    verdict = verified(bundle, trusted, "V3", data=pictures, checkpoints=base.path)
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    real = method_replay.calibration_of
    monkeypatch.setattr(
        method_replay, "calibration_of", lambda recipe, rows, *others: real(recipe, rows, {}, others[1])
    )
    verdict = verified(bundle, trusted, "V3", data=pictures, checkpoints=base.path)
    assert [code.value for code in verdict.codes] == ["REPLAY_STATE_MISMATCH"]


@pytest.mark.parametrize("field", ["budget", "seed", "field"])
def test_an_approximate_method_that_was_run_otherwise_is_refused(
    field: str, base: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    run = unlearn(base, PERSON, method="neggrad-plus", out=tmp_path / "run", data=pictures, budget=0.3, seed=5)

    story = story_of(run, owner)
    if field == "budget":
        forged = story.changed(algorithm__budget=0.6)
    elif field == "field":
        forged = story.changed(algorithm__fields={**story.record.algorithm.fields, "balance": 0.9})
    else:
        other = unlearn(base, PERSON, method="neggrad-plus", out=tmp_path / "other", data=pictures, budget=0.3, seed=6)
        forged = story.changed(randomness=story_of(other, owner).record.randomness)
    bundle = sealed(forged, owner, tmp_path / "sealed")
    assert verified(bundle, trusted, "V1").status is Status.ACCEPTED
    verdict = verified(bundle, trusted, "V2", data=pictures, checkpoints=base.path)
    assert [code.value for code in verdict.codes] == ["REPLAY_STATE_MISMATCH"]


def test_a_method_that_reads_forgotten_rows_cannot_be_repeated_once_they_are_gone(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    rows = tmp_path / "rows.npz"
    content = {"x": pictures.content["image"], "y": pictures.labels, "ids": np.array(pictures.ids)}
    np.savez(rows, **content, subjects=np.array(pictures.subjects))
    base = train(Source(location=str(rows)), out=tmp_path / "base", **FIELDS)
    ascent = unlearn(base, PERSON, method="gradient-ascent", out=tmp_path / "ascent")
    tuned = unlearn(base, PERSON, method="fine-tune", out=tmp_path / "tuned")
    stay = np.array(pictures.subjects) != PERSON.removeprefix("subject:")
    np.savez(
        rows, **{name: values[stay] for name, values in content.items()}, subjects=np.array(pictures.subjects)[stay]
    )
    for run, accepted in ((ascent, False), (tuned, True)):
        bundle = sealed(story_of(run, owner), owner, tmp_path / f"sealed-{run.path.name}")
        verdict = verified(bundle, trusted, "V2", data=rows, checkpoints=base.path)
        assert (verdict.status is Status.ACCEPTED) == accepted, verdict.as_json()
        if not accepted:
            assert finding_of(verdict, "method").reason == "evidence-missing"
            assert "reads the forgotten rows" in finding_of(verdict, "method").detail


def test_a_certified_removal_is_carried_out_again_with_the_key(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    base = train(pictures, out=tmp_path / "base", **CERTIFIED)
    run = unlearn(base, PERSON, method="certified-logistic", out=tmp_path / "run", data=pictures)
    bundle = sealed(story_of(run, owner), owner, tmp_path)
    verdict = verified(bundle, trusted, "V3", data=pictures, checkpoints=base.path, noise_key=base.path / "noise.key")
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    assert finding_of(verified(bundle, trusted, "V2", data=pictures, checkpoints=base.path), "noise").reason
    twice = unlearn(run, "subject:someone-05", method="certified-logistic", out=tmp_path / "twice", data=pictures)
    again = verified(
        sealed(story_of(twice, owner), owner, tmp_path / "again"),
        trusted,
        "V2",
        data=pictures,
        checkpoints=run.path,
        noise_key=base.path / "noise.key",
    )
    assert "the account of an earlier removal" in finding_of(again, "method").detail


def test_a_removal_is_not_called_certified_where_its_method_does_not_say_so(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights, and the method itself earns less with them than the record says."""
    base = train(pictures, out=tmp_path / "base", **CERTIFIED)
    run = unlearn(base, PERSON, method="certified-logistic", out=tmp_path / "run", data=pictures)
    bundle = sealed(story_of(run, owner), owner, tmp_path)

    honest = method_replay.method_of

    class Modest:
        def __init__(self, algorithm: Any) -> None:
            self._method = honest(algorithm)
            self.name, self.needs = self._method.name, self._method.needs

        def __call__(self, *given: Any, **named: Any) -> Any:
            return replace(self._method(*given, **named), guarantee=Empirical())

    monkeypatch.setattr(method_replay, "method_of", Modest)
    verdict = verified(bundle, trusted, "V2", data=pictures, checkpoints=base.path, noise_key=base.path / "noise.key")
    assert [code.value for code in verdict.codes] == ["GUARANTEE_TOO_HIGH"]
    assert "itself calls it empirical here" in finding_of(verdict, "method").detail


@pytest.fixture(scope="module")
def tuned(base: Run, pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("tuned") / "run"
    return unlearn(base, PERSON, method="retrain-last-layers", out=out, data=pictures, budget=0.3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "x"}, "no such method can have run: method 'retrain-last-layers' has no field 'name'"),
        ({"needs": "x"}, "no such method can have run: method 'retrain-last-layers' has no field 'needs'"),
        ({"rate": 1e308}, "comes to no weights (RuntimeError: value cannot be converted"),
        ({"weight_decay": 1e308}, "comes to no weights (RuntimeError: value cannot be converted"),
        ({"epochs": 1e308}, "comes to no weights (OverflowError: cannot convert float infinity"),
    ],
)
def test_a_method_that_nobody_can_carry_out_is_refused(
    fields: dict[str, Any],
    words: str,
    base: Run,
    tuned: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
) -> None:
    """Signed values that a method breaks on are the record's fault, and no error of the verifier's."""
    story = story_of(tuned, owner)
    told = story.changed(algorithm__fields={**story.record.algorithm.fields, **fields})
    bundle = sealed(told, owner, tmp_path)
    verdict = verified(bundle, trusted, "V2", data=pictures, checkpoints=base.path)
    assert [code.value for code in verdict.codes] == ["REPLAY_STATE_MISMATCH"]
    assert words in finding_of(verdict, "method").detail


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: 1 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
    ],
)
def test_a_machine_without_the_memory_for_a_method_decides_nothing(
    error: Exception,
    base: Run,
    tuned: Run,
    pictures: Dataset,
    tmp_path: Path,
    owner: SigningKey,
    trusted: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    bundle = sealed(story_of(tuned, owner), owner, tmp_path)
    monkeypatch.setattr(method_replay.Method, "__call__", full)
    verdict = verified(bundle, trusted, "V2", data=pictures, checkpoints=base.path)
    assert (verdict.status, finding_of(verdict, "method").reason) == (Status.UNDECIDED, "evidence-missing")
    assert "has not the memory to carry it out" in finding_of(verdict, "method").detail


def test_signed_weights_of_a_parent_that_are_none_of_the_recipes_model_are_refused(
    base: Run, tuned: Run, pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    """The whole chain says that the parent came to a tensor of three zeros."""
    write_tensors(tmp_path / "model.safetensors", {"a": torch.zeros(3)})
    other = tensors_digest({"a": torch.zeros(3)})
    story = story_of(tuned, owner)
    before = record_of(story.link(-2)).checkpoints
    assert before is not None
    digest = unlearning_digest(base.recipe.digest, other, story.record.randomness.request_seed)
    told = story.with_states((*before.states[:-1], replace(before.states[-1], weights=other)), -2)
    told = told.changed(-2, digest=other).changed(
        requests=tuple(replace(request, model=other) for request in story.record.requests),
        randomness__method_seed=lineage_seed(digest, base.root, base.beacon),
    )
    bundle = sealed(told, owner, tmp_path / "sealed")
    verdict = verified(bundle, trusted, "V2", data=pictures, checkpoints=tmp_path)
    assert [code.value for code in verdict.codes] == ["REPLAY_STATE_MISMATCH"]
    assert "are none of the recipe's model" in finding_of(verdict, "method").detail
