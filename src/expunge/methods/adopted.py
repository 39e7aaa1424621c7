"""What a model that was trained elsewhere can be made to forget by, and what it has no evidence for."""

from __future__ import annotations

from expunge.core.errors import UnsupportedEver
from expunge.core.values import Certified, Empirical
from expunge.methods.contract import Method, Need
from expunge.train.run import Run

EPOCHS = 1.0  # the budget where nobody told how long the training was: budgets are epochs then
EARN_MORE = "train on these rows by `expunge train`, whose runs earn more"
LACKING = {
    Need.CHECKPOINTS: "the checkpoints of its training",
    Need.INIT: "the weights that its training began with",
}


def refuse_adopted(run: Run, method: Method) -> None:
    """In one sentence, before anything is written, what a method needs and nobody handed over."""
    if run.told.adopted is None:
        return
    what = f"method {method.name!r} on {run.path}, whose model was trained elsewhere"
    if method.reach is Certified:
        raise UnsupportedEver(
            f"{what}: a certificate covers a training whose loss and noise are on record, and here none is; use an "
            f"approximate method, or {EARN_MORE}"
        )
    if method.reach is not Empirical:
        raise UnsupportedEver(
            f"{what}: nobody knows who sat in which of its steps, so that none of them can be carried out again "
            f"without these rows; use an approximate method, or {EARN_MORE}"
        )
    for need, lacks in LACKING.items():
        if need in method.needs:
            raise UnsupportedEver(
                f"{what}: it needs {lacks}, which nobody handed over; use another method, or {EARN_MORE}"
            )
    if Need.CALIBRATION in method.needs and not run.told.data.counts.calibration:
        raise UnsupportedEver(
            f"{what}: it needs calibration rows, and no holdout was given to deal them from; adopt the model again "
            "with `holdout`, or use another method"
        )


def budget_of(run: Run, method: Method, budget: float | None) -> float | None:
    """A budget is a share of the training; one epoch unless said where nobody told how many there were."""
    adopted = run.told.adopted
    unsaid = budget is None and method.takes_budget and adopted is not None and adopted.epochs is None
    return EPOCHS if unsaid else budget
