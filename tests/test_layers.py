"""Imports point down the house only, files import each other in no circle, and the lower floors stand without torch."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from docs.house import HOUSE

SOURCE = Path(__file__).parents[1] / "src" / "expunge"
NEVER = {  # beside what lies above
    "verify": {"attest", "hygiene", "adversary"},
    "hygiene": {"attest", "verify", "adversary"},
    "attest": {"hygiene", "adversary", "verify"},
    "records": set(HOUSE) - {"core"},
    "report": set(HOUSE) - {"core", "data", "records"},
    "methods": {"measure", "attacks"},
    "measure": {"methods", "attacks"},
    "attacks": {"methods", "measure"},
}
BUT = {("attest", "expunge.verify.verify.verify")}  # what a maker says is checked by what an auditor runs
HEAVY = {"torch", "scipy", "sklearn"}
LIGHT = ("core", "records", "data", "schedule", "report")


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def files() -> dict[str, Path]:
    return {module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imported(text: str, where: str = "the text") -> Iterator[str]:
    """Everything of ours that a file imports, here or there in it: modules, or what it takes from them, in full."""
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}: relative imports hide the direction"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name.split(".")[0] == "expunge")


def errors(folder: str, text: str, where: str = "the text") -> list[str]:
    """Which imports of a file in a folder point up, across, or to the face."""
    found: list[str] = []
    for name in sorted(set(imported(text, where))):
        other = name.partition(".")[2].partition(".")[0]
        if other not in HOUSE:
            found.append(f"{folder} imports {name}: the package's face is for those outside")
        elif other != folder and HOUSE.index(other) < HOUSE.index(folder):
            found.append(f"{folder} imports {name}, which lies above it")
        elif other in NEVER.get(folder, ()) and other != folder and (folder, name) not in BUT:
            found.append(f"{folder} imports {name}: {folder} never imports {other}")
    return found


@pytest.mark.parametrize("path", files().values(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    folder = path.relative_to(SOURCE).parts[0]
    if folder != "__init__.py":
        assert errors(folder, path.read_text(encoding="utf-8"), str(path)) == []


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("data", "import expunge.train.loop"),
        ("verify", "from expunge.attest.package import package_digest"),
        ("verify", "from expunge.hygiene.survey import survey"),
        ("hygiene", "from expunge.verify.opened import OpenedRecord"),
        ("hygiene", "from expunge import verify"),
        ("attest", "from expunge.verify.levels.recorded import check_tree"),
        ("attest", "from expunge.verify.verify import verify, OTHER"),
        ("attest", "def late():\n    from expunge.verify.levels import chain"),
        ("records", "from expunge.schedule.recipe import Recipe"),
        ("records", "from expunge.data.splits import Split"),
        ("report", "from expunge.schedule.recipe import Recipe"),
        ("methods", "from expunge.measure.trial import Trial"),
        ("measure", "from expunge.methods import METHODS"),
        ("methods", "from expunge.attacks.worst import worst"),
        ("attacks", "from expunge.measure.readings import Signals"),
        ("attacks", "from expunge.methods.sign_descent import SignDescent"),
        ("train", "import expunge"),
        ("study", "from expunge import __version__"),
    ],
)
def test_a_planted_import_is_reported(folder: str, line: str) -> None:
    assert len(errors(folder, line)) == 1


def test_what_may_be_imported_is_not_reported() -> None:
    assert errors("attest", "from expunge.verify.verify import verify") == []
    assert errors("train", "import numpy\nfrom expunge.core.errors import RunError\nimport expunge.data.splits") == []
    assert errors("verify", "from expunge.verify.levels import chain") == []


def circle(texts: dict[str, str]) -> list[str]:
    """Files that import each other in a circle, if any do; imports for types and inside functions count."""
    graph = {
        module: {name if name in texts else name.rpartition(".")[0] for name in imported(text, module)}
        for module, text in texts.items()
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_files_import_each_other_in_no_circle() -> None:
    texts = {module: path.read_text(encoding="utf-8") for module, path in files().items()}
    assert circle(texts) == []
    back = "\nif TYPE_CHECKING:\n    from expunge.data.forms import read"
    assert {"expunge.data.source", "expunge.data.forms"} <= set(
        circle({**texts, "expunge.data.source": texts["expunge.data.source"] + back})
    )


def types_of(text: str) -> Iterator[str]:
    """Classes and names of types that a file makes for everybody; what stands for any type (``TypeVar``) is none."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar(" not in ast.unparse(node.value or node):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (name for target in targets if re.fullmatch("[A-Z]\\w*[a-z]\\w*", name := ast.unparse(target)))


def in_several(texts: dict[str, str]) -> dict[str, list[str]]:
    """Names of types that stand in more than one module, with these modules; private ones may."""
    found: dict[str, list[str]] = {}
    for module, text in texts.items():
        for name in types_of(text):
            found.setdefault(name, []).append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1 and not name.startswith("_")}


def test_a_class_has_its_name_for_itself() -> None:
    texts = {module: path.read_text(encoding="utf-8") for module, path in files().items()}
    assert in_several(texts) == {}
    for planted in ("class Recipe:\n    pass", "Recipe = str | None", "Recipe: type = dict"):
        assert set(in_several({**texts, "expunge.core.planted": planted})) == {"Recipe"}
    private = 'class _Recipe:\n    Recipe = 1\nFound = TypeVar("Found")'
    assert in_several({**texts, "expunge.core.planted": private}) == {}


def test_every_folder_is_in_the_house() -> None:
    assert {path.parent.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*/*.py")} <= set(HOUSE)


def test_lower_floors_and_what_a_verdict_up_to_structure_loads_are_light(tmp_path: Path) -> None:
    """No torch, SciPy or scikit-learn, neither by importing them all nor by a verification at V1."""
    from tests.verify.lineages import TRUSTED
    from tests.verify.records import bundle, trained

    from expunge.records.keys import write_trusted

    write_trusted(tmp_path / "trusted.json", TRUSTED)
    modules = [module for module in files() if module.startswith(tuple(f"expunge.{folder}." for folder in LIGHT))]
    modules = [module for module in modules if not module.startswith("expunge.core.statistics.")]  # is SciPy
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += f"from expunge.verify.verify import verify\nfound = verify({str(bundle(trained(), tmp_path))!r}, "
    code += f"keys={str(tmp_path / 'trusted.json')!r}, level='V1')\nassert found.reached.name == 'V1'\n"
    code += f"assert not {HEAVY!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


STARTED = """
import contextlib, io, sys
from expunge.cli.main import main

for words in {commands!r}:
    sys.argv = ["expunge", *words]
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as stop:
            assert stop.code == 0, words
    found = {heavy!r} & set(sys.modules)
    assert not found, (words, found)
"""


def test_commands_that_only_read_bring_nothing_heavy(tmp_path: Path) -> None:
    """Neither what is slow to import nor what an auditor does not have (``tests/test_install.py``)."""
    golden = Path(__file__).parent / "golden" / "0.1.0"
    keys, bundle = ["--keys", str(golden / "keys" / "trusted.json")], str(golden / "bundles" / "plain")
    commands = (
        ["--version"],
        ["info", str(golden / "digits" / "forgot")],
        ["info", bundle],
        ["methods"],
        ["methods", "scrub"],
        ["verify", bundle, "--level", "V1", *keys],
        ["report", bundle, *keys, "--out", str(tmp_path / "certificate.html")],
        ["report", str(golden / "digits" / "fine-tuned"), "--out", str(tmp_path / "report.html")],
    )
    heavy = HEAVY | {"pyarrow", "PIL", "safetensors", "pandas", "datasets", "optuna", "ray"}
    code = STARTED.format(commands=commands, heavy=heavy)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


def test_lower_floors_import_no_torch() -> None:
    modules = [module for module in files() if module.startswith(tuple(f"expunge.{folder}." for folder in LIGHT))]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


def test_package_face_imports_no_torch() -> None:
    code = "import sys, expunge, expunge.report.report\n"
    code += "expunge.report, expunge.Source\nassert 'torch' not in sys.modules\nexpunge.METHODS"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)


@pytest.mark.parametrize("first", ["import expunge.train.training as t", "import expunge.report.report as r", "pass"])
def test_verbs_can_be_called_whatever_was_imported_first(first: str, tmp_path: Path) -> None:
    run, report = str(tmp_path / "run"), str(tmp_path / "report.html")
    code = f"{first}\nimport expunge\nrun = expunge.train('digits', model='mlp', epochs=1, out={run!r})\n"
    code += "assert expunge.load(run.path).weights_digest == run.weights_digest\n"
    code += f"expunge.report([run.path], out={report!r})\n"
    code += "import expunge.train.training as again; again.train"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=280)
    assert (tmp_path / "report.html").exists()


def test_nothing_is_pickled_or_printed() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "torch.save(", 'eval("', "allow_pickle=True", "torch.randperm"):
            assert word not in text, f"{path} holds {word!r}"


def test_completion_shows_the_verbs_and_nothing_else() -> None:
    import expunge

    assert dir(expunge) == sorted(expunge.__all__)
    assert {"train", "Run", "evaluate", "METHODS"} <= set(dir(expunge))


def test_files_stay_small() -> None:
    long = {str(path): n for path in SOURCE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
    assert len((SOURCE / "__init__.py").read_text().splitlines()) < 90
