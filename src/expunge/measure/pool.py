"""A pool: what several small requests of one method say together, of the method and never of one person.

Their rows stand side by side, model by model, as if they were one request: so numerators and denominators of ρ add up,
and the sums behind τ and the accuracies do. The rule is that of one request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, combinations
from pathlib import Path

import numpy as np

from expunge.core.errors import InvalidArgument
from expunge.core.files import write_text
from expunge.core.hashing import sha256
from expunge.core.values import Progress
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet
from expunge.data.splits import Split
from expunge.measure.claim import Claim
from expunge.measure.company import original_of, references_of, witnesses_of
from expunge.measure.contract import ProbeRole
from expunge.measure.evaluate import evaluation_of, target_of, trial_of
from expunge.measure.frozen_layers import with_guard
from expunge.measure.judgement import judge
from expunge.measure.lookup import probes_for
from expunge.measure.readings import Kept
from expunge.measure.row import MINIMUM
from expunge.measure.trial import SMALLEST_FORGET_SET, Answers, Ground, Trial, TrialModel, Whose
from expunge.records.document import write_document
from expunge.records.evaluation import POOL, Evaluation, Pooled
from expunge.records.run_file import UnlearnRequest
from expunge.tasks.task import Told
from expunge.train.profile import pinned
from expunge.train.run import Run

FEWEST_REQUESTS = 3


def evaluate_pool(
    runs: Sequence[Run],
    references: Sequence[Run] = (),
    *,
    rows: Mapping[Split, Dataset],
    witnesses: Sequence[Run] = (),
    claim: str | None = None,
    original: Run | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    kept: Kept | None = None,
    before: Callable[[], object] | None = None,
) -> Evaluation:
    """Judge several requests as one. Written to ``pool.json`` in the first run's folder unless ``out`` says where.

    ``references`` are those of all requests; the same training seeds must have been retrained for each. It shows no
    examples: what stands out of one person is said where that person's run is evaluated. ``before`` is called once the
    requests are known to be of one kind, and before a model is opened.
    """
    asked = None if claim is None else Claim.of(claim)
    target = target_of(out, runs[0].path / POOL)
    train = rows[Split.TRAIN]
    _refuse(runs, train)
    ordered = sorted(runs, key=lambda run: int(run.forget_set.slots[0]))  # whoever is named first changes nothing
    company, said = _paired(ordered, references)
    if before is not None:
        before()
    first = ordered[0].parent if original is None else original_of(ordered[0], original)
    trials: list[Trial] = []
    with pinned(first.recipe):
        probes = [
            probe
            for probe in probes_for(first.recipe.classes)
            if probe.judging is not None or probe.role is ProbeRole.COST
        ]
        probes += dict.fromkeys(probe for run in ordered for probe in with_guard((), run, first))
        for number, (run, found) in enumerate(zip(ordered, company, strict=True)):
            asked_of = first if original is None else original_of(run, original)
            retrained, known, flags = references_of(run, asked_of, found)

            def moved(done: int, of: int, number: int = number) -> None:
                if progress is not None:
                    progress(number * of + done, len(ordered) * of)

            trials.append(
                trial_of(
                    [run],
                    asked_of,
                    retrained,
                    rows,
                    probes,
                    witnesses=witnesses_of(run, asked_of, retrained, list(witnesses)),
                    retrained=known,
                    device=device,
                    flags=(*said, *flags),
                    progress=moved,
                    kept=kept,
                )
            )
        trial = pooled(trials)
        (judged,) = judge(trial, [probe() for probe in probes], asked)
    slots = np.sort(np.concatenate([run.forget_set.slots for run in ordered]))
    rules = tuple(rule for run in ordered for rule in run.forget_set.rules)
    told = tuple(
        Pooled(weights_digest=run.weights_digest, examples=len(run.forget_set), rules=run.forget_set.rules)
        for run in ordered
    )
    forget = ForgetSet(slots, rules, first.root.hex())
    evaluation = evaluation_of(ordered[0], forget, trial, judged, train, pool=told)
    write_text(target, write_document(evaluation))
    return evaluation


def pooled(trials: Sequence[Trial]) -> Trial:
    """Trials of one unlearned run each as one trial; the k-th reference of each belongs to the k-th of all others."""
    runs = [trial.unlearned[0] for trial in trials]
    said = (f"a pool of {len(trials)} requests: accuracies are means over all their rows",)
    unlearned = replace(
        _side_by_side(runs),
        exact=any(run.exact for run in runs),
        flags=tuple(dict.fromkeys((*said, *(flag for run in runs for flag in run.flags)))),
        unsupportable=next((run.unsupportable for run in runs if run.unsupportable is not None), None),
        retrained=all(one.unlearned[0].retrained or one.unlearned[0].weights_digest in one.retrained for one in trials),
    )
    return Trial(
        original=_side_by_side([trial.original for trial in trials]),
        unlearned=(unlearned,),
        references=tuple(map(_side_by_side, zip(*(trial.references for trial in trials), strict=True))),
        witnesses=tuple(map(_side_by_side, zip(*(trial.witnesses for trial in trials), strict=True))),
        ground=_ground([trial.ground for trial in trials]),
    )


def _side_by_side(models: Sequence[TrialModel]) -> TrialModel:
    """Models of several requests as one that answers the rows of each as that request's does."""
    answers = [model.answers for model in models]
    steps, seconds = [one.example_steps for one in answers], [one.seconds for one in answers]
    return TrialModel(
        weights_digest=sha256(*(bytes.fromhex(model.weights_digest) for model in models)).hex(),
        lineage_seed=models[0].lineage_seed,
        members=tuple(model.weights_digest for model in models),
        answers=Answers(
            read={
                reading: {
                    whose: Told(
                        {
                            name: np.concatenate([one.read[reading][whose][name] for one in answers])
                            for name in told
                            if all(name in one.read[reading][whose] for one in answers)
                        }
                    )
                    for whose, told in by_rows.items()
                }
                for reading, by_rows in answers[0].read.items()
            },
            example_steps=None if None in steps else sum(filter(None, steps)),
            seconds=None if None in seconds else sum(filter(None, seconds)),
        ),
    )


def _ground(grounds: Sequence[Ground]) -> Ground:
    begins = [0, *accumulate(ground.count(Whose.HOLDOUT) for ground in grounds)]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([at + getattr(ground, name) for at, ground in zip(begins, grounds, strict=False)])

    return Ground(
        labels={whose: np.concatenate([ground.labels[whose] for ground in grounds]) for whose in Whose},
        attack=joined("attack"),
        scored=joined("scored"),
        tested=joined("tested"),
        seed=grounds[0].seed,
        digest=sha256(*(ground.digest for ground in grounds)),
        duplicates=sum(ground.duplicates for ground in grounds),
        excluded_holdout=sum(ground.excluded_holdout for ground in grounds),
        dropped_classes=tuple(dict.fromkeys(name for ground in grounds for name in ground.dropped_classes)),
    )


def _refuse(runs: Sequence[Run], train: Dataset) -> None:
    """Requests that are not of one kind, or share somebody, or are too few."""
    first, asked = runs[0], _asked(runs[0])
    for run, other in ((run, _asked(run)) for run in runs[1:]):
        if other.method.name != asked.method.name:
            raise InvalidArgument(
                f"{first.path} was made by {first.method}, {run.path} by {run.method}: a pool speaks of one method"
            )
        if (other.method, other.budget) != (asked.method, asked.budget):
            raise InvalidArgument(
                f"{run.path} ran {run.method} with other fields or another budget than {first.path}: a pool speaks of "
                "one method with one set of fields"
            )
        if (other.parent, other.root) != (asked.parent, asked.root):
            raise InvalidArgument(
                f"{run.path} and {first.path} came from different runs: a pool is of requests to one original"
            )
    if len(runs) < FEWEST_REQUESTS:
        raise InvalidArgument(
            f"a pool of {len(runs)} requests says nothing of a method: name {FEWEST_REQUESTS} runs at least"
        )
    people = {run.path: {train.subjects[slot] for slot in run.forget_set.slots} for run in runs}
    for one, other in combinations(runs, 2):
        rows = len(np.intersect1d(one.forget_set.slots, other.forget_set.slots))
        if rows or people[one.path] & people[other.path]:
            what = f"{rows} rows" if rows else "rows of one person"
            raise InvalidArgument(
                f"{one.path} and {other.path} both forgot {what}: requests of a pool share nobody, leave one out"
            )
    total = sum(len(run.forget_set) for run in runs)
    if total < SMALLEST_FORGET_SET:
        raise InvalidArgument(
            f"{total} rows in {len(runs)} requests: a pool needs {SMALLEST_FORGET_SET} together; add requests of the "
            "same method"
        )


def _asked(run: Run) -> UnlearnRequest:
    """What a run was asked for; one that forgot nothing is refused."""
    request = run.told.request
    if not isinstance(request, UnlearnRequest):
        raise run.forgot_nothing()
    return request


def _paired(runs: Sequence[Run], references: Sequence[Run]) -> tuple[list[list[Run]], tuple[str, ...]]:
    """The references of each run, all of the same training seeds in the same order; and what was left out for that."""
    by_run: list[dict[str, Run]] = []
    for run in runs:
        own = [one for one in references if one.told.tombstones == run.told.tombstones]
        by_run.append({one.lineage_seed: one for one in own})
    strange = [one for one in references if all(one.told.tombstones != run.told.tombstones for run in runs)]
    if strange:
        raise InvalidArgument(
            f"reference {strange[0].path} forgot other examples than any run of the pool: retrain with the same "
            "`forget` as one of them"
        )
    counts = Counter(seed for found in by_run for seed in found)
    shared = sorted(seed for seed, count in counts.items() if count == len(runs))
    fewest = min(len(found) for found in by_run)
    if len(shared) < MINIMUM <= fewest:
        raise InvalidArgument(
            f"{len(shared)} training seeds were retrained for every request of the pool, {fewest} or more for each by "
            f"itself: the references do not pair, and {MINIMUM} must; train the same number for each with `expunge "
            "references`"
        )
    alone = sum(counts.values()) - len(runs) * len(shared)
    said = (f"{alone} references have none of their seed in every request and are left out",) if alone else ()
    return [[found[seed] for seed in shared] for found in by_run], said
