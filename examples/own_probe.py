"""A probe of one's own with a reading of its own: how sure a model is of the forget set where inputs move a little."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from expunge.core.statistics.means import mean_interval
from expunge.core.values import Figure, Measurement
from expunge.measure.contract import Probe, ProbeRole
from expunge.measure.readings import Arrays, Reading
from expunge.measure.trial import Answers, Beside, Ground, Whose
from expunge.tasks.task import Batch, Task


@dataclass(frozen=True, kw_only=True)
class ShiftedMargins(Reading):
    """Margins of the true labels where every number of an input is a little larger."""

    name = "shifted-margins"
    shift: float = 0.05

    def __call__(self, model: nn.Module, task: Task, rows: Batch) -> Arrays:
        shifted = rows.replace(inputs=task.inputs(rows) + self.shift)
        return {"margin": task.signals(model, shifted)["margin"]}


@dataclass(frozen=True, kw_only=True)
class ShiftedMargin(Probe):
    """Mean margin of the forget set's true labels under a small shift of the inputs, against the references' mean."""

    name = "shifted-margin"
    role = ProbeRole.FORGETTING
    scale = "margin"
    reads = (ShiftedMargins(),)

    def value(self, own: Answers, beside: Beside, ground: Ground) -> Figure:
        found = mean_interval(own.of(Whose.FORGET, self.reads[0])["margin"], scale=self.scale)
        return replace(found, unit="example") if isinstance(found, Measurement) else found


if __name__ == "__main__":
    import sys
    from pathlib import Path

    import expunge
    from expunge.measure.evaluate import trial_of

    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs-own-probe")
    base = expunge.train("digits", model="mlp", epochs=4, out=out / "base")
    forgot, retrained = (expunge.unlearn(base, "random:5%:1", method=m, out=out / m) for m in ("fine-tune", "retrain"))
    trial = trial_of([forgot], base, [retrained], base.data(), [ShiftedMargin])
    for name, model in (
        ("original", trial.original),
        ("fine-tuned", *trial.unlearned),
        ("retrained", *trial.references),
    ):
        print(f"{name}: {ShiftedMargin().measure(model, trial)}")
