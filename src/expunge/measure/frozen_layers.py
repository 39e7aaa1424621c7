"""A guard: layers that a run left as they were still hold what they learnt, whatever its last layer says."""

from __future__ import annotations

import torch

from expunge.core.values import Exact
from expunge.measure.contract import Probe
from expunge.measure.head_refit import HeadRefit, RequiredHeadRefit
from expunge.models.last_layer import weights_before
from expunge.models.resolver import build_empty
from expunge.train.run import Run
from expunge.train.state import read_tensors


def with_guard(asked: tuple[type[Probe], ...], run: Run, original: Run) -> tuple[type[Probe], ...]:
    """Where a run left layers before the last as they were, a new last layer must not find the forget set in them."""
    if not frozen_layers(run, original):
        return asked
    return (RequiredHeadRefit, *(probe for probe in asked if probe is not HeadRefit))


def frozen_layers(run: Run, original: Run) -> frozenset[str]:
    """Names of the weights before the last layer that equal the original's bit for bit, of a run that is not exact."""
    if isinstance(run.guarantee, Exact) or run.weights_digest == original.weights_digest:
        return frozenset()
    own, before = (read_tensors(one.model_file) for one in (run, original))
    inner = weights_before(build_empty(run.recipe)) if run.recipe.shards == 1 else own.keys()
    return frozenset(name for name in inner if name in own and torch.equal(own[name], before[name]))
