"""``spoof``: a proof of learning of a training that never was, what the published verifier answers, and a record of it.

A record of ours about the same states is refused: ``infinitesimal`` at V1 (RECIPE_DEGENERATE: its recipe cannot move
weights), ``resorted-init`` at V2 (INIT_MISMATCH: the seed gives other initial weights), ``blindfold`` at V2
(REPLAY_STATE_MISMATCH: the steps give other states). It is signed with a key made for it, never with the owner's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

from expunge.adversary.pol.attacks import SPOOFS, Loot
from expunge.adversary.pol.calibration import Calibration, calibrate, final_state
from expunge.adversary.pol.folder import check_spoofable, write_spoofed_run
from expunge.adversary.pol.proof import Proof
from expunge.adversary.pol.verdict import Mode, PolVerdict
from expunge.adversary.pol.verify import verify_proof
from expunge.adversary.table.story import drafted
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.values import Progress
from expunge.core.wording import nearest
from expunge.data.splits import GivenData, Split
from expunge.records.bundle import write_folder
from expunge.records.draft import bundle_files, enter, sign
from expunge.records.keys import TRUSTED, KeyRole, signing_key, write_trusted
from expunge.records.limits import Code
from expunge.records.log import writing
from expunge.records.verdict import Level
from expunge.train.run import Run

ORIGIN = "spoof.invalid/throwaway"
BUNDLE, RUN, LOG = "bundle", "run", "log"
REFUSED_BY: dict[str, tuple[Code, Level]] = {
    "resorted-init": (Code.INIT_MISMATCH, Level.V2),
    "infinitesimal": (Code.RECIPE_DEGENERATE, Level.V1),
    "blindfold": (Code.REPLAY_STATE_MISMATCH, Level.V2),
}


@dataclass(frozen=True, kw_only=True)
class Spoof:
    """A spoofed proof. ``work`` is the training that went into it, ``honest_work`` what it claims, in example-steps.

    ``published`` is what the published verifier answers at ``delta`` = share × ``d_ref``. ``bundle`` and ``trusted``
    are the record of it and the list with its throwaway key, where they were asked for; ``expected`` is the code that
    our verifier refuses it with, and the level at which.
    """

    name: str
    proof: Proof
    work: float
    honest_work: float
    calibration: Calibration
    published: PolVerdict
    expected: tuple[Code, Level]
    bundle: Path | None = None
    trusted: Path | None = None

    @property
    def d_ref(self) -> float:
        return self.calibration.d_ref

    @property
    def delta(self) -> float:
        return self.calibration.delta


def spoof(
    name: str,
    run: Run,
    *,
    out: Path | None = None,
    seed: int = 0,
    data: GivenData = None,
    calibration: Calibration | None = None,
    progress: Progress | None = None,
    **settings: int,
) -> Spoof:
    """Make up a proof that ends with the weights of ``run``; nothing else of its training is used.

    ``settings`` are the spoof's own: ``interval`` for all, ``steps`` for infinitesimal, ``honest`` for blindfold. With
    ``out``, a new folder, a record of the made-up training is written there too: ``out/bundle`` and
    ``out/trusted.json``. ``calibration`` is measured by two further trainings in memory where it is not given.
    """
    if name not in SPOOFS:
        raise InvalidArgument(f"spoof {name!r} is not known: choose one of {', '.join(SPOOFS)}{nearest(name, SPOOFS)}")
    odd = sorted(set(settings) - set(signature(SPOOFS[name]).parameters))
    if odd:
        raise InvalidArgument(f"{name} has no setting {odd[0]!r}: leave it out, or choose another spoof")
    check_spoofable(run)
    if out is not None and out.exists():
        raise RunError(f"{out} exists: choose another `out` for the spoof, or remove it")
    opened = run.data(data)
    rows = opened[Split.TRAIN]
    calibration = calibration or calibrate(run, data=opened, progress=progress)
    loot = Loot(
        recipe=run.recipe,
        final=final_state(run),
        rows=rows,
        commitment=run.commitment,
        units=run.units,
        tombstones=run.tombstones,
        calibration=calibration,
        device=run.told.device,
    )
    made = SPOOFS[name](loot, seed=seed, progress=progress, **settings)
    proof = made.proof
    published = verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=calibration.delta, device=loot.device)
    bundle = trusted = None
    if out is not None:
        forged = write_spoofed_run(out / RUN, run, made, progress)
        bundle, trusted = _attested(out, forged, progress)
    return Spoof(
        name=name,
        proof=proof,
        work=made.work,
        honest_work=float(sum(len(part.slots) for part in proof.parts if part is not None)),
        calibration=calibration,
        published=published,
        expected=REFUSED_BY[name],
        bundle=bundle,
        trusted=trusted,
    )


def _attested(out: Path, run: Run, progress: Progress | None) -> tuple[Path, Path]:
    """Sign a record of the folder under a key that nobody has any reason to trust; attest would refuse some of them."""
    key = signing_key(secrets.token_bytes(32))
    signed = sign(drafted(run, key, progress=progress), key)
    with writing(out / LOG, ORIGIN) as log:
        head = enter(signed, key, log)
        write_folder(out / BUNDLE, bundle_files(signed, log.log, head))
    write_trusted(out / TRUSTED, [key.trusted(ORIGIN, role) for role in (KeyRole.OWNER, KeyRole.LOG)])
    return out / BUNDLE, out / TRUSTED
