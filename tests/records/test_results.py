"""The results document: read and written to the same, whatever a page shows of it; conclusions are computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.report.study_results_example import example, opened

from expunge.core.errors import DataError
from expunge.core.hashing import plain_json
from expunge.records.document import read_document, write_document
from expunge.records.figures import Estimate
from expunge.records.form import to_plain
from expunge.records.results import Conclusion, Done, Results, Seed

COMMITTED = sorted((Path(__file__).parents[2] / "studies" / "results").glob("*.json"))
COMMITTED = [path for path in COMMITTED if Results.FORMAT in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_committed_results_are_written_as_they_were_read(path: Path) -> None:
    written = path.read_bytes()
    found = read_document(Results, written, path.name)
    assert to_plain(found) == json.loads(written)
    assert write_document(found) == plain_json(json.loads(written))


def test_what_a_page_cuts_is_written_whole() -> None:
    told = example(settings=1, methods=4)
    told["command"] = f"expunge study /home/somebody/s.toml {'x' * 500}\u202e"
    told["title"] = "a\nb" * 60
    told["settings"][0]["rows"][3]["seeds"][0]["reason"] = "/srv/data/rows.npz does not exist"
    found = opened(told)
    assert found.settings[0].rows[3].seeds[0].reason == "…/rows.npz does not exist"
    assert "somebody" not in found.command
    assert len(found.title) <= 81
    assert to_plain(found) == told
    assert to_plain(opened(to_plain(found))) == told


def test_what_is_unknown_is_passed_over_and_kept() -> None:
    told = example(settings=1, methods=4)
    row = told["settings"][0]["rows"][3]
    row["figures"]["fairness"] = {"of": "another version"}
    row["more"] = told["later"] = [1]
    found = opened(told)
    assert "fairness" not in found.settings[0].rows[3].figures.found
    assert to_plain(found) == told


def seed(number: int, verdict: Any, reason: str) -> Seed:
    done = Done(
        verdict=verdict,
        weights_digest="0" * 64,
        example_steps=1.0,
        allowed=None,
        seconds=1.0,
        guarantee="Exact",
        stopped=None,
    )
    return Seed(seed=number, status="done", reason=reason, done=done)


def test_a_conclusion_counts_the_verdicts_of_runs_that_are_done() -> None:
    found = Conclusion.of(
        [
            seed(0, "Undecided", "too few"),
            seed(1, "Refuted", "far off"),
            seed(2, "Undecided", "too few"),
            Seed(seed=3, status="refused", reason="not here"),
        ]
    )
    assert found == Conclusion({"Refuted": 1, "Undecided": 2}, ("too few", "far off"))
    assert Conclusion.of([]) == Conclusion({}, ())


def test_a_verdict_on_a_method_is_held_to_its_figures() -> None:
    told = example(settings=1, methods=4)
    assert opened(told).settings[0].rows[0].concluded is None  # as in earlier files
    memory = {"mean": 0.1, "low": 0.02, "high": 0.18, "bound": 0.16}
    row = told["settings"][0]["rows"][0]
    row["concluded"] = {
        "verdict": {"verdict": "supported", "p": 0.01, "detail": "at most 16% of the memory is left"},
        "trainings": 5,
        "claim": "at-most:25%",
        "allowed": 0.25,
        "memory": memory,
    }
    found = opened(told)
    assert to_plain(found) == told
    (line,) = found.settings[0].over_trainings.rows
    assert line[1:5] == ("5", "at-most:25%", "10% [2%, 18%]", "16%")
    for name, value in (("trainings", 4), ("allowed", 0.10), ("memory", None)):
        kept, row["concluded"][name] = row["concluded"][name], value
        with pytest.raises(DataError, match="trainings whose memory does not say so: it was altered"):
            opened(told)
        row["concluded"][name] = kept
    row["concluded"]["verdict"]["p"], row["concluded"]["trainings"] = 0.0, 1  # bit for bit: nothing to estimate
    assert opened(told).settings[0].rows[0].concluded is not None


def test_one_value_is_its_own_interval() -> None:
    assert (Estimate(2.0).low, Estimate(2.0).high) == (2.0, 2.0)
    assert to_plain(Estimate(2.0, values=(2.0,))) == {"mean": 2.0, "n": 1, "values": [2.0]}
