"""A lineage as its owner honestly made it, and the drafts that can be made of what is to be signed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from expunge.adversary.table.retelling import Tale, saved, tale_of
from expunge.attest.asked import asked_of
from expunge.attest.chain import ancestry, beginning, make_chain
from expunge.attest.described import Lineage, commit_statement, run_statement
from expunge.attest.kept import CHECKPOINT, place_of
from expunge.attest.trajectory import trajectory_of
from expunge.core.clock import Time
from expunge.core.hashing import canonical_json
from expunge.data.stored import LEAVES
from expunge.records.bundle import ASSIGNMENT, MODEL, UNITS
from expunge.records.draft import Draft
from expunge.records.keys import SigningKey
from expunge.records.record import Reuse, RunRecord
from expunge.records.statement import Statement
from expunge.train.run import Run
from expunge.train.state import Tensors, tensors_digest


@dataclass(frozen=True, kw_only=True)
class Handed:
    """What an auditor is given, and the list of keys that they hold themselves."""

    bundle: Path
    keys: Path
    data: Path
    salts: Path | None = None
    known_checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Story:
    """A lineage as it was honestly made, and what is to be signed of its last run.

    ``statements`` are the commitment and every run, oldest first. ``committed`` is the commitment's envelope where it
    stood in the log before the training, ``note`` the log's signed head at that time.
    """

    run: Run
    statements: tuple[Statement, ...]
    data: Path
    salts: Path | None = None
    committed: bytes | None = None
    note: bytes | None = None

    @classmethod
    def of(cls, run: Run, key: SigningKey, data: Path, salts: Path | None = None) -> Story:
        """The story of a run, with what its folder keeps of earlier signatures."""
        chain, runs = make_chain(run, key, Time.now()), ancestry(run)
        note = place_of(runs[beginning(runs)], CHECKPOINT)
        return cls(
            run=run,
            statements=tuple(link.statement for link in chain.links),
            data=data,
            salts=salts,
            committed=chain.links[0].envelope if note.is_file() else None,
            note=note.read_bytes() if note.is_file() else None,
        )

    @classmethod
    def unchecked(cls, run: Run, data: Path) -> Story:
        """The story of a training as its owner might tell it with tools that look after nobody."""
        lineage, at = Lineage.of(run), Time.now()
        trajectory, _ = trajectory_of(run, lineage.schedule)
        told = run_statement(run, lineage, (), asked_of(run, at), trajectory, at)
        return cls(run=run, statements=(commit_statement(run, at=at, afterwards=False), told), data=data)

    @property
    def statement(self) -> Statement:
        """What is said of the last run."""
        return self.statements[-1]

    @property
    def record(self) -> RunRecord:
        return record_of(self.statement)

    @cached_property
    def tale(self) -> Tale:
        """Steps and states of the last run."""
        return tale_of(self.run)

    @property
    def files(self) -> dict[str, bytes | Path]:
        """What a bundle holds of the lineage itself: recipe, leaves, splits and units."""
        found: dict[str, bytes | Path] = {"recipe.json": canonical_json(self.run.recipe.as_json())}
        return found | {name: self.run.path / name for name in (*LEAVES.values(), ASSIGNMENT, UNITS)}

    def draft(self, *runs: Statement, files: Mapping[str, bytes | Path] | None = None) -> Draft:
        """The chain from this lineage's commitment on, with other runs after it if any are given."""
        first: Statement | bytes = self.statements[0] if self.committed is None else self.committed
        return Draft(
            chain=(first, *(runs or self.statements[1:])),
            files={**self.files, **(self.tale.files if files is None else files)},
        )

    def under(self, other: Story) -> Draft:
        """The chain with another lineage's commitment at its beginning."""
        draft = self.draft()
        return replace(draft, chain=(other.draft().commit, *draft.chain[1:]))

    def retold(self, tale: Tale, *, reuse: Sequence[Reuse] | None = None, **changes: object) -> Draft:
        """The chain with another tale of its last run, and other fields of its record."""
        told = changed(tale.told_in(self.statement, self.record.reuse if reuse is None else reuse), **changes)
        return self.draft(*self.statements[1:-1], told, files=tale.files)

    def with_model(self, model: Tensors) -> Draft:
        """The chain with other weights signed for its last run, and its states as they are."""
        told = replace(self.statement, digest=tensors_digest(model))
        return self.draft(*self.statements[1:-1], told, files={**self.tale.files, MODEL: saved(model)})

    def restated(self, **changes: object) -> Draft:
        """The chain with other fields in the record of its last run, and nothing else changed."""
        return self.draft(*self.statements[1:-1], changed(self.statement, **changes))


def record_of(statement: Statement) -> RunRecord:
    """What a run's statement says."""
    assert isinstance(statement.predicate, RunRecord)
    return statement.predicate


def changed(statement: Statement, **changes: Any) -> Statement:
    """The statement of a run with other fields in its record."""
    return replace(statement, predicate=replace(record_of(statement), **changes))
