"""Run folders and evaluations made by hand: real data and commitments, invented weights and figures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.hashing import canonical_json, plain_json, sha256
from expunge.data.commitment import commit, tombstones_digest
from expunge.data.encoding import make_encoding
from expunge.data.forms import read
from expunge.data.source import Source
from expunge.data.splits import SPLITS, Split, split_rows
from expunge.data.stored import write_commitment
from expunge.schedule.recipe import Recipe

PROBES = {
    "retain-accuracy": ("utility", True, "high", "fraction"),
    "test-accuracy": ("utility", True, "high", "fraction"),
    "forget-accuracy": ("forgetting", False, "match", "fraction"),
    "mean-margin": ("forgetting", True, "match", "margin"),
    "loss-threshold": ("forgetting", True, "match", "auc"),
    "membership-classifier": ("forgetting", True, "match", "fraction"),
    "average-gap": ("forgetting", False, "low", "fraction"),
    "example-steps": ("cost", False, "low", "example-steps"),
    "seconds": ("cost", False, "low", "seconds"),
}
ORIGINAL = {
    "retain-accuracy": 0.9961,
    "test-accuracy": 0.9888,
    "forget-accuracy": 1.0,
    "mean-margin": 6.831,
    "loss-threshold": 0.6123,
    "membership-classifier": 0.021,
    "average-gap": 0.0412,
    "example-steps": 11504.0,
    "seconds": 0.239,
}
UNDECIDED = {"verdict": "undecided", "p": None, "detail": "printed beside, not judged"}


def digest(*parts: object) -> str:
    """A digest that stands for weights, seeds and whatever else is invented."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def measured(value: float, scale: str, half: float = 0.03, **more: Any) -> dict[str, Any]:
    """A measurement with a symmetric interval; cost is counted and has none."""
    half = 0.0 if scale in ("example-steps", "seconds") else half
    lowest, highest = (0.0, 1.0) if scale in ("fraction", "auc") else (-1e9, 1e9)
    value = min(max(value, lowest), highest)
    found = {
        "value": value,
        "low": max(lowest, value - half),
        "high": min(highest, value + half),
        "level": 0.95,
        "n": 144,
        "unit": "example",
        "direction": "match",
        "reference": None,
        "scale": scale,
    }
    return {**found, **more}


class World:
    """A data set with a committed split, and folders of runs on it."""

    def __init__(self, root: Path, source: Source, model: str = "cnn", seed: int = 0) -> None:
        self.root, self.source = root, source
        self.dataset = read(source)
        assignment = split_rows(self.dataset)
        self.commitment = commit(self.dataset, assignment)
        self.train = self.dataset.take(np.flatnonzero(assignment == Split.TRAIN.code))
        self.recipe = Recipe(inputs=make_encoding(self.dataset), classes=self.dataset.classes, model=model, seed=seed)
        self.parent = digest("base", self.commitment.root.hex())

    def run(self, name: str, **changes: Any) -> Path:
        """A finished training; ``changes`` replace fields of run.json."""
        folder = self.root / name
        units = np.arange(len(self.train))
        folder.mkdir(parents=True, exist_ok=True)
        write_commitment(folder, self.commitment, units)
        roots = {split.value: root.hex() for split, root in self.commitment.roots.items()}
        manifest: dict[str, Any] = {
            "format": "expunge/run/1",
            "status": "finished",
            "operation": "train",
            "request": {
                "operation": "train",
                "recipe": self.recipe.as_json(),
                "roots": roots,
                "beacon": "00" * 32,
                "device": "cpu",
            },
            "recipe": self.recipe.as_json(),
            "recipe_digest": self.recipe.digest.hex(),
            "data": {
                "source": self.source.as_json(),
                "rows": len(self.dataset),
                "counts": {split.value: len(self.commitment.leaves[split.code]) for split in SPLITS},
                "roots": roots,
                "split_seed": 0,
                "split_by": "rows",
                "salts": "open",
                "note": "leaves not hidden: salts are open",
            },
            "dataset_root": roots["train"],
            "beacon": "00" * 32,
            "beacon_note": "zero beacon: schedule not protected against grinding",
            "lineage_seed": digest("lineage", 0),
            "tombstones": [],
            "released": {},
            "preprocessing": [],
            "device": "cpu",
            "method": None,
            "parent": None,
            "environment": {"python": "3.11.7", "torch": "2.13.0", "threads": 1, "variables": {}},
            "exact_refused": None,
            "guarantee": {"kind": "exact"},
            "weights_digest": self.parent,
            "parameters": 13706,
            "alive": [True],
            "example_steps": 11504.0,
            "seconds": 0.239,
            "steps": 184,
            **changes,
        }
        (folder / "run.json").write_text(plain_json(manifest), encoding="utf-8")
        return folder

    def unlearned(
        self,
        name: str,
        method: str = "saliency-unlearning",
        *,
        slots: Sequence[int] = (1, 2, 3, 5, 8),
        rules: Sequence[str] = ("subject:person-017",),
        **changes: Any,
    ) -> Path:
        """A finished unlearning of these slots; exact methods say so and are recorded."""
        exact = method in ("retrain", "exact-replay")
        fields: dict[str, Any] = {"training_seed": None} if method == "retrain" else {"keep": 0.5}
        manifest: dict[str, Any] = {
            "operation": "unlearn",
            "request": {
                "operation": "unlearn",
                "parent": self.parent,
                "root": self.commitment.root.hex(),
                "parent_tombstones": tombstones_digest([]).hex(),
                "forget": tombstones_digest(list(slots)).hex(),
                "method": {"name": method, "fields": fields},
                "budget": None if exact else 0.1,
                "seed": 0,
                "device": "cpu",
            },
            "tombstones": list(slots),
            "forgotten": len(slots),
            "rules": list(rules),
            "method": {"name": method, "fields": fields},
            "budget": None if exact else 0.1,
            "seed": 0,
            "parent": {"path": "/home/somebody/runs/base", "relative": "../base", "weights_digest": self.parent},
            "guarantee": {"kind": "exact"} if exact else {"kind": "empirical", "passed": [], "level": None},
            "trajectory": "recorded" if exact else "none",
            "weights_digest": digest(name),
            "untuned": not exact,
            "stopped": None,
            "allowed": None,
            "prepaid": [],
            "seen": [],
            "reused_steps": {},
            "example_steps": 10352.0 if exact else 1104.0,
            "seconds": 0.2281 if exact else 0.0321,
            **changes,
        }
        return self.run(name, **manifest)

    def evaluate(self, folder: Path, *, references: int = 5, shift: float = 0.01, **changes: Any) -> dict[str, Any]:
        """Write an evaluation of a run: figures of the original, moved by ``shift``; ``changes`` replace fields."""
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        slots = run["tombstones"]
        models = [
            {
                "weights_digest": digest("reference", seed),
                "lineage_seed": digest("lineage", seed),
                "example_steps": 10352.0,
                "seconds": 0.2 + seed / 100,
            }
            for seed in range(references)
        ]
        content: dict[str, Any] = {
            "format": "expunge/evaluation/1",
            "weights_digest": run["weights_digest"],
            "method": run["method"]["name"],
            "forget": {
                "examples": run["forgotten"],
                "share": run["forgotten"] / len(self.train),
                "rules": run["rules"],
            },
            "trial": {
                "forget": len(slots),
                "retain": len(self.train) - len(slots),
                "holdout": 40,
                "attack": 20,
                "scored": 20,
                "excluded_holdout": 0,
                "duplicates": 0,
                "dropped_classes": [],
            },
            "original": {"weights_digest": self.parent, "example_steps": 11504.0, "seconds": 0.239},
            "references": models,
            "probes": [self.probe(name, run, references, shift) for name in PROBES],
            "guards": [
                {"name": "collapse", "fired": False, "detail": "test accuracy 0.979 is not below 0.932"},
                {"name": "same weights", "fired": False, "detail": "the weights differ from the original's"},
            ],
            "notices": ["untuned: the method ran on the table's defaults or on fields set by hand"],
            "verdict": {"verdict": "undecided", "p": None, "detail": "mean-margin: interval crosses the margin"},
            "guarantee": run["guarantee"],
            "examples": [
                {
                    "slot": slot,
                    "label": self.train.classes[int(self.train.labels[slot])],
                    "before": 0.99,
                    "after": 0.5 + index / 100,
                    "retrained": 0.75 if references else None,
                }
                for index, slot in enumerate(slots[:24])
            ],
            "tolerances_version": 1,
            **changes,
        }
        return self.sign(folder, content)

    @staticmethod
    def probe(name: str, run: dict[str, Any], references: int, shift: float) -> dict[str, Any]:
        """One probe's entry."""
        role, required, direction, scale = PROBES[name]
        value = ORIGINAL[name]
        own = {"example-steps": run["example_steps"], "seconds": run["seconds"]}.get(name, value - shift)
        others = [value - 0.002 * (seed + 1) for seed in range(references)]
        return {
            "name": name,
            "role": role,
            "required": required,
            "direction": direction,
            "scale": scale,
            "one_unit": None,
            "summary": f"What {name} measures.",
            "original": measured(value, scale),
            "unlearned": measured(own, scale),
            "references": [measured(other, scale) for other in others],
            "reference_mean": float(np.mean(others)) if references >= 5 else None,
            "verdict": UNDECIDED,
        }

    @staticmethod
    def sign(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
        """Write an evaluation with the digest that belongs to it."""
        content = {name: value for name, value in content.items() if name != "digest"}
        content["digest"] = sha256(b"expunge/evaluation/1", canonical_json(content)).hex()
        (folder / "evaluation.json").write_text(plain_json(content), encoding="utf-8")
        return content


def images(path: Path, rows: int = 120, shape: tuple[int, ...] = (6, 5), kind: str = "uint8") -> Source:
    """An .npz of random images with ids and people."""
    generator = np.random.Generator(np.random.Philox(key=3))
    pixels = generator.integers(0, 256, (rows, *shape)).astype(kind)
    labels = np.arange(rows) % 3
    ids = np.array([f"picture-{row:03d}" for row in range(rows)])
    people = np.array([f"person-{row // 6:03d}" for row in range(rows)])
    np.savez(path, x=pixels, y=labels, ids=ids, subjects=people)
    return Source(location=str(path))


def patients(path: Path, rows: int = 120) -> Source:
    """A CSV with numbers, words and text, and a person for every three rows."""
    lines = ["patient,age,town,note,outcome"]
    lines += [
        f"p-{row // 3:02d},{20 + row % 50},town-{row % 7},slept well and walked {row} steps to the river,{row % 2}"
        for row in range(rows)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Source(location=str(path), label="outcome", subject="patient", text=("note",))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A small world of grey images."""
    return World(tmp_path / "runs", images(tmp_path / "images.npz"))


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """``make_world(patients)``, ``make_world(images, shape=(4, 4, 3))``: a world on other data."""

    def build(source: Callable[..., Source], name: str = "other", **how: Any) -> World:
        return World(tmp_path / name, source(tmp_path / f"{name}{'.npz' if source is images else '.csv'}", **how))

    return build


@pytest.fixture(scope="session")
def forms() -> dict[str, Callable[..., Source]]:
    """Data forms by name, so that tests can ask for them."""
    return {"images": images, "patients": patients}


class Page(HTMLParser):
    """Tags and words of a page; fails where tags do not close in order."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page.decode("utf-8"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture(scope="session")
def parsed() -> Callable[[bytes], Page]:
    """``parsed(page)``: its tags, after checking that they close in order."""
    return Page


@pytest.fixture(scope="session")
def words() -> Callable[[bytes], str]:
    """``words(page)``: what a reader sees, all white space as single spaces."""
    return lambda page: re.sub(r"\s+", " ", "".join(Page(page).words))


@pytest.fixture
def evaluated(world: World) -> list[Path]:
    """A training, an exact run with the weights of its retrained twin, and an approximate run, evaluated."""
    exact = world.unlearned("exact", "exact-replay", weights_digest=digest("reference", 0))
    salun = world.unlearned("salun")
    world.evaluate(exact)
    world.evaluate(salun)
    return [world.run("base"), exact, salun]
