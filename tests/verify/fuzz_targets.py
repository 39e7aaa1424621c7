"""The honest bundles that are mutated: with and without forgetting, shards, a beacon, witnesses; every guarantee."""

from __future__ import annotations

from functools import cache

from tests.verify.departures import DATED, SHARDED, base
from tests.verify.mutations import Target
from tests.verify.records import approximated, certified, forgot, trained


@cache
def targets() -> tuple[Target, ...]:
    """Each is accepted at V1 as it is."""
    return (
        Target.of("exact", base()),
        Target.of("dated", trained(DATED), witnessed=True),
        Target.of("sharded", forgot(trained(SHARDED), (3,))),
        Target.of("certified", certified()),
        Target.of("approximate", approximated(trained(), (3,))),
    )
