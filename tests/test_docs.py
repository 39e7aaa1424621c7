"""The documentation is current, its examples run, and its commands exist."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from expunge.cli.app import VERBS
from expunge.cli.demo import PEOPLE
from expunge.report.glossary import GLOSSARY

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_generated_pages_are_current() -> None:
    subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=True, timeout=280)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_examples_run(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", ROOT / "examples" / name, tmp_path / "runs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_method_of_the_page_is_the_example() -> None:
    page = (ROOT / "docs" / "writing-a-method.md").read_text(encoding="utf-8")
    block = page.split("```python\n")[1].split("```")[0]
    assert (ROOT / "examples" / "own_method.py").read_text(encoding="utf-8").startswith(block.rstrip())


def test_the_document_of_the_page_is_the_example_and_has_20_lines() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = page.split("## A document in 20 lines")[1].split("```python\n")[1].split("```")[0]
    assert block in (ROOT / "examples" / "own_document.py").read_text(encoding="utf-8")
    assert len(block.strip().splitlines()) <= 20


def test_the_guide_has_the_words_of_the_certificate() -> None:
    table = (ROOT / "docs" / "auditing.md").read_text(encoding="utf-8").split("### Words")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE)
    assert rows == [("word", "what it is"), *GLOSSARY.items()]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_of_the_pages_exist(page: Path) -> None:
    for line in re.findall(r"^expunge .*$", page.read_text(encoding="utf-8"), flags=re.MULTILINE):
        words = shlex.split(line.split("  #")[0])
        assert words[1] in VERBS, line
        source = (ROOT / "src" / "expunge" / "cli" / f"{words[1].replace('-', '_')}.py").read_text(encoding="utf-8")
        for word in words[2:]:
            if word.startswith("--"):
                name = word.removeprefix("--")
                assert name.replace("-", "_") in source or f'"{word}"' in source, f"{line}: {word}"


def test_the_demo_forgets_whom_the_study_chose() -> None:
    found = json.loads((ROOT / "studies" / "results" / "demo_people.json").read_text(encoding="utf-8"))
    chosen = {row["subject"] for row in found["people"][:12]}
    assert {f"person-{number:03d}" for number in PEOPLE} == chosen


SOURCE = ROOT / "src" / "expunge"
DOTTED = re.compile(r"``(?:expunge\.)?([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(\))?``")
ENDINGS = {"json", "jsonl", "csv", "log", "bin", "toml", "html"}  # ``study.log`` is a file and no name


def docstrings(path: Path) -> list[str]:
    """Docstrings of a module and of everything in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


def leads_somewhere(parts: list[str]) -> bool:
    """Whether there is such a module of the package, or such a name in one."""
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(["expunge", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        try:
            for name in parts[cut:]:
                found = getattr(found, name)
        except AttributeError:
            return False
        return True
    return False


@pytest.mark.parametrize("folder", sorted(path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()))
def test_names_in_docstrings_resolve(folder: str) -> None:
    """A dotted name that begins with a folder of the package, or with a module beside the one that says it."""
    houses = {path.name for path in SOURCE.iterdir() if path.is_dir()} | {"audit"}  # which is gone
    wrong: list[str] = []
    for path in sorted((SOURCE / folder).rglob("*.py")):
        beside = {file.stem for file in path.parent.glob("*.py")}
        here = list(path.parent.relative_to(SOURCE).parts)
        for name in (name for text in docstrings(path) for name in DOTTED.findall(text)):
            parts = name.split(".")
            if parts[-1] in ENDINGS or parts[0] not in houses | beside:
                continue
            if not (leads_somewhere(parts) or leads_somewhere([*here, *parts])):
                wrong.append(f"{path.relative_to(SOURCE)}: {name}")
    assert not wrong


def test_a_name_that_is_gone_does_not_resolve() -> None:
    assert leads_somewhere(["train", "state", "tensors_digest"])
    assert not leads_somewhere(["train", "state", "tensor_digest"])
    assert not leads_somewhere(["audit", "forge"])
    assert DOTTED.findall("see ``expunge.audit.forge`` and ``adversary.pol.spoof``") == [
        "audit.forge",
        "adversary.pol.spoof",
    ]


OPEN = {  # missed in the committed measurement, and shown so on the page: the bound stands, the work is open
    "method epoch / bare loop, saliency-unlearning",
    "method epoch / bare loop, scrub",
}


def test_speed_figures_keep_their_bounds() -> None:
    results = ROOT / "benchmarks" / "results"
    found = [json.loads((results / name).read_text(encoding="utf-8"))["rows"] for name in ("speed.json", "study.json")]
    assert all(found)
    for row in (row for rows in found for row in rows if "bound" in row):
        faster = row.get("better") == "higher"
        assert row["kept"] == (row["value"] >= row["bound"] if faster else row["value"] <= row["bound"]), row
        assert row["kept"] or row["name"] in OPEN, row


def test_constraints_name_exact_versions() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    assert "torch==2.13.0" in named
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[^=]+", line) for line in named)
