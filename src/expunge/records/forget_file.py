"""forget.json: the training rows that a run forgot, or was trained without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast

from expunge.core.errors import DataError
from expunge.records.document import Document
from expunge.records.form import Through
from expunge.records.holds import NOTHING, Holds
from expunge.records.scalars import Digest
from expunge.records.selection import Selection


def _list(what: str, fits: Callable[[Any], bool]) -> Through:
    def read(told: Any) -> tuple[Any, ...]:
        if not isinstance(told, list) or not all(fits(item) for item in cast("list[Any]", told)):
            raise DataError(f"the forget-set file has no list of {what}: it was altered")
        return tuple(cast("list[Any]", told))

    return Through(Any, tuple, read)


Numbers = Annotated[
    tuple[int, ...], _list("slots (whole numbers from 0)", lambda slot: type(slot) is int and 0 <= slot < 2**63)
]
Rules = Annotated[tuple[str, ...], _list("rules (texts)", lambda rule: isinstance(rule, str))]


@dataclass(frozen=True, kw_only=True)
class ForgetFile(Document):
    """The whole file: training slots, how they were named, and the root of the data set that they belong to.

    A set that was chosen as a worst case says how.
    """

    FORMAT: ClassVar[str] = "expunge/forget-set/1"
    NAME: ClassVar[str] = "forget.json"
    HOLDS: ClassVar[Holds] = NOTHING
    OTHER: ClassVar[str] = "this is not a forget set: its format is {told}, not {wanted!r}"

    slots: Numbers
    rules: Rules | None = None
    root: Digest
    selection: Selection | None = None
