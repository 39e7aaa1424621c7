"""From a run folder to what its record says: the commitment of its lineage, and the run itself.

Nothing is said that the folder does not show. What does not fit together is refused here, by its owner's own tool, and
not first by an auditor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from expunge.attest import package
from expunge.attest.asked import Requests
from expunge.attest.guarantee import ADOPTING, TRAINING, algorithm_of, guarantee_of, lowered
from expunge.attest.trajectory import ALTERED, Trajectory, alive_shards
from expunge.core.clock import Time
from expunge.core.errors import RunError
from expunge.core.files import read_bytes
from expunge.core.hashing import sha256
from expunge.core.streams import DERIVATION, lineage_seed, unlearning_digest
from expunge.core.version import __version__
from expunge.data.splits import Split
from expunge.methods.sources import method_source
from expunge.models.sums import PENALTY, accumulation_of
from expunge.records.arrays import arrays_digest, arrays_in
from expunge.records.catalogue import CERTIFIED_METHODS, Execution
from expunge.records.claims import claims_of, not_claimed
from expunge.records.declaration import read_declaration
from expunge.records.documents import SUMS
from expunge.records.limits import Code, refused
from expunge.records.record import (
    LEAF_FORMAT,
    Algorithm,
    AuditWindow,
    BeaconPart,
    Commit,
    CommittedData,
    CostPart,
    Environment,
    LeafSalts,
    Operation,
    Origin,
    ProfileName,
    Randomness,
    Retired,
    Reuse,
    RunData,
    RunRecord,
    SchedulePart,
    SplitRoot,
    SumsPart,
    preprocessing_digest,
)
from expunge.records.run_file import MethodFile, UnlearnRequest
from expunge.records.scalars import Large
from expunge.records.statement import LONGEST_NAME, Statement
from expunge.records.tensors import TensorFile
from expunge.schedule.recipe import Profile
from expunge.schedule.schedule import Schedule
from expunge.schedule.seats import sat_anywhere
from expunge.train.run import Run

NOT_LINKED = bytes(32)  # stands for commitment and parent until they are signed
SPECIAL = ("self_test", "factory", "initial_weights")  # fields of the environment that have a place of their own


@dataclass(frozen=True, kw_only=True)
class Before:
    """A run that came earlier in the chain, with its record."""

    run: Run
    record: RunRecord


@dataclass(frozen=True)
class Lineage:
    """What all runs of a chain share: the schedule, which is long to compute, and its root."""

    schedule: Schedule
    root: bytes

    @classmethod
    def of(cls, run: Run) -> Lineage:
        return cls(run.schedule, run.schedule.digest())

    def check(self, run: Run) -> None:
        """The run's own recipe, data and beacon must give this very schedule."""
        seed = lineage_seed(run.recipe.digest, run.commitment.root, run.beacon).hex()
        named = seed if run.told.operation == ADOPTING else run.told.lineage_seed  # whose training drew of none of ours
        if not seed == self.schedule.seed.hex() == named or run.root != run.commitment.root:
            raise RunError(f"{run.path}: recipe, data and beacon do not give the lineage seed of run.json: {ALTERED}")


def commit_statement(run: Run, *, at: Time, afterwards: bool) -> Statement:
    """The commitment to a run's data and recipe. ``afterwards`` says that the training was there already."""
    commit = Commit(
        operation=Operation.COMMIT,
        recorded_at=at,
        recorded_afterwards=afterwards,
        recipe=run.recipe.digest,
        data=committed_data(run),
        claim=claims_of(Operation.COMMIT, None, emptied=False, recorded=False),
        not_claimed=not_claimed(),
        noise_commitment=_noise(run),
    )
    return Statement(name="training data", digest=run.root, predicate=commit)


def committed_data(run: Run) -> CommittedData:
    """The data set of a run as a commitment names it."""
    described, commitment = run.told.data, run.commitment
    roots = commitment.roots
    source: dict[str, Any] = dict(described.source or described.held or {})
    source.pop("location", None)  # where files lie is nobody else's business, and may name people
    origins = _origins(run)
    return CommittedData(
        rows=len(commitment.assignment),
        count=len(commitment.leaves[Split.TRAIN.code]),
        root=run.root,
        calibration=_split(run, Split.CALIBRATION, roots[Split.CALIBRATION]),
        holdout=_split(run, Split.HOLDOUT, roots[Split.HOLDOUT]),
        leaf_format=LEAF_FORMAT,
        salts=LeafSalts.SECRET if described.secret else LeafSalts.OPEN,
        units=_file_digest(run, "units.bin"),
        assignment=_file_digest(run, "assignment.bin"),
        preprocessing=preprocessing_digest(run.recipe.as_json(), origins),
        origins=origins,
        source=source,
    )


def run_statement(
    run: Run, lineage: Lineage, before: Sequence[Before], asked: Requests, trajectory: Trajectory | None, at: Time
) -> Statement:
    """What a run's record says; ``before`` are the runs of its chain that came earlier, oldest first.

    ``asked`` are the requests that the run before does not answer. The digests of commitment and parent are filled in
    when it is signed. It says that it was written afterwards; whoever knows better says so.
    """
    lineage.check(run)
    recipe, alive = run.recipe, alive_shards(run)
    _check_tombstones(run, before, asked)
    _check_moved(run, lineage, before)
    solved = run.told.execution is Execution.SOLVE
    guarantee = guarantee_of(run, recorded=solved or trajectory is not None)
    operation = operation_of(run)
    retired, window, kept_state = declared(run, at)
    record = RunRecord(
        operation=operation,
        recorded_at=at,
        recorded_afterwards=True,
        guarantee=guarantee,
        algorithm=_algorithm(run),
        recipe=recipe.digest,
        environment=_environment(run),
        data=RunData(
            root=run.root,
            count=len(run.commitment.leaves[Split.TRAIN.code]),
            tombstones=tuple(int(slot) for slot in run.tombstones),
            preprocessing=preprocessing_digest(recipe.as_json(), _origins(run)),
            released_calibration=tuple(run.released.get(Split.CALIBRATION, ())),
            released_holdout=tuple(run.released.get(Split.HOLDOUT, ())),
        ),
        requests=asked.requests,
        randomness=_randomness(run, lineage, own_steps=_takes_own_steps(run)),
        schedule=SchedulePart(
            root=lineage.root,
            steps=tuple(lineage.schedule.total_steps(shard) for shard in range(lineage.schedule.shards)),
            batch_size=recipe.batch_size,
            shards=recipe.shards,
            slices=recipe.slices,
            least_present=recipe.least_present,
            drop_last=False,
        ),
        alive=alive,
        reuse=() if trajectory is None else _reuse(run, lineage.schedule, before, trajectory),
        retired=retired,
        cost=CostPart(
            thirds=round(3 * run.result.example_steps),
            seconds=float(run.result.seconds),
            row_sums=run.result.row_sums,
        ),
        commit=NOT_LINKED,
        parent=NOT_LINKED,
        claim=claims_of(
            operation,
            guarantee.kind,
            emptied=len(run.tombstones) > 0,
            recorded=trajectory is not None,
            base=guarantee.base is not None,
            solved=solved,
        ),
        not_claimed=not_claimed(),
        checkpoints=None if trajectory is None else trajectory.checkpoints,
        trace=None if trajectory is None else trajectory.trace,
        audit_window=window,
        noise_commitment=_noise(run),
        execution=run.told.execution,
        sums=sums_of(run, lineage.schedule.seed) if solved else None,
        kept_state=kept_state,
    )
    return Statement(name=recipe.model[:LONGEST_NAME], digest=bytes.fromhex(run.weights_digest), predicate=record)


def sums_of(run: Run, seed: bytes) -> SumsPart:
    """What is signed of the sums of a run: they must be those of run.json, and its weights follow from them."""
    path, summed = run.path / SUMS, accumulation_of(run.recipe, seed)
    if not path.is_file():
        raise RunError(f"{path} is missing: a record names these sums, and the weights follow from them; restore it")
    with path.open("rb") as stream:
        file = TensorFile(stream, path.stat().st_size, str(path))
        digest, state = file.digest(), arrays_in(file)
    if digest.hex() != run.result.sums:
        raise RunError(f"{path} does not hold the sums of run.json: {ALTERED}")
    penalty = summed.penalty(state)
    return SumsPart(
        digest=digest,
        constants=arrays_digest(summed.constants(state)),
        penalty=None if penalty is None else arrays_digest({PENALTY: penalty}),
    )


def _takes_own_steps(run: Run) -> bool:
    return run.told.execution is Execution.OWN_STEPS and run.told.operation != ADOPTING


def operation_of(run: Run) -> Operation:
    """Trained, here or elsewhere, retrained, or unlearned by another method."""
    if run.told.operation == ADOPTING:
        return Operation.ADOPT
    if run.told.operation == "train":
        return Operation.TRAIN
    return Operation.RETRAIN if run.method == "retrain" else Operation.UNLEARN


def newly_emptied(run: Run, before: Sequence[Before]) -> np.ndarray:
    """Chairs that were taken in the run before and are empty now."""
    return run.tombstones if not before else np.setdiff1d(run.tombstones, before[-1].run.tombstones)


def _check_tombstones(run: Run, before: Sequence[Before], asked: Requests) -> None:
    """Every chair that is newly empty was asked for, and every one that was asked for is empty."""
    odd = np.setxor1d(newly_emptied(run, before), asked.slots)
    if before and len(revived := np.setdiff1d(before[-1].run.tombstones, run.tombstones)):
        raise RunError(f"{run.path} seats slot {revived[0]} again, which its parent had forgotten: {ALTERED}")
    if len(odd):
        raise RunError(
            f"{run.path}: slot {odd[0]} is empty and was never asked for, or was asked for and is not empty: {ALTERED}"
        )


def _check_moved(run: Run, lineage: Lineage, before: Sequence[Before]) -> None:
    """A method that leaves the weights as they were, although forgotten rows had sat in steps, did nothing.

    Steps of the schedule may come to the same weights by chance.
    """
    scheduled = run.told.execution is Execution.SCHEDULE
    if scheduled or not before or before[-1].run.weights_digest != run.weights_digest:
        return
    parent, gone = before[-1].run, newly_emptied(run, before)
    if sat_anywhere(lineage.schedule, run.recipe.least_present, parent.tombstones, gone):
        raise refused(
            Code.WEIGHTS_UNCHANGED,
            f"{run.path} holds the weights of its parent, although forgotten rows sat in steps of its training: "
            f"{algorithm_of(run)} changed nothing; use exact-replay, or another method or budget",
        )


def _algorithm(run: Run) -> Algorithm:
    name, asked = algorithm_of(run), run.told.asked
    budget = None if asked is None else asked.budget
    return Algorithm(
        name=name,
        version=__version__,
        fields=_fields(name, run.told.method),
        package=package.package_digest(),
        source=None if name in (TRAINING, ADOPTING) else method_source(name),
        tree=package.package_tree(),
        budget=None if budget is None else float(budget),
    )


def _fields(name: str, told: MethodFile | None) -> dict[str, Any]:
    """Fields of the method. Those that a certificate repeats are reals, whichever way they were written."""
    found: dict[str, Any] = dict({} if told is None else told.fields)
    reals = ("epsilon", "delta", "decay") if name in CERTIFIED_METHODS else ()
    return {field: value if value is None or field not in reals else float(value) for field, value in found.items()}


def _environment(run: Run) -> Environment:
    found: dict[str, Any] = dict(run.told.environment or {})
    if run.recipe.profile is not Profile.EXACT:
        profile = ProfileName.TOLERANT
    else:
        on_gpu = run.told.device.startswith("cuda")
        profile = ProfileName.EXACT_GPU_PINNED if on_gpu else ProfileName.EXACT_CPU
    return Environment(
        profile=profile,
        fingerprint={name: value for name, value in found.items() if name not in SPECIAL},
        self_test=_digest(found.get("self_test")),
        factory=str(found.get("factory", "zoo")),
        initial_weights=_digest(found.get("initial_weights")),
        not_exact=lowered(run) or run.result.exact_refused,
    )


def _digest(told: str | None) -> bytes | None:
    return None if told is None else bytes.fromhex(told)


def _randomness(run: Run, lineage: Lineage, *, own_steps: bool) -> Randomness:
    seed: Large | None = None
    method_seed: bytes | None = None
    if own_steps:
        asked = run.told.request
        assert isinstance(asked, UnlearnRequest)
        seed, parent = asked.seed, bytes.fromhex(asked.parent)
        method_seed = lineage_seed(unlearning_digest(run.recipe.digest, parent, seed), run.root, run.beacon)
    return Randomness(
        beacon=beacon_of(run),
        derivation=DERIVATION,
        lineage_seed=lineage.schedule.seed,
        request_seed=seed,
        method_seed=method_seed,
    )


def beacon_of(run: Run) -> BeaconPart:
    """The beacon with its source."""
    found = run.beacon_described
    return BeaconPart(
        source=found.source,
        value=found.value,
        round=found.round,
        not_before=None if found.not_before is None else Time(found.not_before),
    )


def _reuse(run: Run, schedule: Schedule, before: Sequence[Before], trajectory: Trajectory) -> tuple[Reuse, ...]:
    """For each shard up to where the states of the nearest recorded run stand; a chain's first run has none."""
    ancestor = next((item for item in reversed(before) if item.record.checkpoints is not None), None)
    if ancestor is None or ancestor.record.checkpoints is None:
        return ()
    said = {} if run.told.forgetting is None else run.told.forgetting.reused_steps
    gone = np.setdiff1d(run.tombstones, ancestor.run.tombstones)
    here = {(state.shard, state.step): state.leaf for state in trajectory.checkpoints.states}
    there = {(state.shard, state.step): state.leaf for state in ancestor.record.checkpoints.states}
    found: list[Reuse] = []
    for shard in alive_shards(run):
        step = int(said.get(str(shard), 0))
        leaf = there.get((shard, step)) if step else None
        taken = {at: state for (of, at), state in here.items() if of == shard and at <= step}
        odd = [at for at, state in taken.items() if step and there.get((shard, at)) != state]
        if odd or (step and step not in taken):
            raise RunError(
                f"{run.path} took shard {shard} over up to step {step}, and its state at step {min(odd or [step])} is "
                f"not one that {ancestor.run.path} recorded: {ALTERED}"
            )
        found.append(Reuse(shard=shard, step=step, leaf=leaf, first_touched=schedule.first_touch(shard, gone)))
    return tuple(found)


def declared(run: Run, at: Time) -> tuple[tuple[Retired, ...], AuditWindow | None, str | None]:
    """What the run declares destroyed, and until when or why old state is kept; a window over ``at`` is none."""
    found = read_declaration(run.path)
    if found is None:
        return (), None, None
    retired = tuple(
        Retired(what=item.what, digest=None if item.digest is None else bytes.fromhex(item.digest))
        for item in found.retired
    )
    if found.window is None or found.window.until < at.text:
        return retired, None, found.kept_state
    return retired, AuditWindow(days=found.window.days, until=Time(found.window.until)), found.kept_state


def _noise(run: Run) -> bytes | None:
    return _digest(run.told.noise_commitment)


def _origins(run: Run) -> tuple[Origin, ...]:
    return tuple(Origin(name=item.name, origin=item.origin) for item in run.told.preprocessing)


def _split(run: Run, split: Split, root: bytes) -> SplitRoot:
    return SplitRoot(rows=len(run.commitment.leaves[split.code]), root=root)


def _file_digest(run: Run, name: str) -> bytes:
    return sha256(read_bytes(run.path / name, "the run"))
