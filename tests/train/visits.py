"""A small table of visits as somebody holds it, and a run that was trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from expunge.train.call import train
from expunge.train.run import Run

HEADER = ("visit", "age", "town", "note", "person", "outcome")
RAW = ("town", "note", "age", "visit")


def cells(at: int) -> tuple[str, ...]:
    age = 20 + at * 7 % 50
    note = " ".join(("cough", "fever", "well", "tired")[(at + more) % 4] for more in range(3))
    return f"v{at}", str(age), ("Ulm", "Bonn", "Köln")[at % 3], note, f"p{at // 2}", "old" if age > 45 else "young"


ROWS = [cells(at) for at in range(120)]


def written(path: Path, rows: list[tuple[str, ...]], names: tuple[str, ...] = HEADER) -> Path:
    kept = [HEADER.index(name) for name in names]
    lines = [",".join(names), *(",".join(row[at] for at in kept) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def trained(folder: Path, **fields: Any) -> Run:
    rows = written(folder / "rows.csv", ROWS)
    asked: dict[str, Any] = {"epochs": 12, "batch_size": 16, **fields}
    return train(rows, label="outcome", subject="person", id="visit", out=folder / "run", **asked)
