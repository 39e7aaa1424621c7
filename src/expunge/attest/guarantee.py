"""Which guarantee a record may carry: the one that the run earned, and none that its method cannot earn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from expunge.core.errors import RecordError
from expunge.core.values import Certified, Exact, guarantee_from_json
from expunge.methods import METHODS
from expunge.methods.lookup import method_from_json
from expunge.records.claims import highest
from expunge.records.limits import Code, refused
from expunge.records.record import Guarantee, GuaranteeKind
from expunge.schedule.recipe import Profile, Recipe

TRAINING = "train"
BUILT_IN = frozenset(method.name for method in METHODS)
ALTERED = "run.json was altered, or another program wrote it; make the run again"
FOREIGN = "the method is not built in, so nothing here can tell what it earns: its record says empirical"
UNRECORDED = "the method keeps no states that could be replayed, so nobody could check it: its record says empirical"


def algorithm_of(manifest: Mapping[str, Any]) -> str:
    """The method's name, or "train"."""
    described = manifest.get("method")
    return TRAINING if described is None else str(described["name"])


def lowered(manifest: Mapping[str, Any]) -> str | None:
    """Why a record says less than run.json, if it does: what nobody could check is never called exact or certified."""
    name = algorithm_of(manifest)
    if name == TRAINING:
        return None
    if name not in BUILT_IN:
        return FOREIGN
    exact = isinstance(guarantee_from_json(manifest["guarantee"]), Exact)
    if exact and highest(name) is GuaranteeKind.EMPIRICAL and method_from_json(manifest["method"]).reach is Exact:
        return UNRECORDED
    return None


def guarantee_of(manifest: Mapping[str, Any], recipe: Recipe, *, recorded: bool, what: str) -> Guarantee:
    """The guarantee of a run.json; one that is more than its method, profile or trajectory can earn is refused.

    ``recorded`` says whether states and steps are on record; ``what`` names the run in the refusal.
    """
    if lowered(manifest) is not None:
        return Guarantee(kind=GuaranteeKind.EMPIRICAL, tests=())
    stated, name = guarantee_from_json(manifest["guarantee"]), algorithm_of(manifest)
    if isinstance(stated, Exact):
        _check_highest(GuaranteeKind.EXACT, name, what)
        _check_exact(manifest, recipe, recorded, what)
        return Guarantee(kind=GuaranteeKind.EXACT)
    if isinstance(stated, Certified):
        _check_highest(GuaranteeKind.CERTIFIED, name, what)
        _check_certified(stated, manifest, what)
        return Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=stated.epsilon, delta=stated.delta)
    if stated.passed or stated.level is not None:
        raise _too_high(f"{what} names tests that it passed, which no method can say of itself: {ALTERED}")
    return Guarantee(kind=GuaranteeKind.EMPIRICAL, tests=())


def _check_highest(kind: GuaranteeKind, name: str, what: str) -> None:
    if highest(name) is not kind:
        raise _too_high(
            f"{what} is called {kind.value}, its method {name} can earn {highest(name).value} at most: {ALTERED}"
        )


def _check_exact(manifest: Mapping[str, Any], recipe: Recipe, recorded: bool, what: str) -> None:
    if not recorded:
        raise _too_high(f"{what} is called exact and recorded no trajectory that could be replayed: {ALTERED}")
    if recipe.profile is not Profile.EXACT:
        raise _unpinned(f"{what} is called exact, and its {recipe.profile.value} profile pins no bits: {ALTERED}")
    if recipe.threads != 1:
        raise _unpinned(f"{what} is called exact, and its {recipe.threads} threads may repeat by luck only: {ALTERED}")
    reason = manifest.get("exact_refused")
    if reason is not None:
        raise _too_high(f"{what} is called exact, and says itself that it is not ({reason}): {ALTERED}")


def _check_certified(stated: Certified, manifest: Mapping[str, Any], what: str) -> None:
    fields = manifest["method"]["fields"]
    said = fields.get("epsilon"), fields.get("delta")
    if said != (stated.epsilon, stated.delta):
        raise _too_high(
            f"{what} is called certified at ε {stated.epsilon:g} and δ {stated.delta:g}, its method was asked for "
            f"{said[0]} and {said[1]}: {ALTERED}"
        )
    if not (math.isfinite(stated.epsilon) and stated.epsilon > 0 and 0 < stated.delta < 1):
        raise _too_high(f"{what} is called certified at ε {stated.epsilon:g} and δ {stated.delta:g}: {ALTERED}")
    if manifest.get("noise_commitment") is None:
        raise _too_high(f"{what} is called certified, and no noise was announced that could hide a removal: {ALTERED}")


def _too_high(reason: str) -> RecordError:
    return refused(Code.GUARANTEE_TOO_HIGH, reason)


def _unpinned(reason: str) -> RecordError:
    return refused(Code.PROFILE_CLAIM_MISMATCH, reason)
