"""``expunge info``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.certificates import is_bundle, unchecked
from expunge.cli.shared import Format, Shape, print_as, say, sized
from expunge.data.encoding import Preparation
from expunge.data.told import classes_of, kinds_of
from expunge.records.bundle import MODEL
from expunge.records.form import to_plain
from expunge.records.run_file import DataFile, OwnersWord

if TYPE_CHECKING:
    from expunge.schedule.recipe import Recipe
    from expunge.train.run import Run

RETIRED = "its model is gone: it held rows that were forgotten since, and was destroyed; what follows is what it was"
EXAMPLE = "Example: expunge info runs/base --json"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(info)


def info(
    run: Annotated[Path, typer.Argument(help="Folder of a run; or a bundle.")],
    json: Annotated[bool, typer.Option("--json", help="Print everything that run.json or the record holds.")] = False,
    format: Format = Shape.TEXT,
) -> None:
    """Say what a run is: data, recipe, guarantee, cost, digests; of a bundle what its record says, unchecked."""
    if is_bundle(run):
        _bundle(run, json, format)
        return
    from expunge.train.run import Run

    opened = Run.open_any(run)
    _print(_facts(opened), format, json, lambda: to_plain(opened.told))


def _print(facts: Iterable[tuple[str, object]], format: Shape, json: bool, whole: Callable[[], object]) -> None:
    """A line for each fact that there is, or all that is known."""
    rows = [{"fact": name, "value": value} for name, value in facts if value is not None]
    if not print_as(format, json, whole, rows):
        for row in rows:
            say(f"{row['fact']:<18} {row['value']}")


def _facts(opened: Run) -> Iterator[tuple[str, object]]:
    """Each line's name and what stands there; None where there is nothing to say."""
    told, result = opened.told, opened.told.result
    recipe, counts, adopted = told.recipe, told.data.counts, told.adopted
    elsewhere = told.operation == "adopt"  # nobody counted its work
    accumulated = opened.recipe.accumulated
    yield from (
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
        ("columns", kinds_of(opened.recipe.inputs.columns)),
        ("classes", classes_of(opened.recipe.classes)),
        ("forgotten so far", len(told.tombstones)),
        (
            "recipe",
            _steps(opened.recipe)
            if adopted is None
            else f"{recipe['model']}{_prepared(opened.recipe.inputs.preparation)}",
        ),
        (
            "shards × slices",
            None if accumulated else f"{recipe['shards']} × {recipe['slices']}{_staged(recipe)}",
        ),
        ("answers", told.answers),
        ("of tiers", told.by_tier),
        ("example-steps", None if result is None or elsewhere else result.example_steps),
        ("row-sums", None if result is None else result.row_sums),
        ("seconds", None if result is None or elsewhere else result.seconds),
        ("parent", None if told.parent is None else told.parent.path),
        ("schedule", told.beacon_note),
        ("trace", None if accumulated else told.trace),
        ("checkpoints", _interval(told.checkpoint_interval, told.keep_checkpoints)),
        ("size", _size(opened.path)),
        *(("note", notice) for notice in (told.notices or () if elsewhere else ())),
    )


def _steps(recipe: Recipe) -> str:
    """The model, and how it is trained."""
    if recipe.accumulated:
        options = "".join(f", {name} {value}" for name, value in sorted(recipe.model_options.items()))
        return f"{recipe.model}{options}, a function of sums over the rows, seed {recipe.seed}"
    return f"{recipe.model}, {recipe.epochs} epochs, batch {recipe.batch_size}, seed {recipe.seed}"


def _size(folder: Path) -> str:
    """What the folder takes, and how much of that is the model."""
    whole, model = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()), folder / MODEL
    size = model.stat().st_size if model.is_file() else 0
    return f"{sized(whole)} on disk" + (f", {whole / size:.3g} times the model's {sized(size)}" if size else "")


def _bundle(path: Path, json: bool, format: Shape) -> None:
    """What the record of a bundle says."""
    told = unchecked(path)
    record, data = told.run, told.commit.data
    facts = {
        "status": "the bundle's own word, nothing is checked: `expunge verify` does",
        "operation": record.operation.value,
        "method": record.algorithm.name,
        "guarantee": f"{record.guarantee.kind.value}, claimed",
        "weights digest": told.subject.digest.hex(),
        "dataset root": data.root.hex(),
        "recipe digest": record.recipe.hex(),
        "lineage seed": record.randomness.lineage_seed.hex(),
        "rows": f"{data.calibration.rows} calibration, {data.holdout.rows} holdout, {data.count} train",
        "salts": told.leaves,
        "forgotten so far": told.forgotten.slots,
        "recorded": record.recorded_at.text,
        "record": told.chain[-1].envelope.hex(),
    }
    _print(facts.items(), format, json, told.as_json)


def _staged(recipe: Mapping[str, Any]) -> str:
    """That slices are tiers, and how long the stage of each takes, where that is said."""
    epochs = f", stages of {', '.join(map(str, recipe['stages']))} epochs" if "stages" in recipe else ""
    return f" tiers{epochs}" if "tiers" in recipe else epochs


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


def _interval(steps: int | None, keep: int | None) -> str | None:
    kept = "" if keep is None else f", {keep} of each shard kept"
    return None if steps is None else f"every {steps} steps{kept}"
