"""Templates and style sheets of this folder."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

HERE = "expunge.report"


def environment(*packages: str) -> Environment:
    """Templates of packages, and those of this folder. All is escaped, and a name that is missing is an error."""

    def find(name: str) -> str | None:
        places = (files(package).joinpath(name) for package in (*packages, HERE))
        return next((place.read_text(encoding="utf-8") for place in places if place.is_file()), None)

    return Environment(
        loader=FunctionLoader(find),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def resource(name: str, package: str = HERE) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
