"""Verifying a proof of learning in two ways: as published, with its flaws, and with these flaws mended.

================================================  ================================================================
as published                                      fixed
================================================  ================================================================
w_0 may be any numbers spread like initial ones   w_0 is drawn again from the seed, bit for bit
data hashed as printed, without labels            every row against its leaf, SHA-256 over canonical bytes
batches and order as stated                       recomputed for every step from recipe, root and beacon
rate, momentum and decay as stated                the recipe's, and what is stated must be them
cosine distance divided by ‖w‖²                   divided by both lengths
parameters compared                               buffers and optimiser state as well
the q largest segments of each epoch              first, last, and some random, smallest and largest ones
exit status 0, whatever was found                 0 or 1
================================================  ================================================================

Neither proves more than the segments that were carried out again; ``verify.verify`` reads signed records instead.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from expunge.adversary.pol.laws import LEAST_P, init_p_values
from expunge.adversary.pol.proof import Proof, by_epoch, parts_of, published_hash, rates_of, vector
from expunge.adversary.pol.replay import Distance, advance, others_apart, replayer
from expunge.adversary.pol.verdict import Mode, PolCheck, PolFinding, PolSegment, PolVerdict
from expunge.core.errors import Diverged, InvalidArgument
from expunge.core.streams import Stream, lineage_seed, stable_order
from expunge.core.values import Progress
from expunge.data.commitment import leaf
from expunge.data.dataset import Dataset
from expunge.data.salts import OPEN, Salts
from expunge.data.splits import Split
from expunge.models.resolver import build
from expunge.schedule.plan import Part, Plan, TrainingPlan
from expunge.schedule.recipe import Optimiser
from expunge.schedule.schedule import Schedule
from expunge.train.examples import Examples
from expunge.train.names import parameter_names
from expunge.train.optimiser import make_optimiser
from expunge.train.profile import find_device
from expunge.train.segment import StepRunner
from expunge.train.state import full_state, tensors_digest

LARGEST = 2


def verify_proof(
    proof: Proof,
    data: Dataset,
    *,
    mode: Mode,
    delta: float,
    distance: Distance = Distance.L2,
    largest: int = LARGEST,
    randomness: bytes | None = None,
    salts: Salts = OPEN,
    device: str = "cpu",
    progress: Progress | None = None,
) -> PolVerdict:
    """Check a proof against the training rows, by slot, that the verifier holds itself.

    ``delta`` bounds the distance of each segment that is carried out again; 0 asks for the same numbers. ``largest`` is
    q: as published the q largest segments of each epoch, fixed q random, q smallest and q largest of them all beside
    the first and the last. Only the fixed mode looks at ``randomness`` (32 bytes, which choose the random ones; drawn
    afresh unless given) and at the ``salts`` of the leaves.
    """
    if not delta >= 0:
        raise InvalidArgument(f"delta {delta} must be a distance from 0: calibrate it on runs of other seeds")
    if largest < 1:
        raise InvalidArgument(f"{largest} segments an epoch verify nothing: ask for 1 at least")
    if len(data) != len(proof.units):
        raise InvalidArgument(f"the data hold {len(data)} rows, the proof is about {len(proof.units)}: give its rows")
    if proof.trajectory.parameters != parameter_names(proof.recipe):
        raise InvalidArgument("the proof compares other tensors than the parameters of its model: make it with prove")
    recipe, published = proof.recipe, mode is Mode.AS_PUBLISHED
    p_values: dict[str, float] | None = None
    if published:
        randomness, plan, settings = None, proof.plan, settings_of(proof)
        p_values = init_p_values(recipe, proof.trajectory.states[0].tensors())
        findings = [_init_follows_its_law(p_values), _data_print_alike(proof, data)]
        absent = _absent(proof.parts, data)
        if absent:
            findings.append(PolFinding(PolCheck.BATCHES, False, f"{absent} stated rows are not among the data"))
        chosen = [] if absent else largest_of_each_epoch(proof, largest)
        whole = not absent
    else:
        randomness, settings = randomness or secrets.token_bytes(32), recipe.optimiser
        schedule = Schedule.of(recipe, proof.commitment.root, proof.units, proof.beacon)
        plan = TrainingPlan(recipe, schedule, proof.shard, proof.tombstones)
        findings = [
            _init_is_drawn_again(proof, schedule),
            _data_are_committed(proof, data, salts),
            _seed_is_derived(proof),
            _batches_are_scheduled(proof, plan),
            _rates_are_the_recipes(proof, plan),
        ]
        whole = plan.total == len(proof.parts) and not _absent(parts_of(plan), data)
        chosen = sorted(set(_chosen(proof, largest, randomness))) if whole else []
    runner = replayer(recipe, Examples(recipe, data, find_device(device)), settings)
    found: list[PolSegment] = []
    for turn, number in enumerate(chosen):
        found.append(replayed(proof, number, runner, plan, distance, published=published))
        if progress is not None:
            progress(turn + 1, len(chosen))
    if whole:
        findings.append(_close_enough(PolCheck.WEIGHTS, [(s, s.distance) for s in found], delta))
        if not published:
            findings.append(_close_enough(PolCheck.BUFFERS, [(s, s.buffers or 0.0) for s in found], delta))
            findings.append(_close_enough(PolCheck.OPTIMISER, [(s, s.optimiser or 0.0) for s in found], delta))
    return PolVerdict(
        mode=mode,
        distance=distance,
        delta=delta,
        findings=tuple(findings),
        segments=tuple(found),
        work=runner.meter.example_steps,
        p_values=p_values,
        randomness=randomness,
    )


def settings_of(proof: Proof) -> Optimiser:
    """What the prover's optimiser state says; which optimiser it is, the verifier knows himself."""
    return replace(proof.optimiser, name=proof.recipe.optimiser.name)


def largest_of_each_epoch(proof: Proof, count: int = LARGEST) -> list[int]:
    """Numbers of the segments that the published verifier looks at: whoever makes a proof knows them beforehand."""
    sizes = dict(zip(proof.trajectory.segments, proof.trajectory.sizes, strict=True))
    order = {segment: number for number, segment in enumerate(proof.trajectory.segments)}
    epochs = by_epoch(proof.trajectory.steps, proof.epoch_ends)
    return sorted(
        order[segment] for epoch in epochs for segment in sorted(epoch, key=lambda item: -sizes[item])[:count]
    )


def _chosen(proof: Proof, count: int, randomness: bytes) -> Iterator[int]:
    """First, last, ``count`` random, ``count`` smallest, ``count`` largest."""
    sizes = proof.trajectory.sizes
    yield from (0, len(sizes) - 1)
    by_size = np.argsort(sizes, kind="stable")
    yield from (int(number) for number in (*by_size[:count], *by_size[-count:]))
    shuffled = stable_order(Stream(randomness, "pol/segments").words(len(sizes)))
    yield from (int(number) for number in shuffled[:count])


def replayed(
    proof: Proof, number: int, runner: StepRunner, plan: Plan, distance: Distance, *, published: bool
) -> PolSegment:
    """One segment carried out again by ``plan``; where that ends in no numbers, it is infinitely far off."""
    start, end = proof.trajectory.segments[number]
    before, stated = (proof.trajectory.states[at].tensors() for at in (number, number + 1))
    names = proof.trajectory.parameters
    try:
        after = advance(runner, plan, before, (start, end))
    except Diverged:
        length = float(torch.linalg.vector_norm(vector(stated, names) - vector(before, names)))
        return PolSegment(start=start, end=end, distance=math.inf, stated=length, moved=math.inf)
    here, there, origin = (vector(tensors, names) for tensors in (after, stated, before))
    measure = distance.as_published if published else distance.between
    buffers, optimiser = (None, None) if published else others_apart(distance, stated, after, names)
    return PolSegment(
        start=start,
        end=end,
        distance=measure(there, here),
        stated=float(torch.linalg.vector_norm(there - origin)),
        moved=float(torch.linalg.vector_norm(here - origin)),
        buffers=buffers,
        optimiser=optimiser,
    )


def _absent(parts: Iterable[Part | None], data: Dataset) -> int:
    """How many of the rows that these steps need are not there."""
    return len({int(slot) for part in parts if part is not None for slot in part.slots[~data.present[part.slots]]})


def _init_follows_its_law(p_values: dict[str, float]) -> PolFinding:
    name, least = min(p_values.items(), key=lambda item: item[1], default=("no layer", 1.0))
    detail = f"the smallest p-value of {len(p_values)} layers is {least:.3g}, of {name}; {LEAST_P} is asked for"
    return PolFinding(PolCheck.INIT, least >= LEAST_P, detail)


def _data_print_alike(proof: Proof, data: Dataset) -> PolFinding:
    found = published_hash(data)
    same = found == proof.data_hash
    detail = f"the rows as printed have the hash {found[:16]}…, the proof names {proof.data_hash[:16]}…"
    return PolFinding(PolCheck.DATA, same, detail)


def _close_enough(check: PolCheck, segments: list[tuple[PolSegment, float]], delta: float) -> PolFinding:
    beyond = [(segment, apart) for segment, apart in segments if not apart <= delta]
    worst = max(segments, key=lambda item: item[1], default=None)
    if worst is None:
        return PolFinding(check, True, f"{check.value}: no segment to compare")
    detail = (
        f"{check.value}: {len(beyond)} of {len(segments)} segments lie further than {delta:.4g} from what was stated; "
        f"the worst is steps {worst[0].start} to {worst[0].end}, at {worst[1]:.4g}"
    )
    return PolFinding(check, not beyond, detail)


def _init_is_drawn_again(proof: Proof, schedule: Schedule) -> PolFinding:
    model = build(proof.recipe, schedule.seed, proof.shard)
    found = tensors_digest(full_state(model, make_optimiser(proof.recipe.optimiser, model)))
    stated = tensors_digest(proof.trajectory.states[0].tensors())
    detail = f"the seed gives initial weights {found.hex()[:16]}…, the proof holds {stated.hex()[:16]}…"
    return PolFinding(PolCheck.INIT, found == stated, detail)


def _data_are_committed(proof: Proof, data: Dataset, salts: Salts) -> PolFinding:
    """Every row that is there against its leaf; only emptied slots may be missing."""
    leaves = proof.commitment.leaves[Split.TRAIN.code]
    source = proof.commitment.source_rows(Split.TRAIN, np.arange(len(leaves)))
    emptied = set(proof.tombstones.tolist())

    def holds(slot: int, committed: bytes) -> bool:
        if not data.present[slot]:
            return slot in emptied
        salt = salts.of(int(source[slot]), slot)
        return slot in emptied if salt is None else leaf(data, slot, slot, salt) == committed

    odd = [slot for slot, committed in enumerate(leaves) if not holds(slot, committed)]
    detail = f"{len(odd)} of {len(leaves)} rows are missing or not the ones that were committed"
    return PolFinding(PolCheck.DATA, not odd, detail + (f", the first is slot {odd[0]}" if odd else ""))


def _seed_is_derived(proof: Proof) -> PolFinding:
    derived = lineage_seed(proof.recipe.digest, proof.commitment.root, proof.beacon)
    detail = f"recipe, root and beacon give the seed {derived.hex()[:16]}…, the proof names {proof.seed.hex()[:16]}…"
    return PolFinding(PolCheck.SEED, derived == proof.seed, detail)


def _batches_are_scheduled(proof: Proof, plan: TrainingPlan) -> PolFinding:
    scheduled = parts_of(plan)
    if len(scheduled) != len(proof.parts):
        detail = f"the schedule has {len(scheduled)} steps, the proof states {len(proof.parts)}"
        return PolFinding(PolCheck.BATCHES, False, detail)
    nobody = np.zeros(0, dtype=np.int64)
    odd = [
        step
        for step, (own, stated) in enumerate(zip(scheduled, proof.batches, strict=True))
        if not np.array_equal(nobody if own is None else own.slots, stated)
    ]
    detail = f"{len(odd)} of {len(scheduled)} steps were carried out with other members than scheduled"
    return PolFinding(PolCheck.BATCHES, not odd, detail + (f", the first is step {odd[0]}" if odd else ""))


def _rates_are_the_recipes(proof: Proof, plan: TrainingPlan) -> PolFinding:
    own = rates_of(proof.recipe.optimiser, plan.total)
    same = np.array_equal(own, proof.rates) and proof.optimiser == proof.recipe.optimiser
    detail = "the stated rates and optimiser settings are " + ("" if same else "not ") + "those of the recipe"
    return PolFinding(PolCheck.RATES, same, detail)
