"""Commit first, train after a beacon, forget a person exactly, sign it, and let a stranger verify it by replaying."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import expunge
from expunge.attest.attest import commit_run
from expunge.core.beacon import read_beacon
from expunge.records.keys import keygen, load_trusted
from expunge.records.verdict import Level


def main(out: Path) -> None:
    # The owner: fix data and recipe, sign that, and only then take a value that nobody could know before.
    key = keygen(out / "keys", "example.com/records")
    recipe: dict[str, Any] = {"model": "cnn", "epochs": 2, "shards": 4, "slices": 2}
    committed = expunge.train("digits", out=out / "base", commit_only=True, **recipe)
    commit_run(committed, key, out / "log", "example.com/records")
    time.sleep(1.1)  # records are dated by the second, and the beacon must be younger
    beacon = read_beacon("7f" * 32)
    base = expunge.train("digits", out=out / "base", beacon=beacon, **recipe)
    forgot = expunge.unlearn(base, "subject:person-017", method="exact-replay", out=out / "forgot")
    made = expunge.attest(forgot, key=key, log=out / "log", checkpoints=True, out=out / "bundle")

    # The auditor: a bundle, and the keys that came by another way.
    trusted = load_trusted(out / "keys" / "trusted.json")
    for level in (Level.V1, Level.V3):
        verdict = expunge.verify(made.bundle, keys=trusted, level=level, data="digits")
        print(f"{verdict.status.value} at {level.name}, {len(verdict.findings)} findings")
        assert verdict.status.value == "accepted"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs-audit-a-deletion"))
