"""Level V1, what is claimed: no more than the algorithm can earn, than was pinned, and than the fixed list allows."""

from __future__ import annotations

from expunge.core.errors import RecordError
from expunge.records.catalogue import CERTIFIED_METHODS, Execution, execution_of
from expunge.records.claims import claims_of, highest, not_claimed
from expunge.records.limits import Code, refused
from expunge.records.record import GuaranteeKind, Operation, ProfileName, RunRecord
from expunge.schedule.recipe import Profile, Recipe
from expunge.verify.levels.chain import links
from expunge.verify.opened import OpenedRecord, recorded_before
from expunge.verify.outcomes import EvidenceMissing

RANK = {GuaranteeKind.EMPIRICAL: 0, GuaranteeKind.CERTIFIED: 1, GuaranteeKind.EXACT: 2}
DEVICES = {ProfileName.EXACT_CPU: "cpu", ProfileName.EXACT_GPU_PINNED: "cuda"}


def names_execution(opened: OpenedRecord) -> bool:
    """Whether any run says how it came about, or must: records of the first form leave it to the name of the method."""
    return opened.recipe.accumulated or any(record.execution is not None for _, record, _ in links(opened))


def check_execution(opened: OpenedRecord) -> str:
    """Each run came about as its method works on its model: by steps of the schedule or its own, or by solving."""
    for name, record, _ in links(opened):
        algorithm, said = record.algorithm, record.came_about
        foreign = algorithm.source is not None
        works = execution_of(algorithm.name, foreign=foreign, accumulated=opened.recipe.accumulated)
        if said is not works:
            raise refused(
                Code.EXECUTION_MISMATCH,
                f"{name} is said to have come about by {said.value}, {algorithm.name[:60]!r} works by {works.value}: "
                "it would be judged by the rules of another kind of method",
            )
    return f"{opened.record.came_about.value}, as {opened.record.algorithm.name!r:.60} works"


def check_guarantee(opened: OpenedRecord) -> str:
    """No guarantee above the algorithm's own; a certified one with its noise and its figures."""
    for name, record, _ in links(opened):
        algorithm, guarantee = record.algorithm, record.guarantee
        known = algorithm.source is None and not opened.adopted
        ceiling = highest(algorithm.name) if known else GuaranteeKind.EMPIRICAL
        if RANK[guarantee.kind] > RANK[ceiling]:
            raise _too_high(
                f"{name} is called {guarantee.kind.value}, the most that {algorithm.name[:60]!r} can earn is "
                f"{ceiling.value}"
            )
        _check_trajectory(name, record)
        if algorithm.budget is not None and algorithm.source is None and ceiling is not GuaranteeKind.EMPIRICAL:
            raise _too_high(f"{name} names a budget, and {algorithm.name[:60]!r} does all its work or none")
        if guarantee.kind is GuaranteeKind.CERTIFIED:
            _check_certified(name, record, opened)
        elif guarantee.epsilon is not None or guarantee.delta is not None:
            raise _too_high(f"{name} names epsilon or delta beside the guarantee {guarantee.kind.value}")
        if guarantee.kind is not GuaranteeKind.EMPIRICAL and (guarantee.tests, guarantee.confidence) != (None, None):
            raise _too_high(f"{name} names tests beside the guarantee {guarantee.kind.value}, which no test earns")
        base = opened.recipe.base if guarantee.kind is GuaranteeKind.EXACT else None
        if guarantee.base != (None if base is None else bytes.fromhex(base)):
            raise _too_high(
                f"{name} is called {str(guarantee)[:120]}, its recipe begins with "
                f"{'the seed alone' if opened.recipe.base is None else f'base {opened.recipe.base[:16]}…'}"
            )
        if guarantee.confidence is not None and not 0 < guarantee.confidence < 1:
            raise _too_high(f"{name} names a confidence of {guarantee.confidence:g}, which must lie between 0 and 1")
        if record.noise_commitment != opened.committed.noise_commitment:
            raise refused(
                Code.LINEAGE_SEED_MISMATCH, f"{name} commits to another noise key than its commitment: it was exchanged"
            )
    if (opened.committed.noise_commitment is None) != (opened.recipe.perturbation == 0):
        raise refused(
            Code.LINEAGE_SEED_MISMATCH,
            f"the recipe has perturbation {opened.recipe.perturbation:g}, and the commitment "
            f"{'has no' if opened.committed.noise_commitment is None else 'has a'} noise key",
        )
    return f"{opened.record.guarantee.kind.value} by {opened.record.algorithm.name!r:.60}, no more than it can earn"


def _check_trajectory(name: str, record: RunRecord) -> None:
    """Who takes the schedule's steps records them, states and trace; who takes others has nothing there to show."""
    algorithm = record.algorithm
    solved = record.came_about is Execution.SOLVE
    if record.came_about is not Execution.SCHEDULE and (record.checkpoints is not None or record.trace is not None):
        works = "solves for its weights" if solved else "takes steps of its own"
        raise _too_high(f"{name} has a trajectory on record, and {algorithm.name[:60]!r} {works}")
    summed = [part is not None for part in (record.sums, record.cost.row_sums)]
    if summed != [solved, solved]:
        raise _too_high(
            f"{name} came about by {record.came_about.value} and {'lacks' if solved else 'has'} sums on record, or the "
            "work of summing"
        )
    if solved or record.checkpoints is not None:
        return
    if record.trace is not None:
        raise _too_high(f"{name} states steps and records no state that they led to")
    if record.guarantee.kind is GuaranteeKind.EXACT:
        raise _too_high(f"{name} is called exact and records no trajectory that could be carried out again")


def _check_certified(name: str, record: RunRecord, opened: OpenedRecord) -> None:
    guarantee, described = record.guarantee, record.algorithm.fields
    if record.algorithm.name not in CERTIFIED_METHODS:
        raise _too_high(f"{name} is called certified, which {record.algorithm.name[:60]!r} does not work for")
    if guarantee.epsilon is None or guarantee.delta is None or guarantee.epsilon <= 0 or not 0 < guarantee.delta < 1:
        raise _too_high(f"{name} is called certified without an epsilon above 0 and a delta between 0 and 1")
    if opened.recipe.perturbation == 0 or opened.committed.noise_commitment is None:
        raise _too_high(f"{name} is called certified, and no noise was committed that could hide anything")
    for field, value in (("epsilon", guarantee.epsilon), ("delta", guarantee.delta)):
        if described.get(field) != value.hex():  # left out, the method would run with a default that nobody signed
            raise _too_high(f"{name} is called certified with another {field} than its method ran with")
    trained = opened.recipe.optimiser.weight_decay
    if described.get("decay") not in (None, trained.hex()):
        raise _too_high(f"{name} is called certified under another weight decay than the training's, {trained:g}")


def check_adopted(opened: OpenedRecord) -> str:
    """The model was trained here, so that there are steps to carry out again."""
    raise EvidenceMissing(
        "the model was trained elsewhere and adopted: nothing of its training is on record, so that neither it nor "
        "what was made of it can be carried out again from its beginning; V1 is as far as such a record goes"
    )


def check_claims(opened: OpenedRecord) -> str:
    """Exactly the ids that such a record has, and all of what is never claimed."""
    committed = opened.committed
    expected = claims_of(Operation.COMMIT, None, emptied=False, recorded=False)
    told = [("the commitment", committed.claim, committed.not_claimed, expected)]
    for name, record, _ in links(opened):
        expected = claims_of(
            record.operation,
            record.guarantee.kind,
            emptied=bool(record.data.tombstones),
            recorded=record.checkpoints is not None,
            base=record.guarantee.base is not None,
            solved=record.came_about is Execution.SOLVE,
        )
        told.append((name, record.claim, record.not_claimed, expected))
    for name, claim, never, expected in told:
        if claim != expected:
            raise _too_high(f"{name} claims {_ids(claim)}, such a record claims {_ids(expected)}")
        if never != not_claimed():
            raise _too_high(f"{name} says of {_ids(never)} that they are not claimed, it must say so of all nine")
    return f"{_ids(opened.record.claim)} claimed, {_ids(opened.record.not_claimed)} not"


def check_profile(opened: OpenedRecord) -> str:
    """Exactness is called so only where the profile, the recipe and the environment pinned the bits."""
    for name, record, _ in links(opened):
        environment, profile = record.environment, record.environment.profile
        exact = record.guarantee.kind is GuaranteeKind.EXACT
        if exact and profile is ProfileName.TOLERANT:
            raise _unpinned(f"{name} is called exact under the profile tolerant")
        if exact and environment.not_exact is not None:
            raise _unpinned(f"{name} is called exact and says why it is not ({environment.not_exact[:100]})")
        if exact and opened.recipe.crowded_options is not None:
            raise _too_high(f"{name} is called exact, and {opened.recipe.crowded_options}")
        _check_pins(name, record, opened.recipe, exact=exact)
    for at, (name, record, _) in enumerate(links(opened)):
        _check_reused_bits(name, record, recorded_before(opened.runs[:at]))
    return f"{opened.record.environment.profile.value}, in agreement with recipe and environment"


def _check_pins(name: str, record: RunRecord, recipe: Recipe, *, exact: bool) -> None:
    found, profile = record.environment.fingerprint, record.environment.profile
    tested = (record.environment.self_test, record.environment.initial_weights)
    if record.came_about is Execution.SOLVE:
        if profile is not ProfileName.EXACT_CPU or tested != (None, None):
            raise _unpinned(f"{name} follows from sums, which belong to no machine, and names one")
        return
    if None in tested:
        raise _unpinned(f"{name} does not say the self-test of its environment, or its initial weights")
    if (profile is ProfileName.TOLERANT) != (recipe.profile is Profile.SPEED):
        raise _unpinned(f"{name} has the profile {profile.value}, its recipe asks for {recipe.profile.value}")
    for field in ("threads", "device"):
        if field not in found:
            raise _unpinned(f"{name} does not say the {field} of its environment")
    if type(found["threads"]) is not int or found["threads"] != recipe.threads:
        raise _unpinned(f"{name} ran on {found['threads']!r:.20} threads, its recipe says {recipe.threads}")
    if exact and recipe.threads != 1:
        raise _unpinned(f"{name} is called exact at {recipe.threads} threads, where bits repeat by luck only")
    if profile in DEVICES and found["device"] != DEVICES[profile]:
        raise _unpinned(f"{name} has the profile {profile.value} and ran on {found['device']!r:.40}")
    if profile is ProfileName.EXACT_GPU_PINNED and not ("accelerator" in found and "cuda" in found):
        raise _unpinned(f"{name} has the profile {profile.value} and does not name its accelerator and CUDA")


def _check_reused_bits(name: str, record: RunRecord, before: RunRecord | None) -> None:
    """A beginning from one machine and an end from another equal neither machine's training."""
    exact = record.guarantee.kind is GuaranteeKind.EXACT
    if not exact or before is None or not any(reuse.step for reuse in record.reuse):
        return
    if before.guarantee.kind is not GuaranteeKind.EXACT:
        raise _too_high(f"{name} is called exact and starts from states of a run that is not")
    here, there = record.environment, before.environment
    odd = sorted(
        field
        for field in {*here.fingerprint, *there.fingerprint}
        if here.fingerprint.get(field) != there.fingerprint.get(field)
    )
    if (here.self_test, here.initial_weights) != (there.self_test, there.initial_weights):
        odd.append("self-test or initial weights")
    if odd:
        raise _unpinned(f"{name} is called exact and starts from states of another environment ({odd[0][:60]} differs)")


def _ids(ids: tuple[str, ...]) -> str:
    return ", ".join(item[:8] for item in ids[:12]) or "nothing"


def _too_high(reason: str) -> RecordError:
    return refused(Code.GUARANTEE_TOO_HIGH, f"{reason}: read it as a lower claim, or ask for a record that was earned")


def _unpinned(reason: str) -> RecordError:
    return refused(Code.PROFILE_CLAIM_MISMATCH, f"{reason}: what was pinned does not carry what is claimed")
