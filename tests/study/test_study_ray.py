"""Studies on Ray: the same results, also when a node dies, a worker dies, or another engine began."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tests.conftest import run_json
from tests.golden.product import GOLDEN
from tests.study.jobs import TUNE

import expunge
from expunge.core.errors import InvalidArgument, NotInstalled, RunError
from expunge.core.hashing import plain_json
from expunge.data.dataset import Dataset
from expunge.measure.evaluate import evaluate
from expunge.study import ray_cluster, ray_engine
from expunge.study.digests import digest_of
from expunge.study.engine import Ended, Engine
from expunge.study.grid import Grid, lay_out
from expunge.study.job import Job, Work
from expunge.study.local import LocalEngine
from expunge.study.packing import SentPart, file_entry, needed, pack, settle, unpack
from expunge.study.progress import Watch
from expunge.study.ray_engine import RayEngine
from expunge.study.ray_task import TaskOrder, carry_out_order, held_folder, sweep, variables
from expunge.study.scheduler import Outcomes, carry_out_jobs
from expunge.study.side_by_side import SideBySide
from expunge.study.store import Entry, JobOutcome, Store
from expunge.study.study_file import read_study
from expunge.study.training_job import software
from expunge.train.run import Run

HAS_RAY = find_spec("ray") is not None
on_ray = [
    pytest.mark.skipif(not HAS_RAY, reason="needs Ray: pip install 'expunge[cluster]'"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning:ray.*"),
]
SMALL = """
title = "Small"
seeds = [0, 1]
references = 2
methods = ["exact-replay", "fine-tune"]
[data.rows]
location = "LOCATION"
[training.net]
model = "planted_models:gated"
epochs = 2
batch_size = 8
checkpoint_interval = 5
[forget.random]
rules = "random:5%:1"
"""
FATAL = """
[training.fatal]
model = "planted_models:fatal"
epochs = 1
"""
# Two factories for workers to come upon: one waits on a node that is to be killed, one kills every worker. The
# process of the tests itself is spared.
MODELS = """
import os, sys, time
from pathlib import Path
from torch import nn

HERE = Path(__file__).parent


def gated(inputs, classes):
    if "ray" in sys.modules and os.getpid() != DRIVER:
        import ray

        if (HERE / f"armed-{ray.get_runtime_context().get_node_id()}").exists():  # what it opened would be told
            (HERE / "entered").touch()
            time.sleep(600)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, classes))


def fatal(inputs, classes):
    if os.getpid() != DRIVER:
        os._exit(7)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
"""


class Planted:
    """A folder with the data, the models, and a study of them that the driver has read."""

    def __init__(self, folder: Path, rows: Dataset) -> None:
        self.folder, self.data = folder, folder / "rows.npz"
        (folder / "planted_models.py").write_text(f"DRIVER = {os.getpid()}\n{MODELS}", encoding="utf-8")
        np.savez(self.data, x=rows.content["image"], y=rows.labels)
        self.grid = self.laid(SMALL)

    def laid(self, text: str) -> Grid:
        path = self.folder / "study.toml"
        path.write_text(text.replace("LOCATION", str(self.data)), encoding="utf-8")
        return lay_out(read_study(path))


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory, pictures: Dataset) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        yield Planted(folder, pictures)
        sys.modules.pop("planted_models", None)


class Nodes:
    """A head with one CPU, a second node with another, both processes on this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self.cluster.add_node(num_cpus=1)
        self.address: str = self.cluster.address

    def kill_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        found = Nodes()
        yield found
        found.cluster.shutdown()
        del found
        gc.collect()
        sweep()


def done_by(engine: Engine, grid: Grid, store: Store, watch: Watch | None = None) -> Outcomes:
    with engine:
        return carry_out_jobs(grid.jobs, store, engine, watch or Watch(engine.places))


def files(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return found - {".lock"}


def digests(store: Store) -> dict[str, tuple[JobOutcome, str]]:
    return {entry.key: (entry.outcome, entry.digest) for entry in store.entries()}


@pytest.fixture(scope="module")
def local(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same study in processes: what every other way of doing it must come to."""
    store = Store(tmp_path_factory.mktemp("local") / "store")
    done_by(LocalEngine(store, 2), planted.grid, store)
    found = digests(store)
    assert len(found) == len(planted.grid.jobs)
    assert {outcome for outcome, _ in found.values()} == {JobOutcome.DONE}
    return store


def lost() -> Any:
    """A reference to what Ray cannot find: whoever is sent it is told so."""
    import ray

    def lose() -> None:
        raise ray.exceptions.ObjectLostError("00" * 28, None, "")

    return ray.remote(lose).options(num_cpus=0, max_retries=0).remote()


def noting(start: Callable[..., None], titles: list[str]) -> Callable[..., None]:
    def noted(job: Job, attempts: int) -> None:
        titles.append(job.title)
        start(job, attempts)

    return noted


class TestOnTwoNodes:
    pytestmark = on_ray

    @pytest.fixture(autouse=True)
    def leave(self) -> Iterator[None]:
        """A test that fails half-way takes no other with it."""
        yield
        import ray

        ray.shutdown()

    def test_what_another_engine_began_is_gone_on_with(
        self, planted: Planted, local: Store, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What stands in the store is put where tasks reach it; an input that Ray has lost is put again."""
        shutil.copytree(local.folder, tmp_path / "store")
        store = Store(tmp_path / "store")
        lacking = [job for job in planted.grid.jobs if job.work != Work.TRAIN]
        for job in lacking:
            shutil.rmtree(store.place(job.key))
        with RayEngine(store, planted.grid.datasets, address=nodes.address) as engine:
            key, part = needed(lacking[0])[0]
            engine._keep(key, part, lost(), {})
            submitted: list[str] = []
            monkeypatch.setattr(engine, "_start", noting(engine._start, submitted))
            outcomes = carry_out_jobs(planted.grid.jobs, store, engine, Watch(2))
        assert submitted.count(lacking[0].title) == 2
        assert outcomes.reused == len(planted.grid.jobs) - len(lacking)
        assert digests(store) == digests(local)

    def test_shards_of_one_training_side_by_side_have_the_same_digests(
        self, planted: Planted, nodes: Nodes, tmp_path: Path
    ) -> None:
        def on_nodes(store: Store) -> RayEngine:
            return RayEngine(store, planted.grid.datasets, address=nodes.address)

        fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "shards": 2, "checkpoint_interval": 2}
        alone = expunge.train(str(planted.data), out=tmp_path / "alone", **fields)
        apart = expunge.train(str(planted.data), out=tmp_path / "apart", apart=SideBySide(2, on_nodes), **fields)
        assert apart.weights_digest == alone.weights_digest
        assert apart.result.example_steps == alone.result.example_steps
        for shard in range(2):
            ours, theirs = ([state.digest for state in run.log.checkpoints(shard)] for run in (alone, apart))
            assert ours == theirs
            assert (alone.path / f"trace/shard-{shard}.bin").read_bytes() == (
                apart.path / f"trace/shard-{shard}.bin"
            ).read_bytes()

    def test_a_cluster_that_is_gone_or_lacks_something_is_said(
        self, planted: Planted, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
    ) -> None:
        monkeypatch.setattr(ray_engine, "LOOK_SECONDS", 0.0)
        monkeypatch.setattr(ray_engine, "PATIENCE_SECONDS", 0.0)
        store = Store(tmp_path / "store")
        first = planted.grid.jobs[0]
        with RayEngine(store, planted.grid.datasets, address=nodes.address, gpu_share=0.5) as engine:
            engine.submit(first)
            with monkeypatch.context() as patch:
                patch.setattr(engine._cluster, "has", lambda needs: False)
                until(lambda: any(isinstance(event, Ended) for event in engine.wait(0.1)))
            entry = store.entry(first.key)
            assert entry is not None
            assert "no node of the cluster has 1 CPU any more" in entry.reason
            on_gpu = dataclasses.replace(first, spec=dataclasses.replace(first.spec, device="cuda"))
            assert engine._needs(on_gpu) == {"CPU": 1.0, "GPU": 0.5}
            second = planted.grid.jobs[1]
            engine.submit(second)
            monkeypatch.setattr(ray_cluster, "_answers", lambda address: False)
            engine.wait(0.1)
            with refused(RunError, "head at", "is gone", "run the same command again"):
                engine.wait(0.1)
        assert store.entry(second.key) is None

    def test_a_worker_that_always_dies_fails_its_job_and_no_other(
        self, planted: Planted, nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ray_engine, "RETRIES", 1)
        text = SMALL.replace("seeds = [0, 1]", "seeds = [0]").replace("references = 2", "references = 0")
        grid = planted.laid(text.replace('"exact-replay", ', "") + FATAL)
        store = Store(tmp_path / "store")
        outcomes = done_by(RayEngine(store, grid.datasets, address=nodes.address, jobs=2), grid, store)
        failed = [entry for entry in outcomes.entries.values() if entry.outcome is JobOutcome.FAILED]
        assert [entry.title for entry in failed] == ["train rows-fatal, seed 0"]
        assert "the worker process died 2 times" in failed[0].reason
        done = {entry.title.split(",")[0] for entry in outcomes.entries.values() if entry.outcome is JobOutcome.DONE}
        assert done == {"train rows-net", "unlearn fine-tune", "evaluate fine-tune"}
        assert len(outcomes.left_out) == 2
        assert store.entry(failed[0].key) == failed[0]

    def test_a_node_is_killed_and_the_study_completes_with_the_same_digests(
        self, planted: Planted, local: Store, nodes: Nodes, tmp_path: Path
    ) -> None:
        """The node dies with results on it and a job at work; the data file is gone: rows travel by Ray."""
        store = Store(tmp_path / "store")
        doomed = nodes.second.node_id
        armed, entered = planted.folder / f"armed-{doomed}", planted.folder / "entered"

        class Killing(Watch):
            killed = False
            there: ClassVar[list[str]] = []

            def ended(self, event: Ended) -> None:
                super().ended(event)
                if doomed.startswith(event.where.split()[1]):
                    assert not self.killed
                    self.there.append(event.entry.title)
                    armed.touch()  # the next job there is caught half-way

            def draw(self, *, force: bool = False) -> None:
                super().draw(force=force)
                if not self.killed and entered.exists():
                    self.killed = True
                    nodes.kill_second()

        hidden = planted.data.rename(planted.data.with_suffix(".hidden"))
        watch = Killing(2)
        try:
            engine = RayEngine(store, planted.grid.datasets, address=nodes.address)
            assert engine.places == 2
            outcomes = done_by(engine, planted.grid, store, watch)
        finally:
            hidden.rename(planted.data)
            armed.unlink(missing_ok=True)
        assert watch.killed
        assert watch.there
        assert not outcomes.left_out
        assert digests(store) == digests(local)
        self.check_store(store, local, planted)

    def check_store(self, store: Store, local: Store, planted: Planted) -> None:
        """What lies there is what the local engine leaves, and opens by itself: parents too."""
        for job in planted.grid.jobs:
            here, there = store.place(job.key), local.place(job.key)
            assert files(here) == files(there)
            if job.work == Work.UNLEARN:
                run = Run.open(here)
                assert Path(run_json(run)["parent"]["path"]) == store.place(job.one("original"))
                assert run.parent.path == store.place(job.one("original"))
                assert run_json(run)["environment"] == run_json(Run.open(there))["environment"]
            if job.work == Work.EVALUATE:
                references = [store.place(key) for key in job.inputs["references"]]
                again = evaluate(store.place(job.one("run")), references, out=store.folder.parent / "again.json")
                assert digest_of(again) == digests(store)[job.key][1]


class TestAddresses:
    pytestmark = on_ray

    @pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:10001", "127.0.0.1:x"])
    def test_what_is_no_address_is_said(self, address: str, refused: Any) -> None:
        with refused(InvalidArgument, f"`address` {address}", "HOST:PORT"):
            ray_cluster.join(address, None)

    def test_nothing_there(self, refused: Any) -> None:
        with socket.socket() as taken:  # bound, and nobody listens
            taken.bind(("127.0.0.1", 0))
            with refused(RunError, "does not answer", "start the head of a cluster there"):
                ray_cluster.join(f"127.0.0.1:{taken.getsockname()[1]}", None)

    def test_something_else_there(self, monkeypatch: pytest.MonkeyPatch, refused: Any) -> None:
        monkeypatch.setattr(ray_cluster, "TRIAL_SECONDS", 2.0)
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            with refused(RunError, "cannot be joined within 2 s", "head node"):
                ray_cluster.join(f"127.0.0.1:{other.getsockname()[1]}", None)


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with refused(NotInstalled, "`engine` ray", "pip install 'expunge[cluster]'"):
        RayEngine(Store(tmp_path / "store"), {})


@pytest.mark.parametrize(("options", "part"), [({"jobs": 0}, "`jobs` 0"), ({"gpu_share": 1.5}, "GPU share 1.5")])
def test_options_are_checked(options: dict[str, Any], part: str, tmp_path: Path, refused: Any) -> None:
    with refused(InvalidArgument, part):
        RayEngine(Store(tmp_path / "store"), {}, **options)


def test_ray_is_imported_where_it_is_used() -> None:
    code = "import sys, expunge.study.study, expunge.study.ray_engine\nassert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


def test_what_a_task_imports_at_first_computes_nothing() -> None:
    code = "import sys, expunge.study.ray_task\nassert not {'torch', 'sklearn', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


class TestPacking:
    def entry(self, folder: Path) -> Path:
        for name in ("run.json", "noise.key", "model.safetensors", "checkpoints/a.safetensors", "entry.json", ".lock"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"" if name == ".lock" else name.encode() * 3)
        (folder / "empty").touch()
        (folder / "noise.key").chmod(0o600)
        return folder

    def test_every_file_is_in_one_part_and_comes_back(self, tmp_path: Path) -> None:
        folder, back = self.entry(tmp_path / "made"), tmp_path / "back"
        packed = {part: pack(folder, part) for part in SentPart}
        assert set(packed[SentPart.RECORD]) == {"run.json", "noise.key", "empty"}
        assert set(packed[SentPart.WEIGHTS]) == {"model.safetensors"}
        assert set(packed[SentPart.CHECKPOINTS]) == {"checkpoints/a.safetensors"}
        for files in packed.values():
            unpack(files, back)
            for name in files:
                assert (back / name).read_bytes() == (folder / name).read_bytes()
                assert (back / name).stat().st_mode == (folder / name).stat().st_mode
        assert not (back / "entry.json").exists()

    def test_filing_replaces_what_was_left_and_writes_the_entry_last(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Store(tmp_path / "store")
        entry = Entry(key="ab" * 32, work="train", title="one", outcome=JobOutcome.DONE, digest="d")
        place = store.place(entry.key)
        (place / "checkpoints").mkdir(parents=True)
        (place / "checkpoints" / "half").touch()
        place.with_name(f".{entry.key}.coming").mkdir()
        (place.with_name(f".{entry.key}.coming") / "stale").touch()
        files = [pack(self.entry(tmp_path / "made"), part) for part in SentPart]

        def killed(kept: Entry) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store, "keep", killed)
            with pytest.raises(KeyboardInterrupt):
                file_entry(store, entry, files)
        assert store.entry(entry.key) is None
        file_entry(store, entry, files)
        assert store.entry(entry.key) == entry
        assert not (place / "checkpoints" / "half").exists()
        assert not (place / "stale").exists()
        assert [path.name for path in place.parent.iterdir()] == [entry.key]

    def test_a_run_names_its_parent_in_the_store_it_goes_to(self, tmp_path: Path) -> None:
        told = json.loads((GOLDEN / "digits" / "forgot" / "run.json").read_text())
        told["parent"]["path"] = "/scratch/store/ab/abcd"
        (tmp_path / "run.json").write_text(plain_json(told))
        settle(tmp_path, Path("/home/store"))
        told["parent"]["path"] = "/home/store/ab/abcd"
        assert (tmp_path / "run.json").read_text() == plain_json(told)
        settle(tmp_path / "nothing", Path("/home/store"))

    def test_a_job_is_sent_what_it_reads(self, planted: Planted) -> None:
        def parts(named: str) -> set[SentPart]:
            job = next(job for job in planted.grid.jobs if job.title.startswith(named))
            assert {key for key, _ in needed(job)} == set(job.needs)
            return {part for _, part in needed(job)}

        assert parts("train") == set()
        assert parts("unlearn exact-replay") == set(SentPart)
        assert parts("unlearn fine-tune") == {SentPart.RECORD, SentPart.WEIGHTS}
        assert parts("evaluate") == {SentPart.RECORD, SentPart.WEIGHTS}  # layers left as they were are looked for
        assert {key for key, _ in needed(TUNE)} == {"k", "l", "m", "r", "s"}
        assert SentPart.CHECKPOINTS not in {part for _, part in needed(TUNE)}


class TestTasks:
    def order(self, planted: Planted, software: dict[str, str]) -> TaskOrder:
        return TaskOrder(planted.grid.jobs[0], "/home/store", [], variables(), software)

    def test_a_node_with_other_versions_computes_nothing(self, planted: Planted) -> None:
        order = self.order(planted, {**software(), "torch": "1.0"})
        entry, parts = carry_out_order(order, None, lambda done, total: None, [])
        assert entry.outcome is JobOutcome.FAILED
        assert f"this node has torch {software()['torch']}" in entry.reason
        assert parts == [{}, {}, {}]

    def test_scratch_folders_of_dead_processes_go_and_others_stay(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        mine, handle = held_folder()
        code = "import os\nfrom expunge.study.ray_task import held_folder\nkept = held_folder()\nos._exit(9)"
        died = subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=280)
        assert died.returncode == 9
        assert len(list(tmp_path.iterdir())) == 2
        sweep()
        assert list(tmp_path.iterdir()) == [mine]
        handle.close()
        sweep()
        assert list(tmp_path.iterdir()) == []


def below(process: int) -> list[int]:
    """Processes that a process started, and theirs."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            child = int(path.parent.name)
            found += [child, *below(child)]
    return found


def until(what: Callable[[], bool], seconds: float = 240.0) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
class TestOwnCluster:
    pytestmark = on_ray

    def test_the_driver_is_killed_and_leaves_whole_entries_and_no_workers(
        self, planted: Planted, local: Store, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        command = [sys.executable, "-m", "expunge.cli.main", "study", str(planted.folder / "study.toml")]
        planted.laid(SMALL)
        driver = subprocess.Popen(
            [*command, "--out", str(out), "--engine", "ray", "--jobs", "2"],
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            until(lambda: any(out.glob("store/??/*/entry.json")))
            started = below(driver.pid)
            assert started
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.communicate()
        until(lambda: not [pid for pid in started if works(pid)])
        store = Store(out / "store")
        before = digests(store)
        assert 0 < len(before) < len(planted.grid.jobs)
        done_by(LocalEngine(store, 2), planted.grid, store)
        assert digests(store) == digests(local)


def works(process: int) -> bool:
    """Whether it is there and is a node or a worker; what only watches a node ends later by itself."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().decode()
    except OSError:
        return False
    return bool(command) and "Agent" not in command
