"""From a run folder to signed records and a bundle. Called, it attests: ``expunge.attest(…)``."""

from __future__ import annotations

from expunge.core.verbs import make_verb

make_verb(__name__, "expunge.attest.attest.attest")
