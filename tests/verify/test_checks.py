"""The table of checks: every row can be carried out, an order that keeps what it needs, and how short a new one is."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.verify.lineages import TRUSTED
from tests.verify.records import bundle, forgot, trained

from expunge.core.clock import Time
from expunge.records.limits import Code, refused
from expunge.records.verdict import FindingOutcome, Level
from expunge.verify import checks
from expunge.verify.checks import CHECKS, Check, Replayed
from expunge.verify.levels.chain import links
from expunge.verify.levels.replay import Replay
from expunge.verify.opened import OpenedRecord
from expunge.verify.verify import verify

ROOT = Path(__file__).parents[2]


def test_every_row_needs_only_rows_before_it_and_levels_at_most_its_own() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        for need in check.needs:
            assert need <= check.level if isinstance(need, Level) else need in seen, f"{check.name} needs {need}"
        seen.add(check.name)


def test_names_below_replay_are_given_once() -> None:
    names = [check.name for check in CHECKS if check.level < Level.V2]
    assert len(names) == len(set(names)) > 40
    assert [check.level for check in CHECKS if check.level < Level.V2] == sorted(
        check.level for check in CHECKS if check.level < Level.V2
    )


def test_every_row_says_what_it_looks_at_and_finds_its_check() -> None:
    for check in CHECKS:
        looks = [check.look, check.when] if check.when else [check.look]
        for look in looks:
            found = getattr(Replay, look.name) if isinstance(look, Replayed) else look
            assert callable(found)
        said = getattr(Replay, check.look.name) if isinstance(check.look, Replayed) else check.look
        assert said.__doc__, check.name
    used = {look.name for check in CHECKS for look in (check.look, check.when) if isinstance(look, Replayed)}
    public = {name for name, _ in inspect.getmembers(Replay, inspect.isfunction) if not name.startswith("_")}
    assert used == public, "every check of the replay has a row"


def test_there_is_one_place_where_checks_are_carried_out() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src" / "expunge" / "verify").rglob("*.py")]
    assert sum(source.count("checks.run(") for source in sources) == 1


def test_any_check_is_at_most_four_calls_below_verify(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found: list[str] = []

    def look(opened: OpenedRecord) -> str:
        """Nothing but who called."""
        found.extend(frame.function for frame in inspect.stack())
        return "looked"

    monkeypatch.setattr(checks, "CHECKS", (*CHECKS, Check("callers", Level.V1, look)))
    verify(bundle(trained(), tmp_path), keys=TRUSTED)
    assert found[: found.index("verify") + 1] == ["look", "run", "carry_out", "_verified", "verify"]


@pytest.mark.parametrize(("section", "files"), [("From a command to a written run", 6), ("A check in 15 lines", 4)])
def test_the_walk_on_the_page_passes_what_is_there(section: str, files: int) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split(f"## {section}")[1].split("\n## ")[0]
    walk = re.findall(r"^- `(src/\S+)`: ((?:`\w+`(?:, )?)+)", page, flags=re.MULTILINE)
    assert len(walk) == files
    for file, names in walk:
        source = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def {name}\(|class {name}\b|{name}: )", source, flags=re.MULTILINE), (
                f"{file}: {name}"
            )


def test_a_check_in_15_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The check of the page, with its row: its finding stands among the others, and it refuses what it should."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"## A check in 15 lines.*?```python\n(.*?)```", page, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    known = {"OpenedRecord": OpenedRecord, "links": links, "refused": refused, "Code": Code, "V1": Level.V1}
    rows: list[Check] = []

    def row(*fields: object, **more: object) -> None:
        rows.append(Check(*fields, **more))  # type: ignore[arg-type]

    exec(code, {**known, "Check": row})
    monkeypatch.setattr(checks, "CHECKS", (*CHECKS, *rows))
    story = forgot(trained(), (3, 17))
    found = verify(bundle(story, tmp_path / "soon"), keys=TRUSTED).findings[-1]
    assert (found.name, found.level, found.outcome) == ("answered in time", Level.V1, FindingOutcome.HOLDS)

    early = Time.at(story.record.recorded_at.seconds - 40 * 86_400)
    requests = tuple(replace(request, received=early) for request in story.record.requests)
    verdict = verify(bundle(story.changed(requests=requests), tmp_path / "late"), keys=TRUSTED)
    assert verdict.codes == (Code.REQUEST_BINDING_MISMATCH,)
    assert "after 40 days, 30 are allowed" in verdict.findings[-1].detail
