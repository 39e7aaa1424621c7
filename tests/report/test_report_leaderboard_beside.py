"""Of the leaderboard: what is said of methods, what is printed beside, and what papers print."""

from __future__ import annotations

import re
from typing import Any

from tests.report.study_results_example import example, figure, opened, remembering, undecided

from expunge.measure import ASKED, OF_NUMBERS, PROBES
from expunge.records.over_trainings import DIVERGING, TOLD_APART
from expunge.report.columns import BESIDE, HEADINGS, JUDGED
from expunge.report.leaderboard import PAGE, render

FOLDED = "Printed beside, decides nothing"


def measured(results: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The same with further figures in every row."""
    for row in results["settings"][0]["rows"]:
        row["figures"].update({name.replace("_", "-"): value for name, value in values.items()})
    return results


def said(verdict: str, detail: str, trainings: int, **more: Any) -> dict[str, Any]:
    p = {"supported": 0.001, "refuted": 0.002}.get(verdict)
    return {"verdict": {"verdict": verdict, "p": p, "detail": detail}, "trainings": trainings, **more}


def folded(page: bytes, summary: str) -> str:
    """What lies behind a summary; empty where there is no such."""
    found = re.search(rf"<details[^>]*>\s*<summary>{re.escape(summary)}</summary>(.*?)</details>", page.decode(), re.S)
    return "" if found is None else found[1]


def headings(html: str) -> list[str]:
    return re.findall(r'<th scope="col"[^>]*>(?:<span>)?([^<]*)', html)


def test_what_decides_nothing_is_folded_under_its_title(words):
    more = {"difference": figure([0.58, 0.6, 0.59]), "tug-of-war": figure([0.9, 0.91, 0.92]), "own-probe": figure([7])}
    page = render(opened(measured(remembering(), **more)))[PAGE]
    inside = folded(page, FOLDED)
    assert headings(inside)[:4] == ["Method", "Forgetting gap", "Avg. gap", "Membership"]
    assert {"Mean margin", "Loss attack", "Difference", "Tug-of-war", "own-probe"} <= set(headings(inside))
    first = page.decode().split("\n<summary>Printed")[0].rsplit("<table", 1)[1]
    assert headings(first) == [
        *("Method", "Guarantee", "Verdict", "Memory left", "Utility gap", "Forget accuracy", "Test accuracy", "Cost"),
        "Time",
    ]
    assert "0.590" in inside
    assert "0.590" not in first
    assert "difference" not in headings(page.decode()), "a probe's name is no title"
    of_method = render(opened(measured(remembering(), **more)))["methods/scrub.html"]
    assert "Difference" in headings(folded(of_method, FOLDED))
    assert "Printed beside" in words(of_method)


def test_what_nobody_measured_beside_is_one_note(words):
    more = {"calibration": undecided("needs 500 examples, has 135"), "brier-score": figure([0.2, 0.2, 0.3])}
    page = render(opened(measured(remembering(), **more)))[PAGE]
    assert "Calibration error is left out: needs 500 examples, has 135" in words(page)
    assert "Calibration error" not in headings(folded(page, FOLDED))


def test_earlier_studies_have_nothing_beside():
    assert FOLDED not in render(opened(example(settings=1, methods=4)))[PAGE].decode()


def test_every_probe_of_ours_has_a_title():
    known = {heading.key for heading in (*HEADINGS, *JUDGED, *BESIDE)}
    names = {probe.name for probe in (*PROBES, *OF_NUMBERS, *ASKED)} | {TOLD_APART, DIVERGING}
    assert names - known == {"example-steps", "retain-accuracy"}, "told as cost, and by the utility gap"
    judged = {probe.name for probe in (*PROBES, *OF_NUMBERS) if probe.judging is not None}
    assert not judged & {heading.key for heading in BESIDE}


def test_the_verdict_on_a_method_stands_beside_those_of_its_runs(words):
    results = remembering()
    told = {
        "fine-tune": said("refuted", "about 90% of the memory is left, over 5 trainings", 5),
        "scrub": said("undecided", "2 of 5 runs are refuted, retraining itself would be in one of twenty", 5),
        "prune-and-match": said(
            "supported",
            "at most 8% of the memory is left, over 5 trainings",
            5,
            claim="at-most:10%",
            allowed=0.1,
            memory={"mean": 0.03, "low": 0.0, "high": 0.06, "bound": 0.08},
        ),
    }
    for row in results["settings"][0]["rows"]:
        row["concluded"] = told.get(row["method"])
    page = render(opened(results))[PAGE]
    rows = {name: words(f"{row}</tr>".encode()) for name, row in _rows(page).items()}
    assert "Supportedat most 8 %" in rows["prune-and-match"]
    assert re.search(r"still remembers 3 ?Refuted\d", rows["fine-tune"])
    assert re.search(r"still remembers 3 ?—\d", rows["scrub"])
    text = words(page)
    assert "Verdict on the methodover trainings" in text
    assert "about 90% of the memory is left, over 5 trainings" in text
    assert "2 of 5 runs are refuted, retraining itself would be in one of twenty" in text


def test_that_nothing_can_be_said_of_methods_is_said_once(words):
    results = remembering()
    for row in results["settings"][0]["rows"]:
        same = row["method"] == "retrain"
        counts = row["verdicts"]
        row["concluded"] = (
            said("supported", "same as never trained, bit for bit; nothing to estimate", 3)
            if same
            else said("undecided", f"needs 5 trainings, has 3; of these 3 {next(iter(counts)).lower()}", 3)
        )
        if same:
            row["concluded"]["verdict"]["p"] = 0.0
    text = words(render(opened(results))[PAGE])
    assert text.count("needs 5 trainings, has 3") == 1
    assert "Verdict on the method is left out: needs 5 trainings, has 3" in text


def test_what_papers_print_is_folded(words):
    results = remembering()
    assert "As papers print it" not in words(render(opened(results))[PAGE])
    setting = results["settings"][0]
    for at, one in enumerate((setting["original"], setting["retrained"], *setting["rows"])):
        one["as_published"] = {"unlearning-accuracy": figure([0.01 * at]), "membership-classifier": figure([0.1])}
    inside = folded(render(opened(results))[PAGE], "As papers print it; decides nothing")
    assert headings(inside) == ["row", "UA", "RA", "TA", "MIA-SVC", "Avg. Gap"]
    rows = re.findall(r"<tr>(.*?)</tr>", inside.split("<tbody>")[1], re.S)
    assert len(rows) == 2 + len(setting["rows"])
    assert re.findall(r'"value">([^<]*)', rows[1]) == ["0.0100", "–", "–", "0.1000", "–"]


def _rows(page: bytes) -> dict[str, str]:
    """Rows of the first table by their methods."""
    first = page.decode().split("<tbody>\n")[1]
    return {name: row for row in first.split("</tr>") for name in re.findall(r'data-sort="([a-z][a-z-]+)"', row)}
