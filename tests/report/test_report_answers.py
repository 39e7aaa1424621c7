"""What the page says first: the answer, and for each run what came out, in words that need no guide."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.report.conftest import digest

from expunge.report.chart import Drawing, draw
from expunge.report.comparison import compare
from expunge.report.facts import read_evaluation
from expunge.report.labels import Box
from expunge.report.load import load
from expunge.report.outcome import answer, outcome_of
from expunge.report.report import render
from expunge.report.scatter import CHARACTER
from expunge.report.text import rows

NEVER = ("ρ", "τ", "δ", "memory:", "typicality", "mean-margin", "head-refit")
ABOUT = {"fine-tune": 0.95, "gradient-ascent": 0.97, "random-labels": 0.09, "amnesiac": -0.4, "scrub": 0.03}


def evidence(left: float, bound: float) -> dict[str, Any]:
    return {
        "left": left,
        "bound": bound,
        "original": 0.98,
        "spread": 0.11,
        "references": 5,
        "witnesses": 4,
        "effective_rows": 14.3,
        "smallest_claim": 0.3,
        "stands_out": 2,
    }


def judged(world, folder, *, verdict: str, detail: str, by: str | None, left: float, margin: float = 7.9, **more: Any):
    """Write an evaluation by the rules of today: ``by`` is the probe that decides, ``margin`` how sure the run is."""
    content = world.evaluate(folder, shift=0.0, tolerances_version=2, claim="at-most:50%", **more)
    content["memory"] = more.get("memory", evidence(left, max(abs(left) + 0.07, 0.06)))
    memory = {**content["probes"][3], "name": "memory", "scale": "memory", "required": True}
    for name, value in (("original", 0.98), ("unlearned", left)):
        memory[name] = {**memory[name], "scale": "memory", "value": value, "low": value - 0.09, "high": value + 0.09}
    values = (-0.11, -0.05, 0.0, 0.05, 0.11)
    memory["references"] = [
        {**one, "scale": "memory", "value": value, "low": value, "high": value}
        for one, value in zip(memory["references"], values, strict=True)
    ]
    memory["reference_mean"] = 0.0
    typical = {**memory, "name": "typicality", "direction": "low", "scale": "log"}
    for probe in content["probes"]:
        probe["verdict"] = {"verdict": "undecided", "p": None, "detail": "printed beside, not judged"}
        probe["required"] = probe["role"] == "utility"
        if probe["name"] == "mean-margin":
            probe["unlearned"].update(value=margin, low=margin - 0.5, high=margin + 0.5)
            probe["original"].update(value=7.9, low=7.4, high=8.4)
            for one, value in zip(probe["references"], (6.6, 6.7, 6.8, 6.9, 7.0), strict=True):
                one.update(value=value, low=value - 0.5, high=value + 0.5)
    content["probes"] = [memory, typical, *content["probes"]]
    for probe in content["probes"]:
        if probe["required"]:
            probe["verdict"] = {"verdict": "supported", "p": 0.01, "detail": "at most 0.0 points lost"}
        if probe["name"] == by:
            probe["verdict"] = {"verdict": verdict, "p": 0.0001, "detail": detail}
            probe["required"] = True
    content["verdict"] = {"verdict": verdict, "p": None if verdict == "undecided" else 0.0001, "detail": detail}
    return world.sign(folder, content)


@pytest.fixture
def six(world):
    """A retraining's equal, two that remember, one of either kind that forgot too much, and one that broke."""
    exact = world.unlearned("exact", "exact-replay", weights_digest=digest("reference", 0))
    content = judged(world, exact, verdict="supported", detail="same as never trained", by=None, left=0.03, margin=6.9)
    world.sign(exact, {**content, "same_as": content["weights_digest"]})
    folders = [exact]
    for name, by, detail, margin in (
        ("fine-tune", "memory", "about 95% of the memory is left", 7.9),
        ("gradient-ascent", "memory", "about 97% of the memory is left", 7.88),
        ("random-labels", "typicality", "it answers their rows as no retrained model does", 1.4),
        ("amnesiac", "memory", "over-forgotten: -40% of the memory is left", 2.0),
        ("scrub", "retain-accuracy", "it lost 4.0 points on people who stayed", 6.8),
    ):
        folders.append(world.unlearned(name, name))
        judged(world, folders[-1], verdict="refuted", detail=detail, by=by, left=ABOUT[name], margin=margin)
    return folders


def test_the_title_is_the_answer_and_the_privacy_notice_follows(six, words):
    page = render(load(six))
    said = (
        "Forgotten by exact-replay, bit for bit. "
        "Five other methods did not: two still remember, two forgot too much, one broke."
    )
    assert f"<title>{said}</title>" in page.decode()
    assert f'<h1>{said}</h1>\n<p class="notice">This page holds data of people' in page.decode()


def test_cards_stand_by_outcome_with_the_verdict_first(six):
    page = render(load(six)).decode()
    headings = re.findall(r'<section class="group">\s*<h3>(.*?)</h3>', page)
    assert headings == ["The same as never trained", "Still remembers", "Forgot too much or broke"]
    cards = re.findall(r'<article class="card">(.*?)</article>', page, flags=re.DOTALL)
    assert len(cards) == 6
    assert all(card.strip().startswith('<p><span class="badge verdict') for card in cards)
    assert all(card.count('class="badge') == 1 for card in cards), "one badge, no second verdict"
    assert "Still as sure of their rows as before: 7.9; models that never saw them 6.6–7.0." in cards[1]
    assert "Less sure of their rows than a stranger: 1.4; models that never saw them 6.6–7.0." in cards[3]
    assert "As sure of their rows as models that never saw them" in cards[5]
    assert "Undecided" not in "".join(cards)


def test_equal_footnotes_are_one_and_all_exist(six):
    page = render(load(six)).decode()
    notes = re.findall(r'<li id="note-(\d+)">(.*?)</li>', page)
    assert len({text for _, text in notes}) == len(notes)
    assert {number for number, _ in notes} >= set(re.findall(r'href="#note-(\d+)"', page))
    assert sum("Read against 5 references and 4 models that saw everybody" in text for _, text in notes) == 1
    assert any(
        "Memory left 95\u00a0%, at most 102\u00a0%; 2 rows still stand out; p\u00a0&lt; 0.001." in t for _, t in notes
    )


def test_no_first_sentence_names_a_probe(six):
    for folder in six:
        found = read_evaluation(folder)
        assert found is not None
        assert not any(word in found.answer for word in NEVER)
        assert found.answer.startswith(("Yes, by exact-replay: bit for bit", "No: "))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("memory: needs 5 references, has 2", "Cannot be said: needs 5 references, has 2."),
        ("2 rows, tests need 20", "Cannot be said: 2 rows, tests need 20."),
    ],
)
def test_what_cannot_be_said_says_what_is_missing(world, words, reason, said):
    folder = world.unlearned("a", "fine-tune")
    judged(world, folder, verdict="undecided", detail=reason, by=None, left=0.1)
    page = render(load([folder]))
    assert f"<h1>{said}</h1>" in page.decode()
    assert ("expunge references RUN" in words(page)) == ("references" in said), "nothing is offered that cannot help"


@pytest.mark.parametrize(("bound", "tone"), [(0.06, "good"), (0.1, "good"), (0.18, "")])
def test_none_is_green_that_may_leave_more_than_a_tenth(world, bound, tone):
    folder = world.unlearned("a", "fine-tune")
    detail = f"at most {bound:.0%} of the memory is left"
    judged(world, folder, verdict="supported", detail=detail, by="memory", left=0.02, memory=evidence(0.02, bound))
    page = render(load([folder])).decode()
    assert f'<span class="badge verdict {tone}">at most {bound:.0%} left'.replace("%", "\u00a0%") in page
    assert f"<h1>At most {bound:.0%} of the memory is left.</h1>".replace("%", "\u00a0%") in page


@pytest.mark.parametrize(("after", "outcome"), [(0.99, "remembers"), (0.1, "too much")])
def test_few_rows_that_stand_out_say_on_which_side(world, after, outcome):
    folder = world.unlearned("a", "fine-tune", slots=(1, 2))
    detail = "1 of 2 rows still stands out from what retrained models answer"
    content = judged(world, folder, verdict="refuted", detail=detail, by=None, left=0.1)
    for probe in content["probes"]:
        if probe["role"] == "forgetting":
            probe["unlearned"] = {"undecided": "2 rows, tests need 20"}
    content["examples"][0].update(after=after, retrained=0.75, stands_out=0.003)
    content["examples"][1].update(stands_out=1.0)
    world.sign(folder, {**content, "memory": None})
    section = load([folder]).sections[0]
    assert outcome_of(section, section.runs[0]) == outcome
    assert f"<h1>No: {detail}.</h1>" in render(load([folder])).decode()


def test_an_exact_run_without_its_twin_is_exact_by_its_record(world, words):
    folder = world.unlearned("a", "exact-replay", lineage_seed="ab" * 32)
    judged(world, folder, verdict="undecided", detail="exact by its record, which verify checks", by=None, left=0.1)
    section = load([folder]).sections[0]
    assert outcome_of(section, section.runs[0]) == "recorded"
    page = render(load([folder]))
    assert "<h1>Exact by its record, which verify checks.</h1>" in page.decode()
    assert "expunge unlearn RUN --forget … --method retrain" in words(page)


def test_memory_left_is_the_main_column_with_its_bound_on_one_scale(six):
    headings, found = rows(load(six))
    assert headings[2] == "Memory left, with bound"
    told = {row[0]: row[2] for row in found}
    assert told["Original"] == "98 %"
    assert told["Retrained references (5)"] == "0 ± 11 %"
    assert told["fine-tune"] == "95 % (at most 102 %)"
    bars = {row.label: row.cells[0].bar for row in compare(load(six).sections[0]).rows}
    original, kept, lost = (bars[name] for name in ("Original", "fine-tune", "amnesiac"))
    assert original is not None
    assert kept is not None
    assert lost is not None
    assert lost.value == 0.0, "the least of them is where the scale begins"
    assert kept.value == pytest.approx(original.value - 0.03 * (original.value / 1.38), abs=0.2)
    assert len({bar.band for bar in bars.values() if bar is not None}) == 1
    for bar in bars.values():
        assert bar is not None
        assert 0 <= bar.value <= bar.bound <= 100


def test_no_label_lies_across_the_band_from_its_mark(six):
    """On the numbers of the SVG: whoever remembers has its label right of the band, whoever forgot too much left."""
    drawing = draw(load(six).sections[0])
    assert isinstance(drawing, Drawing)
    assert drawing.title == "Memory left"
    for chart in drawing.charts:
        assert chart.band is not None
        low, high = chart.band[0], sum(chart.band)
        marks = {spot.words.partition(":")[0]: spot.x for spot in chart.spots if spot.kind != "reference"}
        assert min(marks.values()) < low < high < max(marks.values())
        numbers = {str(at): label for at, label in enumerate(load(six).sections[0].labels, 1)}
        for text in chart.labels:
            width = len(text.words) * CHARACTER
            left = {"start": text.x, "middle": text.x - width / 2, "end": text.x - width}[text.anchor]
            first = numbers.get(text.words.split()[0], text.words.split()[0])
            if first not in marks:
                continue  # a second line of the same label
            if marks[first] > high:
                assert left >= high - 0.1, text
            elif marks[first] < low:
                assert left + width <= low + 0.1, text
        for box in chart.boxes:
            assert Box(0, 0, chart.width, chart.height).holds(box)


def test_a_label_that_moved_has_a_leader_and_one_on_the_original_does_nothing(six):
    drawing = draw(load(six).sections[0])
    assert isinstance(drawing, Drawing)
    words = [text.words for text in drawing.charts[0].labels]
    assert "like doing nothing" in words
    assert drawing.charts[0].leaders


def test_a_drawing_that_cannot_be_drawn_says_why(world, words):
    folder = world.unlearned("a", "fine-tune")
    content = world.evaluate(folder)
    for probe in content["probes"]:
        if probe["name"] == "test-accuracy":
            probe["unlearned"] = probe["original"] = {"undecided": "needs a holdout"}
    world.sign(folder, content)
    assert "Not drawn: test accuracy: needs a holdout." in words(render(load([folder])))


def test_six_examples_are_shown_by_change_and_person_and_the_rest_is_folded(world, words):
    folder = world.unlearned("a", "fine-tune", slots=range(12))
    content = world.evaluate(folder)
    for at, item in enumerate(content["examples"]):
        item.update(before=0.99, retrained=0.99 - at / 20, stands_out=0.01 if at == 11 else 1.0)
    world.sign(folder, content)
    page = render(load([folder])).decode()
    seen, folded = page.split("<details>\n<summary>6 more</summary>")
    assert seen.count('<div class="example">') == folded.count('<div class="example">') == 6
    confidences = [float(value) for value in re.findall(r"retrained</span><span class=\"value\">([\d.]+)", page)]
    assert max(confidences[:6]) <= min(confidences[6:]), "those that retraining changes most come first"
    people = re.findall(r'<div class="people">\s*<h4>(.*?)</h4>', seen)
    assert len(people) == len(set(people)) >= 2
    assert seen.count("stands out</small>") == 1
    assert "answered as by no retrained model: fine-tune 1." in words(page.encode())


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("remembers remembers", "All two methods still remember."),
        ("same remembers", "Forgotten by a, bit for bit. One other method still remembers."),
        ("remembers broke", "None of two methods forgot them: one still remembers, one broke."),
        ("little-left", "With a at most 6\u00a0% of the memory is left."),
        ("unsaid unsaid", "Whether any of two methods forgot cannot be said: too few."),
        ("remembers unsaid", "One method still remembers. Of one more it cannot be said: too few."),
        (
            "recorded refuted-then undecided-then",
            "Exact by its record: a. By the rules of an earlier release one is refuted, one is undecided.",
        ),
    ],
)
def test_the_answer_in_one_sentence(found, said):
    named = [(name, word.replace("-", " ")) for name, word in zip("abc", found.split(), strict=False)]
    assert answer(named, 0.06, "too few") == said


def test_a_run_that_was_not_evaluated_says_what_to_run(world, words):
    text = words(render(load([world.unlearned("a", "fine-tune")])))
    assert "Cannot be said: it was not evaluated." in text
    assert "Run expunge references RUN, then expunge evaluate RUN." in text
