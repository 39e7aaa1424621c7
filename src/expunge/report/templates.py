"""Templates and style sheets of this folder."""

from __future__ import annotations

from functools import partial
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

HERE = "expunge.report"


def environment(package: str = HERE) -> Environment:
    """Templates of a package. Everything is escaped, and a name that is missing is an error."""
    return Environment(
        loader=FunctionLoader(partial(resource, package=package)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def resource(name: str, package: str = HERE) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
