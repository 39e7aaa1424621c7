"""``distant`` by half models: rows with wrong labels are remembered by those who saw them, and by nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attacks.conftest import CandidatesOf
from tests.conftest import Refused

from expunge.attacks.halves import HalfModels
from expunge.attacks.worst import worst
from expunge.attacks.worst_distant import Distant, Proxy
from expunge.core.errors import InvalidArgument
from expunge.core.selection.halves import memorised
from expunge.data.dataset import Dataset
from expunge.data.splits import Split
from expunge.methods.unlearn import unlearn
from expunge.train.answers import signals
from expunge.train.run import Run
from expunge.train.training import train

FIELDS = {"model": "mlp", "model_options": {"width": 32}, "epochs": 12, "batch_size": 8}
LIRA = Distant(proxy=Proxy.LIRA)


@pytest.fixture(scope="module")
def mislabelled(pictures: Dataset) -> Dataset:
    """The pictures, every tenth under the label of another class."""
    labels = pictures.labels.copy()
    labels[::10] = (labels[::10] + 1) % 3
    return replace(pictures, labels=labels)


@pytest.fixture(scope="module")
def runs(mislabelled: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """An original, and ten half models in pairs: what the first of a pair lacks, the second has."""
    place = tmp_path_factory.mktemp("halves")
    base = train(mislabelled, out=place / "base", **FIELDS)
    rows, found = np.arange(len(base.data(mislabelled)[Split.TRAIN])), [base]
    for number in range(1, 6):
        half = np.random.default_rng(number).permutation(rows)[: len(rows) // 2]
        for part, without in enumerate((half, np.setdiff1d(rows, half))):
            names = place / f"{number}-{part}.txt"
            ids = base.data(mislabelled)[Split.TRAIN].ids
            names.write_text("\n".join(ids[slot] for slot in without))
            out, seed = place / f"half-{number}-{part}", 10 * number + part
            found.append(train(mislabelled, out=out, without=f"ids:{names}", seed=seed, **FIELDS))
    return found


def test_wrong_labels_are_found(
    runs: list[Run], mislabelled: Dataset, candidates_of: CandidatesOf, tmp_path: Path
) -> None:
    base, *halves = runs
    found = worst(base, size=12, objective=LIRA, halves=halves, out=tmp_path / "set.json", data=mislabelled)
    train_rows = base.data(mislabelled)[Split.TRAIN]
    wrong = [slot for slot, name in enumerate(train_rows.ids) if int(name.removeprefix("picture-")) % 10 == 0]
    assert len(np.intersect1d(found.slots, wrong)) >= 9
    assert found.selection is not None
    assert found.selection.cost == pytest.approx(10 * 120 / 3)
    assert found.selection.origin.halves == tuple(half.weights_digest for half in halves)
    assert "distant lira" in found.selection.overlaps.names
    assert "distant" in found.selection.overlaps.names
    candidates = candidates_of(base, data=mislabelled)
    margins, inside = HalfModels.of(halves, base).read(candidates.examples, candidates.slots)
    assert inside.sum(axis=0).tolist() == [5] * 120
    for at, half in enumerate(halves):
        own = signals(half.recipe, half.model(), candidates.examples, candidates.slots)["margin"]
        np.testing.assert_array_equal(margins[at], own)
    assert found.slots.tolist() == sorted(np.argsort(memorised(margins, inside))[-12:])


def test_what_is_no_half_model(runs: list[Run], mislabelled: Dataset, tmp_path: Path, refused: Refused) -> None:
    base, *halves = runs
    given: dict[str, Any] = {"size": 12, "objective": LIRA, "out": tmp_path / "x.json", "data": mislabelled}
    with refused(InvalidArgument, "`halves` names none", "32 of them, or choose by ridge"):
        worst(base, **given)
    with refused(InvalidArgument, "was not trained without some of the rows"):
        worst(base, halves=[base], **given)
    forgot = unlearn(base, "random:5:1", method="fine-tune", out=tmp_path / "forgot", data=mislabelled)
    with refused(InvalidArgument, "was not trained without some of the rows"):
        worst(base, halves=[forgot], **given)
    other = train(mislabelled, out=tmp_path / "other", without="random:50%:1", seed=7, **{**FIELDS, "epochs": 1})
    with refused(InvalidArgument, "has other rows or another recipe than"):
        worst(base, halves=[other], **given)
    same = train(mislabelled, out=tmp_path / "same", without="random:50%:1", **FIELDS)
    for several in ([same], [halves[0], halves[0]]):
        with refused(InvalidArgument, "share the seed", "give each a seed of its own"):
            worst(base, halves=several, **given)
    with refused(InvalidArgument, "`halves` are read by `objective` distant with `proxy` lira alone"):
        worst(base, halves=halves, **{**given, "objective": "distant"})
    assert not (tmp_path / "x.json").exists()
