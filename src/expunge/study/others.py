"""Methods and probes of other packages: what a job's key must say of them, because no version of ours does."""

from __future__ import annotations

import inspect
import sys

from expunge.core.hashing import sha256
from expunge.measure.contract import Probe
from expunge.measure.cost import ExampleSteps
from expunge.measure.lookup import probes
from expunge.methods.contract import Method
from expunge.records.figures import FIGURES


def further_probes() -> tuple[tuple[str, ...], ...]:
    """What evaluations depend on beside our own probes: names and sources of the others, and what they read."""
    return tuple(
        (probe.name, *filter(None, (source_of(probe),)), *map(repr, probe.reads))
        for probe in probes()
        if probe.name not in FIGURES and probe is not ExampleSteps
    )


def source_of(kind: type[Method] | type[Probe]) -> str:
    """Digest of the source of somebody else's method or probe; "" for our own, which the version names."""
    if kind.__module__.partition(".")[0] == "expunge":
        return ""
    try:
        return sha256(inspect.getsource(sys.modules[kind.__module__]).encode()).hex()
    except (OSError, TypeError, KeyError):
        return "unknown"
