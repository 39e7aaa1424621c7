"""Random forget sets against the worst that are chosen: what each of them does to retraining and to five methods.

Trains on a part of an image data set at half its width and height, chooses sets of a tenth of the rows by every rule,
retrains without each under fresh seeds, and lets methods on their defaults forget each from three originals. Prints,
and writes with the date, the overlap of all sets, accuracies, and the distance

    d = mean over a set of |mean margin of a method's models − mean margin of retrained models|

    python -m studies.worst FILE.npz [--random 20]       # arrays x (pictures) and y; the results are from Fashion-MNIST
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from expunge.attacks.contract import Chooser, End
from expunge.attacks.worst import worst
from expunge.attacks.worst_distant import Distant, Proxy
from expunge.attacks.worst_heuristics import EarlyError, Moderate, OriginalLoss
from expunge.attacks.worst_hidden import Hidden, Start
from expunge.core.errors import ExpungeError
from expunge.core.selection.ranking import overlap
from expunge.core.statistics.memory import Memory, bounded
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.splits import Split
from expunge.methods.contract import Parent
from expunge.methods.lookup import make_method
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import parent_of
from expunge.train.answers import signals
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device, train

RESULTS = Path(__file__).parent / "results" / "worst" / "fashion.json"
ROWS, EPOCHS, SIZE, ORIGINALS, REFERENCES, WITNESSES = 5000, 30, "10%", 3, 5, 2
METHODS = ("fine-tune", "cf-k", "neggrad-plus", "scrub", "random-labels")
KEPT_LITTLE = "70%"  # left out where a coreset is trained on the rest
RULES: dict[str, Chooser] = {
    "hidden": Hidden(),
    "loss low": OriginalLoss(),
    "loss high": OriginalLoss(end=End.HIGH),
    "el2n low": EarlyError(),
    "el2n high": EarlyError(end=End.HIGH),
    "moderate high": Moderate(),
    "distant": Distant(),
}


@dataclass(frozen=True, eq=False)
class Bench:
    """Three originals with their parents as methods take them, witnesses of other seeds, and the rows asked about."""

    originals: tuple[Run, ...]
    parents: tuple[Parent, ...]
    witnesses: tuple[Run, ...]
    train_rows: Examples
    holdout: Examples

    @property
    def run(self) -> Run:
        return self.originals[0]

    def margins(self, model: Any, slots: np.ndarray) -> np.ndarray:
        return signals(self.run.recipe, model, self.train_rows, slots)["margin"]

    def accuracy(self, model: Any, slots: np.ndarray | None = None) -> float:
        rows = self.holdout if slots is None else self.train_rows
        asked = np.arange(len(rows)) if slots is None else slots
        return 100 * float(signals(self.run.recipe, model, rows, asked)["correct"].mean())

    def without(self, slots: np.ndarray, number: int) -> Any:
        """A retraining under a seed that chose nothing."""
        return Retrain(training_seed=1000 + number)(self.parents[0], slots).model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--random", type=int, default=20, help="random sets beside the chosen ones")
    parser.add_argument("--halves", type=int, default=0, help="half models to train for distant by lira: 32 are usual")
    options = parser.parse_args()
    with np.load(options.file) as arrays:
        x, y = arrays["x"][:ROWS], arrays["y"][:ROWS]
    halved = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        np.savez(folder / "part.npz", x=halved, y=y)
        bench = prepared(folder)
        with pinned(bench.run.recipe):
            written = studied(bench, folder, options.random, options.halves)
    asked = f"--random {options.random}" + (f" --halves {options.halves}" if options.halves else "")
    written["command"] = f"python -m studies.worst FILE.npz {asked} (Fashion-MNIST)"
    written["date"] = datetime.date.today().isoformat()
    RESULTS.write_text(json.dumps(written, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def prepared(folder: Path) -> Bench:
    def trained(seed: int) -> Run:
        out = folder / f"seed-{seed}"
        return train(str(folder / "part.npz"), out=out, model="mlp", epochs=EPOCHS, seed=seed)

    originals = tuple(trained(seed) for seed in range(ORIGINALS))
    rows = originals[0].data()
    recipe = originals[0].recipe
    asked = [Examples(recipe, rows[split], find_device("cpu")) for split in (Split.TRAIN, Split.HOLDOUT)]
    parents = tuple(parent_of(run, data=rows) for run in originals)
    return Bench(originals, parents, tuple(trained(900 + number) for number in range(WITNESSES)), *asked)


def studied(bench: Bench, folder: Path, randoms: int, halves: int) -> dict[str, Any]:
    sets, told = chosen(bench, folder)
    if halves:
        sets["distant lira"] = by_halves(bench, folder, halves)
    train_rows, root = bench.run.data()[Split.TRAIN], bench.run.root.hex()
    nobody = np.zeros(0, dtype=np.int64)
    drawn = {
        f"random {seed}": choose([f"random:{SIZE}:{seed}"], train_rows, root=root, forgotten=nobody)
        for seed in range(randoms)
    }
    names = [*sets, "random 0"]
    shares = [
        [overlap({**sets, **drawn}[one].slots, {**sets, **drawn}[other].slots) for other in names] for one in names
    ]
    print("\noverlap".ljust(16), *(name.rjust(13) for name in names))
    for name, line in zip(names, shares, strict=True):
        print(name.ljust(15), *(f"{share:13.2f}" for share in line))
    print("\nset".ljust(17), "UA".rjust(6), "TA".rjust(6), *(f"d {name}".rjust(16) for name in METHODS))
    rows = {name: measured(bench, found.slots, REFERENCES) for name, found in sets.items()}
    rows |= {name: measured(bench, found.slots, 2) for name, found in drawn.items()}
    for name, row in rows.items():
        print(name.ljust(16), f"{row['UA']:6.1f} {row['TA']:6.1f}", *(f"{row['d'][m]:16.2f}" for m in METHODS))
    pair = [rows[name]["gaps"]["random-labels"] for name in ("hidden", "loss low")]
    told["hidden_against_lowest_loss"] = {
        "random-labels gap": [float(np.mean(gaps)) for gaps in pair],
        "p": 1.0 if pair[0] == pair[1] else float(ttest_rel(*pair).pvalue),
    }
    print(f"\nhidden against lowest loss, UA gap of random-labels: {told['hidden_against_lowest_loss']}")
    told["coresets"] = coresets(bench, folder)
    return {**told, "overlap": {"names": names, "shares": shares}, "sets": rows}


def chosen(bench: Bench, folder: Path) -> tuple[dict[str, ForgetSet], dict[str, Any]]:
    """A set by every rule, and how much they depend on seed, original and length of the search."""
    sets, costs = dict[str, ForgetSet](), dict[str, Any]()

    def of(name: str, run: Run, rule: Chooser, seed: int = 0) -> ForgetSet:
        begun = time.process_time()
        found = worst(run, size=SIZE, objective=rule, out=folder / f"{name}.json", seed=seed)
        assert found.selection is not None
        seconds = time.process_time() - begun
        costs[name] = {"passes": found.selection.cost / found.selection.rows, "seconds": seconds}
        costs[name] |= {"value": found.selection.value, "random": float(np.mean(found.selection.random))}
        print(f"{name:<24} {costs[name]}")
        return found

    for name, rule in RULES.items():
        sets[name] = of(name, bench.run, rule)
    others = {
        "another seed": of("hidden, another seed", bench.run, Hidden(), 1),
        "another original": of("hidden, another original", bench.originals[1], Hidden()),
        "10 x 3": of("hidden, 10 x 3", bench.run, Hidden(steps=10, epochs=3)),
        "5 x 1": of("hidden, 5 x 1", bench.run, Hidden(epochs=1)),
        "itself and ascent": of("hidden, with ascent", bench.run, Hidden(ascent=True)),
    }
    told = {f"hidden with {name}": overlap(sets["hidden"].slots, other.slots) for name, other in others.items()}
    told["hidden with a random set"] = sets["hidden"].selection.guards.start  # type: ignore[union-attr]
    for rate in (0.01, 0.001):
        try:
            of(f"mask {rate}", bench.run, Hidden(start=Start.MASK, rate=rate, steps=10, epochs=1))
            told[f"mask {rate}"] = "moved"
        except ExpungeError as error:
            told[f"mask {rate}"] = str(error)
    for name, value in told.items():
        print(f"{name}: {value}")
    return sets, {"selections": costs, "stability": told}


def by_halves(bench: Bench, folder: Path, count: int) -> ForgetSet:
    """The set of the half models, each of which lacks another half, under seeds that nothing else has."""
    runs = [
        train(
            str(folder / "part.npz"),
            out=folder / f"half-{number}",
            without=f"random:50%:{number}",
            model="mlp",
            epochs=EPOCHS,
            seed=2000 + number,
        )
        for number in range(count)
    ]
    rule = Distant(proxy=Proxy.LIRA)
    return worst(bench.run, size=SIZE, objective=rule, halves=runs, out=folder / "distant lira.json")


def measured(bench: Bench, slots: np.ndarray, count: int) -> dict[str, Any]:
    """UA and TA of retraining; for every method d, the gap in UA from each original, ρ and τ where references allow."""
    references = [bench.without(slots, number) for number in range(count)]
    margins = np.array([bench.margins(model, slots) for model in references])
    wrong = [100 - bench.accuracy(model, slots) for model in references]
    found: dict[str, Any] = {"UA": float(np.mean(wrong)), "TA": float(np.mean([bench.accuracy(m) for m in references]))}
    found["references_apart"] = float(np.abs(margins[0] - margins[1]).mean())
    found |= {"d": {}, "gaps": {}, "rho": {}, "tau": {}}
    witnesses = np.array([bench.margins(run.model(), slots) for run in bench.witnesses])
    memory = Memory(bounded(margins), bounded(witnesses))
    for method in METHODS:
        models = [make_method(method)(parent, slots).model for parent in bench.parents]
        own = np.array([bench.margins(model, slots) for model in models])
        found["d"][method] = float(np.abs(own.mean(axis=0) - margins.mean(axis=0)).mean())
        found["gaps"][method] = [abs(100 - bench.accuracy(model, slots) - np.mean(wrong)) for model in models]
        if count >= 5:
            lefts, distances = memory.null
            found["rho"][method] = float(np.mean([memory.left(bounded(one)) for one in own]) - lefts.mean())
            apart = [(memory.distance(bounded(one)) - distances.mean()) / distances.std(ddof=1) for one in own]
            found["tau"][method] = float(np.mean(apart))
    return found


def coresets(bench: Bench, folder: Path) -> dict[str, Any]:
    """TA of trainings on the complement, where little is kept: the hidden set left out, or others as large."""
    found = dict[str, Any]()
    for name in ("hidden", "el2n low", "moderate high"):
        left = worst(bench.run, size=KEPT_LITTLE, objective=RULES[name], out=folder / f"little {name}.json").slots
        found[name] = [bench.accuracy(bench.without(left, number)) for number in range(3)]
    train_rows, root = bench.run.data()[Split.TRAIN], bench.run.root.hex()
    drawn = choose([f"random:{KEPT_LITTLE}:0"], train_rows, root=root, forgotten=np.zeros(0, dtype=np.int64))
    found["random"] = [bench.accuracy(bench.without(drawn.slots, number)) for number in range(3)]
    print(f"TA of trainings on the complement of {KEPT_LITTLE}: {found}")
    return found


if __name__ == "__main__":
    main()
