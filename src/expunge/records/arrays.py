"""Tensors of a file as NumPy has them, and the digest of arrays in the form of the file's. No torch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from expunge.core.errors import RecordError
from expunge.records.limits import Code, refused
from expunge.records.tensors import KINDS, Tensor, TensorFile, TensorsDigest

KNOWN = {kind.name: kind for kind in KINDS if hasattr(np, kind.name)}


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The digest of a file that holds these arrays by name."""
    state = TensorsDigest(len(arrays))
    for name in sorted(arrays):
        value = arrays[name]
        state.begin(name, Tensor(name, KNOWN[value.dtype.name], value.shape, 0, value.nbytes))
        state.feed(value.tobytes())
    return state.digest()


def arrays_in(file: TensorFile) -> dict[str, np.ndarray]:
    """All tensors of a file; refused where one is of a type that NumPy has not."""
    odd = [tensor for tensor in file.tensors if tensor.kind.name not in KNOWN]
    if odd:
        raise _unknown(odd[0])
    return {
        tensor.name: np.frombuffer(file.content(tensor), dtype=tensor.kind.name).reshape(tensor.shape)
        for tensor in file.tensors
    }


def _unknown(tensor: Tensor) -> RecordError:
    return refused(
        Code.UNSAFE_FILE,
        f"tensor {tensor.name[:60]!r} is of type {tensor.kind.code}, as no sums are: ask for others",
    )
