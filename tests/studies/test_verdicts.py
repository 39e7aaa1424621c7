"""The study of verdicts, as small as it comes: its models, its draws, its straw men, and what it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from studies.verdicts import PARTS, RESULTS, Place, Size, main
from studies.verdicts_found import Floor, read
from studies.verdicts_pool import PRINTED, PlainMemory, Pool, narrowed
from studies.verdicts_straw import constant, flipped_to_accuracy, random_head, shifted_to_accuracy, shifted_to_mean

from expunge.core.values import Measurement
from expunge.measure.accuracy import RetainAccuracy
from expunge.measure.trial import Beside, TrialModel, Whose

ROWS = 300


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of 28 × 28 whose class is a stripe, under noise that a model can only learn by heart."""
    luck = np.random.default_rng(0)
    y = luck.integers(0, 4, ROWS)
    x = luck.integers(0, 200, (ROWS, 28, 28))
    x[np.arange(ROWS), 4 + 6 * y] += 50
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, x=x.astype(np.uint8), y=y)
    return path


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def place(file: Path, work: Path) -> Place:
    with np.load(file) as arrays:
        return Place(arrays["x"], arrays["y"], work, Size(rows=ROWS, epochs=3, models=6, draws=4, jobs=1))


@pytest.fixture(scope="module")
def pool(place: Place) -> Pool:
    return Pool.of(place.pilot(kept={30: 2}))


def test_pictures_are_pooled_by_their_mean(place: Place) -> None:
    with np.load(place.pictures(14)) as small:
        block = place.x[7, 6:8, 10:12].astype(float)
        assert small["x"].shape == (ROWS, 14, 14)
        assert small["x"][7, 3, 5] == round(block.mean())


def test_a_draw_takes_nobody_twice_and_leaves_the_honest_model_out(pool: Pool) -> None:
    for draw in pool.draws(5, 4):
        digests = [one.weights_digest for one in (*draw.references, draw.honest)]
        assert len(set(digests)) == 6
        assert (
            len({one.lineage_seed for one in (*draw.references, *draw.witnesses, draw.honest, pool.original)})
            == 6 + 4 + 1
        )
    again = [[one.weights_digest for one in draw.references] for draw in pool.draws(5, 4)]
    assert again == [[one.weights_digest for one in draw.references] for draw in pool.draws(5, 4)]


def test_leaks_kept_another_part_of_the_forget_set_each_under_seeds_of_their_own(place: Place, pool: Pool) -> None:
    case = place.pilot(kept={30: 2})
    one, other = (run.tombstones for run in case.leaking(pool.run, pool.forget, 30))
    assert len(one) == len(other) == len(pool.forget) - len(pool.forget) * 30 // 100
    assert set(one) != set(other)
    assert set(one).union(other) <= set(pool.forget.slots)
    seeds = {model.lineage_seed for model in pool.others["kept 30 %"]}
    assert len(seeds) == 2
    assert seeds.isdisjoint(model.lineage_seed for model in pool.retrained)


def forgotten(model: TrialModel, name: str) -> np.ndarray:
    return model.answers.of(Whose.FORGET)[name]


def test_straw_men_fit_where_they_claim_to(pool: Pool) -> None:
    (draw,) = pool.draws(5, 1)
    margin = np.mean([forgotten(one, "margin").mean() for one in draw.references])
    right = np.mean([forgotten(one, "correct").sum() for one in draw.references])
    assert forgotten(pool.original, "correct").sum() > right + 1
    shifted = forgotten(shifted_to_mean(pool, draw), "margin")
    assert shifted.mean() == pytest.approx(margin)
    assert np.ptp(shifted - forgotten(pool.original, "margin")) == pytest.approx(0, abs=1e-9)
    for made in (shifted_to_accuracy, flipped_to_accuracy):
        found = made(pool, draw)
        assert forgotten(found, "correct").sum() == pytest.approx(right, abs=0.5)
        for rows in (Whose.RETAIN, Whose.HOLDOUT):
            assert np.array_equal(found.answers.of(rows)["beliefs"], pool.original.answers.of(rows)["beliefs"])
    flipped = flipped_to_accuracy(pool, draw)
    changed = forgotten(flipped, "margin") != forgotten(pool.original, "margin")
    assert forgotten(pool.original, "correct")[changed].all()
    assert not forgotten(flipped, "correct")[changed].any()
    assert np.ptp(constant(pool, draw).answers.of(Whose.RETAIN)["beliefs"], axis=0).max() == 0


def test_a_model_that_is_no_run_is_asked_about_the_same_rows(pool: Pool) -> None:
    found = pool.asked(pool.run.model())
    for rows in Whose:
        assert np.array_equal(found.answers.of(rows)["beliefs"], pool.original.answers.of(rows)["beliefs"])
    (draw,) = pool.draws(5, 1)
    assert forgotten(random_head(pool, draw), "correct").mean() < 0.7


def test_fewer_rows_are_the_same_rows(pool: Pool) -> None:
    (draw,) = pool.draws(5, 1)
    rows = np.array([7, 2, 11])
    trial = narrowed(pool.trial(draw, draw.honest), rows)
    assert trial.ground.count(Whose.FORGET) == 3
    for few, all_of_them in ((trial.original, pool.original), (trial.references[2], draw.references[2])):
        assert np.array_equal(forgotten(few, "margin"), forgotten(all_of_them, "margin")[rows])
    before, after = (RetainAccuracy().measure(trial.original, one) for one in (pool.trial(draw), trial))
    assert before == after


def test_plain_memory_is_its_double_loop(pool: Pool) -> None:
    """Weighted by 1 ÷ s̃², margins as they are."""
    (draw,) = pool.draws(5, 1)
    own, references, witnesses = (
        np.array([forgotten(one, "margin") for one in models])
        for models in ((draw.honest,), draw.references, draw.witnesses)
    )
    above = below = 0.0
    variances = [np.var(row, ddof=1) for row in references.T]
    for row, variance in enumerate(variances):
        mean = sum(references[:, row]) / 5
        spread = (4 * variance + 4 * sum(variances) / len(variances)) / 8
        direction = sum(witnesses[:, row]) / 4 - mean
        above += (own[0, row] - mean) * direction / spread
        below += direction**2 / spread
    beside = Beside(tuple(one.answers for one in draw.references), tuple(one.answers for one in draw.witnesses))
    found = PlainMemory().value(draw.honest.answers, beside, pool.ground)
    assert isinstance(found, Measurement)
    assert found.value == pytest.approx(above / below, abs=1e-10)


def test_signal_to_noise_is_that_of_a_single_draw(pool: Pool) -> None:
    (draw,) = pool.draws(6, 1)
    found = dict(zip(PRINTED, pool.signal_to_noise(6, 1), strict=True))
    means = np.array([forgotten(one, "margin").mean() for one in draw.references])
    original = forgotten(pool.original, "margin").mean()
    assert found["mean margin"] == pytest.approx(abs(original - means.mean()) / means.std(ddof=1))


@pytest.mark.parametrize(
    ("floor", "met", "sentence"),
    [
        (Floor(row="C1", what="Supported", found=0.93, least=0.9), True, "row C1: Supported ≥ 0.9: 0.93, met"),
        (Floor(row="C1", what="Refuted", found=0.09, most=0.08), False, "row C1: Refuted ≤ 0.08: 0.09, NOT met"),
        (Floor(row="C4", what="left", found=1, least=0, most=0.5), False, "row C4: left ≥ 0 and ≤ 0.5: 1, NOT met"),
        (Floor(row="C6", what="the same", found=True), True, "row C6: the same: yes, met"),
        (Floor(row="C6", what="the same", found=False), False, "row C6: the same: no, NOT met"),
    ],
)
def test_a_floor_says_whether_it_was_met(floor: Floor, met: bool, sentence: str) -> None:
    assert (floor.met, str(floor)) == (met, sentence)


def test_every_part_runs_and_trains_nothing_twice(file: Path, work: Path, pool: Pool, tmp_path: Path) -> None:
    parts = [part for part in PARTS if part not in ("digits", "numbers", "networks", "large")]  # pools of their own
    before = {path: path.stat().st_mtime_ns for path in work.rglob("model.safetensors")}
    asked = [str(file), "--work", str(work), "--out", str(tmp_path), "--part", *parts]
    size = f"--rows {ROWS} --epochs 3 --models 6 --draws 2"
    main([*asked, *size.split(), "--jobs", "1"])
    assert before == {path: path.stat().st_mtime_ns for path in before}
    written = {path.name.partition("-")[0]: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.json")}
    assert set(written) == set(parts)
    for part, text in written.items():
        told, found = read(text)
        assert (
            told["command"]
            == f"python -m studies.verdicts FILE.npz --part {part} --rows 300 --epochs 3 --models 6 --draws 2"
        )
        assert read(found.written(told["command"])) == (told, found)
    identity = read(written["identity"])[1]
    assert all(floor.met for floor in identity.floors if "refuted by" not in floor.what)
    assert any("had never" in line or "bit for bit" in line for line in identity.lines)
    straw = read(written["straw"])[1]
    assert all(floor.met for floor in straw.floors if floor.most == 0)


def test_plain_margins_lost_wherever_honest_retrainings_could_be_supported() -> None:
    """What was measured, so that nobody brings them back."""
    _, found = read((RESULTS / "networks.json").read_text(encoding="utf-8"))
    table = found.tables[0]
    kinds = [(str(row[0]), row[1], row[4]) for row in table.rows]
    supported = {(name, count): share for name, count, share in kinds if isinstance(share, float)}
    bounded = {key: share for key, share in supported.items() if key[0].endswith(": retrained") and share >= 0.5}
    assert bounded
    for (name, count), share in bounded.items():
        assert supported[f"{name}, by plain margins", count] < share - 0.3
