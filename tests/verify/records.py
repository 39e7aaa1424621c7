"""Honest records without any training, and their bundles: what ``lineages`` makes up, told as its owner would."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.logged import cosign, sign_and_log
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

from expunge.adversary.table.story import Story
from expunge.core.hashing import sha256
from expunge.core.streams import lineage_seed, unlearning_digest
from expunge.records.bundle import TRACE, write_folder
from expunge.records.claims import claims_of, not_claimed
from expunge.records.draft import Draft, bundle_files
from expunge.records.envelope import envelope_digest, seal
from expunge.records.keys import SigningKey
from expunge.records.log import writing
from expunge.records.record import (
    Algorithm,
    Cost,
    Guarantee,
    GuaranteeKind,
    Initiator,
    Operation,
    Randomness,
    Request,
    Reuse,
    RunData,
    RunRecord,
    SchedulePart,
    Trace,
    preprocessing_digest,
)
from expunge.records.statement import Statement, write_statement
from expunge.records.verdict import Level, Verdict
from expunge.schedule.recipe import Calendar, Optimiser, Profile
from expunge.verify.verify import verify


def statement_of(
    made: MadeUp,
    *,
    operation: Operation,
    algorithm: str,
    parent: Statement | None = None,
    requests: Sequence[Request] = (),
    reuse: Sequence[Reuse] = (),
    guarantee: Guarantee | None = None,
    own_steps: bool = False,
    fields: Mapping[str, Any] | None = None,
) -> Statement:
    """The statement of a made-up run; ``parent`` is the run before it, if there is one."""
    lineage = made.lineage
    recipe, schedule = lineage.recipe, lineage.schedule
    exact = recipe.profile is Profile.EXACT and recipe.threads == 1 and not own_steps
    earned = guarantee or Guarantee(kind=GuaranteeKind.EXACT if exact else GuaranteeKind.EMPIRICAL)
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
        cost=Cost(thirds=3 if own_steps else made.thirds(reuse), seconds=1.5),
        commit=bytes(32),
        parent=bytes(32),
        claim=claims_of(operation, earned.kind, emptied=bool(made.emptied), recorded=not own_steps),
        not_claimed=not_claimed(),
        checkpoints=None if own_steps else made.checkpoints,
        trace=None if own_steps else Trace(mode=lineage.mode, digest=sha256(made.trace)),
        noise_commitment=lineage.noise,
    )
    return Statement(name=recipe.model, digest=made.digest, predicate=record)


def request_for(slots: Sequence[int], root: bytes, model: bytes | None, **fields: Any) -> Request:
    """A request of the owner."""
    settings: dict[str, Any] = {"cases": (), "initiator": Initiator.OWNER, "received": RECORDED_AT, "receipts": ()}
    return Request(slots=tuple(sorted(slots)), root=root, model=model, **{**settings, **fields})


def reuse_of(made: MadeUp, before: MadeUp, *, most: int | None = None) -> tuple[Reuse, ...]:
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

    def and_then(self, made: MadeUp, run: Statement) -> MadeUpStory:
        """The story with one more run."""
        return replace(self.then(run, made), made=(*self.made, made))

    def remade(self, made: MadeUp, **fields: Any) -> MadeUpStory:
        """The story whose last run is another, which its record fits; its work stays what it was said to be."""
        return replace(self.retold(made, cost=self.record.cost, **fields), made=(*self.made[:-1], made))


def trained(lineage: Lineage | None = None, *, without: Sequence[int] = ()) -> MadeUpStory:
    """commit → train; ``without`` are rows that were left out from the first step."""
    lineage = lineage or Lineage()
    made = MadeUp(lineage=lineage, emptied=tuple(sorted(without)))
    requests = [request_for(without, lineage.root, None)] if without else []
    run = statement_of(made, operation=Operation.TRAIN, algorithm="train", requests=requests)
    draft = Draft(chain=(lineage.commit, run), files={**lineage.files, **made.files})
    return MadeUpStory(lineage=lineage, made=(made,), draft=draft)


def forgot(story: MadeUpStory, slots: Sequence[int], *, algorithm: str = "exact-replay", **fields: Any) -> MadeUpStory:
    """A story with one more run, which forgot these slots by exact-replay or retrain."""
    parent = story.link()
    made = MadeUp(lineage=story.lineage, emptied=tuple(sorted({*story.last.emptied, *slots})))
    reuse = reuse_of(made, story.last)
    if algorithm == "retrain":
        reuse = tuple(replace(item, step=0, leaf=None) for item in reuse)
    run = statement_of(
        made,
        operation=Operation.RETRAIN if algorithm == "retrain" else Operation.UNLEARN,
        algorithm=algorithm,
        parent=parent,
        requests=[request_for(slots, story.lineage.root, parent.digest)],
        reuse=reuse,
        **fields,
    )
    return story.and_then(made, run)


def approximated(
    story: MadeUpStory, slots: Sequence[int], *, algorithm: str = "fine-tune", **fields: Any
) -> MadeUpStory:
    """A story with one more run, by a method that took steps of its own."""
    parent = story.link()
    emptied = tuple(sorted({*story.last.emptied, *slots}))
    made = MadeUp(lineage=story.lineage, emptied=emptied, flavour=algorithm.encode())
    run = statement_of(
        made,
        operation=Operation.UNLEARN,
        algorithm=algorithm,
        parent=parent,
        requests=[request_for(slots, story.lineage.root, parent.digest)],
        own_steps=True,
        **fields,
    )
    return story.and_then(made, run).without_states().with_files({TRACE: None})


def certified() -> MadeUpStory:
    """A training under noise, and a certified removal from it."""
    optimiser = Optimiser(calendar=Calendar.CONSTANT, momentum=0.0)
    recipe = small_recipe(task="logistic", model="linear", optimiser=optimiser, perturbation=1.5)
    story = trained(Lineage(recipe=recipe, noise=sha256(b"noise key")))
    guarantee = Guarantee(kind=GuaranteeKind.CERTIFIED, epsilon=1.0, delta=1e-4)
    return approximated(
        story, (4,), algorithm="certified-logistic", guarantee=guarantee, fields={"epsilon": 1.0, "delta": 1e-4}
    )


def forged(story: MadeUpStory, steps: Mapping[tuple[int, int], Sequence[int]]) -> MadeUpStory:
    """The story whose last run states that these (shard, step) were carried out with these members, and fits that."""
    return story.remade(replace(story.last, steps={place: tuple(members) for place, members in steps.items()}))


def bundle(
    story: Story | Draft,
    folder: Path,
    *,
    key: SigningKey = OWNER,
    commit_first: bool = False,
    witnessed_at: int | None = None,
    cosigned_at: int | None = None,
) -> Path:
    """Sign, log and write a bundle as a folder.

    ``commit_first`` keeps the log's checkpoint from before the runs were entered; ``witnessed_at`` is when a witness
    cosigned that one, ``cosigned_at`` when it cosigned the last, in seconds since 1970.
    """
    draft = story if isinstance(story, Draft) else story.draft
    earlier: list[bytes] = []
    with writing(folder / "log", ORIGIN) as log:
        if commit_first or witnessed_at is not None:
            first = draft.commit
            envelope = first if isinstance(first, bytes) else seal(write_statement(first), key)
            draft = replace(draft, chain=(envelope, *draft.chain[1:]))
            log.append(envelope_digest(envelope))
            earlier.append(log.sign(key))
            if witnessed_at is not None:
                earlier[0] = cosign(earlier[0], "example.org/witness", WITNESS, witnessed_at)
        signed = sign_and_log(draft, key, log)
        head = log.sign(key)
        if cosigned_at is not None:
            head = cosign(head, "example.org/witness", WITNESS, cosigned_at)
        files = bundle_files(signed, log.log, head, earlier)
    write_folder(folder / "bundle", files)
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
    with writing(folder / "log", ORIGIN) as log:
        signed = sign_and_log(story.draft, OWNER, log)
        files: dict[str, Any] = dict(bundle_files(signed, log.log, log.sign(OWNER)))
    change(files)
    write_folder(folder / "bundle", files)
    return folder / "bundle"
