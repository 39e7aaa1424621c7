"""Plans: costs against brute force and against requests that are carried out, what is refused, and no torch."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import expunge
from expunge.core.errors import InvalidArgument
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.removal_account import KIND, allowance
from expunge.methods.unlearn import unlearn
from expunge.records.plan import Outlay, PlanFile, Route
from expunge.records.run_file import Forgetting, Predicted
from expunge.schedule.costs import share_of_stages
from expunge.study.advice import advised
from expunge.study.incoming import Asking, Batches, draw
from expunge.study.planner import plan
from expunge.study.run_plan import account_notices, checked, plan_of_run, predicted
from expunge.train.run import Run, write_run_file
from expunge.train.training import train

Refused = Callable[..., AbstractContextManager[object]]
SETTINGS = {"model": "mlp", "epochs": 4, "batch_size": 8, "model_options": {"width": 4}}


@pytest.fixture(scope="module")
def rows(pictures_like: Callable[..., Dataset]) -> Dataset:
    return pictures_like(rows=240, people=60)


@pytest.fixture(scope="module")
def sharded(rows: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("plans") / "sharded"
    return train(rows, out=out, shards=2, slices=2, checkpoint_interval=5, **SETTINGS)


def test_rates_and_windows() -> None:
    asked = [Asking.read(rate, None, 1).a_month for rate in ("20/month", "1/day", "7/week", "365.25/year")]
    assert asked == pytest.approx([20, 365.25 / 12, 365.25 / 12, 365.25 / 12])
    assert [Asking.read("1/day", window, 1).window for window in ("12h", "7d", "2w", None)] == [0.5, 7, 14, None]
    assert Asking.read("20/month", None, 1).batches == 20
    weekly = Asking.read("7/week", "7d", 1)
    assert (weekly.mean, weekly.batches) == pytest.approx((7, 365.25 / 12 / 7 * (1 - math.exp(-7))))


def test_batches_are_what_a_window_collects() -> None:
    """Against Poisson's probabilities in windows that are not empty, and each person's chance."""
    units, weights = np.repeat(np.arange(50), 2), np.r_[np.ones(40), np.full(10, 6.0)]
    found = draw(Stream(bytes(32), "plan"), units, weights, 3.0)
    sizes = np.array([sum(3.0**k * math.exp(-3) / math.factorial(k) for k in (one,)) for one in range(1, 12)])
    seen = np.array([(found.people == size).mean() for size in range(1, 12)])
    assert np.abs(seen - sizes / (1 - math.exp(-3))).max() < 3 * math.sqrt(0.25 / 1000)
    assert (found.rows == 2 * found.people).all()
    for batch in range(100):
        slots = found.slots[found.request == batch]
        assert len(np.unique(units[slots])) == found.people[batch]
        assert np.bincount(units[slots], minlength=50).max() == 2
    single = draw(Stream(bytes(32), "plan"), units, weights, None)
    assert (single.people == 1).all()
    often = (units[single.slots] >= 40).mean()
    assert abs(often - 60 / 100) < 3 * math.sqrt(0.24 / 1000)
    everybody = draw(Stream(bytes(32), "plan"), units, weights, 1e6)
    assert (everybody.people == 50).all()


@pytest.mark.parametrize("requests", ["4/week", "28/week"])
def test_costs_on_the_schedule_are_the_formulas(requests: str) -> None:
    """Rows as people of their own: within 3 standard errors, or 2 % for what so few rows leave uneven."""
    values = np.random.default_rng(0).normal(size=(4000, 2))
    found = plan((values, (values[:, 0] > 0).astype(int)), requests=requests, window="1w", model="mlp", epochs=8)
    for shards, slices in ((4, 1), (8, 8), (16, 4)):
        route = next(route for route in found.routes if route.name == f"mlp, {shards} × {slices}")
        assert route.cost is not None
        assert route.share is not None
        error = 3 * (route.cost.high - route.cost.mean) / math.sqrt(found.incoming.drawn)
        assert abs(route.cost.mean - route.share * route.retraining) < max(error, 0.02 * route.cost.mean)
        alike = [1 / slices] * slices
        shares = {k: share_of_stages(shards, alike, [1] * slices, alike, k) for k in range(1, 140)}
        collected = _collected(float(requests[:-5]))
        assert route.share == pytest.approx(sum(chance * shares[k] for k, chance in collected), rel=0.03)


def _collected(mean: float) -> list[tuple[int, float]]:
    whole = 1 - math.exp(-mean)
    return [(k, math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) / whole) for k in range(1, int(4 * mean) + 20)]


def test_twenty_requests_cost_what_was_predicted(sharded: Run, rows: Dataset, tmp_path: Path) -> None:
    """Each of them exactly, and on average what the plan says of this run."""
    people = list(dict.fromkeys(sharded.data(rows)[Split.TRAIN].subjects))
    units, ratios = sharded.units, []
    for number in range(20):
        expected = predicted(sharded, np.flatnonzero(units == number), "exact-replay")
        forgot = unlearn(sharded, f"subject:{people[number]}", data=rows, out=tmp_path / str(number))
        ratios.append(forgot.result.example_steps / expected.example_steps)
    assert ratios == [1.0] * 20
    replay, retrain = plan_of_run(sharded, Asking.read("20/month", None, 24)).routes
    every = [predicted(sharded, np.flatnonzero(units == unit), "exact-replay").example_steps for unit in range(60)]
    assert replay.cost is not None
    assert retrain.cost is not None
    assert replay.cost.mean == pytest.approx(np.mean(every), rel=0.05)
    assert replay.cost.worst >= max(every)
    assert replay.retraining == sharded.result.example_steps
    again = predicted(sharded, np.flatnonzero(units == 0), "retrain").example_steps
    assert retrain.cost.mean == pytest.approx(again, rel=0.02)


def test_a_run_is_planned_on_as_it_stands(sharded: Run, rows: Dataset, tmp_path: Path) -> None:
    """Its empty chairs count, and those that were emptied since the states that it goes on from."""
    child = unlearn(sharded, "random:30:1", data=rows, out=tmp_path / "child")
    child = Run(child.path, replace(child.told, trajectory="none"))  # as an approximate method leaves it
    replay, _ = plan_of_run(child, Asking.read("20/month", None, 24)).routes
    present = np.unique(child.units[np.setdiff1d(np.arange(len(child.units)), child.tombstones)])
    every = []
    for unit in present:
        slots = np.setdiff1d(np.flatnonzero(child.units == unit), child.tombstones)
        every.append(predicted(child, slots, "exact-replay").example_steps)
    assert replay.cost is not None
    assert replay.cost.mean == pytest.approx(np.mean(every), rel=0.06)
    assert replay.retraining == child.schedule.work(child.tombstones)


def test_an_account_that_ends_is_told(sharded: Run) -> None:
    """3 rows spent .5 of what is allowed, and at a request of about 4 rows a month the other half lasts a month."""
    allowed = allowance(2.0, 1.0, 1e-4, 3)
    account = {
        "kind": KIND,
        "decay": sharded.recipe.optimiser.weight_decay,
        "training": [0.0] * 3,
        "spent": [allowed / 2] * 3,
        "removals": [{"forgotten": 3, "retained": 100, "steps": 1, "bound": "worst-case", "added": [allowed / 2] * 3}],
    }
    convex = replace(sharded.recipe, task="logistic", model="linear", shards=1, perturbation=2.0, model_options={})
    told = replace(sharded.told, recipe=convex.as_json(), recipe_digest=convex.digest.hex(), account=account)
    batches = Batches(np.zeros(3, dtype=np.int64), np.arange(3), np.ones(1, dtype=np.int64))
    (said,) = account_notices(Run(sharded.path, told), batches, Asking.read("1/month", None, 24))
    assert said.startswith("the account of certified removals ends after some 3 more rows, about 1 months: retrain")
    (said,) = account_notices(Run(sharded.path, replace(told, account=None)), batches, Asking.read("1/month", None, 24))
    assert "once a first removal" in said
    assert not list(account_notices(sharded, batches, Asking.read("1/month", None, 24)))


def test_what_was_predicted_is_compared_with_what_was_spent(
    sharded: Run, rows: Dataset, tmp_path: Path, refused: Refused
) -> None:
    child = unlearn(sharded, "random:3:2", data=rows, out=tmp_path / "child")
    with refused(InvalidArgument, "holds no prediction", "`expunge forget` writes one"):
        checked(child)
    said = Predicted(example_steps=child.result.example_steps / 2, seconds=child.result.seconds * 4)
    told = replace(child.told, forgetting=replace(child.forgetting, predicted=said))
    write_run_file(child.path, told)
    found = checked(Run.open(child.path))
    assert [one.run for one in found.kept] == ["child"]
    assert (found.mean("example_steps"), found.mean("seconds"), found.mean("row_sums")) == (2, 0.25, None)
    assert isinstance(told.forgetting, Forgetting)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"requests": "many"}, "`requests` 'many' is no rate: say how many people ask"),
        ({"requests": "0/month"}, "is no rate"),
        ({"window": "soon"}, "`window` 'soon' is no duration"),
        ({"window": "0d"}, "is no duration"),
        ({"horizon": 0}, "`horizon` 0 must be a whole number of months"),
        ({"floor": 0.84}, "which nobody knows before training: add `measure`"),
        ({"floor": 84.0, "measure": True}, "must be a share of right answers from 0 to 1"),
        ({"stages": "9,1"}, "`stages` is said of tiers, and there are none"),
        ({"tier_shares": [0.1, 0.9]}, "`tier_shares` is said of tiers, and there are none"),
    ],
)
def test_what_is_refused(more: dict[str, object], said: str, rows: Dataset) -> None:
    with pytest.raises(InvalidArgument, match="(?s)" + said.replace("`", "`")):
        plan(rows, **{"requests": "20/month", **more})  # pyright: ignore[reportArgumentType]


def test_a_run_takes_no_words_about_a_training(sharded: Run, refused: Refused) -> None:
    with refused(InvalidArgument, "a run is planned on as it stands"):
        plan(sharded, requests="1/day", epochs=3)


def test_tiers_save_where_the_late_ones_ask(rows: Dataset, tmp_path: Path, refused: Refused) -> None:
    people = list(dict.fromkeys(rows.subjects))
    lines = [f"{name},{int(at % 10 == 0)}" for at, name in enumerate(people)]
    file = tmp_path / "tiers.csv"
    file.write_text("\n".join(["subject,tier", *lines]) + "\n")
    asked = plan(rows, requests="20/month", tiers=file, stages="9,1", tier_shares=[0.1, 0.9], model="mlp")
    tiered = next(route for route in asked.routes if route.name == "mlp, 4 × 2 by tiers")
    alike = next(route for route in asked.routes if route.name == "mlp, 4 × 2")
    assert (tiered.times or 0) > 1.5 * (alike.times or 0) > 0
    assert tiered.train.endswith(f"model=mlp, stages=9,1, placement=tiers:{file}, shards=4, out=RUN)`")
    assert any("trained on in the last stage alone" in notice for notice in asked.notices)
    law = next(notice for notice in asked.notices if notice.startswith("one request costs 15 times less by tiers"))
    late = np.mean([int(line.split(",")[1]) for line in lines])
    last = 1 / (9 * (1 - late) + 1)
    found = [float(share) / 100 for share in re.findall(r"([0-9.]+)% with", law)]
    needed = [(1 - shards / 15) / (1 - last) for shards in (2, 4, 8, 12)]
    assert found == pytest.approx([share for share in needed if share <= 1][: len(found)], abs=0.02)
    assert found
    assert law.endswith("here 90.0% are")
    even = plan(rows, requests="20/month", tiers=file, stages="9,1", model="mlp")
    assert any("every tier asks as often as it has people" in notice for notice in even.notices)
    with refused(InvalidArgument, "`tier_shares` 0.5, 0.4 must be the share"):
        plan(rows, requests="20/month", tiers=file, tier_shares=[0.5, 0.4])


def route_like(name: str, kind: str, mean: float, seconds: float | None = None, accuracy: float | None = None) -> Route:
    return Route(
        name=name, kind=kind, unit="example-steps", cost=Outlay(mean=mean, high=mean, worst=100), retraining=100,
        seconds=None if seconds is None else Outlay(mean=seconds, high=seconds, worst=seconds), states=int(1000 / mean),
        retraining_seconds=100.0, accuracy=accuracy, train=name,
    )  # fmt: skip


def test_which_route_is_taken(refused: Refused) -> None:
    plain, few, many = (route_like(name, kind, mean) for name, kind, mean in
                        (("mlp", "plain", 100), ("few", "replay", 6), ("many", "replay", 2)))  # fmt: skip
    assert (advised([plain, many, few], None).route, advised([plain, many, few], None).meets) == ("few", True)
    assert (advised([plain, route_like("ten", "replay", 10)], None).route) == "ten"
    assert not advised([plain, route_like("ten", "replay", 10)], None).meets
    timed = [
        route_like("mlp", "plain", 100, 100.0, 0.90), route_like("sums", "accumulated", 5, 1.0, 0.895),
        route_like("fast", "replay", 1, 0.1, 0.85),
    ]  # fmt: skip
    assert advised(timed, None).route == "sums"
    assert advised(timed, 0.84).route == "fast"
    assert advised(timed, 0.899).route == "mlp"
    with refused(InvalidArgument, "`floor` 0.95 is met by no route: the nearest is mlp with 0.9"):
        advised(timed, 0.95)


def test_the_same_words_give_the_same_plan(rows: Dataset) -> None:
    once, again = (plan(rows, requests="9/week", window="7d", epochs=1) for _ in range(2))
    assert isinstance(once, PlanFile)
    assert once == again
    assert expunge.plan is plan


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=values, y=(values[:, 0] > 0).astype(np.int64))
    code = "import sys\nfrom expunge.cli.main import main\nsys.argv = ['expunge', 'plan', sys.argv[1], '--requests', "
    code += "'20/month', '--window', '7d', '--out', sys.argv[2]]\ntry:\n    main()\nexcept SystemExit as stop:\n"
    code += "    assert not stop.code\nassert not {'torch', 'scipy', 'sklearn', 'pyarrow'} & set(sys.modules)"
    page = tmp_path / "plan.html"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "data.npz"), str(page)], check=True, timeout=280)
    assert "<svg" in page.read_text(encoding="utf-8")
