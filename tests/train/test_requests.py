"""Requests in the log of a run: who was to be forgotten, written once and never in the way of the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import run_json

from expunge.core.clock import is_utc_second, utc_now
from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.methods.lookup import METHODS
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.train.log import RunLog
from expunge.train.run import Run
from expunge.train.training import train

FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 4, "batch_size": 16}  # the recipe of `small_run`
NAMES = ("event", "initiator", "cases", "received", "slots", "receipts", "root", "model")


def only(run: Run) -> dict[str, Any]:
    (found,) = run.log.requests()
    return to_plain(found)


@pytest.mark.parametrize("method", ["exact-replay", "retrain", "fine-tune", "saliency-unlearning"])
def test_a_request_names_slots_data_and_model(method: str, small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    before = utc_now()
    run = unlearn(small_run, "subject:someone-02", method=method, out=tmp_path / "run", data=pictures)
    found = only(run)
    assert set(found) == set(NAMES)
    assert before <= found.pop("received") <= utc_now()
    assert found == {
        "event": "request",
        "initiator": "owner",
        "cases": [],
        "slots": run.forget_set.slots.tolist(),
        "receipts": [],
        "root": small_run.root.hex(),
        "model": small_run.weights_digest,
    }
    first = json.loads((run.path / "log.jsonl").read_text().splitlines()[0])
    assert first["event"] == "request", "it was there before the first step"
    assert is_utc_second(first["received"])


def test_only_what_is_new_is_requested(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    first = unlearn(small_run, "subject:someone-02", out=tmp_path / "first", data=pictures)
    second = unlearn(first, "subject:someone-03", out=tmp_path / "second", data=pictures)
    assert only(second)["model"] == first.weights_digest
    assert set(only(second)["slots"]) == set(run_json(second)["tombstones"]) - set(run_json(first)["tombstones"])
    assert small_run.log.requests() == []


def test_a_case_makes_it_a_persons_request_and_is_never_lost(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    def forget(*cases: str, out: str = "run") -> Run:
        return unlearn(small_run, "subject:someone-02", out=tmp_path / out, data=pictures, cases=cases)

    run = forget("case-7", "case-9")
    assert (only(run)["initiator"], only(run)["cases"]) == ("person", ["case-7", "case-9"])
    assert only(forget("case-7")) == only(forget()) == only(run)
    with pytest.raises(RunError, match="was asked for by case-7, case-9, not by case 'case-8': leave `cases` out"):
        forget("case-8")
    forget(out="own")
    with pytest.raises(RunError, match="was asked for by the owner, not by case 'case-8'"):
        forget("case-8", out="own")
    with pytest.raises(InvalidArgument, match=r"case 'two\\nlines' must be 1 to 200 printable characters"):
        forget("two\nlines", out="third")
    for blank in ("", "  "):
        with pytest.raises(InvalidArgument, match="not blanks alone: leave it out where the owner asks"):
            forget("case-7", blank, out="third")
    assert not (tmp_path / "third").exists()


def test_training_without_somebody_asks_no_model(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", without="subject:someone-02", **FIELDS)
    found = only(run)
    assert found["model"] is None
    assert (found["slots"], found["root"]) == (run.tombstones.tolist(), run.root.hex())
    assert train(pictures, out=tmp_path / "run", without="subject:someone-02", **FIELDS).log.requests() == [
        run.log.requests()[0]
    ]


@pytest.mark.parametrize("method", [None, "exact-replay", "retrain", "fine-tune"])
def test_it_is_written_once_over_interruptions(
    method: str | None, small_run: Run, pictures: Dataset, tmp_path: Path
) -> None:
    calls = 0

    def stop(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 5):
            raise KeyboardInterrupt

    def begin(progress: Any) -> Run:
        if method is None:
            return train(pictures, out=tmp_path / "run", without="class:1", progress=progress, **FIELDS)
        chosen: dict[str, Any] = {"method": method, "checkpoint_interval": 2, "progress": progress}
        if method == "fine-tune":
            chosen["budget"] = 1.0
        return unlearn(small_run, "class:1", out=tmp_path / "run", data=pictures, **chosen)

    received = set()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            begin(stop)
        received.add(only(Run.open_any(tmp_path / "run"))["received"])
    run = begin(None)
    assert {only(run)["received"]} == received
    assert only(begin(None)) == only(run), "a finished run is handed back as it is"


def test_a_line_that_was_cut_short_is_written_again(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    run = unlearn(small_run, "class:1", method="retrain", out=tmp_path / "run", data=pictures)
    lines = (run.path / "log.jsonl").read_bytes().splitlines(keepends=True)
    for half in (b"", lines[0][:40], lines[0][:-1]):
        folder = tmp_path / f"cut-{len(half)}"
        folder.mkdir()
        (folder / "log.jsonl").write_bytes(half)
        log = RunLog(folder / "log.jsonl")
        assert log.requests() == []
        for _ in range(2):
            log.add_request(slots=[3, 5], root="00" * 32, model=None)
            log = RunLog(folder / "log.jsonl")
        (found,) = log.requests()
        assert found.slots == (3, 5)


def test_the_clock_has_no_part_in_the_weights(
    small_run: Run, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expunge.train import log as module

    digests = set()
    for number, second in enumerate(("2026-01-31T12:00:00Z", "2031-01-31T12:00:00Z")):
        monkeypatch.setattr(module, "utc_now", lambda second=second: second)
        run = unlearn(small_run, "class:1", out=tmp_path / f"run-{number}", data=pictures)
        assert only(run)["received"] == second
        digests.add((run.weights_digest, tuple(item.digest for item in run.log.checkpoints(0))))
    assert len(digests) == 1


def test_there_are_methods_of_every_kind_above() -> None:
    names = {method.name for method in METHODS}
    assert {"exact-replay", "retrain", "fine-tune", "saliency-unlearning"} <= names


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("parent", 3),
        ("forget", 3),
        ("method", 3),
        ("out", 3),
        ("budget", "half"),
        ("seed", "x"),
        ("checkpoint_interval", "x"),
        ("checkpoint_interval", 0),
        ("cases", "CASE-1"),
    ],
)
def test_a_value_of_another_kind_is_one_sentence(name: str, value: Any, small_run: Run, tmp_path: Path) -> None:
    given: dict[str, Any] = {"parent": small_run, "forget": "class:1", "out": tmp_path / "forgot", name: value}
    with pytest.raises(InvalidArgument, match=f"^`{name}` .* must be "):
        unlearn(**given)
    assert not (tmp_path / "forgot").exists()
