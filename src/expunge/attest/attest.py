"""``attest``: from a run folder to signed records in a log, and a bundle for whoever is to check them.

Envelopes are kept in the run folders (``record/``) before they are entered into the log, and used again afterwards: an
attestation that was cut short is finished by the same call, and a second one gives the same envelopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from expunge.attest.chain import Chain, ancestry, beginning, make_chain
from expunge.attest.described import commit_statement, declared
from expunge.attest.kept import CHECKPOINT, commit_checkpoint, keep, kept_commit, place_of
from expunge.attest.office import Office, known_heads
from expunge.core.clock import WRITTEN, Time
from expunge.core.errors import InvalidArgument, RunError
from expunge.core.files import write_bytes
from expunge.core.hashing import canonical_json
from expunge.core.streams import ZERO_BEACON
from expunge.core.values import Progress
from expunge.data.stored import LEAVES
from expunge.records.bundle import ASSIGNMENT, COMMIT, MODEL, PACKED, RECIPE, TIERS, TRACE, UNITS, laid_out
from expunge.records.declaration import read_declaration
from expunge.records.documents import SUMS
from expunge.records.draft import Draft, Signed, bundle_files, enter, sign
from expunge.records.envelope import envelope_digest, seal
from expunge.records.form import UNWRITTEN, Through, from_json, to_json
from expunge.records.keys import KeyRole, SigningKey
from expunge.records.limits import LIMITS, Code, refused
from expunge.records.log import HEADER, read_log, writing
from expunge.records.record import GuaranteePart, LeafSalts
from expunge.records.statement import write_statement
from expunge.train.folder import clear_left
from expunge.train.folder import writing as holding
from expunge.train.run import COMMITTED, Run
from expunge.verify.verify import verify


@dataclass(frozen=True, kw_only=True)
class InLog:
    """A log by name, and how many entries it has now."""

    origin: str
    entries: int


@dataclass(frozen=True, kw_only=True)
class Attested:
    """A bundle that was written. ``signed`` counts the records of the chain that were signed now, not before."""

    run: Path
    bundle: Path
    record: bytes
    chain: tuple[bytes, ...]
    signed: int
    guarantee: Annotated[
        GuaranteePart, Through(Any, to_json, lambda told: from_json(GuaranteePart, told, "the guarantee"))
    ]
    afterwards: bool = field(metadata={"name": "recorded_afterwards"})
    keyid: str
    log: InLog
    notices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A commitment that stands in a log; ``note`` is the log's signed head right after it."""

    run: Path
    record: bytes
    root: bytes
    log: InLog
    note: bytes = field(metadata=UNWRITTEN)
    notices: tuple[str, ...]


def attest(
    run: Run | Path | str,
    *,
    key: SigningKey | Path | str,
    out: Path | str | None = None,
    log: Path | str | None = None,
    origin: str | None = None,
    checkpoints: bool = False,
    model: bool = True,
    bundle: bool = True,
    known_checkpoints: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> Attested:
    """Sign the records of a run and of all it came from, enter them into the log, and write a bundle.

    ``log`` is the log's folder (``log`` beside the key unless said), ``origin`` the name of one that is begun. The
    bundle is ``<run>-bundle`` beside the run unless ``out`` says where; a name that ends in .zip makes a zip.
    ``checkpoints`` adds every state, which replay needs; without ``model`` the weights stay at home. Without ``bundle``
    the records are signed and entered, and nothing is left for others.
    ``known_checkpoints`` are heads of the log that auditors kept: the bundle proves that it only grew since each.

    The bundle is verified at V1 before anything is kept or entered: what would be refused there is refused here.
    """
    found = Run.open(run.path if isinstance(run, Run) else run)
    place = found.path.resolve()
    target = place.with_name(f"{place.name}-bundle") if out is None else Path(out)
    if bundle and target.exists():
        raise RunError(f"{target} exists: choose another `out` for the bundle, or remove it")
    office = Office.of(key, log, origin)
    office.check()
    kept = known_heads(office, known_checkpoints)
    first = _first(found)
    with holding(found.path):
        clear_left(found.path)
        _early_note(first, office)
        chain = make_chain(found, office.key, _now(), progress)
        _check_committed(first, chain)
        draft = Draft(
            chain=tuple(link.statement if link.envelope is None else link.envelope for link in chain.links),
            files=files_of(found, chain, model=model, checkpoints=checkpoints),
        )
        signed = sign(draft, office.key)
        chain.check_links(signed)
        _check_size(signed)
        with writing(office.log, office.origin) as writer:
            note = commit_checkpoint(first, office.key, writer.log)
            entered = writer.log.grown(signed.digests)
            head = writer.signed(entered, office.key)
            files = bundle_files(signed, entered, head, (*kept, *(() if note is None else (note,))))
            with laid_out(target, files, packed=target.suffix == PACKED, kept=bundle) as made:
                beyond = _check_verified(made, target, office.key, entered.origin)
                for link, envelope in zip(chain.links, signed.envelopes, strict=True):
                    keep(link.place, envelope)
                enter(signed, office.key, writer)
    return Attested(
        run=found.path,
        bundle=target,
        record=signed.digests[-1],
        chain=signed.digests,
        signed=sum(link.envelope is None for link in chain.links),
        guarantee=chain.record.guarantee,
        afterwards=chain.record.recorded_afterwards,
        keyid=office.key.keyid,
        log=InLog(origin=entered.origin, entries=entered.size),
        notices=(*office.notices(entered.origin), *_notices(found, chain), *beyond),
    )


def commit_run(
    folder: Run | Path | str,
    key: SigningKey | Path | str,
    log: Path | str | None = None,
    origin: str | None = None,
) -> Committed:
    """Sign the commitment of a folder whose training is still to come, and enter it into the log.

    The envelope and the log's signed head are kept in the folder: they show later that data and recipe were fixed
    before the beacon was known. The same call on a folder that was committed gives the same envelope.
    """
    run = folder if isinstance(folder, Run) else Run.open_any(folder)
    if run.told.status != COMMITTED:
        raise RunError(
            f"{run.path} is not waiting to be trained (its status is {run.told.status!r}): a commitment comes "
            "before the training; `expunge attest` writes one afterwards and says so"
        )
    office = Office.of(key, log, origin)
    office.check()
    with holding(run.path):
        _early_note(run, office)
        found = kept_commit(run, office.key)
        statement = commit_statement(run, at=_now(), afterwards=False)
        envelope = seal(write_statement(statement), office.key) if found is None else found.envelope
        keep(place_of(run, COMMIT), envelope)
        with writing(office.log, office.origin) as writer:
            note = commit_checkpoint(run, office.key, writer.log)
            writer.append(envelope_digest(envelope))
            head = writer.sign(office.key)
            entered = writer.log
        if note is None:
            write_bytes(place_of(run, CHECKPOINT), head)
    return Committed(
        run=run.path,
        record=envelope_digest(envelope),
        root=run.root,
        log=InLog(origin=entered.origin, entries=entered.size),
        note=head if note is None else note,
        notices=office.notices(entered.origin),
    )


def _now() -> Time:
    """What the clock says; a wrong one would date every record, and only some of that contradicts anything."""
    now = Time.now()
    if now.text < WRITTEN:
        raise RunError(
            f"this machine's clock says {now}, which is before this version was written ({WRITTEN}): every record "
            "would bear a false date; set the clock, then run the same command again"
        )
    return now


def _check_verified(made: Path, target: Path, key: SigningKey, origin: str) -> tuple[str, ...]:
    """Refuse what an auditor would refuse at V1; notices of what their limits leave unread.

    Weights that a replay of every step clears are told by a notice of their own.
    """
    keys = (key.trusted("owner"), key.trusted(origin, KeyRole.LOG))
    failed = [finding for finding in verify(made, keys=keys).refusals if not finding.until_replayed]
    for finding in failed:
        if finding.code is not None and finding.code is not Code.SIZE_LIMIT:
            raise refused(
                finding.code,
                f"the bundle {target} would be refused at V1, so nothing was kept, logged or written ({finding.name}: "
                f"{finding.detail.replace(str(made), str(target))}); look at the run's folder and at this machine's "
                "clock, set right what is wrong, then run the same command again",
            )
    return tuple(f"beyond what verifiers read unless they raise a limit: {finding.detail}" for finding in failed)


def _first(run: Run) -> Run:
    """The run that began the lineage: its folder keeps the commitment."""
    runs = ancestry(run)
    return runs[beginning(runs)]


def _early_note(first: Run, office: Office) -> None:
    """A commitment that was entered before must stand in the log that is given; said before anything is signed."""
    note = place_of(first, CHECKPOINT)
    if not note.is_file():
        return
    if not (office.log / HEADER).is_file():
        raise RunError(f"{office.log} holds no log, and {first.path} was committed in one: name that with `log`")
    commit_checkpoint(first, office.key, read_log(office.log))


def _check_committed(first: Run, chain: Chain) -> None:
    if not chain.commit.recorded_afterwards and not place_of(first, CHECKPOINT).is_file():
        raise RunError(
            f"{place_of(first, COMMIT)} says that it was written before the training, and nothing shows that it stood "
            "in a log by then: put commit-checkpoint back beside it, or remove it to have one signed that says "
            "afterwards"
        )


def lineage_files(run: Run) -> dict[str, bytes | Path]:
    """What all bundles of a lineage hold: recipe, leaves, splits, units and their tiers."""
    found: dict[str, bytes | Path] = {RECIPE: canonical_json(run.recipe.as_json())}
    tiers = () if run.recipe.tiers is None else (TIERS,)
    return found | {name: run.path / name for name in (*LEAVES.values(), ASSIGNMENT, UNITS, *tiers)}


def files_of(run: Run, chain: Chain, *, model: bool, checkpoints: bool) -> dict[str, bytes | Path]:
    """Everything of a bundle that is no envelope and no proof."""
    states, found = chain.record.checkpoints, lineage_files(run)
    if chain.trace is not None:
        found[TRACE] = chain.trace
    if model:
        found[MODEL] = run.path / MODEL
    if checkpoints:
        if chain.record.sums is not None:
            raise InvalidArgument(
                f"`checkpoints` of a run of model {run.recipe.model!r}: rows can be read out of sums, so they are in "
                f"no bundle; leave it out, and give {run.path / SUMS} to whoever audits the run"
            )
        if states is None:
            raise InvalidArgument(
                f"{run.path} recorded no states ({run.method} takes steps of its own): leave `checkpoints` out"
            )
        for state in states.states:
            name = f"checkpoints/shard-{state.shard}-step-{state.step:08d}.safetensors"
            found[name] = run.path / name
    return found


def _check_size(signed: Signed) -> None:
    largest = max(len(envelope) for envelope in signed.envelopes)
    if largest > LIMITS.json_bytes:
        raise RunError(
            f"a record of {largest} bytes exceeds the {LIMITS.json_bytes} that verifiers read: it lists too many "
            "states; make the run again with a larger `checkpoint_interval`"
        )


def _notices(run: Run, chain: Chain) -> Sequence[str]:
    """What a certificate will say beside the claims, so that the owner hears it first."""
    record, commit = chain.record, chain.commit
    found: list[str] = []
    if commit.recorded_afterwards:
        found.append("recorded afterwards: nothing shows that data and recipe were fixed before the training")
    elif record.recorded_afterwards:
        found.append("recorded afterwards: the record before it, or its request, was written later than the run")
    if record.randomness.beacon.value == ZERO_BEACON:
        found.append("zero beacon: the schedule is not protected against grinding")
    if commit.data.salts is LeafSalts.OPEN:
        found.append("leaves not hidden: the salts are open, so guesses of rows can be tested against the bundle")
    if record.environment.not_exact is not None:
        found.append(f"not exact: {record.environment.not_exact}")
    digests = [link.statement.digest for link in chain.links]
    if len(digests) > 2 and digests[-1] == digests[-2]:
        found.append(
            "same weights as before: V1 refuses them where a forgotten row had sat in a step, and a full replay, V3, "
            "shows the coincidence"
        )
    if record.sums is not None:
        found.append(
            f"sums are personal data and in no bundle: {run.path / SUMS} is for auditors alone, who verify with its "
            "folder as `checkpoints`"
        )
    elif record.checkpoints is None:
        found.append("no trajectory: a replay of the method needs the model that it started from")
    if chain.links[-1].envelope is not None and declared(run, record.recorded_at) != (
        record.retired,
        record.audit_window,
        record.kept_state,
    ):
        found.append("signed before: what was retired or declared since is not in this record")
    elif record.audit_window is None and (said := read_declaration(run.path)) is not None and said.window is not None:
        found.append(f"audit window over: it ended at {said.window.until}, so this record names none")
    return found
