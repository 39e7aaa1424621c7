"""``evaluate``: runs beside the references and witnesses of their requests, those of a store and those by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from expunge.core.errors import InvalidArgument
from expunge.core.values import Exact, Progress
from expunge.data.handed import GivenData, Names, said_of
from expunge.measure.company import listed
from expunge.measure.evaluate import evaluate as measured
from expunge.measure.lookup import probes_asked
from expunge.measure.pool import evaluate_pool
from expunge.records.evaluation import Evaluation
from expunge.study.possible import possible_of, possible_pool
from expunge.study.references import check_store, company_of, readings_beside
from expunge.train.run import Run


def evaluate(
    run: Run | Path | str | Sequence[Run | Path | str],
    references: Sequence[Run | Path | str] | Run | Path | str = (),
    *,
    witnesses: Sequence[Run | Path | str] | Run | Path | str = (),
    store: Path | str | None = None,
    claim: str | None = None,
    pool: bool = False,
    probes: Sequence[str] = (),
    as_published: bool = False,
    original: Run | Path | str | None = None,
    data: GivenData = None,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    tell: Callable[[str], object] | None = None,
) -> Evaluation:
    """Measure every probe on every model and judge. Written to ``evaluation.json`` in the run's folder.

    ``references`` are runs retrained without the forget set, ``witnesses`` trainings with it, under other seeds; those
    that ``expunge.references`` and ``expunge.witnesses`` made are found in ``store``, beside the original run unless
    said. ``claim`` is ``indistinguishable`` or ``at-most:P%``, that so much of the memory is left at most; unless said,
    the strongest that original and references can support. ``probes`` names further ones of ``ASKED``, which cost more
    than a forward pass; half models that ``expunge.halves`` made are found in ``store``. ``as_published`` adds figures
    as papers print them, which decide nothing.

    With ``pool`` several runs of one method, each of which answered a request of its own, are judged as one: what is
    found speaks of the method. It is written to ``pool.json`` in the first run's folder.

    ``data`` are the rows where they are no longer where the run found them: a path, or whatever ``train`` takes;
    ``label``, ``subject`` and ``id`` are those of the run unless said. ``tell`` is told what evidence there can be,
    before any is looked at.
    """
    runs = listed("run", run, "each of which forgot")
    if not runs or (len(runs) > 1 and not pool):
        raise InvalidArgument(f"`run` names {len(runs)} runs: evaluate each by itself, or all with `pool`")
    unlearned = runs[0]
    given = listed("references", references, "retrained without the forget set")
    knowing = listed("witnesses", witnesses, "trained with the forget set")
    first = None if original is None else Run.of(original, "original")
    if pool and len(probes):
        raise InvalidArgument(f"`probes` {', '.join(probes)} with `pool`: of a pool nothing further is measured")
    if pool and as_published:
        raise InvalidArgument("`as_published` with `pool`: papers print no pools, ask for it of each run")
    rows = unlearned.data(said_of(data, label=label, subject=subject, id=id))
    halved = any(probe.halves_needed for probe in probes_asked(probes))
    if not given and not knowing:
        check_store(store)
    companies = [company_of(one, store=store, with_halves=halved) for one in runs]
    kept = [reference for company in companies for reference in company.references]
    remembering, halves = companies[0].witnesses, companies[0].halves
    beside = [*kept, *remembering, *halves]
    readings = readings_beside(beside, rows, unlearned.parent if beside and first is None else first)
    retrained, witnessing = [*given, *kept], [*knowing, *remembering]
    if pool:
        of_each = [sum(one.told.tombstones == run.told.tombstones for one in retrained) for run in runs]
        return evaluate_pool(
            runs,
            retrained,
            rows=rows,
            witnesses=witnessing,
            claim=claim,
            original=first,
            device=device,
            out=out,
            progress=progress,
            kept=readings,
            before=None if tell is None else lambda: tell(possible_pool(runs, of_each, len(witnessing))),
        )
    if tell is not None:
        forget = unlearned.forget_set  # what forgot nothing is refused for that
        possible = possible_of(
            unlearned.parent if first is None else first,
            forget,
            references=len({one.weights_digest for one in retrained}),
            witnesses=len({one.weights_digest for one in witnessing}),
            refused=companies[0].refused,
            exactly=unlearned.method if isinstance(unlearned.guarantee, Exact) else None,
        )
        tell(str(possible))
    return measured(
        unlearned,
        retrained,
        witnesses=witnessing,
        claim=claim,
        probes=probes,
        halves=halves,
        as_published=as_published,
        original=first,
        data=rows,
        device=device,
        out=out,
        progress=progress,
        kept=readings,
    )
