"""Which code ran: digests of our sources, of the git tree around them, and of methods that somebody else wrote."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from examples.own_method import SoftAscent
from tests.attest.attested import Desk
from tests.conftest import run_json

import expunge
from expunge.attest.package import package_digest, package_tree, sources_digest, tree_of
from expunge.core.errors import InvalidArgument, RunError
from expunge.data.dataset import Dataset
from expunge.methods import METHODS, lookup, sources
from expunge.methods.contract import Method
from expunge.methods.retrain import Retrain
from expunge.methods.sources import method_source
from expunge.records.keys import SigningKey
from expunge.records.record import GuaranteeKind


@dataclass(frozen=True, kw_only=True)
class OwnRetrain(Retrain):
    """Retraining by somebody else, who calls it exact."""

    name = "own-retrain"


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two methods as entry points would offer them."""
    known: dict[str, type[Method]] = {method.name: method for method in (*METHODS, SoftAscent, OwnRetrain)}
    monkeypatch.setattr(lookup, "methods", lambda: known)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def test_the_digest_is_over_every_source_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "b.py").write_bytes(b"two")
    (tmp_path / "z.py").write_bytes(b"one")
    (tmp_path / "page.html").write_bytes(b"not counted")
    parts = [text("inner/b.py") + hashlib.sha256(b"two").digest(), text("z.py") + hashlib.sha256(b"one").digest()]
    expected = hashlib.sha256(b"expunge/package/1" + struct.pack("<I", 2) + b"".join(parts)).digest()
    assert sources_digest(tmp_path) == expected
    (tmp_path / "page.html").unlink()
    assert sources_digest(tmp_path) == expected
    (tmp_path / "z.py").rename(tmp_path / "y.py")
    assert sources_digest(tmp_path) != expected


def test_our_own_is_that_of_the_files_that_are_imported() -> None:
    assert expunge.__file__ is not None
    assert package_digest() == sources_digest(Path(expunge.__file__).parent)


Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A checkout with a package in it, committed."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def run(*words: str) -> str:
        names = ("-c", "user.name=n", "-c", "user.email=e@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(tmp_path), *names, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        run("init", "--quiet")
    except FileNotFoundError:
        pytest.skip("git is not installed")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text("installed/\n*.pyc\n")
    run("add", ".")
    run("commit", "--quiet", "-m", "first")
    return run


def test_the_tree_is_named_while_nothing_differs_from_it(git: Git, tmp_path: Path) -> None:
    package_folder = tmp_path / "package"
    tree = git("rev-parse", "HEAD^{tree}")
    assert tree_of(package_folder) == tree
    (package_folder / "left.pyc").write_bytes(b"ignored")
    (tmp_path / "notes.txt").write_text("outside the package")
    assert tree_of(package_folder) == tree
    (package_folder / "new.py").write_text("added = 1")
    assert tree_of(package_folder) is None
    git("add", ".")
    assert tree_of(package_folder) is None
    git("commit", "--quiet", "-m", "second")
    assert tree_of(package_folder) == git("rev-parse", "HEAD^{tree}") != tree
    (package_folder / "new.py").write_text("added = 2")
    assert tree_of(package_folder) is None


def test_a_package_that_merely_lies_in_a_checkout_has_no_tree(git: Git, tmp_path: Path) -> None:
    """Installed into an environment inside somebody's repository, which ignores it."""
    installed = tmp_path / "installed"
    installed.mkdir()
    (installed / "__init__.py").write_text("")
    assert git("status", "--porcelain") == ""
    assert tree_of(installed) is None


def test_without_git_there_is_no_tree_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "__init__.py").write_text("")
    assert tree_of(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tree_of(tmp_path) is None
    found = package_tree()
    assert found is None or len(found) in (40, 64)


def test_variables_of_a_surrounding_git_do_not_mislead(
    git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = git("rev-parse", "HEAD^{tree}")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert tree_of(tmp_path / "package") == tree


def test_our_own_methods_have_no_sources_of_their_own() -> None:
    assert {method_source(method.name) for method in METHODS} == {None}
    with pytest.raises(InvalidArgument, match="'soft-ascent' is not one of"):
        method_source("soft-ascent")


@pytest.mark.usefixtures("foreign")
def test_somebody_elses_method_is_named_by_its_sources() -> None:
    found = Path(__file__).parents[2] / "examples" / "own_method.py"
    part = text("examples.own_method") + hashlib.sha256(found.read_bytes()).digest()
    expected = hashlib.sha256(b"expunge/method/1" + struct.pack("<I", 1) + part).digest()
    assert method_source("soft-ascent") == expected
    assert method_source("own-retrain") not in (None, expected)


@pytest.mark.usefixtures("foreign")
def test_a_method_without_readable_sources_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "sources_of", lambda module: None)
    with pytest.raises(RunError, match="a record could not say what ran"):
        method_source("soft-ascent")


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("method", [SoftAscent(strength=2.0), OwnRetrain()], ids=lambda method: method.name)
def test_a_record_of_somebody_elses_method_is_empirical(
    method: Method, owner: SigningKey, pictures: Dataset, tmp_path: Path
) -> None:
    """Whatever it calls itself: nothing here can tell what it earns."""
    desk = Desk(tmp_path, owner, pictures)
    run = desk.unlearn(desk.train("base"), "subject:someone-02", "forgot", method=method)
    assert (run_json(run)["guarantee"]["kind"] == "exact") == (method.name == "own-retrain")
    made = desk.attest(run)
    assert desk.accepts(made.bundle)
    record = desk.record(made.bundle)
    assert record.guarantee.kind is GuaranteeKind.EMPIRICAL
    assert record.algorithm.name == method.name
    assert record.algorithm.source == method_source(method.name)
    assert record.checkpoints is None
    assert record.claim == ("C6",)
    assert record.environment.not_exact is not None
    assert "is not built in" in record.environment.not_exact
