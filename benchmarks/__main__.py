"""``make bench``: every speed figure with its bound, printed and written to benchmarks/results/speed.json.

Two ways of doing the same work take turns in one process (A B A B …), so that a machine whose speed drifts moves both;
what counts is the median of the ratios pair by pair.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.commands import command_speed
from benchmarks.features import feature_speed
from benchmarks.forest import forest_speed
from benchmarks.loop import loop_against_bare, recording_against_none
from benchmarks.methods import method_epochs, method_seconds
from benchmarks.rounded import rounded_speed
from benchmarks.schedule import schedule_speed
from benchmarks.verify import Size, verify_speed
from expunge.train.trace import Trace

RESULTS = Path(__file__).parent / "results" / "speed.json"


def among_others(rows: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """The rows in the places of those of the same names; what was measured before stays beside them."""
    fresh = {row["name"]: row for row in rows}
    kept = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"] if RESULTS.is_file() else []
    places = [fresh.pop(row["name"], row) for row in kept]
    return [*places, *fresh.values()]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--pairs", type=int, default=9, help="pairs of runs for each ratio")
    parser.add_argument(
        "--only",
        choices=("loop", "recording", "schedule", "methods", "verify", "features", "forest", "rounded", "commands"),
        help="one of the parts",
    )
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/speed.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[dict[str, object]] = []
    if options.only in (None, "loop"):
        found += [loop_against_bare("cnn", options.pairs, side=8), loop_against_bare("cnn", options.pairs)]
        found.append(loop_against_bare("resnet18", options.pairs))
    if options.only in (None, "recording"):
        found += [
            recording_against_none(name, options.pairs, trace)
            for name in ("cnn", "resnet18")
            for trace in (Trace.OFF, Trace.LOSSES)
        ]
    if options.only in (None, "methods"):
        found += method_epochs(options.pairs)
        torch.set_num_threads(2)
        found += method_seconds(2)
        torch.set_num_threads(1)
    if options.only in (None, "schedule"):
        found.append(schedule_speed())
    if options.only in (None, "verify"):
        found.append(verify_speed(Size()))
    if options.only in (None, "features"):
        found += feature_speed()
    if options.only in (None, "forest"):
        found += forest_speed(options.pairs)
    if options.only in (None, "rounded"):
        found += rounded_speed(options.pairs)
    if options.only in (None, "commands"):
        found += command_speed(options.pairs)
    for row in found:
        outcome = "ok" if row["kept"] else "MISSED"
        print(f"{row['name']:<58} {row['value']:>9.3f} {row['unit']:<8} bound {row['bound']:g}  {outcome}")
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        today = datetime.date.today().isoformat()
        rows = [{**row, "date": today} for row in found]
        written = {
            "date": today,
            "command": "python -m benchmarks --write",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "processor": torch.backends.cpu.get_cpu_capability(),
            "threads": 1,
            "rows": rows if options.only is None else among_others(rows),
        }
        RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row["kept"] for row in found) else 1


if __name__ == "__main__":
    sys.exit(main())
