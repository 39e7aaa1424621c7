"""Sources of somebody's code are found and read without running it, and all of them count."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from expunge.core.hashing import sha256
from expunge.models.sight import in_sight, seen_of
from expunge.models.sources import sources_alone, sources_of


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.startswith("owners_")]:
        sys.modules.pop(name)


def written(folder: Path, texts: dict[str, str]) -> None:
    """Modules by file whose first line leaves a file where they run."""
    for name, text in texts.items():
        place = folder / f"{name}.py"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n{text}\n", encoding="utf-8")


def test_helpers_count_wherever_their_import_stands_and_nothing_runs(code: Path) -> None:
    (code / "owners_blank").mkdir()
    (code / "owners_blank" / "__init__.py").write_text("")
    written(
        code,
        {
            "owners_model": "import numpy\n\ndef b():\n    from owners_kit import inner\n"
            "    from owners_blank import leaf",
            "owners_kit/__init__": "",
            "owners_kit/inner": "from . import second\nfrom .second import thing\nimport os.path, sklearn.svm",
            "owners_kit/second": "import owners_missing",
            "owners_blank/leaf": "import owners_model",
            "owners_other": "",
        },
    )
    found = sources_of("owners_model")
    assert found is not None
    inside = {"owners_model", "owners_kit", "owners_kit.inner", "owners_kit.second", "owners_blank.leaf"}
    assert set(found.texts) == inside
    assert set(found.versions) == {"sklearn"}
    assert found.versions["sklearn"].startswith("scikit-learn==")
    assert found.unclear == ()
    assert not (code / "ran").exists()
    assert not [name for name in sys.modules if name.startswith("owners_")]
    before = found.digest
    written(code, {"owners_kit/second": "import owners_missing  # and more"})
    assert (after := sources_of("owners_model")) is not None
    assert after.digest != before


def test_a_module_alone_has_the_digest_that_it_always_had(code: Path) -> None:
    (code / "owners_alone.py").write_text("import torch\n\nX = 1")
    found = sources_of("owners_alone")
    assert found is not None
    assert found.digest == sha256(b"owners_alone\0import torch\n\nX = 1\n\0").hex()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import importlib\nimportlib.import_module('owners_' + 'x')", "no import names (import_module)"),
        ("exec('X = 1')", "no import names (exec)"),
        ("__import__('owners_x')", "no import names (__import__)"),
        ("from safetensors import torch as t\nt.load_file('x')", "without Python seeing which (load_file)"),
        ("from safetensors.torch import safe_open as read\nread('x')", "without Python seeing which (safe_open)"),
        ("import pyarrow.parquet", "imports pyarrow, which reads files"),
        ("import torch\ntorch.UntypedStorage.from_file('x', False, 1)", "without Python seeing which (from_file)"),
        ("import torch\ntorch.jit.load('x')", "without Python seeing which (load)"),
        ("from torch.jit import load", "without Python seeing which"),
    ],
)
def test_what_no_import_names_is_said(code: Path, text: str, said: str) -> None:
    (code / "owners_helper.py").write_text(text)
    (code / "owners_writes.py").write_text("from safetensors.torch import save_file\nsave_file({}, 'x')")
    writes = sources_of("owners_writes")
    assert writes is not None
    assert writes.unclear == ()
    (code / "owners_top.py").write_text("def build():\n    import owners_helper\n    return owners_helper.model.eval()")
    found = sources_of("owners_top")
    assert found is not None
    assert [said in one for one in found.unclear] == [True]


def test_what_has_no_source_is_none(code: Path) -> None:
    (code / "owners_bad.py").write_text("def build(:")
    (code / "owners_uses.py").write_text("import owners_bad")
    assert [sources_of(name) for name in ("owners_bad", "owners_uses", "owners_none", "math")] == [None] * 4


def test_a_compiled_file_beside_a_source_is_not_what_runs(code: Path) -> None:
    """The owner may hand over a cache whose code is another than the source that was read."""
    import importlib
    import os
    import py_compile

    place = code / "owners_cached.py"
    place.write_text("X = 'evil'\n")
    compiled = Path(py_compile.compile(str(place)))
    stat = place.stat()
    place.write_text("X = 'good'\n")
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = compiled.read_bytes()
    with sources_alone():
        assert importlib.import_module("owners_cached").X == "good"
    assert compiled.read_bytes() == before
    sys.modules.pop("owners_cached")
    assert importlib.import_module("owners_cached").X == "evil"


def test_what_is_opened_in_sight_is_noticed_and_nothing_else(code: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, np.zeros(3))
    whose = ("owners_seen:build", "", 1)
    np.load(rows)
    with in_sight(whose):
        open("/proc/self/status").close()
        (tmp_path / "log").write_text("written")
        written(code, {"owners_plain": ""})
        import owners_plain  # type: ignore[import-not-found]
        import sklearn.svm
    assert owners_plain is not None
    assert sklearn.svm is not None
    assert seen_of(whose) == ()
    with in_sight(whose):
        np.load(rows)
        (code / "owners_reads.py").write_text(f"import numpy as np\nW = np.load({str(rows)!r})\n")
        __import__("owners_reads")
        with in_sight(None):
            open(tmp_path / "log").close()
        import pkgutil

        (code / "owners_pack").mkdir()
        (code / "owners_pack" / "__init__.py").write_text("")
        (code / "owners_pack" / "weights.py").write_text("0.1, 0.2")
        pkgutil.get_data("owners_pack", "weights.py")
    assert [Path(name).name for name in seen_of(whose)] == ["rows.npy", "log", "weights.py"]
