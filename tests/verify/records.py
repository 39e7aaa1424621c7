"""Honest records without any training, and their bundles: what ``lineages`` makes up, told as its owner would."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.logged import cosign
from tests.verify.lineages import (
    ORIGIN,
    OWNER,
    RECORDED_AT,
    TRUSTED,
    WITNESS,
    Lineage,
    MadeUp,
    environment_of,
    small_recipe,
)

from expunge.adversary.table.retelling import Tale
from expunge.adversary.table.story import Story
from expunge.adversary.table.telling import request_for
from expunge.core.hashing import sha256
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.records.bundle import TRACE, write_folder
from expunge.records.claims import claims_of, not_claimed
from expunge.records.draft import Draft, bundle_files, sign
from expunge.records.keys import SigningKey
from expunge.records.log import Log
from expunge.records.note import sign_checkpoint
from expunge.records.record import (
    Algorithm,
    Checkpoints,
    CostPart,
    GuaranteeKind,
    GuaranteePart,
    Operation,
    Randomness,
    Request,
    Reuse,
    RunData,
    RunRecord,
    SchedulePart,
    TracePart,
    preprocessing_digest,
    states_root,
)
from expunge.records.statement import Statement
from expunge.records.verdict import Level, Verdict
from expunge.schedule.recipe import Calendar, Optimiser, Profile
from expunge.verify.verify import verify


def statement_of(
    made: MadeUp,
    algorithm: str,
    *,
    parent: Statement | None = None,
    requests: Sequence[Request] = (),
    reuse: Sequence[Reuse] = (),
    guarantee: GuaranteePart | None = None,
    own_steps: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> Statement:
    """The statement of a made-up run; ``parent`` is the run before it, if there is one."""
    lineage, tale = made.lineage, made.tale
    recipe, schedule = lineage.recipe, lineage.schedule
    operation = {"train": Operation.TRAIN, "retrain": Operation.RETRAIN}.get(algorithm, Operation.UNLEARN)
    exact = recipe.profile is Profile.EXACT and recipe.threads == 1 and not own_steps
    earned = guarantee or GuaranteePart(kind=GuaranteeKind.EXACT if exact else GuaranteeKind.EMPIRICAL)
    method_seed = None
    if own_steps:
        assert parent is not None
        method_seed = lineage_seed(
            unlearning_digest(recipe.digest, parent.digest, 7), lineage.root, lineage.beacon.value
        )
    record = RunRecord(
        operation=operation,
        recorded_at=RECORDED_AT,
        recorded_afterwards=True,
        guarantee=earned,
        algorithm=Algorithm(name=algorithm, version="0.1.0", fields=dict(fields or {}), package=sha256(b"package")),
        recipe=recipe.digest,
        environment=environment_of(recipe),
        data=RunData(
            root=lineage.root,
            count=lineage.count,
            tombstones=made.emptied,
            preprocessing=preprocessing_digest(recipe.as_json(), lineage.origins),
            released_calibration=(),
            released_holdout=(),
        ),
        requests=tuple(requests),
        randomness=Randomness(
            beacon=lineage.beacon,
            derivation="expunge/seed/1",
            lineage_seed=schedule.seed,
            request_seed=7 if own_steps else None,  # pyright: ignore[reportArgumentType]
            method_seed=method_seed,
        ),
        schedule=SchedulePart(
            root=schedule.digest(),
            steps=tuple(schedule.total_steps(shard) for shard in range(schedule.shards)),
            batch_size=recipe.batch_size,
            shards=recipe.shards,
            slices=recipe.slices,
            least_present=recipe.least_present,
            drop_last=False,
        ),
        alive=made.alive,
        reuse=tuple(reuse),
        retired=(),
        cost=CostPart(thirds=3 if own_steps else tale.thirds(reuse), seconds=1.5),
        commit=bytes(32),
        parent=bytes(32),
        claim=claims_of(operation, earned.kind, emptied=bool(made.emptied), recorded=not own_steps),
        not_claimed=not_claimed(),
        checkpoints=None
        if own_steps
        else Checkpoints(
            interval=lineage.interval,
            count=len(tale.states),
            root=states_root(tale.states),
            buffers=tale.buffers,
            states=tale.states,
        ),
        trace=None if own_steps else TracePart(mode=lineage.mode, digest=sha256(tale.trace)),
        noise_commitment=lineage.noise,
    )
    return Statement(name=recipe.model, digest=tale.digest, predicate=record)


def reuse_of(made: MadeUp, before: MadeUp) -> tuple[Reuse, ...]:
    """What an exact replay takes over: in each shard the last state of ``before`` that saw nobody newly gone."""
    schedule, found = made.lineage.schedule, list[Reuse]()
    newly = np.array(sorted(set(made.emptied) - set(before.emptied)), dtype=np.int64)
    for shard in made.alive:
        touched = schedule.first_touch(shard, newly)
        kept = [step for step in before.kept_steps(shard) if touched is None or step <= touched]
        step = kept[-1] if kept and shard in before.alive else 0
        leaf = before.state(shard, step).leaf if step else None
        found.append(Reuse(shard=shard, step=step, leaf=leaf, first_touched=touched))
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class MadeUpStory(Story):
    """A chain of made-up runs; ``made`` has one of them for each link after the commitment."""

    lineage: Lineage
    made: tuple[MadeUp, ...]

    @property
    def last(self) -> MadeUp:
        return self.made[-1]

    @property
    def tale(self) -> Tale:
        """Steps and states of the last run."""
        return self.last.tale

    def and_then(self, made: MadeUp, algorithm: str, slots: Collection[int], **fields: Any) -> MadeUpStory:
        """The story with one more run, which was asked to forget these slots."""
        parent = self.link()
        asked = [request_for(self, slots, parent.digest)]
        run = statement_of(made, algorithm, parent=parent, requests=asked, **fields)
        return replace(self.then(run, made.tale), made=(*self.made, made))

    def remade(self, made: MadeUp, **fields: Any) -> MadeUpStory:
        """The story whose last run is another, which its record fits; its work stays what it was said to be."""
        return replace(self.retold(made.tale, cost=self.record.cost, **fields), made=(*self.made[:-1], made))


def trained(lineage: Lineage | None = None, *, without: Sequence[int] = ()) -> MadeUpStory:
    """commit → train; ``without`` are rows that were left out from the first step."""
    lineage = lineage or Lineage()
    made = MadeUp(lineage=lineage, emptied=tuple(sorted(without)))
    draft = Draft(chain=(lineage.commit, statement_of(made, "train")), files={**lineage.files, **made.tale.files})
    story = MadeUpStory(lineage=lineage, made=(made,), draft=draft)
    return story.changed(requests=(request_for(story, without),)) if without else story


def forgot(
    story: MadeUpStory, slots: Collection[int], *, algorithm: str = "exact-replay", **fields: Any
) -> MadeUpStory:
    """A story with one more run, which forgot these slots by exact-replay or retrain."""
    made = MadeUp(lineage=story.lineage, emptied=tuple(sorted({*story.last.emptied, *slots})))
    reuse = reuse_of(made, story.last)
    if algorithm == "retrain":
        reuse = tuple(replace(item, step=0, leaf=None) for item in reuse)
    return story.and_then(made, algorithm, slots, reuse=reuse, **fields)


def approximated(
    story: MadeUpStory, slots: Collection[int], *, algorithm: str = "fine-tune", **fields: Any
) -> MadeUpStory:
    """A story with one more run, by a method that took steps of its own."""
    emptied = tuple(sorted({*story.last.emptied, *slots}))
    made = MadeUp(lineage=story.lineage, emptied=emptied, flavour=algorithm.encode())
    told = story.and_then(made, algorithm, slots, own_steps=True, **fields)
    return told.without_states().with_files({TRACE: None})


def certified() -> MadeUpStory:
    """A training under noise, and a certified removal from it."""
    optimiser = Optimiser(calendar=Calendar.CONSTANT, momentum=0.0)
    recipe = small_recipe(task="logistic", model="linear", optimiser=optimiser, perturbation=1.5)
    story = trained(Lineage(recipe=recipe, noise=sha256(b"noise key")))
    guarantee = GuaranteePart(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4)
    return approximated(
        story, (4,), algorithm="certified-logistic", guarantee=guarantee, fields={"epsilon": 1.0, "delta": 1e-4}
    )


def forged(story: MadeUpStory, steps: Mapping[tuple[int, int], Sequence[int]]) -> MadeUpStory:
    """The story whose last run states that these (shard, step) were carried out with these members, and fits that."""
    return story.remade(replace(story.last, steps={place: tuple(members) for place, members in steps.items()}))


def files_of(
    story: Story | Draft,
    *,
    key: SigningKey = OWNER,
    commit_first: bool = False,
    witnessed_at: int | None = None,
    cosigned_at: int | None = None,
) -> dict[str, bytes]:
    """The files of a bundle, signed and logged.

    ``commit_first`` keeps the log's checkpoint from before the runs were entered; ``witnessed_at`` is when a witness
    cosigned that one, ``cosigned_at`` when it cosigned the last, in seconds since 1970.
    """
    signed = sign(story if isinstance(story, Draft) else story.draft, key)
    log = Log(ORIGIN, signed.digests)
    first, last = (sign_checkpoint(log.head(size), key) for size in (1, log.size))
    if witnessed_at is not None:
        first = cosign(first, "example.org/witness", WITNESS, witnessed_at)
    if cosigned_at is not None:
        last = cosign(last, "example.org/witness", WITNESS, cosigned_at)
    files = bundle_files(signed, log, last, [first] if commit_first or witnessed_at is not None else [])
    return {name: content if isinstance(content, bytes) else content.read_bytes() for name, content in files.items()}


def bundle(story: Story | Draft, folder: Path, **options: Any) -> Path:
    """Sign, log and write a bundle as a folder; ``options`` are those of ``files_of``."""
    write_folder(folder / "bundle", files_of(story, **options))
    return folder / "bundle"


def verdict(story: Story | Draft, folder: Path, level: Level = Level.V1, **options: Any) -> Verdict:
    """Write a bundle and verify it; ``options`` are those of ``bundle``."""
    return verify(bundle(story, folder, **options), keys=TRUSTED, level=level)


def codes(story: Story | Draft, folder: Path, level: Level = Level.V1, **options: Any) -> list[str]:
    """The codes under which a bundle is refused."""
    return [code.value for code in verdict(story, folder, level, **options).codes]


def refusals(path: Path, level: Level = Level.V1, **options: Any) -> list[str]:
    return [code.value for code in verify(path, keys=TRUSTED, level=level, **options).codes]


def rewritten(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The bundle with one file changed where it lies, which nobody signs again."""
    content = (path / name).read_bytes()
    (path / name).unlink()
    (path / name).write_bytes(change(content))
    return path


def with_log(story: Story, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A bundle whose files of the log were changed before it was written."""
    files: dict[str, Any] = files_of(story)
    change(files)
    write_folder(folder / "bundle", files)
    return folder / "bundle"
