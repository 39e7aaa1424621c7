"""Results of a study as ``expunge study`` writes them, invented: thirty methods, three settings, three seeds.

``python -m tests.report.study_results_example FOLDER`` writes results.json, the pages and the drawings, to look at.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from expunge.records.document import read_document
from expunge.records.results import Results

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
FORMAT = "expunge/study-results/1"
RATE = {"rate": 0.01, "epochs": None, "batch_size": None, "momentum": 0.9, "calendar": "cosine", "optimiser": "sgd"}
# name, citation, what it needs, whether it takes a budget, guarantee, forgetting gap, test accuracy lost, cost, fields
METHODS: tuple[tuple[str, str, str, bool, str, float, float, float, dict[str, Any]], ...] = (
    ("retrain", "", "init retain", False, "Exact", 0.55, 0.001, 0.95, {"training_seed": None}),
    ("exact-replay", "Bourtoule et al., S&P 2021", "checkpoints init retain", False, "Exact", 0.6, 0.001, 0.93, {}),
    ("certified-logistic", "Guo et al., ICML 2020", "forget gradients retain", False, "Certified(ε=1, δ=0.0001)", 1.4,
     0.031, 0.12, {"epsilon": 1.0, "delta": 0.0001, "bound": "data-dependent"}),
    ("fine-tune", "Golatkar et al., CVPR 2020", "retain", True, "Empirical", 3.1, -0.002, 0.095, RATE),
    ("noisy-gradient-descent", "Chourasia & Shah, ICML 2023", "retain", True, "Empirical", 3.0, -0.001, 0.095,
     {**RATE, "variance": 1e-07}),
    ("gradient-ascent", "Thudi et al., EuroS&P 2022", "forget", True, "Empirical", 41.0, 0.51, 0.021, RATE),
    ("neggrad-plus", "Kurmanji et al., NeurIPS 2023", "forget retain", True, "Empirical", 1.9, 0.006, 0.097,
     {**RATE, "balance": 0.95}),
    ("random-labels", "Golatkar et al., CVPR 2020", "forget retain", True, "Empirical", 5.2, 0.011, 0.097, RATE),
    ("successive-random-labels", "Fan et al., ICLR 2024", "forget retain", True, "Empirical", 4.6, 0.009, 0.097, RATE),
    ("amnesiac", "Graves et al., AAAI 2021", "forget retain", True, "Empirical", 7.9, 0.014, 0.097, RATE),
    ("saliency-unlearning", "Fan et al., ICLR 2024", "forget gradients retain", True, "Empirical", 4.2, 0.008, 0.099,
     {**RATE, "keep": 0.5}),
    ("l1-sparse", "Jia et al., NeurIPS 2023", "retain", True, "Empirical", 2.7, 0.004, 0.095,
     {**RATE, "strength": 0.001}),
    ("scrub", "Kurmanji et al., NeurIPS 2023", "forget original retain", True, "Empirical", 1.2, 0.003, 0.099,
     {**RATE, "forget_epochs": 3, "distillation": 0.5, "temperature": 2.0}),
    ("bad-teacher", "Chundawat et al., AAAI 2023", "forget init original retain", True, "Empirical", 9.4, 0.021, 0.062,
     {**RATE, "retain_share": 0.3}),
    ("decoupled-distillation", "Zhou et al., CVPR 2025", "forget original", True, "Empirical", 11.8, 0.018, 0.093,
     RATE),
    ("boundary-shrink", "Chen et al., CVPR 2023", "forget inputs original", True, "Empirical", 14.1, 0.041, 0.071,
     RATE),
    ("boundary-expand", "Chen et al., CVPR 2023", "forget", True, "Empirical", 17.3, 0.055, 0.051, RATE),
    ("retrain-last-layers", "Goel et al., 2022", "init retain", True, "Empirical", 2.2, 0.005, 0.095,
     {**RATE, "layers": 1}),
    ("fine-tune-last-layers", "Goel et al., 2022", "retain", True, "Empirical", 3.2, -0.001, 0.095,
     {**RATE, "layers": 1}),
    ("impair-repair", "Tarun et al., TNNLS 2023", "forget original retain", True, "Empirical", 6.0, 0.025, 0.09, RATE),
    ("sign-descent", "Fan et al., ECCV 2024", "retain", True, "Empirical", 2.4, 0.007, 0.095, RATE),
    ("selective-synaptic-dampening", "Foster et al., AAAI 2024", "forget gradients retain", False, "Empirical", 4.9,
     0.012, 0.35, {"selection": 10.0, "dampening": 1.0}),
    ("fisher-noise", "Golatkar et al., CVPR 2020", "gradients retain", False, "Empirical", 29.0, 0.44, 0.034,
     {"strength": 1e-07, "power": 1.0}),
    ("influence", "Izzo et al., AISTATS 2021", "forget gradients retain", False, "Empirical", 2.9, 0.002, 0.042,
     {"scale": 1.0, "samples": 1000}),
    ("neural-tangent-kernel", "Golatkar et al., ECCV 2020", "forget gradients init retain", False, "Empirical", 1.7,
     0.016, 0.51, {"scale": 1.0}),
    ("masked-small-gradients", "NeurIPS unlearning contest, 2023", "forget gradients retain", True, "Empirical", 1.6,
     0.004, 0.098, {**RATE, "fraction": 0.3}),
    ("convolution-transpose", "NeurIPS unlearning contest, 2023", "retain", True, "Empirical", 2.1, 0.019, 0.095, RATE),
    ("contrast-and-strengthen", "NeurIPS unlearning contest, 2023", "forget retain", True, "Empirical", 1.45, 0.005,
     0.098, RATE),
    ("noise-and-tune", "NeurIPS unlearning contest, 2023", "retain", True, "Empirical", 2.0, 0.003, 0.095, RATE),
    ("prune-and-match", "NeurIPS unlearning contest, 2023", "original retain", True, "Empirical", 0.9, 0.004, 0.098,
     RATE),
)  # fmt: skip
SETTINGS = (
    ("digits-mlp-random", "mlp", "a random 5 %", ["random:5%:1"], 72, 1.0),
    ("digits-mlp-class", "mlp", "one whole class", ["class:7"], 143, 2.6),
    ("digits-cnn-worst", "cnn", "the worst-case set of 5 %", ["worst:5%"], 72, 1.6),
)
REFUSALS = {
    ("certified-logistic", "mlp"): "certified-logistic needs a convex loss, the model mlp has none: use --model linear",
    ("certified-logistic", "cnn"): "certified-logistic needs a convex loss, the model cnn has none: use --model linear",
    ("convolution-transpose", "mlp"): "convolution-transpose swaps square kernels, the model mlp has none",
    ("impair-repair", "random"): "impair-repair forgets whole classes, the forget set random:5%:1 holds parts of ten",
    ("impair-repair", "worst"): "impair-repair forgets whole classes, the forget set worst:5% holds parts of ten",
}


def draws(*key: object) -> np.random.Generator:
    """A generator of its own for every purpose."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:8], "little")))


def hexadecimal(*key: object) -> str:
    return hashlib.sha256("/".join(map(str, key)).encode()).hexdigest()


def figure(values: Sequence[float]) -> dict[str, Any]:
    """Mean and 95 % t-interval over seeds."""
    mean, n = float(np.mean(values)), len(values)
    half = 0.0 if n == 1 else T_95.get(n, 2.365) * float(np.std(values, ddof=1)) / n**0.5
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n, "values": [float(v) for v in values]}


def undecided(reason: str) -> dict[str, Any]:
    return {"undecided": reason}


def row(spec: tuple[Any, ...], setting: tuple[Any, ...], seeds: Sequence[int], references: dict[str, Any]) -> Any:
    """One method in one setting."""
    name, citation, needs, budgeted, guarantee, gap, lost, cost, fields = spec
    identity, model, _, _, _, harder = setting
    kind = identity.rsplit("-", 1)[1]
    refusal = REFUSALS.get((name, model)) or REFUSALS.get((name, kind))
    noise = draws(identity, name)
    changed = float(noise.lognormal(0, 0.25))
    gap, lost = (gap if guarantee == "Exact" else gap * harder * changed), lost * (0.7 + 0.6 * float(noise.random()))
    statuses = {seed: "refused" if refusal else "done" for seed in seeds}
    if name == "decoupled-distillation" and kind == "class":
        statuses.update(dict.fromkeys(list(seeds)[:2], "failed"))
    if name == "influence" and kind == "worst":
        statuses[seeds[-1]] = "failed"
    entries, done = [], [seed for seed in seeds if statuses[seed] == "done"]
    collapsed = name in ("gradient-ascent", "fisher-noise")
    for seed in seeds:
        if statuses[seed] != "done":
            reason = refusal or "the loss became NaN in step 12: lower the rate"
            entries.append({"seed": seed, "status": statuses[seed], "reason": reason})
            continue
        verdict = "Supported" if gap < 0.8 else "Refuted" if gap > 1.8 or seed == 1 else "Undecided"
        steps = round(cost * 28760 * (1 + 0.01 * seed))
        entries.append(
            {
                "seed": seed,
                "status": "done",
                "verdict": verdict,
                "reason": f"mean-margin: {gap:.1f} spreads from the references' mean, the margin is 1.4",
                "weights_digest": hexadecimal(identity, name, seed),
                "example_steps": steps,
                "allowed": 2876 if budgeted else None,
                "seconds": round(0.08 + steps / 30000, 3),
                "guarantee": guarantee if guarantee != "Empirical" else "Empirical(no test passed yet)",
                "stopped": "the budget of 2,876 example-steps was spent" if budgeted and seed == 2 else None,
                "notices": ["untuned: the method ran on the table's defaults"] if name == "amnesiac" else [],
            }
        )
    marks = []
    if collapsed:
        marks.append(("collapsed", len(done) - (name == "fisher-noise"), "test accuracy .41 lies below .8"))
    if kind == "class" and name in ("random-labels", "amnesiac", "boundary-shrink"):
        marks.append(("over-forgotten", 2, "less sure of the forgotten examples than models that never saw them"))
    if name == "influence":
        marks.append(("budget unused", len(done), "spent 0.042 of the training's work, 0.1 was allowed"))
    if name == "fine-tune-last-layers" and kind == "random":
        marks.append(("changed nothing", 1, "the weights are the original's"))
    marks += [(word, count, "") for word in ("refused", "failed") if (count := list(statuses.values()).count(word))]
    state = "takes no budget" if not budgeted and not fields else "tuned"
    if guarantee == "Exact":
        state = "nothing to tune"
    elif name == "amnesiac":
        state = "untuned"
        marks.append(("untuned", len(done), "ran on the table's defaults"))
    elif name == "masked-small-gradients" and kind == "random":
        state = "oracle-tuned"
        marks.append(("oracle-tuned", len(done), "the search saw the retrained references"))
    elif name == "bad-teacher":
        marks.append(("tuning did not transfer", len(done), "9.4 where the search had found 1.1"))
    tuned = state in ("tuned", "oracle-tuned")
    used = dict(fields)
    if tuned and "rate" in used:
        used["rate"] = float(f"{0.01 * changed**4:.3g}")
    scatter = [float(value) for value in noise.normal(0, 1, 24)]
    base = references["test-accuracy"]["mean"]
    figures: dict[str, Any] = {}
    if done:
        margins = [abs(gap * (1 + 0.12 * scatter[at])) for at in range(len(done))]
        losses = [lost + 0.003 * scatter[4 + at] for at in range(len(done))]
        forget = [min(1.0, max(0.0, 0.955 + 0.013 * min(gap, 3) - 0.3 * collapsed + 0.004 * x)) for x in scatter[8:11]]
        member = [min(1.0, max(0.0, 0.45 - 0.05 * gap + 0.02 * x)) for x in scatter[12:15]]
        values = {
            "forget-accuracy": forget[: len(done)],
            "retain-accuracy": [min(1.0, 0.995 - max(0, loss)) for loss in losses],
            "test-accuracy": [base - loss for loss in losses],
            "membership-classifier": member[: len(done)],
            "loss-threshold": [0.5 + min(0.3, 0.02 * gap)] * len(done),
            "mean-margin": [5.2 + 0.4 * margin for margin in margins],
            "average-gap": [0.01 + 0.7 * max(0, loss) + 0.004 * gap / 3 for loss in losses],
            "forgetting-gap": margins,
            "utility-gap": losses,
            "cost": [cost * (1 + 0.01 * seed) for seed in done],
            "seconds": [entry["seconds"] for entry in entries if entry["status"] == "done"],
        }
        figures = {key: figure(found) for key, found in values.items()}
        means = {key: references[key]["mean"] for key in ("forget-accuracy", "test-accuracy", "membership-classifier")}
        differences = {key: figure([value - mean for value in values[key]]) for key, mean in means.items()}
        figures["differences"] = differences
        if kind == "class":
            figures["membership-classifier"] = undecided("fewer than 20 holdout examples of the class")
            differences.pop("membership-classifier")
        if collapsed and kind == "worst":
            figures["forgetting-gap"] = undecided("mean-margin: not finite for 1 of 3 seeds")
    reasons = [f"mean-margin: {gap:.1f} spreads from the references' mean, the margin is 1.4"] if done else []
    verdicts = [entry["verdict"] for entry in entries if entry["status"] == "done"]
    return {
        "method": name,
        "label": name,
        "summary": f"What {name} does, told in one sentence that names its idea and its source ({citation or 'own'}).",
        "citation": citation,
        "guarantee": guarantee,
        "needs": needs.split(),
        "seen": [f"{need} set" if need in ("forget", "retain") else need for need in needs.split()],
        "fields": used,
        "defaults": fields,
        "tuning": {
            "state": state,
            "trials": 30 if tuned else 0,
            "score": round(gap * 0.9, 3) if tuned else None,
            "default_score": round(gap * 2.1, 3) if tuned else None,
            "transfer_score": round(gap, 3) if tuned else None,
            "transferred": name != "bad-teacher" if tuned else None,
            "example_steps": 80000.0 if tuned else 0.0,
            "digest": hexadecimal("tuning", identity, name) if tuned else None,
            "failures": [{"fields": {"rate": 0.1}, "reason": "the loss became NaN in step 3"}] if tuned else [],
        },
        "figures": figures,
        "verdicts": {word: verdicts.count(word) for word in ("Supported", "Refuted", "Undecided")},
        "reasons": reasons,
        "marks": [{"mark": word, "count": count, "of": len(seeds), "detail": why} for word, count, why in marks],
        "seeds": entries,
    }


def setting(spec: tuple[Any, ...], seeds: Sequence[int], methods: int) -> dict[str, Any]:
    identity, model, title, rules, forgotten, harder = spec
    noise = draws(identity)
    base = {"mlp": 0.962, "cnn": 0.984}[model]

    def around(value: float, spread: float, n: int) -> dict[str, Any]:
        return figure([value + spread * float(x) for x in noise.normal(0, 1, n)])

    retrained = {
        "forget-accuracy": around(0.957 / harder**0.1, 0.008, 8),
        "retain-accuracy": around(0.995, 0.001, 8),
        "test-accuracy": around(base, 0.004, 8),
        "membership-classifier": around(0.43, 0.03, 8),
        "loss-threshold": around(0.503, 0.01, 8),
        "mean-margin": around(5.2, 0.4, 8),
        "forgetting-gap": around(0.74, 0.2, 8),
        "average-gap": around(0.006, 0.001, 8),
        "utility-gap": undecided("the references are what it is read against"),
        "cost": around(0.95, 0.0, 8),
        "seconds": around(0.94, 0.03, 8),
    }
    original = {
        "forget-accuracy": around(1.0, 0.0, len(seeds)),
        "retain-accuracy": around(0.996, 0.0005, len(seeds)),
        "test-accuracy": around(base + 0.002, 0.002, len(seeds)),
        "membership-classifier": around(0.06, 0.01, len(seeds)),
        "loss-threshold": around(0.61, 0.01, len(seeds)),
        "mean-margin": around(6.8, 0.1, len(seeds)),
        "forgetting-gap": around(3.9 * harder, 0.3, len(seeds)),
        "average-gap": around(0.11, 0.005, len(seeds)),
        "utility-gap": around(-0.002, 0.002, len(seeds)),
        "cost": undecided("it is what the cost is counted in"),
        "seconds": around(0.99, 0.02, len(seeds)),
    }
    return {
        "id": identity,
        "data": "digits",
        "recipe": model,
        "model": model,
        "forget": identity.rsplit("-", 1)[1],
        "title": title,
        "rules": rules,
        "forgotten": forgotten,
        "share": forgotten / 1438,
        "training_rows": 1438,
        "training_example_steps": 28760,
        "budget": 0.1,
        "original": {"figures": original},
        "retrained": {"figures": retrained},
        "noise": {"forgetting_gap": 0.74} if model == "mlp" else None,
        "rows": [row(spec_, spec, seeds, retrained) for spec_ in METHODS[:methods]],
    }


def example(*, settings: int = 3, methods: int = 30, seeds: Sequence[int] = (0, 1, 2)) -> dict[str, Any]:
    """The whole file."""
    found = [setting(spec, list(seeds), methods) for spec in SETTINGS[:settings]]
    problems = [
        {"job": f"unlearn {line['method']}, {one['id']}, seed {entry['seed']}", **status(entry)}
        for one in found
        for line in one["rows"]
        for entry in line["seeds"]
        if entry["status"] in ("refused", "failed")
    ]
    return {
        "format": FORMAT,
        "name": "digits",
        "title": "Digits, all methods",
        "date": "2026-11-21",
        "command": "expunge study studies/digits.toml --out studies/results/digits",
        "machine": {"processor": "Some Processor 9000 @ 2.60GHz", "cores": 2, "system": "Linux", "device": "cpu"},
        "versions": {"expunge": "0.1.0", "torch": "2.13.0", "numpy": "2.4.1"},
        "engine": {"name": "local", "jobs": 2},
        "seeds": list(seeds),
        "references": 8,
        "digest": hexadecimal("results"),
        "complete": True,
        "cost": {
            "jobs": 312,
            "reused": 0,
            "refused": sum(problem["status"] == "refused" for problem in problems),
            "failed": sum(problem["status"] == "failed" for problem in problems),
            "example_steps": 1.2e6,
            "seconds": 512.3,
            "job_seconds": 940.0,
        },
        "settings": found,
        "problems": problems,
    }


def opened(told: dict[str, Any]) -> Results:
    """Results as they are read from a file that holds these values."""
    return read_document(Results, json.dumps(told).encode(), Results.NAME)


REMEMBERING = (  # method, what came out, memory left, at most with each seed
    ("retrain", "same", "Supported", (0.0, 0.02, -0.02), (0.1, 0.1, 0.1)),
    ("fine-tune", "remembers", "Refuted", (0.88, 0.9, 0.92), (1.0, 1.01, 1.02)),
    ("scrub", "remembers", "Refuted", (0.7, 0.72, 0.71), (0.8, 0.8, 0.8)),
    ("random-labels", "too much", "Refuted", (0.1, 0.12, 0.08), (0.2, 0.2, 0.2)),
    ("bad-teacher", "broke", "Refuted", (0.3, 0.2, 0.1), (0.4, 0.4, 0.4)),
    ("prune-and-match", "little left", "Supported", (0.03, 0.02, 0.04), (0.07, 0.08, 0.06)),
)


def remembering() -> dict[str, Any]:
    """A study by the rules of today: one setting, and how much of the memory each method left."""
    results = example(settings=1)
    setting, told = results["settings"][0], {name: rest for name, *rest in REMEMBERING}
    setting["rows"] = [row for row in setting["rows"] if row["method"] in told]
    setting["original"]["figures"]["memory"] = figure([0.99, 1.0, 1.01])
    setting["retrained"]["figures"]["memory"] = figure([-0.1, 0.0, 0.12])
    for row in setting["rows"]:
        outcome, verdict, memory, bounds = told[row["method"]]
        row["figures"]["memory"] = figure(memory)
        row["verdicts"] = {verdict: len(row["seeds"])}
        row["marks"] = []
        if row["method"] != "retrain":
            row["tuning"]["state"] = "untuned"
            row["marks"] = [{"mark": "untuned", "count": len(row["seeds"]), "of": len(row["seeds"]), "detail": ""}]
        for seed, bound in zip(row["seeds"], bounds, strict=True):
            seed.update(verdict=verdict, outcome=outcome, at_most=bound)
    return results


def status(entry: dict[str, Any]) -> dict[str, Any]:
    return {"status": entry["status"], "reason": entry["reason"]}


def main(folder: Path) -> None:
    from studies.pages.dots_picture import dots_svg

    from expunge.report.leaderboard import leaderboard

    results = example()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    leaderboard(folder / "results.json", out=folder)
    for one in results["settings"]:
        (folder / f"{one['id']}.svg").write_text(dots_svg(opened(results), one["id"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
