"""The page of the audit demonstration: what is wrong is said, what is hostile stays text, and the chart is to scale."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from expunge.core.errors import DataError
from expunge.records.demo import AbsorbedSwap, Attack, DemoResult, ForgedLog, Honest, Played, Spread
from expunge.records.form import from_plain, to_plain
from expunge.report.audit_demo import audit_demo_page, small
from expunge.report.audit_demo_chart import SIZES, draw

FOLDER = "/somewhere/else"
REFUSED: dict[str, Any] = {
    "status": "refused",
    "level": "V1",
    "expected": "SCHEDULE_BATCH_MISMATCH",
    "codes": ("SCHEDULE_BATCH_MISMATCH",),
    "detail": "other rows took part",
    "as_documented": True,
}
SPREAD = Spread(least=1e-5, median=1e-4, most=1e-3)
HONEST = Honest(level="V1", status="accepted", standing="claimed", seconds=0.1, as_documented=True)
ATTACK = Attack(
    **{**REFUSED, "codes": ("WEIGHTS_UNCHANGED",), "expected": "WEIGHTS_UNCHANGED"},
    number="6",
    title="nothing done",
    one_level_lower="accepted",
    bundle=f"{FOLDER}/attacks/6/bundle",
)
ABSORBED = AbsorbedSwap(
    **REFUSED,
    target="digit-1648",
    step=71,
    steps=72,
    tolerance=0.0,
    largest_distance=0.0,
    replay="accepted",
    reached="V0",
    bundle=f"{FOLDER}/forged/absorb/bundle",
)
STORY = Played(
    model="mlp",
    rows=1438,
    person="subject:person-017",
    forgotten=21,
    steps=184,
    bundle=f"{FOLDER}/honest",
    keys=f"{FOLDER}/keys/trusted.json",
    data=f"{FOLDER}/digits.npz",
    salts=f"{FOLDER}/salts",
)


def forged(name: str, l2: Spread = SPREAD, **changes: Any) -> ForgedLog:
    found = ForgedLog(
        **REFUSED,
        forger=name,
        target="digit-0237",
        steps=8,
        steps_forged=8,
        absorbed=0,
        l2=l2,
        noise=Spread(least=0.0, median=1e-9, most=1e-8),
        tolerance=0.1,
        example_steps=512.0,
        published="accepted",
        reached="V0",
        bundle=f"{FOLDER}/forged/{name}/bundle",
    )
    return replace(found, **changes)


def told(**changes: Any) -> DemoResult:
    found = DemoResult(
        folder=FOLDER,
        story=STORY,
        honest=(HONEST,),
        forgeries=(forged("swap"),),
        absorbed=ABSORBED,
        made_up=(),
        attacks=(ATTACK,),
        as_documented=True,
        seconds=12.0,
    )
    return replace(found, **changes)


def test_what_was_found_is_a_document_that_is_read_back_as_it_was_written() -> None:
    written = to_plain(told())
    assert from_plain(DemoResult, written, "the demonstration") == told()
    assert written["attacks"][0]["codes"] == ["WEIGHTS_UNCHANGED"]
    for part, misfit in (("honest", [{**written["honest"][0], "seconds": "soon"}]), ("folder", None)):
        with pytest.raises(DataError, match=f"the demonstration {part}"):
            from_plain(DemoResult, {**written, part: misfit}, "the demonstration")


def test_the_page_is_the_same_bytes_and_names_no_place_outside_its_folder() -> None:
    page = audit_demo_page(told())
    assert page == audit_demo_page(told())
    text = page.decode("utf-8")
    assert FOLDER not in text
    assert "expunge verify honest --level V3 --keys keys/trusted.json --data digits.npz --salts salts" in text
    assert "expunge verify forged/swap/bundle --level V1 --keys keys/trusted.json" in text


def test_whatever_is_not_as_documented_is_counted_and_marked() -> None:
    wrong = replace(ATTACK, codes=(), status="accepted", as_documented=False)
    text = audit_demo_page(told(attacks=(wrong,))).decode("utf-8")
    assert "Not everything came out as documented" in text
    assert "1 of 4 answers" in text
    assert "not as documented</small>" in text


def test_each_level_says_what_it_sees_and_leaves_out_what_was_refused_before() -> None:
    lines = tuple(replace(HONEST, level=level) for level in ("V0", "V1", "V2"))
    early, late = forged("swap"), forged("content", level="V2", reached="V1", codes=("CONTENT_LEAF_MISMATCH",))
    text = audit_demo_page(told(honest=lines, forgeries=(early, late))).decode("utf-8")
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
    seen = replace(ABSORBED, replay="refused", largest_distance=1e-9, as_documented=False)
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
    attack = replace(ATTACK, title="<script>alert(1)</script>")
    text = audit_demo_page(told(attacks=(attack,), forgeries=(forged("<b>"),))).decode("utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("at", range(len(SIZES)))
def test_distances_stand_at_their_powers_of_ten_and_nothing_stands_apart(at: int) -> None:
    lines = [
        forged("swap", Spread(least=1e-6, median=1e-4, most=1e-2)),
        forged("absorb", Spread(least=0.0, median=0.0, most=0.0), noise=Spread(least=0.0, median=0.0, most=0.0)),
    ]
    chart = draw(lines)[at]
    swap, absorbed = chart.lines
    assert swap.whisker is not None
    assert swap.dot == pytest.approx(sum(swap.whisker) / 2, abs=0.2)
    assert (absorbed.dot, absorbed.whisker, absorbed.noise) == (chart.nothing, None, None)
    assert absorbed.dot < min(swap.whisker) < swap.dot < max(swap.whisker) < swap.tolerance <= chart.plot.right
    assert swap.noise is not None
    assert swap.noise[1] < min(swap.whisker)
    decades = {label: place for place, label in chart.across_ticks}
    assert decades["10⁻⁴"] == swap.dot
    places = [place for place, _ in chart.across_ticks]
    steps = [later - earlier for earlier, later in pairwise(places)]
    assert all(math.isclose(step, steps[0], abs_tol=0.2) for step in steps)


def test_a_forgery_that_was_let_pass_is_shown_as_bad() -> None:
    (line,) = draw([forged("swap", Spread(least=1e-6, median=1e-4, most=1e-2), status="accepted", codes=())])[0].lines
    assert (line.ours, line.ours_tone, line.published_tone) == ("accepted", "bad", "bad")
    (line,) = draw([forged("swap", Spread(least=1e-6, median=1e-4, most=1e-2), published="refused")])[0].lines
    assert (line.ours_tone, line.published_tone) == ("good", "good")
