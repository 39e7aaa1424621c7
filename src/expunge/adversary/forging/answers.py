"""What verifiers answer about a forged log: that of Proof-of-Learning as published, and that of records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from expunge.adversary.forging.forged_record import ForgedRecord
from expunge.adversary.forging.forgery import Forgery
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.adversary.pol.proof import forge as forge_proof
from expunge.adversary.pol.proof import prove, published_hash
from expunge.adversary.pol.verdict import Mode, PolVerdict
from expunge.adversary.pol.verify import verify_proof
from expunge.core.values import Progress
from expunge.data.dataset import ColumnKind, Dataset
from expunge.data.encoding import Encoding
from expunge.data.splits import SPLITS, Split
from expunge.records.verdict import Level, Status, Verdict
from expunge.train.run import Run
from expunge.verify.verify import verify


@dataclass(frozen=True, kw_only=True)
class VerifierAnswers:
    """``published`` is by shard; ``verdicts`` are those of ``verify`` from V1 up to the level that refuses."""

    calibration: Calibration
    published: Mapping[int, PolVerdict]
    verdicts: tuple[Verdict, ...]

    @property
    def deceived(self) -> bool:
        """Whether the published verifier takes the forged log for true."""
        return all(verdict.accepted for verdict in self.published.values())

    @property
    def refused(self) -> bool:
        """Whether ``verify`` refuses the forged record."""
        return self.verdicts[-1].status is Status.REFUSED


def published_answer(forgery: Forgery, calibration: Calibration) -> dict[int, PolVerdict]:
    """What the published verifier says of the forged batches, shard by shard; it believes the rows it is handed."""
    rows = altered_rows(forgery)[Split.TRAIN]
    found: dict[int, PolVerdict] = {}
    for shard in sorted({step.shard for step in forgery.steps}):
        own = [step for step in forgery.found if step.shard == shard]
        proof = forge_proof(
            prove(forgery.run, shard=shard, data=dict(forgery.opened)),
            {step.index: step.forged.slots for step in own if step.forged.slots is not None},
        )
        proof = replace(proof, data_hash=published_hash(rows))
        found[shard] = verify_proof(
            proof,
            rows,
            mode=Mode.AS_PUBLISHED,
            delta=calibration.delta,
            device=forgery.run.told.device,
        )
    return found


def ask(
    forgery: Forgery,
    record: ForgedRecord,
    *,
    salts: Path | str | None = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
) -> VerifierAnswers:
    """Ask both verifiers; ``calibration`` is measured by further trainings where it is not given."""
    run = forgery.run
    found = calibration or calibrate(run, data=dict(forgery.opened), progress=progress)
    data = together(altered_rows(forgery), run.commitment.assignment)
    verdicts = up_to(record.level, record.bundle, record.trusted, data, salts_of(run, salts))
    return VerifierAnswers(calibration=found, published=published_answer(forgery, found), verdicts=verdicts)


def up_to(level: Level, bundle: Path, trusted: Path, data: Dataset, salts: Path | str | None) -> tuple[Verdict, ...]:
    """What ``verify`` answers at V1, and at a higher level where that is the one asked for."""
    found = [verify(bundle, keys=trusted, level=Level.V1)]
    if level > Level.V1:
        found.append(verify(bundle, keys=trusted, level=level, data=data, salts=salts))
    return tuple(found)


def salts_of(run: Run, moved: Path | str | None) -> Path | str | None:
    """Where the salt file of a run lies, if it has one."""
    return moved or run.told.data.salt_file


def altered_rows(forgery: Forgery) -> Mapping[Split, Dataset]:
    """The data with the contents that the forger altered; of a row that was altered twice, the first."""
    contents: dict[int, np.ndarray] = {}
    for step in forgery.found:
        contents = {**step.forged.contents, **contents}
    if not contents:
        return forgery.opened
    train = with_encoded(forgery.opened[Split.TRAIN], forgery.run.recipe.inputs, contents)
    return {**forgery.opened, Split.TRAIN: train}


def with_encoded(rows: Dataset, encoding: Encoding, contents: Mapping[int, np.ndarray]) -> Dataset:
    """Rows with encoded contents put back into their columns. Hashed columns cannot be put back and must not occur."""
    assert not encoding.hashed
    content = {name: values.copy() for name, values in rows.content.items()}
    for slot, encoded in contents.items():
        if encoding.is_image:
            column = encoding.columns[0]
            axes = {"HW": encoded[0], "HWC": encoded.transpose(1, 2, 0), "CHW": encoded}
            content[column.name][slot] = axes[column.layout].astype(content[column.name].dtype)
            continue
        start = 0
        for column in encoding.columns:
            width = int(np.prod(column.shape, dtype=np.int64))
            values = encoded[start : start + width].reshape(column.shape)
            kind = content[column.name].dtype
            whole = column.kind is ColumnKind.IMAGE or kind.kind in "iu"
            content[column.name][slot] = (values.round() if whole else values).astype(kind)
            start += width
    return replace(rows, content=content)


def together(opened: Mapping[Split, Dataset], assignment: np.ndarray) -> Dataset:
    """The rows of all splits in the order of their source; those that are gone are left out."""
    parts = [opened[split] for split in SPLITS]
    places = np.concatenate([np.flatnonzero(assignment == split.code) for split in SPLITS])
    first = parts[0]
    whole = replace(
        first,
        ids=tuple(name for part in parts for name in part.ids),
        subjects=tuple(name for part in parts for name in part.subjects),
        labels=np.concatenate([part.labels for part in parts]),
        content={name: np.concatenate([part.content[name] for part in parts]) for name in first.content},
        present=np.concatenate([part.present for part in parts]),
    )
    order = np.argsort(places, kind="stable")
    return whole.take(order[whole.present[order]])
