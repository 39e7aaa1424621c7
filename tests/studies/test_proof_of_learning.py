"""The study of proofs of learning: its units are kept and taken up again, and its figures are those of its units."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.proof_of_learning import (
    HONEST_KINDS,
    RESULTS,
    SETTINGS,
    Setting,
    Unit,
    carry_out,
    kept,
    optimiser_of,
    units,
)
from studies.proof_of_learning_figures import FORGERS, counted, spread, summarised, table_of, text_of, write

from expunge.schedule.recipe import Calendar, OptimiserName

TINY = Setting(
    name="tiny",
    what="as small as it comes",
    seeds=1,
    targets=1,
    spoofs=False,
    batch_size=128,
    epochs=2,
    candidates=3,
    interval=4,
    width=2,
)


def log(
    forger: str = "greedy", *, published: bool = True, ours: str = "refused", furthest: float = 0.5
) -> dict[str, Any]:
    return {
        "target": "digit-0001",
        "forger": forger,
        "steps": 2,
        "step_l2_median": 0.25,
        "step_l2_most": 0.5,
        "segment_l2_most": furthest,
        "published": published,
        "every_forged_segment_within_delta": furthest <= 1,
        "fixed": False,
        "fixed_refused_by": ["batches"],
        "ours_v1": {"status": ours, "codes": ["SCHEDULE_BATCH_MISMATCH"] if ours == "refused" else []},
    }


def made(logs: list[dict[str, Any]], spoofs: list[dict[str, Any]] | None = None, seed: int = 0) -> dict[str, Any]:
    return {
        "kind": "tiny",
        "seed": seed,
        "delta": 1.0,
        "distances": [120.0, 130.0],
        "honest_accepted": seed == 0,
        "logs": logs,
        "spoofs": spoofs or [],
    }


def honest(*, ours: str = "accepted", published: bool = True) -> dict[str, Any]:
    return {"kind": "honest", "ours": ours, "published": published, "fixed": True, "layers_with_a_law": 2}


def of_tiny(found: list[dict[str, Any]]) -> dict[str, Any]:
    return summarised(found, [{"name": "tiny", "what": "as small as it comes", "candidates": 3}], "a command")


def test_every_unit_has_a_name_of_its_own_and_changes_with_what_it_is() -> None:
    found = units()
    assert len({unit.name for unit in found}) == len(found)
    assert sum(unit.kind == "honest" for unit in found) == 200
    first = SETTINGS[0]
    assert (first.seeds - 1) * first.targets * len(FORGERS) == 200
    assert units([first], 0)[:3] == units([replace(first, seeds=3)], 0)
    one, other = (units([setting], 0)[0] for setting in (first, replace(first, candidates=101)))
    assert one.name == other.name
    assert one.digest != other.digest


def test_an_optimiser_is_made_of_plain_values() -> None:
    found = optimiser_of(SETTINGS[0].optimiser)
    assert (found.rate, found.momentum, found.weight_decay, found.calendar) == (0.01, 0.0, 0.0, Calendar.CONSTANT)
    assert optimiser_of(HONEST_KINDS[2]["optimiser"]).name is OptimiserName.ADAMW


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Unit], Path, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("study")
    wanted = units([TINY], 2)
    return wanted, out, carry_out(wanted, out, 1)


def test_units_say_what_three_verifiers_answer(done: tuple[list[Unit], Path, list[dict[str, Any]]]) -> None:
    _, out, found = done
    assert [result["unit"] for result in found] == ["tiny-000", "honest-000", "honest-001"]
    logs = found[0]["logs"]
    assert [entry["forger"] for entry in logs] == list(FORGERS)
    for entry in logs:
        assert entry["steps"] == 2
        assert entry["fixed_refused_by"] == ["batches"]
        assert entry["ours_v1"] == {"status": "refused", "codes": ["SCHEDULE_BATCH_MISMATCH"]}
        assert entry["segment_l2_most"] > 0
        assert entry["every_forged_segment_within_delta"] is (entry["segment_l2_most"] <= found[0]["delta"])
    assert found[0]["delta"] == pytest.approx(0.008 * found[0]["d_ref"])
    for result in found[1:]:
        assert (result["ours"], result["reached"], result["fixed"]) == ("accepted", "V3", True)
        assert result["ours_findings"] == []
    assert sorted(path.name for path in out.iterdir()) == ["honest-000.json", "honest-001.json", "tiny-000.json"]


def test_what_is_done_is_not_done_again_and_what_is_damaged_is(
    done: tuple[list[Unit], Path, list[dict[str, Any]]],
) -> None:
    wanted, out, found = done
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert carry_out(wanted, out, 1) == found
    assert times == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    path = out / "honest-001.json"
    for damage in ("{", json.dumps({**found[2], "digest": "0" * 64}), "[]"):
        path.write_text(damage)
        assert kept(wanted[2], out) is None
    assert carry_out(wanted, out, 1) == found
    assert kept(wanted[2], out) == found[2]


def test_a_share_has_its_interval_and_the_bound_below_which_it_lies() -> None:
    found = counted([False] * 200)
    assert (found["count"], found["n"], found["low"]) == (0, 200, 0.0)
    assert found["below"] == pytest.approx(1 - 0.05 ** (1 / 200))
    assert found["high"] == pytest.approx(1 - 0.025 ** (1 / 200))
    assert counted([]) == {"count": 0, "n": 0}
    assert spread([3.0, 1.0, 8.0]) == {"median": 3.0, "least": 1.0, "most": 8.0}
    assert spread([]) is None


def test_figures_are_those_of_the_units() -> None:
    spoofs = [
        {
            "spoof": "blindfold",
            "published": True,
            "ours": "refused",
            "ours_level": "V2",
            "ours_codes": ["REPLAY_STATE_MISMATCH"],
            "work": 20.0,
            "honest_work": 100.0,
            "steps": 40,
        }
    ]
    found = [
        made([log(), log("swap"), log(published=False, furthest=2.0)], spoofs),
        made([log("swap", ours="accepted")], seed=1),
        honest(),
        honest(ours="refused", published=False),
    ]
    results = of_tiny(found)
    (setting,) = results["settings"]
    assert (setting["seeds"], setting["honest_refused_as_published"]) == (2, 1)
    assert setting["d_ref"] == {"median": 125.0, "least": 120.0, "most": 130.0}
    greedy, swap = setting["forgers"]
    assert (greedy["published_accepts"]["count"], greedy["published_accepts"]["n"]) == (1, 2)
    assert greedy["every_forged_segment_within_delta"]["count"] == 1
    assert (swap["published_accepts"]["count"], swap["ours_accepts_at_v1"]["count"]) == (2, 1)
    assert (swap["published_accepts_of_valid"]["count"], swap["published_accepts_of_valid"]["n"]) == (1, 1)
    assert setting["all"]["ours_codes"] == {"SCHEDULE_BATCH_MISMATCH": 3}
    (row,) = results["spoofs"]
    assert (row["published_accepts"]["count"], row["ours_refuses"]["count"]) == (1, 1)
    assert (row["level"], row["codes"], row["work_share"]["median"]) == (["V2"], {"REPLAY_STATE_MISMATCH": 1}, 0.2)
    assert results["honest"]["ours_refused"]["count"] == results["honest"]["published_refused"]["count"] == 1
    assert results["honest"]["fixed_refused"]["count"] == 0
    text = text_of(results)
    assert "accepted as published 1 of 2" in text
    assert "work 20.0% of what it claims" in text


def test_nothing_done_gives_no_figures_and_no_failure() -> None:
    results = of_tiny([])
    assert results["settings"][0]["d_ref"] is None
    assert "nothing was done" in text_of(results)


def test_the_table_has_a_line_for_every_forged_log(tmp_path: Path) -> None:
    found = [made([log(), log("swap")]), honest()]
    lines = table_of(found).splitlines()
    assert len(lines) == 3
    assert lines[2] == "tiny,0,1,swap,digit-0001,2,0.25,0.5,0.5,True,True,False,batches,refused,SCHEDULE_BATCH_MISMATCH"
    assert len(lines[0].split(",")) == len(lines[1].split(","))
    write(of_tiny(found), found, tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["command"] == "a command"
    assert (tmp_path / "results.csv").read_text() == table_of(found)


def test_the_committed_results_are_of_this_study_and_bear_out_what_is_said_of_them() -> None:
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert [setting["name"] for setting in results["settings"]] == [setting.name for setting in SETTINGS]
    for setting, expected in zip(results["settings"], SETTINGS, strict=True):
        whole = setting["all"]
        assert whole["published_accepts"]["n"] == expected.seeds * expected.targets * len(FORGERS)
        assert whole["ours_accepts_at_v1"]["count"] == whole["fixed_accepts"]["count"] == 0
    first = results["settings"][0]["all"]
    valid = first["published_accepts_of_valid"]
    assert valid["n"] >= 200
    assert valid["count"] >= 0.95 * valid["n"]
    assert first["every_forged_segment_within_delta"]["count"] == first["every_forged_segment_within_delta"]["n"]
    assert first["ours_accepts_at_v1"]["below"] < 0.015
    assert {row["spoof"] for row in results["spoofs"]} == {"resorted-init", "infinitesimal", "blindfold"}
    for row in results["spoofs"]:
        assert row["published_accepts"]["n"] == SETTINGS[0].seeds
        assert row["published_accepts"]["count"] == row["ours_refuses"]["count"] == SETTINGS[0].seeds
    honest_ones = results["honest"]
    assert (honest_ones["ours_refused"]["count"], honest_ones["ours_refused"]["n"]) == (0, 200)
    assert honest_ones["ours_accepted_at_v3"]["count"] == 200
    lines = RESULTS.with_suffix(".csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + sum(setting["all"]["published_accepts"]["n"] for setting in results["settings"])
