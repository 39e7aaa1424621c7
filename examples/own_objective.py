"""An objective that is no weighted sum: descend on the retain set, and push the forget set's loss up to a cap only."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from expunge.methods.contract import Need
from expunge.methods.objective_method import ObjectiveMethod


@dataclass(frozen=True, kw_only=True)
class CappedAscent(ObjectiveMethod):
    """Ascend on the forget set by a hinge: what its loss lacks to a cap is minimised, and beyond it nothing pushes."""

    name = "capped-ascent"
    needs = frozenset({Need.FORGET, Need.RETAIN})
    rate: float = 0.01
    strength: float = 1.0
    cap: float = 2.3

    def objective(self, student, batch, teacher):
        lacking = batch.forget_loss(student).through(lambda loss: torch.relu(self.cap - loss))
        return batch.retain_loss(student) + self.strength * lacking


if __name__ == "__main__":
    import sys
    from pathlib import Path

    import expunge

    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs-own-objective")
    base = expunge.train("digits", model="mlp", epochs=4, out=out / "base")
    for cap in (0.1, 2.3):
        run = expunge.unlearn(base, "random:5%:1", method=CappedAscent(cap=cap), out=out / f"cap-{cap:g}")
        print(f"cap {cap:g}: mean margin {expunge.evaluate(run)['mean-margin'].unlearned}")
