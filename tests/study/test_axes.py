"""Axes as data: what a cell is, and a fifth axis that no code of the study or of its report knows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from expunge.core.errors import InvalidArgument
from expunge.report.leaderboard import leaderboard, ranking_table
from expunge.study.axes import Axis, span
from expunge.study.grid import lay_out
from expunge.study.store import Store
from expunge.study.study import study
from expunge.study.study_file import read_study
from expunge.train.run import Run

Write = Callable[..., Path]
FILE = """
seeds = [0]
references = 1
methods = ["fine-tune"]
{more}
[data.digits]
location = "digits"
[training.mlp]
model = "mlp"
model_options = { width = 8 }
epochs = 1
[forget.random]
rules = "random:5%:1"
[forget.class]
rules = "class:3"
"""
RATES = Axis("rate", (0.05, 0.1))


def test_a_cell_is_one_value_of_each_axis(write_study: Write) -> None:
    read = read_study(write_study(FILE.replace("{more}", 'budget = ["5%", "10%"]')), axes=[RATES])
    assert [axis.name for axis in read.axes] == ["data", "training", "forget", "budget", "rate"]
    cells = span(read.axes)
    assert len(cells) == len({cell.key for cell in cells}) == len({cell.name for cell in cells}) == 2 * 2 * 2
    first, second = cells[:2]
    assert (first.name, second.name) == ("digits-mlp-random-0_05-0_05", "digits-mlp-random-0_05-0_1")
    assert (first.forget.name, first.budget, first.values["rate"]) == ("random", 0.05, 0.05)
    assert [cell.training.fields["optimiser"].rate for cell in cells[:2]] == [0.05, 0.1]
    assert first.key != second.key
    assert first.without("rate").key == second.without("rate").key == span(read.axes)[0].without("rate").key
    assert first.only("data", "forget").name == "digits-random"


def test_a_fifth_axis_runs_resumes_and_is_drawn(write_study: Write, tmp_path: Path) -> None:
    file = write_study(FILE.replace("{more}", ""))
    results = study(file, out=tmp_path / "out", jobs=2, axes=[RATES])
    assert results.complete
    assert [(setting.id, setting.title) for setting in results.settings] == [
        ("digits-mlp-random-0_05", "random, rate 0.05"),
        ("digits-mlp-random-0_1", "random, rate 0.1"),
        ("digits-mlp-class-0_05", "class, rate 0.05"),
        ("digits-mlp-class-0_1", "class, rate 0.1"),
    ]
    # for each rate: an original; for each of two forget sets a reference, an unlearning and an evaluation
    assert results.cost.jobs == 2 * (1 + 2 * 3)
    seeds = [setting.rows[0].seeds[0] for setting in results.settings]
    assert len({seed.done.weights_digest for seed in seeds if seed.done is not None}) == 4
    store = Store(tmp_path / "out" / "store")
    trained = lay_out(read_study(file, axes=[RATES])).settings[1].originals[0]
    assert Run.open(store.place(trained)).recipe.optimiser.rate == 0.1

    evaluation = next(entry for entry in store.entries() if entry.title.startswith("evaluate"))
    shutil.rmtree(store.place(evaluation.key))
    again = study(file, out=tmp_path / "out", jobs=1, axes=[RATES])
    assert (again.cost.reused, again.digest) == (results.cost.jobs - 1, results.digest)
    page = leaderboard(again, out=tmp_path / "out").read_text()
    for setting in results.settings:
        assert setting.title in page
        assert [row.method for row in ranking_table(again, setting.id)] == ["fine-tune"]


def test_a_value_of_an_axis_shares_its_jobs_with_a_study_of_that_value(write_study: Write) -> None:
    varied = {job.key for job in lay_out(read_study(write_study(FILE.replace("{more}", "")), axes=[RATES])).jobs}
    for rate in RATES.values:
        text = FILE.replace("{more}", "").replace("epochs = 1", f"epochs = 1\nrate = {rate}")
        alone = {job.key for job in lay_out(read_study(write_study(text))).jobs}
        assert alone < varied


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        (("rate", ()), r"axis 'rate' has the values \(\): give one at least, and each once"),
        (("rate", (0.1, 0.1)), "axis 'rate' has the values .* each once"),
        (("budget", (0.1,)), "`axes` makes data, training, forget, budget, budget the axes of .*: name each once"),
        (("rat", (0.1,)), "small.toml, line 9: a training has no 'rat'.*did you mean 'rate'"),
        (("epochs", (1, "two")), "small.toml, line 11: epochs 'two' must be a whole number"),
    ],
)
def test_axes_that_are_none(write_study: Write, axis: tuple[str, tuple[object, ...]], said: str) -> None:
    file = write_study(FILE.replace("{more}", ""))
    with pytest.raises(InvalidArgument, match=said):
        lay_out(read_study(file, axes=[Axis(*axis)]))
