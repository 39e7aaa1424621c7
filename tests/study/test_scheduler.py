"""The scheduler on an engine that only pretends: order, what is left out, what is done again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.study import jobs as jobs_without

from expunge.study.engine import Ended, Engine, Moved
from expunge.study.job import Job
from expunge.study.progress import StudyStanding, Watch
from expunge.study.scheduler import Outcomes, carry_out_jobs, known_outcomes
from expunge.study.store import Entry, JobOutcome, Store


class Pretended(Engine):
    """Ends jobs in the order of their titles, each as ``ends`` says."""

    name = "pretended"

    def __init__(self, store: Store, places: int, ends: Mapping[str, JobOutcome]) -> None:
        self.store, self._places, self.ends = store, places, ends
        self.submitted: list[str] = []
        self.running: list[Job] = []
        self.most = 0

    @property
    def places(self) -> int:
        return self._places

    def submit(self, job: Job) -> None:
        self.submitted.append(job.title)
        self.running.append(job)
        self.most = max(self.most, len(self.running))

    def wait(self, seconds: float) -> list[Ended | Moved]:
        self.running.sort(key=lambda job: job.title)
        job = self.running.pop(0)
        outcome = self.ends.get(job.title, JobOutcome.DONE)
        entry = Entry(
            key=job.key,
            work=job.work,
            title=job.title,
            outcome=outcome,
            reason="" if outcome is JobOutcome.DONE else "because",
            digest=job.key[:8],
        )
        self.store.keep(entry)
        return [Moved(job.key, 1, 2), Ended(entry, "here")]

    def close(self) -> None:
        pass


def job(title: str, *needs: Job) -> Job:
    return jobs_without.job(title=title, inputs={"original": tuple(need.key for need in needs)}, called=title)


def run(
    jobs: Sequence[Job], tmp_path: Path, places: int = 2, ends: Mapping[str, JobOutcome] | None = None
) -> tuple[Pretended, Outcomes, list[str]]:
    store, lines = Store(tmp_path / "store"), list[str]()
    engine = Pretended(store, places, ends or {})
    outcomes = carry_out_jobs(jobs, store, engine, Watch(places, say=lines.append))
    return engine, outcomes, lines


def chain() -> list[Job]:
    a = job("a")
    b, c = job("b", a), job("c", a)
    return [a, b, c, job("d", b, c), job("e")]


def test_inputs_come_first_and_everything_is_done(tmp_path: Path) -> None:
    engine, outcomes, _ = run(chain(), tmp_path)
    assert engine.submitted == ["a", "e", "b", "c", "d"]
    assert engine.most == 2
    assert {entry.outcome for entry in outcomes.entries.values()} == {JobOutcome.DONE}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sets(st.integers(0, 30), max_size=3), min_size=1, max_size=14),
    st.integers(1, 5),
    st.sets(st.integers(0, 13)),
)
def test_whatever_the_graph(
    tmp_path_factory: pytest.TempPathFactory, edges: list[set[int]], places: int, bad: set[int]
) -> None:
    jobs: list[Job] = []
    for index, wanted in enumerate(edges):
        jobs.append(job(f"{index:02d}", *(jobs[at] for at in sorted({w % index for w in wanted} if index else ()))))
    ends = {jobs[at].title: JobOutcome.REFUSED for at in bad if at < len(jobs)}
    engine, outcomes, _ = run(jobs, tmp_path_factory.mktemp("graph"), places, ends)
    spoilt = set[str]()  # the slow twin: what hangs on a refused job, by walking down
    for one in jobs:
        if any(key in spoilt for key in one.needs) or one.title in ends:
            spoilt.add(one.key)
    for one in jobs:
        hangs = any(key in spoilt for key in one.needs)
        assert (one.key in outcomes.left_out) == hangs
        assert (one.key in outcomes.entries) == (not hangs)
    assert sorted(engine.submitted) == sorted(one.title for one in jobs if one.key not in outcomes.left_out)
    assert engine.most <= places
    place = {title: at for at, title in enumerate(engine.submitted)}
    by_key = {one.key: one for one in jobs}
    for one in jobs:
        if one.title in place:
            assert all(place[by_key[key].title] < place[one.title] for key in one.needs)


def test_a_failure_leaves_out_what_hangs_on_it_and_nothing_else(tmp_path: Path) -> None:
    jobs = chain()
    engine, outcomes, lines = run(jobs, tmp_path, ends={"b": JobOutcome.FAILED})
    assert "d" not in engine.submitted
    assert {"c", "e"} <= set(engine.submitted)
    assert outcomes.left_out == {jobs[3].key: "b: because"}
    assert "failed: b: because (here)" in lines
    assert lines[-1] == "3 of 5 done, 1 failed, 1 left out, 0 running"


def test_what_failed_is_tried_again_and_what_was_done_or_refused_is_not(tmp_path: Path) -> None:
    run(chain(), tmp_path, ends={"b": JobOutcome.FAILED, "e": JobOutcome.REFUSED})
    engine, outcomes, lines = run(chain(), tmp_path)
    assert engine.submitted == ["b", "d"]
    assert outcomes.reused == 3
    assert lines[0].startswith("2 of 5 done, 2 of them before, 1 refused")
    again, outcomes, _ = run(chain(), tmp_path)
    assert again.submitted == []
    assert len(outcomes.entries) == 5


def test_what_was_refused_before_stops_what_hangs_on_it_now(tmp_path: Path) -> None:
    a = job("a")
    run([a], tmp_path, ends={"a": JobOutcome.REFUSED})
    engine, outcomes, _ = run([a, job("b", a)], tmp_path)
    assert engine.submitted == []
    assert list(outcomes.left_out.values()) == ["a: because"]


def test_drawing_begins_nothing(tmp_path: Path) -> None:
    run(chain()[:2], tmp_path)
    found = known_outcomes(chain(), Store(tmp_path / "store"))
    assert len(found.entries) == 2
    assert not found.left_out


def test_the_standing_tells_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("expunge.study.progress.time.monotonic", lambda: now)
    shown: list[StudyStanding] = []
    jobs = [job(name) for name in "abcdefg"]
    watch = Watch(2, show=shown.append)
    watch.begin(jobs, {})
    assert watch.standing().left is None
    for one in jobs[:2]:
        watch.started(one)
    now = 110.0
    done = Entry(key=jobs[0].key, work="train", title="a", outcome=JobOutcome.DONE, seconds=10.0)
    watch.ended(Ended(done, "here"))
    watch.started(jobs[2])
    watch.moved(Moved(jobs[1].key, 1, 4))
    # b: a quarter in 10 s, so 30 s more; c has just begun; d to g have not: 10 s each; two at once
    assert watch.standing().left == pytest.approx((30 + 10 + 40) / 2)
    standing = watch.standing()
    assert standing.running == ("b, 25%", "c")
    assert (standing.total, standing.done, standing.waiting) == (7, 1, 4)
    line = standing.line(datetime(2026, 1, 2, 10, 0, 0))
    assert line == "1 of 7 done, 2 running (b, 25%), end expected 10:00:40"
    assert standing.line(datetime(2026, 1, 2, 23, 59, 50)).endswith("2026-01-03 00:00")


def test_the_standing_is_kept_in_a_file(tmp_path: Path) -> None:
    import json

    store = Store(tmp_path / "store")
    carry_out_jobs(chain(), store, Pretended(store, 2, {}), Watch(2, tmp_path))
    told = json.loads((tmp_path / "progress.json").read_text())
    assert (told["total"], told["done"], told["waiting"], told["running"]) == (5, 5, 0, [])


def test_a_log_has_a_standing_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expunge.study.progress.EVERY_SECONDS", 0.0)
    jobs, lines = [job(f"job {number}") for number in range(40)], list[str]()
    watch = Watch(1, say=lines.append)
    watch.begin(jobs, {})
    for one in jobs:
        watch.left_out(one)
        watch.draw()
    watch.finished()
    told = [line.split(",")[1].split()[0] if "left out" in line else "0" for line in lines]
    assert told == ["0", *(str(4 * tenth) for tenth in range(1, 11)), "40"]
