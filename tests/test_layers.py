"""Imports point down the house only, and the lower floors stand without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "expunge"
HOUSE = (
    "cli",
    "desk",
    "report",
    "study",
    "adversary",
    "attest",
    "verify",
    "hygiene",
    "attacks",
    "measure",
    "methods",
    "train",
    "models",
    "tasks",
    "schedule",
    "data",
    "records",
    "core",
)
STRANGERS = {"methods", "measure", "attacks"}
NO_TORCH = ("core", "data", "schedule", "report")


def imported(path: Path) -> set[str]:
    """Folders of the house that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            assert node.level == 0, f"{path}: relative imports hide the direction"
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("expunge.")}
    return found


def direction_errors(folder: str, imports: set[str]) -> list[str]:
    """Which imports of a folder point up or across."""
    errors: list[str] = []
    for other in sorted(imports - {folder}):
        if other not in HOUSE:
            errors.append(f"{folder} imports {other}, which is no folder of the house")
        elif HOUSE.index(other) < HOUSE.index(folder):
            errors.append(f"{folder} imports {other}, which lies above it")
        elif {folder, other} <= STRANGERS:
            errors.append(f"{folder} imports {other}: methods, measure and attacks never import each other")
        elif folder == "report" and other not in ("core", "data"):
            errors.append(f"report imports {other}: it reads files, not runs")
    return errors


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    folder = path.relative_to(SOURCE).parts[0]
    if folder != "__init__.py":
        assert direction_errors(folder, imported(path)) == []


def test_the_check_sees_what_it_should() -> None:
    assert direction_errors("data", {"train"}) == ["data imports train, which lies above it"]
    assert direction_errors("measure", {"methods"}) != []
    assert direction_errors("report", {"train"}) != []
    assert direction_errors("train", {"core", "data", "models"}) == []


def test_every_folder_is_in_the_house() -> None:
    assert {path.parent.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*/*.py")} <= set(HOUSE)


def test_lower_floors_import_no_torch() -> None:
    modules = [
        "expunge." + ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for folder in NO_TORCH
        for path in sorted((SOURCE / folder).rglob("*.py"))
    ]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\n"
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_package_face_imports_no_torch() -> None:
    code = "import sys, expunge, expunge.report.report\n"
    code += "expunge.report, expunge.Source\nassert 'torch' not in sys.modules\nexpunge.METHODS"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("first", ["import expunge.train.training as t", "import expunge.report.report as r", "pass"])
def test_verbs_can_be_called_whatever_was_imported_first(first: str, tmp_path: Path) -> None:
    run, report = str(tmp_path / "run"), str(tmp_path / "report.html")
    code = f"{first}\nimport expunge\nrun = expunge.train('digits', model='mlp', epochs=1, out={run!r})\n"
    code += "assert expunge.load(run.path).weights_digest == run.weights_digest\n"
    code += f"expunge.report([run.path], out={report!r})\n"
    code += "import expunge.train.training as again; again.train"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert (tmp_path / "report.html").exists()


def test_nothing_is_pickled_or_printed() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word in ("import pickle", "torch.load(", "torch.save(", 'eval("', "allow_pickle=True", "torch.randperm"):
            assert word not in text, f"{path} holds {word!r}"


def test_files_stay_small() -> None:
    long = {str(path): n for path in SOURCE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}
    assert len((SOURCE / "__init__.py").read_text().splitlines()) < 90
