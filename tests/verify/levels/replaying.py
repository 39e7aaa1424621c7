"""From run folders to signed bundles, with what tests of replays alter before these are signed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.verify.lineages import ORIGIN
from tests.verify.records import bundle

from expunge.adversary.table.story import RunStory, Story
from expunge.core.hashing import sha256
from expunge.records.bundle import open_bundle
from expunge.records.keys import KeyRole, SigningKey
from expunge.records.verdict import Finding, Level, Verdict
from expunge.train.run import Run
from expunge.verify.opened import OpenedRecord, Supplied
from expunge.verify.verify import carry_out, verify


def story_of(run: Run, key: SigningKey) -> RunStory:
    """All that a bundle of a run holds, not signed so far."""
    return RunStory.of(run, key, run.path)


def with_losses(run: Run, key: SigningKey, step: int) -> RunStory:
    """A run's story whose trace names other losses at a step, and whose running digests are made to fit."""
    story = story_of(run, key)
    return story.retold(story.tale.with_shard(story.tale.only.with_members({}, {step: sha256(b"other losses")})))


@contextmanager
def opened_record(path: Path, key: SigningKey) -> Generator[OpenedRecord]:
    """A record whose form and structure hold, as replay is given it."""
    trusted = (key.trusted(ORIGIN, KeyRole.OWNER), key.trusted(ORIGIN, KeyRole.LOG))
    with open_bundle(path) as opened:
        found = OpenedRecord(opened, Supplied(keys=trusted))
        carry_out(found, Level.V0, Level.V1)
        assert found.chained
        assert all(finding.stands for finding in found.findings)
        yield found


def replay_findings(opened: OpenedRecord, *, level: Level, **given: Any) -> list[Finding]:
    """What the checks from V2 on find in a record whose form and structure hold."""
    supplied = replace(opened.supplied, level=level, **given)
    again = replace(opened, supplied=supplied, findings=[], passed=set(opened.passed), replay=None)
    carry_out(again, Level.V2, level)
    return again.findings


def sealed(story: Story, key: SigningKey, folder: Path) -> Path:
    """The bundle, signed and logged."""
    return bundle(story, folder, key=key)


def verified(path: Path, trusted: Any, level: str, **given: Any) -> Verdict:
    return verify(path, keys=trusted, level=level, **given)


def finding_of(verdict: Verdict, name: str, level: Level = Level.V2) -> Finding:
    """The one finding of that name at that level."""
    (found,) = [finding for finding in verdict.findings if (finding.name, finding.level) == (name, level)]
    return found
