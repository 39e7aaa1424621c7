"""The page of the audit demonstration: what is wrong is said, what is hostile stays text, and the chart is to scale."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import pytest

from expunge.report.audit_demo import audit_demo_page
from expunge.report.audit_demo_chart import SIZES, draw
from expunge.report.audit_demo_text import small

FOLDER = "/somewhere/else"


def spread(least: float, median: float, most: float) -> dict[str, float]:
    return {"least": least, "median": median, "most": most}


def forged(name: str, l2: dict[str, float], **changes: Any) -> dict[str, Any]:
    return {
        "forger": name,
        "target": "digit-0237",
        "steps": 8,
        "steps_forged": 8,
        "l2": l2,
        "noise": spread(0.0, 1e-9, 1e-8),
        "tolerance": 0.1,
        "published": "accepted",
        "status": "refused",
        "level": "V1",
        "reached": "V0",
        "expected": "SCHEDULE_BATCH_MISMATCH",
        "codes": ["SCHEDULE_BATCH_MISMATCH"],
        "bundle": f"{FOLDER}/forged/{name}/bundle",
        "as_documented": True,
        **changes,
    }


def absorbed(**changes: Any) -> dict[str, Any]:
    return {
        "target": "digit-1648",
        "step": 71,
        "steps": 72,
        "tolerance": 0.0,
        "largest_distance": 0.0,
        "replay": "accepted",
        "status": "refused",
        "level": "V1",
        "reached": "V0",
        "expected": "SCHEDULE_BATCH_MISMATCH",
        "codes": ["SCHEDULE_BATCH_MISMATCH"],
        "detail": "other rows took part",
        "bundle": f"{FOLDER}/forged/absorb/bundle",
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
        "expected": "WEIGHTS_UNCHANGED",
        "one_level_lower": "accepted",
        "bundle": f"{FOLDER}/attacks/6/bundle",
        "as_documented": True,
    }
    story = {"rows": 1438, "steps": 184, "forgotten": 21, "person": "subject:person-017", "bundle": f"{FOLDER}/honest"}
    paths = {"keys": f"{FOLDER}/keys/trusted.json", "data": f"{FOLDER}/digits.npz", "salts": f"{FOLDER}/salts"}
    honest = {"level": "V1", "status": "accepted", "standing": "claimed", "seconds": 0.1, "as_documented": True}
    return {
        "folder": FOLDER,
        "story": {**story, **paths},
        "honest": [honest],
        "forgeries": [forged("swap", spread(1e-5, 1e-4, 1e-3))],
        "absorbed": absorbed(),
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
    assert "1 of 4 answers" in text
    assert "not as documented</small>" in text


def test_each_level_says_what_it_sees_and_leaves_out_what_was_refused_before() -> None:
    lines = [
        {"level": level, "status": "accepted", "standing": "claimed", "seconds": 0.1, "as_documented": True}
        for level in ("V0", "V1", "V2")
    ]
    early, late = forged("swap", spread(1e-5, 1e-4, 1e-3)), forged("content", spread(1e-5, 1e-4, 1e-3))
    late |= {"level": "V2", "reached": "V1", "codes": ["CONTENT_LEAF_MISMATCH"]}
    text = audit_demo_page(told(honest=lines, forgeries=[early, late])).decode("utf-8")
    table = text[text.index('<table class="levels">') : text.index("</table>")]
    rows = re.findall(r"<tr><th scope=\"row\">(V\d).*?</tr>", table)
    assert rows == ["V0", "V1", "V2"]
    answers = re.findall(r'<span class="value">(.*?)</span>', table)
    assert answers == [
        *("accepted", "accepted", "accepted"),
        *("accepted", "refused", "accepted"),
        *("accepted", "already refused", "refused"),
    ]
    assert "SCHEDULE_<wbr>BATCH_<wbr>MISMATCH" in table


def test_a_swap_that_a_replay_sees_is_not_called_invisible() -> None:
    seen = absorbed(replay="refused", largest_distance=1e-9, as_documented=False)
    text = audit_demo_page(told(absorbed=seen)).decode("utf-8")
    assert "REFUSES" in text
    assert "1.0e-9" in text
    assert "has to accept" not in text
    assert "1 of 4 answers" in text
    assert "has to accept" in audit_demo_page(told()).decode("utf-8")


def test_small_numbers_are_written_as_people_read_them() -> None:
    assert [small(value) for value in (0.0, 0.113, 0.0099, 3.54e-8, 1e-10)] == [
        "0",
        "0.11",
        "9.9e-3",
        "3.5e-8",
        "1.0e-10",
    ]


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
