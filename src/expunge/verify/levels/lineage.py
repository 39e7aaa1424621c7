"""Level V1, the lineage: recipe, preprocessing, beacon and seeds are those that the commitment fixed, in every run."""

from __future__ import annotations

from expunge.core.beacon import Beacon
from expunge.core.errors import InvalidArgument, RecordError
from expunge.core.streams import DERIVATION, ZERO_BEACON, lineage_seed, unlearning_digest
from expunge.records.bundle import RECIPE
from expunge.records.catalogue import Execution
from expunge.records.limits import Code, refused
from expunge.records.record import BeaconPart, Operation, RunRecord, preprocessing_digest
from expunge.schedule.recipe import SMALLEST_RATE
from expunge.verify.levels.chain import links
from expunge.verify.opened import LoggedAt, OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, NotChecked


def check_recipe(opened: OpenedRecord) -> str:
    """recipe.json, the commitment and every run name one recipe."""
    if opened.recipe_read is None:
        state = "could not be read" if RECIPE in opened.bundle else "is missing"
        raise EvidenceMissing(f"{RECIPE} {state}, so neither the seed nor any step can be computed again")
    committed = opened.committed.recipe
    named = [(RECIPE, opened.recipe.digest), *((name, record.recipe) for name, record, _ in links(opened))]
    for name, digest in named:
        if digest != committed:
            raise refused(
                Code.RECIPE_DIGEST_MISMATCH,
                f"{name} has recipe {digest.hex()[:16]}…, committed was {committed.hex()[:16]}…: another rate, another "
                "model or any other field makes another lineage",
            )
    return f"{committed.hex()[:16]}…, in the commitment, in recipe.json and in every run"


def check_preprocessing(opened: OpenedRecord) -> str:
    """Encoding and augmentation are those whose digest was committed."""
    data = opened.committed.data
    if opened.recipe.inputs.preparation is not None and not opened.adopted:
        raise refused(
            Code.PREPROCESSING_MISMATCH,
            "rows are prepared by a mean and a deviation of the owner's, in which forgotten rows may have had a part: "
            "only a model that was trained elsewhere, and adopted, has these",
        )
    computed = preprocessing_digest(opened.recipe.as_json(), data.origins)
    named = [("the recipe", computed), *((name, record.data.preprocessing) for name, record, _ in links(opened))]
    for name, digest in named:
        if digest != data.preprocessing:
            raise refused(
                Code.PREPROCESSING_MISMATCH,
                f"{name} has preprocessing {digest.hex()[:16]}…, committed was {data.preprocessing.hex()[:16]}…: rows "
                "were encoded or augmented in another way",
            )
    return f"encoding, augmentation and {len(data.origins)} named constants are those committed"


def check_rate(opened: OpenedRecord) -> str:
    """A training at a rate of nearly nothing leaves the initial weights, whatever its steps were."""
    if opened.adopted:
        return NotChecked("the model was trained elsewhere: at which rate is its owner's word")
    if opened.recipe.accumulated:
        return NotChecked("the weights follow from sums over the rows, and no step was taken at any rate")
    total = max(opened.record.schedule.steps, default=0)
    rate = opened.recipe.optimiser.mean_rate(total)
    if rate < SMALLEST_RATE:
        raise refused(
            Code.RECIPE_DEGENERATE,
            f"the mean rate over the calendar is {rate:.3g}, below 2^-24: such steps move nothing, so the weights are "
            "not the result of training",
        )
    return f"the mean rate over the calendar is {rate:.3g}"


def check_beacon(opened: OpenedRecord) -> str:
    """A beacon that is not zero must have come after the commitment; else the owner could have chosen the schedule."""
    first = opened.runs[0].predicate
    assert isinstance(first, RunRecord)
    beacon = first.randomness.beacon
    for name, record, _ in links(opened):
        if record.randomness.beacon != beacon:
            raise _seed(f"{name} has another beacon than its lineage: with a new one a chain of its own begins")
        _check_order(opened, name, record)
    if beacon.value == ZERO_BEACON:
        return "zero beacon, as the record says: the schedule is not protected against grinding"
    return f"beacon of {beacon.source[:60]!r} of {beacon.not_before}, commitment of {opened.committed.recorded_at}"


def _check_order(opened: OpenedRecord, name: str, record: RunRecord) -> None:
    beacon, commit, logged = record.randomness.beacon, opened.committed, opened.logged
    _check_described(name, beacon)
    if logged is not None and not commit.recorded_afterwards:
        _check_places(opened, logged)
    if beacon.value == ZERO_BEACON:
        return
    if commit.recorded_afterwards:
        raise _early(f"{name} has a beacon, and its commitment was written after the training")
    if beacon.not_before is None:
        raise EvidenceMissing(f"{name} has a beacon without a date, so nothing shows that it came after the commitment")
    if beacon.not_before.seconds <= commit.recorded_at.seconds:
        raise _early(f"{name} has a beacon of {beacon.not_before}, its commitment is of {commit.recorded_at}")
    if beacon.not_before.seconds > record.recorded_at.seconds:
        raise _early(f"{name} is of {record.recorded_at}, its beacon's date {beacon.not_before} cannot be right")
    if logged is not None:
        _check_witnessed(opened, logged, name, beacon)


def _check_described(name: str, beacon: BeaconPart) -> None:
    """A beacon of zeros says so and has neither round nor date; any other names where it is from."""
    date = None if beacon.not_before is None else beacon.not_before.text
    try:
        Beacon(value=beacon.value, source=beacon.source, round=beacon.round, not_before=date)
    except InvalidArgument:
        raise _early(
            f"{name} describes its beacon {beacon.value.hex()[:16]}… as {beacon.source[:40]!r}, round {beacon.round}, "
            f"of {date}, which no beacon is"
        ) from None


def _check_places(opened: OpenedRecord, logged: LoggedAt) -> None:
    """The log must have the commitment before any run."""
    places = [logged.places[digest] for digest in opened.digests]
    if places[0] != min(places):
        raise _early(f"the log has the commitment at {places[0]}, behind a run at {min(places)}")


def _check_witnessed(opened: OpenedRecord, logged: LoggedAt, name: str, beacon: BeaconPart) -> None:
    """A witness who saw the commitment alone did so before the beacon, and one who saw a run, after it."""
    places = [logged.places[digest] for digest in opened.digests]
    runs = min(places[1:])
    before = [signed for signed in logged.checkpoints if places[0] < signed.checkpoint.size <= runs]
    seen = [witness for signed in before for witness in signed.witnesses]
    late = [witness for signed in logged.checkpoints if signed.checkpoint.size > runs for witness in signed.witnesses]
    if beacon.not_before is None:
        return
    for witness in late:
        if witness.time < beacon.not_before.seconds:
            raise _early(
                f"{name} has a beacon of {beacon.not_before}, and witness {witness.key.name} saw a run trained from it "
                f"{beacon.not_before.seconds - witness.time} seconds earlier"
            )
    if not seen:
        return
    first = min(seen, key=lambda witness: witness.time)  # heads that were cosigned later, for other models, say nothing
    if beacon.not_before.seconds <= first.time:
        raise _early(
            f"{name} has a beacon of {beacon.not_before}, witness {first.key.name} first saw the commitment "
            f"{first.time - beacon.not_before.seconds} seconds later"
        )


def check_seed(opened: OpenedRecord) -> str:
    """Every run's seed follows from the recipe, the root and the beacon; a method's own from its parent's weights."""
    data = opened.committed.data
    parent = opened.commit
    own = 0
    for (name, record, _), statement in zip(links(opened), opened.runs, strict=True):
        randomness = record.randomness
        if randomness.derivation != DERIVATION:
            raise _seed(f"{name} derives its seed by {randomness.derivation[:60]!r}, known is {DERIVATION!r}")
        if randomness.lineage_seed != lineage_seed(opened.committed.recipe, data.root, randomness.beacon.value):
            raise _seed(f"{name} has the seed {randomness.lineage_seed.hex()[:16]}…, not that of recipe, root, beacon")
        if (randomness.method_seed is None) != (randomness.request_seed is None):
            raise _seed(f"{name} has one of request seed and method seed: a method that takes steps has both")
        own_steps = record.came_about is Execution.OWN_STEPS and record.operation is not Operation.ADOPT
        if record.operation is Operation.ADOPT and randomness.method_seed is not None:
            raise _seed(f"{name} took a model over and names the seed of a method")
        if own_steps and record.checkpoints is None and randomness.method_seed is None:
            raise _seed(f"{name} recorded no training and names no seed of its method's own steps")
        if randomness.method_seed is not None and randomness.request_seed is not None:
            stands_for = unlearning_digest(opened.committed.recipe, parent.digest, randomness.request_seed)
            if randomness.method_seed != lineage_seed(stands_for, data.root, randomness.beacon.value):
                raise _seed(f"{name} has another method seed than recipe, parent's weights and request seed give")
            own += 1
        parent = statement
    seed = opened.record.randomness.lineage_seed.hex()[:16]
    return f"{seed}… in every run" + (f"; {own} with a seed of its method's own" if own else "")


def _early(reason: str) -> RecordError:
    return refused(
        Code.BEACON_NOT_AFTER_COMMIT, f"{reason}: whoever knew the beacon before committing could choose the schedule"
    )


def _seed(reason: str) -> RecordError:
    return refused(Code.LINEAGE_SEED_MISMATCH, f"{reason}: the draws of this run were free to choose")
