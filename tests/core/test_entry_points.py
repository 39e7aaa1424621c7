"""What other packages offer: found by its name, refused where it is not what it says, and nothing else is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest
from examples.own_method import SoftAscent
from examples.own_probe import ShiftedMargin

from expunge.core import entry_points
from expunge.core.errors import InvalidArgument
from expunge.measure import PROBES
from expunge.measure import lookup as of_probes
from expunge.measure.contract import Judging
from expunge.methods import lookup as of_methods


@dataclass(frozen=True, kw_only=True)
class Deciding(ShiftedMargin):
    """One that wants to decide."""

    name = "deciding"
    judging = Judging.MEMORY


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """What is installed; the tables are looked up anew."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(entry_points, "entry_points", lambda group: [entry for entry in found if entry.group == group])
    of_probes._all.cache_clear()
    of_methods.methods.cache_clear()
    yield found
    of_probes._all.cache_clear()
    of_methods.methods.cache_clear()


def test_a_probe_and_a_method_are_found_by_their_names(offers: list[EntryPoint]) -> None:
    offers.append(EntryPoint("shifted-margin", "examples.own_probe:ShiftedMargin", "expunge.probes"))
    offers.append(EntryPoint("soft-ascent", "examples.own_method:SoftAscent", "expunge.methods"))
    assert of_probes.probes() == (*PROBES, ShiftedMargin)
    assert of_methods.find_method("soft-ascent") is SoftAscent


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("shifted", "examples.own_probe:ShiftedMargin", "offers the probe 'shifted-margin': name it alike"),
        ("own", "examples.own_method:SoftAscent", "of expunge.probes is no Probe: examples.own_method:SoftAscent"),
        ("average-gap", "examples.own_probe:ShiftedMargin", "offers the probe 'average-gap', which exists already"),
        ("deciding", f"{__name__}:Deciding", "'deciding' of .* has a judging of its own, .* leave that out"),
    ],
)
def test_what_is_no_probe_of_that_name_is_refused(
    offers: list[EntryPoint], name: str, value: str, sentence: str
) -> None:
    offers.append(EntryPoint(name, value, "expunge.probes"))
    with pytest.raises(InvalidArgument, match=sentence):
        of_probes.probes()


def test_a_method_is_refused_likewise(offers: list[EntryPoint]) -> None:
    offers.append(EntryPoint("soft", "examples.own_method:SoftAscent", "expunge.methods"))
    with pytest.raises(InvalidArgument, match=r"of expunge\.methods offers the method 'soft-ascent': name it alike"):
        of_methods.methods()
