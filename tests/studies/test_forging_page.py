"""The page on forging: from the committed results, the bad figures beside the good ones, and nothing made up."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.pages.forging_pictures import forging_pictures
from studies.pages.forging_study import ACCEPTANCE, forging_page
from studies.pages.markdown import paragraph, table

COMMITTED = Path(__file__).parents[2] / "studies" / "results"


def read(name: str) -> dict[str, Any]:
    return json.loads((COMMITTED / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def forging() -> dict[str, Any]:
    return read("forging")


@pytest.fixture(scope="module")
def proofs() -> dict[str, Any]:
    return read("proof_of_learning")


def page_of(forging: dict[str, Any], proofs: dict[str, Any]) -> str:
    """In one line, so that the width of the page does not matter."""
    return " ".join(" ".join(forging_page(forging, proofs, "pictures")).split())


def test_every_check_is_told_with_its_figures(forging: dict[str, Any], proofs: dict[str, Any]) -> None:
    page = page_of(forging, proofs)
    for number, title in ACCEPTANCE.items():
        assert f"**{title}: {'yes' if forging['acceptance'][number]['passed'] else 'no'}.**" in page
        assert all(line in page for line in forging["acceptance"][number]["said"])
    failing = copy.deepcopy(forging)
    failing["acceptance"]["5"]["passed"] = False
    assert f"**{ACCEPTANCE['5']}: no.**" in page_of(failing, proofs)


def test_every_drawing_is_shown_and_every_cell_has_a_row(forging: dict[str, Any], proofs: dict[str, Any]) -> None:
    lines = forging_page(forging, proofs, "pictures")
    drawings = forging_pictures(forging)
    shown = [line for line in lines if line.startswith("![")]
    assert sorted(line.split("(")[1].rstrip(")") for line in shown) == sorted(f"pictures/{name}" for name in drawings)
    start = lines.index("## Every forger, batches of 64")
    rows = [line for line in lines[start:] if line.startswith("|")][2:]
    cells = [cell for cell in forging["cells"] if (cell["axis"], cell["distance"]) == ("progress", "l2")]
    assert len(rows) == len(cells)
    empty = [cell for cell in cells if cell["forged"] == 0]
    assert empty
    assert sum(f"| 0 of {cell['targets']} | – | – | – |" in " ".join(rows) for cell in empty) == len(empty)
    assert all(line.count("|") == 10 for line in rows)


def test_what_the_published_verifier_refuses_is_not_left_out(forging: dict[str, Any], proofs: dict[str, Any]) -> None:
    page = page_of(forging, proofs)
    logs = sum(cell["logs"] for cell in forging["logs"])
    accepted = sum(cell["published_accepts"] for cell in forging["logs"])
    assert f"only **{accepted} of {logs}** are accepted" in page
    for setting in proofs["settings"]:
        whole = setting["all"]["published_accepts"]
        assert f"`{setting['name']}`: {whole['count']} of {whole['n']} accepted" in page
    refused = proofs["honest"]["published_refused"]
    assert f"**{refused['count']} of {refused['n']} [" in page
    assert "delta | furthest forged segment" in page
    for spoof in proofs["spoofs"]:
        assert f"| {spoof['spoof']} | {spoof['published_accepts']['count']} of " in page


def test_traces_are_counted_among_the_swaps_that_change_no_weight(
    forging: dict[str, Any], proofs: dict[str, Any]
) -> None:
    hidden, losses, gradient = (
        sum(cell[name] for cell in forging["absorption"])
        for name in ("weights_unchanged", "seen_in_losses", "seen_in_gradient")
    )
    page = page_of(forging, proofs)
    assert f"**losses catches {losses} ({losses / hidden:.1%})**" in page
    assert f"**gradients {gradient} ({gradient / hidden:.1%})**" in page


def test_a_study_without_logs_or_absorbed_swaps_says_no_more_than_that(
    forging: dict[str, Any], proofs: dict[str, Any]
) -> None:
    bare = copy.deepcopy(forging)
    bare["logs"] = []
    for cell in bare["absorption"]:
        cell.update(weights_unchanged=0, state_unchanged=0, seen_in_losses=0, seen_in_gradient=0)
    page = page_of(bare, proofs)
    assert "are accepted:" not in page
    assert "losses catches" not in page


def test_a_forger_that_is_caught_is_not_called_successful(forging: dict[str, Any], proofs: dict[str, Any]) -> None:
    told = "`swap` is accepted on every valid log"
    assert told in page_of(forging, proofs)
    caught = copy.deepcopy(proofs)
    swap = next(cell for cell in caught["settings"][0]["forgers"] if cell["forger"] == "swap")
    swap["published_accepts_of_valid"]["count"] -= 1
    assert told not in page_of(forging, caught)


def test_paragraphs_are_cut_between_words_and_tables_have_their_head() -> None:
    lines = paragraph("word " * 60 + "`a-b` " * 30)
    assert lines[0] == ""
    assert max(map(len, lines)) <= 118
    assert " ".join(lines).split() == ["word"] * 60 + ["`a-b`"] * 30
    first, *rest = paragraph("word " * 60, bullet=True)
    assert first.startswith("- word")
    assert all(line.startswith("  word") for line in rest)
    assert table(("a", "b"), [(1, 2)]) == ["", "| a | b |", "|---|---|", "| 1 | 2 |"]
