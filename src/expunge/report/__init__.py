"""HTML from runs and evaluations. No torch. Called, it writes a report: ``expunge.report(…)``."""

from __future__ import annotations

from expunge.core.verbs import make_verb

make_verb(__name__, "expunge.report.report.report")
