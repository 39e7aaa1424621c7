"""What the table of guards alters golden files with, and how it opens them."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from tests.golden.observed import altered
from tests.golden.product import GOLDEN

from expunge.core.beacon import GIVEN, Beacon
from expunge.core.errors import DataError, RecordError, RunError
from expunge.core.hashing import canonical_json
from expunge.hygiene.survey import survey
from expunge.records.bundle import Bundle, Repacked, open_bundle
from expunge.records.document import read_document, sealed
from expunge.records.envelope import open_envelope, seal
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.records.keys import load_signing_key, load_trusted
from expunge.records.limits import Limits
from expunge.records.results import Row, Setting
from expunge.records.run_file import RunFile, TrainRequest
from expunge.records.statement import Statement, read_statement
from expunge.report.facts import Facts, read_evaluation, read_facts
from expunge.report.study_results import read_results
from expunge.schedule.recipe import Recipe
from expunge.schedule.recipe_file import read_recipe
from expunge.train.folder import finished_or_other, writing
from expunge.train.run import Run
from expunge.verify.verify import verify

Change = Callable[[Path], object]  # alters a file, or lays one into a folder
Opens = Callable[[Path], Any]
KEYS, OWNER = GOLDEN / "keys" / "trusted.json", GOLDEN / "keys" / "private.pem"
DRAWN = "2026-12-01T00:00:00Z"  # when the beacon was, a day after the golden commitment


@dataclass(frozen=True)
class Guarded:
    """A golden file, how it is altered and opened, and the refusal (its class, parts of its sentence) or what it gives.

    ``before`` is how it is opened as it was, if otherwise.
    """

    number: int
    name: str
    file: str
    alter: Change
    opens: Opens
    refusal: type[Exception] | None
    told: tuple[Any, ...]
    before: Opens | None = None

    def copied(self, folder: Path) -> Path:
        """The file, with the run, the bundle or the pair of runs that it is of; results of studies lie beside."""
        part = Path(*Path(self.file).parts[:2])
        source = (GOLDEN.parent if part.parts[0] == "results" else GOLDEN) / part
        (folder / part).parent.mkdir()
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / part)
        return folder / self.file


def refuses(number: int, name: str, file: str, alter: Change, opens: Opens, *said: str) -> Guarded:
    """What does not stand in a file as it should."""
    return Guarded(number, name, file, alter, opens, DataError, said)


def refuses_run(number: int, name: str, file: str, alter: Change, opens: Opens, *said: str) -> Guarded:
    """A run that cannot be opened or go on."""
    return Guarded(number, name, file, alter, opens, RunError, said)


def refuses_record(number: int, name: str, file: str, alter: Change, opens: Opens, *said: str) -> Guarded:
    """Evidence; the first that is said is its code."""
    return Guarded(number, name, file, alter, opens, RecordError, said)


def refuses_repacked(number: int, name: str, file: str, alter: Change, opens: Opens, *said: str) -> Guarded:
    """A zip for its form alone."""
    return Guarded(number, name, file, alter, opens, Repacked, said)


def gives(number: int, name: str, file: str, alter: Change, opens: Opens, found: Any) -> Guarded:
    return Guarded(number, name, file, alter, opens, None, (found,))


def limit(name: str, most: int, file: str = "bundles/plain", code: str = "SIZE_LIMIT", said: str = "") -> Guarded:
    """A golden bundle takes so much, and the limit is lower by one."""
    field = name.partition(" ")[0]
    least, less = within(**{field: most}), within(**{field: most - 1})
    return Guarded(35, name, file, lambda path: None, less, RecordError, (code, said or str(most - 1)), least)


# How files are altered ----------------------------------------------------------------------------------------------


def place(way: str) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in way.split(".")]


def changed(**change: Any) -> Change:
    return lambda path: path.write_bytes(altered(path.read_bytes(), change))


def put(way: str, value: Any) -> Change:
    """Another value in a place of a JSON document; the digest of an evaluation is made anew."""

    def alter(path: Path) -> None:
        content = altered(path.read_bytes(), {"put": [place(way), value]})
        if path.name == Evaluation.NAME:
            content = json.dumps(sealed(Evaluation, json.loads(content))).encode()
        path.write_bytes(content)

    return alter


def drop(way: str) -> Change:
    return changed(drop=place(way))


def text(old: str, new: str) -> Change:
    return changed(text=[old, new])


def flip(at: int) -> Change:
    return changed(flip=at)


def every(*changes: Change) -> Change:
    return lambda path: [change(path) for change in changes]


def again(way: str) -> Change:
    """The first entry of a list stands twice."""

    def alter(path: Path) -> None:
        found = json.loads(path.read_bytes())
        for part in place(way):
            found = found[part]
        put(way, [found[0], *found])(path)

    return alter


def became(golden: str) -> Change:
    """Another golden file in the place."""
    return lambda path: shutil.copyfile(GOLDEN / golden, path)


def appended(content: bytes) -> Change:
    return lambda path: path.write_bytes(path.read_bytes() + content)


def locked(path: Path) -> None:
    """As a process that writes holds the folder; the handle stays open."""
    fcntl.flock(os.open(path.parent / ".lock", os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)


def signed_anew(old: str, new: str) -> Change:
    """Another text in the payload, signed by its owner's own key."""

    def alter(path: Path) -> None:
        payload = altered(base64.b64decode(json.loads(path.read_bytes())["payload"]), {"text": [old, new]})
        path.write_bytes(seal(payload, load_signing_key(OWNER)))

    return alter


def signatures(count: int) -> Change:
    """The same signature so many times."""

    def alter(path: Path) -> None:
        found = json.loads(path.read_bytes())
        path.write_bytes(canonical_json({**found, "signatures": found["signatures"] * count}))

    return alter


def in_directory(at: int, new: bytes, name: str = "trace.bin") -> Change:
    """Other bytes in the row that a zip's directory has of a file, so far from the row's beginning."""

    def alter(path: Path) -> None:
        content = path.read_bytes()
        start = content.rindex(name.encode()) - 46 + at
        path.write_bytes(content[:start] + new + content[start + len(new) :])

    return alter


def named(name: str) -> Change:
    """Another name for the trace in a zip's directory."""
    return in_directory(46, name.encode())


def mode(value: int) -> Change:
    """Attributes of the trace in a zip's directory, as Unix writes them."""
    return in_directory(38, (value << 16).to_bytes(4, "little"))


def sizes(*sizes: int, at: int = 24, name: str = "trace.bin") -> Change:
    """How long a file is said to be in a zip's directory: unpacked, or from 20 on packed and unpacked."""
    return in_directory(at, b"".join(size.to_bytes(4, "little") for size in sizes), name)


def packed_again(path: Path) -> None:
    """The same files, as another program packs them."""
    with zipfile.ZipFile(path) as found:
        files = {name: found.read(name) for name in found.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)


def linked(path: Path) -> None:
    target = path.rename(path.parents[1] / path.name)
    path.symlink_to(target)


def laid(name: str, content: bytes = b"half of something") -> Change:
    """A file of this name in the folder."""
    return lambda folder: (folder / name).write_bytes(content)


def bundle_laid(folder: Path) -> None:
    """A bundle of the same data that another program packed, beside the run."""
    shutil.copyfile(GOLDEN / "bundles" / "plain.zip", folder / "plain.zip")
    packed_again(folder / "plain.zip")


# How they are opened ------------------------------------------------------------------------------------------------


def run(path: Path) -> Run:
    return Run.open(path.parent)


def any_run(path: Path) -> Run:
    return Run.open_any(path.parent)


def recipe(path: Path) -> Recipe:
    return run(path).recipe


def commitment(path: Path) -> Any:
    return run(path).commitment


def beacon(path: Path) -> Beacon:
    return run(path).beacon_described


def trace(path: Path) -> str:
    return run(path).trace.value


def written(path: Path) -> None:
    """By a second process."""
    with writing(path.parent):
        pass


def facts(path: Path) -> Facts:
    return read_facts(path.parent)


def evaluation(path: Path) -> Evaluation:
    found = read_evaluation(path.parent)
    assert found is not None
    return found


def notice(path: Path) -> str:
    """A text of an evaluation as pages show it."""
    return evaluation(path).notices[0]


def interval(path: Path) -> tuple[float, float]:
    found: Any = evaluation(path).probes[0].unlearned
    return found.low, found.high


def beacon_note(path: Path) -> str:
    """A text of a run as pages show it."""
    return dict(facts(path).remarks)["beacon"]


def told(golden: str) -> RunFile:
    return read_document(RunFile, (GOLDEN / golden).read_bytes(), golden)


def asked(golden: str, **changes: Any) -> Opens:
    """The command that began a golden run is given again."""
    return lambda path: finished_or_other(path.parent, replace(told(golden), **changes))


def trained(path: Path) -> Run | None:
    """A training over the golden commitment, with a beacon that was drawn after it."""
    golden = "digits/committed/run.json"
    found = told(golden).request
    drawn = Beacon(value=b"\xab" * 32, source=GIVEN, not_before=DRAWN)
    request = TrainRequest(recipe=found.recipe, roots=found.roots, beacon=drawn.value.hex(), device="cpu")
    return asked(golden, request=request, beacon_described=drawn)(path)


def setting(path: Path) -> Setting:
    return read_results(path).settings[0]


def row(path: Path) -> Row:
    return setting(path).rows[1]


def cost(path: Path) -> tuple[float, float, float]:
    found: Any = row(path).figures["cost"]
    return found.low, found.mean, found.high


def fairness(path: Path) -> tuple[str, Any]:
    """A figure that nobody here knows: as it is read, and as it is written again."""
    found = row(path).figures
    return found["fairness"].word, to_plain(found).get("fairness")


def signed(path: Path) -> Statement:
    return read_statement(open_envelope(path.read_bytes(), load_trusted(KEYS)).payload)


def recipe_file(path: Path) -> Recipe:
    return read_recipe(path.read_bytes())


def within(**limits: int) -> Opens:
    """Verified within limits: the first finding that is refused is raised."""

    def opens(path: Path) -> None:
        for finding in verify(path, keys=KEYS, limits=Limits(**limits)).findings:
            if finding.code is not None:
                raise RecordError(finding.code.value, finding.detail)

    return opens


def listed(path: Path) -> tuple[str, ...]:
    """What lies in a bundle, by names and sizes alone: none of its files can be opened."""
    with ExitStack() as stack, mock.patch.object(Bundle, "stream", None):
        return stack.enter_context(open_bundle(path if path.suffix == ".zip" else path.parent)).names


def unclear(folder: Path) -> tuple[list[str], bool]:
    """Of what in a run's surroundings nothing can be told, without the folder, and whether that is taken for clean."""
    found = survey(folder / "forgot")
    return [said.replace(f"{folder.resolve()}/", "") for said in found.unclear], found.clean


def holding(folder: Path) -> tuple[list[str], bool]:
    """Files that hold forgotten rows, and whether that is taken for clean."""
    found = survey(folder / "forgot")
    return [item.path.name for item in found.holdings], found.clean


def interrupted(folder: Path) -> tuple[bool, bool]:
    """Whether a destruction was cut short, and whether that is taken for clean."""
    found = survey(folder / "forgot")
    return found.interrupted, found.clean
