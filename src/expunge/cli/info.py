"""``expunge info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.shared import print_json, say
from expunge.records.form import to_plain
from expunge.records.run_file import DataFile

RETIRED = "its model is gone: it held rows that were forgotten since, and was destroyed; what follows is what it was"
EXAMPLE = "Example: expunge info runs/base --json"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(info)


def info(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything that run.json holds.")] = False,
) -> None:
    """Say what a run is: data, recipe, guarantee, cost, digests."""
    from expunge.train.run import Run

    opened = Run.open_any(run)
    told, result = opened.told, opened.told.result
    if json:
        print_json(to_plain(told))
        return
    recipe, counts = told.recipe, told.data.counts
    for name, value in (
        ("status", told.status),
        ("retired", RETIRED if opened.retired else None),
        ("operation", told.operation),
        ("method", opened.method),
        ("guarantee", "not earned yet" if result is None else str(result.guarantee)),
        ("not exact because", None if result is None else result.exact_refused),
        ("weights digest", told.weights_digest),
        ("dataset root", told.dataset_root),
        ("recipe digest", told.recipe_digest),
        ("lineage seed", told.lineage_seed),
        ("rows", f"{counts.calibration} calibration, {counts.holdout} holdout, {counts.train} train"),
        ("salts", _salts(told.data)),
        ("forgotten so far", len(told.tombstones)),
        (
            "recipe",
            f"{recipe['model']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, seed {recipe['seed']}",
        ),
        ("shards × slices", f"{recipe['shards']} × {recipe['slices']}"),
        ("example-steps", None if result is None else result.example_steps),
        ("seconds", None if result is None else result.seconds),
        ("parent", None if told.parent is None else told.parent.path),
        ("schedule", told.beacon_note),
        ("trace", told.trace),
        ("checkpoints", _interval(told.checkpoint_interval)),
    ):
        if value is not None:
            say(f"{name:<18} {value}")


def _salts(data: DataFile) -> str:
    """Whether the leaves hide their rows, and where the salts are kept if so."""
    return f"{data.salts}{'' if data.salt_file is None else f', in {data.salt_file}'} ({data.note})"


def _interval(steps: int | None) -> str | None:
    return None if steps is None else f"every {steps} steps"
