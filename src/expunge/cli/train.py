"""``expunge train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from expunge.cli.shared import choice, pairs, print_json, progress_bar, say, short
from expunge.records.form import to_plain

if TYPE_CHECKING:
    from expunge.train.run import Run

EXAMPLE = "Example: expunge train digits --model cnn --epochs 8 --out runs/base"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLE)(train)


def train(
    source: Annotated[
        str,
        typer.Argument(
            help="digits, FILE.npz, FILE.csv, FILE.parquet, a folder of images or a saved data set, hf:NAME"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command continues an interrupted one.")],
    label: Annotated[str | None, typer.Option(help="Column that holds the label.")] = None,
    subject: Annotated[str | None, typer.Option(help="Column that names the person a row belongs to.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that names the row.")] = None,
    numeric: Annotated[list[str] | None, typer.Option(help="Column to read as numbers (repeatable).")] = None,
    categorical: Annotated[list[str] | None, typer.Option(help="Column to read as categories (repeatable).")] = None,
    text: Annotated[list[str] | None, typer.Option(help="Column to read as text (repeatable).")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side that images are resized to.")] = None,
    split: Annotated[str | None, typer.Option(help="Split of a Hugging Face data set.")] = None,
    rows: Annotated[int | None, typer.Option(help="Take only the first so many rows of the data.")] = None,
    model: Annotated[str, typer.Option(help="mlp, cnn, resnet18, linear, or package.module:factory.")] = "cnn",
    model_options: Annotated[
        list[str] | None, typer.Option("--model-option", help="name=value for the model (repeatable).")
    ] = None,
    task: Annotated[str, typer.Option(help="What is learnt: classification, logistic or squared.")] = "classification",
    epochs: Annotated[int, typer.Option(help="Passes over the training rows.")] = 8,
    batch_size: Annotated[int, typer.Option(help="Chairs in a batch.")] = 64,
    optimiser: Annotated[str, typer.Option(help="sgd, adam, adamw or sign.")] = "sgd",
    rate: Annotated[float | None, typer.Option(help="Learning rate; 0.05 for sgd, 0.001 for the others.")] = None,
    momentum: Annotated[float, typer.Option(help="Momentum of sgd, first beta of adam and adamw.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 5e-4,
    calendar: Annotated[str, typer.Option(help="How the rate moves: constant, cosine, step or warm-up.")] = "cosine",
    flip: Annotated[bool, typer.Option("--flip", help="Flip images at random.")] = False,
    crop: Annotated[int, typer.Option(help="Crop images at random after padding by so many pixels.")] = 0,
    shards: Annotated[int, typer.Option(help="Isolated models whose answers are averaged.")] = 1,
    slices: Annotated[int, typer.Option(help="Stages of each shard's training.")] = 1,
    placement: Annotated[str, typer.Option(help="What is dealt to shards and slices: subject or slot.")] = "subject",
    voting: Annotated[str, typer.Option(help="How shards answer as one: mean or majority.")] = "mean",
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Rows to train without: subject:NAME, ids:FILE, class:K, random:10%:SEED or a saved forget set "
            "(repeatable)."
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed of the 80/5/15 split.")] = 0,
    split_by: Annotated[str, typer.Option(help="What the split deals out: rows or subject.")] = "rows",
    least_present: Annotated[int | None, typer.Option(help="Fewest rows for a step; 2 with a batch norm.")] = None,
    category_buckets: Annotated[int, typer.Option(help="Buckets that a category is hashed into.")] = 32,
    text_buckets: Annotated[int, typer.Option(help="Buckets that words are hashed into.")] = 1024,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    perturbation: Annotated[
        float, typer.Option(help="σ of secret noise in a convex loss, for certified removal; 0 is none.")
    ] = 0.0,
    noise_key: Annotated[
        Path | None, typer.Option(help="Key that the noise is drawn under; a new one is made unless given.")
    ] = None,
    profile: Annotated[str, typer.Option(help="exact (bits are pinned) or speed.")] = "exact",
    threads: Annotated[int, typer.Option(help="Threads; any number but 1 earns no Exact.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    checkpoint_interval: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    trace: Annotated[
        str, typer.Option(help="What is kept of every step: digests of losses, of gradients too, or off.")
    ] = "losses",
    commit_only: Annotated[
        bool, typer.Option("--commit-only", help="Fix data and recipe in the folder, train nothing.")
    ] = False,
    salts: Annotated[
        Path | None, typer.Option(help="File of secret salts; --commit-only draws one where there is none.")
    ] = None,
    beacon: Annotated[
        str | None, typer.Option(help="Value drawn after the commitment: 64 hexadecimal digits or a JSON file.")
    ] = None,
    base: Annotated[
        Path | None, typer.Option(help="File of weights (safetensors) to begin with; the run is exact relative to it.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Key that signs the commitment.")] = None,
    log: Annotated[
        Path | None,
        typer.Option(help="Log to enter the commitment into; `log` beside the key unless said."),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(help="Name of a log that is begun; from trusted.json beside the key unless said."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the run as JSON.")] = False,
) -> None:
    """Train with a record that can be replayed."""
    from expunge.core.errors import InvalidArgument
    from expunge.data.source import Source
    from expunge.data.splits import SplitBy
    from expunge.models import resolver
    from expunge.schedule.recipe import (
        Augmentation,
        Calendar,
        Optimiser,
        OptimiserName,
        Placement,
        Precision,
        Profile,
        Voting,
    )
    from expunge.train.trace import Trace
    from expunge.train.training import train as train_run

    if (key or log or origin) and not commit_only:
        raise InvalidArgument(
            "--key, --log and --origin are for a commitment: add --commit-only, or sign the finished run with "
            "`expunge attest`"
        )
    if (log or origin) and not key:
        raise InvalidArgument("--log and --origin are for a commitment that is signed: give the key with --key FILE")
    chosen = choice(OptimiserName, optimiser, "--optimiser")
    default_rate = 0.05 if chosen is OptimiserName.SGD else 0.001
    fields: dict[str, Any] = {} if least_present is None else {"least_present": least_present}
    with progress_bar("train") as progress:
        run = train_run(
            Source(
                location=source,
                label=label,
                subject=subject,
                id=id,
                numeric=tuple(numeric or ()),
                categorical=tuple(categorical or ()),
                text=tuple(text or ()),
                image_size=image_size,
                split=split,
                rows=rows,
            ),
            out=out,
            split_seed=split_seed,
            split_by=choice(SplitBy, split_by, "--split-by"),
            device=device,
            checkpoint_interval=checkpoint_interval,
            trace=choice(Trace, trace, "--trace"),
            progress=progress,
            noise_key=noise_key,
            without=without or None,
            salts=salts,
            beacon=beacon,
            commit_only=commit_only,
            base=base,
            model=model,
            model_options=resolver.model_options(pairs(model_options or [], "--model-option")),
            optimiser=Optimiser(
                name=chosen,
                rate=default_rate if rate is None else rate,
                momentum=momentum,
                beta1=momentum if chosen in (OptimiserName.ADAM, OptimiserName.ADAMW) else 0.9,
                weight_decay=weight_decay,
                calendar=choice(Calendar, calendar, "--calendar"),
            ),
            augmentation=Augmentation(flip=flip, crop=crop),
            task=task,
            perturbation=perturbation,
            epochs=epochs,
            batch_size=batch_size,
            shards=shards,
            slices=slices,
            placement=choice(Placement, placement, "--placement"),
            voting=choice(Voting, voting, "--voting"),
            seed=seed,
            precision=choice(Precision, precision, "--precision"),
            profile=choice(Profile, profile, "--profile"),
            threads=threads,
            category_buckets=category_buckets,
            text_buckets=text_buckets,
            **fields,
        )
    if commit_only:
        _say_committed(run, key, log, origin, json)
        return
    if json:
        print_json(to_plain(run.told))
        return
    counts, left_out = run.told.data.counts, len(run.tombstones)
    apart = f"{left_out} left out, " if left_out else ""
    work = f"{run.result.example_steps:g} example-steps in {run.result.seconds:.1f} s"
    typer.echo(
        f"trained {model} on {counts.train - left_out} rows ({apart}{counts.calibration} calibration, "
        f"{counts.holdout} holdout) with {work}"
    )
    for notice in run.told.notices or ():
        say(f"note: {notice}")
    if run.result.exact_refused:
        say(f"not exact: {run.result.exact_refused}")
    typer.echo(f"weights {short(run.weights_digest)}  guarantee {run.guarantee}  run {out}")


def _say_committed(run: Run, key: Path | None, log: Path | None, origin: str | None, json: bool) -> None:
    """Sign and log the commitment where a key was given, and say what stands fixed now."""
    signed = None
    if key is not None:
        from expunge.attest.attest import commit_run

        signed = commit_run(run, key, log, origin)
    if json:
        print_json({**to_plain(run.told), "commitment": None if signed is None else to_plain(signed)})
        return
    data = run.told.data
    counts, place = data.counts, data.salt_file
    typer.echo(
        f"committed {counts.train} rows ({counts.calibration} calibration, {counts.holdout} holdout), "
        f"root {short(run.told.dataset_root)}, recipe {short(run.told.recipe_digest)}; nothing is trained"
    )
    typer.echo("salts are open: the leaves hide nothing" if place is None else f"salts are secret: keep {place} apart")
    if signed is None:
        typer.echo("nothing was signed or logged: a commitment that nobody else has seen orders nothing; give --key")
    else:
        typer.echo(
            f"signed as record {short(signed.record.hex())}, entry {signed.log.entries} of log {signed.log.origin}"
        )
        for notice in signed.notices:
            say(f"note: {notice}")
    typer.echo(f"train from it with the same command, without --commit-only and with --beacon  run {run.path}")
