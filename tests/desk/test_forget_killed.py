"""``forget`` killed at any moment and run again: the same digests, and nothing half destroyed."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.desk.conftest import PEOPLE
from tests.hygiene.worlds import Killed, files

from expunge.desk.forget import forget
from expunge.records.declaration import Declaration, Intent, RetiredFile
from expunge.train.run import Run

PERSON = f"subject:{PEOPLE[4]}"
TOUCHES = ("fsync", "replace", "rename", "unlink", "link", "mkdir")  # all that becomes of files goes through these
MOMENTS = 20
sync = os.fsync


class Process:
    """Counts what a process does to files, and ends it at one of these: from then on nothing is done any more."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.done, self.last = 0, 10**9
        for name in TOUCHES:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def touch(*given: Any, **named: Any) -> Any:
            self.done += 1
            if self.done >= self.last:
                raise Killed
            return None if real is sync else real(*given, **named)  # nothing here outlives a loss of power

        return touch


def world(original: Path, keys: Path, place: Path) -> Run:
    shutil.copytree(original, place / "runs" / "base")
    shutil.copytree(keys, place / "keys")
    return Run.open(place / "runs" / "base")


def whole(base: Run, key: Path) -> Any:
    return forget(base.path, PERSON, guarantee="exact", key=key, yes=True)


def lasting(folder: Path) -> dict[str, bytes]:
    """What lies there, without what bears a date, a place or a signature over these."""
    dated = ("envelope.json", "log.jsonl", "run.json", "commit.json", "hygiene.json")
    return {name: content for name, content in files(folder).items() if not name.endswith(dated)}


def test_killed_at_random_moments_and_run_again(original: Path, key: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        process = Process(patch)
        base = world(original, key.parent, tmp_path / "unhurt")
        process.done = 0
        unhurt = whole(base, tmp_path / "unhurt" / "keys" / key.name)
        moments = sorted(random.Random(14).sample(range(1, process.done + 1), MOMENTS))
        assert unhurt.fully
        expected = {name: lasting(base.path.with_name(name)) for name in ("base", "base.1")}
        for at in moments:
            place = tmp_path / f"killed-{at}"
            process.last = 10**9
            run, signing = world(original, key.parent, place), place / "keys" / key.name
            process.done, process.last = 0, at
            with pytest.raises(Killed):
                whole(run, signing)
            process.last = 10**9
            if not (run.path / RetiredFile.NAME).exists():  # nothing of it went before the new run stood
                assert files(original).items() <= files(run.path).items()
            done = whole(run, signing)
            assert done.fully, (at, done.found.holdings, done.found.unclear, done.found.interrupted)
            assert done.run.weights_digest == unhurt.run.weights_digest
            found = {name: lasting(run.path.with_name(name)) for name in expected}
            assert {name: sorted(inner) for name, inner in found.items()} == {
                name: sorted(inner) for name, inner in expected.items()
            }, at
            assert found["base.1"] == expected["base.1"], at
            assert not (done.run.path / Intent.NAME).exists()
            assert (done.run.path / Declaration.NAME).is_file()
            assert run.path.with_name("base.1-bundle").is_dir()  # attest verified it at V1
