"""The digest of a result: over all that is the same wherever and whenever it is computed, read from its files."""

from __future__ import annotations

from pathlib import Path

from expunge.core.errors import DataError, ExpungeError
from expunge.core.files import read_bytes
from expunge.core.hashing import canonical_json, sha256
from expunge.measure.cost import Seconds
from expunge.records.document import read_document, without
from expunge.records.evaluation import Evaluation
from expunge.records.form import to_plain
from expunge.records.run_file import RunFile
from expunge.records.study_store import ScoreFile
from expunge.records.tuning import Tuning
from expunge.study.job import Work

JobDocument = RunFile | Evaluation | Tuning | ScoreFile
FILES: dict[Work, tuple[str, type[JobDocument]]] = {
    Work.TRAIN: ("run.json", RunFile),
    Work.UNLEARN: ("run.json", RunFile),
    Work.EVALUATE: ("evaluation.json", Evaluation),
    Work.TUNE: ("tuning.json", Tuning),
    Work.SCORE: (ScoreFile.NAME, ScoreFile),
}
OF_A_RUN = ("weights_digest", "guarantee", "example_steps", "allowed", "stopped", "notices", "seen", "method", "steps")


def digest_of(document: JobDocument) -> str:
    """Of what a job wrote: without what the clock said, which is never the same twice."""
    if isinstance(document, Tuning | ScoreFile):
        return document.digest
    content = to_plain(document)
    if isinstance(document, RunFile):
        told = {name: content[name] for name in OF_A_RUN if name in content}
    else:
        told = {name: without(value, "seconds") for name, value in content.items() if name != "digest"}
        told["probes"] = [probe for probe in told["probes"] if probe["name"] != Seconds.name]
    return sha256(canonical_json(told)).hex()


def read_result(folder: Path, work: Work, digest: str) -> JobDocument:
    """What a job wrote, which must be what was noted when it ended."""
    name, kind = FILES[work]
    path = folder / name
    try:
        document = read_document(kind, read_bytes(path, "a result of the study"), str(path))
        same = digest_of(document) == digest
    except ExpungeError as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:200]})") from None
    if not same:
        raise DataError(f"{path} is not what the job wrote: it was altered")
    return document
