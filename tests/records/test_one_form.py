"""One form writes and reads every document, and everything outside ``records`` holds documents by their types."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

from expunge.records.document import Document
from expunge.records.documents import DOCUMENTS

SOURCE = Path(__file__).parents[2] / "src" / "expunge"
MOST_OF_THEIR_OWN = 15  # methods as_json and from_json, the form's own from_json among them
TAG = re.compile(r"expunge/[a-z-]+/[0-9]+")
LOOSE = ("dict[str, Any]", "Mapping[str, Any]")
BUT = {  # module → what its functions take or give as a table of anything, which is no document
    "adversary/forging/told.py": "what --json prints",
    "adversary/table/telling.py": "keyword arguments of a record that is to be false",
    "attest/asked.py": "an event of a run's log",
    "attest/described.py": "settings of any method",
    "cli/methods.py": "a row of the table of methods, for --json",
    "cli/shared.py": "what --json prints, once it is written",
    "core/beacon.py": "read and written below the form",
    "core/hashing.py": "any JSON, and the fields of a row",
    "data/commitment.py": "the fields of a row",
    "data/dataset.py": "the fields of a row",
    "data/source.py": "a part that older files hold with fewer fields",
    "hygiene/surroundings.py": "a tuning that may be broken, older or cut short: one field of it is looked for",
    "hygiene/survey.py": "what --json prints",
    "methods/given.py": "the account of certified removals as it stands in run.json, for its method alone",
    "methods/lookup.py": "settings of any method; the table of methods for --json",
    "methods/removal_account.py": "the account, refused with sentences about the request",
    "report/certificate.py": "what a template shows",
    "report/certificate_facts.py": "the fields of a recipe",
    "report/identity.py": "a source, and settings of any kind",
    "report/leaderboard.py": "what a template shows",
    "report/method_page.py": "what a template shows; settings of any method",
    "report/report.py": "what a template shows",
    "report/study_results.py": "settings of any method",
    "report/study_wording.py": "settings of any method",
    "schedule/recipe.py": "the recipe, whose digest has a form of its own",
    "schedule/recipe_file.py": "the recipe with reals in their canonical form",
    "study/grid.py": "what a job is about, under its digest",
    "study/opened.py": "what a job says of its data",
    "study/packing.py": "what a job says of its method",
    "study/ray_cluster.py": "an environment",
    "study/ray_task.py": "what a job says of its data",
    "study/results.py": "settings of any method",
    "study/search.py": "settings of any method",
    "study/study.py": "facts about a machine",
    "study/study_file.py": "tables of a TOML file that somebody wrote",
    "study/training_table.py": "tables of a TOML file that somebody wrote",
    "study/work.py": "what a job is about",
    "study/worker.py": "a message between processes",
    "train/exactness.py": "an environment",
    "train/log.py": "an event of a run's log",
    "train/profile.py": "an environment",
    "train/training.py": "settings of a recipe",
    "verify/levels/environment.py": "an environment",
}


@cache
def _trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _loose(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a parameter or the result is a table of anything."""
    given = function.args
    every = (*given.posonlyargs, *given.args, *given.kwonlyargs)
    notes = [function.returns, *(one.annotation for one in every)]
    return any(loose in ast.unparse(note) for note in notes if note is not None for loose in LOOSE)


def test_few_classes_write_or_read_themselves() -> None:
    found = [
        (name, function)
        for name, tree in _trees().items()
        for function in _functions(tree)
        if function.name in ("as_json", "from_json")
    ]
    assert len(found) <= MOST_OF_THEIR_OWN, [name for name, _ in found]
    assert all(ast.get_docstring(function) for _, function in found)


def test_tables_of_anything_are_no_documents() -> None:
    """Whoever adds a module to the list says what its table is; a table of a document is a class in ``records``."""
    found = {
        name
        for name, tree in _trees().items()
        if not name.startswith("records/") and any(_loose(function) for function in _functions(tree))
    }
    assert found == set(BUT)


def test_every_format_stands_once() -> None:
    """Tags of digests too, which are bytes."""
    told = [node.value for tree in _trees().values() for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [value.decode("ascii", "replace") if isinstance(value, bytes) else value for value in told]
    found = Counter(text.strip() for text in texts if isinstance(text, str) and TAG.fullmatch(text.strip()))
    assert {"expunge/leaf/1", "expunge/salts/1", "expunge/state/1"} <= set(found)
    assert {name for name, count in found.items() if count > 1} == set()
    assert {document.FORMAT for document in DOCUMENTS} <= set(found)


def test_no_run_file_is_read_by_its_keys() -> None:
    named = re.compile(r"manifest(\[|\.get\()")
    assert [name for name in _trees() if named.search((SOURCE / name).read_text(encoding="utf-8"))] == []


def test_no_two_classes_of_documents_have_one_name() -> None:
    """Of plain documents and their parts, and of what is signed."""
    inside = {name: tree for name, tree in _trees().items() if name.startswith("records/")}
    classes = [
        (name, node) for name, tree in inside.items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    ]
    plain = {"Plain"}
    for _ in classes:
        plain |= {node.name for _, node in classes if plain & {ast.unparse(base) for base in node.bases}}
    told = [node.name for name, node in classes if node.name in plain or name == "records/record.py"]
    assert {name for name, count in Counter(told).items() if count > 1} == set()
    assert {kind.__name__ for kind in DOCUMENTS} | {Document.__name__} <= plain
