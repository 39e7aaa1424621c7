"""The style of a picture that is a file of its own."""

from __future__ import annotations

import re

from expunge.report.templates import resource


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
