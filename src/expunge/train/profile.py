"""The exact profile: what is pinned, what the environment is called, and the self-tests that earn ``Exact``."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from expunge.core.errors import InvalidArgument
from expunge.core.hashing import sha256
from expunge.core.streams import Stream
from expunge.models.dropout import seeded_generators
from expunge.models.resolver import channels_last
from expunge.schedule.recipe import MemoryLayout, Optimiser, OptimiserName, Precision, Profile, Recipe
from expunge.train.optimiser import make_optimiser
from expunge.train.state import state_digest

LOOP_ARITHMETIC = 1  # raised whenever the loop's bits change


def find_device(name: str) -> torch.device:
    """The device by its name; one that is not there is refused."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgument(f"device {name!r} is not known: cpu or cuda are") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidArgument(f"device {name!r} is not available here: torch sees no GPU; use `device` cpu")
    if device.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"device {name!r} is not supported: cpu or cuda are")
    return device


@contextmanager
def pinned(recipe: Recipe) -> Generator[None]:
    """Pin what decides bits while a recipe runs, and put everything back afterwards."""
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.get_float32_matmul_precision(),
        torch.get_default_dtype(),
        torch._C._get_mkldnn_enabled(),  # pyright: ignore[reportPrivateUsage]
    )
    exact = recipe.profile is Profile.EXACT
    if exact:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(exact, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.backends.cudnn.benchmark = not exact
    torch.backends.cudnn.deterministic = exact
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact
    if exact:
        torch.set_float32_matmul_precision("highest")
        torch._C._set_mkldnn_enabled(True)  # pyright: ignore[reportPrivateUsage]
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1], warn_only=before[2])
        torch.utils.deterministic.fill_uninitialized_memory = before[3]  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.cudnn.benchmark = before[4]
        torch.backends.cudnn.deterministic = before[5]
        torch.backends.cudnn.allow_tf32 = before[6]
        torch.backends.cuda.matmul.allow_tf32 = before[7]
        torch.set_float32_matmul_precision(before[8])
        torch.set_default_dtype(before[9])
        torch._C._set_mkldnn_enabled(before[10])  # pyright: ignore[reportPrivateUsage]


def precision_of(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the recipe says so; it can be entered again and again."""
    if recipe.precision is Precision.FLOAT32:
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def fingerprint(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What decides bits here besides the recipe; runs are only continued or replayed where it is equal."""
    variables = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_CBWR", "OMP_NUM_THREADS")
    found: dict[str, Any] = {
        "loop_arithmetic": LOOP_ARITHMETIC,
        "system": platform.system(),
        "libc": "-".join(platform.libc_ver()),
        "machine": platform.machine(),
        "processor": processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch_build": sha256(torch.__config__.show().encode()).hex()[:16],
        "onednn": torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled(),  # pyright: ignore[reportPrivateUsage]
        "threads": recipe.threads,
        "variables": {name.lower(): os.environ[name] for name in variables if name in os.environ},
        "device": device.type,
    }
    if device.type == "cuda":
        found["accelerator"] = torch.cuda.get_device_name(device)
        found["cuda"] = f"{torch.version.cuda} cudnn {torch.backends.cudnn.version()}"
    return found


@functools.cache
def processor() -> str:
    """What the processor calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as handle:
            names = [line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor()


class _SelfTestNet(nn.Module):
    """Convolution, batch norm, attention and a dense layer, as small as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.norm(self.convolution(inputs))).flatten(2).transpose(1, 2)
        attended, _ = self.attention(hidden, hidden, hidden, need_weights=False)
        return self.head(attended.mean(dim=1))


def self_test(device: torch.device, precision: Precision, layout: MemoryLayout) -> tuple[str, bool]:
    """(digest of five steps of a fixed network, whether a second time gives the same). Call it pinned.

    It is run anew every time: whatever was imported since may have changed a flag.
    """
    with seeded_generators(0):
        first, second = (_self_test_digest(device, precision, layout) for _ in range(2))
    return first, first == second


def _self_test_digest(device: torch.device, precision: Precision, layout: MemoryLayout) -> str:
    digests: list[bytes] = []
    for name in (OptimiserName.SGD, OptimiserName.ADAMW):  # the other two are made of the same operations
        stream = Stream(bytes(32), "self-test")
        model = _SelfTestNet()
        with torch.no_grad():
            for parameter in model.parameters():
                draws = torch.from_numpy(stream.uniform(parameter.numel())).reshape(parameter.shape)
                parameter.copy_(draws - 0.5)
        if layout is MemoryLayout.CHANNELS_LAST:
            channels_last(model, "self-test")
        model = model.to(device)
        optimiser = make_optimiser(Optimiser(name=name, rate=0.05), model)
        for _ in range(5):
            rows = torch.from_numpy(stream.uniform(16 * 64)).reshape(16, 1, 8, 8).to(device)
            labels = torch.from_numpy(stream.below(4, 16)).to(device)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision is Precision.BFLOAT16):
                loss = nn.functional.cross_entropy(model(rows).float(), labels)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        digests.append(state_digest(model, optimiser))
    smallest = torch.tensor([1e-38], device=device) * 1e-3
    digests.append(smallest.cpu().numpy().tobytes())  # denormals, kept or flushed
    return sha256(*digests).hex()
