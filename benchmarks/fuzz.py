"""Ten thousand bundles with one thing changed: how many are accepted, and how many end in anything but a verdict.

python -m benchmarks.fuzz [--mutations 10000] [--seed 0] [--sums] [--write]
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.verify.fuzz_targets import summed_targets, targets
from tests.verify.lineages import TRUSTED
from tests.verify.mutations import Target, Workbench, mutation

from expunge.records.verdict import Level, Status
from expunge.verify.verify import verify

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sums", action="store_true", help="of models that follow from sums alone")
    parser.add_argument("--write", action="store_true", help="keep the result")
    options = parser.parse_args()
    chosen, sums = (summed_targets(), " --sums") if options.sums else (targets(), "")
    found = fuzz(chosen, options.mutations, options.seed)
    result = {
        "command": f"python -m benchmarks.fuzz --mutations {options.mutations} --seed {options.seed}{sums} --write",
        "date": datetime.date.today().isoformat(),
        **found,
    }
    print(json.dumps(result, indent=1))
    if options.write:
        place = RESULTS / ("fuzz-sums.json" if options.sums else "fuzz.json")
        place.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def fuzz(chosen: Sequence[Target], mutations: int, seed: int) -> dict[str, object]:
    """Verify that many mutations at V1; those that are accepted or raise are named."""
    codes, kinds = Counter[str](), Counter[str]()
    accepted: list[str] = []
    raised: list[str] = []
    undecided = 0
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        bench = Workbench(Path(temporary) / "bench")
        for number in range(mutations):
            one = mutation(chosen, seed, number)
            kinds[one.kind] += 1
            try:
                made, asked = bench.lay_out(one), one.target.witnesses
                verdict = verify(made, keys=TRUSTED, level=Level.V1, witnesses=asked, checkpoints=bench.checkpoints)
            except Exception as error:  # noqa: BLE001  whatever it is, it is a defect
                raised.append(f"{one}: {error!r}")
                continue
            undecided += verdict.status is Status.UNDECIDED
            codes.update(verdict.codes[:1])
            if verdict.status is Status.ACCEPTED:
                accepted.append(str(one))
    return {
        "mutations": mutations,
        "bundles": [target.name for target in chosen],
        "kinds": dict(sorted(kinds.items())),
        "accepted": len(accepted),
        "accepted_named": accepted,
        "accepted_upper_bound_95": 1 - 0.05 ** (1 / mutations) if not accepted else None,
        "raised": len(raised),
        "raised_named": raised,
        "undecided": undecided,
        "first_codes": dict(codes.most_common()),
        "seconds": round(time.perf_counter() - begun, 1),
    }


if __name__ == "__main__":
    main()
