"""The grid: every job once, inputs first, shared where they are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from expunge.study.grid import Grid, lay_out
from expunge.study.job import Evaluate, Train, Work
from expunge.study.study_file import read_study

Write = Callable[..., Path]

GRID = """
seeds = {seeds}
references = 2
budget = {budget}
methods = ["retrain", "fine-tune", "neural-tangent-kernel"]
[data.digits]
location = "digits"
[training.mlp]
model = "mlp"
epochs = {epochs}
[forget.random]
rules = "{random}"
[forget.class]
rules = "class:3"
{more}
"""


def told(**said: str) -> str:
    values = {"seeds": "[0, 1]", "budget": "0.1", "epochs": "1", "random": "random:5%:1", "more": "", **said}
    return GRID.format(**values)


def laid(write: Write, **said: str) -> Grid:
    return lay_out(read_study(write(told(**said))))


def counts(grid: Grid) -> dict[Work, int]:
    return dict(Counter(job.work for job in grid.jobs))


def test_every_job_once_and_inputs_first(write_study: Write) -> None:
    grid = laid(write_study)
    keys = [job.key for job in grid.jobs]
    assert len(set(keys)) == len(keys)
    for index, job in enumerate(grid.jobs):
        assert set(job.needs) <= set(keys[:index])
    # 2 originals and 2 sets × 2 references; 3 methods × 2 sets × 2 seeds
    assert counts(grid) == {Work.TRAIN: 6, Work.UNLEARN: 12, Work.EVALUATE: 12}


def test_one_claim_for_all_seeds(write_study: Write) -> None:
    """What the file says; else what the first original has the power for, which only verdicts have a use for."""

    def claimed(grid: Grid) -> dict[int, tuple[str, ...]]:
        jobs = [job for job in grid.jobs if isinstance(job, Evaluate) and job.title.startswith("evaluate fine-tune")]
        return {number: job.inputs.get("claimed", ()) for number, job in enumerate(jobs[:2])}

    grid = laid(write_study, more="", seeds="[5, 2]\nwitnesses = 1")
    assert claimed(grid) == {0: (), 1: (grid.settings[0].originals[5],)}
    assert claimed(laid(write_study)) == {0: (), 1: ()}
    said = laid(write_study, seeds='[5, 2]\nwitnesses = 1\nclaim = "at-most:25.0%"')
    assert claimed(said) == {0: (), 1: ()}
    specs = [job.spec.claim for job in said.jobs if isinstance(job, Evaluate)]
    assert set(specs) == {"at-most:25%"}
    assert all(job.spec.claim is None for job in grid.jobs if isinstance(job, Evaluate))


def test_probes_that_are_asked_for_change_evaluations_alone_and_bring_their_half_models(write_study: Write) -> None:
    plain = laid(write_study)
    asked = lay_out(read_study(write_study('probes = ["relearn", "likelihood-ratio"]\n' + told())))
    known = {job.key for job in plain.jobs}
    new = [job for job in asked.jobs if job.key not in known]
    assert Counter(job.work for job in new) == {Work.TRAIN: 16, Work.EVALUATE: 12}
    halves = [job for job in new if isinstance(job, Train)]
    first, second = (set(job.means.without or ()) for job in halves[:2])
    assert not first & second
    assert first | second == set(range(len(first) + len(second)))
    for job in asked.jobs:
        if isinstance(job, Evaluate):
            assert job.spec.asked == ("relearn", "likelihood-ratio")
            assert job.inputs["halves"] == tuple(half.key for half in halves)
    relearning = lay_out(read_study(write_study('probes = "relearn"\n' + told())))
    assert counts(relearning) == counts(plain)


def test_a_forget_set_for_each_seed_has_references_of_its_own(write_study: Write) -> None:
    grid = laid(write_study, random="random:5%:{seed}")
    assert counts(grid)[Work.TRAIN] == 2 + 2 * 2 + 2
    random, of_class = grid.settings
    assert set(random.references[0]).isdisjoint(random.references[1])
    assert of_class.references[0] == of_class.references[1]


def test_budgets_share_what_has_none(write_study: Write) -> None:
    grid = laid(write_study, budget="[0.1, 0.2]")
    assert counts(grid)[Work.UNLEARN] == 12 + 8  # retrain takes no budget


def test_tuning_adds_twins_and_one_tuning_for_each_set_and_tuned_method(write_study: Write) -> None:
    grid = laid(write_study, more="[tuning]\ntrials = 3\n")
    assert counts(grid) == {Work.TRAIN: 6 + 8, Work.TUNE: 2, Work.UNLEARN: 12, Work.EVALUATE: 12}
    tunes = [job for job in grid.jobs if job.work == Work.TUNE]
    assert {job.spec.kind for job in tunes} == {"random", "class"}
    for setting in grid.settings:
        assert set(setting.tunings) == {"fine-tune"}  # the others have no field to choose, or no budget


def test_tuning_never_sees_the_forget_set(write_study: Write) -> None:
    grid = laid(write_study, random="random:5%:{seed}", more="[tuning]\ntrials = 3\n")
    by_key = {job.key: job for job in grid.jobs}
    for setting in grid.settings:
        tune = by_key[setting.tunings["fine-tune"]]
        forgotten = {slot for runs in setting.runs.values() for run in runs for slot in by_key[run.unlearn].means.slots}
        assert forgotten <= set(tune.means.avoid)
        references = {key for keys in setting.references.values() for key in keys}
        assert references.isdisjoint(tune.needs)
        for twin in tune.inputs["twins"]:
            assert forgotten.isdisjoint(by_key[twin].means.without)


def test_no_reference_or_twin_shares_a_seed_with_an_original(write_study: Write) -> None:
    grid = laid(write_study, more="[tuning]\ntrials = 3\n")
    by_key = {job.key: job for job in grid.jobs}
    originals = {by_key[key].means.recipe["seed"] for key in grid.settings[0].originals.values()}
    others = {job.means.recipe["seed"] for job in grid.jobs if isinstance(job, Train) and job.means.without is not None}
    assert originals == {0, 1}
    assert originals.isdisjoint(others)


@pytest.mark.parametrize(
    ("told", "shared"),
    [({"seeds": "[1, 2]"}, 1 + 4), ({"epochs": "2"}, 0), ({"budget": "0.2"}, 6)],
)
def test_studies_share_what_is_the_same(write_study: Write, told: dict[str, str], shared: int) -> None:
    one = {job.key for job in laid(write_study).jobs if job.work == Work.TRAIN}
    other = {job.key for job in laid(write_study, **told).jobs if job.work == Work.TRAIN}
    assert len(one & other) == shared


def test_keys_do_not_depend_on_where_data_lie(write_study: Write, tmp_path: Path) -> None:
    import numpy as np

    from expunge.data.digits import read
    from expunge.data.source import Source

    digits = read(Source(location="digits"), None, None)
    values = {name: column for name, column in digits.content.items()}
    (name,) = values
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        np.savez(tmp_path / place / "d.npz", x=values[name][:300], y=digits.labels[:300])
    grids = [
        lay_out(
            read_study(
                write_study(
                    GRID.format(seeds="[0]", budget="0.1", epochs="1", random="random:5%:1", more="").replace(
                        '"digits"\n', f'"{tmp_path / place / "d.npz"}"\n', 1
                    )
                )
            )
        )
        for place in ("a", "b")
    ]
    assert [job.key for job in grids[0].jobs] == [job.key for job in grids[1].jobs]
