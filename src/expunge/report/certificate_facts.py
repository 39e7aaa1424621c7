"""What a certificate says of its record, line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, cast

from expunge.core.clock import Time
from expunge.core.wording import clean, counted
from expunge.records.certificate import Certificate, Emptied, Logged, readable
from expunge.records.record import Algorithm, CostPart, Environment, GuaranteeKind, Operation, RunRecord
from expunge.report.numerals import few, shown

MOST_RETIRED = 3  # what two sheets have room for
MOST_SIGNERS = 2
LONGEST_WORDS, LONGEST_LIST, LONGEST_FIELDS = 120, 400, 300


@dataclass(frozen=True)
class CertificateFact:
    """A name and what is to be said of it; a digest stands in letters of one width below the words."""

    name: str
    text: str
    digest: str = ""


def owners(forgotten: Emptied) -> str:
    slots, own = forgotten.slots, forgotten.owner_initiated
    beside = f", and {counted(forgotten.beside, 'row')} of theirs that never trained" if forgotten.beside else ""
    steered = "" if own == 0 else ": somebody who picks whom to forget can steer a little"
    emptied = f"{own or 'none'} of them emptied on the owner’s own initiative{steered}"
    return f"{counted(slots, 'chair')} empty in all{beside}; {emptied}."


def record_facts(told: Certificate) -> Iterator[CertificateFact]:
    run, data = told.run, told.commit.data
    yield CertificateFact("Weights", "digest of the canonical weights", told.subject.digest.hex())
    afterwards = f"; {told.afterwards}" if told.afterwards else ""
    if told.checked is not None:
        yield from (
            CertificateFact("Signed by", f"{words(key.name)}, whose key on the list has the id", key.keyid)
            for key in told.checked.verdict.signers[:MOST_SIGNERS]
        )
    signed = f"signed {time(run.recorded_at)} by the owner’s clock{afterwards}"
    yield CertificateFact("Record", signed, told.chain[-1].envelope.hex())
    split = f"beside {data.calibration.rows:,} for calibration and {data.holdout.rows:,} held out"
    yield CertificateFact("Data", f"{counted(data.count, 'training row')} ({split}); {told.leaves}", data.root.hex())
    yield CertificateFact("Algorithm", _algorithm(run.algorithm, run.cost, adopted=told.adopted))
    yield CertificateFact("Recipe", _recipe(told.recipe, adopted=told.adopted), run.recipe.hex())
    yield CertificateFact("Schedule", _schedule(run), run.schedule.root.hex())
    yield _beacon(told)
    said = run.guarantee.kind is GuaranteeKind.EMPIRICAL  # why it is not exact stands at the head
    yield CertificateFact(
        "Environment", _environment(replace(run.environment, not_exact=None) if said else run.environment)
    )
    yield _log(told.log)


def _algorithm(found: Algorithm, cost: CostPart, *, adopted: bool) -> str:
    steps = shown(cost.thirds / 3, "example-steps")
    done = steps if cost.row_sums is None else counted(cost.row_sums, "row-sum")
    work = f"{done} in {shown(cost.seconds, 'seconds')}"
    fields = _whole([f"{name} {_value(value)}" for name, value in readable(found.fields).items()], LONGEST_FIELDS)
    whole = "passes over the training rows" if adopted else "of the training’s work"
    budget = "" if found.budget is None else f", allowed {found.budget:.3g} {whole}"
    foreign = "" if found.source is None else "not built in: its source is the owner’s"
    parts = [f"{words(found.name)} of version {words(found.version)}", f"{work}{budget}", fields, foreign]
    return "; ".join(part for part in parts if part)


def _recipe(fields: Mapping[str, Any] | None, *, adopted: bool) -> str:
    if fields is None:
        return "the bundle holds no recipe with this digest"
    told = {name: _value(value) for name, value in fields.items()}
    if adopted:  # what its recipe says of a training is a place-holder where its owner told nothing
        how = "trained elsewhere: by what, for how long and on how many rows at once is its owner’s word, and not here"
        return clean(f"{told.get('model', '?')}, {told.get('task', '?')}; {how}", 2 * LONGEST_LIST)
    if fields.get("training") == "accumulate":  # what says how steps are taken has no meaning here
        return clean(f"{told.get('model', '?')}; sums over rows, seed {told.get('seed', '?')}", LONGEST_LIST)
    parts = [
        f"{told.get('model', '?')}, {told.get('task', '?')}",
        f"{told.get('optimiser', '?')} at rate {told.get('rate', '?')}",
        f"{told.get('epochs', '?')} epochs in batches of {told.get('batch_size', '?')}",
        f"{told.get('shards', '?')} × {told.get('slices', '?')} shards and slices",
        f"seed {told.get('seed', '?')}, {told.get('precision', '?')}, {told.get('profile', '?')} profile",
    ]
    if fields.get("base"):
        parts.append(f"begun with base {told['base']}")
    return clean("; ".join(parts), 2 * LONGEST_LIST)


def _schedule(run: RunRecord) -> str:
    shards = run.schedule.shards
    text = counted(sum(run.schedule.steps), "step")
    if shards > 1:
        text += f" in {shards} shards, in {len(run.alive)} of which somebody is left"
    kept = [item for item in run.reuse if item.step > 0]
    if run.operation is Operation.ADOPT:
        return "not known: the model was trained elsewhere"
    if run.sums is not None:
        return "no steps: the weights follow from sums over the rows that are left"
    if run.checkpoints is None:
        return f"{text} of the training that it starts from; the method's own steps are not on record"
    if not kept:
        return f"{text}; no earlier state was used again"
    first = kept[0]
    touched = first.first_touched
    where = "nobody forgotten sat there" if touched is None else f"the first step with a forgotten row is {touched:,}"
    more = f", and so in {counted(len(kept) - 1, 'more shard')}" if len(kept) > 1 else ""
    return f"{text}; earlier states used again up to step {first.step:,} of shard {first.shard} ({where}){more}"


def _beacon(told: Certificate) -> CertificateFact:
    found = told.run.randomness.beacon
    if told.grindable is not None:
        return CertificateFact("Beacon", told.grindable)
    at = "" if found.round is None else f", round {found.round:,}"
    public = "" if found.not_before is None else f", public since {time(found.not_before)}"
    return CertificateFact("Beacon", f"{words(found.source)}{at}{public}", found.value.hex())


def _environment(found: Environment) -> str:
    told = _whole([f"{name} {_value(value)}" for name, value in readable(found.fingerprint).items()], LONGEST_LIST)
    why = "" if found.not_exact is None else f" (not exact: {found.not_exact})"
    return f"profile {found.profile.value}{why}. {told}"


def _log(found: Logged | None) -> CertificateFact:
    if found is None:
        return CertificateFact("Log", "the bundle holds no checkpoint of a log")
    seen = f"; witnessed by {few([words(name) for name in found.witnesses], 4)}" if found.witnesses else ""
    remark = f"; {found.remark}" if found.remark else ""
    return CertificateFact(
        "Log", f"{words(found.head.origin)}, {found.head.size:,} entries{seen}{remark}", found.head.root.hex()
    )


def _whole(told: list[str], room: int) -> str:
    """As many as there is room for, each of them whole; the others are counted."""
    most = sum(length <= room for length in accumulate(map(len, told)))
    return "; ".join([*told[:most], *([more_than(told, most, "field")] if told[most:] else [])])


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else "not finite"
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, Any]", value)
        return " ".join(f"{name} {_value(item)}" for name, item in inner.items()) or "none"
    if isinstance(value, list):
        return " ".join(_value(item) for item in cast("list[Any]", value)) or "none"
    return "none" if value is None else clean(str(value), LONGEST_WORDS)


def erasure(told: Certificate) -> Iterator[str]:
    """What is said of old states; that nothing is said is said as well."""
    retired = told.run.retired
    if retired:
        named = [words(item.what) + (f" ({item.digest.hex()[:12]}…)" if item.digest else "") for item in retired]
        more = more_than(named, MOST_RETIRED, "thing")
        shown_names = "; ".join(named[:MOST_RETIRED]) + (f"; {more}" if more else "")
        held = f"{counted(len(retired), 'thing')} that held forgotten rows"
        yield f"Declared destroyed, not proven (N3): {held}: {shown_names}."
    elif told.nothing_retired:
        yield f"{told.nothing_retired[0].upper()}{told.nothing_retired[1:]}."


def words(text: str, longest: int = LONGEST_WORDS) -> str:
    return clean(text, longest)


def time(told: Time | str | None) -> str:
    """``2026-01-31T12:00:00Z`` as people read it."""
    return "" if told is None else str(told).replace("T", " ").removesuffix("Z").removesuffix(":00") + " UTC"


def more_than(items: Sequence[Any], most: int, noun: str) -> str:
    """What is not shown is counted, and where it is said."""
    return f"and {counted(len(items) - most, noun)} more, in the JSON" if len(items) > most else ""
