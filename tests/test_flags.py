"""Sentences of the library name arguments: no text outside the command line spells a flag, and it knows all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from expunge.cli.app import VERBS, app, commands
from expunge.cli.shared import ARGUMENT, flags, with_flags

SOURCE = Path(__file__).parents[1] / "src" / "expunge"
FLAG = re.compile(r"--[a-z{]")
HOLE = "{}"  # stands for what is put into a sentence
PAGES = ("report/", "verify/certificate.py")  # pages may show whole commands; refusals of these files may not
WORDS = {"axes", "needs", "path", "retrain", "through"}  # of study files, methods, probes: no arguments
GIT = "attest/package.py"  # runs git, with words of its own


def texts(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string but docstrings with its line, f-strings as one, with holes."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not isinstance(tree, ast.JoinedStr):
            yield node.lineno, node.value
        yield from texts(node)


def sentences(place: str, text: str) -> Iterator[tuple[int, str]]:
    """The texts of a file of which an error, a finding, a notice or a reason could be made."""
    for node in ast.walk(ast.parse(text)) if place.startswith(PAGES) else (ast.parse(text),):
        if not place.startswith(PAGES) or isinstance(node, ast.Raise):
            yield from ((line, said) for line, said in texts(node) if place != GIT or " " in said)


def files() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if not place.startswith("cli/"):
            yield place, path.read_text(encoding="utf-8")


def flagged(place: str, text: str) -> list[str]:
    return [f"{place}:{line}: {said}" for line, said in sentences(place, text) if FLAG.search(said)]


def test_no_sentence_of_the_library_spells_a_flag() -> None:
    assert [found for place, text in files() for found in flagged(place, text)] == []


def test_a_planted_flag_is_found() -> None:
    planted = """def look(out, name):
        '''A docstring may name --out.'''
        # and a comment --out
        raise RunError(f"{out} exists: " f"choose another {'--out' if name else 'place'}, {name} or "
                       "--log, "
                       f"or --{name}")
    """
    assert len(flagged("train/folder.py", planted)) == 2  # the sentence, and the flag that is put into it
    assert len(flagged("report/page.py", planted)) == 2
    assert flagged("report/page.py", "told = f'run expunge evaluate {run} --reference RETRAINED'") == []
    assert len(flagged("train/folder.py", "told = f'run expunge evaluate {run} --reference RETRAINED'")) == 1


def test_the_command_line_knows_every_argument_that_a_sentence_names() -> None:
    named = {name for place, text in files() for _, said in sentences(place, text) for name in ARGUMENT.findall(said)}
    assert named - set(flags()) == WORDS


def test_an_argument_has_one_flag_whatever_the_command() -> None:
    given = [argument for command in commands().commands.values() for argument in command.params]
    options = {(argument.name, argument.opts[0]) for argument in given if argument.opts[0].startswith("--")}
    assert len({name for name, _ in options}) == len(options) > 50


def test_a_sentence_as_the_command_line_says_it() -> None:
    for sentence, said in {
        "choose another `out`, or give `noise_key` FILE": "choose another --out, or give --noise-key FILE",
        "with `model_options` unit_rows=true": "with --model-option unit_rows=true",
        "`bundle` has a place of its own": "bundle has a place of its own",
        "`retrain` or `expunge tune`": "`retrain` or `expunge tune`",
        "`expunge.train(…, commit_only=True, salts=/a, b)`": "`expunge train … --commit-only --salts /a, b`",
        "--out is a flag already": "--out is a flag already",
    }.items():
        assert with_flags(sentence) == said


def test_verbs_are_registered_once() -> None:
    assert commands() is commands()
    assert len(app.registered_commands) == len(VERBS) == len(commands().commands)
