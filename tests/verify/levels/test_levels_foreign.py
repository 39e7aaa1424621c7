"""Models of somebody's own code: what is remarked of them, and what an exact record of one may not hide."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.verify.levels.replaying import finding_of, sealed, story_of, verified

from expunge.data.dataset import Dataset
from expunge.records.keys import SigningKey
from expunge.records.limits import Code
from expunge.records.record import GuaranteeKind, GuaranteePart
from expunge.records.trust import of_model
from expunge.records.verdict import Level, Status
from expunge.train.training import train

FIELDS: dict[str, Any] = {"epochs": 1, "batch_size": 16, "checkpoint_interval": 4}
TEXT = """
from torch import nn
import torch

def honest(inputs, classes, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Tanh(), nn.Linear(width, classes))

def fixed(inputs, classes):
    torch.manual_seed(3)
    return honest(inputs, classes)
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "remarked_model.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "remarked_model", raising=False)


def test_a_model_that_is_not_built_in_is_remarked_at_every_level(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    fields = {**FIELDS, "model": "remarked_model:honest", "model_options": {"width": 9}}
    story = story_of(train(pictures, out=tmp_path / "run", **fields), owner)
    bundle, trust = sealed(story, owner, tmp_path), [of_model("remarked_model:honest", story.record)]
    assert story.record.guarantee.kind is GuaranteeKind.EXACT
    for level in ("V1", "V4"):
        verdict = verified(bundle, trusted, level, data=pictures, trust=trust)
        assert verdict.status is Status.ACCEPTED
        (remark,) = [remark.text for remark in verdict.remarks if remark.word == "foreign-model"]
        assert "'remarked_model:honest' made the initial weights and gives every answer" in remark
        assert remark.endswith("called with width=9")
    assert finding_of(verdict, "initial weights").detail.startswith("made again by the factory for 1 shard")


def test_a_model_of_the_zoo_is_not(pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any) -> None:
    bundle = sealed(story_of(train(pictures, out=tmp_path / "run", model="mlp", **FIELDS), owner), owner, tmp_path)
    verdict = verified(bundle, trusted, "V2", data=pictures)
    assert "foreign-model" not in {remark.word for remark in verdict.remarks}
    assert finding_of(verdict, "initial weights").detail == "drawn again from the seed for 1 shard"


def test_a_factory_that_no_seed_moves_is_refused_where_it_is_called_exact(
    pictures: Dataset, tmp_path: Path, owner: SigningKey, trusted: Any
) -> None:
    run = train(pictures, out=tmp_path / "run", model="remarked_model:fixed", **FIELDS)
    story = story_of(run, owner)
    trust = [of_model("remarked_model:fixed", story.record)]
    honest = verified(sealed(story, owner, tmp_path / "as-it-is"), trusted, "V2", data=pictures, trust=trust)
    assert (honest.status, honest.reached) == (Status.UNDECIDED, Level.V1)
    told = story.changed(guarantee=GuaranteePart(kind=GuaranteeKind.EXACT), environment__not_exact=None)
    verdict = verified(sealed(told, owner, tmp_path / "exact"), trusted, "V2", data=pictures, trust=trust)
    assert verdict.codes == (Code.GUARANTEE_TOO_HIGH,)
    assert "are the same for two seeds" in finding_of(verdict, "initial weights").detail
