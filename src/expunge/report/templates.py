"""Templates and style sheets of this folder."""

from __future__ import annotations

import re
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


def coloured(rules: str) -> str:
    """A style sheet with the page's colours written out, light and dark: viewers of SVG files know no variables."""
    light, dark = (
        dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", palette))
        for palette in re.split(r":root \{", resource("page.css"))[1:3]
    )
    bright, dim = (
        re.sub(r"var\(--([a-z]+)\)", lambda found, palette=palette: palette[found[1]], rules)
        for palette in (light, dark)
    )
    return bright + "@media (prefers-color-scheme: dark) {\n" + dim + "}\n"
