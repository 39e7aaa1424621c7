"""``expunge train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from expunge.cli import completion
from expunge.cli.reading import (
    CATEGORICAL,
    DATE,
    DECIMAL,
    ENCODING,
    ID,
    IMAGE_SIZE,
    LABEL,
    MISSING,
    NO_HEADER,
    NUMERIC,
    ROWS,
    SEPARATOR,
    SPLIT,
    SUBJECT,
    TEXT,
)
from expunge.cli.shared import pairs, print_json, progress_bar, say, short
from expunge.records.form import to_plain

if TYPE_CHECKING:
    from expunge.train.apart import TrainsApart
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
    label: LABEL = None,
    subject: SUBJECT = None,
    id: ID = None,
    numeric: NUMERIC = None,
    categorical: CATEGORICAL = None,
    text: TEXT = None,
    date: DATE = None,
    missing: MISSING = None,
    separator: SEPARATOR = None,
    decimal: DECIMAL = None,
    encoding: ENCODING = None,
    no_header: NO_HEADER = False,
    image_size: IMAGE_SIZE = None,
    split: SPLIT = None,
    rows: ROWS = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="mlp, cnn, resnet18, linear, or package.module:factory; ridge, patch-ridge, naive-bayes or forest, "
            "which take no steps and forget exactly at little cost; one that fits the data unless said.",
            autocompletion=completion.models,
        ),
    ] = None,
    model_options: Annotated[
        list[str] | None, typer.Option("--model-option", help="name=value for the model (repeatable).")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="What is learnt: classification (unless said), logistic, squared, or regression of numbers.",
            autocompletion=completion.tasks,
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training rows; 8, for regression 32.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Chairs in a batch; 64.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="sgd (unless said), adam, adamw or sign.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Learning rate; 0.05 for sgd (regression 0.02), else 0.001.")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="Momentum of sgd, first beta of adam and adamw; 0.9, for sign 0.")
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Weight decay; 0.0005, for regression 0.01, for sign 0.")
    ] = None,
    calendar: Annotated[
        str | None, typer.Option(help="How the rate moves: constant, cosine (unless said), step or warm-up.")
    ] = None,
    flip: Annotated[bool | None, typer.Option("--flip", help="Flip images at random.")] = None,
    crop: Annotated[int | None, typer.Option(help="Crop images at random after padding by so many pixels.")] = None,
    shards: Annotated[int | None, typer.Option(help="Isolated models whose answers are averaged; 1.")] = None,
    slices: Annotated[int | None, typer.Option(help="Stages of each shard's training; 1.")] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            help="What is dealt to shards and slices: subject (unless said), slot, or tiers:FILE (CSV of subject and "
            "tier: a higher tier is trained on later and costs less to forget)."
        ),
    ] = None,
    stages: Annotated[
        str | None, typer.Option(help="Epochs of each slice's or tier's stage, such as 9,1; by --epochs unless said.")
    ] = None,
    voting: Annotated[
        str | None, typer.Option(help="How shards answer as one: mean (unless said) or majority.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the training; 0.")] = None,
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
    category_buckets: Annotated[int | None, typer.Option(help="Buckets that a category is hashed into; 32.")] = None,
    text_buckets: Annotated[int | None, typer.Option(help="Buckets that words are hashed into; 1024.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32 (unless said) or bfloat16.")] = None,
    perturbation: Annotated[
        float | None, typer.Option(help="σ of secret noise in a convex loss, for certified removal; none unless said.")
    ] = None,
    noise_key: Annotated[
        Path | None, typer.Option(help="Key that the noise is drawn under; a new one is made unless given.")
    ] = None,
    profile: Annotated[str | None, typer.Option(help="exact (unless said: bits are pinned) or speed.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads; 1: any other number earns no Exact.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(help="contiguous or channels-last, the latter for convolutions of ours unless said: faster."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    checkpoint_interval: Annotated[int | None, typer.Option(help="Steps between checkpoints.")] = None,
    keep_checkpoints: Annotated[
        int | None, typer.Option(help="Keep so many checkpoints of each shard, evenly spaced; all unless said.")
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(help="What is kept of every step: losses (digests, unless said), gradients too, or off."),
    ] = None,
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
    jobs: Annotated[
        int, typer.Option(help="Shards that are trained at once, each by a process of its own, to the same bytes.")
    ] = 1,
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
    from expunge.models import resolver
    from expunge.train.call import train as train_run

    if (key or log or origin) and not commit_only:
        raise InvalidArgument(
            "--key, --log and --origin are for a commitment: add --commit-only, or sign the finished run with "
            "`expunge attest`"
        )
    if (log or origin) and not key:
        raise InvalidArgument("--log and --origin are for a commitment that is signed: give the key with --key FILE")
    with progress_bar("train") as progress:
        run = train_run(
            source,
            out=out,
            label=label,
            subject=subject,
            id=id,
            numeric=numeric or (),
            categorical=categorical or (),
            text=text or (),
            date=date or (),
            missing=missing,
            separator=separator,
            decimal=decimal,
            encoding=encoding,
            no_header=no_header,
            image_size=image_size,
            split=split,
            rows=rows,
            model=model,
            model_options=resolver.model_options(pairs(model_options or [], "--model-option")),
            task=task,
            epochs=epochs,
            batch_size=batch_size,
            optimiser=optimiser,
            rate=rate,
            momentum=momentum,
            weight_decay=weight_decay,
            calendar=calendar,
            flip=flip,
            crop=crop,
            shards=shards,
            slices=slices,
            placement=placement,
            stages=stages,
            voting=voting,
            seed=seed,
            least_present=least_present,
            category_buckets=category_buckets,
            text_buckets=text_buckets,
            precision=precision,
            profile=profile,
            threads=threads,
            layout=layout,
            perturbation=perturbation,
            without=without or None,
            split_seed=split_seed,
            split_by=split_by,
            device=device,
            checkpoint_interval=checkpoint_interval,
            keep_checkpoints=keep_checkpoints,
            trace=trace,
            noise_key=noise_key,
            commit_only=commit_only,
            salts=salts,
            beacon=beacon,
            base=base,
            apart=_apart(jobs),
            progress=progress,
            tell=None if json else say,
        )
    if commit_only:
        _say_committed(run, key, log, origin, json)
        return
    if json:
        print_json(to_plain(run.told))
        return
    counts, left_out = run.told.data.counts, len(run.tombstones)
    apart = f"{left_out} left out, " if left_out else ""
    work = f"{run.result.work} in {run.result.seconds:.1f} s"
    typer.echo(
        f"trained {run.recipe.model} on {counts.train - left_out} rows ({apart}{counts.calibration} calibration, "
        f"{counts.holdout} holdout) with {work}"
    )
    if (answers := run.told.answers) is not None:
        typer.echo(f"answers as rows are labelled: {answers}")
    if (tiered := run.told.by_tier) is not None:
        typer.echo(f"those trained on, tier by tier: {tiered}")
    for notice in run.told.notices or ():
        say(f"note: {notice}")
    if run.result.exact_refused:
        say(f"not exact: {run.result.exact_refused}")
    typer.echo(f"weights {short(run.weights_digest)}  guarantee {run.guarantee}  run {out}")


def _apart(jobs: int) -> TrainsApart | None:
    """Shards side by side, where several jobs are asked for; one process does not wait for what they import."""
    if jobs == 1:
        return None
    from expunge.study.side_by_side import SideBySide

    return SideBySide(jobs)


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
