"""The search for a method's fields: the default first, then Optuna's tree-structured Parzen estimator.

A search is a pure function of its seed and of what the attempts came to (Bergstra et al., Algorithms for
Hyper-Parameter Optimization, 2011). So one that was interrupted goes on from the trials that were kept: the sampler is
asked again in the same order and told the kept results.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from expunge.core.errors import DataError, InvalidArgument, RunError, UnsupportedYet
from expunge.core.hashing import canonical_json
from expunge.core.installed import needed_by
from expunge.methods.contract import Method
from expunge.methods.fields import Among, Between, searches
from expunge.records.tuning import MOST_TRIALS, Attempt, TuningTrial
from expunge.schedule.recipe import Recipe
from expunge.study.pseudo_sets import check_seed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

INADMISSIBLE, FAILED = (
    1e6,
    2e6,
)  # ranks behind every score: what must not be chosen still tells the sampler where not to


@dataclass(frozen=True)
class Tried:
    """A trial with the method that was made for it."""

    trial: TuningTrial
    made: Method


def search(
    method: type[Method],
    attempt: Callable[[Method], Attempt],
    *,
    trials: int,
    seed: int,
    kept: Sequence[TuningTrial] = (),
    on_trial: Callable[[TuningTrial], None] | None = None,
) -> list[Tried]:
    """Attempt so many sets of fields, the default first. ``on_trial`` is told of each that is not among the kept.

    Fields that came up before are not attempted again: a method gives the same for the same fields.
    """
    check_trials(trials)
    check_seed(seed)
    if len(kept) > trials:
        raise DataError(f"{len(kept)} trials are kept, {trials} were asked for: ask for as many as before")
    space, found = Space(method), list[Tried]()
    by_fields: dict[bytes, TuningTrial] = {}
    with _sampler(space, seed) as (ask, tell):
        for index in range(trials):
            made, token = (method(), None) if index == 0 else ask()
            fields = made.told.fields
            key = canonical_json(fields)
            before = by_fields.get(key)
            if index < len(kept):
                trial = kept[index]
                if trial.index != index or canonical_json(trial.fields) != key:
                    raise RunError(
                        f"trial {index} of {method.name} was kept with the fields {dict(trial.fields)}, the search "
                        f"asks for {fields}: another version of Optuna or of the method made it; choose a new `out`"
                    )
            elif before is not None:
                trial = replace(before, index=index, repeats=before.index, example_steps=0.0, scoring=0.0, seconds=0.0)
            else:
                trial = TuningTrial(index=index, fields=fields, repeats=None, **vars(attempt(made)))
            if index >= len(kept) and on_trial is not None:
                on_trial(trial)
            by_fields.setdefault(key, trial)
            found.append(Tried(trial, made))
            tell(token, rank(trial))
    return found


def best(tried: Sequence[Tried]) -> Tried | None:
    """The admissible trial with the lowest score, the earliest of equals; None where none is admissible."""
    fit = [one for one in tried if one.trial.state == "admissible"]
    return min(fit, key=lambda one: (rank(one.trial), one.trial.index)) if fit else None


def rank(attempt: Attempt) -> float:
    """What the sampler minimises: the score; behind all of those, how much accuracy is missing; then failures."""
    if attempt.score is None:
        return FAILED
    if attempt.score.short:
        return INADMISSIBLE + attempt.score.short
    return min(attempt.score.value, INADMISSIBLE)


def check_optuna() -> None:
    """Refuse, where the package is missing."""
    with needed_by("tuning"):
        if find_spec("optuna") is None:
            raise ModuleNotFoundError(name="optuna")


def optuna_version() -> str | None:
    """Another version may ask for other fields."""
    try:
        return version("optuna")
    except PackageNotFoundError:
        return None


def check_trials(trials: int) -> None:
    if not 1 <= trials <= MOST_TRIALS:
        raise InvalidArgument(f"trials {trials} must be a whole number from 1 to {MOST_TRIALS}")


class Space:
    """Where a method's fields are searched, in the sampler's terms: choices by their position, ranges as they are."""

    def __init__(self, method: type[Method]) -> None:
        self.method = method
        self.searches = searches(method)
        kinds = typing.get_type_hints(method)
        self.whole = {name for name in self.searches if kinds[name] is int}

    def distributions(self) -> dict[str, BaseDistribution]:
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        found: dict[str, BaseDistribution] = {}
        for name, search in self.searches.items():
            if isinstance(search, Among):
                found[name] = CategoricalDistribution(tuple(range(len(search.values))))
            elif name in self.whole and search.times is None:
                found[name] = IntDistribution(round(search.low), round(search.high), log=search.log)
            else:
                found[name] = FloatDistribution(search.low, search.high, log=search.log)
        return found

    def make(self, drawn: Mapping[str, Any]) -> Method:
        """The method with the fields that were drawn; one given in units of another field is multiplied with it."""
        values = {
            name: search.values[drawn[name]] if isinstance(search, Among) else drawn[name]
            for name, search in self.searches.items()
        }
        default = self.method()
        for name, search in self.searches.items():
            if isinstance(search, Between) and search.times is not None:
                value = drawn[name] * values.get(search.times, getattr(default, search.times))
                values[name] = round(value) if name in self.whole else value
        return self.method(**values)

    def drawn(self, method: Method) -> dict[str, Any] | None:
        """What would have to be drawn for these fields; None where they lie outside the ranges."""
        found: dict[str, Any] = {}
        for name, search in self.searches.items():
            value = getattr(method, name)
            if isinstance(search, Among):
                same = [at for at, one in enumerate(search.values) if _plain(one) == _plain(value)]
                if not same:
                    return None
                found[name] = same[0]
                continue
            unit = 1.0 if search.times is None else getattr(method, search.times)
            if unit == 0 or not search.low <= value / unit <= search.high:
                return None
            found[name] = value if search.times is None else value / unit
        return found


_Ask = Callable[[], tuple[Method, Any]]
_Tell = Callable[[Any, float], None]


@contextmanager
def _sampler(space: Space, seed: int) -> Generator[tuple[_Ask, _Tell]]:
    """How to ask for fields and tell what they came to; Optuna keeps quiet meanwhile."""
    check_optuna()
    import optuna

    distributions = space.distributions()
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

        def ask() -> tuple[Method, Any]:
            trial = study.ask(distributions)
            return space.make(trial.params), trial

        def tell(token: Any, value: float) -> None:
            if token is not None:
                study.tell(token, value)
                return
            default = space.drawn(space.method())
            if default is not None:
                study.add_trial(optuna.trial.create_trial(params=default, distributions=distributions, value=value))

        yield ask, tell
    finally:
        optuna.logging.set_verbosity(verbosity)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def check_tunable(recipe: Recipe, budgets: tuple[float, ...]) -> None:
    """Refuse before anything is trained what no rehearsal can be made for."""
    check_optuna()
    if recipe.shards > 1:
        raise UnsupportedYet(
            f"tuning on {recipe.shards} shards: approximate methods have no rule for several shards so far; leave "
            "[tuning] out, or train in one shard"
        )
    if 0 in budgets:
        raise InvalidArgument("tuning with a budget of 0: no method may do anything; leave [tuning] out")
