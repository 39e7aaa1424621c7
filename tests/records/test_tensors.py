"""The safetensors reader against the library that writes the files, and against files that only look like one."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from expunge.core.errors import RecordError
from expunge.records.limits import Limits
from expunge.records.tensors import KINDS, Tensor, TensorFile, header_bytes

TYPES = [kind.name for kind in KINDS if kind.name != "bfloat16" and not kind.name.startswith("float8")]
SHAPES = st.lists(st.integers(0, 3), max_size=3)
NAMES = st.text(st.characters(codec="utf-8"), max_size=6).filter(lambda name: name != "__metadata__")


ONE = b'{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'


def str_of(content: bytes) -> str:
    return repr(content[8:40])


def opened(content: bytes, **limits: int) -> TensorFile:
    return TensorFile(BytesIO(content), len(content), "model.safetensors", Limits(**limits))


def refused(content: bytes, code: str = "UNSAFE_FILE", **limits: int) -> str:
    with pytest.raises(RecordError) as caught:
        opened(content, **limits)
    assert caught.value.code == code
    return str(caught.value)


def with_header(value: Any, data: bytes = b"") -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: Any, offsets: Any, dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, st.tuples(st.sampled_from(TYPES), SHAPES), max_size=6))
def test_what_the_library_writes_is_read_and_written_again(tensors: dict[str, tuple[str, list[int]]]) -> None:
    arrays = {
        name: np.arange(int(np.prod(shape)), dtype=np.int64).astype(dtype).reshape(shape)
        for name, (dtype, shape) in tensors.items()
    }
    content = save(arrays)
    file = opened(content)
    assert {tensor.name: tensor.shape for tensor in file.tensors} == {
        name: array.shape for name, array in arrays.items()
    }
    for tensor in file.tensors:
        assert tensor.kind.name == arrays[tensor.name].dtype.name
        assert file.content(tensor) == arrays[tensor.name].tobytes()
        assert b"".join(file.chunks(tensor, 3)) == arrays[tensor.name].tobytes()
    first = file.tensors[0].start if file.tensors else len(content)
    assert content.startswith(header_bytes(file.tensors, first))


def test_every_type_of_torch_and_its_digest() -> None:
    import torch
    from safetensors.torch import save as save_torch

    from expunge.train.state import tensors_digest

    tensors = {
        f"model.{kind.code.lower()}": torch.ones(2, 3, dtype=torch.float32).to(getattr(torch, kind.name))
        for kind in KINDS
    }
    tensors |= {
        "optimiser.empty": torch.zeros(0, 4),
        "optimiser.scalar": torch.tensor(3.5),
        "optimiser.é": torch.ones(1),
    }
    file = opened(save_torch(tensors))
    assert file.digest() == tensors_digest(tensors)
    parts = {
        prefix: {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in ("model.", "optimiser.")
    }
    for prefix, part in parts.items():
        assert file.digest(prefix) == tensors_digest(part)


def test_a_run_writes_what_is_read(small_run: Any) -> None:
    content = (small_run.path / "model.safetensors").read_bytes()
    assert opened(content).digest().hex() == small_run.weights_digest
    for path in (small_run.path / "checkpoints").iterdir():
        assert opened(path.read_bytes()).tensors


def test_pickles_are_named_as_such(tmp_path: Path) -> None:
    import pickle

    import torch

    for content in (pickle.dumps({"a": 1}), pickle.dumps({"a": 1}, protocol=2) + b"x" * 100):
        assert "looks like a pickle" in refused(content)
    torch.save({"a": torch.ones(1)}, tmp_path / "model.pt")
    assert "looks like a pickle" in refused((tmp_path / "model.pt").read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        b"\xff" * 8,
        (16).to_bytes(8, "little") + b"{}",
        with_header(b"[]"),
        with_header(b"null"),
        with_header(b"{"),
        with_header(b"\xff\xfe"),
        with_header(b"[" * 100_000),
        with_header(b'{"a":NaN}'),
        with_header(b'{"a":' + ONE + b',"a":' + ONE + b"}", b"x"),
        with_header(b'{"\\ud800":' + ONE + b"}", b"x"),
        with_header(b'{"\\u0061":' + ONE + b"}", b"x"),
        with_header(b'{"a":{"shape":[1],"dtype":"U8","data_offsets":[0,1]}}', b"x"),
        with_header(b'{"a": {"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"),
        with_header({"__metadata__": {"format": "pt"}, "a": entry([1], [0, 1])}, b"x"),
        with_header({"a": 1}),
        with_header({"a": {**entry([1], [0, 1]), "more": 1}}, b"x"),
        with_header({"a": {"dtype": "U8", "shape": [1]}}, b"x"),
        with_header({"a": entry([1], [0, 1], "Q8")}, b"x"),
        with_header({"a": entry([1], [0, 1], 5)}, b"x"),
        with_header({"a": entry([1], [0, 1], ["U8"])}, b"x"),
        with_header({"a": entry([1.0], [0, 1])}, b"x"),
        with_header({"a": entry([True], [0, 1])}, b"x"),
        with_header({"a": entry([-1, -1], [0, 1])}, b"x"),
        with_header({"a": entry("1", [0, 1])}, b"x"),
        with_header({"a": entry([1], [0])}, b"x"),
        with_header({"a": entry([1], [1, 0])}, b"x"),
        with_header({"a": entry([1], [0, 2])}, b"xx"),
        with_header({"a": entry([1] * 65, [0, 1])}, b"x"),
        with_header({"a": entry([2**60, 2**60], [0, 2**53])}),
        with_header({"a": entry([0, 2**60], [0, 0])}),
        with_header({"a": entry([1], [1, 2])}, b"xx"),
        with_header({"a": entry([1], [0, 1])}, b"xx"),
        with_header({"a": entry([1], [0, 1])}),
        with_header({"a": entry([1], [0, 1]), "b": entry([1], [0, 1])}, b"x"),
        with_header({"a": entry([1], [0, 1]), "b": entry([1], [2, 3])}, b"xxx"),
        with_header({"a": entry([1], [1, 2]), "b": entry([1], [0, 1])}, b"xx"),
        with_header({"b": entry([1], [0, 1]), "a": entry([1], [1, 2])}, b"xx"),
        with_header({"a": entry([1], [0, 1]), "b": entry([1], [1, 5], "F32")}, b"x" * 5),
        with_header({"a": entry([1], [0, 1])}, b"x")[:-1],
        with_header(b'{"a":' + ONE + b"}" + b" " * 8, b"x"),
    ],
    ids=str_of,
)  # fmt: skip
def test_files_that_only_look_like_one_are_refused(content: bytes) -> None:
    refused(content)


def test_the_header_has_a_limit() -> None:
    content = save({"a": np.zeros(3, np.float32)})
    length = int.from_bytes(content[:8], "little")
    assert opened(content, header_bytes=length).tensors[0].name == "a"
    refused(content, "SIZE_LIMIT", header_bytes=length - 1)


def test_a_stream_that_ends_early_is_seen() -> None:
    content = save({"a": np.zeros(30, np.float32)})
    file = TensorFile(BytesIO(content[:-4]), len(content), "model.safetensors")
    with pytest.raises(RecordError, match="ended before its last tensor"):
        file.content(file.tensors[0])


def test_fuzz_ends_in_the_same_tensors_or_a_refusal() -> None:
    content = save(
        {"a": np.arange(5, dtype=np.float32), "b.c": np.arange(4, dtype=np.int64), "d": np.ones((), np.uint8)}
    )
    length = 8 + int.from_bytes(content[:8], "little")
    noise = np.random.default_rng(0)
    accepted = 0
    for _ in range(3000):
        altered = bytearray(content)
        for _ in range(int(noise.integers(1, 4))):
            how, at = int(noise.integers(4)), int(noise.integers(len(altered)))
            if how == 0:
                altered[at] ^= 1 << int(noise.integers(8))
            elif how == 1:
                altered[at] = int(noise.integers(256))
            elif how == 2:
                del altered[at : at + int(noise.integers(1, 9))]
            else:
                altered[at:at] = bytes(altered[at : at + int(noise.integers(1, 9))])
        try:
            file = opened(bytes(altered))
        except RecordError as error:
            code = error.code
        else:
            code, accepted = "UNSAFE_FILE", accepted + 1
            first = file.tensors[0].start if file.tensors else len(altered)
            assert bytes(altered[:first]) == header_bytes(
                file.tensors, first
            )  # another header of its own form, or none
        assert code == "UNSAFE_FILE"
    assert accepted > 0  # changes of the values alone are no business of this reader
    assert length < len(content)


def test_header_bytes_by_hand() -> None:
    f32 = next(kind for kind in KINDS if kind.code == "F32")
    content = header_bytes([Tensor("a", f32, (2,), 64, 72)], 64)
    assert content == (56).to_bytes(8, "little") + b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  '
