"""What the tests of hygiene share: small shapes, and what lies in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from expunge.hygiene.survey import Survey

PERSON, ANOTHER, THIRD = "subject:someone-03", "subject:someone-07", "subject:someone-11"
SHAPE: dict[str, Any] = {"model": "mlp", "epochs": 3, "batch_size": 16, "shards": 2, "slices": 2}
WHOLE = {**SHAPE, "shards": 1}  # approximate methods take no shards


def signed(run: Path) -> None:
    (run / "record").mkdir()
    (run / "record" / "envelope.json").write_text("{}")


def named(found: Survey) -> set[str]:
    """Files by their run's and their own name."""
    return {"/".join(holding.path.parts[-3:]).split("runs/")[-1] for holding in found.holdings}


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


class Killed(BaseException):
    """Stands for the end of the process."""
