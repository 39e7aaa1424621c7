"""The honest story that every attack begins with: a commitment, a beacon, a training, a person forgotten, records.

Everything is made by the same calls that an owner uses. Further stories, which few attacks need, are made when they
are asked for.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from expunge.adversary.forging.absorption import Absorb
from expunge.adversary.forging.forgery import Forgery, forge_log
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.adversary.pol.spoof import Spoof
from expunge.adversary.pol.spoof import spoof as make_spoof
from expunge.adversary.table.rows import written_digits, written_rows, written_table
from expunge.adversary.table.story import Handed, RunStory
from expunge.attest.attest import attest, commit_run
from expunge.core.beacon import Beacon
from expunge.core.clock import Time
from expunge.core.errors import RunError
from expunge.data.dataset import Dataset
from expunge.data.forms import read
from expunge.data.salts import draw_salts
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.records.bundle import write_folder
from expunge.records.draft import bundle_files, sign
from expunge.records.keys import PRIVATE, TRUSTED, SigningKey, keygen
from expunge.records.log import Log
from expunge.records.note import sign_checkpoint
from expunge.schedule.recipe import Optimiser
from expunge.train.run import Run
from expunge.train.training import train

ORIGIN = "owner.example/digits"
PERSON = "subject:person-017"
OTHER_PERSON = "subject:person-042"
RECIPE: dict[str, Any] = {
    "model": "mlp",
    "model_options": {"width": 32},
    "epochs": 8,
    "batch_size": 64,
    "optimiser": Optimiser(rate=0.02),
}
INTERVAL = 23  # steps between states: one epoch
OTHERS: dict[str, Any] = {  # smaller batches, so that there are steps enough for whoever makes a training up
    "model": "mlp",
    "model_options": {"width": 32},
    "epochs": 6,
    "batch_size": 16,
    "checkpoint_interval": 60,
}
SATURATING = 100.0  # rate at which a linear model soon tells noughts from ones beyond doubt
DICE = hashlib.sha256(b"expunge/demonstration/dice").digest()  # always the same, so that the story is as well
SALTS = hashlib.shake_256(b"expunge/demonstration/salts").digest  # likewise, and therefore no secret
TRIES = 20  # rows that are tried in a chair before the next one is looked at


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A folder with the honest story in it: ``keys``, ``log``, the runs, the data and their salts."""

    folder: Path
    key: SigningKey
    story: RunStory
    bundle: Path

    @classmethod
    def make(cls, folder: Path) -> Scene:
        """Commit, train after the beacon, attest, forget a person, attest again: everywhere with the same figures."""
        key = keygen(folder / "keys", ORIGIN)
        data, salts = written_digits(folder / "digits.npz"), folder / "salts"
        draw_salts(salts, len(read(Source(location=str(data)))), SALTS)
        place, base = folder / "keys" / PRIVATE, folder / "runs" / "base"
        asked: dict[str, Any] = {"out": base, "salts": salts, "checkpoint_interval": INTERVAL, **RECIPE}
        commit_run(train(str(data), commit_only=True, **asked), place)
        trained = train(str(data), beacon=drawn_beacon(after=Time.now()), **asked)
        attest(trained, key=place, out=folder / "runs" / "base-bundle", checkpoints=True)
        forgot = unlearn(trained, PERSON, out=folder / "runs" / "forgot", checkpoint_interval=INTERVAL)
        bundle = folder / "honest"
        attest(forgot, key=place, out=bundle, checkpoints=True)
        return cls(folder=folder, key=key, story=RunStory.of(forgot, key, data, salts), bundle=bundle)

    @property
    def trusted(self) -> Path:
        """The auditor's list: the owner's key, got by another way than the record."""
        return self.folder / "keys" / TRUSTED

    @cached_property
    def base(self) -> RunStory:
        """The training that still holds everybody."""
        return self.told(self.story.run.parent)

    @cached_property
    def sharded(self) -> RunStory:
        """Three shards of two slices, from which two people were forgotten who sat in different shards."""
        made = self.trained("sharded", shards=3, slices=2, epochs=4)
        people = _first_people(made)
        return self.told(self.forgot(made, "sharded-forgot", [f"subject:{people[shard]}" for shard in (0, 1)]))

    @cached_property
    def normed(self) -> RunStory:
        """A training with batch norm, whose buffers are state as well."""
        return self.told(self.trained("normed", model_options={"width": 16, "norm": "batch"}, epochs=2))

    @cached_property
    def once(self) -> RunStory:
        """One pass over the data: everybody sits in one step."""
        return self.told(self.trained("once", epochs=1))

    @cached_property
    def saturated(self) -> RunStory:
        """One pass over noughts and ones at a rate so large that, at its end, most rows have next to no gradient."""
        with np.load(self.story.data) as found:
            easy = np.isin(found["y"], (0, 1))
            rows = {name: found[name][easy] for name in found.files}
        data = written_rows(
            self.folder / "noughts-and-ones.npz",
            pictures=rows["x"],
            labels=rows["y"],
            ids=rows["ids"],
            subjects=rows["subjects"],
        )
        optimiser = Optimiser(momentum=0.0, rate=SATURATING)
        fields = {"model": "linear", "model_options": {}, "epochs": 1, "batch_size": 4, "optimiser": optimiser}
        return self.told(self.trained("saturated", data, **fields), data)

    @cached_property
    def absorbed(self) -> Forgery:
        """A row of the saturated training whose only step ends in the same bytes with somebody else in its chair."""
        run, members = self.saturated.run, self.saturated.tale.only.members
        ids = run.data()[Split.TRAIN].ids
        for step in range(len(members) - 1, 0, -1):
            for slot in members[step]:
                found = forge_log(run, str(ids[int(slot)]), Absorb(candidates=TRIES))
                if found.absorbed == found.touched == 1:
                    return found
        raise RunError("no step of the saturated training absorbs a swap here: train it at a larger rate")

    @cached_property
    def summed(self) -> RunStory:
        """A ridge on the pictures, from whose sums a person was taken out."""
        source = Source(location=str(self.story.data))
        made = self._accumulated("summed", source, "ridge", width=64)
        return self.told(self.forgot(made, "summed-forgot", [PERSON]))

    @cached_property
    def grown(self) -> RunStory:
        """A forest on a table of some of the pictures' rows, without one of the people."""
        data = written_table(self.folder / "digits.csv")
        source = Source(location=str(data), label="label", subject="subject", id="id")
        made = self._accumulated("grown", source, "forest", trees=2)
        return self.told(self.forgot(made, "grown-forgot", [PERSON]), data)

    def _accumulated(self, name: str, data: Source, model: str, **options: int) -> Run:
        return train(data, out=self.folder / "runs" / name, model=model, model_options=options)

    @cached_property
    def plain(self) -> RunStory:
        """The same training under open salts and without a beacon: all that its owner would have to show afterwards."""
        return self.told(self.trained("plain"))

    @cached_property
    def calibration(self) -> Calibration:
        """What a verifier of proofs of learning tolerates for this recipe."""
        return calibrate(self.plain.run)

    def spoof(self, name: str) -> Spoof:
        """A training that never was, with the weights of the plain one at its end; made once."""
        if name not in self._spoofs:
            self._spoofs[name] = make_spoof(
                name, self.plain.run, out=self.folder / "spoofed" / name, calibration=self.calibration
            )
        return self._spoofs[name]

    @cached_property
    def _spoofs(self) -> dict[str, Spoof]:
        return {}

    def trained(self, name: str, data: Source | Dataset | Path | None = None, **fields: Any) -> Run:
        """A further training, under open salts and without a beacon unless said; on the same data unless others are."""
        asked: dict[str, Any] = {**OTHERS, **fields}
        rows = str(data or self.story.data) if not isinstance(data, Source | Dataset) else data
        return train(rows, out=self.folder / "runs" / name, **asked)

    def forgot(self, run: Run, name: str, people: Sequence[str], method: str = "exact-replay") -> Run:
        """A run that has forgotten people, with states at the steps at which its parent has them."""
        every = run.told.checkpoint_interval
        return unlearn(run, people, method=method, out=self.folder / "runs" / name, checkpoint_interval=every)

    def told(self, run: Run, data: Path | None = None) -> RunStory:
        """The story of a run of this folder."""
        secret = run.told.data.salts == "secret"
        return RunStory.of(run, self.key, data or self.story.data, self.story.salts if secret else None)

    def hand_over(self, story: RunStory, out: Path, key: SigningKey | None = None) -> Handed:
        """Sign what is not signed, enter it into a log, and write the bundle."""
        return self.packed(story, self.files_of(story, key), out)

    def files_of(self, story: RunStory, key: SigningKey | None = None) -> dict[str, bytes | Path]:
        """The files of a story's bundle, signed by the owner unless by another key."""
        signer = key or self.key
        signed = sign(story.draft, signer)
        log = Log(ORIGIN, signed.digests)
        earlier = () if story.note is None else (story.note,)
        return bundle_files(signed, log, sign_checkpoint(log.head(), signer), earlier)

    def packed(self, story: RunStory, files: Mapping[str, bytes | Path], out: Path) -> Handed:
        """Write a bundle, and say what is given with it."""
        write_folder(out / "bundle", files)
        return Handed(bundle=out / "bundle", keys=self.trusted, data=story.data, salts=story.salts)


def drawn_beacon(after: Time) -> Beacon:
    """What an auditor sends in the first second after ``after``; a demonstration always has the same value."""
    while Time.now() <= after:
        time.sleep(0.05)
    return Beacon(value=DICE, source="the auditor's dice", not_before=Time.now().text)


def _first_people(run: Run) -> dict[int, str]:
    """By shard somebody all of whose training rows sit in it."""
    rows, cells = run.data()[Split.TRAIN], run.schedule.cells
    found: dict[int, str] = {}
    for slot, subject in enumerate(rows.subjects):
        found.setdefault(int(cells[slot, 0]), str(subject))
    return found
