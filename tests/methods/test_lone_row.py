"""One retained row under a batch norm: no step can be taken, so whatever edits before its steps must not edit."""

from __future__ import annotations

import numpy as np
import pytest
from tests.methods.shared import Problem

from expunge.methods.contract import Method
from expunge.methods.convolution_transpose import ConvolutionTranspose
from expunge.methods.last_layers import RetrainLastLayers
from expunge.methods.masked_small_gradients import MaskedSmallGradients
from expunge.methods.noise_and_tune import NoiseAndTune
from expunge.methods.prune_and_match import PruneAndMatch
from expunge.train.state import weights_digest


@pytest.mark.parametrize(
    "method",
    [
        ConvolutionTranspose(epochs=1),
        NoiseAndTune(epochs=1),
        PruneAndMatch(epochs=1),
        MaskedSmallGradients(epochs=1),
        RetrainLastLayers(epochs=1),
    ],
    ids=lambda method: method.name,
)
def test_no_edit_without_a_step(method: Method, problem: Problem) -> None:
    parent = problem("convolved-normed")
    everybody = np.arange(len(parent.examples))
    alone = method(parent, everybody[1:], budget=1.0)
    assert weights_digest(alone.model) == parent.weights_digest
    assert alone.stopped is not None
    two = method(parent, everybody[2:], budget=1.0)
    assert weights_digest(two.model) != parent.weights_digest
