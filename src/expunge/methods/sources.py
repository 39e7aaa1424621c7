"""Sources of methods that are not built in: what a record names to say which code ran."""

from __future__ import annotations

from expunge.core.errors import RunError
from expunge.core.hashing import sha256, text_bytes, u32
from expunge.methods import METHODS
from expunge.methods.lookup import find_method, offered
from expunge.models.sources import sources_of


def method_source(name: str) -> bytes | None:
    """Digest of the sources of a method that is not built in, with all of somebody's own that they import.

    None for our own. A method that an entry point offers is not imported for it.
    """
    if any(name in (method.name, *method.aliases) for method in METHODS):
        return None
    entry = offered().get(name)
    module = find_method(name).__module__ if entry is None else entry.module
    found = sources_of(module)
    if found is None:
        raise RunError(
            f"the source of method {name!r} ({module}) cannot be read, so a record could not say what ran: install "
            "it as source"
        )
    parts = [text_bytes(part) + sha256(text.encode("utf-8", "surrogatepass")) for part, text in found.parts]
    return sha256(b"expunge/method/1", u32(len(parts)), *parts)
