"""The golden files of 0.1.0 are read, written, verified and drawn as they were then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.golden import observed
from tests.golden.product import (
    GOLDEN,
    NOW,
    REPOSITORY,
    REWRITE,
    SINCE,
    WRITTEN_AT,
    command,
    digest,
    environment_here,
    leaderboard_pages,
    rewritten,
)

from expunge.core.clock import Time
from expunge.report.facts import read_evaluation

MANIFEST: dict[str, Any] = json.loads((GOLDEN / "manifest.json").read_text(encoding="utf-8"))
DOCUMENTS: dict[str, dict[str, str]] = MANIFEST["documents"]
LARGEST = 2 * 2**20
ANSWERED_SINCE = ("certificate of ", "report of one run", "report of all of one", "report of pictures", "report of two")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that is looked at, and put back where it was altered."""
    return observed.copied(tmp_path_factory.mktemp("golden") / "copy")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A copy for a test that changes it."""
    return observed.copied(tmp_path / "copy")


@pytest.fixture(scope="module")
def odd() -> list[str]:
    """In what this machine differs from the one that wrote the golden files."""
    here, there = environment_here(GOLDEN / "digits" / "base"), MANIFEST["environment"]
    return sorted(name for name in {*here, *there} if here.get(name) != there.get(name))


@pytest.fixture(scope="module")
def same_machine(odd: list[str]) -> Callable[[], None]:
    """Skips where this machine computes other bits than the one that wrote the golden files."""

    def check() -> None:
        if odd:
            pytest.skip(f"this machine differs from the one that wrote the golden files in {', '.join(odd)}")

    return check


def test_the_golden_files_are_whole_and_small() -> None:
    assert not Path(WRITTEN_AT).exists(), "runs would find their parents there and not beside them"
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) <= LARGEST
    assert observed.all_documents(GOLDEN) == DOCUMENTS
    assert {document["kind"] for document in DOCUMENTS.values()} == set(REWRITE) - {"results"}
    kept = {path.name: path for path in observed.RESULTS.glob("*.json")}
    places = {name: kept.get(name, REPOSITORY / "studies" / "results" / name) for name in MANIFEST["results"]}
    assert kept.keys() <= places.keys()
    assert {name: digest(path.read_bytes()) for name, path in places.items()} == MANIFEST["results"]


@pytest.mark.parametrize("kind", sorted(REWRITE))
def test_every_document_is_read_and_written_to_the_same_bytes(kind: str, tmp_path: Path) -> None:
    places = [GOLDEN / name for name, document in DOCUMENTS.items() if document["kind"] == kind]
    if kind == "results":
        places = [observed.RESULTS / f"{study}.json" for study in observed.STUDIES]
    assert places
    for number, place in enumerate(places):
        assert rewritten(kind, place, tmp_path / str(number)) == place.read_bytes(), place


def test_runs_say_what_they_are(root: Path) -> None:
    assert observed.infos(root) == MANIFEST["infos"]


@pytest.mark.parametrize("bundle", MANIFEST["verdicts"])
def test_a_bundle_gives_the_same_findings(bundle: str, root: Path) -> None:
    for level, expected in MANIFEST["verdicts"][bundle].items():
        found = observed.verdict(root, bundle, level)
        assert found["verdict"]["findings"] == expected["verdict"]["findings"]  # names, codes and order before all else
        assert found == expected


@pytest.mark.parametrize("bundle", MANIFEST["verdicts"])
def test_remarks_that_came_since_stand_before_those_of_then(bundle: str, root: Path) -> None:
    """All golden records are in one log, and their dates are of the clock that stood still: both are said now."""
    place, keys = root / "bundles" / bundle, root / "keys" / "trusted.json"
    done = command("verify", place, "--keys", keys, "--level", "V1", "--json", since=True)
    remarks = [remark["word"] for remark in done.json["remarks"]]
    then = [remark["word"] for remark in MANIFEST["verdicts"][bundle]["V1"]["verdict"]["remarks"]]
    assert [word for word in remarks if word not in SINCE] == then
    ahead = ["dates-ahead"] if Time.now() < Time(NOW) else []
    assert remarks == [*ahead, "other-records", *then]


@pytest.mark.parametrize("bundle", MANIFEST["replays"])
def test_a_bundle_is_replayed_to_the_same_status(bundle: str, root: Path, same_machine: Callable[[], None]) -> None:
    same_machine()
    for level, expected in MANIFEST["replays"][bundle].items():
        assert observed.replayed(root, bundle, level) == expected, level


def test_every_page_has_its_digest(root: Path, tmp_path: Path) -> None:
    """But for those that answer otherwise since, which are drawn too: what they say, ``tests/report`` holds."""
    found, then = observed.pages(root, tmp_path, MANIFEST["package"]), MANIFEST["pages"]
    assert found.keys() == then.keys()
    same = [name for name in then if not name.startswith(ANSWERED_SINCE) and not name.endswith(": leaderboard.html")]
    assert len(same) > 90
    assert {name: found[name] for name in same} == {name: then[name] for name in same}


@pytest.mark.parametrize("study", observed.STUDIES)
def test_leaderboards_of_then_say_by_which_rules_they_were_judged(study: str) -> None:
    """The front page is drawn anew, from the same figures."""
    place = observed.RESULTS / f"{study}.json"
    page = leaderboard_pages(place)["leaderboard.html"].decode()
    assert "Verdicts are by the rules of an earlier release" in page
    assert "Memory left" not in page
    settings = json.loads(place.read_text(encoding="utf-8"))["settings"]
    assert page.count('<svg class="tradeoff dots wide"') == len(settings)
    for row in (row for setting in settings for row in setting["rows"]):
        assert row["label"] in page
        assert all(f"{word} {count}" in page for word, count in row["verdicts"].items() if count > 1)


def test_runs_are_attested_to_the_same_bytes(own: Path, tmp_path: Path) -> None:
    """But for the package's own digest and the execution that records name since: those of 0.1.0 are put in."""
    found = observed.attestations(own, tmp_path / "made", MANIFEST["package"], MANIFEST["tree"])
    assert found == MANIFEST["attestations"]
    for bundle in observed.bundle_names():
        made, golden = tmp_path / "made" / bundle, GOLDEN / "bundles" / bundle
        assert observed.shas(made) == observed.shas(golden)
    assert observed.shas(tmp_path / "made" / "log") == observed.shas(GOLDEN / "log")


def test_a_commitment_is_signed_to_the_same_bytes(own: Path, tmp_path: Path) -> None:
    assert observed.commitment(own, tmp_path, MANIFEST["package"], MANIFEST["tree"]) == MANIFEST["commitment"]


def test_golden_runs_forget_to_the_same_weights(root: Path, tmp_path: Path, same_machine: Callable[[], None]) -> None:
    same_machine()
    found = observed.unlearned(root, tmp_path)
    assert found == MANIFEST["unlearned"]
    for method, run in observed.STORED.items():
        stored = json.loads((GOLDEN / "digits" / run / "run.json").read_text(encoding="utf-8"))["weights_digest"]
        assert found[method]["weights_digest"] == stored, method


def test_golden_runs_are_measured_to_the_same_figures(
    root: Path, tmp_path: Path, same_machine: Callable[[], None]
) -> None:
    """Of every probe of then; a reference with the original's own seed is counted no more, and gaps are without it."""
    same_machine()
    for run, now in observed.evaluated(root, tmp_path).items():
        then = json.loads((GOLDEN / run / "evaluation.json").read_text(encoding="utf-8"))["probes"]
        assert len(then) > 6
        for probe in then:
            same = now[probe["name"]]
            assert len(same["references"]) >= len(probe["references"]) - 1
            if probe["name"] != "average-gap":
                assert (same["original"], same["unlearned"]) == (probe["original"], probe["unlearned"])
                assert all(figure in probe["references"] for figure in same["references"])


def test_evaluations_of_then_say_by_which_rules_they_were_judged() -> None:
    for run, evaluation in MANIFEST["evaluations"].items():
        found = read_evaluation(GOLDEN / run)
        assert found is not None
        assert found.answer.startswith(f"By the rules of an earlier release: {evaluation['verdict']['verdict']} (")


def test_the_interrupted_training_continues_to_the_recorded_weights(
    own: Path, same_machine: Callable[[], None]
) -> None:
    same_machine()
    assert observed.continued(own) == MANIFEST["continued"]


def test_hygiene_lists_and_finishes_what_it_did(own: Path) -> None:
    assert observed.hygiene(own) == MANIFEST["hygiene"]


def test_altered_files_are_refused_in_the_same_sentences(root: Path, odd: list[str]) -> None:
    """Whatever else a command says: nobody sees a traceback, and nothing is written."""
    for case in MANIFEST["refusals"]:
        told, asked = observed.answer_to(root, case), (case["file"], case["change"], case["command"])
        if "has no readable" in case["answer"]["err"]:  # two of a tuning showed Python's exception: now it is the place
            assert told["status"] == case["answer"]["status"] == 2, asked
            assert "tuning/tuning.json " in told["err"], asked
            continue
        if "own header differs" in case["answer"]["out"]:  # a zip of another form is refused as such, and unopened
            assert (told["status"], told["err"]) == (case["answer"]["status"], case["answer"]["err"]) == (1, "")
            assert "REFUSED UNSAFE_FILE bundle" in told["out"], asked
            assert "is not packed as attest packs" in told["out"], asked
            continue
        if case["change"] == {"put": [["operation"], "adopt"]}:  # a word of runs since, and still no run like this one
            assert told["status"] == case["answer"]["status"] == 2, asked
            assert "adopted a model of which nothing is told: the file was altered" in told["err"], asked
            continue
        if odd and "in another environment (" in told["err"]:  # on another machine this is refused before the change
            assert told["status"] == case["answer"]["status"] == 2, asked
            assert all(name.replace("_", " ") in told["err"] for name in odd), asked
            continue
        assert told == case["answer"], asked


def test_the_smoke_study_has_the_same_jobs_but_for_verdicts() -> None:
    """Witnesses came since, and evaluations are by other rules; whatever trains or forgets is found in an old store."""
    then = MANIFEST["smoke jobs"]
    kept = [json.loads(path.read_text(encoding="utf-8")) for path in (GOLDEN / "store").glob("??/*/entry.json")]
    assert {entry["key"] for entry in kept} == set(then)
    jobs = observed.smoke_jobs()
    assert len(jobs) == len(set(jobs))
    gone = {entry["key"] for entry in kept} - set(jobs)
    assert {entry["work"] for entry in kept if entry["key"] in gone} == {"evaluate"}
    assert {entry["work"] for entry in kept if entry["key"] not in gone} == {"train", "unlearn"}
