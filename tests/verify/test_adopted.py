"""Records of models that were trained elsewhere: as far as they go, and no further."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.train import elsewhere
from tests.train.elsewhere import FACTORY
from tests.verify.lineages import OWNER, Lineage, small_recipe
from tests.verify.records import codes, trained, verdict

from expunge.adversary.table.story import RunStory
from expunge.data.dataset import Dataset
from expunge.data.encoding import Preparation
from expunge.methods.unlearn import unlearn
from expunge.records.catalogue import Execution
from expunge.records.record import GuaranteeKind, GuaranteePart, Operation
from expunge.records.scalars import Large
from expunge.records.verdict import FindingOutcome, Level, Status
from expunge.train.adopt import adopt
from expunge.train.run import Run

EXACT = GuaranteePart(kind=GuaranteeKind.EXACT)


@dataclass(frozen=True)
class Adopted:
    """A model, what was made of it, and an owner's retraining."""

    place: Path
    data: Path
    base: Run
    forgot: Run
    retrained: Run

    def story(self, run: Run) -> RunStory:
        return RunStory.of(run, OWNER, self.data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, pictures_like: Any) -> Adopted:
    place = tmp_path_factory.mktemp("adopted-records")
    rows: Dataset = elsewhere.as_arrays(pictures_like(rows=140, people=14, seed=9))
    data, holdout = rows.take(np.arange(100)), rows.take(np.arange(100, 140))
    files = [
        str(elsewhere.as_npz(part, place / f"{name}.npz")) for name, part in (("data", data), ("holdout", holdout))
    ]

    def of(name: str, kept: Dataset, **given: Any) -> Run:
        model = elsewhere.trained(kept, epochs=2)
        return adopt(model, files[0], model=FACTORY, holdout=files[1], out=place / name, scale=1 / 255, **given)

    base = of("base", data)
    forgot = unlearn(base, "subject:someone-00", method="fine-tune", out=place / "forgot")
    retrained = of("retrained", data.take(np.arange(10, 100)), without="subject:someone-00")
    return Adopted(place, Path(files[0]), base, forgot, retrained)


@pytest.mark.parametrize("name", ["base", "forgot", "retrained"])
def test_honest_records_are_accepted_at_v1_and_left_undecided_beyond(made: Adopted, name: str, tmp_path: Path) -> None:
    story = made.story(getattr(made, name))
    found = verdict(story, tmp_path / "v1")
    assert (found.status, found.reached) == (Status.ACCEPTED, Level.V1)
    assert "trained-elsewhere" in {remark.word for remark in found.remarks}
    for level in (Level.V2, Level.V3, Level.V4):
        found = verdict(story, tmp_path / level.name, level)
        assert (found.status, found.reached) == (Status.UNDECIDED, Level.V1)
        beyond = [finding for finding in found.findings if finding.level > Level.V1]
        assert [(finding.name, finding.outcome) for finding in beyond] == [("training", FindingOutcome.UNDECIDED)]
        assert "nothing of its training is on record" in beyond[0].detail


def test_a_record_claims_what_was_done(made: Adopted) -> None:
    adopted, forgot = made.story(made.base).record, made.story(made.forgot).record
    assert (adopted.operation, adopted.algorithm.name, adopted.claim) == (Operation.ADOPT, "adopt", ("C8",))
    assert adopted.guarantee == forgot.guarantee == GuaranteePart(kind=GuaranteeKind.EMPIRICAL, tests=())
    assert (adopted.checkpoints, adopted.trace, adopted.execution) == (None, None, Execution.OWN_STEPS)
    assert (forgot.operation, forgot.claim) == (Operation.UNLEARN, ("C6",))
    assert len(made.story(made.retrained).record.requests) == 1


def test_false_ones_are_refused(made: Adopted, tmp_path: Path) -> None:
    base, forgot = made.story(made.base), made.story(made.forgot)
    false = {
        "called exact": (base.changed(guarantee=EXACT), "GUARANTEE_TOO_HIGH"),
        "what came of it called exact": (forgot.changed(guarantee=EXACT), "GUARANTEE_TOO_HIGH"),
        "a claim of a schedule": (base.changed(claim=("C2",)), "GUARANTEE_TOO_HIGH"),
        "called a training": (base.changed(algorithm__name="train"), "CHAIN_BROKEN"),
        "a training called adopted": (base.changed(operation=Operation.TRAIN), "CHAIN_BROKEN"),
        "adopted behind a run": (forgot.changed(operation=Operation.ADOPT, algorithm__name="adopt"), "CHAIN_BROKEN"),
        "replayed from it": (
            forgot.changed(algorithm__name="exact-replay", execution=Execution.SCHEDULE, algorithm__fields={}),
            "CHAIN_BROKEN",
        ),
        "steps of the schedule": (base.changed(execution=Execution.SCHEDULE), "EXECUTION_MISMATCH"),
        "fields of a method": (base.changed(algorithm__budget=0.1), "CHAIN_BROKEN"),
        "seeds of a method": (
            base.changed(randomness__request_seed=Large(0), randomness__method_seed=bytes(32)),
            "LINEAGE_SEED_MISMATCH",
        ),
        "rows left out that nobody asked for": (base.changed(data__tombstones=(3,)), "TOMBSTONE_UNREQUESTED"),
    }
    for at, (name, (story, code)) in enumerate(false.items()):
        assert code in codes(story, tmp_path / str(at)), name


def test_a_training_here_with_constants_of_an_owner_is_refused(tmp_path: Path) -> None:
    recipe = small_recipe()
    fitted = replace(recipe, inputs=replace(recipe.inputs, preparation=Preparation(1 / 255, (0.3,), (0.4,))))
    assert codes(trained(Lineage(recipe=recipe)), tmp_path / "honest") == []
    assert "PREPROCESSING_MISMATCH" in codes(trained(Lineage(recipe=fitted)), tmp_path / "fitted")
