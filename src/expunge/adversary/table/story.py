"""What is to be signed of a lineage, honestly made, and every way in which its owner may tell it otherwise.

Whoever owns the signing key may tell anything: fields of a record, files beside it, steps and states that never were.
What is told here fits together otherwise, so that a verifier has to find out what is wrong and not merely that
something is. The table of attacks and the tests build their records with these.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from expunge.adversary.table.retelling import Tale, saved, tale_of
from expunge.attest.asked import asked_of
from expunge.attest.attest import files_of, lineage_files
from expunge.attest.chain import ancestry, beginning, make_chain
from expunge.attest.described import Lineage, commit_statement, run_statement
from expunge.attest.kept import CHECKPOINT, place_of
from expunge.attest.trajectory import trajectory_of
from expunge.core.clock import Time
from expunge.core.hashing import parse_json, sha256
from expunge.core.values import Progress
from expunge.records.bundle import MODEL, TRACE
from expunge.records.canonical import read_base64
from expunge.records.draft import Draft
from expunge.records.keys import SigningKey
from expunge.records.record import Reuse, RunRecord, State, states_root
from expunge.records.statement import Statement, read_statement
from expunge.train.run import Run
from expunge.train.state import Tensors, tensors_digest

STATES = "checkpoints/"


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What an auditor is given, and the list of keys that they hold themselves.

    ``checkpoints`` is a folder with sums, which no bundle holds. ``code`` is a folder of the owner's modules, ``trust``
    the digests of those that the auditor read and lets run.
    """

    bundle: Path
    keys: Path
    data: Path
    salts: Path | None = None
    known_checkpoint: Path | None = None
    known_records: tuple[str, ...] = ()
    checkpoints: Path | None = None
    code: Path | None = None
    trust: tuple[str, ...] = ()

    def with_code(self, code: Path, trust: tuple[str, ...]) -> Handed:
        """The same with modules of the owner's own."""
        return replace(self, code=code, trust=trust)


@contextmanager
def code_from(folder: Path | None) -> Generator[None]:
    """Modules of a folder can be imported inside, before all others, and are gone afterwards."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for module in folder.glob("*.py"):
            sys.modules.pop(module.stem, None)


@dataclass(frozen=True, kw_only=True)
class Story:
    """A chain that is to be signed and the files beside it; every way of telling it otherwise gives another story."""

    draft: Draft

    def link(self, at: int = -1) -> Statement:
        """What is said at a place of the chain, of the last run unless told; a signed envelope is opened for it."""
        found = self.draft.chain[at]
        if isinstance(found, Statement):
            return found
        return read_statement(read_base64(parse_json(found)["payload"], "the envelope"))

    @property
    def record(self) -> RunRecord:
        """The record of the last run."""
        return record_of(self.link())

    def changed(self, at: int = -1, *, name: str | None = None, digest: bytes | None = None, **fields: Any) -> Self:
        """Other fields in one statement of the chain; ``requests__0__root`` is the root of the first request."""
        link, chain = self.link(at), list(self.draft.chain)
        predicate = link.predicate
        for place, value in fields.items():
            predicate = _with(predicate, place.split("__"), value)
        chain[at] = replace(link, name=name or link.name, digest=digest or link.digest, predicate=predicate)
        return replace(self, draft=replace(self.draft, chain=tuple(chain)))

    def with_files(self, files: Mapping[str, bytes | Path | None]) -> Self:
        """Other files; None leaves one out."""
        merged = {**self.draft.files, **files}
        left = {name: content for name, content in merged.items() if content is not None}
        return replace(self, draft=replace(self.draft, files=left))

    def without_states(self) -> Self:
        """The same without the files of its states, which a bundle need not hold."""
        return self.with_files({name: None for name in self.draft.files if name.startswith(STATES)})

    def with_states(self, states: Sequence[State], at: int = -1, **fields: Any) -> Self:
        """Other states in a record, under a count and a root that fit them."""
        kept: dict[str, Any] = {
            "count": len(states),
            "root": states_root(tuple(states)),
            "states": tuple(states),
            **fields,
        }
        return self.changed(at, **{f"checkpoints__{name}": value for name, value in kept.items()})

    def with_trace(self, content: bytes) -> Self:
        """Another trace, signed; running digests of states are left as they are."""
        return self.changed(trace__digest=sha256(content)).with_files({TRACE: content})

    def with_model(self, model: Tensors) -> Self:
        """Other weights signed for the last run, and its states as they are."""
        return self.changed(digest=tensors_digest(model)).with_files({MODEL: saved(model)})

    def retold(self, tale: Tale, *, reuse: Sequence[Reuse] | None = None, **changes: Any) -> Self:
        """Other weights, states, trace and work of the last run, consistently, and other fields of its record."""
        reused = tuple(self.record.reuse if reuse is None else reuse)
        fields: dict[str, Any] = {
            "trace__digest": sha256(tale.trace),
            "cost__thirds": tale.thirds(reused),
            "reuse": reused,
            **changes,
        }
        told = self.with_states(tale.states, buffers=tale.buffers).changed(digest=tale.digest, **fields)
        return told.without_states().with_files(tale.files)

    def then(self, told: Statement, tale: Tale) -> Self:
        """One more run at the end of the chain, with its files in the place of those of the run before."""
        found = self.without_states().with_files(tale.files)
        return replace(found, draft=replace(found.draft, chain=(*self.draft.chain, told)))

    def under(self, other: Story) -> Self:
        """The chain with another lineage's commitment at its beginning."""
        return replace(self, draft=replace(self.draft, chain=(other.draft.commit, *self.draft.chain[1:])))


def _with(value: Any, place: Sequence[str], new: Any) -> Any:
    """A value in which what stands at a place, by names of fields and numbers in tuples, is another."""
    if not place:
        return new
    if isinstance(value, tuple):
        return tuple(_with(one, place[1:], new) if at == int(place[0]) else one for at, one in enumerate(value))
    return replace(value, **{place[0]: _with(getattr(value, place[0]), place[1:], new)})


@dataclass(frozen=True, kw_only=True)
class RunStory(Story):
    """The story of a run that was carried out.

    ``note`` is the log's signed head from before the training, where the commitment stood there first.
    """

    run: Run
    data: Path
    salts: Path | None = None
    note: bytes | None = None

    @classmethod
    def of(cls, run: Run, key: SigningKey, data: Path, salts: Path | None = None) -> RunStory:
        """With what the run's folder keeps of earlier signatures."""
        note = _note(run).read_bytes() if _note(run).is_file() else None
        return cls(draft=drafted(run, key), run=run, data=data, salts=salts, note=note)

    @classmethod
    def unchecked(cls, run: Run, data: Path) -> RunStory:
        """The story of a training as its owner might tell it with tools that look after nobody."""
        lineage, at = Lineage.of(run), Time.now()
        trajectory, _ = trajectory_of(run, lineage.schedule)
        told = run_statement(run, lineage, (), asked_of(run, at), trajectory, at)
        chain = (commit_statement(run, at=at, afterwards=False), told)
        return cls(draft=Draft(chain=chain, files={**lineage_files(run), **tale_of(run).files}), run=run, data=data)

    @cached_property
    def tale(self) -> Tale:
        """Steps and states of the run as it was carried out."""
        return tale_of(self.run)

    def with_state(self, step: int, state: Tensors, shard: int = 0) -> RunStory:
        """Another state after so many steps of a shard, or one where none was kept, consistently."""
        told = self.tale.of_shard(shard)
        return self.retold(self.tale.with_shard(replace(told, states={**told.states, step: state})))


def drafted(run: Run, key: SigningKey, *, states: bool = True, progress: Progress | None = None) -> Draft:
    """All that a bundle of a run holds; only a commitment that stood in the log before is signed already."""
    chain = make_chain(run, key, Time.now(), progress)
    files = files_of(run, chain, model=True, checkpoints=states and chain.record.checkpoints is not None)
    first, *told = chain.links
    begun = first.envelope if _note(run).is_file() else None
    return Draft(chain=(begun or first.statement, *(link.statement for link in told)), files=files)


def _note(run: Run) -> Path:
    """Where the log's signed head was kept in which the commitment stood before the training, if it did."""
    runs = ancestry(run)
    return place_of(runs[beginning(runs)], CHECKPOINT)


def record_of(statement: Statement) -> RunRecord:
    """What a run's statement says."""
    assert isinstance(statement.predicate, RunRecord)
    return statement.predicate
