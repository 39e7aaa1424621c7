"""What a shell and a log see of the command: completion, and progress where nothing can move."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from tests.cli.conftest import Expunge

from expunge.cli.shared import LONG_SECONDS, progress_bar
from expunge.methods import METHODS
from expunge.models.zoo import ZOO
from expunge.records.catalogue import ACCUMULATED_MODELS, MODEL_NAMES

COMPLETED = """
import io, json, os, sys
from contextlib import redirect_stdout
from expunge.cli.main import main

found = []
for words in json.loads(sys.argv[1]):
    os.environ |= {"_EXPUNGE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    sys.argv = ["expunge"]
    with redirect_stdout(io.StringIO()) as out:
        try:
            main()
        except SystemExit:
            found.append(out.getvalue().split())
assert "torch" not in sys.modules
print(json.dumps(found))
"""


def test_completion_knows_verbs_flags_and_names_and_brings_no_torch() -> None:
    asked = {
        "expunge ver": ["verify"],
        "expunge verify bundle --known": ["--known-checkpoint", "--known-record"],
        "expunge unlearn run --method sal": ["saliency-unlearning", "salun"],
        "expunge tune run --method scr": ["scrub"],
        "expunge methods gradient": ["gradient-ascent"],
        "expunge train digits --model r": ["resnet18", "ridge"],
        "expunge adopt weights digits --task ": ["classification", "logistic", "squared", "regression"],
        "expunge train dig": [],  # the shell goes on with files
    }
    command = [sys.executable, "-c", COMPLETED, json.dumps(list(asked))]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    assert dict(zip(asked, json.loads(done.stdout), strict=True)) == asked


def test_every_method_and_model_is_completed() -> None:
    from expunge.cli import completion

    names = [name for name, _ in completion.methods()]
    assert names == [name for method in METHODS for name in (method.name, *method.aliases)]
    assert tuple(completion.models()) == MODEL_NAMES == (*ZOO, *ACCUMULATED_MODELS)


def test_the_command_installs_and_shows_what_a_shell_needs(expunge: Expunge) -> None:
    told = expunge("--help").out
    assert "--install-completion" in told
    assert "--show-completion" in told


def test_off_a_terminal_long_work_says_a_line_a_tenth(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("expunge.cli.shared.time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress_bar("train [x]") as moved:
        for done in range(1, 2_001):
            now[0] = done / 2_000 * 10 * LONG_SECONDS
            moved(done, 2_000)
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.splitlines() == [
        f"train [x] {tenth}0 % ({200 * tenth:,} of 2,000), {tenth * LONG_SECONDS:.0f} s" for tenth in range(1, 11)
    ]
    with progress_bar("short") as moved:
        for done in (1, 1, 2):
            moved(done, 2)
        moved(0, 0)
    assert capsys.readouterr().err == ""
