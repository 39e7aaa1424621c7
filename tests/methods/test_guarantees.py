"""No method claims more than it may, or is told what is not for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.methods.shared import FORGET

from expunge.core.errors import InvalidArgument
from expunge.core.values import Certified, Empirical, Exact
from expunge.methods.contract import Given, Method, Need, Outcome, Parent
from expunge.methods.retrain import Retrain
from expunge.train.state import weights_digest


def test_a_method_cannot_claim_more_than_its_ceiling(parent: Parent) -> None:
    class Boasting(Method):
        name = "boasting"
        needs = frozenset({Need.RETAIN})

        def unlearn(self, given: Given) -> Outcome:
            return Outcome(model=given.student(), steps=0, exact=True)

    assert isinstance(Boasting()(parent, FORGET).guarantee, Empirical)


def test_no_ceiling_is_passed_by_a_certificate_either(parent: Parent) -> None:
    class Boasting(Method):
        name = "boasting"
        needs = frozenset({Need.RETAIN})

        def unlearn(self, given: Given) -> Outcome:
            return Outcome(model=given.student(), steps=0, certified=Certified(1.0, 1e-5))

    assert isinstance(Boasting()(parent, FORGET).guarantee, Empirical)


@pytest.mark.parametrize("secret", ["noise", "account"])
def test_secrets_are_for_exact_and_certified_methods(parent: Parent, secret: str) -> None:
    class Curious(Method):
        name = "curious"
        needs = frozenset(Need)

        def unlearn(self, given: Given) -> Outcome:
            getattr(given, secret)
            return Outcome(model=given.student(), steps=0)

    with pytest.raises(InvalidArgument, match="only exact and certified methods are given"):
        Curious()(replace(parent, noise=np.zeros((3, 5)), account={}), FORGET)


def test_exact_is_not_earned_where_it_is_refused(parent: Parent) -> None:
    honest = Retrain()(parent, FORGET)
    doubtful = Retrain()(replace(parent, exact_refused="the self-test gave two different digests"), FORGET)
    assert isinstance(honest.guarantee, Exact)
    assert isinstance(doubtful.guarantee, Empirical)
    assert weights_digest(honest.model) == weights_digest(doubtful.model)
