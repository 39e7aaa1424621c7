"""Where a method's fields come from: a rehearsal, the table's defaults, or somebody's hand."""

from __future__ import annotations

from dataclasses import replace

from expunge.core.errors import InvalidArgument
from expunge.data.forget_set import ForgetSet
from expunge.methods.contract import DEFAULT_BUDGET, Method
from expunge.methods.fields import searches
from expunge.records.run_file import MethodFile, NothingToTune, TunedFields
from expunge.schedule.recipe import Recipe
from expunge.train.run import Run

AGAIN = "tune this run with `expunge tune`"


def recipe_but_seed(recipe: Recipe) -> str:
    """Digest of a recipe with its seed left aside: a tuning serves every training of a recipe."""
    return replace(recipe, seed=0).digest.hex()


def check_tuning(tuning: TunedFields, run: Run, method: Method, budget: float | None) -> None:
    """Fields that were tuned for another method, recipe, data set or budget are not used as if they were for this."""
    if tuning.method != method.told:
        raise InvalidArgument(
            f"the tuning chose {_named(tuning.method)}, asked for is {_named(method.told)}: take the method from the "
            "tuning as well, or leave the tuning out"
        )
    recipe = recipe_but_seed(run.recipe)
    if tuning.recipe_but_seed != recipe:
        raise InvalidArgument(
            f"the tuning was made for the recipe {tuning.recipe_but_seed[:12]}…, {run.path} has "
            f"{recipe[:12]}… (seeds left aside): {AGAIN}"
        )
    if tuning.data_root != run.root.hex():
        raise InvalidArgument(
            f"the tuning was made on the data set {tuning.data_root[:12]}…, {run.path} was trained on "
            f"{run.root.hex()[:12]}…: {AGAIN}"
        )
    asked = DEFAULT_BUDGET if budget is None else budget
    if tuning.budget != asked:
        raise InvalidArgument(
            f"the tuning was made for a budget of {tuning.budget:.4g}, asked for is {asked:.4g}: fields that suit "
            f"one do not suit the other; give the same budget, or {AGAIN}"
        )


def check_kind(tuning: TunedFields, forget: ForgetSet) -> None:
    """A rehearsal of random requests says nothing of whole classes; a set whose kind is not known is let pass."""
    kinds = {rule.partition(":")[0] for rule in forget.rules}
    found = kinds.pop() if len(kinds) == 1 else ""
    if found in ("random", "class", "subject") and tuning.kind != found:
        raise InvalidArgument(
            f"the tuning rehearsed requests of the kind {tuning.kind!r}, this one is of the kind {found!r}: "
            f"{AGAIN} `kind` {found}"
        )


def said_of_fields(method: Method, tuning: TunedFields | None) -> tuple[bool, TunedFields | NothingToTune | None]:
    """What run.json says: whether the fields are untuned, and how they were tuned.

    A method without search ranges on its defaults has nothing to tune, and is not flagged for it.
    """
    if tuning is not None:
        return False, tuning
    if not method.takes_budget:
        return False, None
    if not searches(type(method)) and method == type(method)():
        return False, NothingToTune()
    return True, None


def _named(method: MethodFile) -> str:
    fields = ", ".join(f"{name}={value}" for name, value in sorted(method.fields.items()))
    return f"{method.name}({fields})"
