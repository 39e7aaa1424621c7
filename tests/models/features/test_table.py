"""The table map against a plain loop over rows, and what its edges hang on."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest

from expunge.core.errors import DataError
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.encoding import Encoding, bucket, words_of
from expunge.models.features.contract import Constants, Ragged
from expunge.models.features.edges import bounds_of, edges_of
from expunge.models.features.table import TableMap
from expunge.models.features.words import WordMap

SEED = bytes(range(32))
KINDS = {
    "age": ColumnKind.NUMERIC,
    "city": ColumnKind.CATEGORY,
    "notes": ColumnKind.TEXT,
    "gain": ColumnKind.NUMERIC,
    "born": ColumnKind.DATE,
    "remark": ColumnKind.TEXT,
}


def people(count: int = 40, names: tuple[str, ...] = tuple(KINDS)) -> Dataset:
    draws = np.random.default_rng(7)
    content: dict[str, np.ndarray] = {
        "age": draws.integers(17, 90, count).astype(float),
        "gain": np.where(draws.random(count) < 0.8, -0.0, draws.normal(0, 3000, count)),
        "born": draws.integers(-9000, 9000, count).astype(float),
        "city": np.array([f"city {row % 5}" for row in range(count)], dtype=object),
        "notes": np.array([" ".join(f"w{row * at % 9}" for at in range(row % 7)) for row in range(count)], object),
        "remark": np.array([f"w{row % 9} W{row % 9}" for row in range(count)], dtype=object),
    }
    return make_dataset(
        labels=[row % 2 for row in range(count)],
        columns=[Column(name, KINDS[name]) for name in names],
        content={name: content[name] for name in names},
        where="test people",
    )


def table_map(dataset: Dataset, width: int = 1024) -> TableMap:
    return TableMap(Encoding(dataset.columns), width)


def mixed(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
    return word ^ (word >> 31)


def slowly(dataset: Dataset, constants: Constants, width: int) -> np.ndarray:
    """Row by row in whole numbers, with a set of columns each."""
    of_numbers = [one.name for one in dataset.columns if KINDS[one.name] in (ColumnKind.NUMERIC, ColumnKind.DATE)]
    categories = [one.name for one in dataset.columns if KINDS[one.name] is ColumnKind.CATEGORY]
    texts = [one.name for one in dataset.columns if KINDS[one.name] is ColumnKind.TEXT]
    edges = [[edge for edge in row if edge < np.inf] for row in constants["edges"].tolist()]
    key, first = int(constants["hash_key"][0]) % 2**64, sum(map(len, edges))
    found = np.zeros((len(dataset), width), dtype=np.int32)
    for row in range(len(dataset)):
        set_, codes, before = {width - 1}, list[int](), 0
        for own, name in zip(edges, of_numbers, strict=True):
            reached = [at for at, edge in enumerate(own) if dataset.content[name][row] >= edge]
            set_ |= {before + at for at in reached}
            codes.append(len(reached))
            before += len(own)
        codes += [bucket(name, dataset.content[name][row], 2**53) for name in categories]
        words = [mixed((code + key + 0x9E3779B97F4A7C15 * (place + 1)) % 2**64) for place, code in enumerate(codes)]
        words += [mixed((one + other) % 2**64) for one, other in combinations(words, 2)]
        for name in texts:
            words += [mixed((bucket(name, word, 2**53) + key) % 2**64) for word in words_of(dataset.content[name][row])]
        set_ |= {first + (word * (width - 1 - first) >> 64) for word in words}
        found[row, sorted(set_)] = 1
    return found


@pytest.mark.parametrize("names", [tuple(KINDS), ("age", "city", "gain", "born"), ("city",), ("age",)], ids="-".join)
def test_features_are_those_of_a_loop_in_any_batch(names: tuple[str, ...]) -> None:
    dataset = people(names=names)
    made = table_map(dataset)
    rows = made.encode(dataset)
    assert isinstance(rows, Ragged) is ("notes" in names)
    constants = {**made.drawn(SEED), **made.derived(rows, dataset.present)}
    found = made.features(rows, constants)
    assert found.dtype == np.int32
    assert np.array_equal(found, slowly(dataset, constants, 1024))
    order = np.random.default_rng(1).permutation(len(dataset))
    for size in (1, 7, 40):
        parts = [made.features(rows[order[at : at + size]], constants) for at in range(0, len(order), size)]
        assert np.array_equal(np.concatenate(parts), found[order])
    assert not np.array_equal(found, made.features(rows, {**constants, **made.drawn(bytes(32))}))


def test_edges_are_the_formula_in_fractions() -> None:
    for low, high in ((17.0, 90.0), (-3.5, 10.1), (0.0, 99999.0), (-7.0, -7.0), (-1e-3, 1e30), (-5.0, 0.0)):
        size, exact = max(abs(Fraction(low)), abs(Fraction(high))), set[Fraction]()
        exact |= {Fraction(low) + (Fraction(high) - Fraction(low)) * part / 16 for part in range(1, 16)}
        for power in range(8):
            exact |= {sign * size / 2**power * share for sign in (1, -1) for share in (1, Fraction(181, 256))}
        exact |= {Fraction(0)} if low < 0 < high else set()
        wanted = [edge for edge in exact if low < edge <= high]
        found = edges_of(low, high)
        assert all(min(abs(Fraction(edge) - one) for one in wanted) <= size / 2**52 for edge in found)
        assert all(min(abs(Fraction(edge) - one) for edge in found) <= size / 2**52 for one in wanted)
        assert len(found) <= 48
        assert list(found) == sorted(set(found))
        assert all(low < edge <= high for edge in found)


def test_zeros_of_either_sign_are_one_digest() -> None:
    for order in ([-0.0, 0.0], [0.0, -0.0]):
        assert bounds_of(np.array(order)[:, None]).tobytes() == bytes(16)
    assert not np.signbit(edges_of(-1.0, 1.0)[edges_of(-1.0, 1.0) == 0]).any()


def test_an_extreme_that_goes_moves_the_edges_and_is_named() -> None:
    dataset = people()
    made = table_map(dataset)
    rows = made.encode(dataset)
    wide = made.derived(rows, dataset.present, spares=True)
    for place, name in enumerate(made.entries[: made.numbers]):
        holders = made.extremes(rows, wide)[:, [place, made.numbers + place]]
        for end in holders.T:
            left = dataset.present & ~end
            now = made.derived(rows, left)
            assert made.columns(wide, now) is None
            assert f" {name}" in made.moved(wide, now)
            left[np.flatnonzero(end)[0]] = True
            again = made.derived(rows, left)["bounds"][:, place]
            assert np.array_equal(again, wide["bounds"][:, place])
    nobody = dataset.present & ~made.extremes(rows, wide).any(axis=1)
    assert made.columns(wide, made.derived(rows, ~nobody)) is not None


def test_data_of_other_columns_is_refused() -> None:
    for made in (table_map(people()), WordMap(Encoding(people(names=("notes",)).columns), 64)):
        with pytest.raises(DataError, match=r"the data has columns \['age'\], the recipe was made for"):
            made.encode(people(names=("age",)))
