"""From a bundle and what was checked of it to its certificate.

What a record claims and what a verification reached stand apart: nothing of the first becomes the second by being
printed. Without a verdict every line is the bundle's own word.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from expunge.core.errors import RecordError
from expunge.core.hashing import parse_json, sha256
from expunge.data.commitment import tombstones_digest
from expunge.records.bundle import COMMIT, ENVELOPE, HEAD, MODEL, RECIPE, Bundle
from expunge.records.canonical import malformed
from expunge.records.catalogue import Execution
from expunge.records.certificate import (
    AlgorithmFacts,
    Certificate,
    Checked,
    Command,
    CostFacts,
    DataFacts,
    EnvironmentFacts,
    ForgottenFacts,
    GuaranteeFacts,
    LinkFacts,
    LogFacts,
    RandomnessFacts,
    RecipeFacts,
    RecordedFacts,
    RequestFacts,
    RetiredFacts,
    ReuseFacts,
    ScheduleFacts,
    Sentence,
    Subject,
    WindowFacts,
)
from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.envelope import envelope_digest
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code, refused
from expunge.records.note import open_checkpoint, read_checkpoint, read_note
from expunge.records.record import Commit, Initiator, ProfileName, Request, RunRecord, Salts
from expunge.records.statement import Statement, read_unchecked
from expunge.records.trust import of_method, of_model
from expunge.records.verdict import Verdict
from expunge.verify.verdict_text import answer
from expunge.verify.wording import (
    COMMITTED_AFTERWARDS,
    GRINDABLE,
    GRINDABLE_SECRET,
    NOTHING_RETIRED,
    OPEN_LEAVES,
    RECORDED_AFTERWARDS,
    SECRET_LEAVES,
    UNWITNESSED,
    WITNESSED_UNCHECKED,
    guarantee_meaning,
    level_says,
)

ZERO = "zero"
FIRST_RANGES = 8  # of a request's slots, to compare with a receipt; the record has them all
PLAIN = ("model", "task", "epochs", "batch_size", "shards", "slices", "seed", "precision", "profile", "perturbation")
OPTIMISER = (("optimiser", "name"), ("rate", "rate"), ("momentum", "momentum"), ("weight_decay", "weight_decay"))

Link = tuple[bytes, Statement]


def certificate(
    bundle: Bundle,
    verdict: Verdict | None = None,
    keys: Sequence[TrustedKey] = (),
    *,
    at: str | None = None,
) -> Certificate:
    """The certificate of an open bundle.

    ``verdict`` is what a verification against ``keys`` said; without one nothing was checked. ``at`` is when that was,
    a second in UTC.
    """
    chain = _chain(bundle)
    commit, run = chain[0][1].predicate, chain[-1][1].predicate
    if not isinstance(commit, Commit) or not isinstance(run, RunRecord):
        raise malformed(str(bundle.path), "its chain must lead from a commitment to a run")
    if verdict is not None and verdict.run not in (None, chain[-1][1]):
        raise refused(Code.UNSAFE_FILE, f"{bundle.path} changed after it was verified: verify a copy of your own")
    runs = [statement.predicate for _, statement in chain if isinstance(statement.predicate, RunRecord)]
    requests = [(request, record is run) for record in runs for request in record.requests]
    recipe, window = _recipe(bundle, run), run.audit_window
    return Certificate(
        subject=Subject(name=chain[-1][1].name, weights_digest=chain[-1][1].digest.hex()),
        operation=run.operation.value,
        envelope=chain[-1][0].hex(),
        recorded=RecordedFacts(at=run.recorded_at.text, afterwards=_afterwards(commit, run)),
        algorithm=_algorithm(run),
        guarantee=_guarantee(run),
        checked=None if verdict is None else _checked(bundle, verdict, run, at),
        requests=tuple(_request(request, own) for request, own in reversed(requests)),
        forgotten=_forgotten(run, [request for request, _ in requests]),
        data=_data(commit),
        recipe=recipe,
        schedule=ScheduleFacts(
            root=run.schedule.root.hex(),
            steps=sum(run.schedule.steps),
            recorded=run.checkpoints is not None,
            shards=run.schedule.shards,
            slices=run.schedule.slices,
            alive=len(run.alive),
        ),
        randomness=_randomness(commit, run),
        environment=_environment(run),
        log=_log(bundle, keys if verdict is not None else ()),
        chain=tuple(_link(digest, statement) for digest, statement in chain),
        reuse=tuple(ReuseFacts(shard=one.shard, step=one.step, first_touched=one.first_touched) for one in run.reuse),
        retired=tuple(RetiredFacts(what=one.what, digest=_hex(one.digest)) for one in run.retired),
        nothing_retired=None if not run.data.tombstones or run.retired or window else NOTHING_RETIRED,
        window=None if window is None else WindowFacts(days=window.days, until=window.until.text),
        cost=CostFacts(example_steps=run.cost.thirds / 3, seconds=run.cost.seconds),
        claims=tuple(Sentence(id=one, text=CLAIMS.get(one, "not a claim that is known here")) for one in run.claim),
        not_claimed=tuple(Sentence(id=name, text=text) for name, text in NOT_CLAIMED.items()),
        verification=_verification(bundle, commit, run, str((recipe.fields or {}).get("model", ""))),
    )


def _hex(digest: bytes | None) -> str | None:
    return None if digest is None else digest.hex()


def _chain(bundle: Bundle) -> list[Link]:
    """Digests and statements from the commitment to the run, as each names the one before it."""
    if COMMIT not in bundle:
        raise refused(Code.CHAIN_BROKEN, f"{bundle.path} holds no {COMMIT}: nothing says what was committed")
    names = [COMMIT, *(name for name in bundle.names if name.startswith("parents/"))]
    known: dict[bytes, Statement] = {}
    for name in names:
        content = bundle.read(name)
        known[envelope_digest(content)] = read_unchecked(content, name, bundle)
    content = bundle.read(ENVELOPE)
    found = [(envelope_digest(content), read_unchecked(content, ENVELOPE, bundle))]
    while isinstance(found[-1][1].predicate, RunRecord):
        parent = found[-1][1].predicate.parent
        if parent not in known:
            raise refused(
                Code.CHAIN_BROKEN,
                f"{bundle.path}: the envelope {parent.hex()[:16]}… that the chain leads to is missing: ask for it",
            )
        found.append((parent, known.pop(parent)))
    return found[::-1]


def _afterwards(commit: Commit, run: RunRecord) -> str | None:
    if commit.recorded_afterwards:
        return COMMITTED_AFTERWARDS
    return RECORDED_AFTERWARDS if run.recorded_afterwards else None


def _algorithm(run: RunRecord) -> AlgorithmFacts:
    found = run.algorithm
    return AlgorithmFacts(
        name=found.name,
        version=found.version,
        fields={name: _plain(value) for name, value in sorted(found.fields.items())},
        budget=found.budget,
        package=found.package.hex(),
        foreign=_hex(found.source),
    )


def _guarantee(run: RunRecord) -> GuaranteeFacts:
    found = run.guarantee
    return GuaranteeFacts(
        kind=found.kind.value,
        epsilon=found.epsilon,
        delta=found.delta,
        tests=found.tests,
        confidence=found.confidence,
        meaning=guarantee_meaning(found, forgot=bool(run.data.tombstones)),
    )


def _checked(bundle: Bundle, verdict: Verdict, run: RunRecord, at: str | None) -> Checked:
    says = level_says(verdict.reached, run, model=MODEL in bundle)
    return Checked(verdict=verdict, at=at, answer=answer(verdict), says=says)


def _request(request: Request, own: bool) -> RequestFacts:
    return RequestFacts(
        own=own,
        cases=request.cases,
        initiator=request.initiator.value,
        received=request.received.text,
        slots=len(request.slots),
        first_ranges=tuple(ranges(request.slots)[:FIRST_RANGES]),
        receipts=len(request.receipts),
        before_training=request.model is None,
    )


def ranges(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as first and last of each unbroken row of them."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = found[-1][0], slot
        else:
            found.append((slot, slot))
    return found


def _forgotten(run: RunRecord, requests: Sequence[Request]) -> ForgottenFacts:
    emptied = set(run.data.tombstones)
    owners = {slot for request in requests if request.initiator is Initiator.OWNER for slot in request.slots}
    return ForgottenFacts(
        slots=len(emptied),
        owner_initiated=len(emptied & owners),
        digest=tombstones_digest(run.data.tombstones).hex(),
        of=run.data.count,
        beside=len(run.data.released_calibration) + len(run.data.released_holdout),
    )


def _data(commit: Commit) -> DataFacts:
    data = commit.data
    return DataFacts(
        root=data.root.hex(),
        count=data.count,
        calibration=data.calibration.rows,
        holdout=data.holdout.rows,
        salts=data.salts.value,
        remark=OPEN_LEAVES if data.salts is Salts.OPEN else SECRET_LEAVES,
    )


def _recipe(bundle: Bundle, run: RunRecord) -> RecipeFacts:
    found = RecipeFacts(digest=run.recipe.hex())
    if RECIPE not in bundle:
        return found
    content = bundle.read(RECIPE)
    value = parse_json(content, largest=bundle.limits.json_bytes)
    if sha256(content) != run.recipe or not isinstance(value, dict):
        return found
    fields = {name: _plain(value[name]) for name in PLAIN if name in value}
    optimiser = value.get("optimiser")
    if isinstance(optimiser, dict):
        fields |= {name: _plain(optimiser[key]) for name, key in OPTIMISER if key in optimiser}
    return replace(found, fields=fields)


def _randomness(commit: Commit, run: RunRecord) -> RandomnessFacts:
    beacon = run.randomness.beacon
    zero = beacon.source == ZERO or not any(beacon.value)
    remark = None
    if zero:
        remark = GRINDABLE if commit.data.salts is Salts.OPEN else GRINDABLE_SECRET
    return RandomnessFacts(
        source=beacon.source,
        value=beacon.value.hex(),
        round=beacon.round,
        not_before=None if beacon.not_before is None else beacon.not_before.text,
        lineage_seed=run.randomness.lineage_seed.hex(),
        zero=zero,
        remark=remark,
    )


def _environment(run: RunRecord) -> EnvironmentFacts:
    found = run.environment
    return EnvironmentFacts(
        profile=found.profile.value,
        tolerant=found.profile is ProfileName.TOLERANT,
        not_exact=found.not_exact,
        fingerprint={name: _plain(value) for name, value in sorted(found.fingerprint.items())},
        self_test=found.self_test.hex(),
        factory=found.factory,
    )


def _log(bundle: Bundle, keys: Sequence[TrustedKey]) -> LogFacts | None:
    if HEAD not in bundle:
        return None
    content = bundle.read(HEAD)
    note = read_note(content, HEAD, bundle.limits)
    head = read_checkpoint(note.text, HEAD)
    witnesses: list[str] = []
    others = [line.name for line in note.lines if line.name != head.origin]
    try:
        opened = open_checkpoint(content, keys, HEAD, bundle.limits) if keys else None
    except RecordError:  # the verdict says so
        opened = None
    if opened is not None:
        witnesses, others = [seen.key.name for seen in opened.witnesses], list(opened.unknown)
    remark = None if witnesses else WITNESSED_UNCHECKED if others else UNWITNESSED
    return LogFacts(
        origin=head.origin,
        size=head.size,
        root=head.root.hex(),
        witnesses=tuple(witnesses),
        other_signers=tuple(others),
        remark=remark,
    )


def _link(digest: bytes, statement: Statement) -> LinkFacts:
    record = statement.predicate
    return LinkFacts(
        operation=record.operation.value,
        algorithm=record.algorithm.name if isinstance(record, RunRecord) else None,
        at=record.recorded_at.text,
        afterwards=record.recorded_afterwards,
        name=statement.name,
        digest=digest.hex(),
        subject=statement.digest.hex(),
    )


def _verification(bundle: Bundle, commit: Commit, run: RunRecord, model: str) -> tuple[Command, ...]:
    name = shlex.quote(bundle.path.name or "bundle")
    verify = f"expunge verify {name} --keys trusted.json --level"
    given = "--data DATA" + (" --salts SALTS" if commit.data.salts is Salts.SECRET else "")
    if commit.noise_commitment is not None:
        given += " --noise-key KEY"
    foreign = [] if run.algorithm.source is None else [of_method(run)]
    foreign += [] if run.environment.factory == "zoo" else [of_model(model, run)]
    given += "".join(f" --trust {shlex.quote(digest)}" for digest in foreign)
    own = any(item.startswith("checkpoints/") for item in bundle.names)
    states = given if own else f"{given} --checkpoints CHECKPOINTS"
    steps = [("V1", f"{verify} V1", "form and structure, in seconds; nothing of the owner's is needed")]
    environment = run.environment
    if environment.profile is ProfileName.TOLERANT or environment.not_exact is not None:
        pass  # no bits were pinned that a replay could be compared with
    elif run.checkpoints is None and run.came_about is Execution.OWN_STEPS:
        again = f"{verify} V3 {given} --checkpoints PARENT"
        steps.append(("V3", again, "the method again, from the parent's model while that is kept"))
    elif run.checkpoints is not None:
        steps += [
            ("V2", f"{verify} V2 {states}", "some steps again"),
            ("V3", f"{verify} V3 {states}", "every step again"),
            ("V4", f"{verify} V4 {given}", "the training again from nothing"),
        ]
    return tuple(Command(level=level, command=command, does=does) for level, command, does in steps)


def _plain(value: Any) -> Any:
    """Numbers and texts as they are; reals, which records write in hexadecimal, as numbers; anything else as text."""
    if isinstance(value, str):
        if value.lstrip("-").startswith("0x"):
            try:
                return float.fromhex(value)
            except (ValueError, OverflowError):
                return value
        return value
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)
