"""``expunge train`` on tables as people hold them: one command, and what it says of what it found."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

CODES = 451


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 % of the numbers and dates missing, dates, 451 codes, semicolons, decimal commas."""
    lines = ["patient;age;weight;visit;code;outcome"]
    for at in range(900):
        hole = at % 20
        cells = [
            f"p{at % 90}",
            "" if hole == 3 else str(20 + at % 60),
            "" if hole == 7 else f"{40 + at % 50},{at % 10}",
            "" if hole == 11 else f"{1 + at % 28:02d}.{1 + at % 12:02d}.2023",
            f"C{at % CODES:03d}",
            "ill" if at % 3 else "well",
        ]
        lines.append(";".join(cells))
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_such_a_table_trains_in_one_command_and_is_verified(table: Path, expunge: Expunge, tmp_path: Path) -> None:
    out = tmp_path / "run"
    named = ("--label", "outcome", "--subject", "patient", "--epochs", 1, "--batch-size", 256)
    refused = expunge("train", table, *named, "--out", out)
    assert refused.status == 2
    assert "--missing indicator" in refused.err
    done = expunge("train", table, *named, "--missing", "indicator", "--out", out)
    assert done.status == 0, done.err
    for said in (
        "columns: numeric age, weight; date (as days) visit; categorical code; 2 classes",
        "the file was read with separator ';' and decimal ','",
        "missing values of 3 columns come in as 0",
        f"column 'code' has {CODES} different words, which share 32 buckets",
        "--category-buckets 1024",
        "trained mlp on 720 rows",
        "guarantee Exact",
    ):
        assert said in done.out
    again = expunge("train", table, *named, "--missing", "indicator", "--out", out)
    assert again.out.splitlines()[-1] == done.out.splitlines()[-1]
    assert expunge("unlearn", out, "--forget", "subject:p7", "--out", tmp_path / "forgot").status == 0
    assert expunge("keygen", "--out", tmp_path / "keys").status == 0
    given = ("--key", tmp_path / "keys" / "private.pem", "--out", tmp_path / "bundle")
    assert expunge("attest", tmp_path / "forgot", *given).status == 0
    left = tmp_path / "left.csv"
    rows = table.read_text(encoding="utf-8").splitlines(keepends=True)
    left.write_text("".join(row for row in rows if not row.startswith("p7;")), encoding="utf-8")
    for data in (table, left):
        keys = ("--keys", tmp_path / "keys" / "trusted.json")
        verified = expunge("verify", tmp_path / "bundle", "--level", "V2", *keys, "--data", data)
        assert "holds     preprocessing: 7 columns and 2 classes are those of the rows that stay" in verified.out


def test_a_label_that_looks_measured(expunge: Expunge, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,y\n" + "".join(f"{at % 9},{at % 25}\n" for at in range(100)), encoding="utf-8")
    asked = ("train", path, "--label", "y", "--epochs", 1, "--out", tmp_path / "run")
    refused = expunge(*asked)
    assert (refused.status, refused.out) == (2, "")
    assert "25 different numbers" in refused.err
    assert "say --task regression to learn the quantity, or --task classification" in refused.err
    assert expunge(*asked, "--task", "classification").status == 0


def test_a_table_without_a_header_in_another_encoding(expunge: Expunge, tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes("".join(f"Köln|{at}|{'ja' if at % 2 else 'nein'}\n" for at in range(40)).encode("latin-1"))
    asked = ("train", path, "--label", "3", "--no-header", "--encoding", "latin-1", "--epochs", 1)
    done = expunge(*asked, "--model", "linear", "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert "columns: numeric 2; categorical 1; 2 classes" in done.out
    assert "separator '|'" in done.out
