"""An approximate method carried out again from its parent's model: no trajectory is on record to draw from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from expunge.core.errors import RunError
from expunge.core.values import Certified, Empirical, Exact, Progress
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods import METHODS
from expunge.methods.contract import Method, Need, Parent
from expunge.methods.given import calibration_of
from expunge.methods.lookup import made_from, offered_method
from expunge.models.resolver import build_empty
from expunge.records.catalogue import CERTIFIED_METHODS
from expunge.records.limits import Code, refused
from expunge.records.record import Algorithm, GuaranteeKind, RunRecord
from expunge.train.examples import Examples
from expunge.train.loading import assemble
from expunge.train.profile import pinned
from expunge.train.state import load_weights, weights_digest
from expunge.verify.levels.environment import NOT_DETERMINISTIC, NOT_EXACT
from expunge.verify.levels.execution import CANNOT, why_not
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, LeftUndecided
from expunge.verify.state_files import StateFiles

REAL = re.compile(r"-?0x[01]\.[0-9a-f]+p[+-][0-9]+\Z")


def check_method(
    opened: OpenedRecord,
    rows: Mapping[Split, Dataset],
    files: StateFiles,
    device: torch.device,
    noise: np.ndarray | None,
) -> str:
    """Carry the method out with the fields, seed and budget of the record; the weights must be those it names."""
    return _Again(opened, rows, files, device, noise).check()


@dataclass(frozen=True)
class _Came:
    """What a method came to: digest of the weights, and what it says of them itself.

    ``failed`` says why it came to nothing; there are no weights then.
    """

    weights: str = ""
    failed: str | None = None
    guarantee: Exact | Certified | Empirical | None = None


class _Again:
    """One method, one parent, one forget set."""

    def __init__(
        self,
        opened: OpenedRecord,
        rows: Mapping[Split, Dataset],
        files: StateFiles,
        device: torch.device,
        noise: np.ndarray | None,
    ) -> None:
        self._opened, self._rows, self._files, self._device = opened, rows, files, device
        self._noise = noise

    def check(self) -> str:
        """What was carried out; refused where it gives other weights than the record names."""
        algorithm, parent = self._opened.record.algorithm, self._opened.parent
        if parent is None:
            raise EvidenceMissing(f"no record of the run that {algorithm.name!r} started from is in the bundle")
        record = cast("RunRecord", parent.predicate)
        method = method_of(algorithm)
        forget = np.setdiff1d(self._opened.tombstones, np.array(record.data.tombstones, dtype=np.int64))
        self._check_evidence(method, record, forget)
        weights = self._files.parent_model(parent.digest)
        if weights is None:
            raise EvidenceMissing(
                f"{algorithm.name} started from the weights {parent.digest.hex()[:16]}… of the run before, which are "
                "not here: once that run is retired this is as it should be, and nothing above V1 can be decided; "
                "while it is kept for auditors, give the folder with its model.safetensors with `checkpoints` DIR"
            )
        model = self._model(weights, record)
        came = self._carry_out(method, model, record, forget, self._opened.supplied.progress)
        found = came.weights
        if found != self._opened.run.digest.hex():
            if self._carry_out(method, model, record, forget, None) != came:
                raise LeftUndecided(
                    NOT_DETERMINISTIC,
                    f"{algorithm.name} gave different weights here when it was carried out twice: nothing computed on "
                    "this machine can be compared",
                )
            gives = f"gives weights {found[:16]}…" if came.failed is None else f"comes to no weights ({came.failed})"
            if all(method.name != algorithm.name for method in METHODS):
                raise LeftUndecided(
                    NOT_EXACT,
                    f"{algorithm.name} {gives} here and not those of the record, and nothing says that the bits of a "
                    "method that is not built in repeat from process to process",
                )
            raise refused(
                Code.REPLAY_STATE_MISMATCH,
                f"{algorithm.name} with the fields of the record {gives} here, twice the same, the record names "
                f"{self._opened.run.digest.hex()[:16]}…: something else was done",
            )
        self._check_earned(came.guarantee)
        return f"{algorithm.name} carried out again on {len(forget)} forgotten rows: the weights are {found[:16]}…"

    def _check_earned(self, earned: Exact | Certified | Empirical | None) -> None:
        """What the method says of its own result here is what the record says of it; less may always be said."""
        signed = self._opened.record.guarantee
        if signed.kind is not GuaranteeKind.CERTIFIED:  # V1 lets no method of this kind be called exact
            return
        if not isinstance(earned, Certified) or (earned.epsilon, earned.delta) != (signed.epsilon, signed.delta):
            raise refused(
                Code.GUARANTEE_TOO_HIGH,
                f"the record calls the result {signed.kind.value}, and {self._opened.record.algorithm.name} itself "
                f"calls it {type(earned).__name__.lower()} here: it was not earned",
            )

    def _check_evidence(self, method: Method, record: RunRecord, forget: np.ndarray) -> None:
        """What the method reads must be at hand."""
        gone = forget[~self._rows[Split.TRAIN].present[forget]]
        if Need.FORGET in method.needs and len(gone):
            raise EvidenceMissing(
                f"{method.name} reads the forgotten rows, and {len(gone)} of {len(forget)} are gone from the data: "
                "once they are erased this is as it should be, and nothing above V1 can be decided"
            )
        if method.name in CERTIFIED_METHODS and record.algorithm.name in CERTIFIED_METHODS:
            raise EvidenceMissing(
                f"{method.name} goes on from the account of an earlier removal, which no record holds: verify the "
                "first removal, or retrain"
            )
        if self._opened.record.randomness.request_seed is None:
            raise EvidenceMissing(f"the record names no seed for {method.name}, so its draws cannot be made again")

    def _model(self, weights: dict[str, torch.Tensor], record: RunRecord) -> nn.Module:
        recipe = self._opened.recipe
        members = [build_empty(recipe) if shard in record.alive else None for shard in range(recipe.shards)]
        model = assemble(recipe, list(members))
        try:
            load_weights(model, weights, "the parent's model.safetensors")
        except RunError as error:
            raise refused(
                Code.REPLAY_STATE_MISMATCH,
                f"the weights that the parent's record was signed for are none of the recipe's model ({error}): no "
                "method can have started from them",
            ) from None
        return model.to(self._device).eval()

    def _carry_out(
        self, method: Method, model: nn.Module, record: RunRecord, forget: np.ndarray, progress: Progress | None
    ) -> _Came:
        """What comes out, or why nothing does."""
        opened, seed = self._opened, self._opened.record.randomness.request_seed
        assert opened.parent is not None
        assert seed is not None
        released = {split.value: slots for split, slots in opened.released.items()}
        parent = Parent(
            recipe=opened.recipe,
            schedule=opened.schedule,
            root=opened.committed.data.root,
            beacon=opened.record.randomness.beacon.value,
            units=opened.units,
            tiers=opened.tiers,
            examples=Examples(opened.recipe, self._rows[Split.TRAIN], self._device),
            calibration=calibration_of(opened.recipe, self._rows, released, self._device),
            model=model,
            weights_digest=opened.parent.digest.hex(),
            emptied=np.array(record.data.tombstones, dtype=np.int64),
            noise=self._noise,
        )
        try:
            with pinned(opened.recipe):
                result = method(parent, forget, budget=opened.record.algorithm.budget, seed=seed, progress=progress)
                return _Came(weights_digest(result.model), guarantee=result.guarantee)
        except CANNOT as error:
            return _Came(failed=why_not(error))


def method_of(algorithm: Algorithm) -> Method:
    """The method with the fields that were signed. A foreign one is loaded only after its code was trusted."""
    fields = {name: _field(value) for name, value in algorithm.fields.items()}
    built_in = next((method for method in METHODS if method.name == algorithm.name), None)
    try:
        return made_from(built_in or offered_method(algorithm.name), fields)
    except CANNOT as error:
        raise refused(Code.REPLAY_STATE_MISMATCH, f"no such method can have run: {error}") from None


def _field(value: Any) -> Any:
    """Reals are signed as C99 hex strings."""
    if isinstance(value, str) and REAL.match(value):
        return float.fromhex(value)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
