"""A Ray cluster as the engine sees it: joined or started, how large it is, and whether it is still there."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO, cast

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.installed import needed_by

NAMESPACE = "expunge"
CONNECT_SECONDS, TRIAL_SECONDS = 5.0, 15.0
MISSED = 2  # looks in a row at which the head does not answer; Ray ends the whole process after a minute
TRIAL = "import sys, ray; ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)"
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_task_oom_retries": "3"}
AGAIN = "what is computed is kept; run the same command again once it is there"


class Cluster:
    """A cluster that this process is part of."""

    def __init__(self, ray: ModuleType, log: Path | None, *, joined: bool) -> None:
        self.ray: Any = ray
        self.joined = joined
        self._aside = ExitStack()
        self._aside.enter_context(_aside(log))
        context = self.ray.get_runtime_context()
        self._here, self._missed = str(context.get_node_id()), 0
        here = next(node for node in self.ray.nodes() if node["NodeID"] == self._here)
        self._ours = {
            f"head at {context.gcs_address}": str(context.gcs_address),
            "node on this machine": f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}",
        }
        self._nodes: list[Mapping[str, float]] = []
        self.look()

    def look(self, misses: int = MISSED) -> None:
        """Count the nodes anew; a cluster that does not answer so many times in a row is gone, which is an error."""
        gone = [what for what, where in self._ours.items() if not _answers(where)]
        if gone:
            self._missed += 1
            if self._missed >= misses:
                raise RunError(f"the Ray cluster's {gone[0]} is gone: {AGAIN}")
            return
        self._missed = 0
        self._nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def here(self) -> dict[str, Any]:
        """Options of an actor that runs on this machine and takes nothing from the jobs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": 0,
            "max_restarts": -1,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self._here, soft=False),
        }

    def has(self, needs: Mapping[str, float]) -> bool:
        """Whether one node has this much at all, used or not."""
        return any(all(node.get(what, 0) >= amount for what, amount in needs.items()) for node in self._nodes)

    @property
    def processors(self) -> int:
        return max(1, int(sum(node.get("CPU", 0) for node in self._nodes)))

    @property
    def largest(self) -> int:
        """CPUs of the largest node."""
        return max(1, int(max(node.get("CPU", 0) for node in self._nodes)))

    @property
    def object_bytes(self) -> float:
        return sum(node.get("object_store_memory", 0) for node in self._nodes)

    def leave(self, tasks: Iterable[Any]) -> None:
        """End these tasks. Whoever joined for the study leaves with it, and a cluster of its own ends then."""
        with self._aside:
            if self.joined:
                self.ray.shutdown()
                return
            for ref in tasks:
                self.ray.cancel(ref, force=True)


def join(address: str | None, jobs: int | None, log: Path | None = None) -> Cluster:
    """The cluster at ``address``; a new one here without an address; the one that this process is in already.

    What Ray prints while it is used goes to ``log``, or nowhere: standard output is the study's.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    with needed_by("`engine` ray"):
        import ray
        from ray.exceptions import RayError
    if ray.is_initialized():
        return Cluster(ray, log, joined=False)
    if address is not None:
        _try(address)
    count = os.cpu_count() or 1
    more: dict[str, Any] = {"include_dashboard": False, "num_cpus": max(jobs or 0, count)} if address is None else {}
    try:
        with _quiet():
            ray.init(
                address=address or "local",
                namespace=NAMESPACE,
                log_to_driver=False,
                configure_logging=False,
                **more,
            )
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise RunError(f"Ray could not be started ({_first(str(error))}): try `engine` local") from error
    return Cluster(ray, log, joined=True)


def _try(address: str) -> None:
    """Join in a process of its own first: where nothing answers, Ray tries for minutes, and cannot be stopped."""
    named = re.fullmatch(r"(.+):(\d{1,5})", address)
    if address != "auto" and (named is None or "/" in address):
        raise InvalidArgument(
            f"`address` {address} is not that of a Ray cluster: give HOST:PORT of its head node, or auto on one of its "
            "machines"
        )
    if named is not None and not _answers(address):
        raise RunError(f"`address` {address} does not answer: start the head of a cluster there, or mend it")
    environment = {**os.environ, "RAY_gcs_server_request_timeout_seconds": "10"}
    try:
        tried = subprocess.run(
            [sys.executable, "-c", TRIAL, address], capture_output=True, timeout=TRIAL_SECONDS, env=environment
        )
    except subprocess.TimeoutExpired:
        raise RunError(
            f"`address` {address} cannot be joined within {TRIAL_SECONDS:.0f} s: it must be the port of a Ray head "
            "node, and this machine one of its nodes"
        ) from None
    if tried.returncode != 0:
        said = re.findall(r"^[\w.]*(?:Error|Exception): (.*)$", tried.stderr.decode(errors="replace"), re.MULTILINE)
        reason = _first(said[-1]) if said else f"status {tried.returncode}"
        raise RunError(f"`address` {address} cannot be joined ({reason})")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError):
        return False
    return True


@contextmanager
def _quiet() -> Generator[None]:
    """Ray's notices at the start are not the study's."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _aside(log: Path | None) -> Generator[None]:
    with (
        open(os.devnull if log is None else log, "a", encoding="utf-8") as elsewhere,
        redirect_stdout(cast(TextIO, _Aside(sys.stdout, elsewhere))),
    ):
        yield


class _Aside:
    """Standard output, but for what Ray's own threads print, such as the last words of a node that died."""

    def __init__(self, stream: TextIO, elsewhere: TextIO) -> None:
        self._stream, self._elsewhere = stream, elsewhere

    def write(self, text: str) -> int:
        if not threading.current_thread().name.startswith("ray_"):
            return self._stream.write(text)
        if not self._elsewhere.closed:
            self._elsewhere.write(text)
            self._elsewhere.flush()
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _first(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0].rstrip(".")[:300]
