"""``expunge info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from expunge.cli.certificates import is_bundle, unchecked
from expunge.cli.shared import print_json, say
from expunge.data.encoding import Preparation
from expunge.records.form import to_plain
from expunge.records.run_file import DataFile, OwnersWord

RETIRED = "its model is gone: it held rows that were forgotten since, and was destroyed; what follows is what it was"
EXAMPLE = "Example: expunge info runs/base --json"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(info)


def info(
    run: Annotated[Path, typer.Argument(help="Folder of a run; or a bundle.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything that run.json or the record holds.")] = False,
) -> None:
    """Say what a run is: data, recipe, guarantee, cost, digests; of a bundle what its record says, unchecked."""
    if is_bundle(run):
        _bundle(run, json)
        return
    from expunge.train.run import Run

    opened = Run.open_any(run)
    told, result = opened.told, opened.told.result
    if json:
        print_json(to_plain(told))
        return
    recipe, counts, adopted = told.recipe, told.data.counts, told.adopted
    elsewhere = told.operation == "adopt"  # nobody counted its work
    _print(
        ("status", told.status),
        ("retired", RETIRED if opened.retired else None),
        ("operation", told.operation),
        ("method", opened.method),
        ("guarantee", "not earned yet" if result is None else str(result.guarantee)),
        ("not exact because", None if result is None else result.exact_refused),
        ("weights digest", told.weights_digest),
        ("dataset root", told.dataset_root),
        ("recipe digest", told.recipe_digest),
        ("trained elsewhere", None if adopted is None else _told(adopted)),
        ("lineage seed", told.lineage_seed),
        ("rows", f"{counts.calibration} calibration, {counts.holdout} holdout, {counts.train} train"),
        ("salts", _salts(told.data)),
        ("forgotten so far", len(told.tombstones)),
        (
            "recipe",
            f"{recipe['model']}, {recipe['epochs']} epochs, batch {recipe['batch_size']}, seed {recipe['seed']}"
            if adopted is None
            else f"{recipe['model']}{_prepared(opened.recipe.inputs.preparation)}",
        ),
        ("shards × slices", f"{recipe['shards']} × {recipe['slices']}"),
        ("example-steps", None if result is None or elsewhere else result.example_steps),
        ("seconds", None if result is None or elsewhere else result.seconds),
        ("parent", None if told.parent is None else told.parent.path),
        ("schedule", told.beacon_note),
        ("trace", told.trace),
        ("checkpoints", _interval(told.checkpoint_interval)),
        *(("note", notice) for notice in (told.notices or () if elsewhere else ())),
    )


def _print(*facts: tuple[str, object]) -> None:
    for name, value in facts:
        if value is not None:
            say(f"{name:<18} {value}")


def _bundle(path: Path, json: bool) -> None:
    """What the record of a bundle says."""
    told = unchecked(path)
    if json:
        print_json(told.as_json())
        return
    record, data = told.run, told.commit.data
    _print(
        ("status", "the bundle's own word, nothing is checked: `expunge verify` does"),
        ("operation", record.operation.value),
        ("method", record.algorithm.name),
        ("guarantee", f"{record.guarantee.kind.value}, claimed"),
        ("weights digest", told.subject.digest.hex()),
        ("dataset root", data.root.hex()),
        ("recipe digest", record.recipe.hex()),
        ("lineage seed", record.randomness.lineage_seed.hex()),
        ("rows", f"{data.calibration.rows} calibration, {data.holdout.rows} holdout, {data.count} train"),
        ("salts", told.leaves),
        ("forgotten so far", told.forgotten.slots),
        ("recorded", record.recorded_at.text),
        ("record", told.chain[-1].envelope.hex()),
    )


def _told(word: OwnersWord) -> str:
    """How a model was trained elsewhere, as far as its owner says."""
    said = (("epochs", word.epochs), ("batch", word.batch_size), ("rate", word.rate))
    return "by its owner's word, " + ", ".join(f"{name} {'not told' if at is None else at}" for name, at in said)


def _prepared(told: Preparation | None) -> str:
    """What its owner does to every row."""
    if told is None:
        return ""
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (told.mean, told.std))
    return f", rows times {told.scale:g}, minus {mean}, divided by {std}"


def _salts(data: DataFile) -> str:
    """Whether the leaves hide their rows, and where the salts are kept if so."""
    return f"{data.salts}{'' if data.salt_file is None else f', in {data.salt_file}'} ({data.note})"


def _interval(steps: int | None) -> str | None:
    return None if steps is None else f"every {steps} steps"
