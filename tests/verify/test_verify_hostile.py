"""Records that mean harm: signed by the key of their owner, every value of every field exchanged."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.logged import sign_and_log
from tests.verify.departures import base
from tests.verify.lineages import ORIGIN, OWNER, TRUSTED
from tests.verify.records import bundle, forgot, rewritten, verdict

from expunge.core.hashing import canonical_json
from expunge.records.bundle import write_zip
from expunge.records.canonical import read_base64
from expunge.records.envelope import seal
from expunge.records.limits import Code
from expunge.records.log import writing
from expunge.records.statement import Statement
from expunge.records.verdict import Level, Status
from expunge.verify.verify import verify

V0 = Level.V0


def leaves_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves_of(inner, (*path, name))
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value[:2]):
            yield from leaves_of(inner, (*path, at))
    else:
        yield path, value


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


def exchanged(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [0, value + 1, 2**32, 2**53 - 1]
    if isinstance(value, str):
        digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
        return ["0" * 64, "f" * 64] if digest else ["", "\x1b[31m", "1" * 5000]
    return [[0], ["x"], {}]


FREE: dict[int, set[tuple[Any, ...]]] = {  # what an owner may say without anything here that could contradict it
    0: {("recordedAfterwards",)},
    -1: {
        ("algorithm", "package"),
        ("checkpoints", "interval"),
        ("data", "releasedCalibration"),
        ("data", "releasedHoldout"),
        ("environment", "factory"),
        ("environment", "fingerprint", "torch"),
        ("environment", "initialWeights"),
        ("environment", "selfTest"),
        ("requests", 0, "cases"),
    },
}


@pytest.mark.parametrize("at", [0, -1])
def test_no_value_of_a_signed_record_raises_anything_but_a_refusal(at: int, tmp_path: Path) -> None:
    story = base()
    link = story.draft.chain[at]
    assert isinstance(link, Statement)
    with writing(tmp_path / "first", ORIGIN) as log:
        signed = sign_and_log(story.draft, OWNER, log)
    payload = json.loads(read_base64(json.loads(signed.envelopes[at])["payload"], "it"))
    accepted: set[tuple[Any, ...]] = set()
    for number, (path, value) in enumerate(list(leaves_of(payload))):
        for which, new in enumerate(exchanged(value)):
            if new == value:
                continue
            envelope = seal(canonical_json(with_value(payload, path, new)), OWNER)
            chain = list(story.draft.chain)
            chain[at] = envelope
            draft = replace(story.draft, chain=tuple(chain))
            found = verdict(draft, tmp_path / f"{number}-{which}")
            if found.status is Status.ACCEPTED:
                accepted.add(path[1:] if path[0] == "predicate" else path)
    assert accepted == FREE[at]


@pytest.mark.parametrize("seed", range(3))
def test_no_altered_byte_of_any_file_is_accepted(seed: int, tmp_path: Path) -> None:
    draws = random.Random(seed)
    path = bundle(forgot(base(), (4,)), tmp_path, commit_first=True)
    names = sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    for _ in range(60):
        name = draws.choice(names)
        content = (path / name).read_bytes()
        at = draws.randrange(len(content))
        altered = bytearray(content)
        altered[at] ^= draws.randrange(1, 256)
        rewritten(path, name, lambda _, new=bytes(altered): new)
        assert verify(path, keys=TRUSTED).status is not Status.ACCEPTED, (name, at)
        rewritten(path, name, lambda _, old=content: old)
    assert verify(path, keys=TRUSTED).status is Status.ACCEPTED


def test_a_zip_is_verified_like_a_folder(tmp_path: Path) -> None:
    path = bundle(base(), tmp_path)
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    write_zip(tmp_path / "bundle.zip", files)
    assert verify(tmp_path / "bundle.zip", keys=TRUSTED).status is Status.ACCEPTED
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as target:
        for name, file in files.items():
            target.write(file, name)
    assert verify(tmp_path / "packed.zip", keys=TRUSTED).codes == (Code.UNSAFE_FILE,)  # bytes that nothing binds
    (path / "trace.bin").unlink()
    (path / "trace.bin").write_bytes(b"")
    assert verify(path, keys=TRUSTED).codes == (Code.TRACE_DIGEST_MISMATCH,)
