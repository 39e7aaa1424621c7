"""A cell of many trainings: one claim, the verdict on its method, and attacks on all of its runs together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.study.conftest import pictures

from expunge.core.statistics import margin_divergence
from expunge.core.statistics.margin_divergence import divergence
from expunge.core.statistics.unlearning_likelihood_ratio import leave_one_out
from expunge.core.values import ClaimVerdict, Refuted, Supported, Undecided
from expunge.data.splits import Split
from expunge.measure.readings import SIGNALS, read
from expunge.records.document import read_document
from expunge.records.evaluation import Evaluation
from expunge.records.figures import Estimate
from expunge.records.over_trainings import DIVERGING, TOLD_APART
from expunge.records.results import Results
from expunge.study import cells
from expunge.study.cells import among
from expunge.study.grid import lay_out
from expunge.study.job import Evaluate
from expunge.study.opened import OpenedData
from expunge.study.results import Gathered
from expunge.study.scheduler import known_outcomes
from expunge.study.store import Store
from expunge.study.study import study
from expunge.study.study_file import read_study
from expunge.study.work import carry_out
from expunge.train.profile import find_device, pinned
from expunge.train.run import Run

RUNS = 8
FILE = f"""
seeds = {list(range(RUNS))}
references = {2 * RUNS}
witnesses = 1
methods = ["fine-tune"]
[data.noise]
location = "LOCATION"
[training.mlp]
model = "mlp"
model_options = {{ width = 32 }}
epochs = 30
[forget.random]
rules = "random:20%:1"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose labels mean nothing: what a model knows of them it remembers."""
    folder = tmp_path_factory.mktemp("cells")
    pictures(folder / "digits.npz", 240)
    with np.load(folder / "digits.npz") as arrays:
        np.savez(folder / "noise.npz", x=arrays["x"], y=np.random.default_rng(0).permutation(arrays["y"]))
    (folder / "cells.toml").write_text(FILE.replace("LOCATION", str(folder / "noise.npz")))
    return folder


@pytest.fixture(scope="module")
def first(folder: Path) -> Results:
    """With so few runs the attacks are undecided."""
    return study(folder / "cells.toml", out=folder / "out", engine="here")


@pytest.fixture
def few_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MINIMUM", RUNS)
    monkeypatch.setattr(margin_divergence, "FEWEST", RUNS)
    monkeypatch.setattr(margin_divergence, "DRAWS", 20)


@pytest.fixture
def attacked(first: Results, folder: Path, few_are_enough: None) -> Results:
    return study(folder / "cells.toml", out=folder / "out", draw_only=True)


def places(folder: Path, title: str) -> list[Path]:
    """Of the jobs whose titles begin so, in their order."""
    kept = Store(folder / "out" / "store")
    found = sorted(
        (len(entry.title), entry.title, entry.key) for entry in kept.entries() if entry.title.startswith(title)
    )
    return [kept.place(key) for _, _, key in found]


def answered(places: list[Path], forgotten: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Margins of the forgotten and of all holdout rows, with every model opened and asked again."""
    own: list[np.ndarray] = []
    never: list[np.ndarray] = []
    for place in places:
        run = Run.open(place)
        with pinned(run.recipe):
            told = read(run, [SIGNALS], run.data(), find_device("cpu"))[SIGNALS]
        own.append(told[Split.TRAIN]["margin"][forgotten])
        never.append(told[Split.HOLDOUT]["margin"])
    return np.array(own), np.array(never)


def test_a_cell_has_one_claim_and_a_verdict_on_its_method(first: Results, folder: Path) -> None:
    found = [read_document(Evaluation, (at / "evaluation.json").read_bytes(), "") for at in places(folder, "evaluate")]
    assert len(found) == RUNS
    (claim,) = {one.claim for one in found}
    (row,) = first.settings[0].rows
    told = row.concluded
    assert told is not None
    assert (told.trainings, told.claim) == (RUNS, claim)
    assert told.memory is not None
    assert told.memory.mean == pytest.approx(np.mean([one.memory.left for one in found if one.memory is not None]))
    assert sum(row.verdicts.values()) == RUNS  # each run's own stands beside it
    (line,) = first.settings[0].over_trainings.rows
    assert line[:3] == ("fine-tune", "8", claim)
    assert isinstance(told.verdict, Refuted)  # so little tuning forgets nothing
    assert told.verdict.reason.endswith("of the memory is left, over 8 trainings")
    assert line[5:] == (told.verdict.word.capitalize(), told.verdict.detail, "–", "–")
    table = (folder / "out" / "results.csv").read_text().splitlines()
    cut = dict(zip(table[0].split(","), table[1].split(","), strict=False))
    assert cut["verdict on the method"] == told.verdict.word.capitalize()
    assert float(cut["memory left at most"]) == pytest.approx(told.memory.bound, rel=1e-5)


def test_the_claim_is_what_the_named_original_has_the_power_for(first: Results, folder: Path) -> None:
    """One that never saw the rows has none: then hardly anything is asked of the run."""
    grid, store = lay_out(read_study(folder / "cells.toml")), Store(folder / "out" / "store")
    jobs = [job for job in grid.jobs if isinstance(job, Evaluate)]
    claims: list[str | None] = []
    for job in (
        jobs[1],
        replace(jobs[1], title="another claim", inputs={**jobs[1].inputs, "claimed": jobs[1].inputs["references"][:1]}),
    ):
        carry_out(job, store, OpenedData())
        evaluation = read_document(Evaluation, (store.place(job.key) / "evaluation.json").read_bytes(), "")
        claims.append(evaluation.claim)
    assert claims == ["indistinguishable", "at-most:50%"]


def test_few_runs_are_undecided_with_their_number(first: Results) -> None:
    (setting,) = first.settings
    (row,) = setting.rows
    assert row.figures[TOLD_APART] == Undecided("needs 16 runs a side, has 8")
    assert row.figures[DIVERGING] == Undecided("needs 64 unlearned runs and 128 references, has 8 and 16")
    assert row.concluded is not None
    assert row.concluded.told_apart is row.concluded.divergences is None


def test_attacks_are_those_on_models_that_are_asked_again(attacked: Results, folder: Path) -> None:
    """The slow twin: every model opened, and what is found put together by hand."""
    forgotten = Run.open(places(folder, "unlearn")[0]).forget_set.slots
    never, holdout = answered(places(folder, "retrain"), forgotten)
    (setting,) = attacked.settings
    (row,) = setting.rows
    for title, figures in (("unlearn", row.figures), ("train", setting.original)):
        at = [place for place in places(folder, title) if Run.open(place).recipe.seed in range(RUNS)]
        had, of_nobody = answered(at, forgotten)
        scores = leave_one_out(np.stack([had, never[:RUNS]]))
        accuracy, diverging = figures[TOLD_APART], figures[DIVERGING]
        assert isinstance(accuracy, Estimate)
        assert accuracy.mean == pytest.approx(np.mean([scores[0] > 0, scores[1] < 0]))
        assert accuracy.n == 2 * RUNS
        assert isinstance(diverging, Estimate)
        null = divergence(never[RUNS:], never[:RUNS])
        assert diverging.mean == pytest.approx(np.mean(divergence(had, never[:RUNS])) - np.mean(null))
        if title == "unlearn":
            assert row.concluded is not None
            assert row.concluded.told_apart is not None
            right = np.concatenate([scores[0] > 0, scores[1] < 0]).mean(axis=0)
            assert row.concluded.told_apart.sure == (right > 0.9).sum()
            told = row.concluded.divergences
            assert told is not None
            assert told.holdout is not None
            assert told.holdout.mean == pytest.approx(divergence(of_nobody, holdout[:RUNS]).mean())
            assert told.forget.null_worst == pytest.approx(np.quantile(null, 0.95))
    halves = setting.retrained[TOLD_APART]
    assert isinstance(halves, Estimate)
    scores = leave_one_out(np.stack([never[::2], never[1::2]]))
    assert halves.mean == pytest.approx(np.mean([scores[0] > 0, scores[1] < 0]))
    original = setting.original[TOLD_APART]
    assert isinstance(original, Estimate)
    assert abs(halves.mean - 0.5) < 0.1
    assert original.mean - halves.mean > 0.2


def test_a_study_that_goes_on_gives_the_same_bytes(attacked: Results, folder: Path) -> None:
    """And what is damaged is found where it is read, and made again."""
    written = (folder / "out" / "results.json").read_bytes()
    place = places(folder, "retrain")[3] / "beliefs.safetensors"
    place.write_bytes(place.read_bytes()[:100])
    warned: list[str] = []
    again = study(folder / "cells.toml", out=folder / "out", engine="here", warn=warned.append)
    assert len(warned) == 1
    assert str(place) in warned[0]
    assert again.settings == attacked.settings
    one, other = (json.loads(told)["settings"] for told in (written, (folder / "out" / "results.json").read_bytes()))
    assert one == other


def test_runs_with_forget_sets_of_their_own_are_not_looked_at_together(first: Results, folder: Path) -> None:
    planned = read_study(folder / "cells.toml")
    grid, store = lay_out(planned), Store(folder / "out" / "store")
    gathered = Gathered(planned, grid, store, known_outcomes(grid.jobs, store))
    (laid,) = grid.settings
    assert gathered.together(laid) is not None
    others = {**laid.references, RUNS - 1: laid.references[0][1:]}
    assert gathered.together(replace(laid, references=others)) is None


def test_a_verdict_among_those_on_all_methods() -> None:
    """Holm over those of its kind: the weakest of four falls, the strongest stand."""
    told: list[ClaimVerdict] = [Refuted("far off", p) for p in (0.01, 0.04, 0.03, 0.005)]
    found = [among(one, [*told, Supported(0.04, "little"), Undecided("nothing")]) for one in told]
    assert [one.word for one in found] == ["refuted", "undecided", "undecided", "refuted"]
    assert found[1] == Undecided("refuted alone (p = 0.04), not among 4 methods (Holm: 0.06): far off")
    assert among(Supported(0.04, "little"), [Supported(0.04, "little"), *told]).word == "supported"
    assert among(Undecided("nothing"), told) == Undecided("nothing")
