"""Whether code that a record names may run here, and whether this machine computes as the record's did.

Neither is ever fraud or a pass: what differs leaves the replay undecided, with the reason and what differs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import torch

from expunge.core.errors import ExpungeError, InvalidArgument, RecordError
from expunge.core.hashing import sha256
from expunge.core.wording import counted
from expunge.methods import METHODS
from expunge.methods.lookup import offered, offered_method
from expunge.methods.sources import method_source
from expunge.models.base import offer
from expunge.models.resolver import build, build_empty, factory_digest
from expunge.models.sources import sources_alone
from expunge.models.zoo import ZOO
from expunge.records.limits import Code, refused
from expunge.records.record import GuaranteeKind, ProfileName
from expunge.records.trust import of_method, of_model
from expunge.train.initial_weights import not_of_the_seed, opened_beside
from expunge.train.profile import fingerprint, pinned, self_test
from expunge.train.state import tensors_digest, weights_of
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, LeftUndecided

BUILT_IN = frozenset({"train", "adopt", *(method.name for method in METHODS)})
TOLERANT = "tolerant-profile"
NOT_EXACT = "not-exact"
NOT_TRUSTED = "code-not-trusted"
MISMATCH = "environment-mismatch"
NOT_DETERMINISTIC = "verifier-not-deterministic"
APART = ("self_test", "factory", "initial_weights")  # what a record names beside its fingerprint
LONGEST = 80


def device_of(opened: OpenedRecord) -> torch.device:
    """Where the record says that it was computed, if there is such a device here; else the CPU."""
    named = opened.record.environment.fingerprint.get("device")
    return torch.device("cuda" if named == "cuda" and torch.cuda.is_available() else "cpu")


def check_exactness(opened: OpenedRecord) -> str:
    """The record claims bits at all."""
    environment = opened.record.environment
    if environment.profile is ProfileName.TOLERANT:
        raise LeftUndecided(
            TOLERANT,
            "the run was made under the tolerant profile, which pins no bits: carrying it out again gives other ones, "
            "so nothing can be compared; ask for a run of the exact profile",
        )
    reason = environment.not_exact if opened.record.algorithm.name in BUILT_IN else None
    if opened.recipe.threads != 1:
        reason = f"{opened.recipe.threads} threads may repeat by luck only"
    if reason is not None:
        raise LeftUndecided(
            NOT_EXACT,
            f"the record's bits need not repeat ({_short(reason)}): a replay that differs would show nothing",
        )
    return f"the record claims bits under the profile {environment.profile.value}"


def check_code(opened: OpenedRecord) -> str:
    """All code that the record names is built in, or is the very code that the verifier trusts.

    Trusted are digests of name and sources (``records.trust``). Nothing that the record names is imported before its
    digest is among them.
    """
    trusted = {digest.lower() for digest in opened.supplied.trust}
    seen: list[str] = []
    model, factory = opened.recipe.model, opened.record.environment.factory
    _check_base(opened)
    if model not in ZOO and not opened.recipe.accumulated:
        _check_foreign_model(opened, trusted)
        seen.append(f"model {_short(model)} has the trusted sources {factory[:16]}…")
    algorithm = opened.record.algorithm
    if algorithm.name not in BUILT_IN:
        _check_foreign_method(opened, trusted)
        seen.append(f"method {_short(algorithm.name)} has trusted sources")
    return "; ".join(seen) or f"model {model} and algorithm {algorithm.name} are built in"


def check_environment(opened: OpenedRecord, device: torch.device) -> str:
    """Fingerprint and self-test here are the record's, field by field."""
    recipe, stated = opened.recipe, opened.record.environment
    with pinned(recipe):
        digest, repeats = self_test(device, recipe.precision, recipe.layout)
        here = fingerprint(recipe, device)
    if not repeats:
        raise LeftUndecided(
            NOT_DETERMINISTIC,
            "the self-test gave two different digests on this machine: nothing computed here can be compared",
        )
    there = {name: value for name, value in stated.fingerprint.items() if name not in APART}
    odd = differences(here, there)
    told = "none" if stated.self_test is None else stated.self_test.hex()
    if told != digest:
        odd.append(f"self test {told[:16]}… there, {digest[:16]}… here")
    if recipe.model in ZOO and stated.factory != "zoo":
        odd.append(f"factory {_short(stated.factory)} there, 'zoo' here")
    if odd:
        raise LeftUndecided(
            MISMATCH,
            f"this machine is not the record's ({'; '.join(odd)}): the same arithmetic gives other bits here, so a "
            "replay would show nothing; find a machine that agrees, or be content with level V1",
        )
    return f"{len(here)} fields and the self-test {digest[:16]}… are the same here"


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Fields in which two fingerprints differ, nested ones by their full names."""
    mine, theirs = _flat(here), _flat(there)
    return [
        f"{name.replace('_', ' ')} {theirs.get(name, 'nothing')} there, {mine.get(name, 'nothing')} here"
        for name in sorted(set(mine) | set(theirs))
        if theirs.get(name) != mine.get(name)
    ]


def check_initial(opened: OpenedRecord) -> str:
    """The initial weights of all shards come out of seed and factory as the record has them, bit for bit."""
    stated, foreign = opened.record.environment.initial_weights or b"", opened.recipe.is_foreign
    try:
        first, second = (_initial_weights(opened) for _ in range(2))
        beside = _beside_the_seed(opened)
    except ExpungeError as error:
        raise refused(Code.INIT_MISMATCH, f"the recipe's model cannot be made at all: {error}") from None
    if first != second:
        raise LeftUndecided(
            NOT_DETERMINISTIC,
            f"model {_short(opened.recipe.model)} came out of its factory with other weights each time",
        )
    if first != stated:
        raise refused(
            Code.INIT_MISMATCH,
            f"the {'factory' if foreign else 'seed'} gives initial weights {first.hex()[:16]}…, the record names "
            f"{stated.hex()[:16]}…: the training did not begin where it says",
        )
    if beside is not None:
        raise _not_the_seeds(beside)
    shards = counted(opened.recipe.shards, "shard")
    if opened.recipe.base is not None:
        return f"made again of base {opened.recipe.base[:16]}… for {shards}: what the base saw before is not covered"
    if foreign:
        return f"made again by the factory for {shards}: it is the owner's code, and what it drew from is for readers"
    return f"drawn again from the seed for {shards}"


def check_nothing_beside(opened: OpenedRecord) -> None:
    """A run that is called exact has a model that read nothing beside its rows, up to now."""
    reason = opened_beside(opened.recipe)
    if reason is not None and opened.record.guarantee.kind is GuaranteeKind.EXACT:
        raise _not_the_seeds(reason)


def _beside_the_seed(opened: OpenedRecord) -> str | None:
    """Why what is called exact is not: initial weights that hold what the seed did not give."""
    if opened.record.guarantee.kind is not GuaranteeKind.EXACT:
        return None
    with pinned(opened.recipe):
        return not_of_the_seed(opened.recipe, opened.schedule)


def _not_the_seeds(reason: str) -> RecordError:
    return refused(
        Code.GUARANTEE_TOO_HIGH,
        f"the record is called exact, and {reason}: read it as a lower claim, or ask for a run that earned more",
    )


def _initial_weights(opened: OpenedRecord) -> bytes:
    with pinned(opened.recipe):
        models = (build(opened.recipe, opened.schedule.seed, shard) for shard in range(opened.recipe.shards))
        return sha256(*(tensors_digest(weights_of(model)) for model in models))


def _check_base(opened: OpenedRecord) -> None:
    """The file that training began with is at hand, where the recipe names one."""
    named, given = opened.recipe.base, opened.supplied.base
    if named is None:
        if given is not None:
            raise InvalidArgument(f"the base {given} has no use here: the training began with the seed alone; leave it")
        return
    if given is None:
        raise EvidenceMissing(
            f"the training began with the base {named[:16]}…, which no bundle holds: ask the owner for the file of "
            "that SHA-256, and give it with `base`"
        )
    try:
        offer(given, named)
    except ExpungeError as error:
        raise EvidenceMissing(str(error)) from None


def _check_foreign_model(opened: OpenedRecord, trusted: Collection[str]) -> None:
    """The model's factory may be called: what lies here is what was trusted, and only then is it imported."""
    name, stated = opened.recipe.model, opened.record.environment.factory
    what = f"model {_short(name)}"
    digest = of_model(name, opened.record)
    if not stated or digest not in trusted:
        raise _untrusted(what, stated, digest)
    found = factory_digest(name)
    if found != stated:
        raise _others(what, stated, found)
    try:
        with pinned(opened.recipe), sources_alone():
            build_empty(opened.recipe)
    except ExpungeError as error:
        raise LeftUndecided(NOT_TRUSTED, f"{what} cannot be made here: {error}") from None


def _check_foreign_method(opened: OpenedRecord, trusted: Collection[str]) -> None:
    """Somebody else's method may run: what lies here is what was trusted, and only then is it imported."""
    name, stated = opened.record.algorithm.name, opened.record.algorithm.source
    what = f"method {_short(name)}"
    digest = of_method(opened.record)
    if stated is None or digest not in trusted:
        raise _untrusted(what, "" if stated is None else stated.hex(), digest)
    if name not in offered():
        raise LeftUndecided(NOT_TRUSTED, f"{what} cannot be found here: no entry point of expunge.methods has its name")
    try:
        found = method_source(name)
    except ExpungeError as error:
        raise LeftUndecided(NOT_TRUSTED, f"{what} cannot be found here: {error}") from None
    if found != stated:
        raise _others(what, stated.hex(), "" if found is None else found.hex())
    try:
        with sources_alone():
            offered_method(name)
    except (ExpungeError, ImportError, AttributeError) as error:
        raise LeftUndecided(NOT_TRUSTED, f"{what} cannot be loaded here: {error}") from None


def _untrusted(what: str, sources: str, digest: str) -> LeftUndecided:
    told = (
        f"and nothing of it was imported: read its sources, which have the digest {_short(sources)}, and say "
        f"`trust` {digest} if they may run here under that name"
        if sources
        else "and the record names no sources of it: nobody can tell what ran"
    )
    return LeftUndecided(NOT_TRUSTED, f"{what} is not built in, {told}")


def _others(what: str, stated: str, found: str) -> LeftUndecided:
    return LeftUndecided(
        NOT_TRUSTED,
        f"{what} has the sources {found[:16] or 'none that can be read'}… here, the record that was trusted names "
        f"{stated[:16]}…: install the very code that was trusted",
    )


def _flat(fields: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Values as text, by their full names."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            found |= _flat(cast("Mapping[str, Any]", value), f"{before}{name}.")
        else:
            found[before + name] = _short(value)
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
