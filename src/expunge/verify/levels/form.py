"""Level V0: files are what their names promise, trusted keys signed the chain, the log holds it, the model is it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from expunge.core.wording import counted
from expunge.records.bundle import ENVELOPE, MODEL, Bundle, Kind, kind_of
from expunge.records.canonical import json_values
from expunge.records.draft import COMMIT
from expunge.records.envelope import open_envelope
from expunge.records.keys import TrustedKey
from expunge.records.limits import Code, Limits, refused
from expunge.records.record import Commit
from expunge.records.statement import Statement, read_statement
from expunge.schedule.recipe import Recipe
from expunge.schedule.recipe_file import read_recipe
from expunge.verify.levels.checks import Checks
from expunge.verify.levels.figures import check_figures
from expunge.verify.levels.log_form import LoggedAt, log_form

PARENTS = "parents/"
RECIPE = "recipe.json"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What V0 found: statements by the digests of their envelopes, and where the log has them.

    ``run`` and ``commit`` are digests; None where the envelope is missing or not signed by a trusted key.
    """

    run: bytes | None = None
    commit: bytes | None = None
    statements: Mapping[bytes, Statement] = field(default_factory=dict[bytes, Statement])
    recipe: Recipe | None = None
    logged: LoggedAt | None = None
    model_sound: bool = False  # a model file is there, and it is the one that was signed
    signers: tuple[TrustedKey, ...] = ()  # of the run's envelope, as far as they are on the list

    @property
    def sound(self) -> bool:
        """Whether the whole chain can be read as what trusted keys signed."""
        return self.run is not None and self.commit is not None

    @property
    def runs(self) -> tuple[bytes, ...]:
        """Digests of all envelopes but the commitment's, in no order."""
        return tuple(digest for digest in self.statements if digest != self.commit)


def check_form(
    bundle: Bundle,
    checks: Checks,
    keys: Sequence[TrustedKey],
    known_checkpoint: bytes | None = None,
    witnesses: int = 0,
) -> Form:
    """Every check of V0. ``known_checkpoint`` is a signed note that the verifier kept from an earlier visit; so many
    ``witnesses`` must have cosigned what the bundle shows of the log.
    """
    checks.run("files", lambda: _files(bundle))
    opened: dict[str, tuple[bytes, Statement]] = {}
    signers: dict[str, tuple[TrustedKey, ...]] = {}
    held = _Held(bundle.limits)
    names = [ENVELOPE, COMMIT, *(name for name in bundle.names if name.startswith(PARENTS))]
    signed = all([_open(bundle, checks, keys, name, opened, signers, held) for name in names])
    recipe: list[Recipe] = []
    if RECIPE in bundle:
        checks.run("recipe file", lambda: _recipe(bundle, recipe))
    if not signed:
        return Form()
    statements = dict(opened.values())
    named = {digest: name for name, (digest, _) in opened.items()}
    logged = log_form(bundle, checks, keys, named, known_checkpoint, witnesses)
    run = opened[ENVELOPE][0]
    sound = MODEL in bundle and checks.run("model file", lambda: _model(bundle, statements[run]))
    return Form(
        run=run,
        commit=opened[COMMIT][0],
        statements=statements,
        recipe=recipe[0] if recipe else None,
        logged=logged,
        model_sound=sound,
        signers=signers[ENVELOPE],
    )


class _Held:
    """How much the records of one bundle hold together; each alone is within its limit."""

    def __init__(self, limits: Limits) -> None:
        self._limit, self._values = limits.chain_values, 0

    def take(self, payload: bytes, name: str) -> None:
        self._values += json_values(payload)
        if self._values > self._limit:
            raise refused(
                Code.SIZE_LIMIT,
                f"with {name} the records of the chain hold up to {self._values:,} values, the limit is "
                f"{self._limit:,}: raise limit chain values, or refuse it",
            )


def _files(bundle: Bundle) -> str:
    """Canonical JSON and safetensors headers; sizes, names and kinds were checked when the bundle was opened."""
    for name in bundle.names:
        kind = kind_of(name)
        if kind is Kind.JSON:
            bundle.json(name)
        elif kind is Kind.TENSORS:
            with bundle.tensors(name):
                pass
    total = sum(bundle.size(name) for name in bundle.names)
    return f"{counted(len(bundle.names), 'file')} of {counted(total, 'byte')}, each of the form that its name promises"


def _open(
    bundle: Bundle,
    checks: Checks,
    keys: Sequence[TrustedKey],
    name: str,
    opened: dict[str, tuple[bytes, Statement]],
    signers: dict[str, tuple[TrustedKey, ...]],
    held: _Held,
) -> bool:
    def check() -> str:
        if name not in bundle:
            raise refused(Code.CHAIN_BROKEN, f"{name} is missing, so nothing says what was committed: ask for it")
        envelope = open_envelope(bundle.read(name), keys, name, bundle.limits)
        if name.startswith(PARENTS) and name != f"{PARENTS}{envelope.digest.hex()}.json":
            raise refused(Code.CHAIN_BROKEN, f"{name} holds the envelope {envelope.digest.hex()[:16]}…: rename it")
        held.take(envelope.payload, name)
        statement = read_statement(envelope.payload, name, bundle.limits)
        _check_kind(name, statement)
        check_figures(name, statement)
        opened[name] = envelope.digest, statement
        signers[name] = tuple(envelope.keys)
        return f"signed by {', '.join(key.name for key in envelope.keys)}; envelope {envelope.digest.hex()[:16]}…"

    return checks.run(f"signature of {name}" if len(name) < 20 else f"signature of {name[:24]}…", check)


def _check_kind(name: str, statement: Statement) -> None:
    """A commitment where one belongs, a run everywhere else."""
    if isinstance(statement.predicate, Commit) != (name == COMMIT):
        found = statement.predicate.operation.value
        raise refused(Code.CHAIN_BROKEN, f"{name} is a record of operation {found!r}, which does not belong there")


def _recipe(bundle: Bundle, found: list[Recipe]) -> str:
    found.append(read_recipe(bundle.read(RECIPE), RECIPE, bundle.limits))
    return f"model {found[0].model!r:.60}, {counted(found[0].epochs, 'epoch')}, batches of {found[0].batch_size}"


def _model(bundle: Bundle, run: Statement) -> str:
    with bundle.tensors(MODEL) as file:
        count, found = len(file.tensors), file.digest()
    if found != run.digest:
        raise refused(
            Code.SUBJECT_DIGEST_MISMATCH,
            f"{MODEL} holds weights {found.hex()[:16]}…, the record is signed for {run.digest.hex()[:16]}…: these are "
            "other weights; ask for those of the record",
        )
    return f"{counted(count, 'tensor')} with digest {found.hex()[:16]}…, which is the one signed"
