"""Killed at random moments, the work ends with what an undisturbed one has: a study's store, the bytes of commands.

python -m benchmarks.kills study [--kills 30] [--seed 0] [--write]
python -m benchmarks.kills commands [--kills 50] [--seed 0] [--write]
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

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
# Training, forgetting and attesting, all of it again after each kill. The clocks stand still, so that nothing but the
# work decides the bytes.
COMMANDS = """
import sys, time
from pathlib import Path
import expunge.core.clock as clock
clock.utc_now, time.perf_counter = lambda: "2026-12-01T12:00:00Z", lambda: 0.0
import expunge
from expunge.attest.attest import attest
from expunge.records.keys import signing_key
folder = Path(sys.argv[1])
fields = dict(epochs=6, checkpoint_interval=5, model_options=dict(dropout=0.2))
base = expunge.train("digits", out=folder / "base", model="mlp", **fields)
forgot = expunge.unlearn(base, "subject:person-017", out=folder / "forgot", method="exact-replay")
if not (folder / "bundle").exists():
    owner = dict(key=signing_key(bytes(32)), log=folder / "log", origin="kills.example")
    attest(forgot, out=folder / "bundle", checkpoints=True, **owner)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__)
    parser.add_argument("work", choices=("study", "commands"))
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="keep the result")
    options = parser.parse_args()
    kill, usual = (kill_study, 30) if options.work == "study" else (kill_commands, 50)
    kills = options.kills or usual
    with tempfile.TemporaryDirectory() as folder:
        found = kill(Path(folder), kills, random.Random(options.seed))
    print(f"the same after {kills} kills: {'yes' if found['same'] else 'NO'}")
    if options.write:
        command = f"python -m benchmarks.kills {options.work} --kills {kills} --seed {options.seed} --write"
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        kept[options.work] = {"date": datetime.date.today().isoformat(), "command": command, "kills": kills, **found}
        RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(0 if found["same"] else 1)


def kill_study(folder: Path, kills: int, draws: random.Random) -> dict[str, Any]:
    """A study of 93 jobs with two workers: the entries of its store."""
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")

    def start(name: str) -> subprocess.Popen[bytes]:
        words = ("study", str(folder / "study.toml"), "--out", str(folder / name), "--jobs", "2")
        return started("-m", "expunge.cli.main", *words)

    begun = time.perf_counter()
    ended(start("whole"))
    whole = time.perf_counter() - begun
    print(f"undisturbed: {len(entries(folder / 'whole'))} entries in {whole:.0f} s")
    before: list[int] = []
    while len(before) < kills:
        moment = draws.uniform(0.5, max(5.0, whole / 2))
        if killed(start("killed"), moment):
            before.append(len(entries(folder / "killed")))
            print(f"kill {len(before)} after {moment:.1f} s: {before[-1]} entries")
            continue
        print("the study is done, and is begun anew")  # the kills that are left fall on the rest
        drop_some(folder, draws)
    ended(start("killed"))
    return {"entries_at_each_kill": before, "same": entries(folder / "killed") == entries(folder / "whole")}


def kill_commands(folder: Path, kills: int, draws: random.Random) -> dict[str, Any]:
    """Training, forgetting, attesting: every file of the two runs, of the log and of the bundle."""
    place = folder / "work"  # the same one each time: a run says where its parent lies
    process = started("-c", COMMANDS, str(place))
    wait_for_a_file(process, place)
    begun = time.perf_counter()
    ended(process)
    longest, expected = time.perf_counter() - begun, digests(place)
    print(f"undisturbed: {len(expected)} files, {longest:.1f} s from the first to the last")
    shutil.rmtree(place)
    stages, same = list[str](), list[bool]()
    while len(stages) < kills:
        process = started("-c", COMMANDS, str(place))
        wait_for_a_file(process, place)
        if killed(process, draws.uniform(0, longest)):
            stages.append(stage(place))
            print(f"kill {len(stages)} while at the {stages[-1]}")
            continue
        same.append(digests(place) == expected)
        print(f"done: {'the same bytes' if same[-1] else 'OTHER BYTES'}; begun anew")
        shutil.rmtree(place)
    ended(started("-c", COMMANDS, str(place)))
    same.append(digests(place) == expected)
    counts = {name: stages.count(name) for name in sorted(set(stages))}
    return {"kills_while_at_the": counts, "times_to_the_end": len(same), "same": all(same)}


def started(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def killed(process: subprocess.Popen[bytes], after: float) -> bool:
    """Kill it so many seconds from now; False where it ended before."""
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=after)
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    return ended(process) == -signal.SIGKILL


def ended(process: subprocess.Popen[bytes]) -> int:
    _, errors = process.communicate()
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(f"the work did not end well: {errors.decode()}")
    return process.returncode


def wait_for_a_file(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until something is written: a process that only imports is not worth a kill."""
    before = times(folder)
    while process.poll() is None and times(folder) == before:
        time.sleep(0.002)


def times(folder: Path) -> set[tuple[Path, int]]:
    found = set[tuple[Path, int]]()
    for place, folders, files in os.walk(folder):  # which passes over folders that go meanwhile
        for name in (*folders, *files):
            with suppress(FileNotFoundError):  # what is half-written takes its name
                path = Path(place, name)
                found.add((path, path.stat().st_mtime_ns))
    return found


def stage(folder: Path, names: Sequence[str] = ("bundle", "log", "forgot", "base")) -> str:
    return next((name for name in names if (folder / name).exists()), "start")


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def entries(folder: Path) -> dict[str, tuple[str, str]]:
    store = folder / "store"
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
