"""The page of ``expunge audit-demo``: what every level says, one chart of forged logs, what became of every attack.

It shows what the demonstration found, as plain JSON; nothing here decides anything.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from expunge.core.files import write_bytes
from expunge.report.audit_demo_chart import draw
from expunge.report.audit_demo_text import (
    LEVELS,
    OPENING,
    PARTS,
    SPOOFS,
    heading_of,
    lines_of,
    ours,
    seconds_of,
    word_for,
)
from expunge.report.audit_demo_text import told as told_of
from expunge.report.numerals import shown
from expunge.report.templates import environment, resource

COMPARED = {
    "swap": "Forged log: nearest gradient",
    "absorb": "Forged log: absorbed swap",
    "content": "Forged log: altered pictures",
}


@dataclass(frozen=True)
class Cell:
    """An answer, its tone, and what stands under it in small letters."""

    answer: str
    tone: str
    note: str


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
    folder, story, lines = Path(told["folder"]), told["story"], lines_of(told)
    text = (
        environment()
        .get_template("audit_demo.html")
        .render(
            style=Markup(resource("page.css") + resource("audit_demo.css")),
            opening=OPENING,
            headings={part: heading_of(part).partition(". ")[2] for part in PARTS},
            wrong=sum(not line["as_documented"] for line in lines),
            lines=len(lines),
            story=_words("story", story),
            records=_records(told),
            levels=_levels(told),
            forged=_words("forgeries", told["forgeries"]),
            charts=draw(told["forgeries"]),
            forgeries=told["forgeries"],
            swallowed=_words("absorbed", told["absorbed"]),
            swallowed_good=told["absorbed"]["as_documented"],
            made_up_words=_words("made_up", told["made_up"]),
            made_up=[_made_up(line) for line in told["made_up"]],
            attack_words=_words("attacks", told["attacks"]),
            attacks=[_row(line, folder) for line in told["attacks"]],
            commands=commands(told, folder, inside=True),
            seconds=shown(float(told["seconds"]), "seconds"),
        )
    )
    return text.encode("utf-8")


def _words(part: str, found: Any) -> list[str]:
    """The sentences of a part, without its tables."""
    return [block for block in told_of(part, found) if isinstance(block, str)]


def _records(told: Mapping[str, Any]) -> list[str]:
    """The records that are set side by side, the honest one first."""
    return ["Honest record", *(COMPARED[line["forger"]] for line in _compared(told))]


def _levels(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What every level says of every record that is set side by side."""
    found: list[dict[str, Any]] = []
    for line in told["honest"]:
        honest = Cell(
            line["status"], "good" if line["as_documented"] else "bad", f"{word_for(line)}; {seconds_of(line)}"
        )
        others = [_cell(forged, line["level"]) for forged in _compared(told)]
        found.append({"level": line["level"], "meaning": LEVELS[line["level"]], "cells": [honest, *others]})
    return found


def _compared(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [line for line in told["forgeries"] if line["forger"] in COMPARED]


def _cell(line: Mapping[str, Any], level: str) -> Cell:
    """What a level says of a forged log: accepted below the level that refuses, not asked above it."""
    if level == line["level"]:
        refused = line["status"] == "refused"
        return Cell(line["status"], "good" if refused else "bad", ", ".join(line["codes"]))
    if line["reached"] is not None and level <= line["reached"]:
        return Cell("accepted", "", "")
    return Cell("already refused", "muted", "")


def _made_up(line: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": line["spoof"],
        "how": SPOOFS.get(line["spoof"], ""),
        "claimed": shown(float(line["claimed"]), "example-steps"),
        "work": shown(float(line["example_steps"]), "example-steps"),
        "published": line["published"],
        "ours": ours(line),
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


def commands(told: Mapping[str, Any], folder: Path, *, inside: bool = False) -> list[str]:
    """What anybody can type to see the honest record accepted and a forged one refused; ``inside`` the folder."""

    def place(path: str) -> str:
        return shlex.quote(_inside(path, folder) if inside else path)

    bundle, keys, data, salts = (place(told["story"][name]) for name in ("bundle", "keys", "data", "salts"))
    found = [f"expunge verify {bundle} --level V3 --keys {keys} --data {data} --salts {salts}"]
    forged = [line for line in told["forgeries"] if line["forger"] == "swap"]
    return found + [f"expunge verify {place(line['bundle'])} --level V1 --keys {keys}" for line in forged]


def _inside(path: str, folder: Path) -> str:
    """A path as it reads from the demonstration's folder: where that lies is nobody else's business."""
    try:
        return Path(path).relative_to(folder).as_posix()
    except ValueError:
        return Path(path).name
