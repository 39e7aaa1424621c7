"""People with two rows and with twelve, as somebody types it: what is possible first, who stands out, the gate."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import Expunge

import expunge as face
from expunge.methods.retrain import Retrain
from expunge.train.run import Run

TOLD = {"label": "outcome", "subject": "who"}
FEW = "no test can decide for one person (20 rows are needed), and more references would not help"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clouds of points; two people's labels are those of the other cloud, so that they must be remembered."""
    place, generator = tmp_path_factory.mktemp("few"), np.random.default_rng(4)
    people = ["two"] * 3 + ["twelve"] * 14 + [f"someone-{number:02d}" for number in range(30) for _ in range(6)]
    lines = ["who,a,b,outcome"]
    for row, who in enumerate(people):
        side = row % 2
        a, b = generator.normal((2 * side, -2 * side), 1.0)
        odd = who in ("two", "twelve")
        lines.append(f"{who},{a:.3f},{b:.3f},{'yes' if side != odd else 'no'}")
    (place / "people.csv").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture(scope="module")
def base(place: Path) -> Run:
    return face.train(
        place / "people.csv",
        **TOLD,
        model="mlp",
        model_options={"width": 32},
        epochs=40,
        rate=0.3,
        weight_decay=0.0,
        out=place / "base",
    )


def test_what_is_possible_comes_first_and_the_gate_exits_with_the_sentence(
    expunge: Expunge, base: Run, place: Path
) -> None:
    rows = face.possible(base, "subject:two").rows
    forget = ("unlearn", base.path, "--forget", "subject:two", "--method", "fine-tune")
    done = expunge(*forget, "--out", place / "two")
    assert re.fullmatch(rf"{rows} rows?: {re.escape(FEW)}; exact-replay gives .*", done.out.splitlines()[0])
    told = expunge(*forget, "--out", place / "two-json", "--json")
    assert told.json["forgotten"] == rows
    assert told.err.startswith(done.out.splitlines()[0])
    again = expunge(*forget, "--out", place / "two")
    assert FEW not in again.out, "what is there already costs nothing"
    gate = expunge("evaluate", place / "two", "--gate")
    assert gate.status == 1
    assert gate.out.splitlines()[:2] == [
        done.out.splitlines()[0],
        f"Cannot be said: {rows} rows, tests need 20: more references would not help.",
    ]
    assert "a verdict needs" not in gate.out, "nothing asks for references that cannot help"
    evaluated = expunge("evaluate", place / "two", "--gate", "--json")
    assert evaluated.status == 1
    assert evaluated.json["verdict"]["verdict"] == "undecided"
    assert FEW in evaluated.err


def test_who_stands_out_is_listed_and_refutes(expunge: Expunge, base: Run, place: Path) -> None:
    run = face.unlearn(base, "subject:twelve", method="fine-tune", out=place / "twelve")
    references = [
        face.unlearn(base, "subject:twelve", method=Retrain(training_seed=seed), out=place / f"r{seed}")
        for seed in range(1, 6)
    ]
    witness = face.train(place / "people.csv", recipe=replace(base.recipe, seed=9), out=place / "w", **TOLD)
    given = [part for one in references for part in ("--reference", one.path)]
    done = expunge("evaluate", run.path, *given, "--witness", witness.path, "--gate")
    assert done.status == 1
    answer = done.out.splitlines()[1]
    rows = len(run.forget_set)
    told = re.fullmatch(rf"No: (\d+) of {rows} rows still stands? out from what retrained models answer\.", answer)
    assert told is not None
    listed = [line for line in done.out.splitlines() if line.startswith("slot ")]
    assert len(listed) == min(6, int(told[1]))
    pattern = (
        r"slot \d+, labelled (yes|no), stands out \(p (?:0|< 0)\.\d{3}\): [\d.]+ before, [\d.]+ after, [\d.]+ retrained"
    )
    assert all(re.fullmatch(pattern, line) for line in listed)
    evaluation = expunge("evaluate", run.path, *given, "--witness", witness.path, "--json").json
    assert sum(one["stands_out"] <= 0.05 for one in evaluation["examples"]) == int(told[1])


def test_several_people_in_one_run_and_as_a_pool(expunge: Expunge, base: Run, place: Path) -> None:
    people = [f"someone-{number:02d}" for number in (3, 4, 5, 6)]
    together = [part for name in people for part in ("--forget", f"subject:{name}")]
    done = expunge("unlearn", base.path, *together, "--method", "fine-tune", "--out", place / "four")
    assert re.match(r"\d+ rows: a verdict needs 5 references and, shared by later requests, 1 witness;", done.out)
    for name in people:
        face.unlearn(base, f"subject:{name}", method="fine-tune", out=place / name)
    pool = expunge("evaluate", *(place / name for name in people), "--pool", "--gate")
    assert pool.status == 1
    assert re.match(r"\d+ rows in 4 requests: a verdict on the method needs 5 references of each", pool.out)
    assert "this speaks of fine-tune, never of one person" in pool.out
    assert (place / people[0] / "pool.json").is_file()
    told = expunge("evaluate", *(place / name for name in people), "--pool", "--json", "--out", place / "pool.json")
    assert [one["rules"] for one in told.json["pool"]] == sorted([[f"subject:{name}"] for name in people])
    hygiene = expunge("hygiene", place / people[0])
    assert "pool.json" not in hygiene.out
    several = expunge("evaluate", *(place / name for name in people))
    assert several.err == "error: run names 4 runs: evaluate each by itself, or all with --pool\n"
