"""``expunge adopt``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from expunge.cli import completion
from expunge.cli.reading import ID, IMAGE_SIZE, LABEL, SPLIT, SUBJECT
from expunge.cli.shared import pairs, print_json, say, short
from expunge.records.form import to_plain

EXAMPLE = (
    "Example: expunge adopt model.safetensors train.npz --model my_package.nets:make --scale 1/255 --holdout test.npz "
    "--out runs/adopted"
)


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(adopt)


def adopt(
    weights: Annotated[Path, typer.Argument(help="FILE.safetensors with the model's weights, kept to the byte.")],
    source: Annotated[
        str, typer.Argument(help="The rows that it was trained on: in any form that `expunge train` takes.")
    ],
    model: Annotated[
        str,
        typer.Option(
            help="The model's package.module:factory, or mlp, cnn, resnet18, linear.", autocompletion=completion.models
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    holdout: Annotated[
        str | None, typer.Option(help="Rows that it was never trained on: a quarter for calibration, the rest holdout.")
    ] = None,
    label: LABEL = None,
    subject: SUBJECT = None,
    id: ID = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column that says of every row: train, calibration, holdout or test.")
    ] = None,
    split: SPLIT = None,
    holdout_split: Annotated[
        str | None, typer.Option(help="Split of the holdout, if it is a Hugging Face data set too.")
    ] = None,
    image_size: IMAGE_SIZE = None,
    model_options: Annotated[
        list[str] | None, typer.Option("--model-option", help="name=value for the factory (repeatable).")
    ] = None,
    scale: Annotated[str, typer.Option(help="Its owner multiplies every entry by this, such as 1/255.")] = "1",
    mean: Annotated[str, typer.Option(help="Then subtracts this: one number, or one a channel, with commas.")] = "0",
    std: Annotated[str, typer.Option(help="Then divides by this: one number, or one a channel, with commas.")] = "1",
    task: Annotated[
        str,
        typer.Option(
            help="What it learnt: classification, logistic, squared or regression.", autocompletion=completion.tasks
        ),
    ] = "classification",
    epochs: Annotated[int | None, typer.Option(help="How many epochs it was trained for; budgets refer to it.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows in a batch of its training.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate of its training.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows that it was trained without: subject:NAME, ids:FILE, class:K, random:10%:SEED or a saved forget "
            "set (repeatable)."
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed by which the holdout is dealt out.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads of whatever is computed with it.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Take over a model that was trained elsewhere."""
    from expunge.data.source import Source
    from expunge.models import resolver
    from expunge.train.adopt import adopt as adopt_model

    data = Source(location=source, label=label, subject=subject, id=id, image_size=image_size, split=split)
    others = None if holdout is None else replace(data, location=holdout, split=holdout_split)
    run = adopt_model(
        weights,
        data,
        model=model,
        out=out,
        holdout=others,
        split_column=split_column,
        split_seed=split_seed,
        without=without or None,
        scale=_number(scale, "--scale"),
        mean=[_number(one, "--mean") for one in mean.split(",")],
        std=[_number(one, "--std") for one in std.split(",")],
        epochs=epochs,
        batch_size=batch_size,
        rate=rate,
        task=task,
        model_options=resolver.model_options(pairs(model_options or [], "--model-option")),
        threads=threads,
        device=device,
    )
    if json:
        print_json(to_plain(run.told))
        return
    counts, left_out = run.told.data.counts, len(run.tombstones)
    apart = f"{left_out} left out, " if left_out else ""
    typer.echo(
        f"adopted {model} with {run.result.parameters:,} parameters, trained elsewhere on {counts.train - left_out} "
        f"rows ({apart}{counts.calibration} calibration, {counts.holdout} holdout)"
    )
    for notice in run.told.notices or ():
        say(f"note: {notice}")
    typer.echo(f"weights {short(run.weights_digest)}  guarantee {run.guarantee}  run {out}")


def _number(text: str, option: str) -> float:
    """``0.5`` or ``1/255``."""
    from expunge.core.errors import InvalidArgument

    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise InvalidArgument(f"{option} {text!r} must be a number such as 0.5, or a fraction such as 1/255") from None
