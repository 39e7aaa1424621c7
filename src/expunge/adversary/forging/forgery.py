"""Make the log of a recorded training say that somebody was never in it, and measure how near that comes.

Every step whose batch holds the target is taken up from the nearest recorded state, another batch is found for it, and
the state after that batch is compared with the state that the training went on from. The weights stay as they are: what
is forged is what the log says of them. ``adversary.forging.forge`` writes such a log down and asks verifiers about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.adversary.forging.absorption import Absorb, Likeness, likeness
from expunge.adversary.forging.altered_content import Content
from expunge.adversary.forging.forger import ForgedBatch, Forger, check_candidates
from expunge.adversary.forging.forgers import Greedy, GreedyKeep, Nearest, Swap
from expunge.adversary.forging.matching import Matching
from expunge.adversary.forging.recorded_steps import step_states, training_of
from expunge.adversary.forging.reordering import Leave, Moves, Order
from expunge.adversary.forging.replay_noise import ReplayNoise, replay_noise
from expunge.adversary.forging.step_state import Apart, StepState
from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256, u64
from expunge.core.streams import Stream, stable_order
from expunge.core.values import Progress
from expunge.core.wording import nearest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import FORMS, choose
from expunge.data.splits import GivenData, Split
from expunge.records.demo import Spread
from expunge.schedule.plan import Role, TrainingPlan
from expunge.schedule.seats import emptied_steps
from expunge.train.names import parameter_names
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.segment import Training

FORGERS: tuple[type[Forger], ...] = (Greedy, GreedyKeep, Nearest, Swap, Matching, Absorb, Content, Order)
CANDIDATES = 400


@dataclass(frozen=True, kw_only=True)
class ForgedStep:
    """One step: what is put in the place of its batch, and what becomes of the state after it.

    ``apart`` and ``likeness`` compare the state after the forged batch with the one after the true batch; None where
    nothing was found and the step stays as it is. ``losses`` and ``gradient`` are the digests that a trace would hold.
    """

    shard: int
    index: int
    epoch: int
    batch: np.ndarray
    forged: ForgedBatch
    noise: ReplayNoise
    apart: Apart | None = None
    likeness: Likeness | None = None
    losses: bytes = b""
    gradient: bytes = b""

    @property
    def found(self) -> bool:
        return self.apart is not None

    @property
    def absorbed(self) -> bool:
        """Whether every byte of the next state is as it was."""
        return self.likeness is not None and self.likeness.state


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """A forged log of a run, whose rows are ``opened``.

    ``slots`` are whom it denies; ``touched`` counts all steps that held any of them.
    """

    run: Run
    opened: Mapping[Split, Dataset]
    target: str
    slots: np.ndarray
    forger: Forger
    touched: int
    steps: tuple[ForgedStep, ...]

    @property
    def found(self) -> tuple[ForgedStep, ...]:
        """The steps that another batch was found for."""
        return tuple(step for step in self.steps if step.found)

    @property
    def distances(self) -> tuple[Apart, ...]:
        return tuple(step.apart for step in self.steps if step.apart is not None)

    @property
    def noise(self) -> dict[str, Spread | None]:
        """l2 distances of honest replays of the same steps, by what was different; ``any`` is the largest of a step."""
        kinds = {kind: [step.noise.kinds[kind].l2 for step in self.steps] for kind in self.steps[0].noise.kinds}
        return {kind: spread(values) for kind, values in (kinds | {"any": self._noise}).items()}

    @property
    def l2(self) -> Spread | None:
        """How far forged steps end from the true ones, over all weights."""
        return spread([apart.l2 for apart in self.distances])

    @property
    def largest(self) -> Spread | None:
        """The same of the single weight that is furthest off."""
        return spread([apart.largest for apart in self.distances])

    @property
    def _noise(self) -> list[float]:
        return [step.noise.largest.l2 for step in self.steps]

    @property
    def ratio(self) -> float | None:
        """Median l2 distance over the median replay noise; None where replays are exact, or nothing was forged."""
        noise = float(np.median(self._noise))
        return float(np.median([apart.l2 for apart in self.distances])) / noise if noise and self.distances else None

    @property
    def example_steps(self) -> float:
        return sum(step.forged.example_steps for step in self.steps)

    @property
    def absorbed(self) -> int:
        """How many steps end in the very same bytes."""
        return sum(step.absorbed for step in self.steps)


def forge_log(
    run: Run,
    target: str,
    forger: Forger,
    *,
    steps: int | None = None,
    data: GivenData = None,
    salts: Path | str | None = None,
    progress: Progress | None = None,
) -> Forgery:
    """Forge the steps of a recorded training that hold ``target``: the id of a training row, or a forget set's rule.

    ``steps`` takes so many of the steps, drawn by the forger's seed, instead of all.
    """
    opened = run.data(data, salts=salts)
    rows = opened[Split.TRAIN]
    for split, others in opened.items():
        if split is not Split.TRAIN and target in others.ids and target not in rows.ids:
            raise InvalidArgument(
                f"target {target!r} is a row of the {split.value}, which no step of {run.path} held: name a training "
                "row"
            )
    slots = find_target(run, rows, target)
    training = training_of(run, rows)
    touched = steps_with(training, slots)
    if not touched:
        raise InvalidArgument(f"{target} sits in no step that {run.path} carried out: there is nothing to forge")
    chosen = _sampled(touched, steps, forger.seed)
    pool = np.setdiff1d(np.flatnonzero(training.examples.allowed), slots)
    moves = Moves(training.schedule, touched) if isinstance(forger, Order) else None
    made: list[ForgedStep] = []
    for state in _states(run, training, chosen):
        made.append(forge_step(forger, state, pool if moves is None else moves.free(state, pool)))
        if moves is not None:
            moves.note(state, made[-1].forged.slots)
        if progress is not None:
            progress(len(made), len(chosen) * (1 if moves is None else 2))
    if moves is not None:
        for state in _states(run, training, moves.steps):
            made.append(forge_step(Leave(), state, np.setdiff1d(pool, moves.gone(state))))
            if progress is not None:
                progress(len(made), len(chosen) + len(moves.steps))
    return Forgery(
        run=run,
        opened=opened,
        target=target,
        slots=slots,
        forger=forger,
        touched=len(touched),
        steps=tuple(sorted(made, key=lambda step: (step.shard, step.index))),
    )


def forge_step(forger: Forger, state: StepState, pool: np.ndarray) -> ForgedStep:
    """Forge one step and compare what comes of it with what was; the comparison is not charged to the forger."""
    batch = state.part.slots
    forged = forger.batch(state, batch, pool)
    step = ForgedStep(
        shard=state.shard,
        index=state.index,
        epoch=state.part.epoch,
        batch=batch,
        forged=forged,
        noise=replay_noise(state),
    )
    if forged.slots is None:
        return step
    before = state.spent.forwards, state.spent.backwards
    with pinned(state.recipe):
        after = state.after(forged.slots, chairs=forged.chairs, contents=forged.contents, digests=True)
    state.spent.forwards, state.spent.backwards = before
    return replace(
        step,
        apart=after.apart(state.honest),
        likeness=likeness(after, state.honest, parameter_names(state.recipe)),
        losses=after.losses,
        gradient=after.gradient,
    )


def find_forger(name: str, candidates: int = CANDIDATES, seed: int = 0) -> Forger:
    """A forger by its name."""
    check_candidates(candidates)
    names = [kind.name for kind in FORGERS]
    for kind in FORGERS:
        if kind.name == name:
            return kind.asked(candidates, seed)
    raise InvalidArgument(f"forger {name!r} is not known: choose one of {', '.join(names)}{nearest(name, names)}")


def find_target(run: Run, rows: Dataset, target: str) -> np.ndarray:
    """Training slots by the id of a row, else by a rule as forget sets have them."""
    if target in rows.ids:
        slot = rows.ids.index(target)
        if slot in run.tombstones or not rows.present[slot]:
            raise InvalidArgument(f"{target} was forgotten by {run.path} already: there is nothing left to deny")
        return np.array([slot], dtype=np.int64)
    if ":" not in target and not Path(target).is_file():
        raise InvalidArgument(
            f"target {target!r} is the id of no training row: look up in the data how it is written; other forms are "
            f"{FORMS}"
        )
    return choose([target], rows, root=run.root.hex(), forgotten=run.tombstones).slots


def steps_with(training: Training, slots: np.ndarray) -> list[tuple[int, int]]:
    """(shard, step) of every step that was carried out with any of these slots."""
    found: list[tuple[int, int]] = []
    for shard in range(training.schedule.shards):
        plan = TrainingPlan(training.recipe, training.schedule, shard, training.emptied)
        steps = emptied_steps(training.schedule, shard, slots).tolist()
        found += [(shard, step) for step in steps if Role.RETAIN in plan.step(step).parts]
    return found


def _sampled(steps: Sequence[tuple[int, int]], count: int | None, seed: int) -> list[tuple[int, int]]:
    if count is None:
        return list(steps)
    if count < 1:
        raise InvalidArgument(f"steps {count} must be a whole number from 1: leave it out to forge all {len(steps)}")
    words = Stream(sha256(b"expunge/forge/steps/1", u64(seed)), "forge/steps").words(len(steps))
    return [steps[place] for place in np.sort(stable_order(words)[:count])]


def _states(run: Run, training: Training, steps: Sequence[tuple[int, int]]) -> Iterator[StepState]:
    for shard in sorted({shard for shard, _ in steps}):
        yield from step_states(run, training, shard, [step for own, step in steps if own == shard])


def spread(values: Sequence[float]) -> Spread | None:
    """None of nothing."""
    return Spread(least=min(values), median=float(np.median(values)), most=max(values)) if values else None
