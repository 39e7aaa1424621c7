"""The page of the audit demonstration: what is wrong is said, what is hostile stays text, and the chart is to scale."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from expunge.report.audit_demo import audit_demo_page
from expunge.report.audit_demo_chart import SIZES, draw

FOLDER = "/somewhere/else"


def spread(least: float, median: float, most: float) -> dict[str, float]:
    return {"least": least, "median": median, "most": most}


def forged(name: str, l2: dict[str, float], **changes: Any) -> dict[str, Any]:
    return {
        "forger": name,
        "l2": l2,
        "noise": spread(0.0, 1e-9, 1e-8),
        "tolerance": 0.1,
        "published": "accepted",
        "status": "refused",
        "level": "V1",
        "codes": ["SCHEDULE_BATCH_MISMATCH"],
        "bundle": f"{FOLDER}/forged/{name}/bundle",
        "as_documented": True,
        **changes,
    }


def told(**changes: Any) -> dict[str, Any]:
    attack = {
        "number": "6",
        "title": "nothing done",
        "codes": ["WEIGHTS_UNCHANGED"],
        "status": "refused",
        "level": "V1",
        "one_level_lower": "accepted",
        "bundle": f"{FOLDER}/attacks/6/bundle",
        "as_documented": True,
    }
    story = {"rows": 1438, "forgotten": 21, "person": "subject:person-017", "bundle": f"{FOLDER}/honest"}
    paths = {"keys": f"{FOLDER}/keys/trusted.json", "data": f"{FOLDER}/digits.npz", "salts": f"{FOLDER}/salts"}
    honest = {"level": "V1", "status": "accepted", "standing": "claimed", "seconds": 0.1, "as_documented": True}
    return {
        "folder": FOLDER,
        "story": {**story, **paths},
        "honest": [honest],
        "forgeries": [forged("swap", spread(1e-5, 1e-4, 1e-3))],
        "made_up": [],
        "attacks": [attack],
        "seconds": 12.0,
        **changes,
    }


def test_the_page_is_the_same_bytes_and_names_no_place_outside_its_folder() -> None:
    page = audit_demo_page(told())
    assert page == audit_demo_page(told())
    text = page.decode("utf-8")
    assert FOLDER not in text
    assert "expunge verify honest --level V3 --keys keys/trusted.json --data digits.npz --salts salts" in text
    assert "expunge verify forged/swap/bundle --level V1 --keys keys/trusted.json" in text


def test_whatever_is_not_as_documented_is_counted_and_marked() -> None:
    wrong = {**told()["attacks"][0], "codes": [], "status": "accepted", "as_documented": False}
    text = audit_demo_page(told(attacks=[wrong])).decode("utf-8")
    assert "Not everything came out as documented" in text
    assert "1 of 3 lines" in text
    assert "not as documented</small>" in text


def test_hostile_names_stay_text() -> None:
    attack = {**told()["attacks"][0], "title": "<script>alert(1)</script>"}
    text = audit_demo_page(told(attacks=[attack], forgeries=[forged("<b>", spread(1e-5, 1e-4, 1e-3))])).decode("utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("at", range(len(SIZES)))
def test_distances_stand_at_their_powers_of_ten_and_nothing_stands_apart(at: int) -> None:
    lines = [
        forged("swap", spread(1e-6, 1e-4, 1e-2)),
        forged("absorb", spread(0.0, 0.0, 0.0), noise=spread(0.0, 0.0, 0.0)),
    ]
    chart = draw(lines)[at]
    swap, absorbed = chart.lines
    assert swap.whisker is not None
    assert swap.dot == pytest.approx(sum(swap.whisker) / 2, abs=0.2)
    assert (absorbed.dot, absorbed.whisker, absorbed.noise) == (chart.nothing, None, None)
    assert absorbed.dot < min(swap.whisker) < swap.dot < max(swap.whisker) < swap.tolerance <= chart.plot.right
    assert swap.noise is not None
    assert swap.noise[1] < min(swap.whisker)
    decades = {label: place for place, label in chart.ticks}
    assert decades["10⁻⁴"] == swap.dot
    places = [place for place, _ in chart.ticks]
    steps = [later - earlier for earlier, later in pairwise(places)]
    assert all(math.isclose(step, steps[0], abs_tol=0.2) for step in steps)


def test_a_forgery_that_was_let_pass_is_shown_as_bad() -> None:
    (line,) = draw([forged("swap", spread(1e-6, 1e-4, 1e-2), status="accepted", codes=[])])[0].lines
    assert (line.ours, line.ours_tone, line.published_tone) == ("accepted", "bad", "bad")
    (line,) = draw([forged("swap", spread(1e-6, 1e-4, 1e-2), published="refused")])[0].lines
    assert (line.ours_tone, line.published_tone) == ("good", "good")
