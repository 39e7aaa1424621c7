"""``evaluate``: a run beside the references and witnesses of its request, those that a store has and those by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from expunge.core.values import Progress
from expunge.data.handed import GivenData, Names, said_of
from expunge.measure.company import listed
from expunge.measure.evaluate import evaluate as measured
from expunge.measure.lookup import probes_asked
from expunge.records.evaluation import Evaluation
from expunge.study.references import company_of
from expunge.train.run import Run


def evaluate(
    run: Run | Path | str,
    references: Sequence[Run | Path | str] | Run | Path | str = (),
    *,
    witnesses: Sequence[Run | Path | str] | Run | Path | str = (),
    store: Path | str | None = None,
    claim: str | None = None,
    probes: Sequence[str] = (),
    original: Run | Path | str | None = None,
    data: GivenData = None,
    label: str | None = None,
    subject: str | Names | None = None,
    id: str | Names | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure every probe on every model and judge. Written to ``evaluation.json`` in the run's folder.

    ``references`` are runs retrained without the forget set, ``witnesses`` trainings with it, under other seeds; those
    that ``expunge.references`` and ``expunge.witnesses`` made are found in ``store``, beside the original run unless
    said. ``claim`` is ``indistinguishable`` or ``at-most:P%``, that so much of the memory is left at most; unless said,
    the strongest that original and references can support. ``probes`` names further ones of ``ASKED``, which cost more
    than a forward pass; half models that ``expunge.halves`` made are found in ``store``.

    ``data`` are the rows where they are no longer where the run found them: a path, or whatever ``train`` takes;
    ``label``, ``subject`` and ``id`` are those of the run unless said.
    """
    unlearned = Run.of(run)
    given = listed("references", references, "retrained without the forget set")
    knowing = listed("witnesses", witnesses, "trained with the forget set")
    rows = unlearned.data(said_of(data, label=label, subject=subject, id=id))
    halved = any(probe.halves_needed for probe in probes_asked(probes))
    kept = company_of(unlearned, rows, store, with_halves=halved)
    return measured(
        unlearned,
        [*given, *kept.references],
        witnesses=[*knowing, *kept.witnesses],
        claim=claim,
        probes=probes,
        halves=kept.halves,
        original=original,
        data=rows,
        device=device,
        out=out,
        progress=progress,
        kept=kept.readings,
    )
