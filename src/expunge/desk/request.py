"""Who is to be forgotten by which run, what is to be earned, and where the answer lies or is to lie."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np

from expunge.core.errors import RunError
from expunge.core.files import read_bytes
from expunge.core.wording import choice
from expunge.data.commitment import tombstones_digest
from expunge.data.dataset import Dataset
from expunge.data.forget_set import ForgetSet, choose, saved_slots
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.desk.candidates import KINDS
from expunge.hygiene.surroundings import look_around
from expunge.methods.lookup import read_method
from expunge.records.declaration import RetiredFile
from expunge.records.document import read_document
from expunge.records.record import GuaranteeKind
from expunge.records.run_file import RunFile, UnlearnRequest
from expunge.train.run import Run

NAMED = ("subject:", "class:", "random:")  # rules that say by themselves who must go
NUMBERED = re.compile(r"(?P<stem>.+)\.(?P<number>[1-9][0-9]*)\Z")


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """Who is to be forgotten by which run, and what is to be earned. Nothing is written for knowing that."""

    run: Run
    rules: tuple[str, ...]
    asked: GuaranteeKind
    out: Path | None
    data: GivenData
    salts: Path | None
    device: str | None

    @classmethod
    def of(
        cls,
        run: Run | Path | str,
        rules: Sequence[str] | str,
        guarantee: GuaranteeKind | str,
        *,
        out: Path | str | None = None,
        data: GivenData = None,
        salts: Path | str | None = None,
        device: str | None = None,
    ) -> ForgetRequest:
        """The rules in one order. A run that is retired still has the answers that it gave, and gives no others."""
        found = cls(
            run=Run.of(run),
            rules=tuple(sorted({rules} if isinstance(rules, str) else set(rules))),
            asked=choice(GuaranteeKind, guarantee, "`guarantee`") if isinstance(guarantee, str) else guarantee,
            out=None if out is None else Path(out),
            data=data,
            salts=None if salts is None else Path(salts),
            device=device,
        )
        if found.run.retired and found.answer is None:
            raise RunError(
                f"{found.run.path} was retired: its weights held rows that were forgotten since, and were destroyed; "
                f"forget from {_heir(found.run)}"
            )
        return found

    @cached_property
    def rows(self) -> Mapping[Split, Dataset]:
        return self.run.data(self.data, salts=self.salts, gone=saved_slots(self.rules))

    @cached_property
    def forget(self) -> ForgetSet:
        run = self.run
        return choose(self.rules, self.rows[Split.TRAIN], root=run.root.hex(), forgotten=run.tombstones)

    @cached_property
    def answer(self) -> Run | None:
        """The run that answers this very request, finished or not."""
        return next((one for one in self._children if self._is_answer(one)), None)

    @property
    def finished(self) -> Run | None:
        """The answer, where it is finished."""
        return None if self.answer is None or self.answer.told.status != "finished" else self.answer

    @cached_property
    def folder(self) -> Path:
        """Where the answer lies, or is to lie."""
        if self.answer is not None:
            return self.answer.path
        return self.out or next(path for path in self._numbered if not _taken(path))

    @property
    def _children(self) -> Iterator[Run]:
        for path in self._numbered if self.out is None else [self.out]:
            if not _taken(path):
                return
            if (path / RunFile.NAME).is_file():
                yield Run.open_any(path)

    @property
    def _numbered(self) -> Iterator[Path]:
        """RUN.1, RUN.2, … beside a training; what follows on a run that forgot has the numbers after its own."""
        found = NUMBERED.match(self.run.path.name) if self.run.told.operation == "unlearn" else None
        stem, last = (self.run.path.name, 0) if found is None else (found["stem"], int(found["number"]))
        return (self.run.path.with_name(f"{stem}.{number}") for number in count(last + 1))

    def _is_answer(self, one: Run) -> bool:
        asked, method = one.told.request, one.told.method
        if not isinstance(asked, UnlearnRequest) or asked.parent != self.run.weights_digest or method is None:
            return False
        earned = read_method(method).reach if one.told.result is None else one.guarantee
        if earned.rank < KINDS[self.asked].rank:
            return False
        if all(rule.startswith(NAMED) for rule in self.rules):
            return sorted(one.told.rules or ()) == list(self.rules)
        return asked.forget == tombstones_digest(self.forget.slots).hex()

    def branches(self, emptied: np.ndarray) -> tuple[str, ...]:
        """A line for each other child of the run that forgot rows which this branch holds."""
        return tuple(
            f"{one.path.name} has forgotten {', '.join(one.told.rules or ())}: this branch still holds these rows"
            for one in look_around(self.run).others
            if one.told.parent is not None
            and one.told.parent.weights_digest == self.run.weights_digest
            and one.path.resolve() != self.folder.resolve()
            and len(np.setdiff1d(one.tombstones, emptied))
        )


def _taken(path: Path) -> bool:
    """Whether anything lies there that a new run could not take the place of."""
    return path.exists() and not (path.is_dir() and all(item.name.startswith(".") for item in path.iterdir()))


def _heir(run: Run) -> str:
    """Where the life of a retired run goes on: the run that it went for, or what that was retired for in its turn."""
    beside = {one.told.weights_digest: one for one in look_around(run).others}
    while run.retired:
        note = run.path / RetiredFile.NAME
        heir = read_document(RetiredFile, read_bytes(note, "the note of what was retired"), str(note)).run
        if heir not in beside:
            return f"the run that they went for, with weights {heir[:12]}…"
        run = beside.pop(heir)
    return str(run.path)
