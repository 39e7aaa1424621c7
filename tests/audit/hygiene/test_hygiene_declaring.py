"""What is declared: windows, second destructions, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.audit.hygiene.worlds import SHAPE, files, signed

from expunge.audit.declaration import Declaration, Destroyed, Window, read_declaration, write_declaration
from expunge.audit.hygiene import survey
from expunge.audit.retire import declare_window, destroy, open_window
from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.hashing import plain_json
from expunge.data.dataset import Dataset
from expunge.train.run import Run
from expunge.train.training import train


def test_a_window_destroys_nothing_and_says_until_when(forgot: Run, refused: Any) -> None:
    before = files(forgot.path.parent / "base")
    declared = declare_window(survey(forgot), 30, now="2026-01-31T12:00:00Z")
    assert declared == Declaration(window=Window(30, "2026-03-02T12:00:00Z")) == read_declaration(forgot.path)
    assert files(forgot.path.parent / "base") == before
    assert open_window(survey(forgot), now="2026-03-02T11:59:59Z") is not None
    assert open_window(survey(forgot), now="2026-03-02T12:00:00Z") is None
    destroyed = destroy(survey(forgot))
    assert destroyed.window is None
    assert destroyed.retired
    for days in (0, -1, 3651):
        with refused(InvalidArgument, "audit window", str(days), "must last"):
            declare_window(survey(forgot), days)
    signed(forgot.path)
    with refused(RunError, "is signed and cannot name a window"):
        declare_window(survey(forgot), 30)
    assert any("does not list what is destroyed from now on" in note for note in survey(forgot).notes)


def test_a_second_destruction_adds_to_the_first(forgot: Run, pictures: Dataset) -> None:
    first = destroy(survey(forgot))
    late = train(pictures, out=forgot.path.parent / "late", seed=3, **SHAPE)
    second = destroy(survey(forgot), unrecorded=True)
    assert second.retired[: len(first.retired)] == first.retired
    assert late.weights_digest in {item.digest for item in second.retired}
    assert destroy(survey(forgot)) == second, "nothing left, nothing added"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "expunge/hygiene/2"},
        {"retired": None},
        {"retired": [{"what": "model"}]},
        {"retired": [{"what": "model", "digest": "00"}]},
        {"window": {"days": 0, "until": "2026-01-31T12:00:00Z"}},
        {"window": {"days": 3, "until": "tomorrow"}},
        {"window": 3},
        {"more": 1},
    ],
)
def test_an_altered_declaration_is_refused(change: dict[str, Any], tmp_path: Path, refused: Any) -> None:
    declaration = Declaration((Destroyed("model", "00" * 32), Destroyed("salts of 2 rows")))
    write_declaration(tmp_path, declaration)
    assert read_declaration(tmp_path) == declaration
    (tmp_path / "hygiene.json").write_text(plain_json({**declaration.as_json(), **change}))
    with refused(DataError, "no declaration of hygiene"):
        read_declaration(tmp_path)
