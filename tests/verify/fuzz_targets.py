"""The honest bundles that are mutated: with and without forgetting, shards, a beacon, witnesses; of every guarantee."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.train.summed_rows import table, texts
from tests.verify.departures import DATED, SHARDED, base
from tests.verify.lineages import OWNER
from tests.verify.mutations import Target
from tests.verify.records import approximated, certified, forgot, trained

from expunge.adversary.table.story import RunStory, Story
from expunge.data.dataset import Dataset
from expunge.methods.unlearn import unlearn
from expunge.records.documents import SUMS
from expunge.train.training import train


@cache
def targets() -> tuple[Target, ...]:
    """Each is accepted at V1 as it is, those that follow from sums with these beside them."""
    return (
        Target.of("exact", base()),
        Target.of("dated", trained(DATED), witnessed=True),
        Target.of("sharded", forgot(trained(SHARDED), (3,))),
        Target.of("certified", certified()),
        Target.of("approximate", approximated(trained(), (3,))),
        *summed_targets(),
    )


@cache
def summed_targets() -> tuple[Target, ...]:
    """Models that follow from sums, small ones that were really trained; rows were taken out of each."""
    kinds: tuple[tuple[str, Dataset, dict[str, int]], ...] = (
        ("ridge", texts(80), {"width": 32}),
        ("naive-bayes", texts(80), {"width": 32}),
        ("forest", table(80), {"trees": 2, "depth": 3}),
    )
    found: list[Target] = []
    with TemporaryDirectory() as folder:
        for model, rows, options in kinds:
            made = train(rows, model=model, model_options=options, out=Path(folder) / model)
            run = unlearn(made, "random:3:1", data=rows, method="exact-replay", out=Path(folder) / f"{model}-forgot")
            story = RunStory.of(run, OWNER, Path(folder))
            files = {
                name: content if isinstance(content, bytes) else content.read_bytes()
                for name, content in story.draft.files.items()
            }
            story = Story(draft=replace(story.draft, files=files))
            found.append(Target.of(model, story, sums=(run.path / SUMS).read_bytes()))
    return tuple(found)
