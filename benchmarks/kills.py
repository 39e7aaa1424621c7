"""Killed at thirty random moments, a study ends with the store that an undisturbed one has.

python -m benchmarks.kills [--kills 30] [--seed 0] [--write]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from expunge.study.store import Store

RESULTS = Path(__file__).parent / "results" / "kills.json"
STUDY = """
title = "Kills"
seeds = [0, 1, 2]
references = 3
methods = ["retrain", "exact-replay", "fine-tune", "scrub", "saliency-unlearning", "influence"]
[data.digits]
location = "digits"
[training.cnn]
model = "cnn"
epochs = 12
[forget.random]
rules = "random:5%:1"
[forget.class]
rules = "class:3"
[tuning]
trials = 4
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep the result")
    options = parser.parse_args()
    draws = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "kills.toml").write_text(STUDY, encoding="utf-8")
        begun = time.perf_counter()
        finish(folder, "whole")
        whole = time.perf_counter() - begun
        print(f"undisturbed: {len(entries(folder, 'whole'))} entries in {whole:.0f} s")
        before: list[int] = []
        while len(before) < options.kills:
            process = start(folder, "killed")
            moment = draws.uniform(0.5, max(5.0, whole / 2))
            try:
                process.wait(timeout=moment)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                before.append(len(entries(folder, "killed")))
                print(f"kill {len(before)} after {moment:.1f} s: {before[-1]} entries")
                continue
            print("the study is done, and is begun anew")  # the kills that are left fall on the rest
            drop_some(folder, draws)
        finish(folder, "killed")
        same = entries(folder, "killed") == entries(folder, "whole")
    print(f"same store after {len(before)} kills: {'yes' if same else 'NO'}")
    if options.write:
        found = {
            "date": datetime.date.today().isoformat(),
            "command": f"python -m benchmarks.kills --kills {options.kills} --seed {options.seed} --write",
            "kills": len(before),
            "entries_at_each_kill": before,
            "same_store": same,
        }
        RESULTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(0 if same else 1)


def start(folder: Path, name: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "expunge.cli.main", "study", str(folder / "kills.toml"), "--out", str(folder / name)]
    return subprocess.Popen([*words, "--jobs", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(folder: Path, name: str) -> None:
    if start(folder, name).wait() != 0:
        sys.exit(f"the study {name} did not end well: see {folder / name / 'study.log'}")


def entries(folder: Path, name: str) -> dict[str, tuple[str, str]]:
    store = folder / name / "store"
    if not (store / "store.json").is_file():
        return {}
    return {entry.key: (entry.outcome.value, entry.digest) for entry in Store(store).entries()}


def drop_some(folder: Path, draws: random.Random) -> None:
    """Take back the notes of a third of the jobs, as if they had not ended."""
    store = Store(folder / "killed" / "store")
    for entry in list(store.entries()):
        if draws.random() < 1 / 3:
            store.discard(entry.key)


if __name__ == "__main__":
    main()
