"""How a run says that it came about: as its method works, or it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.verify.departures import base
from tests.verify.lineages import TRUSTED
from tests.verify.records import Story, approximated, bundle, certified, forgot, trained

from expunge.core.hashing import sha256
from expunge.records.bundle import open_bundle
from expunge.records.limits import Code
from expunge.records.record import Execution, GuaranteeKind, GuaranteePart
from expunge.records.verdict import Level, Status, Verdict
from expunge.verify.certificate import certificate
from expunge.verify.verdict_text import verdict_lines
from expunge.verify.verify import verify

SCHEDULED: dict[str, Callable[[], Story]] = {
    "train": trained,
    "exact-replay": base,
    "retrain": lambda: forgot(trained(), (3, 17), algorithm="retrain"),
}
OWN: dict[str, Callable[[], Story]] = {
    "fine-tune": lambda: approximated(trained(), (3,)),
    "certified-logistic": certified,
    "foreign": lambda: foreign("somebody-elses"),
}
WORKS = {name: Execution.SCHEDULE for name in SCHEDULED} | {name: Execution.OWN_STEPS for name in OWN}
STORIES = SCHEDULED | OWN


def foreign(name: str) -> Story:
    """A run by a method with sources of its own."""
    story = approximated(trained(), (3,), algorithm=name)
    return story.changed(algorithm=replace(story.record.algorithm, source=sha256(b"sources")))


def told(story: Story, execution: Execution, folder: Path, level: Level = Level.V1) -> Verdict:
    return verify(bundle(story.changed(execution=execution), folder), keys=TRUSTED, level=level)


@pytest.mark.parametrize("name", STORIES)
def test_a_record_that_says_how_its_method_works_is_accepted_like_one_that_says_nothing(
    name: str, tmp_path: Path
) -> None:
    verdict = told(STORIES[name](), WORKS[name], tmp_path / "said")
    assert verdict.status is Status.ACCEPTED, verdict.as_json()
    (found,) = [finding for finding in verdict.findings if finding.name == "execution named"]
    assert found.detail.startswith(WORKS[name].value)
    silent = verify(bundle(STORIES[name](), tmp_path / "silent"), keys=TRUSTED)
    assert silent.status is Status.ACCEPTED
    assert [finding.name for finding in silent.findings] == [
        finding.name for finding in verdict.findings if finding is not found
    ]


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("level", [Level.V1, Level.V3])
def test_one_that_disagrees_with_its_method_is_refused_at_v1(name: str, level: Level, tmp_path: Path) -> None:
    other = Execution.OWN_STEPS if WORKS[name] is Execution.SCHEDULE else Execution.SCHEDULE
    verdict = told(STORIES[name](), other, tmp_path, level)
    assert verdict.status is Status.REFUSED
    assert Code.EXECUTION_MISMATCH in verdict.codes
    (found,) = [finding for finding in verdict.findings if finding.code is Code.EXECUTION_MISMATCH]
    assert found.level is Level.V1
    assert f"by {other.value}" in found.detail
    assert f"works by {WORKS[name].value}" in found.detail


def test_an_ancestor_that_disagrees_is_named(tmp_path: Path) -> None:
    story = base().changed(1, execution=Execution.OWN_STEPS)
    verdict = verify(bundle(story, tmp_path), keys=TRUSTED)
    assert Code.EXECUTION_MISMATCH in verdict.codes
    assert any("its ancestor" in finding.detail for finding in verdict.refusals)


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("level", Level)
def test_a_solve_of_a_model_that_takes_steps_is_refused_and_never_a_crash(
    name: str, level: Level, tmp_path: Path
) -> None:
    path = bundle(STORIES[name]().changed(execution=Execution.SOLVE), tmp_path)
    sums = tmp_path if level > Level.V1 else None
    verdict = verify(path, keys=TRUSTED, level=level, data="digits", checkpoints=sums)
    assert verdict.status is (Status.ACCEPTED if level is Level.V0 else Status.REFUSED), verdict.as_json()
    if level > Level.V0:
        assert verdict.codes[0] is Code.EXECUTION_MISMATCH
        assert "said to have come about by solve" in verdict.refusals[0].detail
    assert "solved" in {remark.word for remark in verdict.remarks}
    assert list(verdict_lines(verdict))


def test_a_solve_earns_no_more_than_its_method(tmp_path: Path) -> None:
    story = approximated(trained(), (3,)).changed(
        execution=Execution.SOLVE, guarantee=GuaranteePart(kind=GuaranteeKind.EXACT)
    )
    assert Code.GUARANTEE_TOO_HIGH in verify(bundle(story, tmp_path), keys=TRUSTED).codes


def test_the_certificate_of_a_solve_offers_no_replay_of_steps(tmp_path: Path) -> None:
    path = bundle(approximated(trained(), (3,)).changed(execution=Execution.SOLVE), tmp_path)
    with open_bundle(path) as opened:
        assert [item.level for item in certificate(opened).verification] == ["V1"]
