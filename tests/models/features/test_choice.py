"""Which map a model gets by its name and the columns, and what is refused in which words."""

from __future__ import annotations

import pytest

from expunge.core.errors import ExpungeError, InvalidArgument
from expunge.core.penalties import PENALTIES
from expunge.data.dataset import Column, ColumnKind
from expunge.data.encoding import Encoding
from expunge.models.features import MAPS
from expunge.models.features.choice import feature_map, map_of, stated
from expunge.models.features.contract import FeatureMap
from expunge.models.features.patches import FILTERS_DIGEST
from expunge.schedule.recipe import HowTrained, Recipe

NUMBER = Column("age", ColumnKind.NUMERIC)
WORD = Column("city", ColumnKind.CATEGORY)
TEXT = Column("review", ColumnKind.TEXT)
VECTOR = Column("x", ColumnKind.ARRAY, (20,))


def image(*shape: int, layout: str = "HW", kind: ColumnKind = ColumnKind.IMAGE) -> Column:
    return Column("image", kind, shape, layout, 1 / 255)


def chosen(model: str, *columns: Column, **options: int | float | str | bool) -> tuple[str, int]:
    recipe = Recipe(
        inputs=Encoding(columns), classes=(0, 1), model=model, model_options=options, training=HowTrained.ACCUMULATE
    )
    found = map_of(recipe)
    assert type(found) is MAPS[found.name]
    assert found == feature_map(model, Encoding(columns), options)
    return found.name, found.width


@pytest.mark.parametrize(
    ("model", "columns", "name", "width"),
    [
        ("ridge", (NUMBER, WORD), "table", 1024),
        ("ridge", (NUMBER, TEXT), "table", 1024),
        ("ridge", (TEXT,), "words", 2048),
        ("ridge", (VECTOR,), "cosine", 1024),
        ("ridge", (VECTOR, NUMBER), "table", 1024),
        ("ridge", (image(8, 8),), "cosine", 1024),
        ("ridge", (image(16, 16, 3, layout="HWC"),), "cosine", 1024),
        ("ridge", (image(8, 8, kind=ColumnKind.ARRAY),), "cosine", 1024),
        ("patch-ridge", (image(12, 12),), "patches", 2048),
        ("patch-ridge", (image(3, 32, 32, layout="CHW"),), "patches", 2048),
        ("patch-ridge", (image(28, 28, kind=ColumnKind.ARRAY),), "patches", 2048),
        ("naive-bayes", (TEXT,), "words", 2048),
        ("naive-bayes", (NUMBER, TEXT), "table", 1024),
        ("naive-bayes", (VECTOR,), "table", 1024),
        ("forest", (NUMBER, WORD), "table", 1024),
        ("forest", (VECTOR,), "table", 1024),
    ],
)
def test_the_map_follows_model_and_columns(model: str, columns: tuple[Column, ...], name: str, width: int) -> None:
    assert chosen(model, *columns) == (name, width)
    assert chosen(model, *columns, width=4096) == (name, 4096)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", MAPS.values(), ids=MAPS)
def test_every_map_has_a_penalty_and_only_two_classes_have_that_of_bayes(kind: type[FeatureMap], classes: int) -> None:
    penalty, shift = kind(Encoding((TEXT,)), 64).penalty(classes)
    assert penalty in PENALTIES
    assert shift >= 0
    assert (penalty == "bayes") is (kind is MAPS["words"] and classes == 2)


def test_tables_of_many_numbers_are_looked_at_wider() -> None:
    def numbers(count: int) -> list[Column]:
        return [Column(f"n{at}", ColumnKind.NUMERIC) for at in range(count)]

    assert [chosen("ridge", *numbers(count))[1] for count in (21, 22, 43, 170)] == [1024, 2048, 4096, 8192]
    assert chosen("forest", *numbers(500)) == ("table", 1024)


@pytest.mark.parametrize(
    ("model", "columns", "sentence"),
    [
        (
            "forest",
            (image(28, 28),),
            "model 'forest' takes tables, the data has images of 28×28: use `model` patch-ridge",
        ),
        (
            "naive-bayes",
            (image(8, 8),),
            "model 'naive-bayes' takes tables, the data has images of 8×8: use `model` ridge",
        ),
        (
            "forest",
            (NUMBER, TEXT),
            "model 'forest' takes numbers and categories, column 'review' holds text: leave it out or use `model` "
            "ridge",
        ),
        (
            "ridge",
            (Column("x", ColumnKind.ARRAY, (20, 500)),),
            "model 'ridge' takes arrays of up to 8,192 entries, column 'x' has 10,000 a row: use `model` mlp",
        ),
        ("patch-ridge", (NUMBER, WORD), "model 'patch-ridge' takes images, the data has none: use `model` ridge"),
        (
            "patch-ridge",
            (image(28, 11),),
            "model 'patch-ridge' takes images from 12×12 to 512×512, the data has images of 28×11: use `model` cnn",
        ),
        (
            "patch-ridge",
            (image(8, 8),),
            "model 'patch-ridge' takes images from 12×12 to 512×512, the data has images of 8×8: use `model` ridge",
        ),
        (
            "patch-ridge",
            (image(20, 513),),
            "model 'patch-ridge' takes images from 12×12 to 512×512, the data has images of 20×513: use `model` cnn",
        ),
        (
            "patch-ridge",
            (image(32, 32, 4, layout="HWC"),),
            "model 'patch-ridge' takes 1 or 3 channels, the data has 4: leave out the others",
        ),
        (
            "ridge",
            (image(28, 28),),
            "model 'ridge' takes images of up to 16×16, the data has images of 28×28: use `model` patch-ridge",
        ),
        (
            "ridge",
            (image(28, 8),),
            "model 'ridge' takes images of up to 16×16, the data has images of 28×8: use `model` cnn",
        ),
    ],
)
def test_what_does_not_fit_is_refused(model: str, columns: tuple[Column, ...], sentence: str) -> None:
    with pytest.raises(ExpungeError) as caught:
        chosen(model, *columns)
    assert type(caught.value) is InvalidArgument
    assert str(caught.value) == sentence


@pytest.mark.parametrize("width", [31, 8193, 1024.0, "many", True])
def test_widths_that_cannot_be_solved_are_refused(width: int | float | str | bool) -> None:
    with pytest.raises(InvalidArgument) as caught:
        chosen("ridge", TEXT, width=width)
    assert str(caught.value) == (
        f"width {width!r} of `model_options` must be a whole number from 32 to 8,192: wider sums are not solved "
        "exactly; the usual one is 2,048"
    )


def test_a_recipe_states_its_filters_and_others_are_refused() -> None:
    assert stated("ridge", {"width": 64}) == {"width": 64}
    options = stated("patch-ridge", {"width": 64})
    assert options == {"width": 64, "filters": FILTERS_DIGEST}
    assert chosen("patch-ridge", image(28, 28), **options) == ("patches", 64)
    with pytest.raises(InvalidArgument) as caught:
        chosen("patch-ridge", image(28, 28), **stated("patch-ridge", {"filters": "ab" * 32}))
    assert str(caught.value) == (
        f"the recipe looks through the filters abababababababab…, those of this release are {FILTERS_DIGEST[:16]}…: "
        "use the release that it was made with"
    )


def test_tables_that_no_width_holds_are_refused() -> None:
    many = Column("x", ColumnKind.ARRAY, (171,))
    for model, columns, options, start, end in (
        (
            "ridge",
            (NUMBER, WORD) * 11,
            {"width": 64},
            "width 64 ",
            "does not hold 11 numbers a row, which can have 48 edges each: give it 530 or more",
        ),
        (
            "ridge",
            (many, NUMBER),
            {},
            "width 8,192 ",
            "172 numbers a row, which can have 48 edges each: leave columns out, or use `model` forest",
        ),
    ):
        with pytest.raises(InvalidArgument) as caught:
            chosen(model, *columns, **options)
        assert str(caught.value).startswith(start)
        assert str(caught.value).endswith(end)
