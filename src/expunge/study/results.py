"""What a study found, as plain values: from the store's runs and evaluations to the figures of a leaderboard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from expunge.core.errors import DataError
from expunge.core.hashing import canonical_json, sha256
from expunge.core.statistics.comparison import LEVEL
from expunge.core.statistics.multiplicity import holm
from expunge.core.values import Guarantee, Undecided
from expunge.methods.contract import Method
from expunge.methods.fields import searches
from expunge.methods.lookup import method_from_json
from expunge.records.form import from_plain
from expunge.records.values import WrittenGuarantee
from expunge.study.digests import read_result
from expunge.study.figures import (
    Figure,
    as_figure,
    figure,
    gap_of_margins,
    noise_of_margins,
    shared_references,
    widened,
)
from expunge.study.grid import Cell, Grid, Setting
from expunge.study.job import Work
from expunge.study.scheduler import Outcomes
from expunge.study.store import Outcome, Store
from expunge.study.study_file import Row, Study

FORMAT = "expunge/study-results/1"
LITTLE_USED = 0.5  # of the budget: less is marked
PROBES = (
    "forget-accuracy",
    "retain-accuracy",
    "test-accuracy",
    "membership-classifier",
    "loss-threshold",
    "mean-margin",
)


class Damaged(DataError):
    """A result that is no longer what its job wrote."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(f"{message}: remove its folder, and the same command makes it again")
        self.key = key


class Results:
    """Reads a study's part of the store."""

    def __init__(self, study: Study, grid: Grid, store: Store, outcomes: Outcomes) -> None:
        self.study, self.grid, self.store, self.outcomes = study, grid, store, outcomes
        self.rows = {row.label: row for row in study.rows}
        self._read: dict[str, Any] = {}

    def as_json(self) -> dict[str, Any]:
        """Everything but when, where and how fast: the same on every engine and machine of one kind."""
        ended = set(self.outcomes.entries) | set(self.outcomes.left_out)
        failed = any(
            entry.outcome is Outcome.FAILED or (entry.work == Work.TRAIN.value and entry.outcome is Outcome.REFUSED)
            for entry in self.outcomes.entries.values()
        )
        return {
            "format": FORMAT,
            "name": self.study.name,
            "title": self.study.title,
            "seeds": list(self.study.seeds),
            "references": self.study.references,
            "complete": not failed and all(job.key in ended for job in self.grid.jobs),
            "digest": self.digest(),
            "settings": [self.setting(setting) for setting in self.grid.settings],
            "problems": self.problems(),
        }

    def digest(self) -> str:
        """Over the digests of all results by key: equal where every job came to the same."""
        told = sorted((entry.key, entry.outcome.value, entry.digest) for entry in self.outcomes.entries.values())
        return sha256(canonical_json([list(item) for item in told])).hex()

    def problems(self) -> list[dict[str, str]]:
        return [
            {"job": entry.title, "status": entry.outcome.value, "reason": entry.reason}
            for entry in sorted(self.outcomes.entries.values(), key=lambda entry: entry.title)
            if entry.outcome is not Outcome.DONE
        ]

    def read(self, key: str) -> Any:
        """What a job wrote that is done."""
        if key not in self._read:
            entry = self.outcomes.entries[key]
            try:
                self._read[key] = read_result(self.store.place(key), Work(entry.work), entry.digest)
            except DataError as error:
                raise Damaged(key, str(error)) from None
        return self._read[key]

    def setting(self, setting: Setting) -> dict[str, Any]:
        seeds = self.study.seeds
        trained = [key for key in setting.originals.values() if self.outcomes.done(key)]
        rows = [self.row(setting, label, cells) for label, cells in setting.cells.items()]
        evaluations = self.evaluations(setting)
        work = self.read(trained[0])["example_steps"] if trained else None
        model = self.read(trained[0])["recipe"]["model"] if trained else None
        noises = [noise_of_margins(_by_name(evaluation)["mean-margin"]) for evaluation in evaluations]
        known = [noise for noise in noises if noise is not None]
        forgotten = float(np.mean([setting.forgotten[seed] for seed in seeds]))
        return {
            "id": setting.name,
            "data": setting.data,
            "recipe": setting.training,
            "model": model,
            "forget": setting.forget.name,
            "title": self.title(setting),
            "rules": list(setting.forget.rules),
            "forgotten": round(forgotten),
            "share": forgotten / setting.training_rows,
            "training_rows": setting.training_rows,
            "training_example_steps": work,
            "budget": setting.budget,
            "original": {"figures": self.original(evaluations)},
            "retrained": {"figures": self.retrained(evaluations)},
            "noise": {"forgetting_gap": float(np.mean(known)) if known and len(known) == len(noises) else None},
            "rows": rows,
        }

    def title(self, setting: Setting) -> str:
        """The forget set's, and what tells the setting from others on the same data."""
        parts = [setting.forget.title]
        parts += [setting.training] if len(self.study.trainings) > 1 else []
        parts += [f"budget {100 * setting.budget:.4g} %"] if len(self.study.budgets) > 1 else []
        return ", ".join(parts)

    def evaluations(self, setting: Setting) -> list[Mapping[str, Any]]:
        """One for each seed, whichever method it is of: what they say of originals and references is the same."""
        found: dict[int, Mapping[str, Any]] = {}
        for cells in setting.cells.values():
            for cell in cells:
                if cell.seed not in found and self.outcomes.done(cell.evaluate):
                    found[cell.seed] = self.read(cell.evaluate)
        return [found[seed] for seed in sorted(found)]

    def original(self, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        probes = [_by_name(evaluation) for evaluation in evaluations]
        found = {name: figure([probe[name]["original"] for probe in probes]) for name in PROBES}
        margins = shared_references([probe["mean-margin"] for probe in probes])
        found["forgetting-gap"] = figure(
            [gap_of_margins(probe["mean-margin"], "original") for probe in probes], margins, least=0.0
        )
        return _plain(found)

    def retrained(self, evaluations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Over references: those of every seed are the same where the forget set is."""
        lineages: dict[str, dict[str, Any]] = {}
        for evaluation in evaluations:
            probes = _by_name(evaluation)
            for index, reference in enumerate(evaluation["references"]):
                known = {name: probes[name]["references"][index] for name in (*PROBES, "average-gap")}
                lineages.setdefault(reference["weights_digest"], known)
        found = {name: figure([known[name] for known in lineages.values()]) for name in (*PROBES, "average-gap")}
        return _plain(found)

    def row(self, setting: Setting, label: str, cells: Sequence[Cell]) -> dict[str, Any]:
        row = self.rows[label]
        runs = [self.read(cell.unlearn) for cell in cells if self.outcomes.done(cell.unlearn)]
        done = [
            (self.read(cell.unlearn), self.read(cell.evaluate))
            for cell in cells
            if self.outcomes.done(cell.unlearn) and self.outcomes.done(cell.evaluate)
        ]
        figures, differences = self.figures(done)
        used = method_from_json(runs[0]["method"]) if runs else row.method
        outcomes = [self.seed(setting, cell) for cell in cells]
        verdicts = Counter(str(told["verdict"]) for told in outcomes if told["status"] == "done")
        reasons = list(dict.fromkeys(str(told["reason"]) for told in outcomes if told["status"] == "done"))
        method = type(row.method)
        tuning = self.tuning(setting, row)
        return {
            "method": method.name,
            "label": label,
            "summary": (method.__doc__ or "").strip().splitlines()[0],
            "citation": method.citation,
            "guarantee": _guarantee(done),
            "needs": sorted(need.value for need in method.needs),
            "seen": list(dict.fromkeys(name for run in runs for name in run["seen"])),
            "fields": dict(used.as_json()["fields"]),
            "defaults": _defaults(method),
            "tuning": tuning,
            "figures": _plain(figures) | ({"differences": _plain(differences)} if differences else {}),
            "verdicts": dict(sorted(verdicts.items())),
            "reasons": reasons,
            "marks": self.marks(cells, done, tuning),
            "seeds": outcomes,
        }

    def figures(
        self, done: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
    ) -> tuple[dict[str, Figure], dict[str, Figure]]:
        probes = [_by_name(evaluation) for _, evaluation in done]
        shared = {name: shared_references([probe[name] for probe in probes]) for name in PROBES}
        gaps = [gap_of_margins(probe["mean-margin"], "unlearned") for probe in probes]
        utility = [_difference(probe["test-accuracy"], -1.0) for probe in probes]
        found = {name: figure([probe[name]["unlearned"] for probe in probes]) for name in PROBES}
        found["average-gap"] = widened([probe["average-gap"]["unlearned"] for probe in probes])
        found["forgetting-gap"] = figure(gaps, shared["mean-margin"], least=0.0)
        found["utility-gap"] = figure(utility, shared["test-accuracy"])
        found["cost"] = as_figure([run["example_steps"] / run["training_example_steps"] for run, _ in done])
        found["seconds"] = as_figure([float(run["seconds"]) for run, _ in done])
        differences = {
            name: figure([_difference(probe[name], 1.0) for probe in probes], shared[name])
            for name in PROBES
            if name != "mean-margin"  # its unit is that of the forgetting gap
        }
        return found, differences if done else {}

    def seed(self, setting: Setting, cell: Cell) -> dict[str, Any]:
        for key in (cell.unlearn, cell.evaluate):
            entry = self.outcomes.entries.get(key)
            if entry is not None and entry.outcome is not Outcome.DONE:
                return {"seed": cell.seed, "status": entry.outcome.value, "reason": entry.reason}
        if not self.outcomes.done(cell.evaluate):
            reason = self.outcomes.left_out.get(cell.evaluate) or self.outcomes.left_out.get(cell.unlearn)
            return {"seed": cell.seed, "status": "missing", "reason": reason or "not done yet"}
        run, evaluation = self.read(cell.unlearn), self.read(cell.evaluate)
        verdict, reason = self.verdict(setting, cell)
        return {
            "seed": cell.seed,
            "status": "done",
            "verdict": verdict,
            "reason": reason,
            "weights_digest": run["weights_digest"],
            "example_steps": run["example_steps"],
            "allowed": run["allowed"],
            "seconds": run["seconds"],
            "guarantee": str(_earned(evaluation["guarantee"])),
            "stopped": run["stopped"],
            "notices": [*run["notices"], *evaluation["notices"]],
        }

    def verdict(self, setting: Setting, cell: Cell) -> tuple[str, str]:
        """The evaluation's verdict, held to Holm over the methods of this setting at this seed."""
        told = self.read(cell.evaluate)["verdict"]
        word, detail, p = str(told["verdict"]), str(told["detail"]), told["p"]
        if p is not None:
            others = [other for cells in setting.cells.values() for other in cells if other.seed == cell.seed]
            found = [self.read(other.evaluate)["verdict"] for other in others if self.outcomes.done(other.evaluate)]
            values = [float(other["p"]) for other in found if other["verdict"] == word and other["p"] is not None]
            adjusted = float(holm(values)[values.index(float(p))])
            if adjusted > LEVEL:
                count = len(values)
                return (
                    "Undecided",
                    f"{word} alone (p = {p:.3g}), not among {count} methods (Holm: {adjusted:.3g}): {detail}",
                )
        return word.capitalize(), detail

    def marks(
        self,
        cells: Sequence[Cell],
        done: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        tuning: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        found: dict[str, list[str]] = {}
        for run, evaluation in done:
            for guard in evaluation["guards"]:
                if guard["fired"] and guard["name"] in ("collapse", "over-forgetting"):
                    name = {"collapse": "collapsed", "over-forgetting": "over-forgotten"}[guard["name"]]
                    found.setdefault(name, []).append(guard["detail"])
            if run["weights_digest"] == run["parent"]["weights_digest"]:
                found.setdefault("changed nothing", []).append("the weights are the original's, bit for bit")
            allowed = run["allowed"]
            if allowed is not None and run["example_steps"] < LITTLE_USED * allowed:
                found.setdefault("budget unused", []).append(
                    f"{run['example_steps']:.6g} of {allowed:.6g} allowed example-steps; "
                    f"{run['stopped'] or 'the method needs no more'}"
                )
        if tuning["state"] in ("untuned", "oracle-tuned") and done:
            found[tuning["state"]] = ["fields are the table's defaults or set by hand"] * len(done)
        if tuning.get("transferred") is False and not tuning["kept_default"] and done:
            worse = "on a second set the chosen fields score over twice as badly"
            found["tuning did not transfer"] = [worse] * len(done)
        for cell in cells:
            entry = self.outcomes.entries.get(cell.unlearn)
            if entry is not None and entry.outcome is not Outcome.DONE:
                found.setdefault(entry.outcome.value, []).append(entry.reason)
        return [
            {"mark": name, "count": len(details), "of": len(cells), "detail": details[0]}
            for name, details in found.items()
        ]

    def tuning(self, setting: Setting, row: Row) -> dict[str, Any]:
        if not row.method.takes_budget:
            return {"state": "takes no budget"}
        key = setting.tunings.get(row.label)
        if key is None:
            return {"state": "untuned" if searches(type(row.method)) or row.by_hand else "nothing to tune"}
        if not self.outcomes.done(key):
            return {"state": "untuned"}
        return tuned_row(self.read(key), row.method.name)


def tuned_row(tuning: Mapping[str, Any], method: str) -> dict[str, Any]:
    """What the leaderboard shows of a method's tuning."""
    entry = next(entry for entry in tuning["methods"] if entry["method"] == method)
    chosen, default = entry["chosen"], entry["default"]
    failures = [
        {"fields": trial["fields"], "reason": trial["reason"]} for trial in entry["trials"] if trial["score"] is None
    ]
    return {
        "state": "oracle-tuned" if tuning["mode"] == "oracle" else "tuned",
        "trials": len(entry["trials"]),
        "score": _score(chosen["choice"]),
        "default_score": _score(default["choice"]),
        "transfer_score": _score(chosen["transfer"]),
        "transferred": entry["transferred"],
        "example_steps": entry["cost"]["example_steps"] + entry["cost"]["scoring"],
        "twins_example_steps": tuning["cost"]["twins"],
        "digest": tuning["digest"],
        "failures": failures,
        "kept_default": chosen["fields"] == default["fields"],
        "admissible": entry["state"] == "tuned",
        "notices": entry["notices"],
    }


def _score(attempt: Mapping[str, Any] | None) -> float | None:
    return None if attempt is None or attempt["score"] is None else float(attempt["score"]["value"])


def _by_name(evaluation: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {probe["name"]: probe for probe in evaluation["probes"]}


def _difference(probe: Mapping[str, Any], sign: float) -> Mapping[str, Any]:
    """Own figure minus the references' mean."""
    own, mean = probe["unlearned"], probe["reference_mean"]
    if "value" not in own:
        return own
    if mean is None:
        return {"undecided": "there is no reference to compare with"}
    return {"value": sign * (own["value"] - mean)}


def _guarantee(done: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str | None:
    """The lowest that any seed earned."""
    earned = [_earned(evaluation["guarantee"]) for _, evaluation in done]
    if not earned:
        return None
    lowest = min(earned, key=lambda guarantee: (guarantee.rank, str(guarantee) != "Empirical(no test passed yet)"))
    return str(lowest)


def _earned(told: Mapping[str, Any]) -> Guarantee:
    return from_plain(WrittenGuarantee, told, "an evaluation's guarantee")


def _defaults(method: type[Method]) -> dict[str, Any]:
    try:
        return dict(method().as_json()["fields"])
    except TypeError:  # a method of somebody else's with a field that has no default
        return {}


def _plain(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {
        name: {"undecided": found.reason} if isinstance(found, Undecided) else found.as_json()
        for name, found in figures.items()
    }
