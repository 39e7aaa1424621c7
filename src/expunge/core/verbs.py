"""Folders that are verbs too: ``expunge.train(…)`` and ``expunge.report(…)`` beside their modules.

Importing a module binds its name on the package, so a function of the same name would be hidden by whoever imports
first. The module itself is made callable instead; it looks its function up when it is called or asked about.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from expunge.core.installed import needed_by


class Verb(ModuleType):
    """A module that is called like the function it names in ``verb``; ``help`` shows that one's arguments."""

    verb: str

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with needed_by(f"`{self.__name__}`"):
            return self._function(*arguments, **named)

    @property
    def _function(self) -> Any:
        module, _, function = self.verb.rpartition(".")
        return getattr(import_module(module), function)

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function)


def _about(verb: Verb) -> str:
    """The module's own words, then its function with an argument a line."""
    signature = verb.__signature__
    arguments: list[str] = []
    keyword = False
    for argument in signature.parameters.values():
        if argument.kind is inspect.Parameter.KEYWORD_ONLY and not keyword:
            arguments.append("*")
            keyword = True
        default = "" if argument.default is inspect.Parameter.empty else f" = {argument.default!r}"
        arguments.append(f"{argument.name}: {argument.annotation}{default}")
    listed = "".join(f"    {argument},\n" for argument in arguments)
    own = vars(verb)["__doc__"]
    told = inspect.getdoc(verb._function)  # pyright: ignore[reportPrivateUsage]
    return f"{own}\n\n{verb.__name__}(\n{listed}) -> {signature.return_annotation}\n\n{told}"


Verb.__doc__ = property(_about)  # pyright: ignore[reportAttributeAccessIssue]


def make_verb(module: str, function: str) -> None:
    """Let calling ``module`` call ``function``, named in full."""
    found = sys.modules[module]
    found.__class__ = Verb
    found.verb = function  # pyright: ignore[reportAttributeAccessIssue]
