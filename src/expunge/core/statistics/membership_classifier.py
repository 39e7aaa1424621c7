"""The membership attack that unlearning papers report as MIA-efficacy: a support vector classifier.

Train it to tell retained examples from holdout examples by one signal, then count the forgotten examples it
takes for non-members (Jia et al., 2023; Fan et al., SalUn, 2024). Higher = more like data never trained on.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np
import numpy.typing as npt
from sklearn.svm import SVC

from expunge.core.errors import InvalidArgument
from expunge.core.statistics import margins
from expunge.core.statistics.arrays import Array, as_vector
from expunge.core.statistics.proportions import proportion
from expunge.core.values import Measurement, Undecided

MINIMUM = 50
"""Fewest forgotten examples, and fewest holdout examples, that give a value."""


class Feature(Enum):
    """What the classifier sees of an example; one number, or the whole vector of probabilities."""

    CONFIDENCE = "confidence"
    CORRECTNESS = "correctness"
    ENTROPY = "entropy"
    MODIFIED_ENTROPY = "modified-entropy"
    PROBABILITY = "probability"


def features(logits: npt.ArrayLike, labels: npt.ArrayLike, feature: Feature = Feature.CONFIDENCE) -> Array:
    """The feature of every row: (n,), or (n, C) for ``PROBABILITY``. ``CONFIDENCE`` is the published one."""
    match feature:
        case Feature.CONFIDENCE:
            return np.exp(-margins.losses(logits, labels))
        case Feature.CORRECTNESS:
            return margins.correct(logits, labels)
        case Feature.ENTROPY:
            return margins.entropy(margins.probabilities(logits))
        case Feature.MODIFIED_ENTROPY:
            return margins.modified_entropy(margins.probabilities(logits), labels)
        case Feature.PROBABILITY:
            return margins.probabilities(logits)


def membership_classifier(
    members: npt.ArrayLike,
    others: npt.ArrayLike,
    forgotten: npt.ArrayLike,
    feature: Feature = Feature.CONFIDENCE,
    level: float = 0.95,
) -> Measurement | Undecided:
    """Share of ``forgotten`` that ``SVC(C=3, gamma="auto", kernel="rbf")`` takes for non-members.

    ``members`` and ``others`` are equally many rows, drawn by the caller: retained and holdout examples. The
    interval is Clopper–Pearson over the forgotten examples, classifier held. Read it against references: .5
    means nothing here. Rows are put in order before the fit, so the order they come in changes no bit.
    """
    name = feature.value
    known, unknown = _rows(members, "members", feature), _rows(others, "others", feature)
    asked = _rows(forgotten, "forgotten", feature)
    if len(known) != len(unknown):
        raise InvalidArgument(f"{len(known)} members and {len(unknown)} others: draw as many of both")
    for rows, what in ((asked, "forgotten"), (unknown, "holdout")):
        if len(rows) < MINIMUM:
            return Undecided(f"needs {MINIMUM} {what} examples, has {len(rows)}")
    if len({known.shape[1], unknown.shape[1], asked.shape[1]}) > 1:
        raise InvalidArgument(
            f"members, others and forgotten have {known.shape[1]}, {unknown.shape[1]} and {asked.shape[1]} "
            f"columns of {name}: the same feature is needed on all three"
        )
    missing = sum(int((~np.isfinite(rows)).any(axis=1).sum()) for rows in (known, unknown, asked))
    if missing:
        return Undecided(f"{name} of {missing} examples is not finite: needs a finite output for each")
    table = np.concatenate([_ordered(known), _ordered(unknown)])
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    classifier = _fitted(table, truth)
    accuracy = float((np.asarray(classifier.predict(table)) == truth).mean())
    chance = 0.5 + 1.0 / math.sqrt(len(table))
    if accuracy <= chance:
        return Undecided(
            f"the classifier tells its own members from others by {name} in {accuracy:.3f} of cases, no "
            f"better than chance (≤ {chance:.3f} at n={len(table)}): needs a model that memorises more, "
            "or more attack data"
        )
    return proportion(np.asarray(classifier.predict(asked)) == 0, level)


def published_share(members: npt.ArrayLike, others: npt.ArrayLike, forgotten: npt.ArrayLike) -> float:
    """The same share by confidence, as papers compute it: any numbers of finite rows, in the order they come in.

    Nothing says whether the attack works at all, and the draw of members alone moves it.
    """
    known, unknown, asked = (as_vector(rows, "confidences")[:, None] for rows in (members, others, forgotten))
    fitted = _fitted(np.concatenate([known, unknown]), np.repeat([1, 0], [len(known), len(unknown)]))
    return 1.0 - float(np.mean(fitted.predict(asked)))


def _fitted(table: Array, truth: npt.NDArray[np.int64]) -> SVC:
    return SVC(C=3, gamma="auto", kernel="rbf").fit(table, truth)


def _rows(values: npt.ArrayLike, name: str, feature: Feature) -> Array:
    """(n, k) in float64; (n,) is one column."""
    rows = np.asarray(values, dtype=np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    if len(rows) == 0:
        return rows
    if rows.ndim != 2 or (rows.shape[1] < 2 if feature is Feature.PROBABILITY else rows.shape[1] != 1):
        wanted = "(n, classes)" if feature is Feature.PROBABILITY else "(n,) or (n, 1)"
        raise InvalidArgument(f"{name} has shape {rows.shape}; {feature.value} needs {wanted}")
    return rows


def _ordered(rows: Array) -> Array:
    """Rows in lexicographic order."""
    return rows[np.lexsort(rows.T[::-1])]
