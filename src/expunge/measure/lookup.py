"""All probes: those of the table, then what other packages offer by entry points ``expunge.probes``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from expunge.core.entry_points import with_offered
from expunge.core.errors import InvalidArgument
from expunge.core.wording import nearest
from expunge.measure import ASKED, OF_CLASSES, OF_NUMBERS, PROBES
from expunge.measure.contract import Probe


@cache
def _all() -> tuple[type[Probe], ...]:
    """Those of others are printed beside and decide nothing: a verdict means the same wherever it was reached."""
    found = with_offered((*PROBES, *OF_NUMBERS, *ASKED), "expunge.probes", Probe)
    for name, probe in found.items():
        if probe.judging is not None and probe not in (*PROBES, *OF_NUMBERS):
            raise InvalidArgument(
                f"probe {name!r} of {probe.__module__} has a judging of its own, which those of the release alone may: "
                "a verdict must mean the same wherever it was reached, so leave that out"
            )
    return tuple(found.values())


def probes() -> tuple[type[Probe], ...]:
    """Those that every evaluation measures."""
    return tuple(probe for probe in _all() if probe.asked is None and probe not in OF_NUMBERS)


def probes_asked(names: Sequence[str]) -> tuple[type[Probe], ...]:
    """Those that are measured because somebody asked for them by these names; what is measured anyway is not among."""
    known = tuple(dict.fromkeys(probe.asked for probe in _all() if probe.asked is not None))
    given = [names] if isinstance(names, str) else names
    if not isinstance(given, list | tuple):
        raise InvalidArgument(f"`probes` {names!r:.60} must be a list of names, of {', '.join(known)}")
    for name in given:
        if name not in known:
            raise InvalidArgument(
                f"`probes` {name!r:.60} is none that is measured when asked for: those are {', '.join(known)}"
                f"{nearest(str(name), known)}; all others are measured always"
            )
    return tuple(probe for probe in _all() if probe.asked in given)


def probes_for(classes: Sequence[int | str]) -> tuple[type[Probe], ...]:
    """All that a model of these classes is measured by; where there are none, labels are numbers."""
    return probes() if classes else (*OF_NUMBERS, *(probe for probe in probes() if probe not in OF_CLASSES))
