"""One step as a forger has it: the state before it, honest replays of it, and what other batches make of it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.adversary.forging.forging_runs import KINDS, Trained, gradients_by_loop, trained

from expunge.adversary.forging import recorded_steps
from expunge.adversary.forging.absorption import likeness
from expunge.adversary.forging.forgers import distances
from expunge.adversary.forging.replay_noise import ROWS, SAME, replay_noise
from expunge.adversary.forging.step_state import same_bytes, with_contents
from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.schedule.plan import Role, TrainingPlan
from expunge.train.checkpoint import read_checkpoint
from expunge.train.names import parameter_names
from expunge.train.profile import pinned
from expunge.train.state import tensors_digest
from expunge.train.trace import Trace, steps_path


@pytest.fixture(scope="module")
def plain(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained("plain", pictures, tmp_path_factory.mktemp("plain") / "run")


def checkpoint_at(found: Trained, step: int) -> Any:
    one = next(item for item in found.run.log.checkpoints(0) if item.step == step)
    return read_checkpoint(found.run.path / "checkpoints" / one.name, one)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_step_goes_on_to_the_very_bytes_that_were_recorded(kind: str, pictures: Dataset, tmp_path: Path) -> None:
    found = trained(kind, pictures, tmp_path / "run")
    total = found.run.schedule.total_steps(0)
    for state in recorded_steps.step_states(found.run, found.training, 0, range(total)):
        recorded = {item.step for item in found.run.log.checkpoints(0)}
        if state.index + 1 in recorded:
            with pinned(state.recipe):
                assert same_bytes(state.honest.tensors, checkpoint_at(found, state.index + 1))
        if state.index in recorded:
            assert same_bytes(state.tensors, checkpoint_at(found, state.index))


def test_the_digests_of_an_honest_step_are_those_of_the_trace(pictures: Dataset, tmp_path: Path) -> None:
    found = trained("momentum", pictures, tmp_path / "run", trace=Trace.GRADIENTS)
    width = found.run.trace.width
    content = steps_path(found.run.path, 0).read_bytes()
    for state in recorded_steps.step_states(found.run, found.training, 0, [0, 3, 5, 11]):
        with pinned(state.recipe):
            honest = state.honest
        record = content[state.index * width : (state.index + 1) * width]
        assert record[32:] == honest.losses + honest.gradient


def test_states_are_found_again_without_the_nearest_checkpoints(pictures: Dataset, tmp_path: Path) -> None:
    found = trained("momentum", pictures, tmp_path / "run")
    before = tensors_digest(found.state(7).tensors)
    for item in found.run.log.checkpoints(0):
        if item.step in (3, 6):
            (found.run.path / "checkpoints" / item.name).unlink()
    assert tensors_digest(found.state(7).tensors) == before


def test_a_skipped_step_cannot_be_forged(pictures: Dataset, tmp_path: Path) -> None:
    found = trained("plain", pictures, tmp_path / "run", least_present=16)
    last = len(found.rows) // 16
    assert len(found.rows) % 16
    assert (
        Role.RETAIN not in TrainingPlan(found.run.recipe, found.run.schedule, 0, found.run.tombstones).step(last).parts
    )
    with pytest.raises(InvalidArgument, match="skipped"):
        found.state(last)


@pytest.mark.parametrize("kind", ["momentum", "batch norm", "AdamW", "dropout"])
def test_a_candidate_leaves_nothing_behind_for_the_next(kind: str, pictures: Dataset, tmp_path: Path) -> None:
    found = trained(kind, pictures, tmp_path / "run")
    state, others = found.state(), np.arange(16)
    with pinned(state.recipe):
        alone = state.after(others, digests=True)
        state.after(np.arange(40, 56))
        state.gradients(np.arange(30))
        state.features(np.arange(30))
        again = state.after(others, digests=True)
        assert same_bytes(alone.tensors, again.tensors)
        assert (alone.losses, alone.gradient) == (again.losses, again.gradient)
        assert alone.apart(state.honest).l2 > 0
        assert same_bytes(state.after(state.part.slots).tensors, state.honest.tensors)


def test_the_largest_difference_is_that_of_each_candidate_by_itself(plain: Trained) -> None:
    state = plain.state()
    batches = [np.arange(start, start + 16) for start in (0, 16, 32, 48)]
    with pinned(state.recipe):
        together = list(distances(state, batches))
        for slots, apart in zip(batches, together, strict=True):
            difference = state.after(slots).parameters - state.honest.parameters
            assert apart.largest == float(difference.abs().max())
            assert apart.l2 == pytest.approx(float(difference.square().sum().sqrt()))
    assert any(after.largest < before.largest for before, after in itertools.pairwise(together))


@pytest.mark.parametrize("kind", ["plain", "cnn", "batch norm", "augmented"])
def test_gradients_of_single_rows_are_those_of_a_loop(kind: str, pictures: Dataset, tmp_path: Path) -> None:
    found = trained(kind, pictures, tmp_path / "run")
    state, slots = found.state(), np.array([5, 0, 77, 31])
    with pinned(state.recipe):
        assert torch.allclose(state.gradients(slots).double(), gradients_by_loop(state, slots), atol=1e-6)


def test_gradients_come_in_pieces_where_they_are_many(plain: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    state, slots = plain.state(), np.arange(23)
    with pinned(state.recipe):
        whole = state.gradients(slots)
        size = whole.shape[1]
        monkeypatch.setattr("expunge.adversary.forging.step_state.ENTRIES", 5 * size)
        pieces = list(state.gradient_pieces(slots))
        assert [len(places) for places, _ in pieces] == [5, 5, 5, 5, 3]
        assert torch.allclose(torch.cat([part for _, part in pieces]), whole, atol=1e-7)


def test_features_are_what_enters_the_last_dense_layer(plain: Trained) -> None:
    state, slots = plain.state(), np.array([3, 99, 1])
    with pinned(state.recipe):
        found = state.features(slots)
        model = state.model().eval()
        body = torch.nn.Sequential(*list(model.get_submodule("body").children())[:-1])
        with torch.no_grad():
            wanted = body(model.get_submodule("front")(state.rows(slots)["inputs"]))
        model.train()
    assert torch.allclose(found, wanted.double())


def test_contents_stand_in_for_those_slots_alone(plain: Trained) -> None:
    examples = plain.training.examples
    darker = np.zeros((1, 8, 8), dtype=np.uint8)
    altered = with_contents(examples, {7: darker})
    slots = np.arange(len(plain.rows))
    before, after = examples.batch(slots), altered.batch(slots)
    assert torch.equal(after["inputs"][7], torch.zeros((1, 8, 8), dtype=torch.uint8))
    assert np.array_equal(np.delete(before["inputs"].numpy(), 7, 0), np.delete(after["inputs"].numpy(), 7, 0))
    assert torch.equal(before["labels"], after["labels"])
    assert not torch.equal(examples.batch(np.array([7]))["inputs"], after["inputs"][7:8])


def test_honest_replays_differ_by_nothing_or_by_rounding(plain: Trained, tmp_path: Path, pictures: Dataset) -> None:
    for found in (plain, trained("batch norm", pictures, tmp_path / "run")):
        state = found.state()
        noise = replay_noise(state)
        assert noise.kinds[SAME].l2 == 0.0
        assert 0.0 < noise.kinds[ROWS].l2 < 1e-5
        assert noise.largest.l2 == max(apart.l2 for apart in noise.kinds.values())
        assert state.spent.example_steps == 0
    assert torch.get_num_threads() == 1


def test_what_is_alike_is_told_part_by_part(pictures: Dataset, tmp_path: Path) -> None:
    found = trained("batch norm", pictures, tmp_path / "run")
    state = found.state()
    names = parameter_names(state.recipe)
    with pinned(state.recipe):
        same = likeness(state.after(state.part.slots, digests=True), state.honest, names)
        assert same.state
        assert (same.losses, same.gradient) == (True, True)
        other = likeness(state.after(found.without(*state.part.slots)[:16], digests=True), state.honest, names)
    assert not any(vars(other).values())
    for kind, name in (
        ("weights", names[0]),
        ("buffers", "model.body.2.running_mean"),
        ("optimiser", "optimiser.0.momentum_buffer"),
    ):
        assert name in state.honest.tensors, sorted(state.honest.tensors)
        moved = dict(state.honest.tensors)
        moved[name] = moved[name] + 1e-3
        told = likeness(type(state.honest)(moved, state.honest.parameters, b"", b""), state.honest, names)
        assert [part for part in ("weights", "buffers", "optimiser") if not getattr(told, part)] == [kind]


def test_equal_numbers_are_not_always_equal_bytes() -> None:
    zero, minus, nothing = torch.zeros(2), -torch.zeros(2), torch.full((2,), float("nan"))
    assert not same_bytes({"a": zero}, {"a": minus})
    assert same_bytes({"a": nothing}, {"a": nothing.clone()})
    assert not same_bytes({"a": zero}, {"b": zero})
    assert not same_bytes({"a": zero}, {"a": zero.double()})
    assert not same_bytes({"a": zero}, {"a": torch.zeros(1, 2)})
