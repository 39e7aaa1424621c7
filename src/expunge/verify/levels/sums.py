"""Level V1, sums: what a record says of them, and what they show without a row. No torch.

That sums are those of the rows, only adding the rows again shows: V3 and V4.
"""

from __future__ import annotations

from pathlib import Path

from expunge.core.errors import ExpungeError, RecordError, RunError
from expunge.core.wording import counted
from expunge.models.sums import ARITHMETIC, PENALTY, LinearSums, SumArrays
from expunge.models.sums_faults import fault, seated
from expunge.records.arrays import arrays_digest, arrays_in
from expunge.records.documents import SUMS
from expunge.records.limits import Code, refused
from expunge.records.record import RunRecord
from expunge.records.tensors import TensorFile
from expunge.verify.levels.chain import links
from expunge.verify.opened import OpenedRecord
from expunge.verify.outcomes import EvidenceMissing, LeftUndecided, NotChecked

MISMATCH = "environment-mismatch"


def check_named(opened: OpenedRecord) -> str:
    """The work is that of the rows, in row-sums alone; where rows are forgotten, the sums are others."""
    before: list[RunRecord] = []
    for name, record, _ in links(opened):
        if record.cost.thirds:
            raise _impossible(f"{name} follows from sums and names work in example-steps beside them")
        _check_work(name, opened, record, before[-1:])
        before.append(record)
    return f"{counted(opened.record.cost.row_sums or 0, 'row-sum')}, as the record says"


def _check_work(name: str, opened: OpenedRecord, record: RunRecord, before: list[RunRecord]) -> None:
    try:
        summed = opened.accumulation
    except ExpungeError as error:
        raise _impossible(f"the recipe's model cannot be summed at all ({error})") from None
    gone = set(record.data.tombstones)
    for earlier in before:
        same = earlier.sums is not None and record.sums is not None and earlier.sums.digest == record.sums.digest
        gone -= set(earlier.data.tombstones)
        if same and gone:
            raise refused(
                Code.WEIGHTS_UNCHANGED,
                f"{name} has the sums of its parent, and since then {counted(len(gone), 'row')} were forgotten: they "
                "are in these sums",
            )
    left = opened.committed.data.count - len(record.data.tombstones)
    possible = {left} if record.algorithm.name != "exact-replay" else {len(gone), left}
    if isinstance(summed, LinearSums) and record.cost.row_sums not in possible:
        raise _impossible(
            f"{name} names {record.cost.row_sums:,} row-sums, its rows make {' or '.join(map(str, sorted(possible)))}"
        )


def check_file(opened: OpenedRecord) -> str:
    """The sums that the verifier was given are those that were signed."""
    folder, told = opened.supplied.checkpoints, opened.record.sums
    assert told is not None, "what is solved for has sums on record"
    if folder is None:
        return NotChecked(
            f"the sums are in no bundle, because rows can be read out of them: give the folder that holds {_name()} "
            "with `checkpoints` to have the weights derived from them again"
        )
    check_arithmetic(opened)
    found = _opened(folder, opened)
    if found is None:
        raise EvidenceMissing(
            f"{folder} holds no {_name()}, which the owner keeps in the run's checkpoints/: ask for it"
        )
    digest, opened.sums = found
    if digest != told.digest:
        opened.sums = None
        raise refused(
            Code.CHECKPOINT_LEAF_MISMATCH,
            f"{_name()} holds sums {digest.hex()[:16]}…, signed were {told.digest.hex()[:16]}…: they were exchanged or "
            "altered",
        )
    return f"sums {digest.hex()[:16]}…, as signed"


def check_arithmetic(opened: OpenedRecord) -> str:
    """Sums and what is derived of them come to the same bits on every machine, by one version of the arithmetic."""
    stated = opened.record.environment.fingerprint
    if [(name, type(value), value) for name, value in stated.items()] != [("accumulation_arithmetic", int, ARITHMETIC)]:
        raise LeftUndecided(
            MISMATCH,
            f"the record's sums are of another arithmetic ({str(dict(stated))[:100]} there, version {ARITHMETIC} "
            "here): other bits would show nothing; verify them with the version of this program that made them",
        )
    return f"version {ARITHMETIC} of the arithmetic of sums, which is the same on every machine"


def has_sums(opened: OpenedRecord) -> bool:
    """Whether sums are at hand that are those of the record."""
    return opened.sums is not None


def check_possible(opened: OpenedRecord) -> str:
    """Rows that are present could have these sums: symmetric, within bounds, adding up; nobody else has a seat."""
    state, told, present = opened.sums, opened.record.sums, opened.present
    assert state is not None
    assert told is not None
    if gone := seated(state, present):
        raise refused(
            Code.FORGOTTEN_ROW_SEATED,
            f"leaves of the forest seat {counted(gone, 'row')} whose chairs are said to be empty: they were left in",
        )
    reason = fault(opened.accumulation, state, present)
    if reason is not None:
        raise _impossible(f"the recorded sums are not those of {counted(int(present.sum()), 'row')}: {reason}")
    if arrays_digest(opened.accumulation.constants(state)) != told.constants:
        raise _impossible("the record is signed for other constants than its sums were taken by")
    return f"sums that {counted(int(present.sum()), 'row')} can have; that they are these rows', V3 and V4 show"


def check_penalty(opened: OpenedRecord) -> str:
    """The penalty is the one that follows from the sums."""
    state, told = opened.sums, opened.record.sums
    assert state is not None
    assert told is not None
    penalty = opened.accumulation.penalty(state)
    found = None if penalty is None else arrays_digest({PENALTY: penalty})
    if found != told.penalty:
        raise refused(
            Code.PENALTY_MISMATCH,
            f"the sums make the penalty {_short(found)}, the record is signed for {_short(told.penalty)}: another one "
            "was chosen, which rows that are gone may have had a part in",
        )
    return "no penalty, as nothing is solved for" if found is None else f"penalty {_short(found)} derived again"


def check_derived(opened: OpenedRecord) -> str:
    """The weights are what follows from the sums: correctly rounded, or counts of them."""
    assert opened.sums is not None
    try:
        found = arrays_digest(opened.accumulation.weights(opened.sums))
    except RunError as error:
        raise _not_of_sums(f"no weights can be derived from the recorded sums ({error})") from None
    if found != opened.run.digest:
        raise _not_of_sums(
            f"the recorded sums make weights {_short(found)}, the record is signed for {_short(opened.run.digest)}"
        )
    return f"weights {_short(found)} derived again from the recorded sums, bit for bit"


def _opened(folder: Path, opened: OpenedRecord) -> tuple[bytes, SumArrays] | None:
    """The digest of the file of sums, and what it holds; None where there is none."""
    if not folder.is_dir():
        raise RunError(f"{folder} is no folder: give the one that holds the checkpoints with `checkpoints` DIR")
    path = next((place for place in (folder / _name(), folder / SUMS) if place.is_file()), None)
    if path is None:
        return None
    with path.open("rb") as stream:
        file = TensorFile(stream, path.stat().st_size, _name(), opened.bundle.limits)
        return file.digest(), arrays_in(file)


def _name() -> str:
    return Path(SUMS).name


def _short(digest: bytes | None) -> str:
    return "none" if digest is None else f"{digest.hex()[:16]}…"


def _impossible(reason: str) -> RecordError:
    return refused(Code.SUMS_IMPOSSIBLE, f"{reason}: sums were made up or altered; ask for a run that was summed")


def _not_of_sums(reason: str) -> RecordError:
    return refused(Code.WEIGHTS_NOT_OF_SUMS, f"{reason}: weights or sums are of something else")
