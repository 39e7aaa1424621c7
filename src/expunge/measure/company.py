"""Which runs may stand beside an unlearned one: the original, retrained references, witnesses; all else is refused."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.train.run import Run


def original_of(unlearned: Run, original: Run) -> Run:
    """The run before forgetting: same data, same recipe, with exactly the forget set still in."""
    before = np.setdiff1d(unlearned.tombstones, unlearned.forget_set.slots)
    if original.told.dataset_root != unlearned.told.dataset_root:
        raise InvalidArgument(f"`original` {original.path} was trained on other data: its root differs")
    if not original.has_recipe_of(unlearned):
        raise InvalidArgument(f"`original` {original.path} has another recipe than {unlearned.path}")
    if not np.array_equal(original.tombstones, before):
        raise InvalidArgument(
            f"`original` {original.path} has forgotten {len(original.tombstones)} rows, before this request "
            f"{len(before)} were gone: name the run that was unlearned"
        )
    parent = unlearned.told.parent
    if parent is not None and parent.weights_digest != original.weights_digest:
        raise InvalidArgument(
            f"`original` {original.path} has other weights than the run that {unlearned.path} came from, "
            f"{parent.weights_digest[:12]}…: beside another training what was left as it was is not seen; name that run"
        )
    return original


def listed(name: str, given: Sequence[Run | Path | str] | Run | Path | str, what: str) -> list[Run]:
    """Runs as they were handed over, one or several."""
    listed = [given] if isinstance(given, str | PathLike) else given
    if not isinstance(listed, list | tuple):
        raise InvalidArgument(f"`{name}` {given!r:.80} must be a list of runs, {what}")
    return [Run.of(one, name) for one in listed]


def witnesses_of(unlearned: Run, original: Run, references: list[Run], found: list[Run]) -> list[Run]:
    """Witnesses must be trainings of the same recipe with the forget set, under lineages that nobody else has.

    What shares one shares its luck, which would look like memory.
    """
    taken = {one.lineage_seed: one.path for one in (*references, unlearned, original)}
    kept: dict[str, Run] = {}
    for witness in found:
        if witness.told.dataset_root != unlearned.told.dataset_root:
            raise InvalidArgument(f"witness {witness.path} was trained on other data: its root differs")
        if not witness.has_recipe_of(unlearned) or _factory(witness) != _factory(unlearned):
            raise InvalidArgument(f"witness {witness.path} has another recipe: only the seed may differ")
        if not np.array_equal(witness.tombstones, original.tombstones):
            raise InvalidArgument(
                f"witness {witness.path} was trained without {len(witness.tombstones)} rows, {original.path} without "
                f"{len(original.tombstones)}: a witness holds the forget set, and all else as the original does"
            )
        if unlearned.told.adopted is None and not (witness.told.recorded and witness.told.operation != "adopt"):
            raise InvalidArgument(
                f"witness {witness.path} was made by {witness.method or 'its owner'!r}: a witness is a training"
            )
        if witness.lineage_seed in taken:
            raise InvalidArgument(
                f"witness {witness.path} shares its seed with {taken[witness.lineage_seed]}, and with it luck that "
                "would look like memory: train one under another with `expunge witnesses`"
            )
        kept.setdefault(witness.lineage_seed, witness)
    return list(kept.values())


def references_of(unlearned: Run, original: Run, found: list[Run]) -> tuple[list[Run], frozenset[str], tuple[str, ...]]:
    """References must be exact retrainings of the same request; two of one lineage count once.

    Of an adopted model they are its owner's own retrainings, adopted alike: nobody else can carry its training out.
    One under the original's own seed shares its luck and is none of them: what equals it is retrained all the same. The
    weights of all of them are given beside, but for those that are retrained by word alone.
    """
    kept: dict[str, Run] = {}
    for reference in found:
        if reference.path.resolve() == unlearned.path.resolve():
            raise InvalidArgument(f"reference {reference.path} is the run itself: name other retrainings")
        if reference.told.dataset_root != unlearned.told.dataset_root:
            raise InvalidArgument(f"reference {reference.path} was trained on other data: its root differs")
        if reference.told.tombstones != unlearned.told.tombstones:
            raise InvalidArgument(
                f"reference {reference.path} forgot other examples than {unlearned.path}: retrain with the same "
                "`forget`"
            )
        _refuse_other_origin(unlearned, reference)
        if not reference.told.recorded and reference.told.operation != "adopt":
            raise InvalidArgument(
                f"reference {reference.path} was made by {reference.method!r}: a reference is a run that `retrain` or "
                "`exact-replay` made"
            )
        if not reference.has_recipe_of(unlearned):
            what = (
                "model or preparation of rows"
                if unlearned.told.adopted is not None
                else "recipe: only the seed may differ"
            )
            raise InvalidArgument(f"reference {reference.path} has another {what}")
        if _factory(reference) != _factory(unlearned):
            raise InvalidArgument(
                f"reference {reference.path} was trained with another source of the model {reference.recipe.model!r} "
                "than the run: retrain it with the source as it is now"
            )
        kept.setdefault(reference.lineage_seed, reference)
    flags: tuple[str, ...] = ()
    if len(kept) < len(found):
        flags = (f"{len(found) - len(kept)} references share a lineage with another one and count once",)
    if original.told.adopted is not None:
        return list(kept.values()), frozenset(), flags
    _hold_to_their_word(unlearned, found)
    weights = frozenset(one.weights_digest for one in kept.values())
    if kept.pop(original.lineage_seed, None) is not None:
        flags += ("one reference has the original's own seed: it serves to compare bits and is not counted",)
    return list(kept.values()), weights, flags


def _hold_to_their_word(unlearned: Run, found: list[Run]) -> None:
    """Where bits are said to be equal the weights themselves are opened, for what is kept by their digest is not."""
    equal = [one for one in found if one.weights_digest == unlearned.weights_digest]
    for run in (unlearned, *equal) if equal else ():
        run.model()


def _refuse_other_origin(unlearned: Run, reference: Run) -> None:
    """What was trained here is held against what is retrained here, and what was trained elsewhere likewise."""
    if unlearned.told.adopted is None and reference.told.adopted is not None:
        raise InvalidArgument(
            f"reference {reference.path} was trained elsewhere, {unlearned.path} here: retrain the run's own recipe "
            "with `retrain`"
        )
    if unlearned.told.adopted is not None and reference.told.operation != "adopt":
        raise InvalidArgument(
            f"reference {reference.path} is no retraining by the owner, who trained the model of {unlearned.path}: let "
            "the owner retrain it without these rows, and adopt that with `without`"
        )


def _factory(run: Run) -> str | None:
    """Digest of the source that makes the model; "zoo" for our own."""
    return (run.told.environment or {}).get("factory")
