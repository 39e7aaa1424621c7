"""What is no run, unfinished, altered or measured on other weights is refused in one sentence."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expunge.core.errors import DataError, ExpungeError, InvalidArgument, RunError
from expunge.core.hashing import canonical_json, sha256
from expunge.report.load import load
from expunge.report.report import render, report


def edit(folder, name, change):
    """Change a JSON file in place."""
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    change(content)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def run(world):
    folder = world.unlearned("salun")
    world.evaluate(folder)
    return folder


def test_nothing_named(refused):
    with refused(InvalidArgument, "nothing to report was named"):
        load([])


@pytest.mark.parametrize("runs", [3, [3], None, {"runs": 1}])
def test_what_is_no_run_at_all(refused, runs):
    with refused(InvalidArgument, "must be runs, or their folders"):
        load(runs)


def test_a_folder_that_is_no_run(tmp_path, refused):
    with refused(RunError, "is not a run", "`expunge.train(…, out="):
        load([tmp_path])


def test_a_run_of_another_version(world, refused):
    folder = world.unlearned("salun", format="expunge/run/2")
    with refused(RunError, "'expunge/run/2'", "another version wrote it"):
        load([folder])


def test_a_run_that_is_not_finished(world, refused):
    folder = world.unlearned("salun", status="running")
    with refused(RunError, "not finished", "run the command that made it again"):
        load([folder])


def test_an_evaluation_of_another_version(world, run, refused):
    edit(run, "evaluation.json", lambda content: content.update(format="expunge/evaluation/9"))
    with refused(DataError, "expunge/evaluation/9", "run expunge evaluate again"):
        load([run])


def test_an_evaluation_of_other_weights(world, run, refused):
    edit(run, "run.json", lambda content: content.update(weights_digest="0" * 64))
    with refused(DataError, "measured other weights", "000000000000…", "run expunge evaluate again"):
        load([run])


def test_an_evaluation_that_was_altered(run, refused):
    edit(run, "evaluation.json", lambda content: content["probes"][1]["unlearned"].update(value=0.97))
    with refused(DataError, "does not match its digest", "altered"):
        load([run])


@pytest.mark.parametrize("name", ["evaluation.json", "run.json"])
@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1',
        "[" * 50000,
        "\xff",
        '{"a": ' + "9" * 5000 + "}",
        "[]",
        "3",
        "null",
        "",
    ],
)
def test_a_file_that_is_no_proper_json(run, name, text):
    (run / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ExpungeError) as caught:
        load([run])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_recipe_that_was_altered(run, refused):
    edit(run, "run.json", lambda content: content["recipe"].update(epochs=9))
    with refused(RunError, "recipe does not match its digest"):
        load([run])


def test_an_original_that_is_nobody_s_parent(world, make_world, forms, run, refused):
    other = make_world(forms["patients"]).run("base")
    with refused(InvalidArgument, "none of the runs came from"):
        load([run], original=other)


def test_a_commitment_that_was_altered(run, refused):
    leaves = bytearray((run / "leaves.bin").read_bytes())
    leaves[5] ^= 1
    (run / "leaves.bin").write_bytes(leaves)
    with refused(RunError, "files of the run were altered"):
        render(load([run]))


def test_an_out_that_is_a_folder(run, tmp_path, refused):
    with refused(InvalidArgument, "is a folder: name the file"):
        report([run], out=tmp_path)


def test_a_place_that_cannot_be_written(run, tmp_path, refused):
    (tmp_path / "file").write_text("here", encoding="utf-8")
    with refused(InvalidArgument, "is a file: choose another place"):
        report([run], out=tmp_path / "file" / "report.html")


def test_too_many_runs(world, refused):
    with refused(InvalidArgument, "401 runs are too many"):
        load([world.root / f"run-{index}" for index in range(401)])


WRONG = [
    None,
    True,
    -1,
    0,
    2**60,
    1e999,
    -0.5,
    1e308,
    2.5,
    "",
    "\ud800",
    "<b>",
    "x" * 3000,
    [],
    [[]],
    {},
    {"undecided": "why"},
    {"a": {"b": 1}},
    list(range(3000)),
]


def mutate(content, chance: random.Random) -> None:
    """Put something else in some place of the tree, or take it away."""
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        inner = place[key]
        if isinstance(inner, dict | list) and inner and chance.random() < 0.8:
            place = inner
            continue
        if chance.random() < 0.2:
            del place[key]
        else:
            place[key] = chance.choice(WRONG)
        return


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), name=st.sampled_from(["evaluation.json", "evaluation.json", "run.json"]))
def test_whatever_is_altered_the_answer_is_a_page_or_one_sentence(run, seed, name):
    path = run / name
    before = path.read_bytes()
    content = json.loads(before)
    mutate(content, random.Random(seed))
    try:
        if name == "evaluation.json":
            content.pop("digest", None)
            content["digest"] = sha256(b"expunge/evaluation/1", canonical_json(content)).hex()
        path.write_text(json.dumps(content), encoding="utf-8")
    except ExpungeError:  # no canonical form: the digest check would refuse it
        path.write_bytes(before)
        return
    said, page = "", b""
    try:
        page = render(load([run]), examples=seed % 4 == 0)
    except ExpungeError as error:
        said = str(error)
    finally:
        path.write_bytes(before)
    assert "\n" not in said
    assert len(page) < 1_000_000
    assert b"nan" not in page
