"""``expunge forget`` as a person uses it: the plan, the question, the bundle, and what is refused."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Expunge
from tests.desk.conftest import PEOPLE, SHAPE, write_table
from tests.hygiene.worlds import files

from expunge.train.call import train
from expunge.train.run import Run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("forget")
    table = write_table(place / "people.csv")
    train(str(table), out=place / "base", label="income", subject="name", checkpoint_interval=2, **SHAPE)
    return place


@pytest.fixture
def base(trained: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained / "base", tmp_path / "runs" / "base")
    return tmp_path / "runs" / "base"


def forget(*more: object, run: Path, person: str = PEOPLE[3]) -> tuple[object, ...]:
    return ("forget", run, "--subject", person, "--guarantee", "exact", *more)


def test_the_commands_of_the_page_one_after_another(
    expunge: Expunge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody would who has a table and requests: each line of docs/forget.md, and what it promises."""
    page = (Path(__file__).parents[2] / "docs" / "forget.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in page.splitlines() if line.startswith("expunge ")]
    people = ("ada", "bea", "cyd", "dan", *PEOPLE)
    rows = [f"{people[row % 16]},{row % 50},{row * 7 % 31},{'no' if row % 3 else 'yes'}" for row in range(160)]
    (tmp_path / "customers.csv").write_text("\n".join(["customer,age,visits,left", *rows]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    said = [expunge(*line[1:]) for line in lines]
    assert [done.status for done in said] == [0] * len(lines), [done.err for done in said]
    forgot = [done.out for line, done in zip(lines, said, strict=True) if line[1] == "forget"]
    assert ["fully forgotten" in out for out in forgot] == [False, True, True, False]
    assert [path.name for path in sorted((tmp_path / "runs").iterdir())] == [
        "churn",
        "churn.1",
        "churn.1-bundle",
        "churn.2",
        "churn.2-bundle",
        "churn.3",
        "churn.3-bundle",
    ]
    certificate = (tmp_path / "certificate.html").read_text(encoding="utf-8")
    assert "xact" in certificate
    assert "answers this already" in expunge(*lines[3][1:]).out  # though its parent is gone
    assert "fully forgotten" in expunge(*lines[4][1:]).out
    assert Run.open("runs/churn.3").tombstones.size > Run.open("runs/churn.2").tombstones.size


def test_a_dry_run_tells_all_and_writes_nothing(expunge: Expunge, base: Path) -> None:
    before = files(base.parent)
    done = expunge(*forget("--dry-run", run=base))
    assert done.status == 0
    for words in (
        "plan: exact-replay, about ",
        "earns Exact",
        "base.1",
        "not retrain: it would cost ",
        "not certified-logistic: ",
        "(parent)",
        "model.safetensors",
        "dry run: nothing was written",
    ):
        assert words in done.out
    told = expunge(*forget("--dry-run", "--json", run=base)).json
    assert (told["method"], told["guarantee"], Path(told["run"]).name) == ("exact-replay", "Exact", "base.1")
    assert set(told["others"]) >= {"retrain", "certified-logistic"}
    assert {Path(one["path"]).name for one in told["holds"]} >= {"model.safetensors"}
    assert files(base.parent) == before


def test_without_a_terminal_the_new_run_stands_and_nothing_is_destroyed(
    expunge: Expunge, base: Path, tmp_path: Path
) -> None:
    expunge("keygen", "--out", tmp_path / "keys")
    key = tmp_path / "keys" / "private.pem"
    before = files(base)
    done = expunge(*forget("--key", key, run=base))
    assert done.status == 1
    assert "still hold them" in done.out
    assert "nothing was destroyed: give --yes, or --keep-state REASON" in done.out
    assert "fully forgotten" not in done.out
    assert before.items() <= files(base).items()
    assert not (base.parent / "base.1-bundle").exists()
    kept = expunge(*forget("--key", key, "--keep-state", "the court asked", run=base))
    assert kept.status == 0
    assert "old state is kept: the court asked" in kept.out
    assert "old state is kept: the court asked" in expunge("hygiene", base.parent / "base.1").out
    assert "fully forgotten" not in kept.out
    told = expunge(*forget("--yes", "--key", key, "--json", run=base)).json
    assert told["fully_forgotten"] is True
    assert told["hygiene"]["clean"] is True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_it_asks(expunge: Expunge, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expunge("keygen", "--out", tmp_path / "keys")
    asked = forget("--key", tmp_path / "keys" / "private.pem", run=base)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    refused = expunge(*asked)
    assert refused.status == 1
    assert "destroy these " in refused.out
    assert (base / "model.safetensors").exists()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    done = expunge(*asked)
    assert done.status == 0, done.out
    assert "fully forgotten" in done.out
    assert not (base / "model.safetensors").exists()


def test_without_a_key_the_line_that_signs_is_printed(expunge: Expunge, base: Path) -> None:
    done = expunge(*forget("--yes", run=base))
    assert done.status == 1
    assert "unsigned, so kept: expunge attest " in done.out
    assert "to sign it: expunge attest " in done.out
    assert (base / "model.safetensors").exists()
    assert expunge(*forget("--yes", "--unrecorded", run=base)).status == 0


EVERYBODY = [word for name in PEOPLE for word in ("--subject", name)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--subject", "nobody"), "subject 'nobody' has no training rows"),
        (EVERYBODY, "leaves none of the"),
        ((), "nothing to forget was named"),
        (("--subject", PEOPLE[3], "--keep-state", " "), "--keep-state ' ' must say why"),
        (("--subject", PEOPLE[3], "--unrecorded"), "--unrecorded has no use without --yes"),
        (("--subject", PEOPLE[3], "--yes", "--keep-state", "why"), "--keep-state and --yes exclude each other"),
        (("--subject", PEOPLE[3], "--dry-run", "--yes"), "--dry-run destroys nothing"),
        (("--subject", PEOPLE[3], "--key", "no/key.pem"), "no/key.pem is missing"),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(map(str, value))[:40],
)
def test_bad_requests_are_one_sentence_and_write_nothing(
    expunge: Expunge, base: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = files(base.parent)
    done = expunge("forget", base, "--guarantee", "exact", *arguments)
    assert done.status == 2
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert words in done.err
    assert files(base.parent) == before


def test_who_is_forgotten_already_is_refused(expunge: Expunge, base: Path) -> None:
    expunge(*forget("--yes", "--unrecorded", run=base))
    before = files(base.parent)
    done = expunge(*forget(run=base.parent / "base.1"))
    assert done.status == 2
    assert "already forgotten by this run" in done.err
    retired = expunge(*forget(run=base, person=PEOPLE[5]))
    assert retired.status == 2
    assert f"forget from {base.parent / 'base.1'}" in retired.err
    assert files(base.parent) == before
