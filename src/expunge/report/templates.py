"""Templates and style sheets of this folder."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined


def environment() -> Environment:
    """Everything is escaped, and a name that is missing is an error."""
    return Environment(
        loader=FunctionLoader(resource),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def resource(name: str) -> str:
    return files("expunge.report").joinpath(name).read_text(encoding="utf-8")
