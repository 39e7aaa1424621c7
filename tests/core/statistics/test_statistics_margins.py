"""Signals of one example against double loops, the fixture of the specification, and extreme logits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import InvalidArgument
from expunge.core.statistics.margins import (
    correct,
    entropy,
    losses,
    margins,
    modified_entropy,
    probabilities,
)

FIXTURE = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])


def draw(seed=0, n=40, classes=5, scale=3.0):
    generator = np.random.default_rng(seed)
    return scale * generator.normal(size=(n, classes)), generator.integers(classes, size=n)


def test_margin_is_the_log_odds_of_the_label_by_double_loop():
    logits, labels = draw()
    for row, label, margin, loss in zip(logits, labels, margins(logits, labels), losses(logits, labels), strict=True):
        weights = [math.exp(value) for value in row]
        own = weights[label]
        rest = math.fsum(weight for index, weight in enumerate(weights) if index != label)
        assert margin == pytest.approx(math.log(own / rest), abs=1e-13)
        assert loss == pytest.approx(-math.log(own / math.fsum(weights)), abs=1e-13)


def test_margin_equals_log_odds_to_rounding():
    logits, labels = draw(scale=1.0)
    share = probabilities(logits)[np.arange(len(labels)), labels]
    assert np.abs(margins(logits, labels) - np.log(share / (1 - share))).max() < 2e-15


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_signals_are_right_at_extreme_logits(size):
    logits, labels = np.array([[size, 0.0, 0.0], [0.0, size, 0.0]]), np.array([0, 0])
    expected = np.array([size - math.log(2), -np.logaddexp(size, 0.0)])
    assert margins(logits, labels) == pytest.approx(expected, rel=1e-15)
    assert losses(logits, labels) == pytest.approx(np.logaddexp(0.0, -expected), rel=1e-15)
    assert np.isfinite(modified_entropy(probabilities(logits), labels)).all()
    assert np.isfinite(entropy(probabilities(logits))).all()


def test_loss_keeps_its_digits_when_the_model_is_sure():
    assert losses([[50.0, 0.0]], [0])[0] == pytest.approx(math.exp(-50.0), rel=1e-12)


def test_half_precision_logits_are_widened_before_the_arithmetic():
    logits, labels = draw(1)
    rounded = logits.astype(np.float32)
    assert margins(rounded, labels).dtype == np.float64
    assert np.array_equal(margins(rounded, labels), margins(rounded.astype(np.float64), labels))


@given(st.integers(0, 2**32 - 1), st.floats(-1e4, 1e4))
def test_a_constant_added_to_every_logit_changes_nothing(seed, shift):
    logits, labels = draw(seed, n=4)
    assert margins(logits + shift, labels) == pytest.approx(margins(logits, labels), abs=1e-8)
    assert probabilities(logits + shift) == pytest.approx(probabilities(logits), abs=1e-8)


def test_permuting_examples_permutes_every_signal():
    logits, labels = draw(2)
    order = np.random.default_rng(3).permutation(len(labels))
    for signal in (margins, losses, correct, lambda z, y: modified_entropy(probabilities(z), y)):
        assert np.array_equal(signal(logits, labels)[order], signal(logits[order], labels[order]))
    assert np.array_equal(entropy(probabilities(logits))[order], entropy(probabilities(logits[order])))


def test_modified_entropy_fixture_and_double_loop():
    assert modified_entropy(FIXTURE, [0, 2]) == pytest.approx([0.16216725, 1.40309145], abs=5e-9)
    generator = np.random.default_rng(4)
    table, labels = generator.dirichlet(np.ones(6), size=30), generator.integers(6, size=30)
    for row, label, value in zip(table, labels, modified_entropy(table, labels), strict=True):
        expected = -(1 - row[label]) * math.log(row[label])
        for index, share in enumerate(row):
            if index != label:
                expected -= share * math.log(1 - share)
        assert value == pytest.approx(expected, rel=1e-12)


def test_the_public_bugs_are_told_apart_from_the_right_value():
    labels = np.array([0, 2])
    clipped = np.log(FIXTURE)
    reverse = 1 - FIXTURE
    modified, log_modified = FIXTURE.copy(), -clipped
    modified[:, labels] = reverse[:, labels]
    public = (modified * log_modified).sum(axis=1)
    assert public == pytest.approx([2.50121665, 3.22160292], abs=5e-9)
    assert np.abs(public - modified_entropy(FIXTURE, labels)).min() > 1.0


def test_sure_predictions_have_finite_ordered_modified_entropy():
    right, unsure, wrong = modified_entropy([[1.0, 0.0, 0.0], [0.4, 0.3, 0.3], [0.0, 1.0, 0.0]], [0, 0, 0])
    assert 0.0 <= right < 1e-9 < unsure < wrong < 1e4


def test_entropy_against_double_loop_and_zero_terms():
    table = np.array([[0.5, 0.5, 0.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
    assert entropy(table) == pytest.approx([math.log(2), 1.5 * math.log(2), 0.0], abs=1e-15)


def test_correct_counts_the_first_of_tied_logits():
    assert correct([[1.0, 1.0], [1.0, 1.0], [0.0, 2.0]], [0, 1, 1]).tolist() == [1.0, 0.0, 1.0]


def test_unusable_rows_are_nan_in_every_signal_and_leave_the_others_alone():
    logits = np.array([[np.nan, 0.0, 1.0], [np.inf, 0.0, 1.0], [-np.inf] * 3, [2.0, 0.0, 1.0]])
    labels = np.array([1, 0, 0, 0])
    for signal in (margins, losses, correct):
        values = signal(logits, labels)
        assert np.isnan(values[:3]).all()
        assert values[3] == signal(logits[3:], labels[3:])[0]
    table = probabilities(logits)
    assert np.isnan(table[:3]).any(axis=1).all()
    assert np.isnan(modified_entropy(table, labels)[:3]).all()
    assert np.isnan(entropy(table)[:3]).all()
    assert np.isfinite(entropy(table)[3])


def test_a_forbidden_class_is_allowed():
    assert margins([[1.0, 3.0, -np.inf]], [0])[0] == -2.0
    assert margins([[1.0, -np.inf, -np.inf]], [0])[0] == np.inf
    assert losses([[1.0, -np.inf, 0.0]], [1])[0] == np.inf


def test_empty_input_gives_empty_signals():
    empty = np.empty((0, 3))
    assert [len(signal(empty, [])) for signal in (margins, losses, correct, modified_entropy)] == [0, 0, 0, 0]
    assert entropy(empty).shape == (0,)


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        ([[1.0], [2.0]], [0, 0], "2 or more classes"),
        ([1.0, 2.0], [0], "2 or more classes"),
        ([[1.0, 2.0]], [0, 1], "one integer for each"),
        ([[1.0, 2.0]], [0.0], "one integer for each"),
        ([[1.0, 2.0]], [2], "0 to 1"),
        ([[1.0, 2.0]], [-1], "0 to 1"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_rule(logits, labels, words):
    with pytest.raises(InvalidArgument, match=words):
        margins(logits, labels)


def test_logits_are_not_taken_for_probabilities():
    with pytest.raises(InvalidArgument, match="look like logits"):
        modified_entropy([[3.0, -1.0]], [0])
    with pytest.raises(InvalidArgument, match="look like logits"):
        entropy([[0.9, 0.9]])


def test_entropy_of_exact_shares():
    shares = [Fraction(1, 8)] * 8
    assert entropy([[float(share) for share in shares]])[0] == pytest.approx(3 * math.log(2), rel=1e-15)
