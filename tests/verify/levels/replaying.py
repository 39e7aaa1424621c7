"""From run folders to signed bundles, with every way to alter what they say before they are signed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from expunge.attest.chain import make_chain
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json, sha256, u32
from expunge.data.splits import SPLITS
from expunge.data.stored import LEAVES
from expunge.records.bundle import open_bundle, write_folder
from expunge.records.draft import Draft, bundle_files, sign_and_log
from expunge.records.keys import Role, SigningKey
from expunge.records.log import writing
from expunge.records.record import RunRecord, State, states_root
from expunge.records.states import state_digests
from expunge.records.tensors import TensorFile
from expunge.records.verdict import Finding, Level, Verdict
from expunge.train.run import Run
from expunge.verify.levels.checks import Checks
from expunge.verify.levels.form import check_form
from expunge.verify.levels.level_one import check_structure
from expunge.verify.opened import OpenedRecord
from expunge.verify.verify import verify

ORIGIN = "example.com/unlearning"
Changed = Callable[[RunRecord], RunRecord]


def draft_of(run: Run, key: SigningKey, *, states: bool = True) -> Draft:
    """All that a bundle of a run holds, not signed so far."""
    chain = make_chain(run, key, Time.now())
    files: dict[str, bytes | Path] = {"recipe.json": canonical_json(run.recipe.as_json())}
    for name in (*(LEAVES[split] for split in SPLITS), "assignment.bin", "units.bin", "model.safetensors"):
        files[name] = run.path / name
    if chain.trace is not None:
        files["trace.bin"] = chain.trace
    if states and chain.record.checkpoints is not None:
        for state in chain.record.checkpoints.states:
            name = f"checkpoints/shard-{state.shard}-step-{state.step:08d}.safetensors"
            files[name] = run.path / name
    return Draft(chain=tuple(link.envelope or link.statement for link in chain.links), files=files)


def changed(
    draft: Draft,
    change: Changed,
    files: Mapping[str, bytes | Path | None] | None = None,
    *,
    digest: bytes | None = None,
) -> Draft:
    """The draft whose run says something else, of another model, and whose files are others; None takes one out."""
    run = draft.run
    assert not isinstance(run, bytes)
    assert isinstance(run.predicate, RunRecord)
    left = {**draft.files, **(files or {})}
    return Draft(
        chain=(*draft.chain[:-1], replace(run, predicate=change(run.predicate), digest=digest or run.digest)),
        files={name: content for name, content in left.items() if content is not None},
    )


def with_state(record: RunRecord, shard: int, step: int, path: Path) -> RunRecord:
    """The record with the digests of another file at one of its states, or with a new one at step 0: signed again."""
    assert record.checkpoints is not None
    with path.open("rb") as stream:
        digests = state_digests(TensorFile(stream, path.stat().st_size, str(path)), record.checkpoints.buffers)
    known = {(state.shard, state.step): state for state in record.checkpoints.states}
    before = known.get((shard, step))
    known[shard, step] = State(
        shard=shard,
        step=step,
        weights=digests.weights,
        buffers=digests.buffers,
        optimiser=digests.optimiser,
        trace=sha256(b"expunge/trace/1", u32(shard)) if before is None else before.trace,
    )
    states = tuple(known[place] for place in sorted(known))
    told = replace(record.checkpoints, states=states, count=len(states), root=states_root(states))
    return replace(record, checkpoints=told)


def with_losses(draft: Draft, run: Run, step: int) -> Draft:
    """The draft whose trace names other losses at a step, and whose running digests are made to fit."""
    content = draft.files["trace.bin"]
    assert isinstance(content, bytes)
    at = step * 64 + 32
    content = content[:at] + sha256(b"other losses") + content[at + 32 :]

    def forged(record: RunRecord) -> RunRecord:
        assert record.checkpoints is not None
        assert record.trace is not None
        states = tuple(
            replace(state, trace=sha256(b"expunge/trace/1", u32(state.shard), content[: state.step * 64]))
            for state in record.checkpoints.states
        )
        return replace(
            record,
            checkpoints=replace(record.checkpoints, states=states, root=states_root(states)),
            trace=replace(record.trace, digest=sha256(content)),
        )

    assert run.recipe.shards == 1
    return changed(draft, forged, {"trace.bin": content})


@contextmanager
def opened_record(bundle: Path, key: SigningKey) -> Generator[OpenedRecord]:
    """A record whose form and structure hold, as replay is given it."""
    trusted = (key.trusted(ORIGIN, Role.OWNER), key.trusted(ORIGIN, Role.LOG))
    with open_bundle(bundle) as opened:
        form, checks = Checks(Level.V0), Checks(Level.V1)
        found = check_structure(opened, check_form(opened, form, trusted), checks)
        assert all(finding.stands for finding in (*form.findings, *checks.findings))
        assert found is not None
        yield found


def sealed(draft: Draft, key: SigningKey, folder: Path) -> Path:
    """The bundle, signed and logged."""
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / "log", ORIGIN) as log:
        signed = sign_and_log(draft, key, log)
        head = log.sign(key)
        write_folder(folder / "bundle", bundle_files(signed, log.log, head))
    return folder / "bundle"


def verified(bundle: Path, trusted: Any, level: str, **given: Any) -> Verdict:
    return verify(bundle, keys=trusted, level=level, **given)


def finding_of(verdict: Verdict, name: str, level: Level = Level.V2) -> Finding:
    """The one finding of that name at that level."""
    (found,) = [finding for finding in verdict.findings if (finding.name, finding.level) == (name, level)]
    return found
