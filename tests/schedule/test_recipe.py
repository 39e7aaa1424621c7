"""The recipe: a value with a digest, read back as it was written, refused where a rule is broken."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.hashing import canonical_json
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.schedule.recipe import Augmentation, Calendar, Optimiser, OptimiserName, Placement, Recipe, Voting
from expunge.schedule.recipe_file import read_recipe

INPUTS = Encoding((Column("image", ColumnKind.IMAGE, (8, 8), "HW", 1 / 255),))
RECIPE = Recipe(inputs=INPUTS, classes=("a", "b"))


@given(
    st.sampled_from(OptimiserName),
    st.floats(0, 10),
    st.integers(1, 50),
    st.integers(1, 9),
    st.sampled_from(Voting),
    st.booleans(),
)
def test_recipes_read_back_and_keep_their_digest(
    name: OptimiserName, rate: float, epochs: int, shards: int, voting: Voting, flip: bool
) -> None:
    plain = {"momentum": 0.0, "weight_decay": 0.0} if name is OptimiserName.SIGN else {}
    recipe = replace(
        RECIPE,
        optimiser=Optimiser(name=name, rate=rate, **plain),
        epochs=epochs,
        shards=shards,
        voting=voting,
        augmentation=Augmentation(flip=flip, crop=2),
        model_options={"width": 8, "dropout": 0.1, "norm": "batch"},
    )
    again = Recipe.from_json(json.loads(json.dumps(recipe.as_json())))
    assert again == recipe
    assert again.digest == recipe.digest


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"epochs": 9},
        {"batch_size": 63},
        {"shards": 2},
        {"slices": 2},
        {"least_present": 2},
        {"classes": ("a", "b", "c")},
        {"model": "mlp"},
        {"model_options": {"width": 3}},
        {"optimiser": Optimiser(momentum=0.8)},
        {"augmentation": Augmentation(flip=True)},
        {"task": "logistic"},
        {"task": "squared", "model": "linear", "perturbation": 1.0},
        {"slices": 2, "epochs": 8, "stages": (7, 1)},
        {"slices": 2, "epochs": 8, "stages": (6, 2)},
        {"placement": Placement.TIERS, "tiers": "0" * 64},
    ],
)
def test_every_field_moves_the_digest(change: dict[str, Any]) -> None:
    assert replace(RECIPE, **change).digest != RECIPE.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs 0 must be a whole number from 1"),
        ({"epochs": 2.5}, "epochs 2.5 must be a whole number"),
        ({"batch_size": 0}, "batch size 0"),
        ({"shards": 0}, "shards 0"),
        ({"seed": -1}, "seed -1"),
        ({"task": "prophecy"}, "task 'prophecy' is not known: choose one of classification, logistic, squared"),
        ({"perturbation": -0.5}, "perturbation -0.5 must be a finite number from 0"),
        ({"perturbation": 1.0}, "perturbation 1 with task classification: noise in the loss is for convex training"),
        ({"least_present": 65}, "every step would be skipped"),
        ({"stages": (7, 1)}, "stages 7, 1 without slices: each is the epochs of a slice's stage; ask for `slices`"),
        ({"slices": 3, "stages": (7, 1)}, "stages 7, 1 are 2, and there are 3 slices: say the epochs of each"),
        ({"slices": 2, "stages": (9, 1)}, "stages 9, 1 are 10 epochs, and `epochs` says 8: leave `epochs` out"),
        ({"slices": 2, "stages": (8, 0)}, r"stages \(8, 0\) must be whole numbers of epochs from 1"),
        ({"slices": 2, "stages": [7, 1]}, r"stages \[7, 1\] must be whole numbers of epochs from 1"),
        ({"placement": Placement.TIERS}, "placement tiers with no tiers: they come from a file of subjects"),
        ({"tiers": "0" * 64}, "placement subject with tiers: they come from a file of subjects"),
        ({"placement": Placement.TIERS, "tiers": "0"}, "tiers '0' must be a SHA-256 in 64 hexadecimal digits"),
    ],
)
def test_broken_rules_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        replace(RECIPE, **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rate": math.nan}, "rate nan"),
        ({"rate": -1.0}, "rate -1.0"),
        ({"momentum": 1.0}, r"momentum 1.0 must lie in \[0, 1\)"),
        ({"weight_decay": math.inf}, "weight decay inf"),
        ({"milestones": (0.7, 0.3)}, "milestones"),
    ],
)
def test_broken_optimisers_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        Optimiser(**change)


def test_unknown_and_missing_fields_are_refused() -> None:
    written = RECIPE.as_json()
    with pytest.raises(DataError, match="unknown or missing"):
        Recipe.from_json({**written, "magic": 1})
    with pytest.raises(DataError, match="could not be read"):
        Recipe.from_json({**written, "voting": "loudest"})


def test_a_field_that_came_later_leaves_older_digests_alone() -> None:
    """Pinned: the digest that this recipe had before there was a perturbation."""
    assert RECIPE.digest.hex() == "bba0fef3d5160cb0319708f0632bc194658f45c183fbfdf7021a1daa1dbcd319"
    assert "perturbation" not in RECIPE.as_json()
    noisy = replace(RECIPE, task="logistic", model="linear", perturbation=2)
    assert noisy.as_json()["perturbation"] == 2.0
    assert Recipe.from_json(json.loads(json.dumps(noisy.as_json()))) == noisy
    assert noisy.digest != replace(noisy, perturbation=0.0).digest
    assert not {"stages", "tiers"} & RECIPE.as_json().keys()
    tiered = replace(RECIPE, slices=2, stages=(7, 1), placement=Placement.TIERS, tiers="ab" * 32)
    assert (tiered.as_json()["stages"], tiered.stage_epochs) == ([7, 1], (7, 1))
    assert Recipe.from_json(json.loads(json.dumps(tiered.as_json()))) == tiered
    assert read_recipe(canonical_json(tiered.as_json())) == tiered


def test_calendars_by_hand() -> None:
    cosine, step = Optimiser(rate=2.0), Optimiser(rate=2.0, calendar=Calendar.STEP)
    assert cosine.rate_at(0, 10) == 2.0
    assert cosine.rate_at(5, 10) == pytest.approx(1.0)
    assert [step.rate_at(at, 8) for at in range(8)] == pytest.approx([2, 2, 2, 2, 0.2, 0.2, 0.02, 0.02])
    assert Optimiser(rate=2.0, calendar=Calendar.CONSTANT).rate_at(9, 10) == 2.0
    warm = Optimiser(rate=2.0, calendar=Calendar.WARM_UP)
    assert [warm.rate_at(at, 5) for at in range(5)] == pytest.approx([2 / 3, 4 / 3, 2, 4 / 3, 2 / 3])
    assert [warm.rate_at(at, 4) for at in range(4)] == pytest.approx([0.8, 1.6, 1.6, 0.8])
    assert warm.rate_at(0, 1) == 2.0


@pytest.mark.parametrize(
    ("epochs", "slices", "expected"), [(8, 1, (8,)), (10, 4, (4, 4, 4, 4)), (5, 4, (2, 2, 2, 2)), (1, 4, (1, 1, 1, 1))]
)
def test_stages_share_the_epochs(epochs: int, slices: int, expected: tuple[int, ...]) -> None:
    assert replace(RECIPE, epochs=epochs, slices=slices).stage_epochs == expected


@given(st.integers(5, 60), st.integers(2, 12))
def test_stages_cost_as_much_as_plain_training(epochs: int, slices: int) -> None:
    """Equal slices: Σ e_s·s/R differs from E by rounding only."""
    found = replace(RECIPE, epochs=epochs, slices=slices).stage_epochs
    passes = sum(count * (index + 1) / slices for index, count in enumerate(found))
    if 2 * epochs >= slices + 1:
        assert abs(passes - epochs) <= 1.0


def test_sign_descent_has_nothing_to_remember() -> None:
    """A momentum or a decay that would have no effect is refused."""
    for fields in ({"weight_decay": 0.0}, {"momentum": 0.0}):
        with pytest.raises(InvalidArgument, match="have no part in signs: set both to 0"):
            Optimiser(name=OptimiserName.SIGN, **fields)
