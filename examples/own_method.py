"""A method of one's own: descend on the retain set, and pull the forget set's loss towards a target."""

from __future__ import annotations

from dataclasses import dataclass

from expunge.methods.contract import Need
from expunge.methods.objective_method import ObjectiveMethod


@dataclass(frozen=True, kw_only=True)
class SoftAscent(ObjectiveMethod):
    """Fine-tune on the retain set with a little ascent on the forget set."""

    name = "soft-ascent"
    needs = frozenset({Need.FORGET, Need.RETAIN})
    rate: float = 0.01
    strength: float = 0.02

    def objective(self, student, batch, teacher):
        return batch.retain_loss(student) - self.strength * batch.forget_loss(student)


if __name__ == "__main__":
    import sys
    from pathlib import Path

    import expunge

    out = Path(sys.argv[1] if len(sys.argv) > 1 else "runs-own-method")
    base = expunge.train("digits", model="mlp", epochs=4, out=out / "base")
    forgot = expunge.unlearn(base, "subject:person-017", method=SoftAscent(strength=0.05), out=out / "forgot")
    print(f"{forgot.method} forgot {len(forgot.forget_set)} examples: {forgot.result.example_steps:g} example-steps")
