"""Keep a study's results: small JSON and CSV under studies/results, from which the documentation is drawn.

    python -m studies.keep OUT [OUT …]

Left out is what a reader of the leaderboard does not need: the failures of single trials, notices of single runs.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="+")
    for out in parser.parse_args().out:
        found = kept(json.loads((out / "results.json").read_text(encoding="utf-8")))
        target = RESULTS / f"{found['name']}.json"
        target.write_text(json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
        shutil.copyfile(out / "results.csv", target.with_suffix(".csv"))
        print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def kept(results: dict[str, Any]) -> dict[str, Any]:
    """The results without what is long; numbers to six digits."""
    for setting in results["settings"]:
        for row in setting["rows"]:
            row["tuning"].pop("failures", None)
            for seed in row["seeds"]:
                seed.pop("notices", None)
    return rounded(results)


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
