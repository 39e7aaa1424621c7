"""A study file: data × trainings × forget sets × methods × seeds, in TOML, read into frozen values."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from expunge.core.errors import ExpungeError, InvalidArgument, RunError
from expunge.core.files import read_bytes
from expunge.core.wording import nearest
from expunge.data.source import LISTS, Source
from expunge.data.splits import SplitBy
from expunge.measure.claim import Claim
from expunge.measure.lookup import probes_asked
from expunge.measure.row import MINIMUM
from expunge.methods.contract import Method
from expunge.methods.lookup import find_method, make_method, methods
from expunge.records.tuning import MOST_TRIALS
from expunge.study.axes import OWN, Axis, Data, Forget
from expunge.study.toml_lines import Lines
from expunge.study.training_table import TrainingFields, read_training

LARGEST_FILE = 2**20
LARGEST_SEED = 999_999
MOST_SEEDS, MOST_REFERENCES = 1000, 1000
WITNESSES = 4
TOP = (
    "title",
    "seeds",
    "references",
    "witnesses",
    "claim",
    "probes",
    "as_published",
    "budget",
    "methods",
    "data",
    "training",
    "forget",
    "tuning",
    "method",
)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Entrant:
    """A line of the leaderboard: a method and its fields, set by hand or not."""

    label: str
    method: Method
    by_hand: bool


@dataclass(frozen=True)
class Rehearsals:
    """How fields are chosen: so many trials a method on pseudo-forget sets like those that are to be forgotten."""

    trials: int
    seed: int


@dataclass(frozen=True)
class Study:
    """All that a study file says. Its axes are data, training, forget and budget, and further ones that were given."""

    path: Path
    title: str
    seeds: tuple[int, ...]
    references: int
    witnesses: int
    claim: str | None
    as_published: bool
    axes: tuple[Axis, ...]
    rows: tuple[Entrant, ...]
    tuning: Rehearsals | None
    lines: Lines
    probes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def data(self) -> tuple[Data, ...]:
        return self.axes[0].values

    @property
    def trainings(self) -> tuple[TrainingFields, ...]:
        return self.axes[1].values

    @property
    def forget(self) -> tuple[Forget, ...]:
        return self.axes[2].values

    @property
    def budgets(self) -> tuple[float, ...]:
        return self.axes[3].values

    def said(self, error: ExpungeError, *path: str | int) -> InvalidArgument:
        """An error with the line of what caused it."""
        return InvalidArgument(f"{self.path}, line {self.lines.of(path, str(error))}: {error}")


def read_study(path: Path | str, *, location: str | None = None, axes: Sequence[Axis] = ()) -> Study:
    """Read and check a study file. ``location`` says where its one data set lies, if not where the file says.

    ``axes`` are further ones, each a field of all trainings: ``Axis("epochs", (10, 20))``.
    """
    if not isinstance(path, str | PathLike):
        raise InvalidArgument(f"`path` {path!r:.80} must be the path of a study file")
    place = Path(path)
    if place.is_dir():
        raise InvalidArgument(f"{place} is a folder: name a study file, for example studies/smoke.toml")
    content = read_bytes(place, "the study")
    if len(content) > LARGEST_FILE:
        raise InvalidArgument(f"{place} holds {len(content)} bytes, a study file has {LARGEST_FILE} at most")
    try:
        text = content.decode("utf-8-sig")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InvalidArgument(f"{place}, line {line}: this is not UTF-8 text: save the file as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{place} is no TOML ({error}): see docs/studies.md for an example") from None
    except ValueError as error:
        raise InvalidArgument(f"{place} holds a number that is none ({str(error)[:100]})") from None
    except RecursionError:
        raise InvalidArgument(f"{place} nests too deep to be a study file") from None
    return _Reader(place, table, Lines(text)).study(location, axes)


class _Reader:
    """One study file on its way to a ``Study``; every complaint names the line."""

    def __init__(self, place: Path, table: Mapping[str, Any], lines: Lines) -> None:
        self.place, self.table, self.lines = place, table, lines

    def fail(self, message: str, *path: str | int) -> InvalidArgument:
        return InvalidArgument(f"{self.place}, line {self.lines.of(path)}: {message}")

    def checked(self, make: Callable[[], Value], *path: str | int) -> Value:
        """What ``make`` gives; its complaint gets the line."""
        try:
            return make()
        except RunError:
            raise
        except ExpungeError as error:
            line = self.lines.of(path, str(error))
            raise InvalidArgument(f"{self.place}, line {line}: {error}") from None

    def study(self, location: str | None, further: Sequence[Axis]) -> Study:
        self.known(self.table, TOP, "a study")
        data = self.data(location)
        trainings = tuple(
            self.checked(partial(read_training, name, table), "training", name)
            for name, table in self.tables("training").items()
        )
        for training in trainings:
            self.belongs(training.data, tuple(item.name for item in data), "training", training.name)
        rows = self.rows()
        references = self.whole(self.table, "references", 0, MOST_REFERENCES, 6)
        remembering = WITNESSES if references >= MINIMUM else 0  # below, no verdict would have a use for them
        return Study(
            path=self.place,
            title=self.text(self.table, "title", self.place.stem),
            seeds=self.seeds(),
            references=references,
            witnesses=self.whole(self.table, "witnesses", 0, MOST_REFERENCES, remembering),
            claim=self.claim(),
            as_published=self.flag("as_published"),
            axes=self.axes(data, trainings, further),
            rows=rows,
            tuning=self.tuning(),
            lines=self.lines,
            probes=self.probes(),
        )

    def axes(
        self, data: tuple[Data, ...], trainings: tuple[TrainingFields, ...], further: Sequence[Axis]
    ) -> tuple[Axis, ...]:
        budgets, forget = self.budgets(), self.forget(tuple(item.name for item in data))
        own = zip(OWN, (data, trainings, forget, budgets), strict=True)
        found = (*(Axis(name, values) for name, values in own), *further)
        names = [axis.name for axis in found]
        if len(set(names)) < len(names):
            raise InvalidArgument(f"`axes` makes {', '.join(names)} the axes of {self.place}: name each once")
        return found

    def claim(self) -> str | None:
        """What is asked of every run; where nothing is said, what its cell has the power for."""
        if "claim" not in self.table:
            return None
        return self.checked(lambda: str(Claim.of(self.table["claim"])), "claim")

    def known(self, table: Mapping[str, Any], names: tuple[str, ...], what: str, *path: str | int) -> None:
        for name in table:
            if name not in names:
                listed = ", ".join(names)
                raise self.fail(f"{what} has no {name!r}: it has {listed}{nearest(name, names)}", *path, name)

    def tables(self, name: str) -> Mapping[str, Mapping[str, Any]]:
        found = self.table.get(name)
        example = {"data": 'location = "digits"', "training": 'model = "mlp"', "forget": 'rules = "random:10%:1"'}[name]
        if not isinstance(found, Mapping) or not found:
            raise self.fail(f"there is no {name}: give a table [{name}.NAME] with {example}", name)
        for key, value in found.items():
            if not key or not key.isprintable():
                raise self.fail(f"{name} {key!r} must have a name of printable characters", name, key)
            if not isinstance(value, Mapping):
                raise self.fail(f"{name} {key!r} is in no table: write [{name}.NAME], then {example}", name, key)
        return found

    def text(self, table: Mapping[str, Any], name: str, default: str | None, *path: str | int) -> str:
        value = table.get(name, default)
        if value is None:
            raise self.fail(f"{name} is missing: it must be a text", *path)
        if not isinstance(value, str) or not value or not value.isprintable():
            raise self.fail(f"{name} {value!r} must be a text of printable characters", *path, name)
        return value

    def texts(self, table: Mapping[str, Any], name: str, *path: str | int) -> tuple[str, ...]:
        value = table.get(name, [])
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self.fail(f"{name} {value!r} must be a text or a list of texts", *path, name)
        return tuple(found)

    def whole(self, table: Mapping[str, Any], name: str, low: int, high: int, default: int, *path: str | int) -> int:
        value = table.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.fail(f"{name} {value!r} must be a whole number from {low} to {high}", *path, name)
        return value

    def flag(self, name: str) -> bool:
        value = self.table.get(name, False)
        if not isinstance(value, bool):
            raise self.fail(f"{name} {value!r} must be true or false", name)
        return value

    def seeds(self) -> tuple[int, ...]:
        value = self.table.get("seeds", [0])
        good = isinstance(value, list) and all(type(seed) is int and 0 <= seed <= LARGEST_SEED for seed in value)
        if not good or not 0 < len(value) <= MOST_SEEDS or len(set(value)) < len(value):
            raise self.fail(
                f"seeds {value!r} must be a list of different whole numbers from 0 to {LARGEST_SEED}, one at least",
                "seeds",
            )
        return tuple(value)

    def budgets(self) -> tuple[float, ...]:
        value = self.table.get("budget", "10%")
        found = tuple(self.share(item) for item in (value if isinstance(value, list) else [value]))
        if not found or len(set(found)) < len(found):
            raise self.fail(f'budget {value!r} must be a share such as "10%", or a list of different ones', "budget")
        return found

    def share(self, value: Any) -> float:
        text = str(value)
        try:
            found = float(text[:-1]) / 100 if text.endswith("%") else float(text)
        except ValueError:
            found = -1.0
        if isinstance(value, bool) or not 0 <= found <= 10:
            raise self.fail(f'budget {value!r} must be a share of the training such as "10%", at most 10', "budget")
        return found

    def data(self, location: str | None) -> tuple[Data, ...]:
        tables = self.tables("data")
        if location is not None and len(tables) > 1:
            raise InvalidArgument(f"`data` {location} is for a study with one data set, {self.place} has {len(tables)}")
        return tuple(self.one_data(name, table, location) for name, table in tables.items())

    def one_data(self, name: str, table: Mapping[str, Any], location: str | None) -> Data:
        options = tuple(item.name for item in fields(Source))
        self.known(table, (*options, "split_seed", "split_by", "test"), f"data {name!r}", "data", name)
        told = {key: value for key, value in table.items() if key in options}
        for key in LISTS:
            if key in told:
                told[key] = list(self.texts(table, key, "data", name))
        if location is not None:
            told["location"] = location
        self.text(told, "location", None, "data", name)
        split_by = self.text(table, "split_by", SplitBy.ROWS.value, "data", name)
        if split_by not in [item.value for item in SplitBy]:
            raise self.fail(f"split_by {split_by!r} must be rows or subject", "data", name, "split_by")
        if type(told.get("rows", 1)) is not int or told.get("rows") is True:
            raise self.fail(f"rows {told['rows']!r} must be a whole number from 1", "data", name, "rows")
        source = self.checked(lambda: Source.from_json(told), "data", name)
        test = self.text(table, "test", None, "data", name) if "test" in table else None
        return Data(name, source, self.whole(table, "split_seed", 0, 2**53, 0, "data", name), SplitBy(split_by), test)

    def forget(self, data: tuple[str, ...]) -> tuple[Forget, ...]:
        found: list[Forget] = []
        for name, table in self.tables("forget").items():
            self.known(table, ("rules", "title", "data", "references"), f"forget {name!r}", "forget", name)
            rules = self.texts(table, "rules", "forget", name)
            if not rules:
                raise self.fail(f'forget {name!r} names nobody: give rules such as "random:10%:1"', "forget", name)
            wanted = self.texts(table, "data", "forget", name)
            self.belongs(wanted, data, "forget", name)
            own = "references" in table
            references = self.whole(table, "references", 0, MOST_REFERENCES, 0, "forget", name) if own else None
            found.append(Forget(name, self.text(table, "title", name, "forget", name), rules, wanted, references))
        return tuple(found)

    def belongs(self, wanted: tuple[str, ...], data: tuple[str, ...], *path: str) -> None:
        for name in wanted:
            if name not in data:
                listed = ", ".join(data)
                raise self.fail(f"data {name!r} is not one of {listed}{nearest(name, data)}", *path, "data")

    def rows(self) -> tuple[Entrant, ...]:
        value = self.table.get("methods", [] if "method" in self.table else "all")
        if value != "all" and (not isinstance(value, list) or not all(isinstance(item, str) for item in value)):
            raise self.fail(f'methods {value!r} must be "all" or a list of names; see `expunge methods`', "methods")
        names = list(methods()) if value == "all" else value
        named = [self.checked(partial(make_method, name), "methods") for name in names]
        found = [Entrant(method.name, method, False) for method in named]
        tables = self.table.get("method", [])
        if not isinstance(tables, list):
            raise self.fail("write [[method]] with double brackets: there may be several", "method")
        found += [self.row(index, table) for index, table in enumerate(tables)]
        if not found:
            raise self.fail('the grid is empty: name one method at least, or methods = "all"', "methods")
        labels = [row.label for row in found]
        twice = next((label for index, label in enumerate(labels) if label in labels[:index]), None)
        if twice is not None:
            raise self.fail(f"two rows are called {twice!r}: name it once, or give one of them a label", "methods")
        return tuple(found)

    def row(self, index: int, table: Any) -> Entrant:
        where = ("method", index)
        if not isinstance(table, Mapping):
            raise self.fail("write [[method]] with double brackets: there may be several", "method")
        self.known(table, ("name", "label", "set"), "a method", *where)
        name = self.text(table, "name", None, *where)
        self.checked(lambda: find_method(name), *where, "name")
        settings = table.get("set", {})
        if not isinstance(settings, Mapping):
            raise self.fail(f"set {settings!r} must be a table such as {{ rate = 0.01 }}", *where, "set")
        written = {key: _written(value) for key, value in settings.items()}
        method = self.checked(partial(make_method, name, written), *where, "set")
        return Entrant(self.text(table, "label", method.name, *where), method, bool(settings))

    def probes(self) -> tuple[str, ...]:
        """Names of those that are measured beside, because the study asks for them."""
        names = self.texts(self.table, "probes")
        self.checked(partial(probes_asked, names), "probes")
        return tuple(dict.fromkeys(names))

    def tuning(self) -> Rehearsals | None:
        table = self.table.get("tuning")
        if table is None:
            return None
        if not isinstance(table, Mapping):
            raise self.fail("write [tuning], then trials = 30", "tuning")
        self.known(table, ("trials", "seed"), "tuning", "tuning")
        return Rehearsals(
            trials=self.whole(table, "trials", 1, MOST_TRIALS, 30, "tuning"),
            seed=self.whole(table, "seed", 0, 2**31, 0, "tuning"),
        )


def _written(value: Any) -> str:
    """A TOML value as it would be written after ``--set``."""
    return str(value).lower() if isinstance(value, bool) else str(value)
