"""The chain of a model's life, from the commitment to the run: what was signed before, and what is still to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from expunge.attest.asked import Requests, asked_of
from expunge.attest.described import Before, Lineage, commit_statement, run_statement, sums_of
from expunge.attest.kept import ANEW, KeptEnvelope, kept_commit, kept_record, place_of
from expunge.attest.trajectory import Trajectory, check_weights, states_on_disk, trajectory_of
from expunge.core.clock import Time
from expunge.core.errors import RunError
from expunge.core.streams import ZERO_BEACON
from expunge.core.values import Progress
from expunge.records.bundle import COMMIT, ENVELOPE
from expunge.records.declaration import Intent
from expunge.records.draft import Signed
from expunge.records.form import to_json
from expunge.records.keys import SigningKey
from expunge.records.limits import Code, refused
from expunge.records.record import Commit, Request, RunRecord
from expunge.records.statement import Statement
from expunge.train.run import Run


@dataclass(frozen=True, kw_only=True)
class Link:
    """One envelope of the chain: where it is kept, what it says, and its bytes if it was signed before."""

    place: Path
    statement: Statement
    envelope: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The commitment and every run after it, oldest first. ``trace`` is the last run's trace.bin, if it has one."""

    links: tuple[Link, ...]
    trace: bytes | None

    @property
    def commit(self) -> Commit:
        predicate = self.links[0].statement.predicate
        assert isinstance(predicate, Commit)
        return predicate

    @property
    def record(self) -> RunRecord:
        predicate = self.links[-1].statement.predicate
        assert isinstance(predicate, RunRecord)
        return predicate

    def check_links(self, signed: Signed) -> None:
        """Records that were signed before must name the envelopes that stand before them now."""
        for at, link in enumerate(self.links):
            record = link.statement.predicate
            if link.envelope is None or isinstance(record, Commit):
                continue
            if (record.commit, record.parent) != (signed.digests[0], signed.digests[at - 1]):
                raise RunError(
                    f"{link.place} names another commitment or parent than {self.links[at - 1].place} holds now: put "
                    f"the earlier ones back, or {ANEW}"
                )


def ancestry(run: Run) -> list[Run]:
    """A run and all that it came from, first what was trained, here or elsewhere."""
    found = [run]
    while found[0].told.operation == "unlearn":
        found.insert(0, found[0].parent)
    return found


def beginning(runs: list[Run]) -> int:
    """Where the chain of the last run begins: at the training, or at a retraining under another recipe."""
    return max(at for at, run in enumerate(runs) if at == 0 or run.recipe.digest != runs[at - 1].recipe.digest)


def make_chain(run: Run, key: SigningKey, at: Time, progress: Progress | None = None) -> Chain:
    """Describe what has no record yet, and check what has one; ``at`` is when new ones are written."""
    everything = ancestry(run)
    start = beginning(everything)
    runs = everything[start:]
    lineages: dict[str, Lineage] = {}
    kept = [kept_record(one, key) for one in runs]
    commit = _commit(runs[0], key, at)
    moved = _counting(progress, runs, kept)
    links, before, trace = [commit], list[Before](), None
    requests = [asked_of(one, at) for one in everything]
    for one, found in zip(runs, kept, strict=True):
        asked = requests[start + len(before)]
        if one is runs[0]:
            asked = _together(everything[:start], requests[:start], asked)
        last = one is runs[-1]
        if found is not None and not last:
            link = Link(place=place_of(one, ENVELOPE), statement=found.statement, envelope=found.envelope)
        else:
            lineage = lineages[one.lineage_seed] = _lineage(one, lineages)
            _check_settled(one)
            check_weights(one)
            trajectory, trace = _trajectory(one, lineage, moved)
            if found is None:
                statement = run_statement(one, lineage, before, asked, trajectory, at)
                link = Link(place=place_of(one, ENVELOPE), statement=_in_time(statement, asked, links))
            else:
                _check_files(one, found, trajectory)
                link = Link(place=place_of(one, ENVELOPE), statement=found.statement, envelope=found.envelope)
        links.append(link)
        record = link.statement.predicate
        assert isinstance(record, RunRecord)
        before.append(Before(run=one, record=record))
    found = Chain(links=tuple(links), trace=trace)
    _check_beacon(run, found.commit, found.record)
    return found


def _check_beacon(run: Run, commit: Commit, record: RunRecord) -> None:
    """A beacon that could be known before the commitment protects nothing, and every verifier refuses it."""
    beacon = record.randomness.beacon
    if beacon.value == ZERO_BEACON:
        return
    if commit.recorded_afterwards:
        raise refused(
            Code.BEACON_NOT_AFTER_COMMIT,
            f"{run.path} was trained from a beacon, and no commitment to its data and recipe was signed before"
            + (
                ": commit first, with `commit_only` and `key`, then train with `beacon`, or train without one"
                if run.told.operation == "train"
                else " (another training_seed makes another recipe): instead of this retraining, commit with that "
                "seed, `commit_only` and `key`, then train with `without` and `beacon`"
            ),
        )
    if beacon.not_before is not None and beacon.not_before.seconds <= commit.recorded_at.seconds:
        raise refused(
            Code.BEACON_NOT_AFTER_COMMIT,
            f"{run.path} was trained from a beacon of {beacon.not_before}, its commitment was signed at "
            f"{commit.recorded_at}: a beacon must come after it; train again with a later one",
        )


def _commit(first: Run, key: SigningKey, at: Time) -> Link:
    found = kept_commit(first, key)
    if found is not None:
        return Link(place=place_of(first, COMMIT), statement=found.statement, envelope=found.envelope)
    return Link(place=place_of(first, COMMIT), statement=commit_statement(first, at=at, afterwards=True))


def _together(runs: list[Run], earlier: list[Requests], asked: Requests) -> Requests:
    """Requests of a chain's first run, and those before it that were made of models outside the chain.

    One that was made before any training names the model of the training that answered it: that is the model which
    this run was made instead of.
    """
    found: list[Request] = []
    for run, one in zip(runs, earlier, strict=True):
        model = bytes.fromhex(run.weights_digest)
        found += [replace(request, model=model) if request.model is None else request for request in one.requests]
    return Requests(requests=(*found, *asked.requests), logged=asked.logged and all(one.logged for one in earlier))


def _in_time(statement: Statement, asked: Requests, links: list[Link]) -> Statement:
    """Take back that a record was written afterwards, where what comes before it was signed by then.

    For a training that is the commitment; for a run that answers requests, the record of its parent as well.
    """
    commit, parent = links[0].statement.predicate, links[-1]
    assert isinstance(commit, Commit)
    in_time = not commit.recorded_afterwards and asked.logged
    if len(links) > 1:
        signed = parent.statement.predicate.recorded_at.seconds
        in_time &= parent.envelope is not None
        in_time &= all(signed <= request.received.seconds for request in asked.requests)
    record = statement.predicate
    assert isinstance(record, RunRecord)
    return replace(statement, predicate=replace(record, recorded_afterwards=not in_time))


def _lineage(run: Run, known: Mapping[str, Lineage]) -> Lineage:
    """A schedule is long to compute, and runs of a chain share it."""
    return known.get(run.lineage_seed) or Lineage.of(run)


def _trajectory(run: Run, lineage: Lineage, moved: Callable[[], None]) -> tuple[Trajectory | None, bytes | None]:
    return trajectory_of(run, lineage.schedule, moved) if run.told.replayable else (None, None)


def _check_settled(run: Run) -> None:
    if (run.path / Intent.NAME).is_file():
        raise RunError(
            f"{run.path / Intent.NAME} says that a destruction was cut short: finish it with `expunge hygiene "
            f"{run.path}` and `destroy`, so that the record can name what is gone"
        )


def _check_files(run: Run, kept: KeptEnvelope, trajectory: Trajectory | None) -> None:
    """What a bundle takes from a run's folder must still be what its record was signed for."""
    record = kept.statement.predicate
    assert isinstance(record, RunRecord)
    here = (None, None) if trajectory is None else (to_json(trajectory.checkpoints), to_json(trajectory.trace))
    signed = (None, None) if record.checkpoints is None else (to_json(record.checkpoints), to_json(record.trace))
    if here != signed:
        raise RunError(
            f"{run.path} no longer holds the states or the trace that {place_of(run, ENVELOPE)} was signed for: "
            "restore them from a copy"
        )
    if record.sums is not None and sums_of(run, record.randomness.lineage_seed) != record.sums:
        raise RunError(
            f"{run.path} no longer holds the sums that {place_of(run, ENVELOPE)} was signed for: restore them from a "
            "copy"
        )


def _counting(progress: Progress | None, runs: list[Run], kept: list[KeptEnvelope | None]) -> Callable[[], None]:
    """What to call after each state that was read."""
    if progress is None:
        return lambda: None
    anew = [run for run, found in zip(runs, kept, strict=True) if found is None or run is runs[-1]]
    read = [run for run in anew if run.told.replayable]
    total = sum(len(states) for run in read for states in states_on_disk(run).values())
    done = 0

    def moved() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    return moved
