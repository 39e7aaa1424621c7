"""Whose code makes a model or a method: its sources, found and read without running any of it."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import sys
import sysconfig
import tokenize
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from tempfile import TemporaryDirectory

from expunge.core.hashing import sha256

NAMED = ("torch", "numpy", "expunge")  # an environment and a record name their versions and builds
BY_NAME = {  # what runs code that no import names
    "__import__",
    "import_module",
    "spec_from_file_location",
    "exec_module",
    "load_module",
    "run_path",
    "run_module",
}
FROM_TEXT = {"exec", "eval", "compile"}  # the same, where it is Python's own and not somebody's method of that name
UNSEEN = {"pyarrow", "polars", "h5py", "mmap", "ctypes", "multiprocessing"}  # read past Python's sight
UNSEEN_CALLS = {  # likewise, of torch and safetensors
    "from_file",
    "load_library",
    "import_ir_module",
    "PyTorchFileReader",
    "load_file",
    "load_model",
    "safe_open",
}


@dataclass(frozen=True)
class Sources:
    """By module the texts that make something, by name the installed distributions that these import.

    ``unclear`` says what else may have a part in it, which the texts alone do not show; ``files`` are where they stand.
    """

    texts: Mapping[str, str]
    files: frozenset[str]
    versions: Mapping[str, str]
    unclear: tuple[str, ...]

    @property
    def parts(self) -> tuple[tuple[str, str], ...]:
        """Module and text, and of a distribution its name and version."""
        return (*sorted(self.texts.items()), *sorted(self.versions.items()))

    @property
    def digest(self) -> str:
        """SHA-256 over all parts."""
        return sha256(*(f"{name}\0{text}\0".encode("utf-8", "surrogatepass") for name, text in self.parts)).hex()


def reach_here() -> None:
    """Modules are found from the current folder too, after all others."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())


def sources_of(module: str) -> Sources | None:
    """The sources of a module and of all that these import, wherever the import stands; None where one lacks a source.

    Nothing of it is imported. Followed are somebody's own files and those of the module's own package; what was
    installed otherwise counts by its version, and what belongs to Python or to us not at all.
    """
    reach_here()
    importlib.invalidate_caches()
    root = module.partition(".")[0]
    texts: dict[str, str] = {}
    versions: dict[str, str] = {}
    files: set[str] = set()
    unclear: list[str] = []
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        origin, folder = _place(name)
        if origin is None and not folder:
            if name == module:
                return None
            continue  # an attribute of a module, or something that is not there to be imported
        top = name.partition(".")[0]
        if top in NAMED or (top != root and _is_pythons(origin)):
            continue
        if top != root and origin is not None and _is_installed(origin):
            versions[top] = _version(top)
            continue
        waiting += _parents(name)
        if origin is None:
            continue
        text = _text(origin)
        tree = None if text is None else _parsed(text)
        if text is None or tree is None:
            return None
        files.add(os.path.realpath(origin))
        if text.strip():
            texts[name] = text
        waiting += _imports(name, tree, is_package=folder)
        unclear += _unclear(name, tree)
    return Sources(texts, frozenset(files), versions, tuple(dict.fromkeys(unclear)))


@contextmanager
def sources_alone() -> Generator[None]:
    """What is imported inside runs as its source says; no compiled file that lies beside it is read or written."""
    before = sys.pycache_prefix, sys.dont_write_bytecode
    with TemporaryDirectory() as empty:
        sys.pycache_prefix, sys.dont_write_bytecode = empty, True
        try:
            yield
        finally:
            sys.pycache_prefix, sys.dont_write_bytecode = before


def is_own(name: str, root: str) -> bool:
    """Whether a loaded module is somebody's own code: of a root's package, or a file outside what was installed."""
    top, origin = name.partition(".")[0], getattr(sys.modules.get(name), "__file__", None)
    if top in NAMED or origin is None:
        return name == "__main__"  # typed in, and in no file
    return top == root.partition(".")[0] or not (_is_pythons(origin) or _is_installed(origin))


def is_empty(name: str) -> bool:
    """Whether a loaded module's file says nothing, as that of many a package."""
    text = _text(getattr(sys.modules.get(name), "__file__", None) or "")
    return text is not None and not text.strip()


def is_file_of_a_library(path: str) -> bool:
    """Whether a file belongs to Python or to what was installed."""
    return _is_pythons(path) or _is_installed(path)


def _place(name: str) -> tuple[str | None, bool]:
    """(file of a module, whether it is a package); (None, False) where nothing of that name can be imported."""
    loaded = sys.modules.get(name)
    if loaded is not None:
        return getattr(loaded, "__file__", None), hasattr(loaded, "__path__")
    path = None
    spec: ModuleSpec | None = None
    parts = name.split(".")
    for at in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:at]), path)
        path = None if spec is None else spec.submodule_search_locations
        if path is None and at < len(parts):
            return None, False
    if spec is None:
        return None, False
    return spec.origin if spec.has_location else None, path is not None


def _spec(name: str, path: object) -> ModuleSpec | None:
    """As ``importlib.util.find_spec``, which would import the packages above."""
    if name.startswith(".") or not name:
        return None
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        found = None if find is None else find(name, path)
        if found is not None:
            return found
    return None


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:at]) for at in range(1, len(parts))]


def _text(origin: str) -> str | None:
    """A source as Python reads it, its last line ended."""
    if not origin.endswith(".py"):
        return None
    try:
        with tokenize.open(origin) as handle:
            text = handle.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
    return text if text.endswith("\n") or not text else text + "\n"


def _parsed(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None


def _imports(name: str, tree: ast.Module, *, is_package: bool) -> Iterator[str]:
    """Every module that a source names in an import, in functions too."""
    package = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            try:
                found = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module
            except ImportError:
                continue
            if found:
                yield found
                yield from (f"{found}.{alias.name}" for alias in node.names)


def _unclear(name: str, tree: ast.Module) -> Iterator[str]:
    """What the source may bring in that no import and no audit shows, each in one clause."""
    for node in ast.walk(tree):
        called = _named(node)
        if called in BY_NAME or (called in FROM_TEXT and isinstance(node, ast.Name)):
            yield f"{name} runs code that no import names ({called})"
        if called in UNSEEN_CALLS or _is_jit_load(node):
            yield f"{name} reads files without Python seeing which ({called or 'load'})"
    for top in sorted({found.partition(".")[0] for found in _imports(name, tree, is_package=False)} & UNSEEN):
        yield f"{name} imports {top}, which reads files without Python seeing which"


def _named(node: ast.AST) -> str:
    """The name that a place in a source uses or imports; "" where it names nothing."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else ""


def _is_jit_load(node: ast.AST) -> bool:
    """``torch.jit.load``, or an import of it."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "torch.jit" and any(alias.name == "load" for alias in node.names)
    held = node.value if isinstance(node, ast.Attribute) and node.attr == "load" else None
    return isinstance(held, ast.Attribute | ast.Name) and getattr(held, "attr", getattr(held, "id", "")) == "jit"


@functools.cache
def _folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Folders of Python, and of what was installed beside it."""
    paths = sysconfig.get_paths()
    return (paths["stdlib"], paths["platstdlib"]), (paths["purelib"], paths["platlib"])


def _is_pythons(origin: str | None) -> bool:
    """Part of Python: built in, or in its library."""
    if origin is None:
        return False
    inside = any(Path(origin).is_relative_to(place) for place in _folders()[0])
    return inside and "site-packages" not in Path(origin).parts and "dist-packages" not in Path(origin).parts


def _is_installed(origin: str) -> bool:
    python, installed = _folders()
    return any(Path(origin).is_relative_to(place) for place in (*python, *installed)) and not _is_pythons(origin)


def _version(top: str) -> str:
    """Distributions that bring a package, with their versions."""
    return ", ".join(f"{name}=={version(name)}" for name in sorted(set(_distributions().get(top, ()))))


@functools.cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()
