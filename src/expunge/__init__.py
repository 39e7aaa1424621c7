"""Expunge makes a trained PyTorch model forget named people's data, and shows its work.

    run = expunge.train("digits", model="cnn", epochs=8, out="runs/base")  # or a frame, with label="outcome"
    forgot = expunge.unlearn(run, "subject:person-017", method="exact-replay", out="runs/forgot")
    expunge.evaluate(forgot, references=["runs/retrained"])
    expunge.report(["runs/forgot"], out="report.html")

Everything is imported when it is first used: a report or a data set needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from expunge.core.installed import needed_by
from expunge.core.version import __version__

_FACE = {
    "Source": "expunge.data.source",
    "Run": "expunge.train.run",
    "load": "expunge.train.load",
    "export": "expunge.train.load",
    "make_recipe": "expunge.train.training",
    "adopt": "expunge.train.adopt",
    "unlearn": "expunge.methods.unlearn",
    "forget": "expunge.desk.forget",
    "tune": "expunge.study.tuning_folder",
    "evaluate": "expunge.study.evaluate",
    "references": "expunge.study.references",
    "witnesses": "expunge.study.references",
    "possible": "expunge.study.references",
    "halves": "expunge.study.references",
    "plan": "expunge.study.planner",
    "predict": "expunge.train.predict",
    "score": "expunge.train.predict",
    "worst": "expunge.attacks.worst",
    "ATTACKS": "expunge.attacks",
    "METHODS": "expunge.methods",
    "PROBES": "expunge.measure",
    "ExpungeError": "expunge.core.errors",
}

# fmt: off
__all__ = [
    "ATTACKS", "METHODS", "PROBES", "ExpungeError", "Run", "Source", "__version__", "adopt", "attest", "evaluate",
    "export", "forget", "halves", "load", "make_recipe", "plan", "possible", "predict", "references", "report", "score",
    "study", "train", "tune", "unlearn", "verify", "witnesses", "worst",
]
# fmt: on

if TYPE_CHECKING:
    from expunge.attacks import ATTACKS
    from expunge.attacks.worst import worst
    from expunge.attest.attest import attest
    from expunge.core.errors import ExpungeError
    from expunge.data.source import Source
    from expunge.desk.forget import forget
    from expunge.measure import PROBES
    from expunge.methods import METHODS
    from expunge.methods.unlearn import unlearn
    from expunge.report.report import report
    from expunge.study.evaluate import evaluate
    from expunge.study.planner import plan
    from expunge.study.references import halves, possible, references, witnesses
    from expunge.study.study import study
    from expunge.study.tuning_folder import tune
    from expunge.train.adopt import adopt
    from expunge.train.call import train
    from expunge.train.load import export, load
    from expunge.train.predict import predict, score
    from expunge.train.run import Run
    from expunge.train.training import make_recipe
    from expunge.verify.verify import verify


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in ("train", "attest", "verify", "report", "study"):  # folders that are verbs too
        return import_module(f"expunge.{name}")
    if name in _FACE:
        with needed_by(f"`expunge.{name}`"):
            return getattr(import_module(_FACE[name]), name)
    raise AttributeError(f"module 'expunge' has no attribute {name!r}")
