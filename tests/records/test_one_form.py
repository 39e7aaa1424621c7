"""One form writes and reads every document, and everything outside ``records`` holds documents by their types."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from tests.records.tables import Tables

from expunge.records.document import Document
from expunge.records.documents import DOCUMENTS

SOURCE = Path(__file__).parents[2] / "src" / "expunge"
MOST_OF_THEIR_OWN = 15  # methods as_json and from_json, the form's own from_json among them
TAG = re.compile(r"expunge/[a-z-]+/[0-9]+")
BUT = {  # what a table of anything is that is no document → functions that take or give it, by module
    "keyword arguments, of records that are to be false or of what is trained for them": {
        "adversary/table/attempt": "told_as",
        "adversary/table/lineage": "_asked",
        "adversary/table/scene": "Scene.trained",
        "adversary/table/story": "Story.changed Story.retold Story.with_states",
        "adversary/table/telling": "without",
    },
    "keyword arguments, handed on": {
        "core/verbs": "Verb.__call__",
        "data/handed": "_in_memory _pair hand_over said_of",
        "methods/objective_method": "ObjectiveMethod.stretch",
        "study/planner": "plan",
    },
    "labels of rows, of either kind": {"adversary/table/telling": "altered_rows"},
    "the fields of a row": {
        "core/hashing": "example_bytes",
        "data/commitment": "_at",
        "data/dataset": "Dataset.example",
    },
    "any JSON, as its text is read": {"core/hashing": "parse_json.pairs"},
    "settings by name, which each method or recipe has of its own": {
        "attest/described": "_fields",
        "cli/info": "_staged",
        "core/settings": "kinds_of read_settings",
        "methods/lookup": "made_from",
        "models/named": "with_model",
        "models/resolver": "given_to",
        "report/certificate_facts": "_recipe",
        "report/identity": "_flat",
        "report/method_page": "_fields _named",
        "report/study_results": "settled",
        "report/study_wording": "_told",
        "schedule/fields": "RecipeFields.said",
        "schedule/stepless": "refuse_steps",
        "study/results": "_defaults",
        "study/search": "Space.drawn Space.make",
        "train/folder": "as_begun",
        "train/training": "_completed _recipe_like make_recipe train",
    },
    "tables of a TOML file that somebody wrote": {
        "study/study_file": "_Reader.__init__ _Reader.known _Reader.one_data _Reader.tables _Reader.text "
        "_Reader.texts _Reader.whole",
        "study/training_table": "TrainingFields.changed read_training",
    },
    "an environment, whose names are its own": {
        "train/apart": "take_over",
        "train/exactness": "differing require_same",
        "train/profile": "fingerprint",
        "verify/levels/environment": "_flat differences",
    },
    "facts about machines": {"study/ray_cluster": "Cluster.here", "study/study": "_results"},
    "what a template shows": {
        "report/leaderboard": "_page _sections",
        "report/method_page": "_part _seed method_view",
        "report/report": "_page _sections _training",
    },
    "what --json and --format csv print": {
        "adversary/forging/told": "told_forging told_spoofing told_step told_proof _told_answers _told_verdicts",
        "cli/forget": "_as_json",
        "cli/methods": "_print_one _rows",
        "cli/shared": "_cells as_csv print_as print_json",
        "hygiene/survey": "Survey.as_json",
        "methods/lookup": "method_rows",
    },
    "read and written below the form, or by rules of its own, as its docstring says": {
        "core/beacon": "Beacon.as_json Beacon.from_json",
        "data/source": "Source.as_json Source.from_json",
        "schedule/recipe": "Recipe.as_json Recipe.from_json _plain",
        "schedule/recipe_file": "_with_reals",
    },
    "a source as it described itself": {
        "data/handed": "HandedData.filled HandedData.held",
        "report/identity": "_place",
        "study/opened": "source_name",
        "train/export": "_reading",
        "train/described": "described_data",
        "train/without": "_place",
    },
    "the account of certified removals as it stands in run.json, for its method alone": {
        "methods/given": "Given.account",
        "methods/removal_account": "Account.as_json Account.from_json",
        "methods/unlearn": "_account",
    },
    "a tuning that may be broken, older or cut short: one field of it is looked for": {
        "hygiene/surroundings": "_object_in asked_first",
    },
}


@cache
def _trees() -> dict[str, ast.Module]:
    return {
        path.relative_to(SOURCE).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    }


def _functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _module(name: str) -> str:
    return "expunge." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_few_classes_write_or_read_themselves() -> None:
    found = [
        (name, function)
        for name, tree in _trees().items()
        for function in _functions(tree)
        if function.name in ("as_json", "from_json")
    ]
    assert len(found) <= MOST_OF_THEIR_OWN, [name for name, _ in found]
    unsaid = [name for name, function in found if "ot by the form" not in (ast.get_docstring(function) or "")]
    assert unsaid == ["records/form.py"]


def test_tables_of_anything_are_no_documents() -> None:
    """Whoever adds a function to the list says what its table is; a table of a document is a class in ``records``."""
    texts = {name: (SOURCE / name).read_text(encoding="utf-8") for name in _trees()}
    tables = Tables({_module(name): text for name, text in texts.items()})
    found = {
        f"{name.removesuffix('.py')}:{function}"
        for name in texts
        if not name.startswith("records/")
        for function in tables.functions(_module(name))
    }
    assert found == {
        f"{module}:{function}"
        for modules in BUT.values()
        for module, functions in modules.items()
        for function in functions.split()
    }


HEAD = """
import collections.abc
import typing as t
import expunge.planted.names as names
from collections.abc import Callable, Mapping, MutableMapping
from collections.abc import Mapping as Map
from typing import Any, NewType, Optional, TypeVar, Union
from typing import Any as Whatever
from expunge.planted import names as also
from expunge.planted.names import Elsewhere, Renamed as Another
Table = dict[str, Any]
Tables = list[Table]
Typed: t.TypeAlias = "Mapping[str, object]"
New = NewType("New", dict[str, Any])
Bound = TypeVar("Bound", bound=Mapping[str, Any])
Dict = dict
class Kind(dict[str, Any]): ...
class Kin(Table): ...
class Own: ...
"""
ELSEWHERE = "from typing import Any\nElsewhere = tuple[dict[str, Any], ...]\nRenamed = Elsewhere\n"


def planted(text: str) -> list[str]:
    return list(
        Tables({"expunge.planted": HEAD + text, "expunge.planted.names": ELSEWHERE}).functions("expunge.planted")
    )


@pytest.mark.parametrize(
    "text",
    [
        "def told(run: dict[str, Any]): ...",
        "def told(run: dict[str, object]): ...",
        "def told(run: Mapping[str, object]): ...",
        "def told(run: MutableMapping[str, Any]): ...",
        "def told(run: t.Dict[str, t.Any]): ...",
        "def told(run: collections.abc.Mapping[str, Any]): ...",
        "def told(run: Map[str, Whatever]): ...",
        "def told(run: Dict[str, Any]): ...",
        "def told(run: dict[Any, Any]): ...",
        "def told(run: dict): ...",
        "def told(run: dict[str, Any | None]): ...",
        "def told(run: dict[str, Optional[object]]): ...",
        "def told(run: dict[str, t.Annotated[Any, 1]]): ...",
        "def told(run: dict[str, dict[str, Any]]): ...",
        "def told(run: 'dict[str, Any]'): ...",
        "def told(run: 'list[dict[str, Any]]'): ...",
        "def told(run: Table): ...",
        "def told(run: Tables): ...",
        "def told(run: Typed): ...",
        "def told(run: New): ...",
        "def told(run: Bound): ...",
        "def told(run: Kind): ...",
        "def told(run: Kin): ...",
        "def told(run: Elsewhere): ...",
        "def told(run: Another): ...",
        "def told(run: names.Elsewhere): ...",
        "def told(run: also.Renamed): ...",
        "def told(run: expunge.planted.names.Elsewhere): ...",
        "def told(*runs: dict[str, Any]): ...",
        "def told(**runs: dict[str, Any]): ...",
        "def told(**run: Any): ...",
        "def told(**run: object): ...",
        "def told(one: int, /, *, run: dict[str, Any]): ...",
        "def told() -> dict[str, Any]: ...",
        "def told() -> dict[str, Any] | None: ...",
        "def told() -> Optional[Table]: ...",
        "def told() -> Union[int, Table]: ...",
        "def told() -> tuple[int, list[Mapping[str, Any]]]: ...",
        "def told(make: Callable[[Table], int]): ...",
        "async def told() -> Table: ...",
        "if t.TYPE_CHECKING:\n    Late = Table\ndef told(run: Late): ...",
    ],
)
def test_a_planted_table_is_reported(text: str) -> None:
    assert planted(text) == ["told"]


def test_planted_tables_are_reported_by_the_place_of_their_function() -> None:
    text = "class Own:\n    def told(self) -> Table: ...\ndef outer() -> int:\n    def told(run: Table): ...\n"
    assert planted(text) == ["Own.told", "outer.told"]


@pytest.mark.parametrize(
    "text",
    [
        "def told(run: dict[str, int], names: Mapping[str, tuple[str, ...]], own: Own) -> Callable[[Any], object]: ...",
        "def told(*runs: Any, other: object = None, **named: int) -> list[Any]: ...",
        "def told(words: t.Literal['dict'], kind: type[Any]) -> Another2: ...",
    ],
)
def test_what_is_no_table_of_anything_is_not_reported(text: str) -> None:
    assert planted(text) == []


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
