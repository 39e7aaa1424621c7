"""Modules that are not installed: one sentence says which install brings one, from the package's own metadata."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec

from expunge.core.errors import NotInstalled

OTHERWISE = {"PIL": "pillow", "sklearn": "scikit-learn"}  # modules that are not called as their distribution
REQUIRED = re.compile(r"([A-Za-z0-9_.-]+)[^;]*(?:;\s*extra\s*==\s*[\"'](\w+)[\"'])?\s*\Z")
CPU = " (where there is no GPU, first torch alone, from https://download.pytorch.org/whl/cpu)"


@contextmanager
def needed_by(what: str) -> Generator[None]:
    """Say what lacks a module, and which install brings it; a module that no install of ours brings stays missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        distribution = OTHERWISE.get(top, top.replace("_", "-"))
        brings = install_of(distribution)
        if brings is None or find_spec(top) is not None:  # there, and a part of it is not: it is broken, or too old
            raise
        raise NotInstalled(f"{what} needs the package {distribution}, which is not installed: {brings}") from error


def install_of(distribution: str) -> str | None:
    """The command that brings a distribution: the plain install, or the first extra that asks for it."""
    from importlib.metadata import PackageNotFoundError, requires  # here, because it is slow and seldom needed

    try:
        asked = [found for found in map(REQUIRED.match, requires("expunge") or ()) if found is not None]
    except PackageNotFoundError:  # run from its sources, without any install
        return None
    extras = [found[2] for found in asked if found[1] == distribution]
    if not extras:
        return None
    if all(extras):
        return f"pip install 'expunge[{extras[0]}]'"
    return "pip install expunge" + (CPU if find_spec("torch") is None else "")
