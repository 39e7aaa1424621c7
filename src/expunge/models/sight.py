"""What somebody's model code reads beside the rows that it is given: files, programs, the network. Noticed, not barred.

Python says what it opens to an audit hook (PEP 578), which looks on only while such code runs. Libraries that open
files past Python are beyond it: ``models.sources`` names those that the code imports.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from expunge.models.sources import is_file_of_a_library

READS = ("open", "socket.connect", "subprocess.Popen", "os.system", "os.posix_spawn", "sqlite3.connect")
SYSTEM = ("/proc/", "/dev/", "/sys/")
IMPORT = "<frozen importlib"  # where Python's own import stands
OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MOST_KEPT = 100  # names by model

CodeName = tuple[str, str, int]  # a model's name, its options, and which factory of that name it is

_found: dict[CodeName, dict[str, None]] = {}
_running: list[tuple[CodeName | None, FrameType | None]] = []


@contextmanager
def in_sight(whose: CodeName | None) -> Generator[None]:
    """Notice what is opened inside as opened by ``whose`` code; None is our own, which nobody looks at."""
    if whose is None:
        yield
        return
    _look_on()
    _running.append((whose, sys._getframe(2)))  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        _running.pop()


def seen_of(whose: CodeName | None) -> tuple[str, ...]:
    """What that code opened so far in this process, first to last."""
    return () if whose is None else tuple(_found.get(whose, ()))


def forget_seen(whose: CodeName) -> None:
    """That code is about to be loaded anew."""
    _found.pop(whose, None)


@functools.cache
def _look_on() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, given: tuple[Any, ...]) -> None:
    if not _running or event not in READS or _running[-1][0] is None:
        return
    whose, edge = _running[-1]
    _running.append((None, None))  # what is looked up here is nobody's
    try:
        name = _name(event, given)
        if whose and name and not _by_library(sys._getframe(1), edge):  # pyright: ignore[reportPrivateUsage]
            kept = _found.setdefault(whose, {})
            if len(kept) < MOST_KEPT:
                kept[name] = None
    except (TypeError, ValueError, LookupError, OSError):  # of a name that is none; whoever opens it is told so
        pass
    finally:
        _running.pop()


def _name(event: str, given: tuple[Any, ...]) -> str:
    """What is opened, in words; "" where it is no reading."""
    if event != "open":
        return f"{event.partition('.')[0]} {str(given[-1] if event == 'socket.connect' else given[0])[:200]}"
    path, _, flags = given
    if isinstance(path, int) or (isinstance(flags, int) and flags & os.O_ACCMODE == os.O_WRONLY):
        return ""
    name = os.fsdecode(path)
    whole = os.path.abspath(name)
    loaded = (getattr(module, "__file__", None) for module in [*sys.modules.values()])
    installed = ".dist-info/" in whole and is_file_of_a_library(whole)
    return "" if whole.startswith(SYSTEM) or installed or name in loaded or _is_running(name) else name


def _is_running(name: str) -> bool:
    """Whether a file is the source of a call under way: whoever words a stack reads those, as torch does for its own.

    Most are modules that were loaded; what a launcher executes is none.
    """
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        if frame.f_code.co_filename == name:
            return True
        frame = frame.f_back
    return False


def _by_library(frame: FrameType | None, edge: FrameType | None) -> bool:
    """Whether Python itself reads a module to import, a library opens files of its own as it is imported, or we do.

    We do in a thread beside, in which states are written: it was begun by us, and the ``edge`` is not on its stack.
    """
    outermost = ""
    while frame is not None:
        if frame is edge:
            return False
        before = frame.f_back
        place = frame.f_code.co_filename
        if place.startswith(IMPORT) and before is not None and before.f_code.co_filename.startswith(IMPORT):
            return True  # by itself it could be anybody's call of a loader, as ``pkgutil.get_data`` makes it
        if frame.f_code.co_name == "<module>":
            return is_file_of_a_library(place)
        if place.startswith(OURS) or not is_file_of_a_library(place):
            outermost = place
        frame = before
    return outermost.startswith(OURS)
