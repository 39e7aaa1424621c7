"""From a bundle to a verdict. Called, it verifies: ``expunge.verify(…)``."""

from __future__ import annotations

from expunge.core.verbs import make_verb

make_verb(__name__, "expunge.verify.verify.verify")
