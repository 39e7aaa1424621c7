"""Studies: a grid of trials, each computed once and kept, on one machine or on Ray; drawn as a leaderboard."""

from __future__ import annotations

from expunge.core.verbs import make_verb

make_verb(__name__, "expunge.study.study.study")
