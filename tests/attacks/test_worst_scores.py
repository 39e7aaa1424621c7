"""``distant`` and the heuristics, each against a slow way to the same figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.attacks.conftest import CandidatesOf
from tests.conftest import Refused

from expunge.attacks.contract import End
from expunge.attacks.worst_distant import Distant
from expunge.attacks.worst_heuristics import EarlyError, Moderate, OriginalLoss
from expunge.core.errors import InvalidArgument
from expunge.core.statistics.margins import losses, probabilities
from expunge.models.last_layer import last_linear
from expunge.train.run import Run
from expunge.train.training import train

pytestmark = pytest.mark.usefixtures("exactly")


def test_one_pass_gives_losses_and_what_goes_into_the_last_layer(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    candidates = candidates_of(narrow_run)
    told, layer = candidates.original, last_linear(candidates.model)
    assert layer is not None
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    np.testing.assert_allclose(candidates.features @ weight.T + bias, told["beliefs"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(told["loss"], losses(told["beliefs"], candidates.labels), rtol=1e-12)
    assert candidates.meter.thirds == candidates.total
    assert not layer._forward_pre_hooks


def test_distant_rows_by_fits_anew(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    """Ten rounds, each with the fits of all who are left, and of all but one."""
    candidates = candidates_of(narrow_run)
    features, labels = candidates.features, candidates.labels
    spread = features.std(axis=0)
    rows = np.column_stack([features[:, spread > 0] / spread[spread > 0], np.ones(len(features))])
    targets = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)

    def margin(row: int, without: list[int]) -> float:
        x, t = np.delete(rows, without, axis=0), np.delete(targets, without, axis=0)
        scores = rows[row] @ np.linalg.solve(x.T @ x + 4.0 * np.eye(x.shape[1]), x.T @ t)
        return scores[labels[row]] - np.delete(scores, labels[row]).max()

    first = [margin(row, []) - margin(row, [row]) for row in range(len(rows))]
    found = Distant(rounds=1).choose(candidates)
    assert found.places.tolist() == sorted(np.argsort(first)[-12:].tolist())
    everybody = found.places.tolist()
    falls = [margin(row, []) - margin(row, everybody) for row in everybody]
    assert found.value(found.places) == pytest.approx(np.mean(falls), abs=1e-9)
    greedy = Distant().choose(candidates)
    assert greedy.value(greedy.places) >= max(found.value(places) for places in candidates.random(20))
    assert candidates.meter.thirds == candidates.total


def test_the_error_early_in_training(
    narrow_run: Run, candidates_of: CandidatesOf, pictures: Any, tmp_path: Any
) -> None:
    """Of the whole training it is that of a run of the seed that was drawn; a tenth of it costs a tenth."""
    candidates = candidates_of(narrow_run)
    found = EarlyError(share=1.0, trainings=1).scores(candidates)
    drawn = candidates.stream("early", 0).word() >> 11
    run = train(
        pictures, out=tmp_path / "run", model="mlp", model_options={"width": 16}, epochs=4, batch_size=16, seed=drawn
    )
    with torch.no_grad():
        logits = run.model()(candidates.examples.inputs).double().numpy()
    wanted = probabilities(logits) - np.eye(3)[candidates.labels]
    np.testing.assert_allclose(found, np.sqrt((wanted**2).sum(axis=1)), rtol=1e-6)
    before = candidates.meter.example_steps
    assert len(EarlyError().scores(candidates)) == candidates.total
    spent = candidates.meter.example_steps - before
    assert spent == pytest.approx(0.3 * run.result.example_steps + candidates.total, rel=0.2)
    for fields, said in (({"share": 0.0}, "share 0.0 of the training"), ({"trainings": 0}, "trainings 0 must be")):
        with pytest.raises(InvalidArgument, match=said):
            EarlyError(**fields)


def test_distance_from_the_middle_of_a_class(narrow_run: Run, candidates_of: CandidatesOf) -> None:
    candidates = candidates_of(narrow_run)
    found = Moderate().scores(candidates)
    for row in range(0, candidates.total, 7):
        same = [other for other in range(candidates.total) if candidates.labels[other] == candidates.labels[row]]
        centre = np.median(candidates.features[same], axis=0)
        distances = [float(np.sqrt(((candidates.features[other] - centre) ** 2).sum())) for other in same]
        assert found[row] == pytest.approx(abs(distances[same.index(row)] - np.median(distances)), abs=1e-9)


@pytest.mark.parametrize("end", list(End))
def test_an_end_of_a_score_of_rows_or_classes(narrow_run: Run, candidates_of: CandidatesOf, end: End) -> None:
    sign = 1 if end is End.LOW else -1
    candidates = candidates_of(narrow_run)
    scores = candidates.original["loss"]
    assert OriginalLoss(end=end).choose(candidates).places.tolist() == sorted(np.argsort(sign * scores)[:12])
    by_class = candidates_of(narrow_run, 1, whole_classes=True)
    means = np.array([scores[by_class.labels == label].mean() for label in range(3)])
    found = OriginalLoss(end=end).choose(by_class)
    assert found.places.tolist() == [int(np.argmin(sign * means))]
    assert found.value(found.places) == pytest.approx(means[found.places[0]])


@pytest.mark.parametrize("name", ["Pooled", "Unused"])
def test_without_a_last_linear_layer_there_are_no_features(
    name: str, pictures: Any, tmp_path: Any, candidates_of: CandidatesOf, refused: Refused
) -> None:
    run = train(pictures, out=tmp_path / "run", model=f"tests.attacks.own_models:{name.lower()}", epochs=1)
    candidates = candidates_of(run)
    for chooser in (Distant(), Moderate()):
        with refused(InvalidArgument, f"has a {name} that does not end in a linear layer", "`objective` hidden"):
            chooser.choose(candidates)
    assert len(OriginalLoss().choose(candidates).places) == 12


@pytest.mark.parametrize(("fields", "said"), [({"penalty": 0.0}, "penalty 0.0 must"), ({"rounds": 0}, "rounds 0 must")])
def test_fields_of_distant_out_of_bounds(fields: dict[str, Any], said: str, refused: Refused) -> None:
    with refused(InvalidArgument, said):
        Distant(**fields)
