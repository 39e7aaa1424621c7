"""The pages of a study: order, intervals, undecided figures, marks, links, and nothing that comes from outside."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.report.study_results_example import example, figure, opened, undecided

import expunge.report.leaderboard as module
from expunge.core.errors import DataError
from expunge.report.leaderboard import PAGE, file_names, leaderboard, ranking_table, render
from expunge.report.templates import resource

HOSTILE = '<script>alert("x")</script>'
SCRIPT = Path(module.__file__).with_name("leaderboard.js")


class Tables(HTMLParser):
    """Cells of every table of a page by its number: text, data-sort, and the badges of the row."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.boards: dict[str, list[list[dict[str, Any]]]] = {}
        self.board, self.badge = "", False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "table":
            self.board = found.get("data-board") or ""
            self.boards.setdefault(self.board, [])
        elif tag == "tr" and self.board:
            self.boards[self.board].append([])
        elif tag in ("td", "th") and self.board:
            self.boards[self.board][-1].append({"sort": found.get("data-sort"), "text": "", "badges": []})
        elif tag == "span" and "badge" in (found.get("class") or ""):
            self.badge = True
            self.boards[self.board][-1][-1]["badges"].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.board = ""
        elif tag == "span":
            self.badge = False

    def handle_data(self, data: str) -> None:
        if self.board and self.boards[self.board] and self.boards[self.board][-1]:
            cell = self.boards[self.board][-1][-1]
            if self.badge:
                cell["badges"][-1] += data
            cell["text"] += data


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return example()


@pytest.fixture(scope="module")
def pages(results: dict[str, Any]) -> dict[str, bytes]:
    return render(opened(results))


@pytest.fixture(scope="module")
def boards(pages: dict[str, bytes]) -> dict[str, list[list[dict[str, Any]]]]:
    return Tables(pages[PAGE]).boards


def lines(board: list[list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """Rows below heading and bands, by the name they are sorted by."""
    return {row[0]["sort"]: row for row in board if row[0]["sort"] is not None}


def test_rows_stand_by_forgetting_gap_collapsed_then_absent_last(results, boards):
    for at, setting in enumerate(results["settings"], 1):
        shown = list(lines(boards[str(at)]))
        rows = {row["label"]: row for row in setting["rows"]}
        assert sorted(shown) == sorted(rows)

        def place(name: str, rows: dict[str, Any] = rows) -> tuple[bool, bool, float]:
            row = rows[name]
            gap = row["figures"].get("forgetting-gap", {}).get("mean", float("inf"))
            collapsed = any(mark["mark"] == "collapsed" for mark in row["marks"])
            return not row["figures"], collapsed, gap

        places = [place(name) for name in shown]
        assert places == sorted(places)
        assert {collapsed for _, collapsed, _ in places} == {True, False}


def test_a_collapsed_row_stands_last_however_small_its_gap():
    results = example(settings=1, methods=6)
    ascent = results["settings"][0]["rows"][5]
    ascent["figures"]["forgetting-gap"] = figure([0.01, 0.02, 0.03])
    assert list(lines(Tables(render(opened(results))[PAGE]).boards["1"]))[-2:] == [
        "gradient-ascent",
        "certified-logistic",
    ]


def test_bands_stand_on_top_and_are_not_sorted(boards):
    for at in ("1", "2", "3"):
        names = [row[0]["text"] for row in boards[at][1:3]]
        assert names[0].startswith("Retrained references")
        assert "mean of 8 models" in names[0]
        assert names[1].startswith("Original")
        assert all(row[0]["sort"] is None for row in boards[at][1:3])


def test_figures_and_intervals_are_those_of_the_file(results, boards):
    row = next(row for row in results["settings"][0]["rows"] if row["method"] == "scrub")
    cells = lines(boards["1"])["scrub"]
    gap, test, forget = (row["figures"][name] for name in ("forgetting-gap", "test-accuracy", "forget-accuracy"))
    assert cells[3]["text"] == f"{gap['mean']:.2f}[{gap['low']:.2f},\u00a0{gap['high']:.2f}]"
    assert float(cells[3]["sort"]) == pytest.approx(gap["mean"])
    assert cells[7]["text"] == f"{100 * test['mean']:.1f}[{100 * test['low']:.1f},\u00a0{100 * test['high']:.1f}]"
    difference = row["figures"]["differences"]["forget-accuracy"]["mean"]
    assert cells[6]["text"].startswith(f"{100 * forget['mean']:.1f} {100 * difference:+.1f}[")
    assert cells[9]["text"].startswith(f"{100 * row['figures']['cost']['mean']:.1f}[")


def test_one_seed_has_no_interval_and_says_so(boards):
    cells = lines(boards["2"])["decoupled-distillation"]
    for at in range(3, len(cells) - 1):
        assert cells[at]["text"].endswith("n\u00a0=\u00a01")
        assert "[" not in cells[at]["text"]
    assert cells[0]["badges"] == ["failed 2/3"]
    assert cells[2]["text"] == "Refuted"


def test_what_is_undecided_is_never_a_number():
    results = example(settings=1, methods=6)
    reasons: list[str] = []
    first, *others = results["settings"][0]["rows"]
    for row in others:
        for name in list(row["figures"]):
            reasons.append(f"because {row['label']} {name} could not be read")
            row["figures"][name] = undecided(reasons[-1]) if name != "differences" else {}
    page = render(opened(results))[PAGE]
    for name, row in lines(Tables(page).boards["1"]).items():
        if name == first["label"]:
            continue
        for cell in row[3:11]:
            assert re.fullmatch(r"—\d+", cell["text"])
            assert cell["sort"] is None
    text = page.decode()
    shown = ("forgetting-gap", "utility-gap", "cost", "seconds", "average-gap", "test-accuracy", "forget-accuracy")
    assert len(reasons) > 40
    for reason in reasons:
        assert (reason in text) == (reason.split()[2] in (*shown, "membership-classifier"))
    table = ranking_table(opened(results), "digits-mlp-random")
    assert all(row.forgetting_gap == row.cost == "—" for row in table if row.method != first["label"])


def test_a_column_of_dashes_is_left_out_and_one_note_says_why(words):
    results = example(settings=1, methods=4)
    for row in results["settings"][0]["rows"]:
        row["figures"] = {"average-gap": undecided(f"membership-classifier: {row['label']} has no attack")}
    page = render(opened(results))[PAGE]
    heading, *rows = Tables(page).boards["1"]
    assert len(heading) == 4
    assert {len(row) for row in rows} <= {2, 4}
    assert "Avg. gap is left out: exact-replay has no attack" in words(page)
    assert "Not drawn: no method has the figure." in words(page)


def test_every_dash_has_a_note_that_exists(pages):
    for page in pages.values():
        text = page.decode()
        ids = re.findall(r'id="(note-\d+)"', text)
        assert len(ids) == len(set(ids))
        left_out = set(re.findall(r'id="(note-\d+)">[^<]* (?:is|are) left out: ', text))
        assert set(re.findall(r'href="#(note-\d+)"', text)) == set(ids) - left_out


def test_marks_stand_beside_their_names(results, boards, pages):
    for at, setting in enumerate(results["settings"], 1):
        shown = lines(boards[str(at)])
        for row in setting["rows"]:
            wanted = [
                mark["mark"] if mark["count"] == mark["of"] else f"{mark['mark']} {mark['count']}/{mark['of']}"
                for mark in row["marks"]
                if mark["mark"] != "untuned" or mark["count"] < mark["of"]
            ]
            assert shown[row["label"]][0]["badges"] == wanted
            for mark in row["marks"]:
                assert f">{mark['mark']}</dt>" in pages[PAGE].decode(), "its meaning is told"


def test_verdicts_and_guarantees_are_shown(results, boards):
    for at, setting in enumerate(results["settings"], 1):
        shown = lines(boards[str(at)])
        for row in setting["rows"]:
            if not row["figures"]:
                assert shown[row["label"]][1]["text"].startswith("refused: ")
                assert row["seeds"][0]["reason"] in shown[row["label"]][1]["text"]
                continue
            cells = shown[row["label"]]
            assert cells[1]["text"] == row["guarantee"].split("(")[0]
            for word, number in row["verdicts"].items():
                assert (f"{word} {number}" in cells[2]["text"]) == (number > 0 and sum(row["verdicts"].values()) > 1)


def test_a_certified_row_shows_its_bound():
    results = example(settings=1, methods=4)
    row = results["settings"][0]["rows"][3]
    row["guarantee"] = "Certified(ε=1, δ=0.0001)"
    for seed in row["seeds"]:
        seed["guarantee"] = row["guarantee"]
    cells = lines(Tables(render(opened(results))[PAGE]).boards["1"])["fine-tune"]
    assert cells[1]["text"] == "Certifiedε=1, δ=0.0001"


def test_the_overview_has_every_method_in_every_setting(results, boards):
    shown = lines(boards["0"])
    assert set(shown) == {row["label"] for row in results["settings"][0]["rows"]}
    assert shown["impair-repair"][1]["text"] == "—refused"
    assert shown["impair-repair"][1]["sort"] is None
    assert shown["retrain"][1]["text"].endswith("Supported 3")
    assert "collapsed" in shown["gradient-ascent"][2]["text"]
    one = render(opened(example(settings=1)))[PAGE].decode()
    assert "All settings" not in one
    assert 'data-board="0"' not in one


def test_what_was_done_is_said_in_plain_words(pages, words):
    text = words(pages[PAGE])
    assert "30 methods had to forget parts of digits, in 3 settings. Each ran with 3 seeds" in text
    assert "read against 8 models retrained without the forgotten examples" in text
    assert "may spend 10 % of the training’s work" in text
    for part in ("2026-11-21", "expunge study studies/digits.toml", "torch 2.13.0", "312 jobs", "512 s by the clock"):
        assert part in text
    assert "27 of 30 methods could be run" in text
    assert "Collapsed: fisher-noise and gradient-ascent." in text
    assert "not complete" not in text


def concluded(results, label, verdict):
    """Give every seed of a row one verdict."""
    row = next(row for row in results["settings"][0]["rows"] if row["label"] == label)
    row["verdicts"] = {verdict: len(row["seeds"])}
    for seed in row["seeds"]:
        seed["verdict"] = verdict


def test_where_all_are_refuted_none_is_called_near(words):
    results = example(settings=1, methods=6)
    for row in results["settings"][0]["rows"]:
        if row["guarantee"] and row["guarantee"].startswith("Empirical") and row["verdicts"]:
            concluded(results, row["label"], "Refuted")
    text = words(render(opened(results))[PAGE])
    assert "Every method without a guarantee was Refuted on every seed" in text
    assert "Nearest to retraining" not in text


def test_where_even_the_original_looks_forgotten_it_is_said(words):
    results = example(settings=1, methods=6)
    concluded(results, "fine-tune", "Undecided")
    text = words(render(opened(results))[PAGE])
    assert "Nearest to retraining without a guarantee: fine-tune" in text
    assert "no sign of forgetting" not in text
    results["settings"][0]["noise"] = {"forgetting_gap": 2.5}
    text = words(render(opened(results))[PAGE])
    assert "here a small forgetting gap is no sign of forgetting" in text
    assert "Nearest to retraining" not in text


def test_one_reason_in_two_columns_is_one_note():
    results = example(settings=1, methods=4)
    figures = results["settings"][0]["rows"][3]["figures"]
    figures["membership-classifier"] = undecided("needs 50 forgotten examples: has 21")
    figures["average-gap"] = undecided("membership-classifier: needs 50 forgotten examples: has 21")
    page = render(opened(results))[PAGE]
    cells = lines(Tables(page).boards["1"])["fine-tune"]
    assert cells[5]["text"] == cells[8]["text"]
    assert page.decode().count("needs 50 forgotten examples: has 21") == 1


def test_an_incomplete_study_says_so(words):
    results = example(settings=1, methods=4)
    results["complete"] = False
    row = results["settings"][0]["rows"][2]
    row["seeds"] = [{"seed": seed, "status": "missing", "reason": ""} for seed in (0, 1, 2)]
    row["marks"] = []
    text = words(render(opened(results))[PAGE])
    assert "This study is not complete: jobs are still missing (3 results so far)." in text
    assert "no result so far" in text


def test_problems_are_listed_once_for_each_reason(results, pages, words):
    text = words(pages[PAGE])
    assert "gave no result" in text
    reasons = {problem["reason"] for problem in results["problems"]}
    folded = pages[PAGE].decode().split("<h2>Jobs without a result</h2>")[1].split("</details>")[0]
    for reason in reasons:
        assert folded.count(f" {reason}") == 1
    for problem in results["problems"]:
        assert problem["job"] in folded


def test_every_method_has_its_page_with_all_that_was_tried(results, pages, words):
    assert len(pages) == 31
    text = words(pages["methods/scrub.html"])
    rows = [next(row for row in one["rows"] if row["method"] == "scrub") for one in results["settings"]]
    for row in rows:
        assert str(row["fields"]["rate"]) in text
        assert row["tuning"]["digest"][:12] in text
        for seed in row["seeds"]:
            assert seed["reason"] in text
            assert seed["weights_digest"][:12] in text
            assert f"{seed['example_steps']:,}of {seed['allowed']:,} allowed" in text
    for part in ("Kurmanji et al., NeurIPS 2023", "forget, original and retain", "the loss became NaN in step 3"):
        assert part in text
    assert "the budget of 2,876 example-steps was spent" in text
    failed = words(pages["methods/decoupled-distillation.html"])
    assert "the loss became NaN in step 12" in failed
    assert "its search saw the references" in words(pages["methods/masked-small-gradients.html"])
    assert "tuning did not transfer" in words(pages["methods/bad-teacher.html"])


def test_links_lead_to_pages_and_places_that_exist(pages, parsed):
    ids = {name: {str(a["id"]) for _, a in parsed(page).seen if "id" in a} for name, page in pages.items()}
    for name, page in pages.items():
        every = [str(a["id"]) for _, a in parsed(page).seen if "id" in a]
        assert len(every) == len(set(every))
        for tag, attributes in parsed(page).seen:
            if "href" in attributes:
                assert tag == "a"
                path, _, place = str(attributes["href"]).partition("#")
                target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
                assert target in pages
                assert not place or place in ids[target]


def test_nothing_comes_from_outside_and_only_our_script_runs(pages, parsed):
    for page in pages.values():
        text = page.decode()
        assert "http:" not in text
        assert "https:" not in text
        assert "url(" not in text
        assert "@import" not in text
        tags = parsed(page).seen
        assert not {"link", "iframe", "object", "embed", "form", "base", "img"} & {tag for tag, _ in tags}
        assert [tag for tag, _ in tags].count("script") == 1
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "src"]
        script = re.search(r"<script>(.*)</script>", text, re.DOTALL)
        assert script is not None
        digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
        policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
        assert f"default-src 'none'; script-src 'sha256-{digest}';" in str(policy)


def test_same_results_same_bytes(results, pages, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    assert leaderboard(path, out=tmp_path / "a") == tmp_path / "a" / PAGE
    program = (
        f"from expunge.report.leaderboard import leaderboard; leaderboard({str(path)!r}, out={str(tmp_path / 'b')!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=280, env={**os.environ, "PYTHONHASHSEED": "7"})
    for folder in ("a", "b"):
        found = {str(p.relative_to(tmp_path / folder)): p.read_bytes() for p in (tmp_path / folder).rglob("*.html")}
        assert found == pages


def test_pages_are_small(pages):
    assert len(pages[PAGE]) < 450_000
    assert all(len(page) < 60_000 for name, page in pages.items() if name != PAGE)


def test_what_does_not_fit_is_left_out_and_said_and_then_refused(monkeypatch, refused, words):
    study = opened(example(settings=1, methods=12))
    sizes = [len(render(study)[PAGE])]
    for said, drawings in (("drawings for narrow screens are left out", 1), ("the drawings are left out", 0)):
        monkeypatch.setattr(module, "LARGEST", sizes[-1])
        page = render(study)[PAGE]
        assert len(page) < sizes[-1]
        assert said in words(page)
        assert page.decode().count('role="img"') == drawings
        sizes.append(len(page))
    monkeypatch.setattr(module, "LARGEST", sizes[-1])
    with refused(DataError, "split the study"):
        render(study)


def hostile() -> dict[str, Any]:
    """Names that mean harm, wherever a name may stand."""
    results = example(settings=2, methods=8)
    names = [HOSTILE, "../../x", "\u202egnihton", "x" * 900, "CON", "a|b\n\nc", "שלום", "' onclick='alert(1)"]
    for setting in results["settings"]:
        setting.update(title=f"{HOSTILE} {'y' * 300}", data=HOSTILE, recipe=HOSTILE, model=HOSTILE, forget=HOSTILE)
        setting["id"] += HOSTILE
        setting["rules"] = [HOSTILE]
        for row, name in zip(setting["rows"], names, strict=True):
            row.update(method=name, label=name, summary=HOSTILE, citation=HOSTILE, reasons=[HOSTILE])
            row["fields"] = row["defaults"] = {HOSTILE: HOSTILE}
            row["marks"].append({"mark": "untuned", "count": 1, "of": 3, "detail": f'"{HOSTILE}'})
            row["tuning"]["failures"] = [{"fields": {HOSTILE: 1}, "reason": HOSTILE}]
            for seed in row["seeds"]:
                seed.update(reason=HOSTILE, **({"weights_digest": HOSTILE} if seed["status"] == "done" else {}))
            if row["figures"]:
                row["figures"]["membership-classifier"] = undecided(HOSTILE)
                row["seeds"][0].update(stopped=HOSTILE, notices=[HOSTILE])
    results.update(name=HOSTILE, title=HOSTILE, date=HOSTILE, command=HOSTILE, digest=HOSTILE)
    results.update(machine={HOSTILE: HOSTILE}, versions={HOSTILE: HOSTILE}, engine={"name": HOSTILE})
    results["problems"] = [{"job": HOSTILE, "status": "failed", "reason": HOSTILE}]
    return results


def test_hostile_texts_are_words_and_never_tags(parsed, tmp_path):
    leaderboard(opened(hostile()), out=tmp_path / "deep" / "out")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 9
    assert all((tmp_path / "deep" / "out") in path.parents for path in files)
    for path in files:
        page = path.read_bytes()
        tags = parsed(page).seen
        assert [tag for tag, _ in tags].count("script") == 1
        assert "<script>alert" not in page.decode()
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
        assert "\u202e" not in page.decode()
        assert page.decode().count("alert(") > 5
        assert len(page) < 200_000


def test_file_names_are_plain_and_unique():
    names = (
        "scrub",
        "Scrub",
        "scrub ",
        "../../x",
        "..",
        "",
        "con",
        "x" * 900,
        "x" * 901,
        "שלום",
        "\ud800",
        "a/b",
        "a-b",
    )
    found = file_names(names)
    assert found["scrub"] == "scrub.html"
    assert found["a-b"] == "a-b.html"
    assert len(set(found.values())) == len(names)
    for name in found.values():
        assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,59}\.html", name)
        assert name != "con.html"


def test_two_names_for_one_page_are_refused(monkeypatch, refused):
    monkeypatch.setattr(module, "_slug", lambda method: "same")
    with refused(DataError, "one page"):
        file_names(("a", "b"))


def test_the_ranking_for_the_docs_is_the_page_in_plain_text(results, boards):
    rows = ranking_table(opened(results), "digits-mlp-class")
    assert [row.method for row in rows] == list(lines(boards["2"]))
    scrub = next(row for row in rows if row.method == "scrub")
    gap = next(r for r in results["settings"][1]["rows"] if r["method"] == "scrub")["figures"]["forgetting-gap"]
    assert scrub.forgetting_gap == f"{gap['mean']:.2f} [{gap['low']:.2f}, {gap['high']:.2f}]"
    assert scrub.verdicts == "Refuted 3"
    assert next(row for row in rows if row.method == "decoupled-distillation").marks == "failed (2 of 3)"
    assert next(row for row in rows if row.method == "certified-logistic").forgetting_gap == "—"
    assert "\u00a0" not in "".join("".join(row) for row in rows)


def test_a_method_with_two_rows_in_a_setting_has_one_page_and_two_names(words):
    results = example(settings=1, methods=4)
    twin = json.loads(json.dumps(results["settings"][0]["rows"][3]))
    twin["label"] = "fine-tune (defaults)"
    twin["figures"]["forgetting-gap"] = figure([7.0, 7.5, 8.0])
    results["settings"][0]["rows"].append(twin)
    pages = render(opened(results))
    assert len(pages) == 5
    assert {"fine-tune", "fine-tune (defaults)"} <= set(lines(Tables(pages[PAGE]).boards["1"]))
    assert "Listed as fine-tune (defaults)." in words(pages["methods/fine-tune.html"])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_sorts_as_it_should():
    generator = random.Random(3)
    cases: list[tuple[list[Any], str]] = [([], "ascending"), ([None, None], "descending")]
    for _ in range(200):
        values = [generator.choice([None, -1.5, 0, 2, 2, 10, 1e9, generator.random()]) for _ in range(30)]
        cases.append((values, generator.choice(["ascending", "descending"])))
    cases.append((["b", "a", None, "a"], "descending"))
    program = (
        f"const {{order, next}} = require({json.dumps(str(SCRIPT))});"
        "const cases = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify([cases.map(([values, way]) => order(values, way)),"
        " [next(null, 'descending'), next('descending', 'descending'), next('ascending', 'descending'),"
        " next('descending', 'ascending')]]));"
    )
    done = subprocess.run(
        ["node", "-e", program], input=json.dumps(cases), capture_output=True, text=True, check=True, timeout=280
    )
    orders, clicks = json.loads(done.stdout)
    for (values, direction), places in zip(cases, orders, strict=True):
        decided = [at for at, value in enumerate(values) if value is not None]
        expected = sorted(decided, key=lambda at: values[at])
        if direction == "descending":
            distinct = sorted({values[at] for at in decided}, reverse=True)
            expected = [at for value in distinct for at in decided if values[at] == value]
        assert places == expected + [at for at, value in enumerate(values) if value is None]
    assert clicks == ["descending", "ascending", None, None]


def test_the_script_has_no_end_tag_and_no_way_out():
    text = resource("leaderboard.js")
    for word in ("</", "fetch", "eval", "innerHTML", "import(", "XMLHttp", "document.write"):
        assert word not in text
