"""Claims by id: what a record may say follows from what it is of, and no method can be given more than it earns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.attest.attested import Desk
from tests.conftest import make_pictures, retold

from expunge.attest.chain import make_chain
from expunge.attest.described import _fields
from expunge.attest.guarantee import guarantee_of, lowered
from expunge.core.clock import Time
from expunge.core.errors import RecordError
from expunge.core.values import Certified, Empirical, Exact
from expunge.data.dataset import Dataset
from expunge.methods import METHODS
from expunge.methods.contract import Method
from expunge.methods.last_layers import LayerShare, RetrainLastLayers, StepsOf
from expunge.records.claims import CLAIMS, NOT_CLAIMED, claims_of, highest, not_claimed
from expunge.records.form import to_plain
from expunge.records.keys import SigningKey
from expunge.records.record import GuaranteeKind, GuaranteePart, Operation, RunRecord
from expunge.records.run_file import MethodFile
from expunge.schedule.recipe import Profile
from expunge.train.run import Run
from expunge.train.training import make_recipe

KIND = {Exact: GuaranteeKind.EXACT, Certified: GuaranteeKind.CERTIFIED, Empirical: GuaranteeKind.EMPIRICAL}
RUNS = (Operation.TRAIN, Operation.RETRAIN, Operation.UNLEARN)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_highest_guarantee_is_the_one_in_the_table_of_methods(method: type[Method]) -> None:
    assert highest(method.name) is KIND[method.ceiling]


def test_what_is_not_built_in_earns_no_more_than_tests() -> None:
    assert highest("somebody's exact method") is GuaranteeKind.EMPIRICAL
    assert highest("") is GuaranteeKind.EMPIRICAL


def test_a_commitment_claims_that_it_fixed_something_and_nothing_else() -> None:
    assert claims_of(Operation.COMMIT, None, emptied=False, recorded=False) == ("C1",)


@pytest.mark.parametrize("operation", RUNS)
def test_claims_follow_from_guarantee_record_and_empty_chairs(operation: Operation) -> None:
    def claims(kind: GuaranteeKind, emptied: bool, recorded: bool) -> tuple[str, ...]:
        return claims_of(operation, kind, emptied=emptied, recorded=recorded)

    assert claims(GuaranteeKind.EXACT, False, True) == ("C2",)
    assert claims(GuaranteeKind.EXACT, True, True) == ("C2", "C3", "C4")
    assert claims(GuaranteeKind.EMPIRICAL, True, True) == ("C2", "C3")
    assert claims(GuaranteeKind.EMPIRICAL, True, False) == ("C6",)
    assert claims(GuaranteeKind.CERTIFIED, True, False) == ("C6", "C5")


def test_only_exact_claims_bits_and_only_certified_claims_closeness() -> None:
    for operation, kind, emptied, recorded in itertools.product(RUNS, GuaranteeKind, (False, True), (False, True)):
        found = claims_of(operation, kind, emptied=emptied, recorded=recorded)
        assert set(found) <= set(CLAIMS)
        assert ("C4" in found) == (kind is GuaranteeKind.EXACT and emptied)
        assert ("C5" in found) == (kind is GuaranteeKind.CERTIFIED)
        assert ("C2" in found) == recorded != ("C6" in found)


def test_every_record_says_all_nine_things_that_it_does_not_prove() -> None:
    assert not_claimed() == tuple(NOT_CLAIMED) == tuple(f"N{number}" for number in range(1, 10))
    assert all(sentence.endswith(".") for sentence in (*CLAIMS.values(), *NOT_CLAIMED.values()))


# What a run folder is turned into: whatever run.json says, no record carries more than its method, and none claims less
# than the nine things that it does not prove.

STATED: dict[str, dict[str, Any]] = {
    "exact": {"kind": "exact"},
    "certified": {"kind": "certified", "epsilon": 1.0, "delta": 1e-4},
    "empirical": {"kind": "empirical", "passed": [], "level": None},
    "boasting": {"kind": "empirical", "passed": ["loss-threshold"], "level": 0.95},
}
RECIPE = make_recipe(make_pictures(rows=12), model="mlp")
REFUSALS = ("GUARANTEE_TOO_HIGH", "PROFILE_CLAIM_MISMATCH")
ALGORITHMS = st.sampled_from(METHODS).map(lambda method: method()) | st.sampled_from(
    [None, RetrainLastLayers(layers=LayerShare.ALL, schedule=StepsOf.RECIPE)]
)


def earned(make: Callable[[], Any]) -> Any:
    """What is made, or None where it is refused as more than was earned; any other refusal is none of these."""
    try:
        return make()
    except RecordError as error:
        if error.code not in REFUSALS:
            raise
        return None


@given(
    method=ALGORITHMS,
    stated=st.sampled_from(sorted(STATED)),
    recorded=st.booleans(),
    refused=st.none() | st.just("two digests"),
    profile=st.sampled_from(Profile),
    threads=st.integers(1, 3),
    noise=st.none() | st.just("00" * 32),
)
@settings(max_examples=500, deadline=None)
def test_no_run_json_earns_more_than_its_method_profile_and_trajectory(
    method: Method | None,
    stated: str,
    recorded: bool,
    refused: str | None,
    profile: Profile,
    threads: int,
    noise: str | None,
    runs: tuple[Run, Run],
) -> None:
    recipe = replace(RECIPE, profile=profile, threads=threads)
    changes = {"guarantee": STATED[stated], "exact_refused": refused, "noise_commitment": noise}
    run = retold(runs[0], method=None if method is None else to_plain(method.told), **changes)
    run.__dict__["recipe"] = recipe
    found = earned(lambda: guarantee_of(run, recorded=recorded))
    if not isinstance(found, GuaranteePart):
        assert stated != "empirical"
        return
    ceiling = GuaranteeKind.EXACT if method is None else KIND[method.ceiling]
    assert found.kind in (GuaranteeKind.EMPIRICAL, ceiling)
    assert found.kind.value == stated or (found.kind is GuaranteeKind.EMPIRICAL and lowered(run) is not None)
    if found.kind is GuaranteeKind.EXACT:
        assert (recorded, refused, profile, threads) == (True, None, Profile.EXACT, 1)
    if found.kind is GuaranteeKind.CERTIFIED:
        assert noise is not None
        assert (found.epsilon, found.delta) == (1.0, 1e-4)
    else:
        assert (found.epsilon, found.delta) == (None, None)
    assert found.tests == (() if found.kind is GuaranteeKind.EMPIRICAL else None)


@pytest.fixture(scope="module")
def runs(owner: SigningKey, pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """One with a recorded trajectory, one without."""
    desk = Desk(tmp_path_factory.mktemp("claims"), owner, pictures)
    base = desk.train("base")
    return (
        desk.unlearn(base, "subject:someone-02", "exact"),
        desk.unlearn(base, "subject:someone-02", "tuned", method="fine-tune"),
    )


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_no_record_of_any_method_says_more_than_it_may(
    method: type[Method], runs: tuple[Run, Run], owner: SigningKey
) -> None:
    """Records as they would be signed, of folders whose run.json names each method with each guarantee."""
    made = 0
    for run in runs:
        reused = {} if run.told.forgetting is None else {"reused_steps": {}}
        for stated in STATED.values():
            found = retold(run, method=to_plain(method().told), guarantee=stated, **reused)
            record = earned(lambda found=found: make_chain(found, owner, Time.now()).record)
            if not isinstance(record, RunRecord):
                continue
            made += 1
            assert record.algorithm.name == method.name
            assert record.guarantee.kind in (GuaranteeKind.EMPIRICAL, KIND[method.ceiling])
            assert record.guarantee.kind is not GuaranteeKind.EXACT or record.checkpoints is not None
            assert (record.checkpoints is None) == (run is runs[1] or method.ceiling is not Exact)
            assert record.claim == claims_of(
                record.operation,
                record.guarantee.kind,
                emptied=True,
                recorded=record.checkpoints is not None,
            )
            assert record.not_claimed == not_claimed()
    assert made >= 2  # empirical is never refused


def test_figures_of_a_certificate_are_signed_as_reals_whichever_way_they_were_given() -> None:
    """A whole number would be another text than the recipe's, and the verifier compares texts."""
    given = {"epsilon": 5, "delta": 0.25, "decay": 1, "steps": 2, "bound": "data-dependent"}
    signed = _fields("certified-logistic", MethodFile(name="certified-logistic", fields=given))
    assert {name: type(value) for name, value in signed.items()} == {
        **dict.fromkeys(("epsilon", "delta", "decay"), float),
        "steps": int,
        "bound": str,
    }
    assert _fields("certified-logistic", MethodFile(name="certified-logistic", fields={"decay": None})) == {
        "decay": None
    }
