"""Which training rows must go: named by subject, ids, class, at random, or read from a saved file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.files import read_bytes, write_text
from expunge.core.hashing import parse_json, sha256, u64
from expunge.core.streams import Stream, stable_order
from expunge.data.dataset import Dataset
from expunge.data.spellings import folded
from expunge.data.splits import Split
from expunge.records.document import read_document, write_document
from expunge.records.forget_file import ForgetFile
from expunge.records.selection import Selection

FORMS = "subject:NAME, ids:FILE, class:K, random:10%:SEED, random:COUNT:SEED or a saved forget-set file"
RANDOM = re.compile(r"random:(?P<amount>\d{1,20}(?:\.\d{1,20})?)(?P<percent>%?):(?P<seed>\d{1,20})\Z", re.ASCII)


@dataclass(frozen=True)
class ForgetSet:
    """Training slots, ascending; how they were named; the root of the data set they belong to.

    ``selection`` tells how a worst-case set was chosen.
    """

    slots: np.ndarray
    rules: tuple[str, ...]
    root: str
    selection: Selection | None = None

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def file(self) -> ForgetFile:
        """As a file says it."""
        slots = tuple(int(slot) for slot in self.slots)
        return ForgetFile(slots=slots, rules=self.rules, root=self.root, selection=self.selection)

    def write(self, folder: Path) -> None:
        """Into a run folder, whole or not at all."""
        write_text(folder / ForgetFile.NAME, write_document(self.file))


def read_forget_set(content: bytes) -> ForgetSet:
    """A saved one; what is no forget set, or an altered one, is refused."""
    told = parse_json(content)
    found = read_document(ForgetFile, told if isinstance(told, dict) else {}, "the forget-set file")
    slots = np.unique(np.array(found.slots, dtype=np.int64))
    return ForgetSet(slots, found.rules or (), found.root, found.selection)


def choose(rules: Sequence[str], train: Dataset, *, root: str, forgotten: np.ndarray) -> ForgetSet:
    """Resolve one or more rules against the training rows; rows already forgotten are not forgotten twice."""
    if not rules:
        raise InvalidArgument(f"nothing to forget was named: give `forget` with one of {FORMS}")
    for rule in rules:
        if not isinstance(rule, str):
            raise InvalidArgument(f"`forget` {rule!r:.60} must be a rule, as text: one of {FORMS}")
    chosen = [_slots(rule, train, root, forgotten) for rule in rules]
    slots = np.setdiff1d(np.unique(np.concatenate(chosen)), forgotten)
    if len(slots) == 0:
        raise InvalidArgument(
            f"{' '.join(rules)} names {len(np.unique(np.concatenate(chosen)))} training rows, all of them already "
            "forgotten by this run: there is nothing left to do"
        )
    if len(slots) + len(np.unique(forgotten)) >= len(train):
        raise InvalidArgument(
            f"{' '.join(rules)} leaves none of the {len(train)} training rows: delete the model instead of unlearning"
        )
    return ForgetSet(slots, tuple(_stored(rule) for rule in rules), root)


def saved_slots(rules: ForgetSet | Sequence[str]) -> list[int]:
    """Slots of sets that were saved: whoever has them needs no row to know who is meant, so these may be gone."""
    if isinstance(rules, ForgetSet):
        return rules.slots.tolist()
    saved = [rule for rule in rules if isinstance(rule, str) and os.path.isfile(rule)]
    return [slot for rule in saved for slot in read_forget_set(read_bytes(Path(rule), "the forget set")).slots.tolist()]


def released(
    rules: Sequence[str], rows: Mapping[Split, Dataset], before: Mapping[Split, Sequence[int]]
) -> dict[str, list[int]]:
    """Slots outside the training of people forgotten by name: their rows may be gone as well. With those ``before``."""
    people = {rule.removeprefix("subject:") for rule in rules if rule.startswith("subject:")}
    found: dict[str, list[int]] = {}
    for split in (Split.CALIBRATION, Split.HOLDOUT):
        now = {slot for slot, subject in enumerate(rows[split].subjects) if subject in people}
        slots = sorted(now.union(before.get(split, ())))
        if slots:
            found[split.value] = slots
    return found


def _stored(rule: str) -> str:
    """A rule as it is kept: the names of files are left out, they tell nothing and may tell too much."""
    head = rule.split(":", 1)[0]
    if head in ("subject", "class", "random"):
        return rule
    return "ids" if head == "ids" else "saved"


def _slots(rule: str, train: Dataset, root: str, forgotten: np.ndarray) -> np.ndarray:
    head, _, rest = rule.partition(":")
    if head == "subject" and rest:
        return _subject(rest, train)
    if head == "ids" and rest:
        return _ids(Path(rest), train)
    if head == "class" and rest:
        return _class(rest, train)
    if head == "random":
        return _random(rule, train, forgotten)
    if os.path.isfile(rule):
        return _saved(Path(rule), train, root)
    raise InvalidArgument(f"forget set {rule[:80]!r} is none of the known forms: {FORMS}")


def _subject(name: str, train: Dataset) -> np.ndarray:
    slots = np.flatnonzero((np.array(train.subjects) == name) & train.present)
    if len(slots) == 0:
        known = sorted({subject for subject, there in zip(train.subjects, train.present, strict=True) if there})
        alike = sum(folded(subject) == folded(name) for subject in known)
        hint = (
            f"{alike} of them {'differs' if alike == 1 else 'differ'} from it in case, white space or Unicode form only"
            if alike
            else "look up in the data how this one is written; the names of others are not listed"
        )
        raise InvalidArgument(f"subject {name!r} has no training rows: {len(known)} subjects have; {hint}")
    return slots


def _ids(path: Path, train: Dataset) -> np.ndarray:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"ids file {path} could not be read as text ({error}): one id per line is expected"
        ) from None
    wanted = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not wanted:
        raise InvalidArgument(f"ids file {path} names nobody: write one id per line")
    seats = {name: slot for slot, name in enumerate(train.ids) if train.present[slot]}
    unknown = [name for name in wanted if name not in seats]
    if unknown:
        raise InvalidArgument(
            f"id {unknown[0]!r} ({len(unknown)} of {len(wanted)} in {path}) is not among the training rows: rows of "
            "the calibration and holdout splits were never trained on, so there is nothing to forget; remove them"
        )
    return np.array([seats[name] for name in wanted], dtype=np.int64)


def _class(name: str, train: Dataset) -> np.ndarray:
    if train.of_numbers:
        raise InvalidArgument(
            f"class {name!r} cannot be forgotten: labels are numbers here, and no row is of a class; name rows by "
            "subject:NAME, ids:FILE or random:10%:SEED"
        )
    names = [str(value) for value in train.classes]
    if name not in names:
        raise InvalidArgument(f"class {name!r} is not one of {', '.join(names[:20])}")
    slots = np.flatnonzero((train.labels == names.index(name)) & train.present)
    if len(slots) == 0:
        raise InvalidArgument(f"class {name!r} has no training rows: there is nothing to forget")
    return slots


def _random(rule: str, train: Dataset, forgotten: np.ndarray) -> np.ndarray:
    parsed = RANDOM.match(rule)
    if not parsed:
        raise InvalidArgument(
            f"forget set {rule[:80]!r} must be random:10%:SEED or random:COUNT:SEED, SEED a whole number"
        )
    left = np.setdiff1d(np.arange(len(train)), forgotten)
    if int(parsed["seed"]) >= 2**64:
        raise InvalidArgument(f"seed {parsed['seed']} of a random forget set must lie between 0 and 2^64 − 1")
    amount = float(parsed["amount"])
    if parsed["percent"]:
        if not 0 < amount < 100:
            raise InvalidArgument(f"random share {amount:g}% must lie between 0% and 100%, both excluded")
        count = max(1, round(len(left) * amount / 100))
    else:
        if amount != int(amount) or not 0 < amount < len(left):
            raise InvalidArgument(f"random count {parsed['amount']} must be a whole number from 1 to {len(left) - 1}")
        count = int(amount)
    seed = sha256(ForgetFile.FORMAT.encode(), u64(int(parsed["seed"])))
    keys = Stream(seed, "forget-set/random").words(len(train))
    return np.sort(left[stable_order(keys[left])[:count]])


def _saved(path: Path, train: Dataset, root: str) -> np.ndarray:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"forget set {path} could not be read ({error.strerror or error})") from None
    saved = read_forget_set(content)
    if saved.root != root:
        raise InvalidArgument(
            f"{path} names slots of the data set {saved.root[:12]}…, this run was trained on {root[:12]}…: "
            "name the rows by id or subject instead"
        )
    if len(saved.slots) == 0:
        raise InvalidArgument(f"{path} names no slots: an empty forget set is refused")
    if saved.slots[-1] >= len(train):
        raise DataError(f"{path} names slot {saved.slots[-1]}, the data set has {len(train)}: the file was altered")
    return saved.slots
