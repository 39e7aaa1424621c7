"""How commands end when somebody or something ends them: as Ctrl-C does, in one sentence, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.cli.conftest import Expunge

from expunge.cli import main as command_line
from expunge.core.errors import DataError
from expunge.data.source import Source
from expunge.train.training import train

TRAINING = ("train", "digits", "--rows", 300, "--model", "mlp", "--epochs", 4000, "--checkpoint-interval", 20)


def process(*arguments: object, **named: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "expunge.cli.main", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **named)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_shutdown_and_a_closed_terminal_end_as_an_interrupt_does(number: signal.Signals, tmp_path: Path) -> None:
    started = process(*TRAINING, "--out", tmp_path / "run")
    while not list((tmp_path / "run").glob("checkpoints/*.safetensors")):
        assert started.poll() is None, started.communicate()[1].decode()
        time.sleep(0.02)
    started.send_signal(number)
    _, errors = started.communicate(timeout=280)
    assert started.returncode == 130, errors.decode()
    assert errors.decode().count("\n") == 1
    assert "interrupted, nothing is lost: run the same command again" in errors.decode()
    assert not list(tmp_path.rglob("*.part"))


def test_a_signal_that_was_ignored_before_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """nohup lets a command outlive its terminal."""
    heard: list[Any] = []
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_IGN)
    monkeypatch.setattr(signal, "signal", lambda number, handler: heard.append(number))
    command_line._heed_endings()
    assert heard == []
    monkeypatch.setattr(signal, "getsignal", lambda number: signal.SIG_DFL)
    command_line._heed_endings()
    assert heard == [signal.SIGTERM, signal.SIGHUP]


def test_a_name_that_is_not_utf_8_is_one_sentence(tmp_path: Path) -> None:
    for arguments in (("info", b"caf\xe9"), ("train", b"caf\xe9.csv", b"--label", b"y", b"--out", b"run")):
        command = [os.fsencode(sys.executable), b"-m", b"expunge.cli.main", *map(os.fsencode, arguments)]
        done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=280)
        assert done.returncode == 2
        said = done.stderr.decode()
        assert said.count("\n") == 1
        assert "caf\\udce9" in said
        assert "is not UTF-8, so it can stand in no record and on no page: rename the file or folder" in said
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_such_a_name_is_named(tmp_path: Path) -> None:
    from PIL import Image

    for label in ("a", "b"):
        (tmp_path / "images" / label).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "images" / label / "one.png")
    odd = os.fsencode(tmp_path / "images" / "a") + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes((tmp_path / "images" / "a" / "one.png").read_bytes())
    with pytest.raises(DataError, match=r"image 'a/caf\\udce9.png' in .* has a name that is not UTF-8: rename it"):
        train(Source(location=str(tmp_path / "images")), out=tmp_path / "run", model="mlp")


LIMITED = """
import resource, sys
from pathlib import Path
import expunge.train.training
from expunge.cli.main import main

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {more}, used + {more}))
sys.argv = {argv!r}
main()
"""


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (2**20 * 60, "large.npz needs more memory than there is: save fewer rows"),
        (2**20 * 160, "error: memory ran out (a limit of this machine or of its user): nothing is lost"),
    ],
)
def test_a_limit_of_memory_is_one_sentence(more: int, said: str, tmp_path: Path) -> None:
    """100 MB of pictures, and less room than they need: for reading them, and for what is made of them."""
    np.savez_compressed(tmp_path / "large.npz", x=np.zeros((100, 1000, 1000), dtype=np.uint8), y=np.arange(100) % 2)
    argv = ["expunge", "train", "large.npz", "--model", "mlp", "--model-option", "width=2", "--out", "run"]
    code = LIMITED.format(more=more, argv=argv)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_every_way_of_running_out_of_memory_is_the_same_sentence(
    error: Exception, expunge: Expunge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short() -> Any:
        raise error

    monkeypatch.setattr(command_line, "commands", short)
    done = expunge("methods")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "memory ran out" in done.err
    assert "this was not foreseen" not in done.err
