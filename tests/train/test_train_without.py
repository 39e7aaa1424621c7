"""Training on everything but some rows: the bits of retraining, a reference, and a run to unlearn from."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import run_json

import expunge
from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.measure.evaluate import evaluate
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.form import to_plain
from expunge.report.load import load
from expunge.report.text import rows
from expunge.train.run import Run
from expunge.train.training import make_recipe, train

FIELDS: dict[str, Any] = {"model": "mlp", "epochs": 4, "batch_size": 16}  # the recipe of `small_run`
RULES = ["subject:someone-02", "random:7:1"]


@pytest.fixture(scope="module")
def without(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(pictures, out=tmp_path_factory.mktemp("without") / "run", without=RULES, **FIELDS)


def trace(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run.path / "trace").iterdir()}


def checkpoints(run: Run, shard: int = 0) -> list[tuple[int, str]]:
    return [(item.step, item.digest) for item in run.log.checkpoints(shard)]


@pytest.mark.parametrize("method", ["retrain", "exact-replay"])
def test_the_bits_are_those_of_forgetting_exactly(
    method: str, without: Run, small_run: Run, pictures: Dataset, tmp_path: Path
) -> None:
    twin = unlearn(small_run, RULES, method=method, out=tmp_path / "twin", data=pictures)
    assert without.weights_digest == twin.weights_digest != small_run.weights_digest
    assert run_json(without)["lineage_seed"] == run_json(twin)["lineage_seed"]
    assert checkpoints(without) == checkpoints(twin)
    assert trace(without) == trace(twin)
    for name in ("tombstones", "released", "forgotten", "rules", "trajectory", "guarantee", "training_example_steps"):
        assert run_json(without)[name] == run_json(twin)[name], name
    assert without.forget_set.file == twin.forget_set.file
    assert (without.path / "forget.json").read_bytes() == (twin.path / "forget.json").read_bytes()


@pytest.mark.parametrize(
    "fields",
    [
        {"shards": 2, "slices": 2, "epochs": 4, "batch_size": 16, "model": "mlp"},
        {"model": "cnn", "epochs": 1, "batch_size": 32, "least_present": 3},
        {"model": "mlp", "model_options": {"norm": "batch"}, "epochs": 2, "batch_size": 4},
    ],
    ids=["shards", "cnn", "batch norm"],
)
def test_another_seed_is_another_retraining(fields: dict[str, Any], pictures: Dataset, tmp_path: Path) -> None:
    base = train(pictures, out=tmp_path / "base", **fields)
    twin = unlearn(base, "random:40%:3", method=Retrain(training_seed=7), out=tmp_path / "twin", data=pictures)
    run = train(pictures, out=tmp_path / "run", without="random:40%:3", seed=7, **fields)
    assert run.weights_digest == twin.weights_digest
    for name in ("recipe_digest", "lineage_seed", "example_steps", "steps", "alive"):
        assert run_json(run)[name] == run_json(twin)[name], name


def test_noise_is_that_of_the_key(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "linear", "task": "logistic", "perturbation": 0.5, "epochs": 2}
    base = train(pictures, out=tmp_path / "base", **fields)
    twin = unlearn(base, RULES, method="retrain", out=tmp_path / "twin", data=pictures)
    key = base.path / "noise.key"
    run = train(pictures, out=tmp_path / "run", without=RULES, noise_key=key, **fields)
    assert run.weights_digest == twin.weights_digest
    (notice,) = run_json(run)["notices"]
    assert "publish one of them only" in notice
    own = train(pictures, out=tmp_path / "own", without=RULES, **fields)
    assert own.weights_digest != run.weights_digest
    assert run_json(own)["notices"] == []
    assert train(pictures, out=tmp_path / "own", without=RULES, **fields).weights_digest == own.weights_digest
    with pytest.raises(RunError, match="noise commitment"):
        train(pictures, out=tmp_path / "own", without=RULES, noise_key=key, **fields)


def test_a_saved_set_and_ids_name_the_same_rows(without: Run, pictures: Dataset, tmp_path: Path) -> None:
    again = train(pictures, out=tmp_path / "set", without=without.forget_set, **FIELDS)
    saved = train(pictures, out=tmp_path / "saved", without=str(without.path / "forget.json"), **FIELDS)
    rows = without.data(pictures)[Split.TRAIN]
    (tmp_path / "ids.txt").write_text("\n".join(rows.ids[slot] for slot in without.tombstones))
    by_ids = train(pictures, out=tmp_path / "ids", without=[f"ids:{tmp_path / 'ids.txt'}"], **FIELDS)
    assert {again.weights_digest, saved.weights_digest, by_ids.weights_digest} == {without.weights_digest}
    assert (again.forget_set.rules, saved.forget_set.rules) == (tuple(RULES), ("saved",))
    assert run_json(by_ids)["rules"] == ["ids"], "the name of a file is told to nobody"
    assert run_json(by_ids)["released"] == {}


def test_the_work_is_that_of_those_who_stay(without: Run) -> None:
    present = len(without.schedule.cells) - len(without.tombstones)
    assert run_json(without)["example_steps"] == FIELDS["epochs"] * present
    assert run_json(without)["example_steps"] == without.schedule.work(without.tombstones)
    assert run_json(without)["training_example_steps"] == FIELDS["epochs"] * len(without.schedule.cells)


def test_nobody_left_out_leaves_a_training_as_it_was(small_run: Run, pictures: Dataset) -> None:
    assert set(run_json(small_run)["request"]) == {"operation", "recipe", "roots", "beacon", "device"}
    assert not {"rules", "forgotten", "trajectory", "notices"} & set(run_json(small_run))
    assert run_json(small_run)["tombstones"] == []
    assert not (small_run.path / "forget.json").exists()
    with pytest.raises(InvalidArgument, match="is a training, it forgot nothing"):
        small_run.forget_set  # noqa: B018
    with pytest.raises(RunError, match=r"holds another run \(without 'nothing' there, '[0-9a-f]+… asked for\)"):
        train(pictures, out=small_run.path, without="class:1", **FIELDS)


def test_left_out_rows_are_never_read(pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expunge.train.examples import Examples

    read: list[np.ndarray] = []
    plain = Examples.batch

    def remember(self: Examples, slots: np.ndarray) -> Any:
        read.append(slots)
        return plain(self, slots)

    monkeypatch.setattr(Examples, "batch", remember)
    run = train(pictures, out=tmp_path / "run", without=RULES, **FIELDS)
    assert not np.isin(run.tombstones, np.concatenate(read)).any()
    assert set(np.concatenate(read)) == set(range(len(run.schedule.cells))) - set(run.tombstones)


@pytest.mark.parametrize("stop_at", [4, 17, 29])
def test_the_same_command_continues_to_the_same_bytes(
    stop_at: int, without: Run, pictures: Dataset, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == stop_at:
            raise KeyboardInterrupt

    arguments: dict[str, Any] = {"out": tmp_path / "run", "without": RULES, "checkpoint_interval": 3, **FIELDS}
    with pytest.raises(KeyboardInterrupt):
        train(pictures, progress=stop, **arguments)
    begun = Run.open_any(tmp_path / "run")
    assert run_json(begun)["status"] == "running"
    reached = max(step for step, _ in checkpoints(begun))
    assert 0 < reached < 32
    with pytest.raises(RunError, match=r"\(without '[0-9a-f]+… there, '[0-9a-f]+… asked for\)"):
        train(pictures, **{**arguments, "without": "class:1"})
    (begun.path / "forget.json").unlink()  # as if killed between run.json and this file
    seen: list[int] = []
    run = train(pictures, progress=lambda done, total: seen.append(done), **arguments)
    assert min(seen) > reached - 1, "what the folder holds is not done again"
    assert run.weights_digest == without.weights_digest
    assert run_json(run)["example_steps"] == run_json(without)["example_steps"]
    assert trace(run) == trace(without)
    assert (run.path / "forget.json").read_bytes() == (without.path / "forget.json").read_bytes()


def test_it_serves_as_reference_and_may_be_judged(small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    rule = "random:24:1"
    references = [
        train(pictures, out=tmp_path / f"without-{seed}", without=rule, seed=seed, **FIELDS) for seed in range(1, 6)
    ]
    run = unlearn(small_run, rule, method="fine-tune", out=tmp_path / "run", data=pictures)
    found = to_plain(evaluate(run, references, data=pictures))
    assert [model["weights_digest"] for model in found["references"]] == [item.weights_digest for item in references]
    twins = [
        unlearn(small_run, rule, method=Retrain(training_seed=seed), out=tmp_path / f"twin-{seed}", data=pictures)
        for seed in range(1, 6)
    ]
    same = to_plain(evaluate(run, twins, data=pictures, out=tmp_path / "twins.json"))
    timed = {"seconds"}
    for mine, other in zip(found["probes"], same["probes"], strict=True):
        assert mine["name"] in timed or mine == other
    with pytest.raises(InvalidArgument, match="forgot other examples"):
        evaluate(run, [train(pictures, out=tmp_path / "other", without="class:1", **FIELDS)], data=pictures)
    with pytest.raises(InvalidArgument, match="it has no parent: name the original with `original`"):
        evaluate(references[0], references[1:], data=pictures)
    judged = to_plain(evaluate(references[0], references[1:], original=small_run, data=pictures))
    assert judged["method"] is None
    assert judged["forget"]["rules"] == [rule]


@pytest.mark.parametrize("method", ["exact-replay", "retrain"])
def test_unlearning_further_equals_training_without_both(
    method: str, without: Run, pictures: Dataset, tmp_path: Path
) -> None:
    more = unlearn(without, "subject:someone-09", method=method, out=tmp_path / "more", data=pictures)
    both = train(pictures, out=tmp_path / "both", without=more_slots(without, more), **FIELDS)
    assert more.weights_digest == both.weights_digest != without.weights_digest
    assert run_json(more)["tombstones"] == run_json(both)["tombstones"]
    assert set(run_json(without)["tombstones"]) < set(run_json(more)["tombstones"])
    assert without.exact_ancestor is without
    assert more.parent.weights_digest == without.weights_digest
    if method == "exact-replay":
        assert run_json(more)["reused_steps"] is not None
    released = {name: set(slots) for name, slots in run_json(more)["released"].items()}
    for name, slots in run_json(without)["released"].items():
        assert set(slots) <= released[name], "who was released before stays so"
    with pytest.raises(InvalidArgument, match="already forgotten"):
        unlearn(without, "subject:someone-02", out=tmp_path / "twice", data=pictures)


def more_slots(first: Run, second: Run) -> ForgetSet:
    slots = np.union1d(first.tombstones, second.forget_set.slots)
    return ForgetSet(slots, ("both",), first.root.hex())


def test_replay_from_it_reuses_what_nobody_new_touched(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "epochs": 6, "batch_size": 16, "slices": 3, "checkpoint_interval": 2}
    run = train(pictures, out=tmp_path / "run", without="random:9:1", **fields)
    last = np.setdiff1d(np.flatnonzero(run.schedule.cells[:, 1] == 2), run.tombstones)[:2]
    forget = ForgetSet(last, ("late",), run.root.hex())
    replayed = unlearn(run, forget, method="exact-replay", out=tmp_path / "replayed", data=pictures)
    both = train(pictures, out=tmp_path / "both", without=more_slots(run, replayed), **fields)
    assert replayed.weights_digest == both.weights_digest
    assert run_json(replayed)["reused_steps"]["0"] > 0


def test_approximate_methods_start_from_it(without: Run, pictures: Dataset, tmp_path: Path) -> None:
    run = unlearn(without, "subject:someone-09", method="fine-tune", out=tmp_path / "tuned", data=pictures)
    assert set(run_json(without)["tombstones"]) < set(run_json(run)["tombstones"])
    assert run.exact_ancestor.weights_digest == without.weights_digest
    again = unlearn(run, "subject:someone-11", out=tmp_path / "again", data=pictures)
    slots = ForgetSet(again.tombstones, ("all",), without.root.hex())
    assert again.weights_digest == train(pictures, out=tmp_path / "all", without=slots, **FIELDS).weights_digest


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Rows of people with a class that one person alone has."""
    path = tmp_path / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["who", "age", "town", "sick"])
        for row in range(120):
            who = f"person-{row // 6:02d}"
            writer.writerow([who, 20 + row % 13, f"town-{row % 4}", "rare" if row // 6 == 4 else "ab"[row % 2]])
    return path


def without_person(path: Path, who: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(who)), encoding="utf-8")


def test_a_finished_run_is_handed_back_when_its_rows_are_gone(table: Path, tmp_path: Path) -> None:
    source = Source(location=str(table), label="sick", subject="who")
    arguments: dict[str, Any] = {"out": tmp_path / "run", "model": "mlp", "epochs": 1, "category_buckets": 8}
    run = train(source, without="subject:person-04", **arguments)
    assert any(run_json(run)["released"].values()), "the person has rows outside the training too"
    asked = {"without": "subject:person-04", **arguments}
    changes = ({"epochs": 2}, {"seed": 1}, {"split_seed": 3}, {"category_buckets": 16}, {"without": "class:a"})
    for change in changes:
        with pytest.raises(RunError, match="holds another run"):
            train(source, **{**asked, **change})
    without_person(table, "person-04")
    again = train(source, **{**asked, "without": ["subject:person-04"]})
    assert run_json(again) == run_json(run)
    assert train(source, **{**asked, "without": run.forget_set}).weights_digest == run.weights_digest
    by_recipe = train(source, without="subject:person-04", out=tmp_path / "run", recipe=run.recipe)
    assert by_recipe.weights_digest == run.weights_digest
    for change in changes:
        with pytest.raises(ExpungeError):
            train(source, **{**asked, **change})
    later = unlearn(run, "subject:person-05", out=tmp_path / "later")
    assert set(run_json(run)["tombstones"]) < set(run_json(later)["tombstones"])


def test_other_data_are_not_answered_with_the_old_run(table: Path, tmp_path: Path) -> None:
    source = Source(location=str(table), label="sick", subject="who")
    arguments: dict[str, Any] = {"out": tmp_path / "run", "model": "mlp", "epochs": 1, "without": "subject:person-04"}
    train(source, **arguments)
    table.write_text(table.read_text(encoding="utf-8").replace("town-2", "town-9", 1), encoding="utf-8")
    with pytest.raises(RunError, match="holds another run"):
        train(source, **arguments)
    without_person(table, "person-06")
    with pytest.raises(RunError, match="holds another run"):
        train(source, **arguments)


def test_a_damaged_run_is_not_handed_back(pictures: Dataset, tmp_path: Path) -> None:
    run = train(pictures, out=tmp_path / "run", without="class:1", **FIELDS)
    weights = run.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(RunError, match="its weights were altered"):
        train(pictures, out=tmp_path / "run", without="class:1", **FIELDS)
    (run.path / "forget.json").unlink()
    with pytest.raises(RunError, match="the forget set cannot be opened"):
        Run.open(run.path).forget_set  # noqa: B018


ROOT = "00" * 32


@pytest.mark.parametrize(
    ("without", "kind", "words"),
    [
        ([], InvalidArgument, "without names nobody: leave it out, or name rows such as subject:NAME"),
        ("nobody", InvalidArgument, "forget set 'nobody' is none of the known forms"),
        ("subject:nobody", InvalidArgument, "subject 'nobody' has no training rows"),
        (["class:0", "class:1", "class:2"], InvalidArgument, "leaves none of the 120 training rows"),
        (ForgetSet(np.array([1]), (), ROOT), InvalidArgument, "belongs to the data set 000000000000…, these rows are"),
    ],
)
def test_what_cannot_be_left_out(
    without: Any, kind: type[Exception], words: str, pictures: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        train(pictures, out=tmp_path / "run", without=without, **FIELDS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("slots", [[], [120], list(range(120))])
def test_slots_that_no_training_has(slots: list[int], small_run: Run, pictures: Dataset, tmp_path: Path) -> None:
    foreign = ForgetSet(np.array(slots, dtype=np.int64), (), small_run.root.hex())
    with pytest.raises(InvalidArgument, match=f"names {len(slots)} slots of 120 training rows: some must go, some"):
        train(pictures, out=tmp_path / "run", without=foreign, **FIELDS)


def test_fewer_than_a_step_needs_is_refused_before_anything_is_written(pictures: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"fewer rows remain than a step needs.*leave out fewer"):
        train(pictures, out=tmp_path / "run", without="random:118:1", least_present=12, **FIELDS)
    assert not (tmp_path / "run").exists()


def test_a_wholly_emptied_shard_stays_silent(pictures: Dataset, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"model": "mlp", "epochs": 2, "batch_size": 16, "shards": 3}
    base = train(pictures, out=tmp_path / "base", **fields)
    forget = ForgetSet(base.schedule.shard_slots(1), ("a shard",), base.root.hex())
    run = train(pictures, out=tmp_path / "run", without=forget, **fields)
    twin = unlearn(base, forget, method="retrain", out=tmp_path / "twin", data=pictures)
    assert run_json(run)["alive"] == run_json(twin)["alive"] == [True, False, True]
    assert (run.weights_digest, run_json(run)["steps"]) == (twin.weights_digest, run_json(twin)["steps"])


def test_recipes_that_do_not_fit_are_refused_as_ever(pictures: Dataset, pictures_like: Any, tmp_path: Path) -> None:
    recipe = make_recipe(pictures, **FIELDS)
    with pytest.raises(InvalidArgument, match="give a recipe or the fields"):
        train(pictures, out=tmp_path / "run", without="class:1", recipe=recipe, epochs=2)
    run = train(pictures, out=tmp_path / "run", without="class:1", recipe=recipe)
    assert train(pictures, out=tmp_path / "run", without="class:1", **FIELDS).weights_digest == run.weights_digest
    with pytest.raises(InvalidArgument, match="the recipe was made for the classes"):
        train(pictures_like(classes=4), out=tmp_path / "run", without="class:1", recipe=recipe)
    with pytest.raises(DataError, match="hand the same data over again with `data`"):
        run.data()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """``command("train", …)``: exit status, standard output and error."""
    from expunge.cli.main import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        return int(stop.value.code or 0), found.out, found.err

    return run


def test_the_command_line(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    recipe = ("digits", "--model", "mlp", "--epochs", 1)
    rules = ("subject:person-003", "subject:person-005")
    named = [word for rule in rules for word in ("--without", rule)]
    assert command("train", *recipe, "--out", tmp_path / "base")[0] == 0
    status, out, _ = command("train", *recipe, *named, "--out", tmp_path / "run")
    assert status == 0
    run = Run.open(tmp_path / "run")
    left = run_json(run)["data"]["counts"]["train"] - len(run.tombstones)
    assert f"trained mlp on {left} rows ({len(run.tombstones)} left out, " in out
    assert run_json(run)["rules"] == list(rules)
    twin = unlearn(tmp_path / "base", list(rules), method="retrain", out=tmp_path / "twin")
    assert run.weights_digest == twin.weights_digest
    status, _, said = command("train", *recipe, "--without", "subject:nobody", "--out", tmp_path / "none")
    assert (status, said.count("\n")) == (2, 1)
    assert "subject 'nobody' has no training rows" in said
    assert f"forgotten so far   {len(run.tombstones)}" in command("info", tmp_path / "run")[1]
    fields = ("linear", "--task", "logistic", "--perturbation", 0.5, "--epochs", 1, "--without", "class:1")
    arguments = ("train", "digits", "--model", *fields)
    assert "note: " not in command(*arguments, "--out", tmp_path / "own")[1]
    status, out, _ = command(*arguments, "--noise-key", tmp_path / "own" / "noise.key", "--out", tmp_path / "given")
    assert "note: the noise was drawn under a key that was given" in out


@pytest.fixture(scope="module")
def runs(pictures: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An original, two runs of it, five trainings without the forget set, and the evaluations of four of them."""
    folder = tmp_path_factory.mktemp("report")
    rule = "random:24:1"
    base = train(pictures, out=folder / "base", **FIELDS)
    references = [train(pictures, out=folder / f"ref-{seed}", without=rule, seed=seed, **FIELDS) for seed in range(5)]
    tuned = unlearn(base, rule, method="fine-tune", out=folder / "tuned", data=pictures)
    exact = unlearn(base, rule, out=folder / "exact", data=pictures)
    for run in (tuned, exact):
        evaluate(run, references, data=pictures)
    judged = train(pictures, out=folder / "judged", without=rule, seed=9, **FIELDS)
    evaluate(judged, references, original=base, data=pictures)
    return {path.name: path for path in folder.iterdir()}


def page(paths: list[Path], out: Path, **more: Any) -> str:
    text = expunge.report(paths, out=out, **more).read_text(encoding="utf-8")
    return re.sub(r"\s+", " ", text)


def test_a_page_of_it_alone_says_who_was_left_out(runs: dict[str, Path], tmp_path: Path) -> None:
    found = page([runs["ref-1"]], tmp_path / "page.html")
    assert "trained on 96 training rows; 24 rows left out from the first step." in found
    assert "nothing was forgotten" not in found
    plain = page([runs["base"]], tmp_path / "base.html")
    assert "trained on 120 training rows; nothing was forgotten." in plain
    headings, lines = rows(load([runs["ref-1"], runs["base"]]))
    assert [line[headings.index("Verdict")] for line in lines] == ["24 left out", "nothing forgotten"]


def test_beside_what_it_was_a_reference_of_it_is_a_reference(runs: dict[str, Path], tmp_path: Path) -> None:
    references = [runs[f"ref-{seed}"] for seed in range(5)]
    loaded = load([runs["base"], runs["tuned"], runs["exact"], *references])
    (section,) = loaded.sections
    assert [run.folder.name for run in section.runs] == ["tuned", "exact"]
    assert [run.folder.name for run in section.retrained] == [path.name for path in references]
    assert section.training is not None
    assert section.training.folder.name == "base"
    assert loaded.trainings == ()
    found = page([runs["base"], runs["tuned"], runs["exact"], *references], tmp_path / "page.html")
    assert "5 of the runs given serve as retrained references below." in found
    assert "equals that of the retrained run." in found


def test_a_twin_without_an_evaluation_is_compared_by_digest(runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("exact", "tuned"):
        shutil.copytree(runs[name], tmp_path / name)
        (tmp_path / name / "evaluation.json").unlink()
    found = page([tmp_path / "exact", runs["ref-0"]], tmp_path / "page.html")
    assert "equals that of the retrained run." in found
    assert "of the runs given" not in found
    other = load([tmp_path / "tuned", runs["ref-0"], without_class(tmp_path, runs)])
    assert [run.folder.name for run in other.trainings] == ["class"]


def without_class(folder: Path, runs: dict[str, Path]) -> Path:
    """A training that left out other rows than the runs forgot."""
    shutil.copytree(runs["ref-0"], folder / "class")
    manifest = json.loads((folder / "class" / "run.json").read_text(encoding="utf-8"))
    (folder / "class" / "run.json").write_text(json.dumps({**manifest, "tombstones": [1, 2]}), encoding="utf-8")
    return folder / "class"


def test_judged_itself_it_stands_in_the_table(runs: dict[str, Path], tmp_path: Path) -> None:
    loaded = load([runs["base"], runs["tuned"], runs["judged"]])
    (section,) = loaded.sections
    assert section.labels == ("fine-tune", "retrained from the start")
    found = page([runs["base"], runs["tuned"], runs["judged"]], tmp_path / "page.html", examples=False)
    assert "This is itself a retraining from the start without these examples." in found
    assert "original’s weights" in found
    assert page([runs["judged"]], tmp_path / "judged.html")
    shutil.copytree(runs["judged"], tmp_path / "moved")
    shutil.copy(runs["tuned"] / "evaluation.json", tmp_path / "moved" / "evaluation.json")
    with pytest.raises(DataError, match="measured other weights"):
        load([tmp_path / "moved"])


def test_what_was_unlearned_from_it_is_reported_with_it(
    runs: dict[str, Path], pictures: Dataset, tmp_path: Path
) -> None:
    more = unlearn(runs["ref-0"], "subject:someone-03", out=tmp_path / "more", data=pictures)
    loaded = load([runs["ref-0"], more.path])
    (section,) = loaded.sections
    assert section.training is not None
    assert section.training.folder.name == "ref-0"
    assert "after 24 others forgotten earlier" in page([runs["ref-0"], more.path], tmp_path / "page.html")
