"""How a row of the leaderboard came by its fields, from the tuning that chose them."""

from __future__ import annotations

from expunge.records.row_tuning import Failure, RowTuning, Searched
from expunge.records.tuning import Tuning, score_of


def tuned_row(tuning: Tuning, method: str) -> RowTuning:
    """What the leaderboard shows of a method's tuning."""
    entry = tuning.of(method)
    assert entry is not None, method
    chosen, default = entry.chosen, entry.default
    searched = Searched(
        trials=len(entry.trials),
        score=score_of(chosen.choice),
        default_score=score_of(default.choice),
        transfer_score=score_of(chosen.transfer),
        better=entry.better,
        transferred=entry.transferred,
        example_steps=entry.cost.example_steps + entry.cost.scoring,
        twins_example_steps=tuning.cost.twins,
        digest=tuning.digest,
        failures=tuple(
            Failure(fields=trial.fields, reason=trial.reason or "") for trial in entry.trials if trial.score is None
        ),
        kept_default=chosen.fields == default.fields,
        admissible=entry.state == "tuned",
        notices=entry.notices,
    )
    return RowTuning(state="oracle-tuned" if tuning.mode == "oracle" else "tuned", search=searched)
