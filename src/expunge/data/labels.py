"""Which values are classes: whole numbers or words, never quantities."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from enum import Enum

import numpy as np

from expunge.core.errors import DataError, InvalidArgument
from expunge.core.hashing import LARGEST_INTEGER

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\Z", re.ASCII)
WHOLE = re.compile(r"-?(?:0|[1-9]\d*)(?:\.0*)?\Z", re.ASCII)
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null"})
NO_NUMBER = MISSING | {s + w for s in ("", "+", "-") for w in ("inf", "infinity")}

MOST_NUMBERS = 20  # that a label of numbers may hold unless it was said that they are classes
BOTH_WAYS = "say `task` regression to learn the quantity, or `task` classification if each number is a class"


class LabelKind(Enum):
    """What was said of labels before they are read."""

    UNSAID = "unsaid"
    CLASSES = "classes"
    NUMBERS = "numbers"

    @property
    def classes(self) -> tuple[()] | None:
        """What stands in the place of a recipe's classes where there is none yet: numbers have none."""
        return () if self is LabelKind.NUMBERS else None


def dotted(word: str, decimal: str = ".") -> str:
    """A word without the white space around it, its decimal comma as a point; one with a point is no number then."""
    stripped = word.strip()
    if decimal == ".":
        return stripped
    return f"?{stripped}" if "." in stripped else stripped.replace(",", ".")


def spells_numbers(words: Iterable[str], decimal: str = ".") -> bool:
    """Whether every word is a finite number. Where some are missing or infinite the others decide, and the reader
    refuses these later by their place: a hole must not turn a column of numbers into one of words.
    """
    return spell(words, lambda word: is_number(word, decimal))


def spell(words: Iterable[str], fits: Callable[[str], bool]) -> bool:
    """Whether every word fits but those that spell a hole, and one does."""
    fitting = 0
    for word in words:
        if fits(word):
            fitting += 1
        elif word.strip().lower() not in NO_NUMBER:
            return False
    return fitting > 0


def is_number(word: str, decimal: str = ".") -> bool:
    """Whether a word spells a finite number."""
    return NUMBER.match(dotted(word, decimal)) is not None


def is_missing(word: str) -> bool:
    """Whether a word says that there is no value; one that is infinite is there."""
    return word.strip().lower() in MISSING


def nobodys(classes: tuple[int | str, ...]) -> int | float | str:
    """A label for rows whose labels nobody looks at."""
    return classes[0] if classes else 0.0


def refuse_quantity(numbers: np.ndarray, what: str) -> None:
    """Labels that look measured are not cut into classes without a word."""
    different = np.unique(numbers[np.isfinite(numbers)])
    parts = different[different != np.floor(different)]
    if len(parts) or len(different) > MOST_NUMBERS:
        why = f"{parts[0]:g} is not a whole one" if len(parts) else f"{MOST_NUMBERS} at most are taken for classes"
        raise InvalidArgument(
            f"{what} holds {len(different)} different numbers and {why}: it looks like a quantity; {BOTH_WAYS}"
        )


def labels_of(labels: np.ndarray, where: str) -> list[int | str]:
    """Labels as whole numbers or text; reals only where every one is a whole number."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            row = int(np.flatnonzero(~np.isfinite(labels))[0])
            raise DataError(f"{where}: the label of row {row} is {labels[row]}: fill it or remove the row")
        if (labels != np.floor(labels)).any():
            odd = labels[labels != np.floor(labels)][0]
            raise InvalidArgument(
                f"{where}: label {odd} is not a whole number, and such are no classes: say `task` regression to learn "
                "the quantity, or write classes as whole numbers or words"
            )
    if labels.dtype.kind in "fiub":
        large = labels[np.abs(labels.astype(np.float64)) > LARGEST_INTEGER]
        if len(large):
            raise DataError(f"{where}: label {large[0]} lies outside ±(2^53 − 1): number the classes from 0")
        return [int(label) for label in labels]
    if labels.dtype.kind not in "US":
        raise DataError(f"{where}: labels are of type {labels.dtype}: whole numbers or text are needed")
    return list(words_in("y", labels, where))


def spelled_classes(words: list[str], classes: tuple[int | str, ...] | None) -> list[int | str]:
    """Whole numbers where every label is one (or where the recipe's classes are), else text."""
    numbers = [_whole(word) for word in words]
    if (None in numbers) if classes is None else all(isinstance(value, str) for value in classes):
        return list(words)
    return [word if number is None else number for word, number in zip(words, numbers, strict=True)]


def _whole(word: str) -> int | None:
    digits = word.split(".")[0]
    fits = WHOLE.match(word) and len(digits) < 18 and abs(int(digits)) <= LARGEST_INTEGER
    return int(digits) if fits else None


def refuse_quantities(
    words: list[str], name: str, where: str, place: Callable[[int], str], *, as_classes: bool = False
) -> None:
    """Labels such as 3.7 are quantities unless it was said that they are classes; a hole among numbers is no class."""
    if all(map(WHOLE.match, words)) or not spells_numbers(words):
        return
    hole = next((row for row, word in enumerate(words) if not NUMBER.match(word)), None)
    if hole is not None:
        raise DataError(
            f"{where}, {place(hole)}: the label in column {name!r} is {words[hole]!r} among numbers: fill it or remove "
            "the row"
        )
    odd = next((word for word in words if "." in word or "e" in word.lower()), None)
    if odd is not None and not as_classes:
        raise InvalidArgument(f"{where}: label {odd} in column {name!r} is a quantity: {BOTH_WAYS}")


def words_in(name: str, values: np.ndarray, where: str) -> list[str]:
    """Text of a NumPy array of strings or UTF-8 bytes, without the white space around it; none may be empty."""
    try:
        words = [str(value if values.dtype.kind == "U" else bytes(value).decode("utf-8")).strip() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: array {name!r} is not UTF-8 ({error}): save it with astype(str)") from None
    if "" in words:
        raise DataError(f"{where}: entry {words.index('')} of array {name!r} is empty: every row needs one")
    return words
