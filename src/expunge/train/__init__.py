"""The one loop, its meter, checkpoints and run folders. Called, it trains: ``expunge.train(…)``."""

from __future__ import annotations

from expunge.core.verbs import make_verb

make_verb(__name__, "expunge.train.call.train")
