"""``expunge audit-demo`` as a person runs it: the tables, the page, the bundles that stay, and the exit status."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console
from tests.cli.conftest import Expunge

from expunge.adversary import demo
from expunge.adversary.table.attempt import Fixture
from expunge.adversary.table.table import FIXTURES
from expunge.cli.audit_demo import print_table
from expunge.records.limits import Code

SHOWN = ("6", "22-model", "26-path")


def named(*numbers: str) -> tuple[Fixture, ...]:
    return tuple(fixture for fixture in FIXTURES if fixture.number in numbers)


class Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value is not None]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_story_with_every_forger_and_every_spoof(
    expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "FIXTURES", named(*SHOWN))
    monkeypatch.setattr(demo, "CANDIDATES", 20)
    out = tmp_path / "shown"
    status, printed, told = expunge("audit-demo", "--out", out, "--json")
    found = json.loads(printed)
    assert status == 0, found
    assert found["as_documented"] is True
    assert [(line["level"], line["status"], line["standing"]) for line in found["honest"]] == [
        ("V0", "accepted", "claimed"),
        ("V1", "accepted", "claimed"),
        ("V2", "accepted", "claimed"),
        ("V3", "accepted", "verified"),
        ("V4", "accepted", "verified"),
    ]
    assert [line["forger"] for line in found["forgeries"]] == [*demo.FORGERS, "absorb"]
    for line in found["forgeries"]:
        assert (line["published"], line["status"], line["codes"]) == ("accepted", "refused", [line["expected"]])
        assert line["steps_forged"] == line["steps"] > 0
        assert line["l2"]["most"] < line["tolerance"]
    greedy, swap = (next(x for x in found["forgeries"] if x["forger"] == name) for name in ("greedy", "swap"))
    assert swap["l2"]["median"] < greedy["l2"]["median"]
    assert greedy["l2"]["least"] > greedy["noise"]["most"]
    last, swallowed = found["forgeries"][-1], found["absorbed"]
    assert (last["absorbed"], last["l2"]["most"]) == (1, 0.0)
    assert (swallowed["replay"], swallowed["tolerance"], swallowed["largest_distance"]) == ("accepted", 0.0, 0.0)
    assert (swallowed["status"], swallowed["level"], swallowed["reached"]) == ("refused", "V1", "V0")
    assert swallowed["target"] == last["target"]
    assert [line["spoof"] for line in found["made_up"]] == list(demo.SPOOFS)
    for line in found["made_up"]:
        assert (line["published"], line["codes"]) == ("accepted", [line["expected"]])
        assert line["example_steps"] < line["claimed"]
    assert [line["number"] for line in found["attacks"]] == list(SHOWN)
    for line in (*found["forgeries"], *found["made_up"], *found["attacks"]):
        assert Path(line["bundle"]).exists()
    assert re.search(r"V3 +full replay.* accepted; exact: verified here", told)
    assert "Proof-of-Learning believes 6 of 6. Expunge refuses 6 of 6" in told
    assert re.search(r"has\s+to\s+accept", told)
    assert "answers, all as documented" in told
    check_page(out / "report.html", tmp_path)
    story = found["story"]
    beside = ("--keys", story["keys"], "--data", story["data"], "--salts", story["salts"])
    assert expunge("verify", story["bundle"], "--level", "V2", *beside)[0] == 0
    assert expunge("verify", swap["bundle"], "--level", "V1", *beside[:2])[0] == 1
    status, printed, told = expunge("audit-demo", "--out", out)
    assert status == 2
    assert "give another --out" in told
    assert printed == ""
    assert (out / "report.html").is_file(), "a demonstration that is there stays as it is"


def check_page(path: Path, folder: Path) -> None:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert page.tags.count("svg") >= 2
    assert page.sources == []
    assert not re.findall(r"https?://|url\(|@import", text)
    assert str(folder) not in text, "where the demonstration lies is nobody's business"
    words = " ".join(page.words)
    assert "Every forgery was refused, and the honest record accepted" in words
    for expected in ("WEIGHTS_UNCHANGED", "RECIPE_DEGENERATE", "expunge verify honest --level V3", "attacks/6/bundle"):
        assert expected in words


def test_one_line_that_comes_out_otherwise_is_shown_and_makes_status_1(
    expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wrong, right) = named("6", "21")
    monkeypatch.setattr(demo, "FIXTURES", (replace(wrong, code=Code.TOMBSTONE_REVIVED), right))
    monkeypatch.setattr(demo, "FORGERS", ("nearest",))
    monkeypatch.setattr(demo, "SPOOFS", ())
    status, printed, _ = expunge("audit-demo", "--out", tmp_path / "shown")
    assert status == 1
    (line,) = (line for line in printed.splitlines() if "NOT AS DOCUMENTED" in line)
    assert "refused at V1 WEIGHTS_UNCHANGED" in line
    assert re.search(r"\d+ answers, 1 NOT as documented", printed)
    assert "SUBJECT_DIGEST_MISMATCH" in printed
    page = (tmp_path / "shown" / "report.html").read_text(encoding="utf-8")
    assert "Not everything came out as documented" in page
    assert page.count("<small>not as documented</small>") == 1


def test_an_interruption_leaves_no_folder_so_that_the_same_command_can_be_given_again(
    expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(out: Path, *rest: object) -> object:
        (out / "keys").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_played", pressed)
    out = tmp_path / "deep" / "shown"
    for _ in range(2):
        status, _, told = expunge("audit-demo", "--out", out)
        assert (status, out.exists()) == (130, False)
        assert "interrupted" in told


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_no_code_and_no_answer_is_cut_off_on_a_narrow_terminal(
    columns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    headings = ("Who takes the chairs", "Steps", "Distance", "PoL", "Expunge refuses")
    rows = [
        ("absorbed swap, at the end of a training", "1 of 1", "0", "accepted", f"V1 {code.value}")
        for code in sorted(Code, key=lambda code: code.value)
    ]
    print_table(Console(width=columns), headings, rows)
    printed = capsys.readouterr().out
    assert all(code.value in printed for code in Code)
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= columns
