"""The forgers against brute force: what each chooses, what it costs, and whom none of them ever takes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adversary.forging.forging_runs import Trained, forge, gradients_by_loop, reached, target_of, trained

from expunge.adversary.forging import matching, step_state
from expunge.adversary.forging.absorption import Absorb
from expunge.adversary.forging.forger import ForgedBatch
from expunge.adversary.forging.forgers import Greedy, GreedyKeep, Nearest, Swap, gradient_distances, nearest_unused
from expunge.adversary.forging.forgery import FORGERS, find_forger
from expunge.adversary.forging.matching import Matching
from expunge.adversary.forging.reordering import Leave, Moves, Order
from expunge.adversary.forging.step_state import StepState, same_bytes
from expunge.core.errors import InvalidArgument
from expunge.data.dataset import Dataset
from expunge.tasks.task import Batch, Task
from expunge.train.profile import pinned
from expunge.train.state import Tensors

NAMES = [kind.name for kind in FORGERS]


@pytest.fixture(scope="module")
def plain(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained("plain", pictures, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def momentum(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained("momentum", pictures, tmp_path_factory.mktemp("momentum") / "run")


# Whom they take.


@settings(max_examples=12, deadline=None)
@given(chair=st.integers(0, 15), step=st.integers(0, 14), seed=st.integers(0, 3))
@pytest.mark.parametrize("name", NAMES)
def test_none_takes_the_denied_row_or_anybody_outside_the_pool(
    name: str, momentum: Trained, chair: int, step: int, seed: int
) -> None:
    state = momentum.state(step)
    batch = state.part.slots
    target = int(batch[chair % len(batch)])
    pool = np.setdiff1d(momentum.without(target), np.setdiff1d(np.arange(30, 60), batch))
    forged = find_forger(name, 5, seed).batch(state, batch, pool)
    if forged.slots is None:
        assert name in ("absorb", "content")
    else:
        assert target not in forged.slots
        assert np.isin(forged.slots, pool).all()
        assert len(set(forged.slots.tolist())) == len(forged.slots)
        assert len(forged.slots) == (len(batch) - 1 if name == "content" else len(batch))


@pytest.mark.parametrize("name", ["greedy-keep", "nearest", "swap", "absorb", "order"])
def test_everybody_else_keeps_the_chair(name: str, plain: Trained) -> None:
    state = plain.state()
    batch, gone = state.part.slots, state.part.slots[[1, 6]]
    forged = find_forger(name, 20).batch(state, batch, plain.without(*gone))
    if forged.slots is None:
        assert name == "absorb"
        return
    stay = ~np.isin(batch, gone)
    assert np.array_equal(forged.slots[stay], batch[stay])
    assert not np.isin(forged.slots[~stay], batch).any()


def test_nobody_to_deny_and_nobody_to_put_in_are_refused(plain: Trained) -> None:
    state = plain.state()
    with pytest.raises(InvalidArgument, match="nobody who has to go"):
        Swap().batch(state, state.part.slots, np.arange(len(plain.rows)))
    with pytest.raises(InvalidArgument, match="too few"):
        Swap().batch(state, state.part.slots, state.part.slots[1:])
    with pytest.raises(InvalidArgument, match="cannot be drawn"):
        Greedy().batch(state, state.part.slots, state.part.slots[1:])
    for wrong in (lambda: Greedy(candidates=0), lambda: Absorb(candidates=0), lambda: find_forger("swap", 0)):
        with pytest.raises(InvalidArgument):
            wrong()
    with pytest.raises(InvalidArgument, match="did you mean"):
        find_forger("greddy")


# Greedy.


@pytest.mark.parametrize("kind", [Greedy, GreedyKeep])
def test_greedy_keeps_the_nearest_of_its_candidates(kind: type[Greedy], momentum: Trained) -> None:
    state, target = momentum.state(), target_of(momentum)
    forger = kind(candidates=12)
    batches = list(forger.proposals(state, state.part.slots, momentum.without(target)))
    assert len(batches) == 12
    with pinned(state.recipe):
        tried = [state.after(batch).apart(state.honest).l2 for batch in batches]
    assert reached(state, forge(forger, momentum, target)) == min(tried)


def test_draws_are_not_nested_and_differ_by_seed_and_step(plain: Trained) -> None:
    def first(candidates: int, seed: int = 0, step: int = 4) -> tuple[int, ...]:
        state = plain.state(step)
        forger = Greedy(candidates=candidates, seed=seed)
        return tuple(next(forger.proposals(state, state.part.slots, plain.without(int(state.part.slots[0])))))

    assert first(10) == first(10)
    assert len({first(10), first(11), first(100), first(10, seed=1), first(10, step=5)}) == 5


def test_greedy_keep_tries_nobody_twice(plain: Trained) -> None:
    state, target = plain.state(), target_of(plain)
    pool = plain.without(target)
    batches = list(GreedyKeep(candidates=10_000).proposals(state, state.part.slots, pool))
    came = [int(np.setdiff1d(batch, state.part.slots)[0]) for batch in batches]
    assert sorted(came) == np.setdiff1d(pool, state.part.slots).tolist()


# By likeness, by gradients.


def test_nearest_is_nearest_by_hand(plain: Trained) -> None:
    state, target = plain.state(), target_of(plain)
    free = np.setdiff1d(plain.without(target), state.part.slots)
    with pinned(state.recipe):
        features = state.features(np.concatenate([[target], free]))
    apart = [float((row - features[0]).square().sum()) for row in features[1:]]
    forged = forge(Nearest(), plain, target)
    assert forged.slots is not None
    assert np.setdiff1d(forged.slots, state.part.slots).tolist() == [free[int(np.argmin(apart))]]


@pytest.mark.parametrize("chair", [0, 2, 9, 15])
def test_the_error_of_a_swap_is_rate_over_b_times_the_gradients_distance(chair: int, plain: Trained) -> None:
    state, target = plain.state(), target_of(plain, chair)
    free = np.setdiff1d(plain.without(target), state.part.slots)
    with pinned(state.recipe):
        gradients = gradients_by_loop(state, np.concatenate([[target], free]))
    apart = (gradients[1:] - gradients[0]).norm(dim=1)
    found = reached(state, forge(Swap(), plain, target))
    assert found == pytest.approx(state.rate / 16 * float(apart.min()), rel=1e-4)


def test_a_swap_is_the_best_exchange_of_one_row_there_is(plain: Trained) -> None:
    state, target = plain.state(), target_of(plain)
    free = np.setdiff1d(plain.without(target), state.part.slots)
    with pinned(state.recipe):
        every = []
        for slot in free:
            batch = state.part.slots.copy()
            batch[batch == target] = slot
            every.append(state.after(batch).apart(state.honest).l2)
    assert reached(state, forge(Swap(), plain, target)) == pytest.approx(min(every), rel=1e-4)


def test_several_rows_get_substitutes_of_their_own(plain: Trained) -> None:
    apart = np.array([[3.0, 1.0, 2.0], [9.0, 0.5, 4.0], [5.0, 0.1, 0.2]])
    assert nearest_unused(apart).tolist() == [1, 2, 0]
    state = plain.state()
    gone = state.part.slots[[0, 1, 2]]
    with pinned(state.recipe):
        free, table = gradient_distances(state, state.part.slots, plain.without(*gone))
        loop = gradients_by_loop(state, np.concatenate([gone, free]))
    assert table == pytest.approx(torch.cdist(loop[:3], loop[3:]).numpy(), abs=1e-5)


def test_matching_begins_with_the_swap_and_its_residual_only_shrinks(plain: Trained) -> None:
    lengths: set[int] = set()
    for step, chair in itertools.product((1, 4, 7, 10), (0, 5, 11)):
        state = plain.state(step)
        batch, target = state.part.slots, int(state.part.slots[chair % len(state.part.slots)])
        pool = plain.without(target)
        with pinned(state.recipe):
            trail = list(Matching().trail(state, batch, pool))
            gradients = gradients_by_loop(state, np.arange(len(plain.rows)))
        residuals = [length for _, length in trail]
        assert all(after < before for before, after in itertools.pairwise(residuals))
        assert np.array_equal(trail[0][0], Swap().batch(state, batch, pool).slots)
        for slots, length in trail:
            by_hand = float((gradients[batch].sum(0) - gradients[slots].sum(0)).norm())
            assert length == pytest.approx(by_hand, rel=1e-3, abs=1e-6)
        forged = Matching().batch(state, batch, pool)
        assert reached(state, forged) <= reached(state, Swap().batch(state, batch, pool)) * (1 + 1e-4)
        lengths.add(len(trail))
        assert _no_exchange_is_a_gain(gradients, batch, trail[-1][0], pool)
    assert max(lengths) > 1, "no residual was ever reduced: the cases test nothing"


def _no_exchange_is_a_gain(gradients: torch.Tensor, batch: np.ndarray, slots: np.ndarray, pool: np.ndarray) -> bool:
    residual = gradients[batch].sum(0) - gradients[slots].sum(0)
    others = np.setdiff1d(pool, slots)
    best = min(float((residual + gradients[i] - gradients[others]).norm(dim=1).min()) for i in slots)
    return best >= float(residual.norm()) * (1 - 1e-4)


def test_matching_with_gradients_that_do_not_fit_finds_the_same_for_more_work(
    plain: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = plain.state(7)
    pool = plain.without(int(state.part.slots[0]))
    kept = Matching().batch(state, state.part.slots, pool)
    monkeypatch.setattr(matching, "KEPT", 0)
    again = Matching().batch(state, state.part.slots, pool)
    assert kept.slots is not None
    assert again.slots is not None
    assert np.array_equal(np.sort(kept.slots), np.sort(again.slots))
    assert again.example_steps > kept.example_steps == len(pool) + 1


def test_matching_stops_when_it_is_told(plain: Trained) -> None:
    state = plain.state(7)
    pool = plain.without(int(state.part.slots[0]))
    assert np.array_equal(
        Matching(exchanges=0).batch(state, state.part.slots, pool).slots,
        Swap().batch(state, state.part.slots, pool).slots,
    )


# Absorbed, reordered.


def saturated(found: Trained, factor: float = 60.0, step: int = 14) -> StepState:
    """A state whose weights are so large that rows answered right have losses of nearly nothing."""
    state = found.state(step)
    tensors: Tensors = {
        name: value * factor if name.startswith("model.") and value.is_floating_point() else value
        for name, value in state.tensors.items()
    }
    return StepState(found.training, 0, step, tensors, state.part)


def test_absorb_leaves_every_byte_of_the_next_state_as_it_was(momentum: Trained) -> None:
    state = saturated(momentum)
    forged: list[ForgedBatch] = [forge(Absorb(), momentum, int(slot), state=state) for slot in state.part.slots]
    found = [one for one in forged if one.slots is not None]
    assert found, "nothing was absorbed: the case tests nothing"
    for one in found:
        with pinned(state.recipe):
            assert one.slots is not None
            assert not np.array_equal(one.slots, state.part.slots)
            assert same_bytes(state.after(one.slots).tensors, state.honest.tensors)


def test_absorb_tries_in_order_and_counts_what_it_could_not_forge(momentum: Trained) -> None:
    state, target = momentum.state(), target_of(momentum)
    pool = momentum.without(target)
    forged = Absorb(candidates=7).batch(state, state.part.slots, pool)
    free = np.setdiff1d(pool, state.part.slots)
    assert forged.slots is None
    assert forged.example_steps == len(free) + 1 + 7 * 16
    with pinned(state.recipe):
        tries = list(Absorb(candidates=10_000).tries(state, state.part.slots, pool))
        _, apart = gradient_distances(state, state.part.slots, pool)
    came = [int(np.setdiff1d(batch, state.part.slots)[0]) for batch in tries]
    assert came == free[np.argsort(apart[0], kind="stable")].tolist()


def test_reordering_moves_within_the_epoch_and_nobody_twice(plain: Trained) -> None:
    schedule = plain.training.schedule
    gone = schedule.epoch_order(0, 0)[[0, 1, 40]]  # two in step 0, one in step 2
    touched = [(0, 0), (0, 2)]
    moves = Moves(schedule, touched)
    members = {step: schedule.chairs(0, step) for step in range(schedule.stages[0][0].steps_per_epoch)}
    for _, step in touched:
        state = plain.state(step)
        forged = Order().batch(state, state.part.slots, moves.free(state, plain.without(*gone)))
        moves.note(state, forged.slots)
        assert forged.slots is not None
        members[step] = forged.slots
    for _, step in moves.steps:
        assert (0, step) not in touched
        state = plain.state(step)
        left = Leave().batch(state, state.part.slots, np.setdiff1d(plain.without(*gone), moves.gone(state)))
        assert left.slots is not None
        members[step] = left.slots
    everybody = np.concatenate(list(members.values()))
    assert np.array_equal(np.sort(everybody), plain.without(*gone))


# What it costs.


@dataclass
class Counted:
    """Rows that went through the model, seen from inside it."""

    forwards: int = 0
    backwards: int = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[StepState], Counted]:
    """Count the rows of every pass through the model of a step."""

    def watch(state: StepState) -> Counted:
        with pinned(state.recipe):
            _ = state.honest  # nobody pays for it
        found = Counted()
        mapped: list[int] = []

        def forward(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if mapped:
                return
            found.forwards += len(inputs[0])
            if output.requires_grad:
                rows = len(inputs[0])
                output.register_hook(lambda gradient: backward(rows, gradient))

        def backward(rows: int, gradient: torch.Tensor) -> torch.Tensor:
            found.backwards += rows
            return gradient

        def per_row(task: Task, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
            found.forwards += len(batch)
            found.backwards += len(batch)
            mapped.append(1)
            try:
                return original(task, model, batch)
            finally:
                mapped.pop()

        original = step_state.per_example_gradients
        monkeypatch.setattr(step_state, "per_example_gradients", per_row)
        state.model().register_forward_hook(forward)
        return found

    return watch


@pytest.mark.parametrize("name", [name for name in NAMES if name != "content"])
@pytest.mark.parametrize("kind", ["momentum", "batch norm"])
def test_the_work_that_is_told_is_the_work_that_was_done(
    name: str, kind: str, pictures: Dataset, tmp_path: Path, counted: Callable[[StepState], Counted]
) -> None:
    found = trained(kind, pictures, tmp_path / "run")
    state = found.state()
    seen = counted(state)
    forged = find_forger(name, 6).batch(state, state.part.slots, found.without(target_of(found)))
    assert (forged.forwards, forged.backwards) == (seen.forwards, seen.backwards)
    assert forged.example_steps == pytest.approx((seen.forwards + 2 * seen.backwards) / 3)
    free = len(found.rows) - 16
    wanted = {"greedy": 6 * 16, "greedy-keep": 6 * 16, "nearest": (free + 1) / 3, "swap": free + 1, "order": free + 1}
    if name in wanted:
        assert forged.example_steps == pytest.approx(wanted[name])
