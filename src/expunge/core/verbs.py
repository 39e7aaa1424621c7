"""Folders that are verbs too: ``expunge.train(…)`` and ``expunge.report(…)`` beside their modules.

Importing a module binds its name on the package, so a function of the same name would be hidden by whoever imports
first. The module itself is made callable instead; it looks its function up when it is called.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class Verb(ModuleType):
    """A module that is called like the function it names in ``verb``."""

    verb: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        module, _, function = self.verb.rpartition(".")
        return getattr(import_module(module), function)(*arguments, **named)


def make_verb(module: str, function: str) -> None:
    """Let calling ``module`` call ``function``, named in full."""
    found = sys.modules[module]
    found.__class__ = Verb
    found.verb = function  # pyright: ignore[reportAttributeAccessIssue]
