"""Ranks, ties and caps against loops that are slow and plain."""

from __future__ import annotations

import numpy as np

from expunge.core.selection.ranking import highest, overlap


def test_the_highest_in_order_of_keys() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        scores, keys = random.integers(0, 5, size=20).astype(float), random.permutation(20)
        groups, room = random.integers(0, 3, size=20), np.array([2, 3, 20])
        taken, free = list[int](), room.copy()
        for place in sorted(range(20), key=lambda place: (-scores[place], keys[place])):
            if len(taken) < 7 and free[groups[place]] > 0:
                taken.append(place)
                free[groups[place]] -= 1
        found = highest(scores, 7, keys, groups=groups, room=room)
        assert found.places.tolist() == sorted(taken)
        left = {scores[place] for place in range(20) if place not in taken}
        assert found.tied == sum(scores[place] in left for place in taken)
        plain = highest(scores, 7, keys)
        assert scores[plain.places].min() >= np.delete(scores, plain.places).max()
    assert highest(np.arange(5.0), 2, np.arange(5)).tied == 0
    assert highest(np.zeros(5), 2, np.array([4, 3, 0, 1, 2])).places.tolist() == [2, 3]


def test_overlap_is_of_the_smaller() -> None:
    assert overlap(np.array([1, 2, 3, 4]), np.array([3, 4])) == 1.0
    assert overlap(np.array([1, 2]), np.array([2, 3])) == 0.5
    assert overlap(np.array([1, 2]), np.array([], dtype=int)) == 0.0
