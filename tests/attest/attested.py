"""Runs to attest: small ones, made once, with the keys of the tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.conftest import ORIGIN

from expunge.attest.attest import Attested, attest
from expunge.core.files import write_text
from expunge.core.hashing import parse_json, plain_json
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import open_bundle
from expunge.records.envelope import open_envelope
from expunge.records.form import to_plain
from expunge.records.keys import KeyRole, SigningKey, TrustedKey
from expunge.records.record import Commit, RunRecord
from expunge.records.statement import Statement, read_statement
from expunge.records.verdict import Status
from expunge.train.run import Run
from expunge.train.training import train
from expunge.verify.verify import verify

FIELDS: dict[str, Any] = {
    "model": "mlp",
    "model_options": {"norm": "batch", "width": 8},
    "epochs": 4,
    "batch_size": 16,
    "slices": 3,
    "checkpoint_interval": 4,
}


@dataclass(frozen=True)
class Desk:
    """A folder with runs, a key and a log."""

    folder: Path
    key: SigningKey
    data: Dataset

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def trusted(self) -> tuple[TrustedKey, ...]:
        return (self.key.trusted(ORIGIN, KeyRole.OWNER), self.key.trusted(ORIGIN, KeyRole.LOG))

    def train(self, name: str, **fields: Any) -> Run:
        return train(self.data, out=self.folder / name, **{**FIELDS, **fields})

    def unlearn(self, run: Run, forget: str | list[str], name: str, **given: Any) -> Run:
        return unlearn(run, forget, out=self.folder / name, data=self.data, **given)

    def attest(self, run: Run | Path, name: str = "bundle", **given: Any) -> Attested:
        return attest(run, **{"key": self.key, "log": self.log, "origin": ORIGIN, "out": self.folder / name, **given})

    def accepts(self, bundle: Path) -> bool:
        """Whether the verifier accepts a bundle at V1; what it refuses is shown."""
        verdict = verify(bundle, keys=self.trusted, level="V1")
        assert verdict.status is Status.ACCEPTED, [to_plain(finding) for finding in verdict.refusals]
        return True

    def opened(self, bundle: Path) -> tuple[Statement, ...]:
        """The statements of a bundle: commitment, parents in their order, and the run."""
        with open_bundle(bundle) as found:
            names = ["commit.json", *(n for n in found.names if n.startswith("parents/")), "envelope.json"]
            opened = [open_envelope(found.read(name), self.trusted, name) for name in names]
        by_digest = {one.digest: read_statement(one.payload) for one in opened}
        chain, at = [by_digest[opened[-1].digest]], opened[-1].digest
        while not isinstance(predicate := by_digest[at].predicate, Commit):
            at = predicate.parent
            chain.insert(0, by_digest[at])
        assert len(chain) == len(by_digest)
        return tuple(chain)

    def record(self, bundle: Path) -> RunRecord:
        """The record that a bundle is of."""
        predicate = self.opened(bundle)[-1].predicate
        assert isinstance(predicate, RunRecord)
        return predicate


def names(bundle: Path) -> set[str]:
    """Names of a bundle's files."""
    with open_bundle(bundle) as found:
        return set(found.names)


def unsigned(desk: Desk, runs: Sequence[Run], folder: Path) -> Desk:
    """A copy of some runs, each the parent of the next, without what was signed of them: for tests that alter files."""
    copy = replace(desk, folder=folder)
    for at, run in enumerate(runs):
        shutil.copytree(run.path, folder / run.path.name, ignore=shutil.ignore_patterns("record"))
        if at:
            place = {"path": str(folder / runs[at - 1].path.name), "relative": f"../{runs[at - 1].path.name}"}
            altered(folder / run.path.name, lambda manifest, place=place: manifest["parent"].update(place))
    return copy


def altered(run: Run | Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A run folder whose run.json somebody changed."""
    folder = run if isinstance(run, Path) else run.path
    manifest = parse_json((folder / "run.json").read_bytes())
    change(manifest)
    write_text(folder / "run.json", plain_json(manifest))
    return folder
