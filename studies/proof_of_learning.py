"""Proof-of-Learning as published, against forged logs and spoofs; and what a record of ours answers to the same.

Three questions on the built-in digits. Does the published verifier accept the logs of forgers who deny that somebody
was in the training, at its own tolerance of 0.008 × d_ref? Does it accept proofs of trainings that never were? And
does `verify` refuse all of them, and no honest record?

    python -m studies.proof_of_learning [--write] [--out FOLDER] [--jobs 2]

What is done already is kept in the folder and not done again. --write puts the results under studies/results.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.adversary.forging.forged_record import write_forged_record
from expunge.adversary.forging.forger import Forger
from expunge.adversary.forging.forgery import ForgedStep, Forgery, find_forger, find_target, steps_with
from expunge.adversary.forging.recorded_steps import step_states, training_of
from expunge.adversary.forging.replay_noise import ReplayNoise
from expunge.adversary.pol.attacks import SPOOFS
from expunge.adversary.pol.calibration import Calibration, calibrate
from expunge.adversary.pol.proof import Proof, prove
from expunge.adversary.pol.proof import forge as restate
from expunge.adversary.pol.replay import Distance, replayer
from expunge.adversary.pol.spoof import spoof
from expunge.adversary.pol.verdict import Mode, PolSegment
from expunge.adversary.pol.verify import replayed, settings_of, verify_proof
from expunge.attest.attest import attest
from expunge.cli.shared import progress_bar
from expunge.core.files import write_text
from expunge.core.hashing import canonical_json, plain_json, sha256, u64
from expunge.core.streams import Stream
from expunge.data.dataset import Dataset
from expunge.data.source import Source
from expunge.data.splits import Split
from expunge.records.form import to_plain
from expunge.records.keys import TRUSTED, keygen
from expunge.schedule.recipe import Calendar, Optimiser, OptimiserName
from expunge.train.examples import Examples
from expunge.train.profile import pinned
from expunge.train.run import Run
from expunge.train.training import find_device, train
from expunge.verify.verify import verify
from studies.proof_of_learning_figures import FORGERS, summarised, text_of, write

RESULTS = Path(__file__).parent / "results" / "proof_of_learning.json"
COMMAND = "python -m studies.proof_of_learning --write"
FORMAT = 1  # raised whenever a unit's result would come out otherwise, so that kept ones are made anew
PLAIN = {"rate": 0.01, "momentum": 0.0, "weight_decay": 0.0, "calendar": "constant"}
HONEST_KINDS: tuple[Mapping[str, Any], ...] = (
    {"model": "mlp", "model_options": {"width": 16}},
    {"model": "cnn", "model_options": {"width": 4}},
    {"model": "mlp", "model_options": {"width": 16, "norm": "batch"}, "optimiser": {"name": "adamw", "rate": 0.003}},
    {"model": "mlp", "model_options": {"width": 16}, "shards": 2, "slices": 2},
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A recipe, and how many logs of it are forged: ``targets`` for each forger and training seed.

    The published verifier refuses about one honest training in 25 for its initial weights. A log of such a training is
    no valid one to begin with, so there is a seed more than the 200 logs need.
    """

    name: str
    what: str
    seeds: int
    targets: int
    spoofs: bool
    batch_size: int
    epochs: int
    optimiser: Mapping[str, Any] = field(default_factory=dict[str, Any])
    candidates: int = 100
    interval: int = 10
    width: int = 8


SETTINGS = (
    Setting(
        name="plain-sgd",
        what="the setting of the forging paper: plain SGD at a small rate, batches of 64",
        seeds=11,
        targets=10,
        spoofs=True,
        batch_size=64,
        epochs=12,
        optimiser=PLAIN,
    ),
    Setting(
        name="momentum",
        what="this library's default: rate 0.05 along a cosine, momentum 0.9, batches of 64",
        seeds=5,
        targets=4,
        spoofs=False,
        batch_size=64,
        epochs=12,
    ),
    Setting(
        name="small-batches",
        what="the same with batches of 16, where one row weighs four times as much",
        seeds=5,
        targets=4,
        spoofs=False,
        batch_size=16,
        epochs=8,
    ),
)
HONEST = 200


@dataclass(frozen=True)
class Unit:
    """Something that is done in one go and kept: the forged logs of one training, or one honest record."""

    kind: str  # the name of a setting, or "honest"
    number: int
    described: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:03d}"

    @property
    def digest(self) -> str:
        return sha256(canonical_json({"format": FORMAT, "described": dict(self.described)})).hex()


def units(settings: Iterable[Setting] = SETTINGS, honest: int = HONEST) -> list[Unit]:
    """Everything that the study is made of."""
    found = [Unit(s.name, seed, described(s)) for s in settings for seed in range(s.seeds)]
    found += [Unit("honest", n, {"recipe": HONEST_KINDS[n % len(HONEST_KINDS)], "seed": n}) for n in range(honest)]
    return found


def described(setting: Setting) -> dict[str, Any]:
    """What a unit depends on: everything but how many others there are."""
    return {name: value for name, value in asdict(setting).items() if name != "seeds"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the results under studies/results")
    parser.add_argument("--out", type=Path, default=Path("runs") / "proof-of-learning", help="where units are kept")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args(arguments)
    found = carry_out(units(), options.out, options.jobs)
    results = summarised(found, [asdict(setting) for setting in SETTINGS], COMMAND)
    print(text_of(results))
    if options.write:
        write(results, found, RESULTS)
    return 0


def carry_out(wanted: Sequence[Unit], out: Path, jobs: int) -> list[dict[str, Any]]:
    """The results of all units, in their order; those that are kept already are read."""
    out.mkdir(parents=True, exist_ok=True)
    missing = [unit for unit in wanted if kept(unit, out) is None]
    with progress_bar("units") as moved:
        done = len(wanted) - len(missing)
        if jobs == 1:
            for unit in missing:
                carry_out_unit(unit, out)
                done += 1
                moved(done, len(wanted))
        elif missing:
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                for future in as_completed([pool.submit(carry_out_unit, unit, out) for unit in missing]):
                    future.result()
                    done += 1
                    moved(done, len(wanted))
    found = [kept(unit, out) for unit in wanted]
    return [result for result in found if result is not None]


def kept(unit: Unit, out: Path) -> dict[str, Any] | None:
    """The result of a unit that was done before in the same way; None else."""
    try:
        found = json.loads((out / f"{unit.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("digest") == unit.digest else None


def carry_out_unit(unit: Unit, out: Path) -> None:
    """Do a unit and keep its result; whatever else it writes is gone afterwards."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix=f".{unit.name}-", dir=out))
    try:
        work: Callable[[Unit, Path], dict[str, Any]] = honest_unit if unit.kind == "honest" else forged_unit
        result = {"unit": unit.name, "kind": unit.kind, "digest": unit.digest, **work(unit, folder)}
        write_text(out / f"{unit.name}.json", plain_json(result))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def forged_unit(unit: Unit, folder: Path) -> dict[str, Any]:
    """One training: its honest proof, its forged logs, and spoofs that end with its weights."""
    setting = Setting(seeds=1, **unit.described)
    run = train(
        "digits",
        out=folder / "run",
        model="cnn",
        model_options={"width": setting.width},
        epochs=setting.epochs,
        batch_size=setting.batch_size,
        optimiser=optimiser_of(setting.optimiser),
        checkpoint_interval=setting.interval,
        seed=unit.number,
    )
    data = run.data()
    rows = data[Split.TRAIN]
    calibration = calibrate(run, data=data)
    proof = prove(run, data=data)
    honest = verify_proof(proof, rows, mode=Mode.AS_PUBLISHED, delta=calibration.delta)
    order = Stream(sha256(b"studies/proof-of-learning", u64(unit.number)), "study/targets").words(len(rows))
    chosen = [rows.ids[slot] for slot in np.argsort(order, kind="stable")[: len(FORGERS) * setting.targets]]
    return {
        "seed": unit.number,
        "steps": len(proof.parts),
        "d_ref": calibration.d_ref,
        "distances": list(calibration.distances),
        "delta": calibration.delta,
        "honest_accepted": honest.accepted,
        "honest_p": min((honest.p_values or {"": 1.0}).values()),
        "logs": [
            forged_log(run, data, proof, calibration.delta, target, FORGERS[at % len(FORGERS)], setting)
            for at, target in enumerate(chosen)
        ],
        "spoofs": [spoofed(name, run, data, calibration, folder) for name in SPOOFS] if setting.spoofs else [],
    }


def replay_stated(proof: Proof, data: Dataset, steps: Sequence[int]) -> tuple[PolSegment, ...]:
    """The segments that these steps lie in, carried out again as they are stated: what the published verifier sees."""
    starts = [start for start, _ in proof.trajectory.segments]
    numbers = sorted({bisect_right(starts, step) - 1 for step in steps})
    runner = replayer(proof.recipe, Examples(proof.recipe, data, find_device("cpu")), settings_of(proof))
    return tuple(replayed(proof, number, runner, proof.plan, Distance.L2, published=True) for number in numbers)


def forged_log(
    run: Run, data: Mapping[Split, Dataset], proof: Proof, delta: float, target: str, method: str, setting: Setting
) -> dict[str, Any]:
    """A log that denies one row: what the published verifier, the mended one and ours at V1 answer."""
    rows = data[Split.TRAIN]
    forgery = forged(run, data, target, find_forger(method, setting.candidates, run.recipe.seed))
    log = restate(proof, {step.index: step.forged.slots for step in forgery.found if step.forged.slots is not None})
    published = verify_proof(log, rows, mode=Mode.AS_PUBLISHED, delta=delta)
    again = replay_stated(log, rows, [step.index for step in forgery.found])
    fixed = verify_proof(log, rows, mode=Mode.FIXED, delta=delta)
    step = [one.apart.l2 for one in forgery.found if one.apart is not None]
    with tempfile.TemporaryDirectory() as scratch:
        record = write_forged_record(forgery, Path(scratch) / "forged")
        ours = verify(record.bundle, keys=record.trusted, level="V1")
    return {
        "target": target,
        "forger": method,
        "steps": len(forgery.found),
        "step_l2_median": float(np.median(step)),
        "step_l2_most": max(step),
        "segment_l2_most": max(one.distance for one in again),
        "published": published.accepted,
        "published_reasons": list(published.reasons),
        "every_forged_segment_within_delta": all(one.distance <= delta for one in again),
        "fixed": fixed.accepted,
        "fixed_refused_by": [check.value for check in fixed.refused_by],
        "ours_v1": {"status": ours.status.value, "codes": [code.value for code in ours.codes]},
        "example_steps": forgery.example_steps,
    }


def forged(run: Run, data: Mapping[Split, Dataset], target: str, forger: Forger) -> Forgery:
    """What `forge_log` makes, without measuring replay noise at every step, which another study does."""
    rows = data[Split.TRAIN]
    training, slots = training_of(run, rows), find_target(run, rows, target)
    pool = np.setdiff1d(np.flatnonzero(training.examples.allowed), slots)
    touched = [step for _, step in steps_with(training, slots)]
    made: list[ForgedStep] = []
    for state in step_states(run, training, 0, touched):
        found = forger.batch(state, state.part.slots, pool)
        assert found.slots is not None, f"{forger.name} found nothing for step {state.index}"
        with pinned(state.recipe):
            after = state.after(found.slots, chairs=found.chairs, digests=True)
        made.append(
            ForgedStep(
                shard=0,
                index=state.index,
                epoch=state.part.epoch,
                batch=state.part.slots,
                forged=found,
                noise=ReplayNoise({}),
                apart=after.apart(state.honest),
                losses=after.losses,
                gradient=after.gradient,
            )
        )
    return Forgery(
        run=run, opened=data, target=target, slots=slots, forger=forger, touched=len(touched), steps=tuple(made)
    )


def spoofed(
    name: str, run: Run, data: Mapping[Split, Dataset], calibration: Calibration, folder: Path
) -> dict[str, Any]:
    """A proof of a training that never was, and our answer to a record of it at the level that must refuse it."""
    found = spoof(name, run, out=folder / name, data=data, calibration=calibration)
    level = found.expected[1]
    assert found.bundle is not None
    assert found.trusted is not None
    verdict = verify(found.bundle, keys=found.trusted, level=level, data="digits")
    shutil.rmtree(folder / name)
    return {
        "spoof": name,
        "steps": len(found.proof.parts),
        "states": len(found.proof.trajectory.steps),
        "work": found.work,
        "honest_work": found.honest_work,
        "published": found.published.accepted,
        "largest_distance": found.published.largest_distance,
        "delta": found.delta,
        "ours": verdict.status.value,
        "ours_level": level.name,
        "ours_codes": [code.value for code in verdict.codes],
    }


def honest_unit(unit: Unit, folder: Path) -> dict[str, Any]:
    """One honest training: its record at every level up to V3, and its proof in both modes."""
    fields = dict(unit.described["recipe"])
    optimiser = optimiser_of(fields.pop("optimiser", {}))
    source = Source(location="digits", rows=400)
    run = train(
        source,
        out=folder / "run",
        epochs=2,
        batch_size=16,
        checkpoint_interval=8,
        seed=unit.described["seed"],
        optimiser=optimiser,
        **fields,
    )
    keygen(folder / "keys", "study.example/log")
    attest(run, key=folder / "keys" / "private.pem", out=folder / "bundle", checkpoints=True)
    verdict = verify(folder / "bundle", keys=folder / "keys" / TRUSTED, level="V3", data="digits")
    data = run.data()
    proofs = [prove(run, shard=shard, data=data) for shard in range(run.recipe.shards)]
    published, fixed = (
        [verify_proof(proof, data[Split.TRAIN], mode=mode, delta=0.0) for proof in proofs] for mode in Mode
    )
    return {
        "seed": unit.described["seed"],
        "ours": verdict.status.value,
        "reached": None if verdict.reached is None else verdict.reached.name,
        "ours_findings": [
            to_plain(finding) for finding in verdict.findings if finding.outcome.value in ("refused", "undecided")
        ],
        "published": all(one.accepted for one in published),
        "published_reasons": [reason for one in published for reason in one.reasons],
        "fixed": all(one.accepted for one in fixed),
        "layers_with_a_law": sum(value < 1 for one in published for value in (one.p_values or {}).values()),
    }


def optimiser_of(fields: Mapping[str, Any]) -> Optimiser:
    """An optimiser from plain values."""
    found = dict(fields)
    if "calendar" in found:
        found["calendar"] = Calendar(found["calendar"])
    if "name" in found:
        found["name"] = OptimiserName(found["name"])
    return Optimiser(**found)


if __name__ == "__main__":
    raise SystemExit(main())
