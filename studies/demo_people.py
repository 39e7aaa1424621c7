"""Whose handwriting do models without them read worst? The choice of the twelve people that the demo forgets.

The subjects of the digits are dealt into five groups, three times over; for each group a model is retrained without
it, and each person's mean margin is read from the models that never saw them. The twelve with the lowest are the
demo's, because on easy handwriting a model remembers nothing and there would be nothing to forget.

    python -m studies.demo_people
"""

from __future__ import annotations

import datetime
import json
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from expunge.core.hashing import sha256
from expunge.core.streams import Stream, stable_order
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.training import train

RESULTS = Path(__file__).parent / "results" / "demo_people.json"
GROUPS, DEALS, EPOCHS = 5, 3, 20


def main() -> None:
    found: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        base = train("digits", out=Path(folder) / "base", model="cnn", epochs=EPOCHS)
        rows = base.data()[Split.TRAIN]
        subjects = np.array(rows.subjects)
        people = np.unique(subjects)
        examples = Examples(base.recipe, rows, torch.device("cpu"))
        for deal in range(DEALS):
            order = stable_order(Stream(sha256(b"demo-people"), "study/deal", 0, deal).words(len(people)))
            for group in range(GROUPS):
                left_out = people[order[group::GROUPS]]
                rules = [f"subject:{name}" for name in left_out]
                run = unlearn(base, rules, method="retrain", out=Path(folder) / f"{deal}-{group}")
                slots = run.forget_set.slots
                sure = signals(base.recipe, run.model(), examples, slots)["margin"]
                for name in left_out:
                    found[str(name)].append(float(sure[subjects[slots] == name].mean()))
    ranked = sorted((float(np.mean(values)), name) for name, values in found.items())
    written = {
        "date": datetime.date.today().isoformat(),
        "command": "python -m studies.demo_people",
        "what": "mean margin of each person's digits under models that never saw them, lowest first",
        "people": [{"subject": name, "mean_margin": round(value, 4)} for value, name in ranked],
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    print("lowest:", ", ".join(name for _, name in ranked[:12]))


if __name__ == "__main__":
    main()
