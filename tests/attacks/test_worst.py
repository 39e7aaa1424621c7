"""``worst``: what it writes, what it refuses, and that nothing of it depends on when or how often it is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file
from tests.conftest import Refused

import expunge
from expunge.attacks.worst import make_chooser, worst
from expunge.attacks.worst_heuristics import EarlyError
from expunge.attacks.worst_hidden import Hidden, Start
from expunge.core.errors import InvalidArgument, RunError, UnsupportedEver, UnsupportedYet
from expunge.core.selection.ranking import overlap
from expunge.core.values import Undecided
from expunge.data.forget_set import ForgetSet, read_forget_set
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.selection import Selection
from expunge.tasks import TASKS
from expunge.tasks.task import Task
from expunge.train.adopt import adopt
from expunge.train.run import Run
from expunge.train.training import train

QUICK = Hidden(steps=2, epochs=1)


def chosen(found: ForgetSet) -> Selection:
    assert found.selection is not None
    return found.selection


def test_a_file_that_every_command_takes(narrow_run: Run, pictures: Any, tmp_path: Path) -> None:
    before = narrow_run.weights_digest
    found = worst(narrow_run, size="10%", out=tmp_path / "hidden.json", data=pictures)
    told = chosen(found)
    assert Run.open(narrow_run.path).weights_digest == before
    assert len(found) == told.origin.size == 12
    assert told.label is None
    assert told.cost <= 12 * told.rows == 12 * 120
    assert told.value <= 0.5 * np.mean(told.random)
    assert sum(told.classes.values()) == 12
    assert told.overlaps.names == ("hidden", "random", "loss low", "loss high", "moderate high", "distant")
    shares = np.array(told.overlaps.shares)
    np.testing.assert_array_equal(shares, shares.T)
    assert shares.diagonal().tolist() == [1.0] * 6
    assert read_forget_set((tmp_path / "hidden.json").read_bytes()).file == found.file
    forgot = unlearn(narrow_run, str(tmp_path / "hidden.json"), method="retrain", out=tmp_path / "a", data=pictures)
    handed = unlearn(narrow_run, found, method="retrain", out=tmp_path / "b", data=pictures)
    assert forgot.tombstones.tolist() == found.slots.tolist()
    assert forgot.weights_digest == handed.weights_digest != before
    assert "selection" not in json.loads((forgot.path / "forget.json").read_text())
    assert expunge.worst is worst
    assert set(expunge.ATTACKS) == {"hidden", "distant", "loss", "el2n", "moderate"}


def test_the_same_bytes_after_a_kill_and_nothing_again_once_done(
    narrow_run: Run, pictures: Any, tmp_path: Path
) -> None:
    def killed(done: int, total: int) -> None:
        if 2 * done > total:
            raise KeyboardInterrupt

    out, whole = tmp_path / "set.json", tmp_path / "whole.json"
    with pytest.raises(KeyboardInterrupt):
        worst(narrow_run, size=12, objective=QUICK, out=out, data=pictures, progress=killed)
    assert not list(tmp_path.iterdir())
    worst(narrow_run, size=12, objective=QUICK, out=whole, data=pictures)
    seen: list[tuple[int, int]] = []
    worst(narrow_run, size="10%", objective=QUICK, out=out, data=pictures, progress=lambda *told: seen.append(told))
    assert out.read_bytes() == whole.read_bytes()
    assert seen[-1][0] == seen[-1][1]
    again = worst(narrow_run, size=12, objective=QUICK, out=out, data=pictures, progress=killed)
    assert again.file == read_forget_set(whole.read_bytes()).file
    other = worst(narrow_run, size=12, objective=QUICK, out=tmp_path / "other.json", data=pictures, seed=1)
    assert chosen(other).origin != chosen(again).origin


def test_no_class_gives_more_than_its_cap(narrow_run: Run, pictures: Any, tmp_path: Path) -> None:
    for name in ("hidden", "distant", "loss"):
        chooser = QUICK if name == "hidden" else name
        free = worst(narrow_run, size=12, objective=chooser, out=tmp_path / f"{name}.json", data=pictures)
        capped = worst(
            narrow_run, size=12, objective=chooser, out=tmp_path / f"{name}-2.json", data=pictures, cap_per_class=0.11
        )
        most = np.floor(0.11 * np.bincount(narrow_run.data(pictures)[Split.TRAIN].labels))
        counts = np.array(list(chosen(capped).classes.values()))
        assert (counts <= most).all()
        assert counts.sum() == 12
        assert (np.array(list(chosen(free).classes.values())) > most).any()


def test_a_start_that_holds_the_search_is_undecided(narrow_run: Run, pictures: Any, tmp_path: Path) -> None:
    settings = replace(QUICK, start=Start.MASK)
    found = chosen(worst(narrow_run, size=12, objective=settings, out=tmp_path / "mask.json", data=pictures))
    assert found.guards.start is not None
    assert found.guards.start > found.guards.chance + 0.2
    assert found.label == Undecided("the optimiser did not move")


def test_selections_by_one_rule_must_agree(narrow_run: Run, pictures: Any, tmp_path: Path) -> None:
    first = worst(narrow_run, size=12, objective=QUICK, out=tmp_path / "first.json", data=pictures)
    for name, slots, agree in (("same", first.slots, True), ("other", np.setdiff1d(np.arange(24), first.slots), False)):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({**json.loads((tmp_path / "first.json").read_text()), "slots": slots.tolist()}))
        found = chosen(
            worst(
                narrow_run,
                size=12,
                objective=QUICK,
                out=tmp_path / f"{name}-2.json",
                data=pictures,
                beside=[file],
                seed=1,
            )
        )
        assert found.guards.agreement == pytest.approx(
            overlap(slots, read_forget_set((tmp_path / f"{name}-2.json").read_bytes()).slots)
        )
        assert (found.guards.agreement >= 0.6) == agree == (found.label is None)
        assert found.overlaps.names[-1] == f"file {name}"


def test_whole_classes(narrow_run: Run, pictures: Any, tmp_path: Path) -> None:
    found = worst(narrow_run, size=1, by="class", objective=QUICK, out=tmp_path / "class.json", data=pictures)
    told = chosen(found)
    assert sorted(told.classes.values())[:2] == [0, 0]
    assert len(found) == max(told.classes.values())
    assert told.guards.chance == pytest.approx(1 / 3)


@pytest.fixture(scope="module")
def others(pictures: Any, narrow_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs on which sets cannot be chosen, or not by every rule."""
    place = tmp_path_factory.mktemp("others")
    save_file(
        {name: value for name, value in narrow_run.model().body.state_dict().items()}, place / "model.safetensors"
    )
    rows = (pictures.content["image"], np.array(pictures.labels))
    return {
        "forgot": unlearn(narrow_run, "random:5:1", method="fine-tune", out=place / "forgot", data=pictures),
        "sharded": train(pictures, out=place / "sharded", model="mlp", epochs=1, shards=2),
        "adopted": adopt(
            place / "model.safetensors",
            rows,
            model="mlp",
            model_options={"width": 16},
            scale=1 / 255,
            out=place / "adopted",
        ),
    }


def test_an_adopted_model_has_no_beginning(
    others: dict[str, Run], pictures: Any, tmp_path: Path, refused: Refused
) -> None:
    rows = (pictures.content["image"], np.array(pictures.labels))
    for name in ("hidden", "distant", "moderate"):
        found = worst(others["adopted"], size=9, objective=name, out=tmp_path / f"{name}.json", data=rows)
        assert len(found) == 9
    for given in ({"objective": "el2n"}, {"heuristic": ["el2n"]}):
        with refused(UnsupportedEver, "trained elsewhere", "`heuristic` loss or moderate"):
            worst(others["adopted"], size=9, out=tmp_path / "x.json", data=rows, **given)


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"size": 0}, InvalidArgument, "`size` 0 would choose none of 120 rows: ask for 1 to 119"),
        ({"size": "0%"}, InvalidArgument, "`size` 0% would choose none of 120 rows"),
        ({"size": "100%"}, InvalidArgument, "`size` 100% would choose all or more of 120 rows"),
        ({"size": 500}, InvalidArgument, "`size` 500 would choose all or more"),
        ({"size": "1.5"}, InvalidArgument, "`size` '1.5' must be a share such as 10%"),
        ({"size": "some"}, InvalidArgument, "`size` 'some' must be a share"),
        ({"by": "class", "size": 3}, InvalidArgument, "`size` 3 would choose all or more of 3 classes: ask for 1 to 2"),
        ({"by": "class", "size": 9}, InvalidArgument, "all or more of 3 classes"),
        ({"by": "person"}, InvalidArgument, "`by` 'person' is not one of row, class"),
        (
            {"by": "class", "size": 1, "objective": "distant"},
            UnsupportedEver,
            "all classes are as distant; choose hidden",
        ),
        ({"by": "class", "size": 1, "cap_per_class": 0.2}, InvalidArgument, "`cap_per_class` with `by` class"),
        ({"cap_per_class": 1.0}, InvalidArgument, "`cap_per_class` 1 must be a share above 0 and below 1"),
        ({"cap_per_class": 0.03}, InvalidArgument, "rows in all, `size` asks for 12: raise the cap"),
        (
            {"objective": "lira"},
            InvalidArgument,
            "'lira' chooses no set: known are hidden, distant, loss, el2n, moderate",
        ),
        ({"heuristic": ["distant"]}, InvalidArgument, "`heuristic` distant is an objective and no heuristic"),
        ({"heuristic": "el2n"}, InvalidArgument, "a list of names"),
        ({"beside": "a.json"}, InvalidArgument, "a list of files"),
        ({"seed": -1}, InvalidArgument, "seed -1 of a selection"),
        ({"out": "set.txt"}, InvalidArgument, "must be a .json file outside the folder of a run"),
        ({"out": "RUN/worst.json"}, InvalidArgument, "must be a .json file outside the folder of a run"),
        ({"out": "taken.json"}, RunError, "exists and is no forget set: choose another `out`"),
        ({"out": "saved.json"}, RunError, "holds another forget set: choose another `out`, or remove that file"),
        ({"beside": ["foreign.json"]}, InvalidArgument, "lay sets of the same rows `beside`"),
        ({"run": "forgot"}, InvalidArgument, "forgot 5 rows already: sets are chosen on the training"),
        ({"run": "sharded"}, UnsupportedYet, "has 2 shards, whose answers are averaged"),
        (
            {"objective": Hidden(steps=1, epochs=1, start=Start.MASK, rate=0.01)},
            InvalidArgument,
            "so that the random start would come out as it went in; start even, or leave `rate` out",
        ),
    ],
)
def test_refusals(
    given: dict[str, Any],
    kind: type[Exception],
    said: str,
    narrow_run: Run,
    others: dict[str, Run],
    pictures: Any,
    tmp_path: Path,
    refused: Refused,
) -> None:
    (tmp_path / "taken.json").write_text("{}")
    set_of = {"slots": [1, 2], "root": narrow_run.root.hex(), "format": "expunge/forget-set/1"}
    (tmp_path / "saved.json").write_text(json.dumps(set_of))
    (tmp_path / "foreign.json").write_text(json.dumps({**set_of, "root": "0" * 64}))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    given = {"run": narrow_run, "size": 12, "out": "out.json", "objective": "loss", "data": pictures, **given}
    run = given.pop("run")
    run = others[run] if isinstance(run, str) else run
    given["out"] = tmp_path / given["out"].replace("RUN", str(narrow_run.path))
    if isinstance(given.get("beside"), list):
        given["beside"] = [tmp_path / name for name in given["beside"]]
    with refused(kind, said):
        worst(run, **given)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_labels_that_are_no_classes(
    narrow_run: Run, pictures: Any, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Measured(Task):
        """A task whose labels are measured."""

    monkeypatch.setattr(Measured, "__abstractmethods__", frozenset())
    monkeypatch.setitem(TASKS, "classification", Measured())
    with refused(UnsupportedYet, "learns the task 'classification', whose labels are no classes"):
        worst(narrow_run, size=12, out=tmp_path / "x.json", data=pictures)


def test_a_rule_by_name_and_fields(refused: Refused) -> None:
    assert make_chooser("hidden", {"start": "mask", "rate": "0.5", "ascent": "true"}) == Hidden(
        start=Start.MASK, rate=0.5, ascent=True
    )
    assert make_chooser("el2n", {"end": "high", "trainings": "1"}).label == "el2n high"
    assert EarlyError().told.fields == {"end": "low", "share": 0.1, "trainings": 3}
    with refused(InvalidArgument, "selection 'hidden' has no field 'end'", "ascent, epochs, pull"):
        make_chooser("hidden", {"end": "low"})
    with refused(InvalidArgument, "distant proxy 'oracle' is not one of ridge, lira"):
        make_chooser("distant", {"proxy": "oracle"})
