"""The store: what stands in it is whole, found by its key, and made by one process at a time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.study.jobs import DATA, JOBS, job

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.records.form import from_plain, to_plain
from expunge.study.job import Job, JobMeans
from expunge.study.store import Entry, JobOutcome, Store

PINNED = (  # by JOBS: the key, and SHA-256 of the line that a worker is given
    (
        "9307d4a988b30a546b5100307829f978fd2188e75e544f7a46d28b36440fde22",
        "385821f610948625a2ca8022e40ee19e28ea197ee470b906a6ec55529da9104a",
    ),
    (
        "83caa5329a4fbbae90fcf7f3bb17f270272d4d1906d318c6591a96e9a029d5f4",
        "055f8d79c962648ef179a20a583a3f9a034d1cdd4b86a5c2266912603561fa84",
    ),
    (
        "4f8cbf83b480946da5d4860e3f8021f4fee86b040a501e2533ed825adb9b0785",
        "9d19788d6924e9b73f6e3823672029bf646835007a6b1b5ec587fd2b7514918f",
    ),
    (
        "a6d870d2671be2a9fb307c6dfc820cac0c2d4dedfdbc9e909b1aae6584e433b5",
        "5b7f90b4f3333d68688bf2e15504df0ac34f6ee0ae36a34ceea6d0f81f774948",
    ),
    (
        "bba4b053b01d697adff2ff4017f5eab102b116ff7c1181cc18901f15de17acf0",
        "064151570b59f7840531723dff7fd4ee789bdc27377c3268f551d832cbd3f262",
    ),
    (
        "668f9fdd466c735e052b722b989655717604b7c1825d27f8a78e20ef0be74ae7",
        "fd9f0d88f7629c538968f44d5d7a5dbe4e1df0a4a803e5f7f4b3224706cbbb46",
    ),
    (
        "773755b41a08338ca7acba7347f216c27f37ddd40bfc968cb99b2e243fb480e4",
        "0d964be7b76171610cd132104711929bc9c3a9293e1a32a83c9011e7c1cf0ef5",
    ),
)


def entry(key: str, outcome: JobOutcome = JobOutcome.DONE) -> Entry:
    return Entry(key=key, work="train", title="train", outcome=outcome, digest="d", seconds=1.5)


def test_the_key_is_of_what_decides_and_of_nothing_else() -> None:
    one = job(title="a", seed=1, inputs={"original": ("k",)})
    elsewhere = JobMeans(data=replace(DATA, source={"location": "there"}))
    assert one.key == replace(one, title="b", means=elsewhere).key
    others = [
        job(title="a", seed=2, inputs={"original": ("k",)}),
        job(title="a", seed=1, inputs={"original": ("l",)}),
        job(title="a", seed=1, inputs={"parent": ("k",)}),
        job(title="a", seed=1, inputs={"original": ("k",)}, work="tune"),
        *JOBS,
    ]
    assert len({one.key, *(other.key for other in others)}) == 5 + len(JOBS)


def test_the_key_is_pinned() -> None:
    """Another key for the same job would lose everything that is computed."""
    told = b'{"format":"expunge/job/1","inputs":{},"spec":{"rate":"0x1.0000000000000p-1","seed":1},"work":"train"}'
    assert job(seed=1, rate=0.5).key == hashlib.sha256(told).hexdigest()


@pytest.mark.parametrize(("one", "pinned"), [*zip(JOBS, PINNED, strict=True)])
def test_key_and_line_of_every_kind_are_pinned(one: Job, pinned: tuple[str, str]) -> None:
    """What may be missing is null where it always stood, and left out where it never did."""
    line = hashlib.sha256(json.dumps(to_plain(one)).encode()).hexdigest()
    assert (one.key, line) == pinned


@pytest.mark.parametrize("one", JOBS)
def test_a_job_reads_the_same_elsewhere(one: Job) -> None:
    again = from_plain(Job, json.loads(json.dumps(to_plain(one))), "a job")
    assert (again, again.key, again.needs) == (one, one.key, one.needs)
    with pytest.raises(DataError, match="work holds 'guess' where one of train, tune, unlearn, evaluate, score is"):
        from_plain(Job, {**to_plain(one), "work": "guess"}, "a job")


def test_an_entry_is_there_once_it_is_noted(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    key = job(seed=1).key
    assert store.entry(key) is None
    store.keep(entry(key))
    assert Store(tmp_path / "store").entry(key) == entry(key)
    assert [found.key for found in store.entries()] == [key]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"not json", b'{"format": "expunge/entry/1"}', b"[1]", b'{"format": "expunge/entry/9"}']
)
def test_a_damaged_note_counts_as_none(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path / "store")
    key = job(seed=1).key
    store.keep(entry(key))
    (store.place(key) / "entry.json").write_bytes(content)
    assert store.entry(key) is None


def test_a_note_in_the_wrong_place_counts_as_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one, other = job(seed=1).key, job(seed=2).key
    store.keep(entry(one))
    store.place(other).mkdir(parents=True)
    (store.place(other) / "entry.json").write_bytes((store.place(one) / "entry.json").read_bytes())
    assert store.entry(other) is None


def test_a_folder_of_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InvalidArgument, match="is not empty and not a store: choose another folder"):
        Store(tmp_path)
    with pytest.raises(InvalidArgument, match="is not empty and not a store"):
        Store(tmp_path / "mine.txt")


def test_many_may_begin_with_one_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".store.json.part").write_text("half")  # a process was killed here once
    failed: list[BaseException] = []

    def begin() -> None:
        try:
            Store(tmp_path / "store")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one too many
            failed.append(error)

    for _ in range(20):
        (tmp_path / "store" / "store.json").unlink(missing_ok=True)
        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert (tmp_path / "store" / "store.json").is_file()


def test_a_failure_does_not_undo_what_another_has_done(tmp_path: Path) -> None:
    store, key = Store(tmp_path / "store"), job(seed=1).key
    failure = entry(key, JobOutcome.FAILED)
    store.keep(entry(key))
    assert store.keep_failure(failure) == entry(key)
    assert store.entry(key) == entry(key)
    store.discard(key)
    with store.claim(job(seed=1)):  # somebody is at it
        assert store.keep_failure(failure) == failure
        assert store.entry(key) is None
    assert store.keep_failure(failure) == failure
    assert store.entry(key) == failure


def test_a_disk_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store")

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("expunge.study.store.fcntl.flock", no_locks)
    with pytest.raises(RunError, match=r"No locks available.*keep the store on a disk that can"), store.claim(job()):
        pass


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store.json").write_text('{"format": "expunge/store/99"}')
    with pytest.raises(RunError, match="not 'expunge/store/1': another version wrote it; choose another `store`"):
        Store(tmp_path)


def test_a_claim_waits_for_another_process(tmp_path: Path) -> None:
    store, wanted = Store(tmp_path / "store"), job(seed=1)
    code = (
        "import sys\nfrom pathlib import Path\nfrom expunge.study.store import Store\n"
        "from expunge.study.job import AnyJob\n"
        f"store = Store(Path({str(tmp_path / 'store')!r}))\n"
        "with store.claim(AnyJob(work='train', title='', spec={'seed': 1}, means=None)):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    mine = threading.Event()

    def claim() -> None:
        with store.claim(wanted):
            mine.set()

    waiting = threading.Thread(target=claim)
    waiting.start()
    assert not mine.wait(0.3)
    with store.claim(job(seed=2)):  # another job is free meanwhile
        pass
    other.stdin.close()
    assert mine.wait(30)
    waiting.join()
    other.wait()
    other.stdout.close()
