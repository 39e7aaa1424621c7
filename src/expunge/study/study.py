"""``study``: a file names the grid; what the store lacks is computed, and everything is drawn."""

from __future__ import annotations

import csv
import datetime
import io
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import write_text
from expunge.core.values import Undecided
from expunge.core.version import __version__
from expunge.records.document import read_document, write_document
from expunge.records.figures import FIGURES as MEASURED
from expunge.records.figures import MeanFigure
from expunge.records.over_trainings import OverTrainings
from expunge.records.results import Results, StudyCost
from expunge.records.study_store import JobOutcome, StudyFile
from expunge.study.axes import Axis
from expunge.study.cells import Damaged
from expunge.study.engine import Engine, cores
from expunge.study.grid import Grid, lay_out
from expunge.study.local import LocalEngine
from expunge.study.progress import StudyStanding, Watch
from expunge.study.results import Gathered
from expunge.study.scheduler import carry_out_jobs, known_outcomes
from expunge.study.store import Store
from expunge.study.study_file import Study, read_study
from expunge.train.folder import writing
from expunge.train.profile import processor

MOST_ROUNDS = 5
FIGURES = (
    "forgetting-gap",
    "utility-gap",
    "average-gap",
    *(name for name in MEASURED if not name.endswith("-gap")),
)
PARTS = ("mean", "low", "high", "n")
METHOD = ("verdict on the method", "memory left", "memory left at most")


def _local(store: Store, grid: Grid, jobs: int | None, address: str | None, log: Path) -> Engine:
    if address is not None:
        raise InvalidArgument(f"`address` {address} is for `engine` ray: the local engine runs on this machine")
    return LocalEngine(store, cores() if jobs is None else jobs, log)


def _ray(store: Store, grid: Grid, jobs: int | None, address: str | None, log: Path) -> Engine:
    from expunge.study.ray_engine import RayEngine

    return RayEngine(store, grid.datasets, jobs=jobs, address=address, log=log)


ENGINES: dict[str, Callable[[Store, Grid, int | None, str | None, Path], Engine]] = {"local": _local, "ray": _ray}


def study(
    path: Path | str,
    *,
    out: Path | str,
    store: Path | str | None = None,
    engine: str = "local",
    jobs: int | None = None,
    address: str | None = None,
    data: str | None = None,
    axes: Sequence[Axis] = (),
    draw_only: bool = False,
    command: str | None = None,
    show: Callable[[StudyStanding], None] | None = None,
    say: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Results:
    """Do what the store lacks, write ``results.json`` and ``results.csv`` into ``out``, and return the results.

    The same call continues an interrupted study. ``axes`` are fields of the trainings that vary besides what the file
    varies: ``[Axis("epochs", (10, 20))]``. ``store`` may be shared by several studies, also at the same time.
    ``draw_only`` computes nothing. ``show`` is given the standing about every second, ``say`` lines for a log, ``warn``
    what failed.
    """
    if engine not in ENGINES:
        raise InvalidArgument(f"`engine` {engine!r} is not one of {', '.join(ENGINES)}")
    if draw_only and (jobs is not None or address is not None):
        raise InvalidArgument("`draw_only` computes nothing: leave `jobs` and `address` out")
    planned = read_study(path, location=data, axes=axes)
    folder = Path(out)
    grid = lay_out(planned)
    with writing(folder):
        _mark(folder, planned)
        place = Path(store) if store is not None else folder / "store"
        if draw_only and not (place / "store.json").is_file():
            raise InvalidArgument(
                f"`draw_only` finds no store at {place}: name it with `store`, or leave `draw_only` out"
            )
        kept = Store(place)
        started = time.perf_counter()
        watch = Watch(1, folder, show, _logged(folder, say), warn)
        places = 0
        if draw_only:
            outcomes = known_outcomes(grid.jobs, kept)
            if not outcomes.entries:
                raise InvalidArgument(
                    f"the store {place} holds none of the {len(grid.jobs)} jobs of this study: there is nothing to "
                    "draw; name another with `store`, or leave `draw_only` out"
                )
            found = Gathered(planned, grid, kept, outcomes)
        else:
            with ENGINES[engine](kept, grid, jobs, address, folder / "workers.log") as chosen:
                places = chosen.places
                watch.places = places
                found = _done(planned, grid, kept, chosen, watch)
        results = _results(found, command, {"name": engine, "jobs": places}, time.perf_counter() - started)
        write_text(folder / Results.NAME, write_document(results))
        write_text(folder / "results.csv", as_csv(results))
    return results


def _done(planned: Study, grid: Grid, store: Store, engine: Engine, watch: Watch) -> Gathered:
    """Carry the jobs out and read the results; what is found damaged is taken back and made again, a few times."""
    needs = {job.key: job.needs for job in grid.jobs}
    for _ in range(MOST_ROUNDS):
        outcomes = carry_out_jobs(grid.jobs, store, engine, watch)
        failed = [key for key, entry in outcomes.entries.items() if entry.outcome is JobOutcome.FAILED]
        if any(outcomes.done(need) and store.entry(need) is None for key in failed for need in needs[key]):
            continue  # a job found an input damaged and took it back
        try:
            return Gathered(planned, grid, store, outcomes)
        except Damaged as error:
            store.discard(error.key)
            shutil.rmtree(store.place(error.key), ignore_errors=True)
            watch.note(str(error))
    raise RunError(
        f"results in {store.folder} were damaged again {MOST_ROUNDS} times: look for another program that writes "
        "there, or check the disk"
    )


def _mark(folder: Path, planned: Study) -> None:
    """A folder is one study's; what it draws is not mixed with another's."""
    marker = folder / "study.json"
    if marker.is_file():
        try:
            other = read_document(StudyFile, marker.read_bytes(), str(marker)).name
        except DataError:
            other = None
        if other != planned.name:
            raise InvalidArgument(
                f"`out` {folder} holds the study {other!r}, this one is {planned.name!r}: choose another folder, and "
                f"`store` {folder / 'store'} to share what is computed"
            )
        return
    foreign = [item.name for item in folder.iterdir() if not item.name.startswith(".") and item.name != "store"]
    if foreign:
        raise InvalidArgument(
            f"`out` {folder} is not empty and no study (it holds {foreign[0]!r}): choose another folder"
        )
    write_text(marker, write_document(StudyFile(name=planned.name)))


def _logged(folder: Path, say: Callable[[str], None] | None) -> Callable[[str], None]:
    """Lines go to ``study.log`` with the time, and to whoever listens."""

    def both(line: str) -> None:
        stamp = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        try:
            with (folder / "study.log").open("a", encoding="utf-8") as log:
                log.write(f"{stamp} {line}\n")
        except OSError as error:
            raise RunError(
                f"{folder / 'study.log'} could not be written ({error.strerror or error}): what is computed is kept; "
                "make room, then run the same command again"
            ) from error
        if say is not None:
            say(line)

    return both


def _results(found: Gathered, command: str | None, engine: Mapping[str, Any], seconds: float) -> Results:
    """What was found, and when, where, how fast and with what: these may differ between two identical studies."""
    planned, outcomes = found.study, found.outcomes
    entries = outcomes.entries.values()
    devices = sorted({training.device for training in planned.trainings})
    machine = {
        "processor": processor(),
        "cores": cores(),
        "system": platform.system(),
        "device": ", ".join(devices),
    }
    if any(device.startswith("cuda") for device in devices) and torch.cuda.is_available():
        machine["accelerator"] = torch.cuda.get_device_name()
    return Results(
        name=planned.name,
        title=planned.title,
        date=datetime.date.today().isoformat(),
        command=command or f"expunge study {planned.path}",
        machine=machine,
        versions={"expunge": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
        engine=engine,
        seeds=planned.seeds,
        references=planned.references,
        witnesses=planned.witnesses,
        digest=found.digest,
        complete=found.complete,
        cost=StudyCost(
            jobs=len(entries) + len(outcomes.left_out),
            reused=outcomes.reused,
            refused=sum(entry.outcome is JobOutcome.REFUSED for entry in entries),
            failed=sum(entry.outcome is JobOutcome.FAILED for entry in entries),
            left_out=len(outcomes.left_out),
            example_steps=round(sum(entry.example_steps for entry in entries), 3),
            job_seconds=round(sum(entry.seconds for entry in entries), 3),
            seconds=round(seconds, 3),
        ),
        settings=found.settings,
        problems=found.problems,
    )


def as_csv(results: Results) -> str:
    """One line for each row of each setting, with mean, low and high of every figure; empty where undecided."""
    written = io.StringIO()
    names = (*FIGURES, *dict.fromkeys(name for setting in results.settings for name in setting.further))
    heads = [f"{name} {part}" for name in names for part in PARTS]
    writer = csv.writer(written, lineterminator="\n")
    told = ("setting", "row", "method", "guarantee", "tuning", "seeds", "verdicts", *METHOD, "marks")
    writer.writerow([*told, *heads])
    for setting in results.settings:
        for row in setting.rows:
            writer.writerow(
                [
                    setting.id,
                    row.label,
                    row.method,
                    row.guarantee or "",
                    row.tuning.state,
                    row.count("done"),
                    " ".join(f"{name}:{count}" for name, count in row.verdicts.items()),
                    *_of_method(row.concluded),
                    ", ".join(mark.mark for mark in row.marks),
                    *(part for name in names for part in _parts(row.figures[name])),
                ]
            )
    return written.getvalue()


def _of_method(told: OverTrainings | None) -> tuple[str, ...]:
    if told is None:
        return "", "", ""
    memory = ("", "") if told.memory is None else (f"{told.memory.mean:.6g}", f"{told.memory.bound:.6g}")
    return told.verdict.word.capitalize(), *memory


def _parts(figure: MeanFigure) -> tuple[str, str, str, str]:
    if isinstance(figure, Undecided):
        return "", "", "", ""
    low, high = ("" if end is None else f"{end:.6g}" for end in (figure.lower, figure.upper))
    return f"{figure.mean:.6g}", low, high, f"{figure.n:.6g}"
