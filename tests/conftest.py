"""What several folders of tests share: a small data set of pictures, and a trained run of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.core.errors import ExpungeError
from expunge.core.streams import Stream
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.records.document import read_document
from expunge.records.form import to_plain
from expunge.records.keys import KeyRole, SigningKey, TrustedKey, signing_key
from expunge.records.run_file import RunFile
from expunge.schedule.recipe import MemoryLayout, Precision
from expunge.train.run import Run

# Begun in the background of a shell, tests inherit that interrupts are ignored: children would not hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run_json(run: Run) -> dict[str, Any]:
    """What the run.json of a run holds."""
    return to_plain(run.told)


def retold(run: Run, **changes: Any) -> Run:
    """The run, were its run.json to hold something else."""
    return Run(run.path, read_document(RunFile, {**run_json(run), **changes}, "run.json"))


def make_pictures(rows: int = 150, classes: int = 3, people: int = 15, seed: int = 0, side: int = 8) -> Dataset:
    """Noisy pictures with a bright stripe that tells the class; people own consecutive rows."""
    stream = Stream(bytes([seed]) * 32, "test-pictures")
    labels = stream.below(classes, rows)
    pixels = stream.below(120, rows * side * side).reshape(rows, side, side)
    for row, label in enumerate(labels):
        pixels[row, 2 * int(label) : 2 * int(label) + 2] += 100
    return make_dataset(
        labels=[int(label) for label in labels],
        columns=[Column("image", ColumnKind.IMAGE, (side, side), "HW", 1 / 255)],
        content={"image": pixels.astype(np.uint8)},
        ids=[f"picture-{row}" for row in range(rows)],
        subjects=[f"someone-{row * people // rows:02d}" for row in range(rows)],
        where="test pictures",
    )


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run side by side: more threads than cores would only wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_self_test() -> Iterator[None]:
    """The machine's self-test is half of a tiny training: made once for each device and each setting of torch."""
    import torch

    from expunge.train import exactness
    from expunge.verify.levels import environment

    made: dict[tuple[object, ...], tuple[str, bool]] = {}
    real = exactness.self_test

    def self_test(device: torch.device, precision: Precision, layout: MemoryLayout) -> tuple[str, bool]:
        key = (
            device,
            precision,
            layout,
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            torch.get_default_dtype(),
            torch._C._get_mkldnn_enabled(),
            float(torch.tensor(1e-38) * 1e-3),
            torch.optim.SGD.step,
        )
        if key not in made:
            made[key] = real(device, precision, layout)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        for place in (exactness, environment):
            patch.setattr(place, "self_test", self_test)
        yield


@pytest.fixture(scope="session")
def pictures() -> Dataset:
    return make_pictures()


@pytest.fixture(scope="session")
def small_run(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trained mlp on the pictures."""
    from expunge.train.training import train

    return train(pictures, out=tmp_path_factory.mktemp("runs") / "small", model="mlp", epochs=4, batch_size=16)


@pytest.fixture
def digest_of() -> Callable[[Path], str]:
    """Weights digest of a run folder."""
    from expunge.train.run import Run

    return lambda path: Run.open(path).weights_digest


@pytest.fixture(scope="session")
def pictures_like() -> Callable[..., Dataset]:
    """More pictures: rows, classes, people, seed and side as arguments."""
    return make_pictures


ORIGIN = "example.com/unlearning"


# Keys of RFC 8032, section 7.1.
@pytest.fixture(scope="session")
def owner() -> SigningKey:
    return signing_key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))


@pytest.fixture(scope="session")
def stranger() -> SigningKey:
    return signing_key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))


@pytest.fixture(scope="session")
def trusted(owner: SigningKey) -> tuple[TrustedKey, ...]:
    return (owner.trusted(ORIGIN, KeyRole.OWNER), owner.trusted(ORIGIN, KeyRole.LOG))


Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="session")
def refused() -> Refused:
    """``with refused(DataError, "part", …)``: this very error, on one line, with every part in its sentence."""

    @contextmanager
    def expecting(kind: type[ExpungeError], *parts: str) -> Iterator[None]:
        with pytest.raises(ExpungeError) as caught:
            yield
        message = str(caught.value)
        assert type(caught.value) is kind, message
        assert "\n" not in message
        for part in parts:
            assert part in message, f"{part!r} is not in {message!r}"

    return expecting
