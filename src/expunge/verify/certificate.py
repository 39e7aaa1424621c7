"""From a bundle and what was checked of it to the facts of a certificate: plain JSON, for a page or another program.

What a record claims and what a verification reached stand apart: nothing of the first becomes the second by being
printed. Without a verdict every line is the bundle's own word.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from expunge.core.errors import RecordError
from expunge.core.hashing import parse_json, sha256
from expunge.data.commitment import tombstones_digest
from expunge.records.bundle import ENVELOPE, Bundle
from expunge.records.canonical import malformed
from expunge.records.catalogue import EXACT_METHODS
from expunge.records.claims import CLAIMS, NOT_CLAIMED
from expunge.records.draft import COMMIT
from expunge.records.envelope import envelope_digest
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code, refused
from expunge.records.note import open_checkpoint, read_checkpoint, read_note
from expunge.records.record import Commit, Initiator, ProfileName, Request, RunRecord, Salts
from expunge.records.statement import Statement, read_unchecked
from expunge.records.trust import of_method, of_model
from expunge.records.verdict import Standing, Verdict
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

FORMAT = "expunge/certificate/1"
HEAD = "log/checkpoint"
MODEL = "model.safetensors"
ZERO = "zero"
FIRST_RANGES = 8  # of a request's slots, to compare with a receipt; the record has them all

Facts = dict[str, Any]
Link = tuple[bytes, Statement]


def certificate(
    bundle: Bundle,
    verdict: Verdict | None = None,
    keys: Sequence[TrustedKey] = (),
    *,
    at: str | None = None,
) -> Facts:
    """The facts of an open bundle.

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
    recipe = _recipe(bundle, run)
    model = str((recipe["fields"] or {}).get("model", ""))
    return {
        "format": FORMAT,
        "subject": {"name": chain[-1][1].name, "weights_digest": chain[-1][1].digest.hex()},
        "operation": run.operation.value,
        "envelope": chain[-1][0].hex(),
        "recorded": {"at": run.recorded_at.text, "afterwards": _afterwards(commit, run)},
        "algorithm": _algorithm(run),
        "guarantee": _guarantee(run),
        "checked": None if verdict is None else _checked(bundle, verdict, run, at),
        "requests": [_request(request, own) for request, own in reversed(requests)],
        "forgotten": _forgotten(run, [request for request, _ in requests]),
        "data": _data(commit),
        "recipe": recipe,
        "schedule": {
            "root": run.schedule.root.hex(),
            "steps": sum(run.schedule.steps),
            "recorded": run.checkpoints is not None,
            "shards": run.schedule.shards,
            "slices": run.schedule.slices,
            "alive": len(run.alive),
        },
        "randomness": _randomness(commit, run),
        "environment": _environment(run),
        "log": _log(bundle, keys if verdict is not None else ()),
        "chain": [_link(digest, statement) for digest, statement in chain],
        "reuse": [
            {"shard": reuse.shard, "step": reuse.step, "first_touched": reuse.first_touched} for reuse in run.reuse
        ],
        "retired": [
            {"what": item.what, "digest": None if item.digest is None else item.digest.hex()} for item in run.retired
        ],
        "nothing_retired": None if not run.data.tombstones or run.retired or run.audit_window else NOTHING_RETIRED,
        "window": None
        if run.audit_window is None
        else {"days": run.audit_window.days, "until": run.audit_window.until.text},
        "cost": {"example_steps": run.cost.thirds / 3, "seconds": run.cost.seconds},
        "claims": [{"id": claim, "text": CLAIMS.get(claim, "not a claim that is known here")} for claim in run.claim],
        "not_claimed": [{"id": name, "text": text} for name, text in NOT_CLAIMED.items()],
        "verification": _verification(bundle, commit, run, model),
    }


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


def _algorithm(run: RunRecord) -> Facts:
    found = run.algorithm
    return {
        "name": found.name,
        "version": found.version,
        "fields": {name: _plain(value) for name, value in sorted(found.fields.items())},
        "budget": found.budget,
        "package": found.package.hex(),
        "foreign": None if found.source is None else found.source.hex(),
    }


def _guarantee(run: RunRecord) -> Facts:
    found = run.guarantee
    return {
        "kind": found.kind.value,
        "epsilon": found.epsilon,
        "delta": found.delta,
        "tests": None if found.tests is None else list(found.tests),
        "confidence": found.confidence,
        "meaning": guarantee_meaning(found, forgot=bool(run.data.tombstones)),
    }


def _checked(bundle: Bundle, verdict: Verdict, run: RunRecord, at: str | None) -> Facts:
    """What a verification came to, in its own words; ``says`` is what the level that was reached allows to be said."""
    return {
        **verdict.as_json(),
        "at": at,
        "answer": answer(verdict),
        "says": level_says(verdict.reached, run, model=MODEL in bundle),
        "execution_verified": verdict.standing is Standing.VERIFIED,
    }


def _request(request: Request, own: bool) -> Facts:
    return {
        "own": own,
        "cases": list(request.cases),
        "initiator": request.initiator.value,
        "received": request.received.text,
        "slots": len(request.slots),
        "first_ranges": [[first, last] for first, last in ranges(request.slots)[:FIRST_RANGES]],
        "receipts": len(request.receipts),
        "before_training": request.model is None,
    }


def ranges(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as first and last of each unbroken row of them."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot - 1:
            found[-1] = found[-1][0], slot
        else:
            found.append((slot, slot))
    return found


def _forgotten(run: RunRecord, requests: Sequence[Request]) -> Facts:
    emptied = set(run.data.tombstones)
    owners = {slot for request in requests if request.initiator is Initiator.OWNER for slot in request.slots}
    return {
        "slots": len(emptied),
        "owner_initiated": len(emptied & owners),
        "digest": tombstones_digest(run.data.tombstones).hex(),
        "of": run.data.count,
        "beside": len(run.data.released_calibration) + len(run.data.released_holdout),
    }


def _data(commit: Commit) -> Facts:
    data = commit.data
    return {
        "root": data.root.hex(),
        "count": data.count,
        "calibration": data.calibration.rows,
        "holdout": data.holdout.rows,
        "salts": data.salts.value,
        "remark": OPEN_LEAVES if data.salts is Salts.OPEN else SECRET_LEAVES,
    }


def _recipe(bundle: Bundle, run: RunRecord) -> Facts:
    """The recipe's digest, and its plainest fields where the file in the bundle is that recipe."""
    found: Facts = {"digest": run.recipe.hex(), "fields": None}
    if "recipe.json" not in bundle:
        return found
    content = bundle.read("recipe.json")
    value = parse_json(content, largest=bundle.limits.json_bytes)
    if sha256(content) != run.recipe or not isinstance(value, dict):
        return found
    plain = (
        "model",
        "task",
        "epochs",
        "batch_size",
        "shards",
        "slices",
        "seed",
        "precision",
        "profile",
        "perturbation",
    )
    fields: Facts = {name: _plain(value[name]) for name in plain if name in value}
    optimiser = value.get("optimiser")
    if isinstance(optimiser, dict):
        fields |= {name: _plain(optimiser[key]) for name, key in OPTIMISER if key in optimiser}
    return {**found, "fields": fields}


OPTIMISER = (("optimiser", "name"), ("rate", "rate"), ("momentum", "momentum"), ("weight_decay", "weight_decay"))


def _randomness(commit: Commit, run: RunRecord) -> Facts:
    beacon = run.randomness.beacon
    zero = beacon.source == ZERO or not any(beacon.value)
    remark = None
    if zero:
        remark = GRINDABLE if commit.data.salts is Salts.OPEN else GRINDABLE_SECRET
    return {
        "source": beacon.source,
        "value": beacon.value.hex(),
        "round": beacon.round,
        "not_before": None if beacon.not_before is None else beacon.not_before.text,
        "lineage_seed": run.randomness.lineage_seed.hex(),
        "zero": zero,
        "remark": remark,
    }


def _environment(run: RunRecord) -> Facts:
    found = run.environment
    return {
        "profile": found.profile.value,
        "tolerant": found.profile is ProfileName.TOLERANT,
        "not_exact": found.not_exact,
        "fingerprint": {name: _plain(value) for name, value in sorted(found.fingerprint.items())},
        "self_test": found.self_test.hex(),
        "factory": found.factory,
    }


def _log(bundle: Bundle, keys: Sequence[TrustedKey]) -> Facts | None:
    """The log's head. Witnesses count only where their keys are on the list; other names are only names."""
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
    return {
        "origin": head.origin,
        "size": head.size,
        "root": head.root.hex(),
        "witnesses": witnesses,
        "other_signers": others,
        "remark": remark,
    }


def _link(digest: bytes, statement: Statement) -> Facts:
    record = statement.predicate
    return {
        "operation": record.operation.value,
        "algorithm": record.algorithm.name if isinstance(record, RunRecord) else None,
        "at": record.recorded_at.text,
        "afterwards": record.recorded_afterwards,
        "name": statement.name,
        "digest": digest.hex(),
        "subject": statement.digest.hex(),
    }


def _verification(bundle: Bundle, commit: Commit, run: RunRecord, model: str) -> list[Facts]:
    """What an auditor types, and what it shows."""
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
    elif run.checkpoints is None and run.algorithm.name not in EXACT_METHODS:
        again = f"{verify} V3 {given} --checkpoints PARENT"
        steps.append(("V3", again, "the method again, from the parent's model while that is kept"))
    elif run.checkpoints is not None:
        steps += [
            ("V2", f"{verify} V2 {states}", "some steps again"),
            ("V3", f"{verify} V3 {states}", "every step again"),
            ("V4", f"{verify} V4 {given}", "the training again from nothing"),
        ]
    return [{"level": level, "command": command, "does": does} for level, command, does in steps]


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
