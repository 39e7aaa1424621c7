"""``expunge plan`` as a person uses it: the table, the page, the command to type, and what is refused."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge

from expunge.methods.unlearn import unlearn
from expunge.records.run_file import Predicted
from expunge.train.run import Run, write_run_file

MONTHLY = ("--requests", "20/month")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Visits of 40 people, as a file of somebody's."""
    drawn, file = random.Random(0), tmp_path_factory.mktemp("plan") / "visits.csv"
    rows = [f"p{at % 40},{drawn.gauss(at % 2, 1):.3f},{drawn.choice('abc')},{'yn'[at % 2]}" for at in range(160)]
    file.write_text("\n".join(["who,size,kind,outcome", *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def run(table: Path) -> Run:
    from expunge.train.call import train as train_call

    return train_call(table, out=table.parent / "run", label="outcome", subject="who", model="mlp", epochs=1, shards=2)


def test_plan_says_what_to_type_and_draws_a_page(expunge: Expunge, table: Path, tmp_path: Path) -> None:
    words = ("plan", table, "--label", "outcome", "--subject", "who", *MONTHLY, "--window", "7d", "--model", "mlp")
    status, printed, _ = expunge(*words, "--epochs", 3, "--out", tmp_path / "plan.html")
    assert status == 0
    assert "training rows of 40 people; 4.3 batches a month" in printed
    for name in ("mlp, 4 × 2", "mlp, 32 × 1", "→ ridge", "naive-bayes", "forest"):
        assert name in printed
    assert "* a month of batches costs more than one retraining" in printed
    assert f"\nexpunge train {table} --label outcome --subject who --model ridge --out RUN\n" in printed
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert page.count("<rect") == 2 * page.count('<svg class="bar"') > 20
    for part in ("<h1>Take ridge</h1>", "--model ridge --out RUN", "Known after training: forest."):
        assert part in page
    told = expunge(*words, "--epochs", 3, "--json").json
    assert told["format"] == "expunge/plan/1"
    replay = next(route for route in told["routes"] if route["name"] == "mlp, 4 × 2")
    assert replay["train"].startswith("`expunge train ")
    assert "--model mlp --epochs 3 --shards 4 --slices 2" in replay["train"]
    assert {"accuracy", "seconds", "service"} & replay.keys() == set()


def test_a_planned_command_trains(expunge: Expunge, table: Path, tmp_path: Path) -> None:
    told = expunge("plan", table, "--label", "outcome", *MONTHLY, "--model", "mlp", "--epochs", 1, "--json").json
    typed = next(route["train"] for route in told["routes"] if route["name"] == "mlp, 2 × 2").strip("`").split()
    assert typed[0] == "expunge"
    assert expunge(*typed[1:-1], tmp_path / "run").status == 0
    assert Run.open(tmp_path / "run").recipe.shards == 2


def test_plan_of_a_run_and_its_check(expunge: Expunge, run: Run, tmp_path: Path) -> None:
    status, printed, _ = expunge("plan", run.path, *MONTHLY)
    assert status == 0
    assert "exact-replay" in printed
    assert "retrain" in printed
    child = unlearn(run, "subject:p3", out=tmp_path / "child")
    said = Predicted(example_steps=child.result.example_steps, seconds=child.result.seconds)
    write_run_file(child.path, replace(child.told, forgetting=replace(child.forgetting, predicted=said)))
    status, printed, _ = expunge("plan", "--check", child.path)
    assert status == 0
    assert "example-steps: 1.000 times what was predicted, on average over 1 run" in printed
    assert expunge("plan", "--check", child.path, "--json").json["kept"][0]["run"] == "child"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--requests", "many"), "--requests 'many' is no rate"),
        ((*MONTHLY, "--window", "soon"), "--window 'soon' is no duration"),
        ((*MONTHLY, "--floor", "0.84"), "add --measure"),
        ((*MONTHLY, "--stages", "9,1"), "--stages is said of tiers"),
        ((*MONTHLY, "--out", "plan.txt"), "must end in .html"),
        ((), "how many people ask, such as --requests 20/month"),
        (("--check", "run"), "--check looks at a run that forgot, and nothing else"),
    ],
)
def test_what_plan_refuses(more: tuple[str, ...], said: str, expunge: Expunge, table: Path) -> None:
    status, _, error = expunge("plan", table, "--label", "outcome", *more)
    assert status == 2
    assert said in " ".join(error.split())
