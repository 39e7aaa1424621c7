"""The classifier's value against scikit-learn called directly, and every way in which it says nothing."""

import numpy as np
import pytest
from sklearn.svm import SVC

from expunge.core.errors import InvalidArgument
from expunge.core.statistics import margins
from expunge.core.statistics.membership_classifier import Feature, features, membership_classifier, published_share
from expunge.core.statistics.proportions import clopper_pearson
from expunge.core.values import Direction, Measurement, Undecided


def draw(seed, m=150, forgotten=120):
    """Confidences of members, of others, and of a forget set between the two."""
    generator = np.random.default_rng(seed)
    return generator.beta(20, 1, m), generator.beta(4, 1, m), generator.beta(8, 1, forgotten)


def direct(members, others, forgotten, **changed):
    """The attack as the papers' code writes it."""
    rows = np.concatenate([members, others]).reshape(len(members) + len(others), -1)
    truth = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    classifier = SVC(**{"C": 3, "gamma": "auto", "kernel": "rbf"} | changed).fit(rows, truth)
    return 1.0 - classifier.predict(forgotten.reshape(len(forgotten), -1)).mean()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_value_tells_the_published_settings_from_others(seed):
    members, others, _ = draw(seed)
    every = np.linspace(0.0, 1.0, 5_001)
    value = membership_classifier(members, others, every).value
    assert value == pytest.approx(direct(members, others, every), abs=1e-9)
    for changed in ({"C": 1}, {"gamma": "scale"}, {"kernel": "linear"}):
        assert abs(value - direct(members, others, every, **changed)) > 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_value_is_scikit_learn_s(seed):
    one = membership_classifier(*draw(seed))
    assert isinstance(one, Measurement)
    assert one.value == pytest.approx(direct(*draw(seed)), abs=1e-9)
    assert (one.low, one.high) == clopper_pearson(round(one.value * 120), 120)
    assert (one.n, one.unit, one.direction, one.scale) == (120, "example", Direction.MATCH, "fraction")


def test_whole_vectors_of_probabilities():
    generator = np.random.default_rng(1)
    sides = [generator.dirichlet(alpha, size=90) for alpha in ([9, 1, 1], [2, 1, 1], [4, 1, 1])]
    one = membership_classifier(*sides, Feature.PROBABILITY)
    assert one.value == pytest.approx(direct(*sides), abs=1e-9)
    assert 0.0 < one.value < 1.0


def test_higher_means_more_like_data_never_trained_on():
    members, others, _ = draw(2)
    generator = np.random.default_rng(3)
    kept, gone = (
        membership_classifier(members, others, generator.beta(20, 1, 200)),
        membership_classifier(members, others, generator.beta(4, 1, 200)),
    )
    assert kept.value + 0.2 < gone.value


def test_order_of_rows_changes_no_bit():
    """Asked near the boundary, where libsvm's own answer moves by 4e-4 with the order of its rows."""
    members, others, _ = draw(0)
    boundary = membership_classifier(members, others, np.linspace(0.0, 1.0, 5_001)).value
    near = np.linspace(boundary - 2e-3, boundary + 2e-3, 4_001)
    one, generator = membership_classifier(members, others, near), np.random.default_rng(5)
    orders = [[generator.permutation(side) for side in (members, others, near)] for _ in range(12)]
    assert 0.0 < one.value < 1.0
    assert all(membership_classifier(*order) == one for order in orders)
    assert len({direct(*order) for order in orders}) > 1


def test_exchanging_members_and_others_turns_the_value_round():
    members, others, forgotten = draw(6)
    one, turned = membership_classifier(members, others, forgotten), membership_classifier(others, members, forgotten)
    assert one.value + turned.value == pytest.approx(1.0, abs=1e-9)
    assert one.value != turned.value


def test_an_attack_that_cannot_beat_chance_says_nothing():
    generator = np.random.default_rng(7)
    same = [generator.permutation(np.linspace(0.1, 0.9, 200)) for _ in range(3)]
    assert "no better than chance (≤ 0.550 at n=400): needs" in membership_classifier(*same).reason
    generator = np.random.default_rng(8)
    null = [membership_classifier(*generator.beta(8, 1, (3, 200))) for _ in range(40)]
    assert sum(isinstance(one, Undecided) for one in null) >= 36


@pytest.mark.parametrize(
    ("members", "others", "forgotten", "words"),
    [
        ([], [], [], "needs 50 forgotten examples, has 0"),
        (np.ones(60), np.zeros(60), np.ones(1), "needs 50 forgotten examples, has 1"),
        (np.ones(49), np.zeros(49), np.ones(60), "needs 50 holdout examples, has 49"),
        (np.ones(60), np.ones(60), np.ones(60), "0.500 of cases, no better than chance"),
        (np.full(60, np.nan), np.zeros(60), np.ones(60), "confidence of 60 examples is not finite: needs"),
    ],
)
def test_missing_evidence_is_undecided(members, others, forgotten, words):
    answer = membership_classifier(members, others, forgotten)
    assert isinstance(answer, Undecided)
    assert words in answer.reason


def test_fifty_of_each_are_enough():
    answer = membership_classifier(np.linspace(0.9, 1, 50), np.linspace(0, 0.5, 50), np.linspace(0, 1, 50))
    assert isinstance(answer, Measurement)


@pytest.mark.parametrize(
    ("sides", "feature", "words"),
    [
        ((np.ones(60), np.zeros(61), np.ones(60)), Feature.CONFIDENCE, "60 members and 61 others"),
        ((np.ones((60, 2)), np.zeros((60, 2)), np.ones((60, 2))), Feature.ENTROPY, "entropy needs"),
        ((np.ones(60), np.zeros(60), np.ones(60)), Feature.PROBABILITY, "probability needs"),
        ((np.ones((60, 2)), np.zeros((60, 2)), np.ones((60, 3))), Feature.PROBABILITY, "2, 2 and 3 columns"),
    ],
)
def test_what_does_not_fit_is_refused(sides, feature, words):
    with pytest.raises(InvalidArgument, match=words):
        membership_classifier(*sides, feature)


def test_features_are_the_signals_they_are_named_after():
    generator = np.random.default_rng(9)
    logits, labels = 3 * generator.normal(size=(20, 4)), generator.integers(4, size=20)
    table = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = {
        Feature.CONFIDENCE: table[np.arange(20), labels],
        Feature.CORRECTNESS: (table.argmax(axis=1) == labels).astype(float),
        Feature.ENTROPY: -(table * np.log(table)).sum(axis=1),
        Feature.MODIFIED_ENTROPY: margins.modified_entropy(table, labels),
        Feature.PROBABILITY: table,
    }
    assert set(expected) == set(Feature)
    for feature, values in expected.items():
        assert features(logits, labels, feature) == pytest.approx(values, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_published_form_is_scikit_learn_s_on_the_rows_as_they_come(seed):
    """Any numbers of rows, no order of ours, no minimum, nothing undecided."""
    generator = np.random.default_rng(seed)
    members, others, forgotten = generator.beta(9, 1, 70), generator.beta(4, 1, 110), generator.beta(8, 1, 7)
    assert published_share(members, others, forgotten) == pytest.approx(direct(members, others, forgotten), abs=1e-9)


def test_the_draw_of_retained_rows_alone_moves_the_published_form():
    """What its heading says; a model that is sure of a part of its rows more than of another."""
    generator = np.random.default_rng(0)
    sure, unsure, tested = generator.beta(60, 1, 300), generator.beta(6, 1, 300), generator.beta(7, 1, 300)
    forgotten = generator.beta(9, 1, 200)
    found = [published_share(members, tested, forgotten) for members in (sure, unsure)]
    assert abs(found[0] - found[1]) > 0.2
