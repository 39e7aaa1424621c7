"""Which code a record is of: this package's sources, the git tree they are from, and methods that are not built in."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

from expunge.core.hashing import sha256, text_bytes, u32
from expunge.core.version import SOURCES

SECONDS = 10  # longest wait for git


def sources_digest(folder: Path) -> bytes:
    """H("expunge/package/1" ‖ u32 count ‖ (str(name) ‖ H(content))*) over all ``.py`` files, by relative name."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    named = [text_bytes(name) + sha256(files[name].read_bytes()) for name in sorted(files)]
    return sha256(b"expunge/package/1", u32(len(named)), *named)


@functools.cache
def package_digest() -> bytes:
    """Digest of the sources of this package as they are installed here."""
    return sources_digest(SOURCES)


@functools.cache
def package_tree() -> str | None:
    """Name of the git tree that the package is checked out from; None unless git says that nothing differs from it."""
    return tree_of(SOURCES)


def tree_of(folder: Path) -> str | None:
    """The tree of a checkout's last commit, if ``folder`` is part of it and no file in it was changed or added."""
    try:
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=all", "--", ".")
        return None if changed else _git(folder, "rev-parse", "--verify", "HEAD^{tree}")
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None  # no git, no checkout, or one that git does not trust: the digest of the sources stands alone


def _git(folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        check=True,
        timeout=SECONDS,
        env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
    )
    return done.stdout.decode("ascii").strip()
