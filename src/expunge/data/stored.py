"""The commitment as files of a run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import read_bytes, write_bytes
from expunge.core.hashing import sha256, slot_bytes
from expunge.core.merkle import DIGEST_BYTES
from expunge.data.commitment import Commitment
from expunge.data.splits import SPLITS, Split
from expunge.records.bundle import TIERS, UNITS
from expunge.records.run_file import Roots

LEAVES = {Split.TRAIN: "leaves.bin", Split.CALIBRATION: "leaves-calibration.bin", Split.HOLDOUT: "leaves-holdout.bin"}


def write_commitment(path: Path, commitment: Commitment, units: np.ndarray, tiers: np.ndarray | None = None) -> None:
    """Leaves, splits and units, with their tiers where they have some: what a run keeps instead of the data."""
    write_bytes(path / "assignment.bin", commitment.assignment.astype(np.uint8).tobytes())
    for split in SPLITS:
        write_bytes(path / LEAVES[split], b"".join(commitment.leaves[split.code]))
    write_bytes(path / UNITS, slot_bytes(units))
    if tiers is not None:
        write_bytes(path / TIERS, slot_bytes(tiers))


def read_commitment(path: Path, roots: Roots) -> Commitment:
    """Leaves and splits; their roots must be those that were announced."""
    assignment = np.frombuffer(read_bytes(path / "assignment.bin", "the run"), dtype=np.uint8)
    leaves: list[tuple[bytes, ...]] = []
    for split in SPLITS:
        content = read_bytes(path / LEAVES[split], "the run")
        leaves.append(tuple(content[at : at + DIGEST_BYTES] for at in range(0, len(content), DIGEST_BYTES)))
    commitment = Commitment(assignment, tuple(leaves))
    counted = [int((assignment == split.code).sum()) for split in SPLITS]
    found = {split.value: root.hex() for split, root in commitment.roots.items()}
    if (
        found != {name: getattr(roots, name) for name in found}
        or counted != [len(kept) for kept in leaves]
        or sum(counted) != len(assignment)
    ):
        raise RunError(f"{path}: the leaves do not match their roots: files of the run were altered; restore them")
    return commitment


def roots_of(commitment: Commitment) -> Roots:
    """Its roots as files have them."""
    train, calibration, holdout = (commitment.roots[split].hex() for split in SPLITS)
    return Roots(train=train, calibration=calibration, holdout=holdout)


def read_units(path: Path) -> np.ndarray:
    """Unit of every training slot."""
    units = _numbers(path / UNITS, "slot")
    if len(units) and not 0 <= int(units.min()) <= int(units.max()) < len(units):
        raise RunError(f"{path / UNITS} numbers more units than there are slots: it was altered; restore it")
    return units


def read_tiers(path: Path, digest: str) -> np.ndarray:
    """Tier of every unit; they must be those of the recipe."""
    tiers = _numbers(path / TIERS, "unit")
    if sha256(slot_bytes(tiers)).hex() != digest:
        raise RunError(
            f"{path / TIERS} does not hold the tiers {digest[:12]}… of the recipe: it was altered; restore it"
        )
    return tiers


def _numbers(place: Path, of: str) -> np.ndarray:
    content = read_bytes(place, "the run")
    if len(content) % 8:
        raise RunError(f"{place} has {len(content)} bytes, not 8 for each {of}: it was altered; restore it")
    return np.frombuffer(content, dtype="<u8").astype(np.int64)
