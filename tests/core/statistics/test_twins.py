"""The score of a rehearsal: its terms against double loops, doing nothing is 1, and tricks do not pay."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from tests.conftest import Refused

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.twins import CALIBRATION, FORGET, PARTS, RETAIN, RowsAnswered, TwinScale

ROWS = {FORGET: 80, RETAIN: 90, CALIBRATION: 50}


class Cast(NamedTuple):
    """An original, two twins that never saw the rows, two that did, and how further models are drawn."""

    original: RowsAnswered
    own: list[RowsAnswered]
    others: list[RowsAnswered]
    generator: np.random.Generator
    bases: dict[str, np.ndarray]
    memory: np.ndarray

    @property
    def scale(self) -> TwinScale:
        return TwinScale.of(self.original, self.own, self.others)

    def draw(self, remembered: float, noise: float = 0.5) -> RowsAnswered:
        """A training that remembers so much of the rows to forget."""
        margins = {part: base + noise * self.generator.normal(size=len(base)) for part, base in self.bases.items()}
        margins[FORGET] = margins[FORGET] + remembered * self.memory
        return answered(margins)


def answered(margins: dict[str, np.ndarray]) -> RowsAnswered:
    return RowsAnswered(margins, {part: float((found > 0).mean()) for part, found in margins.items()})


def cast(seed: int = 0, remembered: float = 1.0) -> Cast:
    generator = np.random.default_rng(seed)
    bases = {part: generator.normal(0.8, 1.5, rows) for part, rows in ROWS.items()}
    empty = Cast(answered(bases), [], [], generator, bases, generator.exponential(1.6, ROWS[FORGET]))
    own, others = [empty.draw(0.0) for _ in range(2)], [empty.draw(remembered) for _ in range(2)]
    return empty._replace(original=empty.draw(remembered), own=own, others=others)


# Slow twins: the formulas as they are written down, row by row.


def squared(model: RowsAnswered, a: RowsAnswered, b: RowsAnswered, part: str) -> float:
    rows = zip(*(one.margins[part] for one in (model, a, b)), strict=True)
    found = [(own - first) * (own - second) for own, first, second in rows]
    return sum(found) / len(found)


def noise_of(a: RowsAnswered, b: RowsAnswered, part: str) -> float:
    found = [(first - second) ** 2 / 2 for first, second in zip(a.margins[part], b.margins[part], strict=True)]
    return sum(found) / len(found)


def beyond(model: RowsAnswered, a: RowsAnswered, b: RowsAnswered, part: str) -> float:
    return math.sqrt(max(0.0, squared(model, a, b, part) / noise_of(a, b, part) - 1))


def memory(model: RowsAnswered, a: RowsAnswered, b: RowsAnswered, c: RowsAnswered, d: RowsAnswered) -> float:
    above = below = 0.0
    for p, q in ((a, b), (b, a)):
        for row in range(ROWS[FORGET]):
            x, first, second, third, fourth = (float(one.margins[FORGET][row]) for one in (model, p, q, c, d))
            above += (x - first) * ((third + fourth) / 2 - second)
            below += (third - first) * (fourth - second)
    return above / below


def slow(model: RowsAnswered, found: Cast) -> dict[str, float]:
    """Terms of m before it is divided by the original's."""
    (a, b), (c, d), o = found.own, found.others, found.original
    own, seen = (a.right[FORGET] + b.right[FORGET]) / 2, (c.right[FORGET] + d.right[FORGET]) / 2
    return {
        "forget": math.sqrt(max(0.0, squared(model, a, b, FORGET)) / squared(o, a, b, FORGET)),
        "accuracy": abs(model.right[FORGET] - own) / abs(seen - own),
        "memory": abs(memory(model, a, b, c, d)),
        "retain": beyond(model, a, b, RETAIN) / beyond(o, a, b, FORGET),
        "calibration": beyond(model, a, b, CALIBRATION) / beyond(o, a, b, FORGET),
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_term_against_double_loops(seed: int) -> None:
    found = cast(seed)
    most = max(slow(found.original, found).values())
    assert not found.scale.left_out
    for model in (found.original, *found.own, found.draw(0.0), found.draw(0.6, 1.5), found.draw(-1.0)):
        expected = {name: value / most for name, value in slow(model, found).items()}
        assert found.scale.terms(model) == pytest.approx(expected, abs=1e-10)
        assert found.scale.score(model) == pytest.approx(max(expected.values()), abs=1e-10)
    (a, b), o = found.own, found.original
    honest = math.sqrt(noise_of(a, b, FORGET) / squared(o, a, b, FORGET)) / most
    assert found.scale.retrained == pytest.approx(honest, abs=1e-10)


def paired(model: RowsAnswered, p: RowsAnswered, q: RowsAnswered, found: Cast) -> dict[str, float]:
    """The same from one twin of each, with the noise of the pairs taken off."""
    noises = {part: noise_of(*found.own, part) for part in PARTS}
    theirs = noise_of(*found.others, FORGET)

    def off(one: RowsAnswered, part: str) -> float:
        rows = zip(one.margins[part], p.margins[part], strict=True)
        return sum((x - y) ** 2 for x, y in rows) / ROWS[part] - noises[part]

    def h(one: RowsAnswered, part: str) -> float:
        return math.sqrt(max(0.0, off(one, part) / noises[part] - 1))

    rows = list(zip(*(one.margins[FORGET] for one in (model, p, q)), strict=True))
    along = sum((x - y) * (z - y) for x, y, z in rows) / len(rows) - noises[FORGET]
    whole = sum((z - y) ** 2 for _, y, z in rows) / len(rows) - noises[FORGET] - theirs
    return {
        "forget": math.sqrt(max(0.0, off(model, FORGET)) / off(found.original, FORGET)),
        "accuracy": abs(model.right[FORGET] - p.right[FORGET]) / abs(q.right[FORGET] - p.right[FORGET]),
        "memory": abs(along / whole),
        "retain": h(model, RETAIN) / h(found.original, FORGET),
        "calibration": h(model, CALIBRATION) / h(found.original, FORGET),
    }


def test_the_spread_is_that_of_the_four_pairings() -> None:
    found = cast(1)
    for model in (found.draw(0.0), found.draw(0.5)):
        scores = []
        for p in found.own:
            for q in found.others:
                each = [max(paired(one, p, q, found).values()) for one in (model, found.original)]
                scores.append(each[0] / each[1])
        mean = sum(scores) / 4
        expected = math.sqrt(sum((score - mean) ** 2 for score in scores) / 3)
        assert found.scale.spread(model) == pytest.approx(expected, abs=1e-10)
        assert expected > 0
    assert found.scale.spread(found.original) == 0.0


def test_single_twins_lie_around_both_together() -> None:
    """The squared distance, and how far along memory a model lies, are the means over single twins."""
    found, scale = cast(2), cast(2).scale
    model = found.draw(0.4)
    singles = [replace(scale, own=(one,)) for one in scale.own]
    for part in PARTS:
        assert np.mean([one._squared(model, part) for one in singles]) == pytest.approx(scale._squared(model, part))
    assert np.mean([one._along(model) for one in singles]) == pytest.approx(scale._along(model))


# What the scale says.


@pytest.mark.parametrize("seed", range(20))
def test_doing_nothing_is_one_exactly(seed: int) -> None:
    found = cast(seed, remembered=1.0 + seed / 10)
    assert found.scale.score(found.original) == 1.0


def test_it_does_not_matter_which_twin_comes_first() -> None:
    found = cast(3)
    model = found.draw(0.3)
    for own, others in ((found.own[::-1], found.others), (found.own, found.others[::-1])):
        other = found._replace(own=own, others=others).scale
        assert other.terms(model) == pytest.approx(found.scale.terms(model), abs=1e-12)
        assert other.spread(model) == pytest.approx(found.scale.spread(model), abs=1e-12)
        assert other.retrained == pytest.approx(found.scale.retrained, abs=1e-12)
        assert other.left_out == found.scale.left_out


def test_an_honest_retraining_lies_where_it_is_said_to() -> None:
    found = cast(4)
    scale = found.scale
    scores = [scale.terms(found.draw(0.0))["forget"] for _ in range(60)]
    assert np.mean(scores) == pytest.approx(scale.retrained, rel=0.15)
    assert 0.1 < scale.retrained < 0.5


def with_forget(model: RowsAnswered, margins: np.ndarray) -> RowsAnswered:
    return answered({**model.margins, FORGET: margins})


def test_margins_that_are_shifted_until_their_mean_matches_have_forgotten_nothing() -> None:
    """The score of earlier releases called this nearly perfect."""
    for seed in range(10):
        found = cast(seed)
        own, twins = found.original.margins[FORGET], np.mean([one.margins[FORGET] for one in found.own])
        assert found.scale.score(with_forget(found.original, own - own.mean() + twins)) > 0.5


def test_a_tenth_that_is_hammered_until_the_mean_matches_is_worse_than_doing_nothing() -> None:
    for seed in range(10):
        found = cast(seed)
        own, twins = found.original.margins[FORGET].copy(), np.mean([one.margins[FORGET] for one in found.own])
        own[:8] -= 10 * (own.mean() - twins)
        assert own.mean() == pytest.approx(twins)
        assert found.scale.score(with_forget(found.original, own)) > 1.0


def test_damage_to_rows_that_stay_counts() -> None:
    found = cast(5)
    honest = found.draw(0.0)
    for part in (RETAIN, CALIBRATION):
        spoilt = answered({**honest.margins, part: honest.margins[part] - 4.0})
        terms = found.scale.terms(spoilt)
        assert max(terms, key=lambda name: terms[name]) == part
        assert terms[part] > 1.0


# What tells nothing is left out by name.


def test_where_the_original_is_as_near_as_twins_are_there_is_nothing_to_forget() -> None:
    found = cast(0, remembered=0.0)
    assert found.scale.nothing is not None
    assert "within twice their noise" in found.scale.nothing
    assert set(found.scale.left_out) == {"forget", "accuracy", "memory"}


def test_accuracies_that_hardly_differ_are_left_out() -> None:
    found = cast(0)
    own = [replace(one, right={**one.right, FORGET: 0.5 + 0.1 * at}) for at, one in enumerate(found.own)]
    for seen, left_out in ((0.74, True), (0.76, False)):  # .19 and .21 from the twins' mean, twice .1 is .2
        others = [replace(one, right={**one.right, FORGET: seen}) for one in found.others]
        scale = found._replace(own=own, others=others).scale
        assert ("accuracy" in scale.left_out) == left_out == ("accuracy" not in scale.terms(found.original))
        assert scale.score(found.original) == 1.0


def test_memory_that_hardly_moves_answers_is_left_out() -> None:
    found = cast(0)
    scale = found._replace(others=[found.draw(0.0), found.draw(0.0)]).scale
    assert "moves answers by" in scale.left_out["memory"]
    assert set(scale.terms(found.original)) == {"forget", "retain", "calibration"}


def test_a_part_that_twins_answer_alike_is_left_out() -> None:
    found = cast(0)
    own = [answered({**one.margins, RETAIN: found.bases[RETAIN]}) for one in found.own]
    scale = found._replace(own=own).scale
    assert scale.left_out == {"retain": "the twins answer every row of it alike: they have no noise to measure in"}
    assert scale.score(found.original) == 1.0


def test_without_twins_that_saw_the_rows_their_terms_are_left_out() -> None:
    found = cast(0)._replace(others=[])
    assert found.scale.left_out == dict.fromkeys(("accuracy", "memory"), "there are no twins that saw the rows")
    assert found.scale.score(found.original) == 1.0
    assert found.scale.spread(found.draw(0.3)) > 0


def test_a_scale_needs_two_twins_of_each(refused: Refused) -> None:
    found = cast(0)
    for own, others in ((found.own[:1], found.others), (found.own, found.others[:1])):
        with refused(InvalidArgument, f"{len(own)} and {len(others)} twins"):
            TwinScale.of(found.original, own, others)
