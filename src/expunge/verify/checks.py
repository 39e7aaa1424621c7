"""Every check that a verification carries out, in order, and the one way in which each becomes a finding.

A check is a function of the record under verification. It returns what it saw, in figures, or raises a refusal; what
one of them refuses, those that need it leave alone. A new check is a function and its row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from expunge.core.errors import RecordError
from expunge.core.installed import needed_by
from expunge.records.bundle import MODEL, RECIPE
from expunge.records.catalogue import Execution
from expunge.records.limits import Code
from expunge.records.verdict import Level, holds, not_checked, refused_finding, undecided
from expunge.verify.levels.chain import check_chain, check_known
from expunge.verify.levels.earned import (
    check_adopted,
    check_claims,
    check_execution,
    check_guarantee,
    check_profile,
    names_execution,
)
from expunge.verify.levels.executed import (
    check_cost,
    check_schedule_root,
    check_states_traced,
    check_steps,
    check_trace_file,
    departures,
    traced,
)
from expunge.verify.levels.form import (
    check_files,
    check_model_file,
    check_recipe_file,
    check_signature,
    envelopes,
)
from expunge.verify.levels.lineage import check_beacon, check_preprocessing, check_rate, check_recipe, check_seed
from expunge.verify.levels.log_form import check_head, check_logged, check_only_grew, check_witnessed
from expunge.verify.levels.recorded import (
    check_ends,
    check_members,
    check_moved,
    check_moved_before,
    check_reuse,
    check_state_files,
    check_states_moved,
    check_states_moved_before,
    check_tree,
)
from expunge.verify.levels.requests import check_binding, check_honoured, check_kept, check_requested
from expunge.verify.levels.structure import (
    check_alive,
    check_data,
    check_leaves,
    check_lengths,
    check_rows,
    check_shape,
    check_shard_map,
    check_size,
    check_splits,
    check_units,
    leaf_files,
)
from expunge.verify.levels.sums import check_derived, check_file, check_named, check_penalty, check_possible, has_sums
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import LeftUndecided, NotChecked, without_code


@dataclass(frozen=True)
class Check:
    """A row of the table: the finding's name and level, and who looks.

    ``needs`` are the checks that must have been carried out and stand; a level among them stands for all that was
    found at it so far. ``when`` says whether there is anything to look at. ``each`` makes several findings of one row:
    their names, and what ``look`` is given for each. ``until_replayed`` says that a full replay of the schedule's steps
    decides instead, whatever was found.
    """

    name: str
    level: Level
    look: Callable[..., str]
    needs: tuple[str | Level, ...] = ()
    when: Callable[[OpenedRecord], bool] | None = None
    each: Callable[[OpenedRecord], Iterable[tuple[str, Any]]] | None = None
    until_replayed: bool = False


@dataclass(frozen=True)
class Replayed:
    """A check of ``levels.replay`` by its name there: that module brings torch, which no check up to V1 needs."""

    name: str

    def __call__(self, opened: OpenedRecord) -> Any:
        with needed_by("carrying steps out again, from V2 on,"):
            from expunge.verify.levels.replay import Replay

        opened.replay = opened.replay or Replay(opened)
        return getattr(opened.replay, self.name)()


def holds_file(name: str) -> Callable[[OpenedRecord], bool]:
    """Whether the bundle holds a file."""
    return lambda opened: name in opened.bundle


def witnesses_asked(opened: OpenedRecord) -> bool:
    return opened.supplied.witnesses > 0


def knows_records(opened: OpenedRecord) -> bool:
    return bool(opened.supplied.known_records)


def later_in_chain(opened: OpenedRecord) -> bool:
    """Whether a run before this one has one before it to be compared with, and took steps."""
    return len(opened.runs) > 2 and not opened.solved


def has_states(opened: OpenedRecord) -> bool:
    return opened.record.checkpoints is not None


def without_rows(opened: OpenedRecord) -> bool:
    return opened.supplied.data is None


def adopted(opened: OpenedRecord) -> bool:
    return opened.adopted


def own_steps(opened: OpenedRecord) -> bool:
    return opened.record.came_about is Execution.OWN_STEPS


def solved(opened: OpenedRecord) -> bool:
    return opened.solved


def takes_steps(opened: OpenedRecord) -> bool:
    return not opened.solved


def asked_of_sums(*levels: Level, in_parts: bool | None = None) -> Callable[[OpenedRecord], bool]:
    """Whether rows are to be added up again as one of these levels does it; parts may be made again on their own."""
    return lambda opened: (
        opened.solved and opened.supplied.level in levels and in_parts in (None, opened.accumulation.in_parts)
    )


def asked(*levels: Level) -> Callable[[OpenedRecord], bool]:
    """Whether the schedule's steps are to be carried out again as one of these levels does it."""
    return lambda opened: opened.by_schedule and opened.supplied.level in levels


V0, V1, V2, V3, V4 = Level
CHAINED = ("chain", "recipe file")
SEATED = ("recipe", "data set", "leaves", "units")
STATES = ("last states", "alive shards", "reuse")

CHECKS: tuple[Check, ...] = (
    # V0: form
    Check("files", V0, check_files),
    Check("signatures", V0, check_signature, each=envelopes),
    Check("recipe file", V0, check_recipe_file, when=holds_file(RECIPE)),
    Check("log checkpoint", V0, check_head, needs=("signatures",)),
    Check("log inclusion", V0, check_logged, needs=("log checkpoint",)),
    Check("log consistency", V0, check_only_grew, needs=("log checkpoint",)),
    Check("witnesses", V0, check_witnessed, needs=("log inclusion", "log consistency"), when=witnesses_asked),
    Check("model file", V0, check_model_file, needs=("signatures",), when=holds_file(MODEL)),
    # V1: structure
    Check("chain", V1, check_chain, needs=("signatures",)),
    Check("known records", V1, check_known, needs=("chain",), when=knows_records),
    Check("recipe", V1, check_recipe, needs=("chain",)),
    Check("rate", V1, check_rate, needs=("recipe",)),
    Check("preprocessing", V1, check_preprocessing, needs=("recipe",)),
    Check("beacon", V1, check_beacon, needs=("recipe",)),
    Check("data size", V1, check_rows, needs=CHAINED),
    Check("data set", V1, check_data, needs=("data size",)),
    Check("leaves", V1, check_leaves, needs=("data size",), each=leaf_files),
    Check("splits", V1, check_splits, needs=("data size",)),
    Check("units", V1, check_units, needs=("data size",)),
    Check("request binding", V1, check_binding, needs=CHAINED),
    Check("tombstones kept", V1, check_kept, needs=CHAINED),
    Check("requests honoured", V1, check_honoured, needs=CHAINED),
    Check("tombstones requested", V1, check_requested, needs=CHAINED),
    Check("execution named", V1, check_execution, needs=CHAINED, when=names_execution),
    Check("guarantee", V1, check_guarantee, needs=CHAINED),
    Check("claims", V1, check_claims, needs=CHAINED),
    Check("profile", V1, check_profile, needs=CHAINED),
    Check("checkpoint tree", V1, check_tree, needs=CHAINED),
    Check("checkpoint files", V1, check_state_files, needs=CHAINED),
    Check("lineage seed", V1, check_seed, needs=SEATED),
    Check("schedule shape", V1, check_shape, needs=SEATED),
    Check("schedule size", V1, check_size, needs=SEATED),
    Check("shard map", V1, check_shard_map, needs=("schedule shape", "schedule size")),
    Check("schedule length", V1, check_lengths, needs=("shard map",)),
    Check("alive shards", V1, check_alive, needs=("shard map",)),
    Check("trace file", V1, check_trace_file, needs=("alive shards",), until_replayed=True),
    Check("schedule root", V1, check_schedule_root, needs=("shard map",)),
    Check("executed steps", V1, check_steps, needs=("trace file",), when=traced, each=departures),
    Check("trace of states", V1, check_states_traced, needs=("trace file",), when=traced),
    Check("last states", V1, check_ends, needs=("shard map", "checkpoint tree")),
    Check("reuse", V1, check_reuse, needs=("shard map", "checkpoint tree")),
    Check("model members", V1, check_members, needs=("last states", "alive shards"), when=has_states),
    Check("weights moved", V1, check_moved, needs=("shard map",), when=takes_steps, until_replayed=True),
    Check("states moved", V1, check_states_moved, needs=STATES, when=takes_steps, until_replayed=True),
    Check("weights moved before", V1, check_moved_before, ("shard map",), later_in_chain, until_replayed=True),
    Check("states moved before", V1, check_states_moved_before, STATES, later_in_chain, until_replayed=True),
    Check("cost", V1, check_cost, needs=("executed steps", V1)),
    Check("row-sums", V1, check_named, needs=("alive shards", "guarantee", "execution named"), when=solved),
    Check("sums file", V1, check_file, needs=("row-sums", "lineage seed"), when=solved),
    Check("sums", V1, check_possible, needs=("sums file",), when=has_sums),
    Check("penalty", V1, check_penalty, needs=("sums",), when=has_sums),
    Check("weights of sums", V1, check_derived, needs=("penalty",), when=has_sums),
    # V2 to V4: replay, once the above holds; first the grounds, each looked at whatever became of others
    Check("training", V2, check_adopted, when=adopted),
    Check("exactness", V2, Replayed("check_exactness")),
    Check("code", V2, Replayed("check_code")),
    Check("noise", V2, Replayed("check_noise"), when=Replayed("under_noise")),
    Check("content", V2, Replayed("check_without_rows"), when=without_rows),
    Check("constants", V2, Replayed("check_constants"), when=Replayed("with_rows")),
    Check("content", V2, Replayed("check_content"), needs=("constants",)),
    Check("preprocessing", V2, Replayed("check_preprocessing"), needs=("content",)),
    Check("environment", V2, Replayed("check_environment")),
    Check("initial weights", V2, Replayed("check_initial"), ("exactness", "code", "environment"), takes_steps),
    # a method that takes steps of its own, from its parent's model
    Check("method", V2, Replayed("check_method"), needs=(V2,), when=own_steps),
    Check("execution", V3, Replayed("check_method_whole"), needs=("method",)),
    Check("twin run", V4, Replayed("check_no_twin"), needs=("method",)),
    # the schedule's steps, from recorded states
    Check("states", V2, Replayed("check_states"), needs=(V2,), when=asked(V2, V3)),
    Check("model", V2, Replayed("check_model"), needs=("states",)),
    Check("execution", V2, Replayed("check_some"), needs=("model",), when=asked(V2)),
    Check("execution", V3, Replayed("check_all"), needs=("model",)),
    # weights that follow from sums; a spot of them would take as long as the whole, but for a forest's trees
    Check("sums again", V2, Replayed("check_sums"), needs=(V2,), when=asked_of_sums(V2, V3, in_parts=False)),
    Check("execution", V3, Replayed("check_sums_whole"), needs=("sums again",)),
    Check("sums again", V2, Replayed("check_tree"), needs=(V2,), when=asked_of_sums(V2, in_parts=True)),
    Check("execution", V3, Replayed("check_sums"), needs=(V2,), when=asked_of_sums(V3, in_parts=True)),
    Check("twin run", V4, Replayed("check_sums_anew"), needs=(V2,), when=asked_of_sums(V4)),
    # the whole training from nothing; what it passes on its way is said before it
    Check("twin run", V4, Replayed("check_twin"), needs=(V2,), when=asked(V4)),
    Check("execution", V3, Replayed("check_passed"), needs=("twin run",)),
)


def run(check: Check, opened: OpenedRecord) -> None:
    """Carry a check out, if what it needs stands and there is something to look at, and enter what it found.

    A refusal ends nothing but its own check. Of a model that was trained elsewhere nothing is carried out again.
    """
    if check.level > V1 and opened.adopted and check.look is not check_adopted:
        return
    if not all(_stands(need, opened) for need in check.needs) or (check.when and not check.when(opened)):
        return
    items = [(check.name,)] if check.each is None else check.each(opened)
    stands = True
    for name, *item in items:
        try:
            seen = check.look(opened, *item)
            found = (not_checked if isinstance(seen, NotChecked) else holds)(name, check.level, str(seen))
        except RecordError as error:
            found = refused_finding(name, check.level, Code(error.code), without_code(error))
        except LeftUndecided as error:
            found = undecided(name, check.level, error.reason, str(error))
        stands = stands and found.stands
        left = check.until_replayed and not found.stands and opened.by_schedule
        opened.findings.append(replace(found, until_replayed=left))
    if stands:
        opened.passed.add(check.name)


def _stands(need: str | Level, opened: OpenedRecord) -> bool:
    if isinstance(need, Level):
        return all(finding.stands for finding in opened.findings if finding.level is need)
    return need in opened.passed
