"""The product as the golden tests call it: commands in this process, and every import from a place that may move.

Nothing here decides what is right: that stands in ``0.1.0/manifest.json``, written once by ``write.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import sys
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from expunge.attest import described, package
from expunge.attest.attest import commit_run
from expunge.cli.main import main
from expunge.core import clock as clock_of_records
from expunge.core.errors import ExpungeError
from expunge.core.hashing import canonical_json, parse_json, plain_json, sha256
from expunge.data.forget_set import read_forget_set
from expunge.hygiene import retire
from expunge.hygiene.survey import survey
from expunge.records.declaration import Intent, RetiredFile, read_declaration, write_declaration
from expunge.records.demo import DemoResult
from expunge.records.document import Document, read_document, without, write_document
from expunge.records.envelope import open_envelope
from expunge.records.form import from_plain, to_plain
from expunge.records.keys import load_trusted, write_trusted
from expunge.records.log import read_log
from expunge.records.record import RunRecord
from expunge.records.statement import read_statement, write_statement
from expunge.records.study_store import Entry
from expunge.records.verdict import Caveat
from expunge.report.audit_demo import audit_demo_page
from expunge.report.facts import read_evaluation
from expunge.report.leaderboard import render
from expunge.report.study_results import read_results
from expunge.schedule.recipe_file import read_recipe
from expunge.study.grid import lay_out
from expunge.study.study_file import read_study
from expunge.study.tuning import read_tuning
from expunge.train.profile import fingerprint
from expunge.train.run import Run, write_run_file

GOLDEN = Path(__file__).parent / "0.1.0"
REPOSITORY = Path(__file__).parents[2]
WRITTEN_AT = "/golden/0.1.0"  # where the files lay when they were written; nobody has such a folder
ROOT = "{root}"  # stands for that folder, or a copy of it, in what is recorded
SINCE = frozenset({"dates-ahead", "other-records"})  # words of remarks that came later: in no golden verdict
FACTS_SINCE = ("columns ", "classes ", "size ")  # lines of `expunge info` that came later
NOW = "2026-12-01T12:00:00Z"  # what the clock says to whoever signs here: later than all that was written


class Done(NamedTuple):
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """The sentence of a refusal, without the word before it."""
        return self.err.strip().removeprefix("error: ")


def command(*arguments: object, folder: Path | None = None, since: bool = False) -> Done:
    """``expunge …`` in this process, from within a folder if one is named.

    Verdicts and certificates are without the remarks that came after the golden files, unless ``since`` asks for them;
    so is `expunge info` without its later lines.
    """
    out, err = io.StringIO(), io.StringIO()
    where = contextlib.nullcontext() if folder is None else contextlib.chdir(folder)
    with (
        where,
        contextlib.nullcontext() if since else remarking(),
        mock.patch.object(sys, "argv", ["expunge", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            lines = out.getvalue().splitlines(keepends=True)
            then = arguments[0] == "info" and not since
            said = "".join(line for line in lines if not (then and line.startswith(FACTS_SINCE)))
            return Done(int(stop.code or 0), said, err.getvalue())
    raise AssertionError("the command did not end")


@contextlib.contextmanager
def signing(package_digest: str, tree: str | None) -> Generator[None]:
    """The clock stands still, and the package is the one with this digest: what is signed is the same every time.

    Records of 0.1.0 did not say how a run came about: that is left out, as it was.
    """
    then = clock_of_records.Time(NOW)
    with (
        mock.patch.object(clock_of_records.Time, "now", classmethod(lambda _: then)),
        mock.patch("expunge.core.clock.utc_now", return_value=NOW),
        mock.patch.object(package, "package_digest", return_value=bytes.fromhex(package_digest)),
        mock.patch.object(package, "package_tree", return_value=tree),
        mock.patch.object(described, "RunRecord", lambda **told: RunRecord(**{**told, "execution": None})),
    ):
        yield


@contextlib.contextmanager
def remarking() -> Generator[None]:
    """Verdicts bear the remarks of 0.1.0 and no more."""
    module = importlib.import_module("expunge.verify.verify")
    every = module.remarks_of

    def then(opened: Any) -> tuple[Caveat, ...]:
        return tuple(remark for remark in every(opened) if remark.word not in SINCE)

    with mock.patch.object(module, "remarks_of", then):
        yield


@contextlib.contextmanager
def probing(names: Collection[str]) -> Generator[None]:
    """Evaluations measure what is named and no more: probes that came later are in no golden file."""
    module = importlib.import_module("expunge.measure.evaluate")
    then = [probe for probe in module.all_probes() if probe.name in names]
    with mock.patch.object(module, "all_probes", return_value=then):
        yield


def package_now() -> str:
    """Digest of this package's own sources, as records name it."""
    return package.package_digest().hex()


def tree_now() -> str | None:
    return package.package_tree()


def neutral(text: str, *roots: Path) -> str:
    """A text without the places of this machine."""
    for root in (*map(str, roots), WRITTEN_AT):
        text = text.replace(root, ROOT)
    return text


def digest(content: bytes | str) -> str:
    """SHA-256, in hexadecimal."""
    return sha256(content.encode() if isinstance(content, str) else content).hex()


# Reading and writing ------------------------------------------------------------------------------------------------


def _written(write: Callable[[Path], object], path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    return path.read_bytes()


def _run(path: Path, scratch: Path) -> bytes:
    return _written(lambda at: write_run_file(at.parent, Run.open_any(path.parent).told), scratch / "run.json")


def _evaluation(path: Path, scratch: Path) -> bytes:
    found = read_evaluation(path.parent)
    assert found is not None
    return write_document(found).encode()


def _results(path: Path, scratch: Path) -> bytes:
    """Those of the repository are kept without line ends, so that they are short: as ``studies/keep.py`` writes."""
    return (json.dumps(to_plain(read_results(path)), sort_keys=True, separators=(",", ":")) + "\n").encode()


def _forget_set(path: Path, scratch: Path) -> bytes:
    return write_document(read_forget_set(path.read_bytes()).file).encode()


def _tuning(path: Path, scratch: Path) -> bytes:
    return write_document(read_tuning(path)).encode()


def _declaration(path: Path, scratch: Path) -> bytes:
    found = read_declaration(path.parent)
    assert found is not None
    return _written(lambda at: write_declaration(at.parent, found), scratch / "hygiene.json")


def _document(kind: type[Document]) -> Callable[[Path, Path], bytes]:
    return lambda path, scratch: write_document(read_document(kind, path.read_bytes(), path.name)).encode()


def _entry(path: Path, scratch: Path) -> bytes:
    return write_document(read_document(Entry, path.read_bytes(), path.name)).encode()


def _recipe(path: Path, scratch: Path) -> bytes:
    return canonical_json(read_recipe(path.read_bytes()).as_json())


def _trusted(path: Path, scratch: Path) -> bytes:
    return _written(lambda at: write_trusted(at, load_trusted(path)), scratch / "trusted.json")


def _envelope(path: Path, scratch: Path) -> bytes:
    """The signed payload is what is read and written; the envelope around it must be as sealed."""
    content = path.read_bytes()
    opened = open_envelope(content, load_trusted(GOLDEN / "keys" / "trusted.json"), path.name)
    assert write_statement(read_statement(opened.payload)) == opened.payload
    return canonical_json(parse_json(content))


def _canonical(path: Path, scratch: Path) -> bytes:
    return canonical_json(parse_json(path.read_bytes()))


def _plain(path: Path, scratch: Path) -> bytes:
    return plain_json(parse_json(path.read_bytes())).encode()


REWRITE: dict[str, Callable[[Path, Path], bytes]] = {
    "run": _run,
    "evaluation": _evaluation,
    "results": _results,
    "forget set": _forget_set,
    "tuning": _tuning,
    "declaration": _declaration,
    "intent": _document(Intent),
    "retired": _document(RetiredFile),
    "entry": _entry,
    "store": _plain,
    "recipe": _recipe,
    "trusted": _trusted,
    "envelope": _envelope,
    "proof": _canonical,
    "demonstration": _plain,
}
KINDS = {
    "run.json": "run",
    "evaluation.json": "evaluation",
    "forget.json": "forget set",
    "tuning.json": "tuning",
    "hygiene.json": "declaration",
    "hygiene-intent.json": "intent",
    "retired.json": "retired",
    "entry.json": "entry",
    "store.json": "store",
    "recipe.json": "recipe",
    "trusted.json": "trusted",
    "envelope.json": "envelope",
    "commit.json": "envelope",
    "log.json": "proof",
    "audit-demo.json": "demonstration",
}


def documents(root: Path = GOLDEN) -> Iterator[tuple[str, str]]:
    """Every golden document, by its name from the golden folder, and what kind it is."""
    for path in sorted(root.rglob("*.json")):
        name = path.relative_to(root).as_posix()
        if name == "manifest.json":
            continue
        folder = path.parent.name
        fallback = {"parents": "envelope", "log": "proof"}.get(folder)
        yield name, KINDS.get(path.name) or fallback or "unknown"


def rewritten(kind: str, path: Path, scratch: Path) -> bytes:
    """What the product's own reader and writer make of a document."""
    return REWRITE[kind](path, scratch)


def log_entries(folder: Path) -> list[str]:
    """Digests that a log holds."""
    return [leaf.hex() for leaf in read_log(folder).leaves]


# Runs and pages -----------------------------------------------------------------------------------------------------


def environment_here(run: Path) -> dict[str, Any]:
    """What decides bits here, for the recipe of a run."""
    import torch

    return fingerprint(Run.open_any(run).recipe, torch.device("cpu"))


def environment_there(run: Path) -> dict[str, Any]:
    """The same as the run's folder names it."""
    named = json.loads((run / "run.json").read_text(encoding="utf-8"))["environment"]
    return {name: value for name, value in named.items() if name not in ("self_test", "factory", "initial_weights")}


def interrupted_command(steps: int, *arguments: object) -> None:
    """A command that is killed when so many steps are done."""

    @contextlib.contextmanager
    def bar(what: str) -> Generator[Callable[[int, int], None]]:
        def stop(done: int, total: int) -> None:
            if done >= steps:
                raise KeyboardInterrupt

        yield stop

    with mock.patch("expunge.cli.train.progress_bar", bar):
        assert command(*arguments).status == 130


def commit_signed(run: Path, key: Path, log: Path, origin: str) -> None:
    commit_run(run, key, log, origin)


def interrupted_destruction(run: Path, steps: int) -> None:
    """A destruction that is killed after so many steps."""

    def stop(done: int, total: int) -> None:
        if done >= steps:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        retire.destroy(survey(run), unrecorded=True, progress=stop)


def study_jobs(path: Path) -> list[str]:
    """Keys of a study's jobs, in their order."""
    return [job.key for job in lay_out(read_study(path)).jobs]


def leaderboard_pages(path: Path) -> dict[str, bytes]:
    """The front page of a study's results and a page for each method."""
    return render(read_results(path))


def demonstration_page(path: Path) -> bytes:
    """The page of the audit demonstration from what it found."""
    return audit_demo_page(from_plain(DemoResult, json.loads(path.read_text(encoding="utf-8")), path.name))


def results_page(path: Path) -> Done:
    """The leaderboard of results, answered like a command: there is none that draws a file of results alone."""
    try:
        leaderboard_pages(path)
    except ExpungeError as error:
        return Done(2, "", f"error: {error}\n")
    return Done(0, "", "")


def digested(content: dict[str, Any]) -> dict[str, Any]:
    """A document that carries a digest of its own, with the digest of what it holds now."""
    rest = {name: value for name, value in content.items() if name != "digest"}
    told = without(rest, "seconds") if content["format"].startswith("expunge/tuning/") else rest
    return {**rest, "digest": sha256(content["format"].encode(), canonical_json(told)).hex()}
