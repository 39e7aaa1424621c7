"""``expunge info``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from expunge.cli.shared import print_json

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
    manifest = opened.manifest
    if json:
        print_json(manifest)
        return
    recipe = manifest["recipe"]
    for name, value in (
        ("status", manifest["status"]),
        ("retired", RETIRED if opened.retired else None),
        ("operation", manifest["operation"]),
        ("method", None if manifest["method"] is None else manifest["method"]["name"]),
        ("guarantee", str(opened.guarantee) if "guarantee" in manifest else "not earned yet"),
        ("not exact because", manifest.get("exact_refused")),
        ("weights digest", manifest.get("weights_digest")),
        ("dataset root", manifest["dataset_root"]),
        ("recipe digest", manifest["recipe_digest"]),
        ("lineage seed", manifest["lineage_seed"]),
        ("rows", ", ".join(f"{count} {name}" for name, count in manifest["data"]["counts"].items())),
        ("salts", _salts(manifest["data"])),
        ("forgotten so far", len(manifest["tombstones"])),
        (
            "recipe",
            f"{recipe['model']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, seed {recipe['seed']}",
        ),
        ("shards × slices", f"{recipe['shards']} × {recipe['slices']}"),
        ("example-steps", manifest.get("example_steps")),
        ("seconds", manifest.get("seconds")),
        ("parent", None if manifest["parent"] is None else manifest["parent"]["path"]),
        ("schedule", manifest["beacon_note"]),
        ("trace", manifest.get("trace")),
        ("checkpoints", _interval(manifest.get("checkpoint_interval"))),
    ):
        if value is not None:
            typer.echo(f"{name:<18} {value}")


def _salts(data: Mapping[str, Any]) -> str:
    """Whether the leaves hide their rows, and where the salts are kept if so."""
    place = data.get("salt_file")
    return f"{data['salts']} ({data['note']})" if place is None else f"{data['salts']}, in {place} ({data['note']})"


def _interval(steps: int | None) -> str | None:
    return None if steps is None else f"every {steps} steps"
