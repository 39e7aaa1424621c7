"""How far honest replays of one step lie apart when only the machine's ways of computing it differ."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from expunge.adversary.forging.step_state import Apart, StepState
from expunge.core.streams import Stream, stable_order
from expunge.train.profile import pinned

SAME, THREADS, KERNELS, ROWS = "same process", "other thread count", "oneDNN off", "rows permuted"


@dataclass(frozen=True)
class ReplayNoise:
    """Distances between the recorded step and replays of it, by what was different."""

    kinds: Mapping[str, Apart]

    @property
    def largest(self) -> Apart:
        """The most that any of them moved the weights; 0 where no way of computing made a difference."""
        return Apart(
            max((apart.l2 for apart in self.kinds.values()), default=0.0),
            max((apart.largest for apart in self.kinds.values()), default=0.0),
        )


def replay_noise(state: StepState) -> ReplayNoise:
    """Carry the step out again in every way that is to be had here, and compare; nobody is charged for it."""
    before = state.spent.forwards, state.spent.backwards
    part, here = state.part, state.training.examples.device.type
    order = stable_order(
        Stream(state.training.schedule.seed, "forge/rows", state.shard, state.index).words(len(part.slots))
    )

    def again(slots: np.ndarray = part.slots, chairs: np.ndarray = part.chairs) -> Apart:
        return state.after(slots, chairs=chairs).apart(state.honest)

    with pinned(state.recipe):
        found = {SAME: again(), ROWS: again(part.slots[order], part.chairs[order])}
        if here == "cpu":
            for name, way in WAYS.items():
                with way(state):
                    found[name] = again()
    state.spent.forwards, state.spent.backwards = before
    return ReplayNoise(found)


@contextmanager
def _other_threads(state: StepState) -> Generator[None]:
    """Two threads where the recipe has one, else one."""
    torch.set_num_threads(2 if state.recipe.threads == 1 else 1)
    try:
        yield
    finally:
        torch.set_num_threads(state.recipe.threads)


@contextmanager
def _without_onednn(state: StepState) -> Generator[None]:
    before = torch._C._get_mkldnn_enabled()  # pyright: ignore[reportPrivateUsage]
    torch._C._set_mkldnn_enabled(False)  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)  # pyright: ignore[reportPrivateUsage]


WAYS: Mapping[str, Callable[[StepState], Any]] = {THREADS: _other_threads, KERNELS: _without_onednn}
