"""Salt files: drawn once, never overwritten, destroyed row by row; and leaves that are opened again with them."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.hashing import example_bytes, sha256
from expunge.data.commitment import Commitment, commit, leaf_of, open_again
from expunge.data.dataset import Column, ColumnKind, Dataset, make_dataset
from expunge.data.salts import (
    DESTROYED,
    HEADER,
    OPEN,
    SaltMode,
    SecretSalts,
    check_apart,
    destroy_salts,
    draw_salts,
    leftovers,
    open_salt,
    read_salts,
    remove_leftover,
    salts_of,
)
from expunge.data.splits import SPLITS, Split, split_rows
from expunge.records.run_file import Counts, DataFile, Roots


def test_the_file_is_a_header_and_32_bytes_per_row_for_its_owner_alone(tmp_path):
    path = tmp_path / "apart" / "a.salts"
    drawn = draw_salts(path, 7)
    content = path.read_bytes()
    assert content[:16] == b"expunge/salts/1\n"
    assert len(content) == 16 + 7 * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [drawn.of(row, 99) for row in range(7)] == [content[16 + 32 * row :][:32] for row in range(7)]
    assert len({drawn.of(row, 0) for row in range(7)}) == 7
    assert read_salts(path, 7) == drawn
    assert (drawn.mode, drawn.place, len(drawn), drawn.destroyed) == (SaltMode.SECRET, path, 7, [])
    assert [item.name for item in path.parent.iterdir()] == ["a.salts"]
    assert draw_salts(tmp_path / "b.salts", 7).content != drawn.content


def test_salts_are_never_printed(tmp_path):
    drawn = draw_salts(tmp_path / "a.salts", 2)
    assert drawn.of(0, 0).hex() not in repr(drawn)
    assert repr(drawn.content)[2:10] not in repr(drawn)


def test_nothing_is_overwritten(tmp_path, refused, monkeypatch):
    path = tmp_path / "a.salts"
    path.write_bytes(b"somebody's only copy")
    with refused(RunError, str(path), "never overwritten"):
        draw_salts(path, 3)

    def without_links(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", without_links)
    with refused(RunError, str(path), "never overwritten"):
        draw_salts(path, 3)
    assert path.read_bytes() == b"somebody's only copy"
    drawn = draw_salts(tmp_path / "b.salts", 3)
    assert read_salts(tmp_path / "b.salts", 3) == drawn
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.salts", "b.salts"]


def test_a_place_that_cannot_be_written_is_said(tmp_path, refused):
    (tmp_path / "file").write_bytes(b"")
    with refused(RunError, "could not be written", "choose another place"):
        draw_salts(tmp_path / "file" / "a.salts", 3)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (None, ["is missing", "`salts` FILE"]),
        (b"", ["no salt file", "`salts` FILE"]),
        (b"expunge/salts/2\n" + bytes(96), ["no salt file", "112 bytes"]),
        (HEADER + bytes(95), ["no salt file", "damaged", "111 bytes"]),
        (HEADER + bytes(64), ["holds 2 salts", "3 rows", "another data set", "`salts` FILE"]),
        (HEADER + bytes(128), ["holds 4 salts", "another data set"]),
    ],
)
def test_files_that_do_not_serve_are_refused(content, parts, tmp_path, refused):
    path = tmp_path / "a.salts"
    if content is not None:
        path.write_bytes(content)
    with refused(DataError, str(path), *parts):
        read_salts(path, 3)


def test_a_folder_is_no_salt_file(tmp_path, refused):
    with refused(DataError, "could not be read", "`salts` FILE"):
        read_salts(tmp_path, 3)


def described_as(**fields):
    """What run.json says of the data of four rows."""
    parts = {"counts": Counts(train=4, calibration=0, holdout=0), "roots": Roots(train="", calibration="", holdout="")}
    return DataFile(source=None, rows=4, split_seed=0, split_by="rows", **parts, **fields)


def test_what_run_json_says_is_what_is_read(tmp_path, refused):
    drawn = draw_salts(tmp_path / "a.salts", 4)
    described = described_as(salts="secret", salt_file=str(tmp_path / "a.salts"))
    assert salts_of(described) == drawn
    os.rename(tmp_path / "a.salts", tmp_path / "b.salts")
    with refused(DataError, "a.salts is missing", "`salts` FILE"):
        salts_of(described)
    assert salts_of(described, tmp_path / "b.salts").of(3, 0) == drawn.of(3, 0)
    assert salts_of(described_as(salts="open")) is OPEN
    assert salts_of(described_as()) is OPEN, "runs of an older version say nothing"
    with refused(InvalidArgument, "b.salts", "salts are open", "leave `salts` out"):
        salts_of(described_as(salts="open"), tmp_path / "b.salts")
    with refused(DataError, "names no file", "`salts` FILE"):
        salts_of(described_as(salts="secret"))


def test_open_salts_are_what_they_were():
    assert OPEN.of(999, 5) == open_salt(5) == sha256(b"expunge/open-salt/1", (5).to_bytes(8, "little"))
    assert (OPEN.mode.note, OPEN.place) == ("leaves not hidden: salts are open", None)


def test_destroying_leaves_zeros_and_nothing_else_changes(tmp_path):
    path = tmp_path / "a.salts"
    drawn = draw_salts(path, 6)
    copy = tmp_path / "second-name"
    os.link(path, copy)
    assert destroy_salts(path, [4, 1, 4]) == 2
    after = read_salts(path, 6)
    assert after.destroyed == [1, 4]
    assert [after.of(row, 0) for row in (0, 2, 3, 5)] == [drawn.of(row, 0) for row in (0, 2, 3, 5)]
    assert path.read_bytes()[16 + 32 : 16 + 64] == DESTROYED
    assert copy.read_bytes() == path.read_bytes(), "the bytes of the old file are overwritten too"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert destroy_salts(path, [1]) == 0
    assert destroy_salts(path, range(6)) == 4
    assert read_salts(path, 6).destroyed == list(range(6))
    assert {item.name for item in tmp_path.iterdir()} == {"a.salts", "second-name"}


@pytest.mark.parametrize("row", [-1, 6])
def test_rows_without_a_salt_are_refused_before_anything_is_destroyed(row, tmp_path, refused):
    draw_salts(tmp_path / "a.salts", 6)
    with refused(InvalidArgument, f"row {row} has no salt", "rows 0 to 5"):
        destroy_salts(tmp_path / "a.salts", [2, row])
    assert read_salts(tmp_path / "a.salts", 6).destroyed == []


def test_a_killed_destruction_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, refused):
    from expunge.data import salts as module

    path = tmp_path / "a.salts"
    drawn = draw_salts(path, 3)

    def half(temporary: Path, content: bytes) -> None:
        temporary.write_bytes(content[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write", half)
    with refused(RunError, "could not be written", "No space left"):
        destroy_salts(path, [0])
    assert read_salts(path, 3) == drawn


def killed_between_link_and_unlink(path: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Draw salts and die before the temporary name goes; what is left."""
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        draw_salts(path, rows)
    (left,) = leftovers(path)
    assert os.path.samefile(left, path)
    return left


def test_a_second_name_that_a_killed_process_left_goes_with_the_first_destruction(tmp_path, monkeypatch):
    path = tmp_path / "a.salts"
    left = killed_between_link_and_unlink(path, 6, monkeypatch)
    assert destroy_salts(path, [2]) == 1
    assert not left.exists()
    assert read_salts(path, 6).destroyed == [2]
    assert [item.name for item in tmp_path.iterdir()] == ["a.salts"]


def test_what_an_earlier_destruction_left_holds_no_later_persons_salts(tmp_path):
    """Copies and second names of an older file are overwritten, also where the file itself holds nothing any more."""
    path = tmp_path / "a.salts"
    draw_salts(path, 6)
    shutil.copyfile(path, tmp_path / ".a.salts.part")
    shutil.copyfile(path, tmp_path / ".a.salts.0123456789abcdef.part")
    os.link(tmp_path / ".a.salts.0123456789abcdef.part", tmp_path / "seen")
    for other in (".b.salts.part", ".a.salts.part.txt", "a.salts.part", ".a.salts.0123.part"):
        (tmp_path / other).write_bytes(b"not of this file")
    assert len(leftovers(path)) == 2
    assert destroy_salts(path, [2]) == 1
    assert leftovers(path) == ()
    assert set((tmp_path / "seen").read_bytes()) == {0}, "overwritten, not only removed"
    shutil.copyfile(path, tmp_path / ".a.salts.part")
    assert destroy_salts(path, [2]) == 0
    assert leftovers(path) == ()
    assert (tmp_path / ".b.salts.part").read_bytes() == b"not of this file"
    assert read_salts(path, 6).destroyed == [2]


def test_only_what_is_left_of_a_salt_file_is_removed_as_such(tmp_path, refused):
    drawn = draw_salts(tmp_path / "a.salts", 3)
    with refused(InvalidArgument, str(drawn.path), "nothing that is left of a salt file"):
        remove_leftover(drawn.path)
    assert read_salts(drawn.path, 3) == drawn
    os.link(drawn.path, tmp_path / ".a.salts.part")
    remove_leftover(tmp_path / ".a.salts.part")
    remove_leftover(tmp_path / ".a.salts.part")
    assert read_salts(drawn.path, 3) == drawn, "a second name goes, the salts stay"


def test_a_run_folder_is_no_place_for_salts(tmp_path, refused):
    run = tmp_path / "runs" / "base"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    check_apart(tmp_path / "runs" / "a.salts")
    for place in (run / "a.salts", run / "deeper" / "a.salts"):
        with refused(InvalidArgument, str(place), "run folder", "keep it elsewhere"):
            check_apart(place)


# Committing and opening again.


def drawn_for(rows: Dataset, folder: Path) -> SecretSalts:
    return draw_salts(folder / "a.salts", len(rows))


def test_leaves_are_made_with_the_salt_of_their_source_row(people, tmp_path):
    rows = people(40, ids=True)
    assignment, salts = split_rows(rows), drawn_for(rows, tmp_path)
    committed = commit(rows, assignment, salts)
    for split in SPLITS:
        for slot, row in enumerate(np.flatnonzero(assignment == split.code)):
            example = example_bytes(rows.example(int(row)))
            assert committed.leaves[split.code][slot] == leaf_of(example, slot, salts.of(int(row), 0))
        slots = np.arange(len(committed.leaves[split.code]))[::2]
        rows_of = committed.source_rows(split, slots)
        assert np.array_equal(rows_of, np.flatnonzero(assignment == split.code)[::2])
    assert committed.root == commit(rows, assignment, read_salts(tmp_path / "a.salts", 40)).root
    assert committed.root != commit(rows, assignment).root


def without(rows: Dataset, gone: list[int]) -> Dataset:
    kept = rows.take(np.setdiff1d(np.arange(len(rows)), gone))
    if not rows.positional:
        return kept
    ids = tuple(f"row-{row}" for row in range(len(kept)))
    return replace(kept, ids=ids, subjects=ids if rows.ids == rows.subjects else kept.subjects)


def opened(
    rows: Dataset, folder: Path, *, forgotten: list[int], gone: list[int], destroyed: list[int]
) -> tuple[Commitment, dict[Split, Dataset]]:
    """Commit, destroy the salts of some rows, take some rows away, and open what is left; rows are the source's."""
    assignment, salts = split_rows(rows), drawn_for(rows, folder)
    committed = commit(rows, assignment, salts)
    (folder / "a.salts").unlink()
    (folder / "a.salts").write_bytes(HEADER + salts.content)
    destroy_salts(folder / "a.salts", destroyed)
    seats = [np.flatnonzero(assignment == split.code).tolist() for split in SPLITS]
    slots = [[where.index(row) for row in forgotten if row in where] for where in seats]
    released = {Split.CALIBRATION: slots[1], Split.HOLDOUT: slots[2]}
    again = read_salts(folder / "a.salts", len(rows))
    (folder / "a.salts").unlink()
    return committed, open_again(
        without(rows, gone), committed, np.array(slots[0], dtype=np.int64), released, salts=again
    )


@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("subjects", [None, 4])
@pytest.mark.parametrize("still_there", [False, True])
def test_a_row_whose_salt_is_destroyed_counts_as_gone(people, tmp_path, ids, subjects, still_there):
    rows = people(40, ids=ids, subjects=subjects)
    assignment = split_rows(rows)
    forgotten = [2, 3, 4, 11, 38, 39, *np.flatnonzero(assignment != 0)[:3].tolist()]
    forgotten = sorted(set(forgotten))
    _, found = opened(rows, tmp_path, forgotten=forgotten, gone=[] if still_there else forgotten, destroyed=forgotten)
    for split in SPLITS:
        where = np.flatnonzero(assignment == split.code)
        assert np.flatnonzero(~found[split].present).tolist() == [
            slot for slot, row in enumerate(where.tolist()) if row in forgotten
        ]
        for slot, row in enumerate(where.tolist()):
            if row not in forgotten:
                assert found[split].example(slot) == rows.example(row)
            else:
                assert found[split].content["age"][slot] == 0
                assert found[split].ids[slot].startswith("gone-")


@given(st.data())
def test_any_twins_any_salts_destroyed_any_rows_missing(tmp_path_factory, data):
    """Every row that was not forgotten is found again in its seat; whose salt is gone is absent, there or not."""
    count = data.draw(st.integers(4, 14), label="rows")
    values = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count), label="values")
    named = data.draw(st.booleans(), label="ids")
    rows = make_dataset(
        labels=[0] * count,
        classes=(0, 1),
        columns=(Column("n", ColumnKind.NUMERIC),),
        content={"n": np.array(values, dtype=np.float64)},
        ids=[f"id-{row}" for row in range(count)] if named else None,
        where="twins",
    )
    forgotten = sorted(data.draw(st.sets(st.integers(0, count - 1)), label="forgotten"))
    gone = sorted(data.draw(st.sets(st.sampled_from(forgotten)), label="gone")) if forgotten else []
    destroyed = sorted(data.draw(st.sets(st.sampled_from(forgotten)), label="destroyed")) if forgotten else []
    folder = tmp_path_factory.mktemp("twins")
    _, found = opened(rows, folder, forgotten=forgotten, gone=gone, destroyed=destroyed)
    assignment = split_rows(rows)
    for split in SPLITS:
        for slot, row in enumerate(np.flatnonzero(assignment == split.code).tolist()):
            there = bool(found[split].present[slot])
            if named:  # without ids of their own, forgotten twins cannot be told apart
                assert there == (row not in gone and row not in destroyed)
            assert there or row in forgotten
            assert not there or row not in destroyed
            if there:
                assert found[split].example(slot) == rows.example(row)


@pytest.mark.parametrize(
    ("count", "gone", "destroyed"), [(5, [0, 1, 2], [0, 1, 4]), (4, [0, 1], [0, 1, 3])], ids=["five", "four"]
)
def test_a_row_that_fits_is_not_given_to_one_that_nobody_can_check(count, gone, destroyed, tmp_path):
    rows = make_dataset(
        labels=[0] * count,
        classes=(0, 1),
        columns=(Column("n", ColumnKind.NUMERIC),),
        content={"n": np.zeros(count)},
        ids=[f"id-{row}" for row in range(count)],
        where="twins",
    )
    _, found = opened(rows, tmp_path, forgotten=list(range(count)), gone=gone, destroyed=destroyed)
    there = sum(int(split.present.sum()) for split in found.values())
    assert there == count - len({*gone, *destroyed})


def test_a_salt_destroyed_too_early_is_refused(people, tmp_path, refused):
    rows = people(20)
    place = str(tmp_path / "a.salts")
    with refused(DataError, f"the salt of row 7 was destroyed in {place}", "has not forgotten that row", "`salts`"):
        opened(rows, tmp_path, forgotten=[6], gone=[], destroyed=[7])


def test_a_destroyed_salt_commits_nothing(people, tmp_path, refused):
    rows = people(20)
    drawn_for(rows, tmp_path)
    destroy_salts(tmp_path / "a.salts", [7])
    with refused(DataError, "the salt of row 7 was destroyed", "cannot be committed again", "`commit_only`"):
        commit(rows, split_rows(rows), read_salts(tmp_path / "a.salts", 20))


def test_a_change_elsewhere_is_seen_beside_destroyed_salts(people, tmp_path, refused):
    rows = people(30, ids=True)
    ages = rows.content["age"].copy()
    ages[9] += 1
    changed = replace(rows, content={**rows.content, "age": ages})
    assignment, salts = split_rows(rows), drawn_for(rows, tmp_path)
    committed = commit(rows, assignment, salts)
    train = np.flatnonzero(assignment == 0).tolist()
    destroy_salts(tmp_path / "a.salts", [train[0]])
    salts = read_salts(tmp_path / "a.salts", 30)
    forgotten = np.array([0])
    assert not open_again(rows, committed, forgotten, salts=salts)[Split.TRAIN].present[0]
    with refused(DataError, "row 9 of the committed data does not match"):
        open_again(changed, committed, forgotten, salts=salts)
    with refused(DataError, "rows that were never committed"):
        longer = people(32, ids=True)
        open_again(longer, committed, forgotten, salts=salts)


def test_salts_of_another_data_set_are_named(people, tmp_path, refused):
    rows = people(20)
    assignment = split_rows(rows)
    committed = commit(rows, assignment, draw_salts(tmp_path / "a.salts", 20))
    other = draw_salts(tmp_path / "b.salts", 20)
    with refused(DataError, "row 0", "does not match", str(tmp_path / "b.salts"), "another data set", "`salts`"):
        open_again(rows, committed, np.zeros(0, dtype=np.int64), salts=other)


def test_the_first_rows_only_with_salts_destroyed(people, tmp_path):
    """Rows from behind the cut move up where forgotten ones are gone, and are left out again."""
    everything = people(30, ids=True)
    rows = everything.take(np.arange(20))
    assignment, salts = split_rows(rows), drawn_for(rows, tmp_path)
    committed = commit(rows, assignment, salts)
    train = np.flatnonzero(assignment == 0).tolist()
    destroy_salts(tmp_path / "a.salts", train[2:4])
    salts = read_salts(tmp_path / "a.salts", 20)
    left = without(everything, train[2:4]).take(np.arange(20))
    found = open_again(left, committed, np.array([2, 3]), cut=True, salts=salts)
    assert np.flatnonzero(~found[Split.TRAIN].present).tolist() == [2, 3]
    kept = [slot for slot in range(len(train)) if slot not in (2, 3)]
    assert [found[Split.TRAIN].ids[slot] for slot in kept] == [rows.ids[train[slot]] for slot in kept]
    still = open_again(rows, committed, np.array([2, 3]), cut=True, salts=salts)
    assert np.flatnonzero(~still[Split.TRAIN].present).tolist() == [2, 3]
