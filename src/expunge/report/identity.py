"""What pins a run down: digests, recipe, environment. What several runs share is said once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from expunge.core.wording import LONGEST_NAME, clean, counted, without_places
from expunge.report.facts import Facts, plain
from expunge.report.load import Loaded
from expunge.report.numerals import few, listed, shown, worked

MOST_FACTS = 80
KINDS = {"numeric": "numeric", "category": "categorical", "text": "text", "array": "array", "image": "image"}


@dataclass(frozen=True)
class Fact:
    """A name and what it is; ``code`` marks what is to be compared letter by letter."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class Shared:
    """Facts that several runs have in common, under a title."""

    title: str
    runs: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Identity:
    """Everything for the last part of the page."""

    common: tuple[Fact, ...]
    runs: tuple[Shared, ...]
    recipes: tuple[Shared, ...]
    environments: tuple[Shared, ...]


def identify(loaded: Loaded, *, each: bool = True) -> Identity:
    """``each`` false leaves the digests of single runs out, for pages of very many runs."""
    named = _named(loaded)
    told = [(name, _digests(run)) for name, run in named]
    common = _common([facts for _, facts in told])
    own = [Shared(name, "", tuple(fact for fact in facts if fact not in common)) for name, facts in told]
    return Identity(
        common=common,
        runs=tuple(own) if each else (),
        recipes=_grouped("Recipe", [(name, _recipe(run)) for name, run in named]),
        environments=_grouped("Environment", [(name, _flat(run.told.environment or {})) for name, run in named]),
    )


def _common(told: list[tuple[Fact, ...]]) -> tuple[Fact, ...]:
    """Facts that at least two runs have and no run has otherwise; in the order in which they come up."""
    seen: dict[str, list[str]] = {}
    for facts in told:
        for fact in facts:
            seen.setdefault(fact.name, []).append(fact.value)
    shared = {name for name, values in seen.items() if len(values) > 1 and len(set(values)) == 1}
    return tuple(dict.fromkeys(fact for facts in told for fact in facts if fact.name in shared))


def _named(loaded: Loaded) -> list[tuple[str, Facts]]:
    """Every run once, under the name that the tables give it."""
    found: dict[str, tuple[str, Facts]] = {}
    several = len(loaded.sections) > 1
    for at, section in enumerate(loaded.sections, 1):
        behind = f" (set {at})" if several else ""
        if section.training is not None:
            found.setdefault(str(section.training.folder), ("original", section.training))
        for label, run in section.named:
            found.setdefault(str(run.folder), (label + behind, run))
        for number, run in enumerate(section.retrained, 1):
            found.setdefault(str(run.folder), (f"retrained reference {number}{behind}", run))
    for run in loaded.trainings:
        found.setdefault(str(run.folder), ("training", run))
    return list(found.values())


def _digests(run: Facts) -> tuple[Fact, ...]:
    found = [Fact("weights", run.weights_digest, True)]
    if run.unlearning is not None:
        found += [
            Fact("original’s weights" if run.trained else "parent’s weights", run.unlearning.parent, True),
            Fact("forget set", run.unlearning.forget_digest, True),
        ]
    found += [
        Fact("dataset root", run.told.dataset_root, True),
        Fact("lineage seed", run.told.lineage_seed or "", True),
    ]
    if run.evaluation is not None:
        found.append(Fact("evaluation", run.evaluation.digest, True))
        found.append(Fact("tolerances", f"version {run.evaluation.tolerances_version}"))
    if run.unlearning is not None:
        found.append(Fact("settings", ", ".join(f"{name} {value}" for name, value in run.unlearning.settings)))
        if run.unlearning.untuned:
            found.append(Fact("tuning", "none: the table’s defaults or fields set by hand"))
    if run.told.operation != "adopt":
        found.append(Fact("work", f"{worked(run.result)} in {shown(run.result.seconds, 'seconds')}"))
    found.append(Fact("as made", str(run.guarantee)))
    found += [Fact(name, remark) for name, remark in run.remarks]
    return tuple(found)


def _recipe(run: Facts) -> tuple[Fact, ...]:
    inputs: Any = run.told.recipe.get("inputs")
    classes: Any = run.told.recipe.get("classes")
    found = [
        Fact("digest", run.told.recipe_digest, True),
        Fact("data", f"{_place(run.told.data.source)}, {counted(run.told.data.counts.train, 'training row')}"),
        Fact("columns", _columns(inputs)),
        Fact("labels", "numbers")
        if classes == []
        else Fact("classes", f"{len(classes)}: {plain(classes)}" if isinstance(classes, list) else plain(classes)),
        Fact("parameters", f"{run.result.parameters:,}"),
    ]
    if run.told.adopted is not None:  # the rest says how somebody else trained it, which a remark tells
        return (*found, *_flat({name: run.told.recipe.get(name) for name in ("model", "model_options", "task")}))
    others = {name: value for name, value in run.told.recipe.items() if name not in ("inputs", "classes")}
    return (*found, *_flat(others))


def _place(source: Mapping[str, Any] | None) -> str:
    """The kind of place, never the place: a page that travels does not describe the machine."""
    if source is None:
        return "data in memory"
    location = str(source.get("location", ""))
    if location == "digits":
        return "the built-in digits"
    if location.startswith("hf:"):
        return clean(without_places(location), LONGEST_NAME)
    ending = os.path.splitext(location)[1].lower()
    return f"a {clean(ending, 12)} file" if ending else "a folder"


def _columns(inputs: Any) -> str:
    columns: Any = inputs.get("columns") if isinstance(inputs, dict) else None
    if not isinstance(columns, list):
        return "unknown"
    counted: dict[str, int] = {}
    for column in columns:
        kind = KINDS.get(str(column.get("kind")), "other") if isinstance(column, dict) else "other"
        counted[kind] = counted.get(kind, 0) + 1
    return listed([f"{number} {kind}" for kind, number in counted.items()])


def _flat(values: Mapping[str, Any], before: str = "") -> tuple[Fact, ...]:
    """Nested fields side by side, in the order of their names."""
    found: list[Fact] = []
    for name in sorted(values):
        value, path = values[name], f"{before}{clean(name, LONGEST_NAME).replace('_', ' ')}"
        if isinstance(value, dict):
            found += _flat(value, f"{path} ") or (Fact(path, "none"),)
        else:
            found.append(Fact(path, plain(value)))
    return tuple(found[:MOST_FACTS])


def _grouped(title: str, named: list[tuple[str, tuple[Fact, ...]]]) -> tuple[Shared, ...]:
    groups: dict[tuple[Fact, ...], list[str]] = {}
    for name, facts in named:
        groups.setdefault(facts, []).append(name)
    found: list[Shared] = []
    for at, (facts, names) in enumerate(groups.items(), 1):
        who = "all runs" if len(groups) == 1 else few(names, 6)
        shown_facts = facts or (Fact("not recorded", ""),)
        if at > 1:
            first = next(iter(groups))
            shown_facts = tuple(fact for fact in shown_facts if fact not in first) or shown_facts
        found.append(Shared(title if len(groups) == 1 else f"{title} {at}", who, shown_facts))
    return tuple(found)
