"""Which line of a TOML file a value stands in: the parser of the standard library does not tell."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence

Path = tuple[str | int, ...]

NAME = r"""(?:[^\[\]"'#]|"[^"]*"|'[^']*')+?"""
HEADER = re.compile(rf"\s*(\[\[|\[)\s*(?P<name>{NAME})\s*\]\]?\s*(#.*)?\Z")
KEY = re.compile(r"""\s*(?P<key>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")

CLOSES = re.compile(r"""[\]}"']\s*(#.*)?\s*\Z""")  # how the last line of a value ends, where it has several


class Lines:
    """Line numbers of a file's keys, from 1."""

    def __init__(self, text: str) -> None:
        self._found: dict[Path, int] = {}
        table: Path = ()
        arrays = Counter[Path]()
        waiting: list[str] = []  # lines of a value that is not complete yet
        for number, written in enumerate(text.split("\n"), 1):
            line = written.removesuffix("\r")
            if waiting:
                waiting.append(line)
                if CLOSES.search(line) and _complete(waiting):
                    waiting = []
                continue
            header = HEADER.match(line)
            if header:
                table = _path(header["name"])
                if header[1] == "[[":
                    arrays[table] += 1
                    table = (*table, arrays[table] - 1)
                self._found.setdefault(table, number)
                continue
            key = KEY.match(line)
            if key:
                self._found.setdefault((*table, *_path(key["key"])), number)
                waiting = [] if _complete([line]) else [line]

    def of(self, path: Sequence[str | int], mentioned: str = "") -> int:
        """Line of a value; of the nearest table above it where it has none of its own; 1 at last.

        Of a table, the line of the key that ``mentioned`` names first.
        """
        wanted = tuple(path)
        while wanted and not any(found[: len(wanted)] == wanted for found in self._found):
            wanted = wanted[:-1]
        below = {found: line for found, line in self._found.items() if wanted and found[: len(wanted)] == wanted}
        places = {
            where.start(): line
            for found, line in below.items()
            if len(found) > len(wanted)
            and (where := re.search(rf"\b{re.escape(str(found[-1])).replace('_', '[_ ]')}\b", mentioned))
        }
        if places:
            return places[min(places)]
        return self._found.get(wanted) or min(below.values(), default=1)


def _path(dotted: str) -> Path:
    """``a."b c"`` as ("a", "b c")."""
    value: object = tomllib.loads(f"{dotted} = 0")
    found: list[str | int] = []
    while isinstance(value, dict):
        (name,) = value
        found.append(str(name))
        value = value[name]
    return tuple(found)


def _complete(lines: Sequence[str]) -> bool:
    """Whether a key and its value, begun in the first of these lines, end in the last."""
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True
