"""``tune``: four twins, the trials of some methods, and a tuning in one folder; killed at any time, it continues."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from expunge.core.errors import DataError, InvalidArgument, RunError
from expunge.core.files import append_bytes, write_text
from expunge.core.hashing import parse_json
from expunge.core.values import OpenBar, Progress
from expunge.data.forget_set import ForgetSet, choose
from expunge.data.handed import GivenData
from expunge.data.splits import Split
from expunge.methods.contract import DEFAULT_BUDGET
from expunge.methods.lookup import find_method, methods
from expunge.methods.retrain import Retrain
from expunge.methods.unlearn import unlearn
from expunge.records.document import write_document
from expunge.records.form import from_plain, to_plain
from expunge.records.tuning import JobAsked, KeptTrial, OracleAsked, RehearsalAsked, TuneAsked, Tuned, Tuning
from expunge.study.pseudo_sets import find_kind, pseudo_sets, twin_seeds
from expunge.study.rehearsal import Rehearsal, check_rehearsable, described_slots, prepare, prepare_oracle
from expunge.study.search import check_trials, optuna_version
from expunge.study.tuning import TRIALS, check_budget, tune_method, tuning_of
from expunge.train.folder import writing
from expunge.train.run import Run
from expunge.train.trace import Trace

ALL = "all"
KIND, SIZE = "random", "10%"


@dataclass(frozen=True)
class Oracle:
    """Two retrained references of the request itself, and the rules that name the request."""

    references: Sequence[Run]
    forget: Sequence[str]


def tune(
    run: Run | Path | str,
    named: Sequence[str] | str,
    *,
    out: Path | str,
    kind: str = KIND,
    size: str | None = SIZE,
    avoid: Sequence[str] = (),
    budget: float = DEFAULT_BUDGET,
    trials: int = TRIALS,
    seed: int = 0,
    data: GivenData = None,
    device: str | None = None,
    oracle: Oracle | None = None,
    bar: OpenBar | None = None,
) -> Tuning:
    """Choose fields for some methods, or for ``all`` that have a budget, by rehearsal; write and return the tuning.

    The twins are trained without the rows to avoid, so that nothing here reads them. Every finished trial is kept in
    ``trials.jsonl``; the same call on an interrupted folder takes up from there and ends in the same bytes but for
    seconds.
    """
    found = Run.of(run)
    chosen = _methods([named] if isinstance(named, str) else named)
    check_trials(trials)
    check_budget(budget)
    kind, folder, bar = find_kind(kind).value, Path(out), bar or _silent
    rows = found.data(data)
    train, root = rows[Split.TRAIN], found.root.hex()
    nobody = np.zeros(0, dtype=np.int64)
    spared = choose(avoid, train, root=root, forgotten=found.tombstones).slots if avoid else nobody
    check_rehearsable(found, rows, spared)
    asked: dict[str, Any] = {
        "weights_digest": found.weights_digest,
        "data_root": root,
        "forgotten": described_slots(found.tombstones),
        "budget": float(budget),
        "trials": trials,
        "seed": seed,
        "device": device or found.told.device,
        "software": {"optuna": optuna_version(), "torch": version("torch"), "numpy": version("numpy")},
    }
    if oracle is not None:
        forget = choose(oracle.forget, train, root=root, forgotten=found.tombstones)
        digests = tuple(reference.weights_digest for reference in oracle.references)
        wanted = OracleAsked(**asked, references=digests, forget=described_slots(forget.slots))
        with writing(folder):
            book = TrialBook(folder, wanted)
            rehearsal = prepare_oracle(found, oracle.references, forget, seed=seed, data=rows, device=device)
            return _tuned(rehearsal, chosen, book, budget, trials, seed, bar)
    sets = pseudo_sets(train, kind=kind, size=size, seed=seed, avoid=spared, forgotten=found.tombstones)
    with writing(folder):
        book = TrialBook(folder, RehearsalAsked(**asked, kind=kind, size=size, avoid=described_slots(spared)))
        twins: list[Run] = []
        without = (sets[0], sets[0], sets[1], sets[1])
        for number, (slots, training_seed) in enumerate(
            zip(without, twin_seeds(seed, found.recipe.seed), strict=True), start=1
        ):
            with bar(f"twin {number}") as progress:
                twin = unlearn(
                    found,
                    ForgetSet(np.union1d(slots, spared), (f"rehearsal:{kind}",), root),
                    method=Retrain(training_seed=training_seed),
                    out=folder / f"twin-{number}",
                    data=rows,
                    device=device,
                    trace=Trace.OFF,
                    progress=progress,
                )
            twins.append(twin)
        rehearsal = prepare(found, twins, kind=kind, size=size, avoid=spared, seed=seed, data=rows, device=device)
        return _tuned(rehearsal, chosen, book, budget, trials, seed, bar)


def _tuned(
    rehearsal: Rehearsal, named: Sequence[str], book: TrialBook, budget: float, trials: int, seed: int, bar: OpenBar
) -> Tuning:
    entries: list[Tuned] = []
    for name in dict.fromkeys([*book.methods, *named]):  # what the folder holds already stays in the tuning
        with bar(f"tune {name}") as progress:
            done = 0

            def keep(record: KeptTrial, *, progress: Progress = progress) -> None:
                nonlocal done
                book.add(record)
                done += 1
                progress(min(done, trials), trials)

            try:
                kept = book.of(name)
                done = len(kept)
                entries.append(
                    tune_method(name, rehearsal, budget=budget, trials=trials, seed=seed, kept=kept, on_trial=keep)
                )
            except DataError as error:
                raise RunError(f"{book.path}: {error}; choose another `out`, or remove this folder") from None
    content = tuning_of(rehearsal, entries, budget=budget, trials=trials, seed=seed)
    write_text(book.folder / "tuning.json", write_document(content))
    return content


def _methods(named: Sequence[str]) -> list[str]:
    """Names without aliases, each once; ``all`` are those with a budget."""
    found: list[str] = []
    for name in named:
        if name == ALL:
            found += [method.name for method in methods().values() if method.takes_budget]
            continue
        method = find_method(name)
        if not method.takes_budget:
            raise InvalidArgument(
                f"method {method.name!r} has no budget and nothing to tune: it does all the work that its guarantee "
                "needs; leave it out"
            )
        found.append(method.name)
    if not found:
        raise InvalidArgument(f"no method to tune was named: give `named` a method's name, or {ALL}")
    return list(dict.fromkeys(found))


class TrialBook:
    """trials.jsonl: first what was asked for, then each trial as it ended. A line cut short by a kill is dropped."""

    def __init__(self, folder: Path, asked: TuneAsked | JobAsked) -> None:
        self.folder = folder
        self.path = folder / "trials.jsonl"
        request = to_plain(asked)
        lines = self._lines() if self.path.exists() else []
        if not lines:
            foreign = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
            foreign = [name for name in foreign if name != self.path.name]
            if foreign:
                raise RunError(
                    f"{folder} is not empty and not a tuning (it holds {foreign[0]!r}): choose another `out`"
                )
            self._append({"request": request})
        elif (told := lines[0].get("request")) != request:
            differing = sorted(
                name for name in request if not isinstance(told, dict) or told.get(name) != request[name]
            )
            raise RunError(
                f"{folder} holds another tuning (another {', '.join(differing) or 'request'} than asked for): choose "
                "another `out`, or remove that folder"
            )
        self._records = lines[1:]

    def of(self, name: str) -> list[KeptTrial]:
        """The trials of a method, as they were added."""
        try:
            return [from_plain(KeptTrial, told, "it") for told in self._records if told.get("method") == name]
        except DataError as error:
            raise DataError(f"a kept trial cannot be read ({error})") from None

    @property
    def methods(self) -> list[str]:
        """Names of those that have trials, in their order."""
        return list(dict.fromkeys(str(record.get("method")) for record in self._records))

    def add(self, record: KeptTrial) -> None:
        self._append(to_plain(record))

    def _append(self, value: Any) -> None:
        line = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
        append_bytes(self.path, line.encode() + b"\n")

    def _lines(self) -> list[Any]:
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        found: list[Any] = []
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                found.append(parse_json(line))
            except DataError as error:
                raise RunError(f"{self.path}, line {number}: {error}; choose another `out`") from None
            if not isinstance(found[-1], dict):
                raise RunError(f"{self.path}, line {number} is no trial: the file was altered; choose another `out`")
        if len(whole) != len(content):
            with self.path.open("r+b") as handle:
                handle.truncate(len(whole))
        return found


def _silent(what: str) -> AbstractContextManager[Progress]:
    return nullcontext(lambda done, total: None)
