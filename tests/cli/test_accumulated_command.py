"""Models that take no steps at the command line: nothing else is to be said, and what is said of steps is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge
from tests.train.summed_rows import table


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows, path = table(160), tmp_path / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["who", "size", "kind", "answer"])
        for row in range(len(rows)):
            content = (rows.content[name][row] for name in ("size", "kind"))
            writer.writerow([rows.subjects[row], *content, rows.label(row)])
    return path


def test_train_info_and_unlearn_count_row_sums(file: Path, tmp_path: Path, expunge: Expunge) -> None:
    base, forgot = tmp_path / "base", tmp_path / "forgot"
    done = expunge("train", file, "--label", "answer", "--subject", "who", "--model", "naive-bayes", "--out", base)
    assert done.status == 0
    assert "trained naive-bayes on 128 rows" in done.out
    assert "with 128 row-sums in" in done.out
    assert "guarantee Exact" in done.out
    facts = {line[:18].strip(): line[19:] for line in expunge("info", base).out.splitlines()}
    assert (facts["row-sums"], facts["example-steps"]) == ("128", "0.0")
    assert facts["recipe"] == "naive-bayes, a function of sums over the rows, seed 0"
    assert facts.keys().isdisjoint({"checkpoints", "trace", "shards × slices"})
    done = expunge("unlearn", base, "--forget", "subject:someone-11", "--out", forgot)
    assert done.status == 0
    assert "by exact-replay: 2 row-sums (1.6% of the training) in" in done.out


@pytest.mark.parametrize(
    "said",
    [
        ["--epochs", 8],
        ["--batch-size", 64],
        ["--optimiser", "sgd"],
        ["--calendar", "cosine"],
        ["--flip"],
        ["--shards", 1],
        ["--slices", 1],
        ["--placement", "subject"],
        ["--threads", 1],
        ["--trace", "losses"],
        ["--keep-checkpoints", 2],
        ["--base", "weights.safetensors"],
    ],
    ids=lambda said: said[0],
)
def test_what_steps_are_told_is_refused_by_its_flag(
    said: list[object], file: Path, tmp_path: Path, expunge: Expunge
) -> None:
    if said[0] == "--base":
        from safetensors.torch import save_file
        from torch import zeros

        save_file({"weight": zeros(1)}, tmp_path / "weights.safetensors")
        said = ["--base", tmp_path / "weights.safetensors"]
    done = expunge("train", file, "--label", "answer", "--model", "ridge", "--out", tmp_path / "run", *said)
    assert done.status == 2
    assert done.err.count("\n") <= 2
    assert f"{said[0]} with model 'ridge': its weights are a function of sums over the rows, and no step is" in done.err
    assert not (tmp_path / "run" / "run.json").exists()
