"""``forget``: the cheapest method that earns the guarantee, then hygiene and records; one digest with training so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Refused, retold
from tests.desk.conftest import PEOPLE, SHAPE
from tests.hygiene.worlds import files
from tests.methods.linear_problems import FIELDS

from expunge.core.errors import InvalidArgument, RunError
from expunge.core.values import Certified, Empirical, Exact, Supported, Undecided
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.desk import forget as room
from expunge.desk.forget import foresee, forget
from expunge.desk.request import ForgetRequest
from expunge.hygiene.survey import Survey, survey
from expunge.records.bundle import open_bundle
from expunge.records.declaration import read_declaration
from expunge.records.keys import load_trusted
from expunge.records.record import RunRecord
from expunge.records.statement import read_unchecked
from expunge.records.verdict import Status
from expunge.schedule.recipe import Recipe
from expunge.train import exactness
from expunge.train.call import train
from expunge.train.run import Run, write_run_file
from expunge.verify.verify import verify

ONE, OTHER, THIRD = (f"subject:{name}" for name in PEOPLE[3:6])


def record_of(bundle: Path) -> RunRecord:
    with open_bundle(bundle) as opened:
        found = read_unchecked(opened.read("envelope.json"), "envelope.json", opened).predicate
    assert isinstance(found, RunRecord)
    return found


def test_it_is_training_without_them_by_the_cheapest_way(base: Run, table: Path, tmp_path: Path) -> None:
    """One digest with training anew, one after another and at once; what was predicted is what it took."""
    first = forget(base, ONE, guarantee="exact")
    second = forget(first.run, [OTHER, THIRD], guarantee="exact")
    at_once = forget(base, [THIRD, ONE, OTHER], guarantee="exact", out=tmp_path / "at-once")
    anew = train(
        str(table), out=tmp_path / "anew", label="income", subject="name", without=[ONE, OTHER, THIRD], **SHAPE
    )
    assert (first.run.path.name, second.run.path.name) == ("base.1", "base.2")
    assert second.run.weights_digest == at_once.run.weights_digest == anew.weights_digest
    assert first.run.weights_digest not in (base.weights_digest, anew.weights_digest)
    for done in (first, second, at_once):
        assert done.run.guarantee == Exact()
        predicted = done.run.forgetting.predicted
        assert predicted is not None
        assert predicted.example_steps == done.run.result.example_steps
    assert first.run.method == "exact-replay"
    assert first.run.result.example_steps < (first.run.told.training_example_steps or 0)


@pytest.mark.parametrize("asked", ["certified", "empirical"])
def test_a_higher_guarantee_satisfies_a_lower_request(base: Run, asked: str) -> None:
    done = forget(base, ONE, guarantee=asked)
    assert done.run.guarantee == Exact()
    assert done.judged is None
    again = forget(base, ONE, guarantee="exact")
    assert again.run.path == done.run.path


def test_where_replay_is_out_it_retrains(base: Run) -> None:
    """Checkpoints of another environment cannot be gone on with; training anew needs none."""
    other = {**(base.told.environment or {}), "python": "2.7"}
    write_run_file(base.path, replace(base.told, environment=other))
    run = Run.open(base.path)
    found = foresee(ForgetRequest.of(run, ONE, "exact"))
    assert found.chosen.method.name == "retrain"
    why = {one.method.name: one.left_out(found.chosen) for one in found.candidates}
    assert "another environment (python '2.7' then" in why["exact-replay"]
    assert "no rule for several shards" in why["certified-logistic"]
    assert forget(run, ONE, guarantee="exact").run.method == "retrain"


def test_numbers_go_on_from_the_run_that_forgot_and_skip_what_is_there(base: Run) -> None:
    (base.path.parent / "base.1").mkdir()
    (base.path.parent / "base.1" / "notes.txt").write_text("mine")
    first = forget(base, ONE, guarantee="exact")
    assert first.run.path.name == "base.2"
    assert forget(first.run, OTHER, guarantee="exact").run.path.name == "base.3"
    (base.path.parent / "v1.5").mkdir()  # a name of its owner's, which is not counted on
    for path in base.path.iterdir():
        path.rename(base.path.parent / "v1.5" / path.name)
    assert forget(base.path.parent / "v1.5", THIRD, guarantee="exact").run.path.name == "v1.5.1"


def test_a_dry_run_says_what_would_be_destroyed_and_writes_nothing(base: Run, key: Path) -> None:
    before = files(base.path.parent)
    found = foresee(ForgetRequest.of(base, ONE, "exact"))
    assert files(base.path.parent) == before
    assert found.folder.name == "base.1"
    done = forget(base, ONE, guarantee="exact")
    assert {one.path for one in found.found.ours} == {one.path for one in survey(done.run).ours} != set()
    assert found.chosen.cost == done.run.forgetting.predicted


def test_nothing_is_destroyed_without_consent(base: Run, key: Path) -> None:
    """No answer, a no, then a yes: the same call each time, and one child."""
    before, asked = files(base.path), list[Survey]()

    def no(found: Survey) -> bool:
        asked.append(found)
        return False

    first = forget(base, ONE, guarantee="exact", key=key)
    assert not first.settled
    assert not first.fully
    assert first.attested is None
    refused = forget(base, ONE, guarantee="exact", key=key, yes=no)
    assert not refused.settled
    assert asked[0].ours
    assert {name: old for name, old in files(base.path).items() if name in before} == before
    made = files(first.run.path)
    done = forget(base, ONE, guarantee="exact", key=key, yes=lambda found: True)
    assert done.settled
    assert done.fully
    assert done.attested is not None
    assert done.run.weights_digest == first.run.weights_digest
    assert {name: old for name, old in files(done.run.path).items() if name in made} == made
    assert not (base.path / "model.safetensors").exists()


def test_the_record_names_what_was_destroyed(base: Run, key: Path) -> None:
    """Parent signed before anything goes, child after it; the request came after the parent's record."""
    done = forget(base, ONE, guarantee="exact", key=key, yes=True)
    bundle = base.path.with_name("base.1-bundle")
    record, declared = record_of(bundle), read_declaration(done.run.path)
    assert declared is not None
    assert len(record.retired) == len(declared.retired) > 0
    assert [one.what for one in record.retired] == [one.what for one in declared.retired]
    assert record.kept_state is None
    trusted = load_trusted(key.with_name("trusted.json"))
    assert verify(bundle, keys=trusted, level="V1").status is Status.ACCEPTED
    with open_bundle(bundle) as opened:
        parents = [name for name in opened.names if name.startswith("parents/")]
        parent = read_unchecked(opened.read(parents[0]), parents[0], opened).predicate
    assert isinstance(parent, RunRecord)
    assert parent.recorded_at.seconds <= record.requests[0].received.seconds <= record.recorded_at.seconds
    second = forget(done.run, OTHER, guarantee="exact", key=key, yes=True)
    assert second.fully
    assert second.run.path.name == "base.2"
    assert verify(base.path.with_name("base.2-bundle"), keys=trusted, level="V1").status is Status.ACCEPTED


def test_without_a_record_the_parent_stays_unless_none_is_wanted(base: Run) -> None:
    done = forget(base, ONE, guarantee="exact", yes=True)
    assert done.unsigned == (base.path,)
    assert not done.fully
    assert (base.path / "model.safetensors").is_file()
    assert all(holding.why.endswith("no record of it is signed") for holding in done.found.holdings)
    wanted = forget(base, ONE, guarantee="exact", yes=True, unrecorded=True)
    assert wanted.fully
    assert wanted.unsigned == ()
    assert not (base.path / "model.safetensors").exists()


def test_old_state_that_is_kept_has_its_reason_in_the_record(base: Run, key: Path) -> None:
    reason = "the court has asked for the old model"
    done = forget(base, ONE, guarantee="exact", key=key, keep_state=reason)
    assert done.settled
    assert not done.fully
    assert done.kept_state == reason
    assert (base.path / "model.safetensors").is_file()
    bundle = base.path.with_name("base.1-bundle")
    assert record_of(bundle).kept_state == reason
    told = verify(bundle, keys=load_trusted(key.with_name("trusted.json")), level="V1")
    assert told.status is Status.ACCEPTED
    assert any(remark.word == "state-kept" and reason in remark.text for remark in told.remarks)
    again = forget(base, ONE, guarantee="exact")
    assert again.settled
    assert again.kept_state == reason
    ended = forget(base, ONE, guarantee="exact", yes=True)
    assert ended.kept_state is None
    assert ended.fully


def test_a_retired_run_names_its_child_and_still_answers(base: Run, refused: Refused) -> None:
    first = forget(base, ONE, guarantee="exact", yes=True, unrecorded=True)
    with refused(RunError, "was retired", f"forget from {first.run.path}"):
        forget(base, OTHER, guarantee="exact")
    second = forget(first.run, OTHER, guarantee="exact", yes=True, unrecorded=True)
    with refused(RunError, f"forget from {second.run.path}"):
        forget(base, THIRD, guarantee="exact")
    before = files(base.path.parent)
    again = forget(base, ONE, guarantee="exact")
    assert again.run.path == first.run.path
    assert files(base.path.parent) == before


def test_the_same_words_in_another_order_are_the_same_request(base: Run, tmp_path: Path) -> None:
    done = forget(base, [ONE, OTHER], guarantee="exact")
    assert forget(base, [OTHER, ONE, OTHER], guarantee="exact").run.path == done.run.path
    rows = base.data()[Split.TRAIN].ids[:2]
    (tmp_path / "ids.txt").write_text("\n".join(rows))
    (tmp_path / "same.txt").write_text("\n".join(reversed(rows)))
    listed = forget(base, f"ids:{tmp_path / 'ids.txt'}", guarantee="exact")
    assert forget(base, f"ids:{tmp_path / 'same.txt'}", guarantee="exact").run.path == listed.run.path != done.run.path


def test_another_branch_is_told_of(base: Run) -> None:
    first = forget(base, ONE, guarantee="exact")
    assert first.branches == ()
    second = forget(base, OTHER, guarantee="exact")
    assert second.run.path.name == "base.2"
    assert second.branches == (f"base.1 has forgotten {ONE}: this branch still holds these rows",)
    assert foresee(ForgetRequest.of(base, THIRD, "exact")).branches[0].startswith("base.1 has forgotten")
    assert forget(base, [ONE, OTHER], guarantee="exact").branches == ()


def test_a_lower_answer_is_none_for_a_higher_request(base: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = forget(base, ONE, guarantee="exact")
    told = replace(done.run.told, result=replace(done.run.result, guarantee=Empirical()))
    write_run_file(done.run.path, told)
    assert forget(base, ONE, guarantee="empirical").run.path == done.run.path
    assert forget(base, ONE, guarantee="exact").run.path.name == "base.2"


def test_a_result_that_earned_less_destroys_nothing(
    base: Run, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    """Should a method come out lower than it promised, nothing is ended for it."""
    real = room.unlearn

    def lower(*given: Any, **named: Any) -> Run:
        made = real(*given, **named)
        result = replace(made.result, guarantee=Empirical(), exact_refused="a file was opened")
        return Run(made.path, replace(made.told, result=result))

    monkeypatch.setattr(room, "unlearn", lower)
    before = files(base.path)
    with refused(RunError, "came out as Empirical", "less than `guarantee` exact (a file was opened)"):
        forget(base, ONE, guarantee="exact", yes=True, unrecorded=True)
    assert files(base.path) == before


def test_sums_are_subtracted_from_and_rows_that_are_gone_are_done_without(
    table: Path, tmp_path: Path, refused: Refused
) -> None:
    """One person by subtraction, most of them by adding up those who stay, and whoever is gone by that as well."""
    shutil.copy(table, tmp_path / "people.csv")
    said = {"label": "income", "subject": "name", "model": "ridge", "model_options": {"width": 128}}
    base = train(str(tmp_path / "people.csv"), out=tmp_path / "runs" / "base", **said)
    few = foresee(ForgetRequest.of(base, ONE, "exact"))
    many = foresee(ForgetRequest.of(base, [f"subject:{name}" for name in PEOPLE[1:]], "exact"))
    assert (few.chosen.method.name, many.chosen.method.name) == ("exact-replay", "retrain")
    assert few.chosen.cost.example_steps == many.chosen.cost.example_steps == 0
    done = forget(base, ONE, guarantee="exact")
    assert done.run.result.row_sums == few.chosen.cost.row_sums
    kept = (tmp_path / "people.csv").read_text(encoding="utf-8").splitlines()
    trained_on = set(base.commitment.source_rows(Split.TRAIN, done.run.forget_set.slots).tolist())
    left = [line for row, line in enumerate(kept, start=-1) if row not in trained_on]
    (tmp_path / "people.csv").write_text("\n".join(left) + "\n", encoding="utf-8")
    gone = forget(base, str(done.run.path / "forget.json"), guarantee="exact", out=tmp_path / "runs" / "gone")
    assert gone.run.method == "retrain"
    assert gone.run.weights_digest == done.run.weights_digest


@pytest.fixture(scope="module")
def linear(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("linear") / "head", **FIELDS)


def test_a_certified_account_is_told_and_ends_with_retrain(linear: Run, pictures: Dataset, refused: Refused) -> None:
    """One after another until the account is spent: then nothing is written, and exactness is named."""
    people = sorted(set(pictures.subjects))
    first = forget(linear, f"subject:{people[2]}", guarantee="certified", data=pictures)
    assert first.run.method == "certified-logistic"
    assert first.run.guarantee == Certified(1.0, 1e-4)
    assert first.account is not None
    assert first.account.startswith("nothing, it was opened now before")
    second = forget(first.run, f"subject:{people[3]}", guarantee="empirical", data=pictures)
    assert second.run.guarantee == Certified(1.0, 1e-4)
    ended = forget(first.run, f"subject:{people[3]}", guarantee="empirical", data=pictures, yes=True, unrecorded=True)
    assert ended.run.path == second.run.path
    assert ended.found.clean
    assert not ended.fully  # the words are for what is exact
    spent = max((first.run.told.account or {})["spent"])
    assert second.account is not None
    assert second.account.startswith(f"{spent:.3g} before, ")
    spent_all = {**(second.run.told.account or {})}
    spent_all["training"] = [one + 1.0 for one in spent_all["training"]]
    spent_all["spent"] = [one + 1.0 for one in spent_all["spent"]]
    write_run_file(second.run.path, replace(second.run.told, account=spent_all))
    before = files(linear.path.parent)
    for asked in ("certified", "empirical"):
        with refused(InvalidArgument, "the account of this run stands at", "retrain opens a new account", "exact"):
            forget(second.run.path, f"subject:{people[4]}", guarantee=asked, data=pictures)
    assert files(linear.path.parent) == before
    exact = forget(second.run.path, f"subject:{people[4]}", guarantee="exact", data=pictures)
    assert exact.run.guarantee == Exact()


def test_an_empirical_result_is_undecided_or_judged(
    pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without noise a removal earns nothing by itself: the command that would decide is named."""
    plain = train(pictures, out=tmp_path / "plain", **{**FIELDS, "perturbation": 0.0})
    done = forget(plain, "subject:someone-02", guarantee="empirical", data=pictures)
    assert done.run.method == "certified-logistic"
    assert done.run.guarantee == Empirical()
    assert isinstance(done.judged, Undecided)
    assert f"`expunge references {done.run.path}`" in done.judged.reason
    assert not done.fully

    class Told:
        verdict = Supported(0.01)

    kept = room.company_of(done.run)
    monkeypatch.setattr(room, "company_of", lambda run: replace(kept, references=(plain,)))
    monkeypatch.setattr(room, "evaluate", lambda run, **named: Told())
    again = forget(plain, "subject:someone-02", guarantee="empirical", data=pictures)
    assert again.judged == Supported(0.01)


def test_where_nothing_earns_it_the_next_one_down_is_named(
    base: Run, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    monkeypatch.setattr(exactness, "self_test", lambda *given: ("0" * 64, True))
    two_threads = replace_recipe(retold(base, recipe={**base.told.recipe, "threads": 2}))
    before = files(base.path.parent)
    with refused(
        InvalidArgument,
        "no method earns `guarantee` exact",
        "2 threads may repeat by luck only",
        "the next one down is `guarantee` empirical",
    ):
        forget(two_threads, ONE, guarantee="exact")
    assert files(base.path.parent) == before


def replace_recipe(run: Run) -> Run:
    """The same, its recipe's digest made anew."""
    recipe = Recipe.from_json(run.told.recipe)
    return Run(run.path, replace(run.told, recipe_digest=recipe.digest.hex()))


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"unrecorded": True}, "`unrecorded` has no use without `yes`"),
        ({"yes": True, "keep_state": "for the court"}, "`keep_state` and `yes` exclude each other"),
        ({"keep_state": ""}, "`keep_state` '' must say why"),
        ({"keep_state": " \t"}, "must say why"),
        ({"keep_state": "42"}, "must say why"),
        ({"guarantee": "total"}, "`guarantee` 'total' is not one of exact, certified, empirical"),
    ],
)
def test_terms_that_say_nothing_are_refused(base: Run, terms: dict[str, Any], said: str, refused: Refused) -> None:
    before = files(base.path.parent)
    with refused(InvalidArgument, said):
        forget(base, ONE, **{"guarantee": "exact", **terms})
    assert files(base.path.parent) == before
