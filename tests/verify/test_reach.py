"""What verification up to V1 can reach: no torch, no pickle, no evaluation of text, no network."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.verify.lineages import TRUSTED
from tests.verify.records import bundle, forgot, trained

from expunge.records.keys import write_trusted

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.verify import Size, build, measure

SOURCE = Path(__file__).parents[2] / "src"
BANNED_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "shelve",
    "marshal",
    "joblib",
    "yaml",
    "torch",
    "socket",
    "ssl",
    "http",
    "urllib",
    "ftplib",
    "requests",
    "httpx",
    "subprocess",
    "multiprocessing",
    "ctypes",
    "runpy",
    "xmlrpc",
    "smtplib",
    "transformers",
    "datasets",
}
BANNED_CALLS = {"eval", "exec", "compile", "__import__", "import_module", "entry_points", "load_module", "system"}
FACE = {"expunge/__init__.py", "expunge/core/verbs.py"}  # import what a fixed table names, never what a bundle does
LAZY = {("expunge/verify/checks.py", "expunge.verify.levels.replay")}  # from V2 on

CODE = """
import json, sys
from expunge.verify.verify import verify
verdict = verify(sys.argv[1], keys=sys.argv[2], level="V1")
print(json.dumps({"status": verdict.status.value, "torch": "torch" in sys.modules,
                  "modules": {name: getattr(module, "__file__", None) for name, module in sys.modules.items()
                              if name.split(".")[0] == "expunge"}}))
"""


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every module of ours that a verification imported, in a process of its own."""
    folder = tmp_path_factory.mktemp("reach")
    write_trusted(folder / "trusted.json", TRUSTED)
    path = bundle(forgot(trained(), (3, 17)), folder)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(path), str(folder / "trusted.json")],
        check=True,
        capture_output=True,
        text=True,
        timeout=280,
    )
    found = json.loads(done.stdout)
    assert found["status"] == "accepted"
    assert not found["torch"]
    return {name: Path(file) for name, file in found["modules"].items()}


def offences(text: str, name: str) -> Iterator[str]:
    """Imports and calls in a source, wherever they stand, that verification has no use for."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            modules = []
        for module in modules:
            if module.split(".")[0] in BANNED_MODULES:
                yield f"{name} imports {module}"
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            plain = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "re"
            if called in BANNED_CALLS and not plain:
                yield f"{name} calls {called}"
            if any(word.arg == "allow_pickle" for word in node.keywords):
                yield f"{name} allows pickles"


def test_a_verification_reaches_nothing_that_runs_or_fetches(reached: dict[str, Path]) -> None:
    assert "expunge.verify.checks" in reached
    found: list[str] = []
    for file in reached.values():
        name = file.relative_to(SOURCE).as_posix()
        if name not in FACE:
            found += offences(file.read_text(encoding="utf-8"), name)
    assert found == []


def test_what_is_imported_later_is_reached_too_but_for_the_replay(reached: dict[str, Path]) -> None:
    """Imports inside functions count: nothing of ours beyond those loaded may be named, but the replay."""
    named: set[tuple[str, str]] = set()
    for module, file in reached.items():
        name = file.relative_to(SOURCE).as_posix()
        if name in FACE or not module.startswith(("expunge.records", "expunge.verify", "expunge.schedule.recipe_file")):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("expunge."):
                named.add((name, node.module or ""))
    assert {(name, module) for name, module in named if module not in reached} == LAZY


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "def f():\n    from urllib.request import urlopen",
        "eval('1')",
        "import importlib\nimportlib.import_module('x')",
        "np.load('x', allow_pickle=False)",
        "import os\nos.system('x')",
        "import torch.nn",
    ],
)
def test_the_scan_sees_what_it_should(text: str) -> None:
    assert list(offences(text, "x")) != []
    assert list(offences("import re\nre.compile('x')\nimport json", "x")) == []


def test_the_benchmark_verifies_a_record_that_holds(tmp_path: Path) -> None:
    """A small one of its kind: what is measured must be a verification that was carried out, without torch."""
    found = measure(build(tmp_path, Size(leaves=700, epochs=3, batch=64, forgotten=20)))
    assert (found["status"], found["reached"], found["codes"], found["torch"]) == ("accepted", "V1", [], False)
    assert float(str(found["seconds"])) > 0
