"""What is true of a record that no property refuses and nobody should overlook: certificates say it too."""

from __future__ import annotations

from expunge.core.clock import Time
from expunge.core.streams import ZERO_BEACON
from expunge.core.wording import counted
from expunge.records.bundle import COMMIT, ENVELOPE, MODEL
from expunge.records.catalogue import Execution
from expunge.records.record import Commit, Initiator, LeafSalts, Operation, ProfileName, RunRecord
from expunge.records.verdict import Caveat
from expunge.verify.opened import OpenedRecord
from expunge.verify.people import committed_units, people_of
from expunge.verify.wording import (
    ADOPTED,
    COMMITTED_AFTERWARDS,
    GRINDABLE,
    GRINDABLE_SECRET,
    NOTHING_RETIRED,
    OPEN_LEAVES,
    OWN_LOG,
    OWN_SEED,
    SOLVED,
    UNWITNESSED,
)


def remarks_of(opened: OpenedRecord) -> tuple[Caveat, ...]:
    """Most weighty first; less is said where only the form was looked at, or the chain is broken."""
    if not opened.signed:
        return ()
    record, commit = opened.record, opened.committed
    found = [*_of_clock(opened), *_of_branches(opened), *_of_lineage(record, commit), *_of_log(opened)]
    found += _of_run(record)
    if opened.chained and opened.adopted:
        found.insert(0, Caveat("trained-elsewhere", ADOPTED))
    if opened.chained:
        found += [*_of_model(opened), *_of_requests(opened), *_of_people(opened)]
    if MODEL not in opened.bundle:
        found.append(Caveat("no-model", f"the bundle holds no {MODEL}: the weights are known by their digest only"))
    return tuple(found)


MOST_OPTIONS = 12  # that are shown of a model
BEACON_FROM_OUTSIDE = (
    "compare the beacon's value and date with its source: nobody did so here, and unless a witness saw the commitment "
    "before, that it came later rests on the owner's clock"
)


def _of_clock(opened: OpenedRecord) -> list[Caveat]:
    """Dates that lie ahead of the verifier's clock; which of the two is wrong nobody can tell here."""
    now = Time.now()
    dates: list[Time | None] = []
    for item in opened.envelopes.values():
        told = item.statement.predicate
        dates.append(told.recorded_at)
        if isinstance(told, RunRecord):
            dates += [*(request.received for request in told.requests), told.randomness.beacon.not_before]
    ahead = [date for date in dates if date is not None and date > now]
    if not ahead:
        return []
    return [
        Caveat(
            "dates-ahead",
            f"{counted(len(ahead), 'date')} in these records after this machine's clock, {now}, the last {max(ahead)}: "
            "either the clock here is slow, or they were written by one that is fast, or made up",
        )
    ]


def _of_branches(opened: OpenedRecord) -> list[Caveat]:
    """Records of the log that the bundle does not hold: their number is known, what they say is not."""
    logged = opened.logged
    others = 0 if logged is None else logged.head.checkpoint.size - len(logged.places)
    if not others:
        return []
    return [
        Caveat(
            "other-records",
            f"{counted(others, 'record')} of the log outside this chain may be of other models, or of a branch that "
            "forgot people who sit here again: ask for them, and give the digest of a record that you kept with "
            "`known_records`",
        )
    ]


def _of_lineage(record: RunRecord, commit: Commit) -> list[Caveat]:
    found: list[Caveat] = []
    if record.randomness.beacon.value == ZERO_BEACON:
        found.append(Caveat("zero-beacon", GRINDABLE if commit.data.salts is LeafSalts.OPEN else GRINDABLE_SECRET))
    else:
        found.append(Caveat("beacon-from-outside", BEACON_FROM_OUTSIDE))
    if record.recorded_afterwards and commit.recorded_afterwards:
        found.append(Caveat("recorded-afterwards", COMMITTED_AFTERWARDS))
    if commit.data.salts is LeafSalts.OPEN:
        found.append(Caveat("open-salts", OPEN_LEAVES))
    return found


def _of_log(opened: OpenedRecord) -> list[Caveat]:
    logged, envelopes = opened.logged, opened.envelopes
    if logged is None:
        return []
    own = logged.head.key.keyid in {key.keyid for key in envelopes[ENVELOPE].keys}
    if not any(signed.witnesses for signed in logged.checkpoints):
        return [Caveat("no-witness", f"{OWN_LOG}; {UNWITNESSED}" if own else UNWITNESSED)]
    if opened.committed.recorded_afterwards:
        return []
    before = logged.places[envelopes[COMMIT].digest]
    runs = min(logged.places[item.digest] for name, item in envelopes.items() if name != COMMIT)
    seen = [one for one in logged.checkpoints if before < one.checkpoint.size <= runs and one.witnesses]
    return [] if seen else [Caveat("unwitnessed-commit", "no witness saw the commitment before the training's record")]


def _of_run(record: RunRecord) -> list[Caveat]:
    found: list[Caveat] = []
    environment = record.environment
    if environment.profile is ProfileName.TOLERANT:
        found.append(Caveat("tolerant", "tolerant profile: nothing pinned the bits, so no replay can confirm them"))
    if environment.not_exact is not None:
        found.append(Caveat("not-exact", f"the record says why it is not exact: {environment.not_exact[:200]}"))
    if record.came_about is Execution.SOLVE:
        found.append(Caveat("solved", SOLVED))
    elif record.checkpoints is None and record.operation is not Operation.ADOPT:
        found.append(
            Caveat("no-trajectory", "the method's own steps are not on record: V1 computes none of them again")
        )
    if record.randomness.request_seed is not None:
        found.append(Caveat("method-seed", f"{OWN_SEED}, {record.randomness.request_seed}"))
    if record.audit_window is not None:
        window = record.audit_window
        found.append(
            Caveat("erasure-pending", f"erasure pending: the old state is kept until {window.until} for auditors")
        )
    if record.kept_state is not None:
        found.append(Caveat("state-kept", f"old state that holds forgotten rows is kept: {record.kept_state}"))
    elif record.audit_window is None and record.data.tombstones and not record.retired:
        found.append(Caveat("nothing-retired", NOTHING_RETIRED))
    if record.retired:
        found.append(
            Caveat(
                "destruction-declared",
                f"declared destroyed, which nothing proves: {counted(len(record.retired), 'state')}",
            )
        )
    return found


def _of_model(opened: OpenedRecord) -> list[Caveat]:
    """Weights that training began with, and code that answers, may come from elsewhere."""
    recipe, factory = opened.recipe, opened.record.environment.factory
    if recipe.base is not None:
        begun = (
            f"training began with base {recipe.base[:16]}…: what the base saw before is not covered; ask what it was"
        )
        found = [Caveat("base", begun)]
    else:
        found = list[Caveat]()
    if not recipe.is_foreign:
        return found
    given = ", ".join(f"{name}={value!r:.40}" for name, value in sorted(recipe.model_options.items())[:MOST_OPTIONS])
    return [
        *found,
        Caveat(
            "foreign-model",
            f"the owner's own code {recipe.model!r:.80} made the initial weights and gives every answer; that it "
            "carries none of the forgotten rows (in a file, in an option, in its text) no level shows: read its "
            f"sources {factory[:16] or 'without a digest'}…, called with {given[:300] or 'no options'}",
        ),
    ]


def _of_requests(opened: OpenedRecord) -> list[Caveat]:
    """Owners could steer a schedule by forgetting rows that nobody asked them to forget."""
    records = [run.predicate for run in opened.runs if isinstance(run.predicate, RunRecord)]
    slots = {
        slot
        for record in records
        for request in record.requests
        if request.initiator is Initiator.OWNER
        for slot in request.slots
    }
    if not slots:
        return []
    empty = len(opened.record.data.tombstones)
    return [Caveat("owner-requests", f"the owner, not a person, asked for {len(slots)} of {empty} empty chairs")]


def _of_people(opened: OpenedRecord) -> list[Caveat]:
    """Who is behind a slot stands in no bundle; how much of each committed unit was forgotten does."""
    data, emptied = opened.committed.data, opened.record.data.tombstones
    if not emptied or emptied[-1] >= data.count:
        return []
    units = committed_units(opened.bundle, data)
    if units is None:
        return []
    people = people_of(emptied, emptied, units)
    if people is None:
        told = "no people were committed, each row is a unit of its own"
    else:
        part = f"{people.in_part} of them in part only ({len(emptied)} of {people.rows} rows)"
        some = f", {part}" if people.in_part else ", whole"
        told = f"they are the rows of {people.count:,} committed {'person' if people.count == 1 else 'people'}{some}"
    return [
        Caveat(
            "whose-rows",
            f"whose the {counted(len(emptied), 'forgotten row')} are is the owner's word: {told}; look up a row "
            "that you know by its slot",
        )
    ]
