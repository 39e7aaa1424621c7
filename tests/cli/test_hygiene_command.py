"""``expunge hygiene`` as a person uses it: list, ask, destroy, or name the days."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from expunge.cli.main import main
from expunge.methods.unlearn import unlearn
from expunge.train.training import train

Expunge = Callable[..., tuple[int, str, str]]


@pytest.fixture
def expunge(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Expunge:
    """Run the command in this process, as if ``typed`` came from a terminal: (status, output, errors)."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def run(*arguments: object, typed: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else Terminal(typed))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        return int(stop.value.code or 0), found.out, found.err

    return run


@pytest.fixture
def forgot(tmp_path: Path) -> Path:
    base = train("digits", out=tmp_path / "base", model="mlp", epochs=1, batch_size=64)
    (base.path / "record").mkdir()
    (base.path / "record" / "envelope.json").write_text("{}")
    return unlearn(base, "subject:person-017", out=tmp_path / "forgot").path


def test_list_ask_and_destroy(expunge: Expunge, forgot: Path) -> None:
    base = forgot.parent / "base"
    status, printed, _ = expunge("hygiene", forgot)
    assert status == 1
    for words in (
        "has forgotten 21 rows",
        "(parent)",
        "model.safetensors",
        "21 of 21 rows",
        "weights, optimiser state",
        "trained on them, first in step",
        "digests of losses",
        "not looked at: the data (digits)",
        "N3",
        "--destroy",
    ):
        assert words in printed
    status, printed, _ = expunge("hygiene", forgot, "--json")
    found = json.loads(printed)
    assert (status, found["clean"], found["forgotten"]) == (1, False, 21)
    assert {item["kinship"] for item in found["holds"]} == {"parent"}
    status, _, error = expunge("hygiene", forgot, "--destroy")
    assert status == 2
    assert "give --yes" in error
    status, printed, error = expunge("hygiene", forgot, "--destroy", typed="n\n")
    assert status == 130
    assert f"destroy these {len(found['holds'])} for good?" in printed + error
    assert (base / "model.safetensors").is_file(), "no means no"
    status, printed, _ = expunge("hygiene", forgot, "--destroy", typed="y\n")
    assert status == 0
    assert "nothing that was looked at holds them" in printed
    assert f"declared destroyed: {len(found['holds'])}" in printed
    assert not (base / "model.safetensors").exists()
    declared = json.loads((forgot / "hygiene.json").read_text())
    assert [item["digest"] for item in declared["retired"]] == [item["digest"] for item in found["holds"]]
    assert expunge("hygiene", forgot)[0] == 0


def test_a_window_keeps_the_old_state_and_ends_it_only_when_told(expunge: Expunge, forgot: Path) -> None:
    status, printed, _ = expunge("hygiene", forgot, "--window", 30)
    assert status == 0
    assert "erasure pending: the old state is kept for auditors until" in printed
    assert expunge("hygiene", forgot)[0] == 1, "it is still there"
    status, _, error = expunge("hygiene", forgot, "--destroy", typed="y\n")
    assert status == 2
    assert "kept for auditors until" in error
    status, printed, _ = expunge("hygiene", forgot, "--destroy", "--yes", "--json")
    found = json.loads(printed)
    assert (status, found["clean"], found["declared"]["window"]) == (0, True, None)
    assert found["declared"]["retired"]


def test_the_rows_themselves_are_looked_for_when_asked(expunge: Expunge, forgot: Path) -> None:
    status, printed, _ = expunge("hygiene", forgot, "--data", "source")
    assert status == 1
    assert "rows themselves" in printed
    assert "not looked at: the data" not in printed
    status, printed, _ = expunge("hygiene", forgot, "--destroy", "--yes", "--data", "source")
    assert status == 1, "the data are not ours to change"
    assert "rows themselves" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--destroy", "--window", 3), "exclude each other"),
        (("--yes",), "no use without --destroy"),
        (("--window", 0), "must last 1 to 3650 days"),
        (("--keep", "nowhere"), "none of the folders"),
    ],
)
def test_what_makes_no_sense_is_refused(
    expunge: Expunge, forgot: Path, arguments: tuple[object, ...], words: str
) -> None:
    status, _, error = expunge("hygiene", forgot, *arguments)
    assert status == 2
    assert words in error


@pytest.mark.parametrize(
    "arguments", [("--data", "nowhere.csv"), ("--folder", "nowhere"), ("--folder", "file"), ("--salts", "nowhere")]
)
def test_a_named_place_that_cannot_be_looked_at_is_status_2(
    expunge: Expunge, forgot: Path, arguments: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    option, place = arguments[0], tmp_path / arguments[1]
    assert expunge("hygiene", forgot, option, place)[0] == 2, "whatever else was found"
    assert expunge("hygiene", forgot, "--destroy", "--yes")[0] == 0
    status, printed, _ = expunge("hygiene", forgot, option, place, "--json")
    found = json.loads(printed)
    assert (status, found["clean"], found["holds"]) == (2, False, [])
    assert found["unclear"]
    status, printed, _ = expunge("hygiene", forgot, option, place)
    assert status == 2
    assert "could not be looked at" in printed
    assert f"not looked at: {found['unclear'][0]}" in printed


def test_a_missing_parent_is_status_2(expunge: Expunge, forgot: Path) -> None:
    shutil.move(forgot.parent / "base", forgot.parent / "moved")
    shutil.rmtree(forgot.parent / "moved")
    status, printed, _ = expunge("hygiene", forgot)
    assert status == 2
    assert "not looked at: the parent of" in printed
    status, printed, _ = expunge("hygiene", forgot, "--json")
    assert (status, json.loads(printed)["clean"]) == (2, False)


def test_a_window_after_everything_is_gone_is_refused(expunge: Expunge, forgot: Path) -> None:
    assert expunge("hygiene", forgot, "--destroy", "--yes")[0] == 0
    declared = (forgot / "hygiene.json").read_bytes()
    status, _, error = expunge("hygiene", forgot, "--window", 30)
    assert status == 2
    assert "would keep nothing" in error
    assert (forgot / "hygiene.json").read_bytes() == declared


def test_a_method_that_changed_nothing_is_not_told_to_destroy(expunge: Expunge, forgot: Path) -> None:
    idle = unlearn(
        forgot.parent / "base", "subject:person-017", method="fine-tune", budget=0.0, out=forgot.parent / "i"
    )
    status, printed, _ = expunge("hygiene", idle.path)
    assert status == 1
    assert "(the run itself)" in printed
    assert "the method changed nothing" in printed
    assert "--destroy" not in printed
    status, _, error = expunge("hygiene", idle.path, "--destroy", "--yes", "--unrecorded")
    assert status == 2
    assert "holds the forgotten rows itself" in error
    assert (forgot.parent / "base" / "model.safetensors").is_file()


def test_info_says_that_a_retired_run_has_no_model(expunge: Expunge, forgot: Path) -> None:
    base = forgot.parent / "base"
    assert "\nretired " not in expunge("info", base)[1]
    assert expunge("hygiene", forgot, "--destroy", "--yes")[0] == 0
    status, printed, _ = expunge("info", base)
    assert status == 0
    assert "its model is gone: it held rows that were forgotten since" in " ".join(printed.split())
    assert "\nretired " not in expunge("info", forgot)[1]


def test_help_says_what_the_exit_status_means(expunge: Expunge, forgot: Path) -> None:
    status, printed, _ = expunge("hygiene", "--help")
    assert status == 0
    assert "Exit status: 0 nothing that was looked at holds them" in " ".join(printed.split())
    status, _, error = expunge("hygiene", forgot.parent / "base")
    assert status == 2
    assert "has forgotten nothing" in error
