"""What is declared: windows, second destructions, and nothing that is not so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.hygiene.worlds import ANOTHER, SHAPE, Killed, files, signed

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.hashing import plain_json
from expunge.data.dataset import Dataset
from expunge.hygiene import retire
from expunge.hygiene.places import forgotten_rows
from expunge.hygiene.retire import declare_window, destroy, open_window
from expunge.hygiene.survey import survey
from expunge.methods.unlearn import unlearn
from expunge.records.declaration import Declaration, Destroyed, Window, read_declaration, write_declaration
from expunge.records.form import to_plain
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
    (tmp_path / "hygiene.json").write_text(plain_json({**to_plain(declaration), **change}))
    with refused(DataError, "no declaration of hygiene"):
        read_declaration(tmp_path)


def test_what_was_destroyed_is_declared_once_however_often_it_is_finished(
    secret: Run, pictures: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may end after the declaration is written and before the intent goes."""
    write = retire.write_declaration

    def dying(folder: Path, declaration: Declaration) -> None:
        write(folder, declaration)
        raise Killed

    later = unlearn(secret, ANOTHER, out=tmp_path / "runs" / "later", data=pictures)
    signed(secret.path)
    for run in (secret, later):
        kept = [later.path] if run is secret else []
        monkeypatch.setattr(retire, "write_declaration", dying)
        for _ in range(2):
            with pytest.raises(Killed):
                destroy(survey(run, data=pictures, keep=kept if later.path != run.path else []))
        monkeypatch.undo()
        declared = read_declaration(run.path)
        assert declared is not None
        assert (run.path / "hygiene-intent.json").is_file()
        assert destroy(survey(run, data=pictures)) == declared
        assert [item.what for item in declared.retired if "salts" in item.what] == [
            f"salts of {len(set(forgotten_rows(run)) - (set() if run is secret else set(forgotten_rows(secret))))} rows"
        ]
        assert destroy(survey(run, data=pictures)) == declared, "nothing left, nothing added"


def test_an_interrupt_while_a_note_is_written_adds_nothing_to_the_declaration(
    forgot: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, expected = forgot.path.parent / "base", [(item.what, item.digest) for item in survey(forgot).holdings]
    write = retire.write_text

    def dying(path: Path, content: str) -> None:
        if path.name == "retired.json":
            (path.parent / ".retired.json.part").write_text(content[:9])
            raise Killed
        write(path, content)

    monkeypatch.setattr(retire, "write_text", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    assert (base / ".retired.json.part").is_file()
    declared = destroy(survey(forgot))
    assert [(item.what, item.digest) for item in declared.retired] == expected


def test_an_intent_that_denies_what_was_declared_is_refused(forgot: Run, refused: Any) -> None:
    destroy(survey(forgot))
    content = {"format": "expunge/hygiene-intent/1", "run": forgot.weights_digest, "steps": []}
    before = [{"what": "something else", "digest": None}]
    (forgot.path / "hygiene-intent.json").write_text(plain_json({**content, "before": before}))
    with refused(RunError, "it was altered"):
        destroy(survey(forgot))


def test_a_run_that_is_kept_meanwhile_is_not_ended_by_what_was_begun(
    forgot: Run, pictures: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = unlearn(forgot.path.parent / "base", ANOTHER, out=forgot.path.parent / "other", data=pictures)
    signed(other.path)
    before = files(other.path)

    def dying(step: Any) -> None:
        raise Killed

    monkeypatch.setattr(retire, "_end", dying)
    with pytest.raises(Killed):
        destroy(survey(forgot))
    monkeypatch.undo()
    declared = destroy(survey(forgot, keep=[other.path]))
    assert {name: content for name, content in files(other.path).items() if name in before} == before
    assert other.weights_digest not in {item.digest for item in declared.retired}


def test_an_intent_that_somebody_else_wrote_removes_nothing_as_left_of_salts(forgot: Run, tmp_path: Path) -> None:
    precious = tmp_path / ".letter.part"
    precious.write_bytes(b"precious")
    step = {"path": str(precious), "folder": None, "what": "nothing", "digest": None, "remedy": "leftover"}
    content = {"format": "expunge/hygiene-intent/1", "run": forgot.weights_digest, "before": []}
    steps = [{**step, "keep": 0, "rows": []}]
    (forgot.path / "hygiene-intent.json").write_text(plain_json({**content, "steps": steps}))
    declared = destroy(survey(forgot))
    assert precious.read_bytes() == b"precious"
    assert "nothing" not in {item.what for item in declared.retired}
