"""The drawing of the house: which folder of the package imports which, read off the imports themselves."""

from __future__ import annotations

import ast
from pathlib import Path

from studies.pages.own_style import coloured

import expunge

SOURCE = Path(expunge.__file__).parent
HOUSE = (  # from the roof down; tests/test_layers.py holds the imports to it
    "cli",
    "desk",
    "report",
    "study",
    "adversary",
    "attest",
    "verify",
    "hygiene",
    "attacks",
    "measure",
    "methods",
    "train",
    "models",
    "tasks",
    "schedule",
    "data",
    "records",
    "core",
)
ROW, LEFT, TOP = 24, 96, 30
STYLE = coloured(
    "svg { background: var(--paper); }"
    "text { font: 13px system-ui, sans-serif; fill: var(--ink); } .what { fill: var(--muted); }"
    " line { stroke: var(--line); } circle { fill: var(--accent); }"
)


def imports() -> dict[str, set[str]]:
    """By folder, the other folders that any of its files imports."""
    found: dict[str, set[str]] = {path.parent.name: set() for path in SOURCE.glob("*/__init__.py")}
    for path in SOURCE.glob("*/**/*.py"):
        folder = path.relative_to(SOURCE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found[folder] |= {name.split(".")[1] for name in names if name.startswith("expunge.")} & found.keys()
    return {folder: others - {folder} for folder, others in found.items()}


def floors() -> list[str]:
    """The folders that are there already, from the roof down."""
    return [name for name in HOUSE if (SOURCE / name).is_dir()]


def purpose(folder: str) -> str:
    """The first sentence of its docstring."""
    told = ast.get_docstring(ast.parse((SOURCE / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return told.splitlines()[0].split(". ")[0].rstrip(".")


def house_page(head: str, picture: str) -> str:
    """The page with the drawing and a line for each folder."""
    found = imports()
    lines = [
        head,
        "# The house",
        "",
        "Imports point down this list only, and some neighbours never import each other (`tests/test_layers.py`):",
        "nobody marks their own homework. A dot says that the folder of its row imports the folder of its column.",
        "",
        f"![Which folder imports which]({picture})",
        "",
        "| folder | what for | imports |",
        "|---|---|---|",
    ]
    order = floors()
    for folder in order:
        below = ", ".join(f"`{name}`" for name in order if name in found[folder])
        lines.append(f"| `{folder}/` | {purpose(folder)} | {below or 'nothing'} |")
    return "\n".join(lines) + "\n"


def house_svg() -> str:
    """Rows and columns from the roof down: every dot lies right of the diagonal, since imports point down."""
    order, found = floors(), imports()
    right, bottom = LEFT + ROW * len(order), TOP + ROW * len(order)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right + 96} {bottom + 8}" role="img">',
        "<title>Which folder of the package imports which</title>",
        f"<style>{STYLE}</style>",
    ]
    for at, folder in enumerate(order):
        x, y = LEFT + ROW * at + ROW // 2, TOP + ROW * at + ROW // 2
        parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y}" y2="{y}"/><line x1="{x}" x2="{x}" y1="{y}" y2="{TOP}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{folder}</text>')
        parts.append(f'<text class="what" transform="translate({x + 4} {TOP - 4}) rotate(-35)">{folder}</text>')
        columns = [LEFT + ROW * order.index(name) + ROW // 2 for name in sorted(found[folder])]
        parts += [f'<circle cx="{column}" cy="{y}" r="5"/>' for column in columns]
    return "\n".join([*parts, "</svg>"]) + "\n"
