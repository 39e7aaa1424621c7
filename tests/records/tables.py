"""Functions that take or return a table of anything, found by their annotations, whichever way these are spelt."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TABLES = {
    *("dict", "Dict", "Mapping", "MutableMapping", "OrderedDict", "defaultdict", "DefaultDict"),
    *("ChainMap", "MappingProxyType", "UserDict"),
}
ANYTHING = {"Any", "object"}
UNIONS = {"Union", "Optional", "Annotated", "Required", "NotRequired", "ReadOnly", "Final"}
NOTES = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.Tuple)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Names:
    """What names of a module stand for: expressions of its own, and names in other modules."""

    own: dict[str, ast.expr] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)


class Tables:
    """Modules by dotted name, as texts; an alias is followed from one into another."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.trees = {module: ast.parse(text) for module, text in texts.items()}
        self.names = {module: _names(tree) for module, tree in self.trees.items()}

    def functions(self, module: str) -> Iterator[str]:
        """Those of a module that take or return a table of anything, by their names within it."""
        for name, function in _functions(self.trees[module]):
            given = function.args
            every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
            notes = [function.returns, *(one.annotation for one in every if one is not None)]
            named = given.kwarg.annotation if given.kwarg is not None else None  # whatever it is, by name
            if any(self.loose(module, note) for note in notes if note is not None) or (
                named is not None and self.anything(module, named)
            ):
                yield name

    def loose(self, module: str, note: ast.expr, seen: frozenset[tuple[str, str]] = frozenset()) -> bool:
        """Whether a table of anything stands anywhere in an annotation."""
        note = _parsed(note)
        if isinstance(note, ast.Subscript):
            inside = note.slice.elts if isinstance(note.slice, ast.Tuple) else [note.slice]
            if self.is_table(module, note.value):
                return self.anything(module, inside[-1]) or any(self.loose(module, one, seen) for one in inside)
            inside = [] if self.word(module, note.value) == "Literal" else inside
            return any(self.loose(module, one, seen) for one in [note.value, *inside])
        if isinstance(note, ast.Name | ast.Attribute):
            if self.is_table(module, note):  # of what is not said
                return True
            place, found = self.followed(module, note)
            if found is None or (place, ast.dump(found)) in seen:
                return False
            return self.loose(place, found, seen | {(place, ast.dump(found))})
        return any(self.loose(module, one, seen) for one in ast.iter_child_nodes(note) if isinstance(one, ast.expr))

    def anything(self, module: str, note: ast.expr) -> bool:
        """Whether any value fits."""
        note = _parsed(note)
        if isinstance(note, ast.BinOp):
            return self.anything(module, note.left) or self.anything(module, note.right)
        if isinstance(note, ast.Subscript) and self.word(module, note.value) in UNIONS:
            inside = note.slice.elts if isinstance(note.slice, ast.Tuple) else [note.slice]
            return any(self.anything(module, one) for one in inside)
        if self.word(module, note) in ANYTHING:
            return True
        place, found = self.followed(module, note)
        return found is not None and self.anything(place, found)

    def is_table(self, module: str, note: ast.expr) -> bool:
        return self.word(module, note) in TABLES

    def word(self, module: str, note: ast.expr) -> str | None:
        """The last word of a name, whatever it was renamed to by an import or an assignment."""
        if isinstance(note, ast.Attribute):
            return note.attr if self.followed(module, note)[1] is None else None
        if not isinstance(note, ast.Name):
            return None
        names = self.names[module]
        if note.id in names.own:
            found = names.own[note.id]
            return None if isinstance(found, ast.Tuple) else self.word(module, found)
        other, word = names.imported.get(note.id, ("", note.id))
        return self.word(other, ast.Name(word)) if other in self.names else word

    def followed(self, module: str, note: ast.expr) -> tuple[str, ast.expr | None]:
        """What an alias stands for, and the module where it does."""
        names = self.names[module]
        if isinstance(note, ast.Name):
            if note.id in names.own:
                return module, names.own[note.id]
            other, word = names.imported.get(note.id, ("", ""))
            return self.followed(other, ast.Name(word)) if other in self.names else (module, None)
        if isinstance(note, ast.Attribute):
            other = ast.unparse(note.value)
            if isinstance(note.value, ast.Name) and note.value.id in names.imported:
                other = ".".join(filter(None, names.imported[note.value.id]))
            return self.followed(other, ast.Name(note.attr)) if other in self.names else (module, None)
        return module, None


def _parsed(note: ast.expr) -> ast.expr:
    """An annotation in quotes is one without."""
    if isinstance(note, ast.Constant) and isinstance(note.value, str):
        try:
            return ast.parse(note.value, mode="eval").body
        except SyntaxError:  # a word of a Literal
            return note
    return note


def _names(tree: ast.Module) -> Names:
    """Aliases are assignments of names or types; a class stands for its bases, a new type for the old one."""
    found = Names()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found.imported |= {one.asname or one.name: (str(node.module), one.name) for one in node.names}
        elif isinstance(node, ast.Import):
            found.imported |= {one.asname: (one.name, "") for one in node.names if one.asname}
        elif isinstance(node, ast.ClassDef) and node.bases:
            found.own[node.name] = ast.Tuple(node.bases)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            _note(found, node.targets[0], node.value)
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            _note(found, node.target, node.value)
        elif type(node).__name__ == "TypeAlias":  # from Python 3.12
            _note(found, node.name, node.value)  # type: ignore[attr-defined]
    return found


def _note(found: Names, target: ast.expr, value: ast.expr) -> None:
    value = _parsed(value)
    if isinstance(value, ast.Call) and ast.unparse(value.func).rpartition(".")[2] in ("NewType", "TypeVar"):
        value = ast.Tuple([*value.args[1:], *(one.value for one in value.keywords if one.arg == "bound")])
    if isinstance(target, ast.Name) and isinstance(value, NOTES):
        found.own[target.id] = value


def _functions(tree: ast.AST, before: str = "") -> Iterator[tuple[str, Function]]:
    for node in ast.iter_child_nodes(tree):
        name = before
        if isinstance(node, Function | ast.ClassDef):
            name = f"{before}.{node.name}".removeprefix(".")
            if isinstance(node, Function):
                yield name, node
        yield from _functions(node, name)
