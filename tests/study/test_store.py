"""The store: what stands in it is whole, found by its key, and made by one process at a time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from expunge.core.errors import InvalidArgument, RunError
from expunge.records.form import from_plain, to_plain
from expunge.study.job import Job, Work
from expunge.study.store import Entry, Outcome, Store


def job(**spec: object) -> Job:
    return Job(work=Work.TRAIN, title="train", spec=spec)


def entry(key: str, outcome: Outcome = Outcome.DONE) -> Entry:
    return Entry(key=key, work="train", title="train", outcome=outcome, digest="d", seconds=1.5)


def test_the_key_is_of_what_decides_and_of_nothing_else() -> None:
    one = Job(work=Work.TRAIN, title="a", spec={"seed": 1}, inputs={"original": ("k",)}, means={"data": "here"})
    assert one.key == Job(work=Work.TRAIN, title="b", spec={"seed": 1}, inputs={"original": ("k",)}).key
    others = [
        Job(work=Work.TRAIN, title="a", spec={"seed": 2}, inputs={"original": ("k",)}),
        Job(work=Work.TRAIN, title="a", spec={"seed": 1}, inputs={"original": ("l",)}),
        Job(work=Work.TRAIN, title="a", spec={"seed": 1}, inputs={"parent": ("k",)}),
        Job(work=Work.TUNE, title="a", spec={"seed": 1}, inputs={"original": ("k",)}),
    ]
    assert len({one.key, *(other.key for other in others)}) == 5


def test_the_key_is_pinned() -> None:
    """Another key for the same job would lose everything that is computed."""
    told = b'{"format":"expunge/job/1","inputs":{},"spec":{"rate":"0x1.0000000000000p-1","seed":1},"work":"train"}'
    assert job(seed=1, rate=0.5).key == hashlib.sha256(told).hexdigest()


def test_a_job_reads_the_same_elsewhere() -> None:
    one = Job(work=Work.TUNE, title="a", spec={"x": 0.1}, inputs={"twins": ("k", "l")}, means={"slots": [1, 2]})
    again = from_plain(Job, to_plain(one), "a job")
    assert again.key == one.key
    assert again.needs == ("k", "l")
    assert again.means == one.means


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
    failure = entry(key, Outcome.FAILED)
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
        "from expunge.study.job import Job, Work\n"
        f"store = Store(Path({str(tmp_path / 'store')!r}))\n"
        "with store.claim(Job(work=Work.TRAIN, title='', spec={'seed': 1})):\n"
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
