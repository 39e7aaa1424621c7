"""The forging study on other pictures: early points, three forgers, a section of its page."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.forging_measure import measure, prepare, training_rows
from studies.forging_settings import (
    EARLY,
    EPOCH,
    EPOCHS,
    PICTURES,
)
from studies.pages.forging_other_data import other_data_lines

from studies import forging
from studies import forging_summary as summary


def test_other_pictures_are_measured_at_points_that_need_no_fit(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    labels = np.arange(260) % 3
    pictures = (60 * labels[:, None, None] + draws.integers(0, 60, (260, 8, 8))).astype(np.uint8)
    np.savez(tmp_path / "tiny.npz", x=pictures, y=labels)
    extent = replace(PICTURES, data=str(tmp_path / "tiny.npz"), rows=200, seeds=1, targets=2, limit=10)
    (setting,) = extent.settings
    assert training_rows(extent) == 160
    assert (PICTURES.seeds, PICTURES.targets) == (5, 20)
    steps = prepare(setting, 0, extent, tmp_path)
    assert steps == {EARLY: 10, EPOCH: 3, EPOCHS: 30}
    found = [
        {"setting": setting.name, "seed": 0, "point": point, **measure(setting, 0, point, step, extent, tmp_path)}
        for point, step in steps.items()
    ]
    results = json.loads(json.dumps(forging.pictures_results(found, extent, "tiny")))
    assert {cell["point"] for cell in results["equal_cost"]} == {EARLY, EPOCH, EPOCHS}
    assert {cell["forger"] for cell in results["cells"]} == {"greedy", "nearest", "swap", summary.EQUAL}
    page = "\n".join(other_data_lines([results]))
    for point in steps:
        (swap,) = [
            cell
            for cell in results["cells"]
            if (cell["point"], cell["forger"], cell["distance"]) == (point, "swap", "l2")
        ]
        (line,) = [line for line in page.splitlines() if line.startswith(f"| tiny | {point} |")]
        assert f"| {swap['median']:.2g} |" in line
        assert " of 2 | " in line
    assert "160 training rows, 1 seeds, 2 targets" in " ".join(page.split())
    assert other_data_lines([]) == []


def test_a_file_of_pictures_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        forging.main(["--pictures", "pictures.npz"])
    assert "--pictures and --name go together" in capsys.readouterr().err
