"""What users install: a source archive, the wheel made of it, and that wheel alone in an auditor's environment."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from packaging.requirements import Requirement

from expunge.cli.main import main
from expunge.core.errors import NotInstalled
from expunge.core.installed import install_of, needed_by

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "0.1.0"
BUNDLE, KEYS = GOLDEN / "bundles" / "plain", GOLDEN / "keys" / "trusted.json"
FOLDERS = ("benchmarks", "docs", "examples", "src", "studies", "tests")
GENERATED = re.compile(r"PKG-INFO|setup\.cfg|src/expunge\.egg-info/.*")
HEAVY = ("torch", "scipy", "sklearn", "pyarrow", "PIL", "safetensors")
COMMANDS: dict[str, tuple[object, ...]] = {
    "verify": ("verify", BUNDLE, "--level", "V1", "--keys", KEYS),
    "verdict": ("verify", BUNDLE, "--keys", KEYS, "--json"),
    "replay": ("verify", BUNDLE, "--keys", KEYS, "--level", "V2", "--data", "digits"),
    "page": ("report", BUNDLE, "--keys", KEYS, "--out", "certificate.html"),
    "drawn": ("report", GOLDEN / "digits" / "fine-tuned", "--out", "report.html"),
    "run": ("info", GOLDEN / "digits" / "forgot"),
    "bundle": ("info", BUNDLE, "--json"),
    "methods": ("methods",),
    "method": ("methods", "scrub"),
    "train": ("train", "digits", "--out", "runs/base"),
    "tune": ("tune", GOLDEN / "digits" / "base", "--method", "scrub", "--size", "5", "--out", "tuning"),
}
RUN_ALL = """
import contextlib, importlib.util, io, json, sys
from expunge.cli.main import main

done = {}
given, *heavy = sys.argv[1:]
for name, arguments in json.loads(given).items():
    sys.argv = ["expunge", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as stop:
            done[name] = (stop.code or 0, out.getvalue(), err.getvalue())
there = [name for name in heavy if importlib.util.find_spec(name) is not None]
print(json.dumps({"done": done, "there": there, "place": sys.modules["expunge"].__file__}))
"""


def copied(target: Path) -> set[str]:
    """The sources as they stand, without what was built of them; their names."""
    target.mkdir()
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.txt"), *map(ROOT.joinpath, ("LICENSE", "MANIFEST.in", "Makefile"))):
        shutil.copy(path, target)
    shutil.copy(ROOT / "pyproject.toml", target)
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}


def built(kind: str, source: Path, out: Path) -> Path:
    code = f"import sys; from setuptools.build_meta import build_{kind}; build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, out], check=True, cwd=source, timeout=280, capture_output=True)
    (found,) = (path for path in out.iterdir() if path.suffix == {"sdist": ".gz", "wheel": ".whl"}[kind])
    return found


class Packed(NamedTuple):
    """Names of the sources, the archive that was made of them, and the wheel that was made of the archive alone."""

    sources: set[str]
    archive: Path
    wheel: Path


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("packed")
    sources = copied(folder / "sources")
    archive = built("sdist", folder / "sources", folder)
    with tarfile.open(archive) as opened:
        opened.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return Packed(sources, archive, built("wheel", unpacked, folder))


def test_the_source_archive_holds_all_that_make_test_needs(packed: Packed) -> None:
    with tarfile.open(packed.archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}
    assert {name for name in names if not GENERATED.fullmatch(name)} == packed.sources


def test_the_wheel_holds_the_package_whole_and_nothing_else(packed: Packed) -> None:
    names = {name for name in zipfile.ZipFile(packed.wheel).namelist() if ".dist-info/" not in name}
    assert names == {name.removeprefix("src/") for name in packed.sources if name.startswith("src/")}
    assert {"expunge/py.typed", "expunge/report/page.css", "expunge/report/leaderboard.js"} < names
    assert {"expunge/report/certificate.html", "expunge/records/methods.json"} < names


def distributions(names: list[str]) -> Iterator[Distribution]:
    """These and whatever they need, from this very environment."""
    seen = set[str]()
    while names:
        name = names.pop()
        if name not in seen:
            seen.add(name)
            yield (found := distribution(name))
            asked = map(Requirement, found.requires or ())
            names += [one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]


def asked_for() -> list[Requirement]:
    return [Requirement(line) for line in (ROOT / "requirements-verify.txt").read_text().splitlines()]


def test_an_auditors_five_lines_are_floors_of_the_package() -> None:
    whole = map(Requirement, tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert len(asked_for()) == 5
    assert set(map(str, asked_for())) < set(map(str, whole))


@pytest.fixture(scope="module")
def bare(packed: Packed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the commands say where only requirements-verify.txt and the wheel are installed; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("auditor")
    venv.create(folder / "venv", symlinks=True)
    (place,) = (folder / "venv").glob("lib/python*/site-packages")
    for found in distributions([one.name for one in asked_for()]):
        for top in {path.parts[0] for path in found.files or () if path.parts[0] != ".."} - {"__pycache__"}:
            (place / top).symlink_to(found.locate_file(top))
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", "-I"]
    subprocess.run([*pip, "--no-compile", packed.wheel], check=True, timeout=280)
    given = json.dumps({name: [str(word) for word in words] for name, words in COMMANDS.items()})
    command = [python, "-I", "-c", RUN_ALL, given, *HEAVY]
    ran = subprocess.run(command, check=True, cwd=folder, timeout=280, capture_output=True, text=True)
    pages = {name: (folder / f"{name}.html").read_text(encoding="utf-8") for name in ("certificate", "report")}
    return json.loads(ran.stdout) | pages


def test_an_auditors_environment_reads_verifies_and_draws(bare: dict[str, Any]) -> None:
    assert bare["there"] == []
    assert "/auditor" in bare["place"]
    said = {name: out for name, (status, out, _) in bare["done"].items() if status == 0}
    assert set(said) == set(COMMANDS) - {"replay", "train", "tune"}
    assert "accepted at V1" in said["verify"]
    assert json.loads(said["verdict"])["reached"] == "V1"
    assert "Certificate" in bare["certificate"]
    assert "A package that reads the data is not installed here, so confidences only are shown." in bare["report"]
    assert "accepted at V1" in said["page"]
    assert "exact-replay" in said["run"]
    assert json.loads(said["bundle"])["algorithm"]["name"] == "exact-replay"
    assert "neggrad-plus" in said["methods"]
    assert "0.001 … 10, log" in said["method"]


@pytest.mark.parametrize(
    ("name", "what"),
    [("train", "`expunge train`"), ("tune", "`expunge tune`"), ("replay", "carrying steps out again, from V2 on,")],
)
def test_what_it_lacks_is_one_sentence(bare: dict[str, Any], name: str, what: str) -> None:
    status, out, err = bare["done"][name]
    assert (status, out) == (2, "")
    start = f"error: {what} needs the package torch, which is not installed: pip install expunge (where there"
    assert err.startswith(start)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("package", "brings"),
    [
        ("scipy", "pip install expunge"),
        ("scikit-learn", "pip install expunge"),
        ("transformers", "pip install 'expunge[language]'"),
        ("optuna", "pip install 'expunge[tune]'"),
        ("ray", "pip install 'expunge[cluster]'"),
        ("sqlalchemy", "pip install 'expunge[desk]'"),
        ("hypothesis", "pip install 'expunge[dev]'"),
        ("expunge", None),
        ("somebody-elses", None),
    ],
)
def test_which_install_brings_a_package(package: str, brings: str | None) -> None:
    assert install_of(package) == brings


def test_a_module_of_nobody_and_a_broken_one_stay_missing(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), needed_by("this"):
        import no_such_module  # noqa: F401  # pyright: ignore[reportMissingImports]
    with pytest.raises(ModuleNotFoundError, match="no_such_part"), needed_by("this"):
        import scipy.no_such_part  # noqa: F401  # pyright: ignore[reportMissingImports]
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(NotInstalled, match="this needs the package pillow, which is not in"), needed_by("this"):
        raise ModuleNotFoundError(name="PIL.Image")
    monkeypatch.setattr(sys, "argv", ["expunge", "train", "digits", "--out", "unused"])
    monkeypatch.setitem(sys.modules, "expunge.train.call", None)
    with pytest.raises(SystemExit):
        main()
    assert "expunge.train.call halted" in capsys.readouterr().err
