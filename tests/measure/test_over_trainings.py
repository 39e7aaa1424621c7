"""The verdict on a method, against Student's t in SciPy; what comes before it; and what would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from expunge.core.values import ClaimVerdict, Empirical, Exact, Refuted, Supported, Undecided
from expunge.measure.judgement import ALIKE, BY_RECORD, SAME
from expunge.measure.over_trainings import over_trainings
from expunge.records.evaluation import Compared, Evaluation, Forgotten, Looked, MemoryEvidence, Probed

NOBODY = Compared(weights_digest="0" * 64, example_steps=0.0, seconds=0.0)
LOOKED = Looked(
    forget=40, retain=1, holdout=1, attack=1, scored=0, excluded_holdout=0, duplicates=0, dropped_classes=()
)
WELL = Supported(0.01, "at most 20% of the memory is left")


def run(
    left: float | None,
    verdict: ClaimVerdict = WELL,
    *,
    claim: str = "at-most:25%",
    original: float = 1.0,
    exact: bool = False,
    same: bool = False,
    notices: tuple[str, ...] = (),
) -> Evaluation:
    """An evaluation as far as a verdict on a method reads it."""
    memory = None
    if left is not None:
        memory = MemoryEvidence(
            left=left,
            bound=abs(left) + 0.1,
            original=original,
            spread=0.05,
            references=8,
            witnesses=4,
            effective_rows=30.0,
            smallest_claim=0.2,
            stands_out=0,
        )
    probe = Probed(
        name="memory",
        role="forgetting",
        required=True,
        direction="match",
        scale="memory",
        one_unit=None,
        summary="",
        original=None,
        unlearned=Undecided("needs 20 forgotten examples, has 2"),
        references=(),
        reference_mean=None,
        verdict=Undecided("needs 20 forgotten examples, has 2"),
    )
    return Evaluation(
        weights_digest="0" * 64,
        method="scrub",
        forget=Forgotten(examples=40, share=0.1, rules=("random:10%:1",)),
        trial=LOOKED,
        original=NOBODY,
        references=(),
        probes=(probe,),
        guards=(),
        notices=notices,
        verdict=verdict,
        guarantee=Exact() if exact else Empirical(),
        examples=(),
        tolerances_version=2,
        claim=claim,
        memory=memory,
        same_as="0" * 64 if same else None,
    )


def runs(left: Sequence[float], verdict: ClaimVerdict = WELL) -> list[Evaluation]:
    return [run(one, verdict) for one in left]


def test_little_left_is_supported_by_the_bound() -> None:
    left = [0.11, 0.04, -0.02, 0.09, 0.13]
    found = over_trainings(runs(left))
    error = np.std(left, ddof=1) / math.sqrt(5)
    assert found.memory is not None
    assert found.memory.mean == pytest.approx(0.07)
    assert found.memory.bound == pytest.approx(0.07 + stats.t.ppf(0.95, 4) * error)
    assert (found.memory.low, found.memory.high) == pytest.approx(stats.t.interval(0.95, 4, 0.07, error))
    assert isinstance(found.verdict, Supported)
    assert found.verdict.p == pytest.approx(stats.t.sf((0.25 - 0.07) / error, 4))
    assert found.verdict.detail == f"at most {found.memory.bound:.0%} of the memory is left, over 5 trainings"
    assert (found.trainings, found.claim, found.allowed) == (5, "at-most:25%", 0.25)


@pytest.mark.parametrize("sign", [1, -1])
def test_much_left_is_refuted_by_the_interval(sign: int) -> None:
    left = sign * np.array([0.6, 0.5, 0.8, 0.7, 0.65, 0.6])
    found = over_trainings(runs(left))
    error = np.std(left, ddof=1) / math.sqrt(6)
    assert isinstance(found.verdict, Refuted)
    assert found.verdict.p == pytest.approx(2 * stats.t.sf((abs(left.mean()) - 0.25) / error, 5))
    assert found.verdict.over_forgotten == (sign < 0)
    said = "about 64% of the memory is left, over 6 trainings" if sign > 0 else "over-forgotten: -64% of"
    assert found.verdict.reason.startswith(said)


def test_both_tests_are_their_intervals() -> None:
    """Supported exactly where the one-sided bound lies inside, Refuted where the two-sided interval lies outside."""
    rng = np.random.default_rng(0)
    seen: set[str] = set()
    for _ in range(200):
        left = rng.normal(rng.uniform(-0.6, 0.6), 0.15, size=6)
        mean, error = left.mean(), left.std(ddof=1) / math.sqrt(6)
        low, high = mean - stats.t.ppf(0.975, 5) * error, mean + stats.t.ppf(0.975, 5) * error
        verdict = over_trainings(runs(left.tolist())).verdict
        assert isinstance(verdict, Supported) == (abs(mean) + stats.t.ppf(0.95, 5) * error <= 0.25)
        assert isinstance(verdict, Refuted) == (low > 0.25 or high < -0.25)
        seen.add(verdict.word)
    assert len(seen) == 3


def test_in_between_it_says_how_many_would_decide() -> None:
    left = [0.0, 0.4, 0.1, 0.3, 0.2]
    verdict = over_trainings(runs(left)).verdict
    spread = np.std(left, ddof=1)
    tried = next(n for n in range(6, 1000) if 0.2 + stats.t.ppf(0.95, n - 1) * spread / math.sqrt(n) <= 0.25)
    assert isinstance(verdict, Undecided)
    assert verdict.reason == (
        "up to 35% of the memory may be left over 5 trainings, the claim allows 25%: " + f"about {tried} would decide"
    )
    verdict = over_trainings(runs([0.25, 0.27, 0.23, 0.26, 0.24])).verdict
    assert verdict.detail.endswith("the claim allows 25%: more would not help")


def test_fewer_than_five_trainings_decide_nothing_and_their_verdicts_are_counted() -> None:
    found = over_trainings([run(0.01), run(0.9, Refuted("about 90% is left", 0.001)), run(0.02)])
    assert found.verdict == Undecided("needs 5 trainings, has 3; of these 1 refuted, 2 supported")
    assert found.memory is not None
    assert over_trainings([run(0.01)]).memory is None


def test_what_more_trainings_cannot_cure_comes_first() -> None:
    assert over_trainings([run(None), run(None)]).verdict == Undecided("memory: needs 20 forgotten examples, has 2")


def test_what_never_saw_them_needs_no_number() -> None:
    same = over_trainings([run(0.3, Supported(0.0, SAME), exact=True, same=True)] * 2)
    assert same.verdict == Supported(0.0, SAME)
    by_record = over_trainings([run(0.01, Undecided(BY_RECORD), exact=True)] * 6)
    assert by_record.verdict == Undecided(BY_RECORD)


def test_a_method_whose_runs_are_refuted_is_never_supported() -> None:
    """Memory alone does not see damage across it: a mean of nothing left does not speak for relabelling."""
    odd = Refuted("it answers their rows as no retrained model does", 1e-6)
    left = [0.01, 0.02, -0.01, 0.0, 0.03]
    assert isinstance(over_trainings(runs(left)).verdict, Supported)
    found = over_trainings(runs(left, odd)).verdict
    assert found == Refuted(f"5 of 5 runs are refuted: {odd.reason}", stats.binom.sf(4, 5, 0.05))
    two = [*runs(left[:2], odd), *runs(left[2:])]
    assert over_trainings(two).verdict == Undecided(
        "2 of 5 runs are refuted, retraining itself would be in one of twenty"
    )
    unknown = [run(None, odd) for _ in range(5)]  # FA, say, may refute where the memory cannot be read
    assert over_trainings(unknown).verdict.detail.startswith("5 of 5 runs are refuted")
    assert over_trainings([*unknown[:2], *[run(None)] * 3]).verdict.detail.startswith("memory:")
    assert over_trainings(unknown[:4]).verdict.detail.startswith("memory:")
    one = [*runs(left[:1], odd), *runs(left[1:])]
    assert isinstance(over_trainings(one).verdict, Supported)


def test_where_nothing_could_be_forgotten_nothing_is_supported() -> None:
    assert over_trainings([run(left, original=0.05) for left in (0.0, 0.01, 0.02, 0.0, 0.01)]).verdict == Undecided(
        ALIKE
    )


def test_tuned_on_the_answer_is_never_supported() -> None:
    told = "oracle-tuned: the fields were chosen on the retrained reference"
    found = over_trainings([run(left, notices=(told,)) for left in (0.0, 0.01, 0.02, 0.0, 0.01)])
    assert found.verdict == Undecided(told)


def test_of_claims_that_differ_the_weakest_counts() -> None:
    left = [0.11, 0.04, -0.02, 0.09, 0.13]
    claims = ["indistinguishable", *["at-most:25%"] * 4]
    found = over_trainings([run(one, claim=claim) for one, claim in zip(left, claims, strict=True)])
    assert (found.claim, found.verdict.word) == ("at-most:25%", "supported")
    assert over_trainings([run(one, claim="indistinguishable") for one in left]).verdict.word == "undecided"


def test_runs_that_do_not_vary_are_no_certainty() -> None:
    assert over_trainings(runs([0.1] * 6)).verdict == Undecided("all 6 runs read the same: needs trainings that vary")
