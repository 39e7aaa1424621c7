"""Which guarantee a record may carry: the one that the run earned, and none that its method cannot earn."""

from __future__ import annotations

import math

from expunge.core.errors import RecordError
from expunge.core.values import Certified, Exact
from expunge.methods import METHODS
from expunge.methods.lookup import read_method
from expunge.records.claims import highest
from expunge.records.limits import Code, refused
from expunge.records.record import GuaranteeKind, GuaranteePart
from expunge.schedule.recipe import Profile
from expunge.train.run import Run

TRAINING, ADOPTING = "train", "adopt"  # what a run came about by that no method made
BUILT_IN = frozenset(method.name for method in METHODS)
ALTERED = "run.json was altered, or another program wrote it; make the run again"
FOREIGN = "the method is not built in, so nothing here can tell what it earns: its record says empirical"
UNRECORDED = "the method keeps no states that could be replayed, so nobody could check it: its record says empirical"


def algorithm_of(run: Run) -> str:
    """The method's name, or that of what no method made."""
    return run.method or run.told.operation


def lowered(run: Run) -> str | None:
    """Why a record says less than run.json, if it does: what nobody could check is never called exact or certified."""
    name, described = algorithm_of(run), run.told.method
    if described is None:
        return None
    if name not in BUILT_IN:
        return FOREIGN
    exact = isinstance(run.guarantee, Exact)
    if exact and highest(name) is GuaranteeKind.EMPIRICAL and read_method(described).reach is Exact:
        return UNRECORDED
    return None


def guarantee_of(run: Run, *, recorded: bool) -> GuaranteePart:
    """The guarantee of a run; one that is more than its method, profile or trajectory can earn is refused.

    ``recorded`` says whether states and steps are on record.
    """
    if lowered(run) is not None:
        return GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=())
    stated, name, what = run.guarantee, algorithm_of(run), str(run.path)
    if isinstance(stated, Exact):
        _check_highest(GuaranteeKind.EXACT, name, what)
        _check_exact(run, recorded, what)
        return GuaranteePart(kind=GuaranteeKind.EXACT, base=None if stated.base is None else bytes.fromhex(stated.base))
    if isinstance(stated, Certified):
        _check_highest(GuaranteeKind.CERTIFIED, name, what)
        _check_certified(stated, run, what)
        return GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=stated.epsilon, delta=stated.delta)
    if stated.passed or stated.level is not None:
        raise _too_high(f"{what} names tests that it passed, which no method can say of itself: {ALTERED}")
    return GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=())


def _check_highest(kind: GuaranteeKind, name: str, what: str) -> None:
    if highest(name) is not kind:
        raise _too_high(
            f"{what} is called {kind.value}, its method {name} can earn {highest(name).value} at most: {ALTERED}"
        )


def _check_exact(run: Run, recorded: bool, what: str) -> None:
    recipe = run.recipe
    if not recorded:
        raise _too_high(f"{what} is called exact and recorded no trajectory that could be replayed: {ALTERED}")
    if recipe.profile is not Profile.EXACT:
        raise _unpinned(f"{what} is called exact, and its {recipe.profile.value} profile pins no bits: {ALTERED}")
    if recipe.threads != 1:
        raise _unpinned(f"{what} is called exact, and its {recipe.threads} threads may repeat by luck only: {ALTERED}")
    if run.guarantee != Exact(recipe.base):
        raise _too_high(f"{what} is called exact, and its training began with another base than that says: {ALTERED}")
    reason = run.result.exact_refused
    if reason is not None:
        raise _too_high(f"{what} is called exact, and says itself that it is not ({reason}): {ALTERED}")


def _check_certified(stated: Certified, run: Run, what: str) -> None:
    fields = {} if run.told.method is None else run.told.method.fields
    said = fields.get("epsilon"), fields.get("delta")
    if said != (stated.epsilon, stated.delta):
        raise _too_high(
            f"{what} is called certified at ε {stated.epsilon:g} and δ {stated.delta:g}, its method was asked for "
            f"{said[0]} and {said[1]}: {ALTERED}"
        )
    if not (math.isfinite(stated.epsilon) and stated.epsilon > 0 and 0 < stated.delta < 1):
        raise _too_high(f"{what} is called certified at ε {stated.epsilon:g} and δ {stated.delta:g}: {ALTERED}")
    if run.told.noise_commitment is None:
        raise _too_high(f"{what} is called certified, and no noise was announced that could hide a removal: {ALTERED}")


def _too_high(reason: str) -> RecordError:
    return refused(Code.GUARANTEE_TOO_HIGH, reason)


def _unpinned(reason: str) -> RecordError:
    return refused(Code.PROFILE_CLAIM_MISMATCH, reason)
