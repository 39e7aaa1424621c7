"""The page of ``expunge audit-demo``: one chart of forged logs, and what became of every attack.

It shows what the demonstration found, as plain JSON; nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from expunge.core.files import write_bytes
from expunge.report.audit_demo_chart import draw
from expunge.report.numerals import count, shown
from expunge.report.templates import environment, resource

SPOOFS = {
    "resorted-init": "re-sorted initial weights, then a straight line",
    "infinitesimal": "the same under a recipe whose rate is next to nothing",
    "blindfold": "a few honest steps where one looks, then straight lines",
}
LEVELS = {
    "V0": "form: keys, log, digests of files",
    "V1": "structure: the whole schedule computed again, no training",
    "V2": "spot replay: segments carried out again",
    "V3": "full replay: every step carried out again",
}


@dataclass(frozen=True)
class Row:
    """A line of the table of attacks."""

    number: str
    title: str
    code: str
    level: str
    below: str
    bundle: str
    good: bool


def write_audit_demo(told: Mapping[str, Any], out: Path) -> Path:
    """Write the page and return its path."""
    write_bytes(out, audit_demo_page(told))
    return out


def audit_demo_page(told: Mapping[str, Any]) -> bytes:
    """The page, without scripts and without anything from elsewhere. Same facts, same bytes."""
    folder, story = Path(told["folder"]), told["story"]
    lines = [*told["honest"], *told["forgeries"], *told["made_up"], *told["attacks"]]
    wrong = sum(not line["as_documented"] for line in lines)
    text = (
        environment()
        .get_template("audit_demo.html")
        .render(
            style=Markup(resource("page.css") + resource("audit_demo.css")),
            wrong=wrong,
            lines=len(lines),
            story=story,
            rows=count(int(story["rows"]), "row"),
            forgotten=count(int(story["forgotten"]), "row"),
            person=str(story["person"]).partition(":")[2],
            honest=[_honest(line) for line in told["honest"]],
            forgeries=told["forgeries"],
            charts=draw(told["forgeries"]),
            made_up=[_made_up(line) for line in told["made_up"]],
            attacks=[_row(line, folder) for line in told["attacks"]],
            commands=list(_commands(told, folder)),
            seconds=shown(float(told["seconds"]), "seconds"),
        )
    )
    return text.encode("utf-8")


def _honest(line: Mapping[str, Any]) -> dict[str, Any]:
    standing = "exact, verified here" if line["standing"] == "verified" else "exact, as claimed"
    return {
        "level": line["level"],
        "meaning": LEVELS[line["level"]],
        "answer": f"{line['status']} ({standing})",
        "seconds": shown(float(line["seconds"]), "seconds"),
        "good": line["as_documented"],
    }


def _made_up(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": line["spoof"],
        "how": SPOOFS.get(line["spoof"], ""),
        "claimed": shown(float(line["claimed"]), "example-steps"),
        "work": shown(float(line["example_steps"]), "example-steps"),
        "published": line["published"],
        "ours": f"{line['status']} at {line['level']}: {', '.join(line['codes'])}",
        "good": line["as_documented"],
    }


def _row(line: Mapping[str, Any], folder: Path) -> Row:
    codes: Sequence[str] = line["codes"]
    return Row(
        number=line["number"],
        title=line["title"],
        code=", ".join(codes) or line["status"],
        level=line["level"],
        below=line["one_level_lower"] or "",
        bundle=_inside(line["bundle"], folder),
        good=line["as_documented"],
    )


def _commands(told: Mapping[str, Any], folder: Path) -> list[str]:
    """What anybody can type in the folder of the demonstration."""
    story = {name: _inside(told["story"][name], folder) for name in ("bundle", "keys", "data", "salts")}
    beside = f"--keys {story['keys']} --data {story['data']} --salts {story['salts']}"
    forged = next((_inside(line["bundle"], folder) for line in told["forgeries"] if line["forger"] == "swap"), None)
    found = [f"expunge verify {story['bundle']} --level V3 {beside}"]
    return found if forged is None else [*found, f"expunge verify {forged} --level V1 --keys {story['keys']}"]


def _inside(path: str, folder: Path) -> str:
    """A path as it reads from the demonstration's folder: where that lies is nobody else's business."""
    try:
        return Path(path).relative_to(folder).as_posix()
    except ValueError:
        return Path(path).name
