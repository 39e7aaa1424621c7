"""Every key of a TOML file is found in its line."""

from __future__ import annotations

import tomllib

import pytest

from expunge.study.toml_lines import Lines

TEXT = '''# a study
title = "x"
seeds = [
  0,   # comment = 3
  1,
]

[data.digits]
location = "digits"
"odd key" = 1

[training . mlp]
model_options = { width = 8 }
optimiser.name = "sgd"

[[method]]
name = "scrub"
text = """
name = "not a key"
"""
[[method]]
name = "fine-tune"
[method.set]
rate = 0.1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("seeds",), 3),
        (("data", "digits"), 8),
        (("data", "digits", "location"), 9),
        (("data", "digits", "odd key"), 10),
        (("training", "mlp"), 12),
        (("training", "mlp", "model_options"), 13),
        (("training", "mlp", "model_options", "width"), 13),
        (("training", "mlp", "optimiser", "name"), 14),
        (("method", 0), 16),
        (("method", 0, "name"), 17),
        (("method", 0, "text"), 18),
        (("method", 1), 21),
        (("method", 1, "name"), 22),
        (("nothing",), 1),
        (("data", "digits", "nothing"), 8),
        ((), 1),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int) -> None:
    tomllib.loads(TEXT)
    assert Lines(TEXT).of(path) == line


def test_a_long_list_is_read_to_its_end() -> None:
    """How its time grows is measured by ``python -m benchmarks``."""
    rules = "".join(f'  "subject:person-{number:04d}",\n' for number in range(4000))
    lines = Lines(f"[forget.many]\nrules = [\n{rules}]\ntitle = 'x'\n")
    assert lines.of(("forget", "many", "title")) == 4004


def test_files_of_another_system_and_odd_names() -> None:
    text = 'a = 1\r\n[data."a[b]"]\r\nx = [\r\n 1,\r\n]\r\ny = 2\r\n[c]\r\nz = 3\r\n'
    lines = Lines(text)
    found = [
        lines.of(path) for path in (("a",), ("data", "a[b]"), ("data", "a[b]", "x"), ("data", "a[b]", "y"), ("c", "z"))
    ]
    assert found == [1, 2, 3, 6, 8]


def test_odd_line_separators_do_not_shift_lines() -> None:
    assert Lines('a = "x\u2028y\x85z"\nb = 1\n').of(("b",)) == 2


def test_of_a_table_the_key_that_is_mentioned() -> None:
    lines = Lines(TEXT)
    assert lines.of(("data", "digits"), "the odd key of location") == 10
    assert lines.of(("data", "digits"), "location 'x' is odd") == 9
    assert lines.of(("training", "mlp"), "model options are odd") == 13
    assert lines.of(("data", "digits"), "nothing of it, nor allocation") == 8


def test_every_line_of_a_plain_file_is_its_own() -> None:
    text = "\n".join(f"key{number} = {number}" for number in range(50))
    lines = Lines(text)
    assert [lines.of((f"key{number}",)) for number in range(50)] == list(range(1, 51))
