"""All probes: those of the table, then what other packages offer by entry points ``expunge.probes``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from expunge.core.entry_points import with_offered
from expunge.core.errors import InvalidArgument
from expunge.measure import OF_NUMBERS, PROBES
from expunge.measure.contract import Probe


@cache
def probes() -> tuple[type[Probe], ...]:
    """Those of others are printed beside and decide nothing: a verdict means the same wherever it was reached."""
    found = with_offered((*PROBES, *OF_NUMBERS), "expunge.probes", Probe)
    for name, probe in found.items():
        if probe.judging is not None and probe not in PROBES:
            raise InvalidArgument(
                f"probe {name!r} of {probe.__module__} has a judging of its own, which those of the release alone may: "
                "a verdict must mean the same wherever it was reached, so leave that out"
            )
    return tuple(probe for probe in found.values() if probe not in OF_NUMBERS)


def probes_for(classes: Sequence[int | str]) -> tuple[type[Probe], ...]:
    """All that a model of these classes is measured by; where there are none, and labels are numbers, errors first."""
    return probes() if classes else (*OF_NUMBERS, *probes())
