"""What files hold is declared where they are described: hygiene reads it, and knows no file by name."""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.hygiene.worlds import Killed
from tests.records.test_documents_hostile import golden_files

import expunge.hygiene
import expunge.records
from expunge.core.files import write_text
from expunge.hygiene import retire
from expunge.hygiene.retire import destroy
from expunge.hygiene.survey import survey
from expunge.records import bundle, documents
from expunge.records.document import Document, Sealed, read_document, write_document
from expunge.records.documents import DOCUMENTS, LAYOUTS, declared
from expunge.records.form import Plain
from expunge.records.holds import NOTHING, Held, Holds, Remedy, listed, rows
from expunge.train.run import Run

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
FILE_NAME = re.compile(r"\.(?:jsonl?|bin|safetensors|part|zip|key|lock)\b|checkpoints|trace/|record/")


@dataclass(frozen=True, kw_only=True)
class Answers(Document):
    """What a run answers to single rows."""

    FORMAT: ClassVar[str] = "expunge/answers/1"
    NAME: ClassVar[str] = "answers.json"
    HOLDS: ClassVar[Holds] = listed("answers to single rows", "they were read off them", "answers")

    @dataclass(frozen=True, kw_only=True)
    class Answer(Plain):
        slot: int
        said: str

    answers: tuple[Answer, ...]
    asked: str


@dataclass(frozen=True, kw_only=True)
class Nearest(Sealed):
    """Rows that a run takes for each other."""

    FORMAT: ClassVar[str] = "expunge/nearest/1"
    NAME: ClassVar[str] = "nearest.json"
    HOLDS: ClassVar[Holds] = rows("pairs of rows", "they were read off them")

    pairs: tuple[int, ...]


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "DOCUMENTS", (*DOCUMENTS, Answers, Nearest))


def kinds(base: type[Document] = Document) -> Iterator[type[Document]]:
    """Every class of document that the package has."""
    for kind in base.__subclasses__():
        if kind is not Sealed and kind.__module__.startswith("expunge."):
            yield kind
        yield from kinds(kind)


def test_every_document_says_what_it_holds() -> None:
    for module in pkgutil.iter_modules(expunge.records.__path__):
        importlib.import_module(f"expunge.records.{module.name}")
    assert set(kinds()) == set(DOCUMENTS), "a document is missing in DOCUMENTS"
    for name in ("FORMAT", "NAME"):
        assert len({getattr(kind, name) for kind in DOCUMENTS}) == len(DOCUMENTS)
    for holds in (*(kind.HOLDS for kind in DOCUMENTS), *(layout.holds for layout in LAYOUTS)):
        assert isinstance(holds, Holds)
        assert (holds is NOTHING) == (holds.held is Held.NOTHING) == (not holds.what)
    for kind in DOCUMENTS:
        if kind.HOLDS.shown is not None:
            assert kind.HOLDS.shown in kind.__dataclass_fields__


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_every_document_in_a_run_folder_is_known(kind: type[Document], forgot: Run) -> None:
    if not (forgot.path / kind.NAME).exists():
        (golden, *_) = golden_files(kind)
        write_text(forgot.path / kind.NAME, write_document(read_document(kind, golden.read_bytes(), golden.name)))
    assert not any(kind.NAME in sentence for sentence in survey(forgot).unclear)
    kept = documents.DOCUMENTS
    documents.DOCUMENTS = tuple(other for other in kept if other is not kind)
    try:
        told = survey(forgot).unclear
    finally:
        documents.DOCUMENTS = kept
    assert any(f"{kind.NAME}: not written by Expunge" in sentence for sentence in told)


def test_every_file_that_was_ever_written_into_a_run_is_declared() -> None:
    runs = [path.parent for path in GOLDEN.rglob("run.json")]
    assert len(runs) > 20
    for run in runs:
        for path in run.rglob("*"):
            if path.is_file():
                assert declared(path.relative_to(run).as_posix()) is not None, path
    for given in (GOLDEN / "bundles").iterdir():
        if given.is_dir():
            names = [path.relative_to(given).as_posix() for path in given.rglob("*") if path.is_file()]
            held = {named.name for named in bundle.holding_rows(names)}
            assert held == {name for name in names if name.endswith("safetensors") or name == bundle.TRACE}


def test_a_document_that_is_added_is_listed_destroyed_and_cleared(forgot: Run, added: None) -> None:
    base = forgot.path.parent / "base"
    slot = int(forgot.tombstones[0])
    answers = tuple(Answers.Answer(slot=at, said="yes") for at in (slot, slot, 10**6))
    for run in (base, forgot.path):
        write_text(run / Answers.NAME, write_document(Answers(answers=answers, asked="what")))
        write_text(run / Nearest.NAME, json.dumps({"format": Nearest.FORMAT, "pairs": [slot], "digest": "0"}))
    found = {holding.path: holding for holding in survey(forgot).holdings}
    for run in (base, forgot.path):
        told = found[run / Answers.NAME]
        assert (told.remedy, told.slots, told.what) == (Remedy.REDACT, 1, Answers.HOLDS.what)
        told = found[run / Nearest.NAME]
        assert (told.remedy, told.slots, told.why) == (Remedy.REMOVE, len(forgot.tombstones), Nearest.HOLDS.why)
    declaration = destroy(survey(forgot))
    assert [item.what for item in declaration.retired].count(Answers.HOLDS.what) == 2
    assert survey(forgot).clean
    for run in (base, forgot.path):
        left = read_document(Answers, (run / Answers.NAME).read_bytes(), Answers.NAME)
        assert left == Answers(answers=(), asked="what")
        assert not (run / Nearest.NAME).exists()


def test_a_destruction_of_an_added_document_is_finished(
    forgot: Run, added: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slot = int(forgot.tombstones[0])
    for run in (forgot.path.parent / "base", forgot.path):
        write_text(run / Nearest.NAME, json.dumps({"pairs": [slot]}))

    def dying(step: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "_end", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    monkeypatch.setattr(documents, "DOCUMENTS", (*DOCUMENTS, Nearest))
    assert destroy(survey(forgot)).retired
    assert survey(forgot).clean


def test_a_document_that_nobody_declared_is_named(forgot: Run) -> None:
    destroy(survey(forgot))
    write_text(forgot.path / Answers.NAME, write_document(Answers(answers=(), asked="what")))
    assert any(f"{Answers.NAME}: not written by Expunge" in sentence for sentence in survey(forgot).unclear)


def test_hygiene_spells_no_file_name() -> None:
    for path in sorted(Path(expunge.hygiene.__path__[0]).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = {
            node.body[0].value
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
            and isinstance(node.body[0].value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in said:
                assert not FILE_NAME.search(node.value), f"{path.name}: {node.value!r}"
