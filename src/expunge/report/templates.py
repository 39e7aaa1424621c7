"""Templates and style sheets of this folder."""

from __future__ import annotations

import re
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
