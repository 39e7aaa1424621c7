"""The digest of a result: over all that is the same wherever and whenever it is computed, read from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError, ExpungeError
from expunge.core.files import read_bytes
from expunge.core.hashing import canonical_json, parse_json, sha256
from expunge.measure.cost import Seconds
from expunge.study.job import Work
from expunge.study.tuning import check_tuning_file, timeless

FILES = {
    Work.TRAIN: "run.json",
    Work.UNLEARN: "run.json",
    Work.EVALUATE: "evaluation.json",
    Work.TUNE: "tuning.json",
}
OF_A_RUN = ("weights_digest", "guarantee", "example_steps", "allowed", "stopped", "notices", "seen", "method", "steps")


def digest_of(work: Work, content: Mapping[str, Any]) -> str:
    """Of what a job wrote."""
    match work:
        case Work.EVALUATE:
            told = without_clock(content)
        case Work.TUNE:
            return str(content["digest"])
        case _:
            told = {name: content[name] for name in OF_A_RUN if name in content}
    return sha256(canonical_json(told)).hex()


def without_clock(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation without what the clock said, which is never the same twice."""
    kept = timeless({name: value for name, value in evaluation.items() if name != "digest"})
    kept["probes"] = [probe for probe in kept["probes"] if probe["name"] != Seconds.name]
    return kept


def read_result(folder: Path, work: Work, digest: str) -> Mapping[str, Any]:
    """What a job wrote, which must be what was noted when it ended."""
    path = folder / FILES[work]
    try:
        content = parse_json(read_bytes(path, "a result of the study"))
        if work is Work.TUNE:
            check_tuning_file(content)
        same = digest_of(work, content) == digest
    except (ExpungeError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:200]})") from None
    if not same:
        raise DataError(f"{path} is not what the job wrote: it was altered")
    return content
