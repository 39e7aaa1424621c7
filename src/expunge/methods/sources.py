"""Sources of methods that are not built in: what a record names to say which code ran."""

from __future__ import annotations

import inspect
import sys

from expunge.core.errors import RunError
from expunge.core.hashing import sha256, text_bytes, u32
from expunge.methods import METHODS
from expunge.methods.lookup import find_method


def method_source(name: str) -> bytes | None:
    """Digest of the sources of a method that is not built in: its module and those of its bases; None for our own."""
    method = find_method(name)
    if method in METHODS:
        return None
    modules = sorted({base.__module__ for base in method.__mro__ if not _known(base.__module__)})
    parts: list[bytes] = []
    for module in modules:
        try:
            source = inspect.getsource(sys.modules[module])
        except (OSError, TypeError, KeyError):
            raise RunError(
                f"the source of method {name!r} ({module}) cannot be read, so a record could not say what ran: install "
                "it as source"
            ) from None
        parts.append(text_bytes(module) + sha256(source.encode("utf-8", "surrogatepass")))
    return sha256(b"expunge/method/1", u32(len(parts)), *parts)


def _known(module: str) -> bool:
    top = module.partition(".")[0]
    return top in ("expunge", "torch") or top in sys.stdlib_module_names
