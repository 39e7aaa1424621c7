"""What the parts of a record hash to, against the formats written out by hand."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tests.conftest import make_pictures

from expunge.core.hashing import canonical_json
from expunge.data.encoding import make_encoding
from expunge.records.record import Origin, State, preprocessing_digest, states_root
from expunge.records.states import state_digests
from expunge.records.tensors import TensorFile
from expunge.schedule.recipe import Augmentation, Recipe
from expunge.train.state import tensors_digest

STATE = State(shard=3, step=70_000, weights=b"w" * 32, buffers=b"b" * 32, optimiser=b"o" * 32, trace=b"t" * 32)
ORIGINS = (Origin(name="pixels", origin="constant"), Origin(name="words", origin="hashed"))


def recipe() -> Recipe:
    data = make_pictures(rows=6)
    return Recipe(inputs=make_encoding(data), classes=data.classes)


def test_a_state_is_hashed_as_the_format_says() -> None:
    entry = b"expunge/state/1" + struct.pack("<IQ", 3, 70_000) + b"w" * 32 + b"b" * 32 + b"o" * 32 + b"t" * 32
    assert STATE.leaf == hashlib.sha256(b"\x00" + entry).digest()


@pytest.mark.parametrize("field", ["weights", "buffers", "optimiser", "trace"])
def test_every_part_of_a_state_moves_its_leaf(field: str) -> None:
    assert replace(STATE, **{field: bytes(32)}).leaf != STATE.leaf


def test_the_root_over_states_is_the_tree_of_the_standard() -> None:
    one, two, three = (replace(STATE, step=step) for step in (1, 2, 3))
    pair = hashlib.sha256(b"\x01" + one.leaf + two.leaf).digest()
    assert states_root(()) == hashlib.sha256(b"").digest()
    assert states_root((one,)) == one.leaf
    assert states_root((one, two, three)) == hashlib.sha256(b"\x01" + pair + three.leaf).digest()
    assert states_root((two, one, three)) != states_root((one, two, three))


def test_preprocessing_is_encoding_augmentation_and_origins() -> None:
    made = recipe()
    described = made.as_json()
    expected = {
        "inputs": described["inputs"],
        "augmentation": described["augmentation"],
        "origins": [{"name": "pixels", "origin": "constant"}, {"name": "words", "origin": "hashed"}],
    }
    text = b"expunge/preprocessing/1" + canonical_json(expected)
    assert preprocessing_digest(made.as_json(), ORIGINS) == hashlib.sha256(text).digest()


def test_preprocessing_moves_with_what_it_names_and_with_nothing_else() -> None:
    made = recipe()
    digest = preprocessing_digest(made.as_json(), ORIGINS)
    assert preprocessing_digest(replace(made, epochs=99, seed=5).as_json(), ORIGINS) == digest
    assert preprocessing_digest(replace(made, augmentation=Augmentation(flip=True)).as_json(), ORIGINS) != digest
    assert (
        preprocessing_digest(replace(made, inputs=replace(made.inputs, text_buckets=64)).as_json(), ORIGINS) != digest
    )
    assert preprocessing_digest(made.as_json(), ORIGINS[:1]) != digest


def test_a_checkpoint_is_taken_apart_as_the_loop_would(tmp_path: Path) -> None:
    """One pass over the file gives what the tensors in memory give, part by part."""
    state = {
        "model.weight": torch.arange(6.0).reshape(2, 3),
        "model.bias": torch.tensor([1.0, -0.0]),
        "model.norm.running_mean": torch.tensor([0.5]),
        "model.norm.num_batches_tracked": torch.tensor(7),
        "optimiser.0.momentum_buffer": torch.ones(2, 3, dtype=torch.float64),
        "optimiser.1.momentum_buffer": torch.zeros(0),
    }
    path = tmp_path / "state.safetensors"
    path.write_bytes(save(state))
    buffers = {"norm.running_mean", "norm.num_batches_tracked"}
    model = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    with path.open("rb") as stream:
        file = TensorFile(stream, path.stat().st_size, "state")
        found = state_digests(file, buffers)
        assert found.model == file.digest("model.")
    assert found.whole == tensors_digest(state)
    assert found.model == tensors_digest(model)
    assert found.weights == tensors_digest({name: value for name, value in model.items() if name not in buffers})
    assert found.buffers == tensors_digest({name: value for name, value in model.items() if name in buffers})
    assert found.optimiser == tensors_digest({n: v for n, v in state.items() if n.startswith("optimiser")})


def test_a_state_without_buffers_or_optimiser_has_the_digest_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(save({"model.weight": torch.from_numpy(np.zeros(2, np.float32))}))
    with path.open("rb") as stream:
        found = state_digests(TensorFile(stream, path.stat().st_size, "state"), ())
    assert found.buffers == found.optimiser == tensors_digest({})
    assert found.weights == found.model
