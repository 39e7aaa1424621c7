"""Every error Expunge raises on purpose, drawn as a tree.

    ExpungeError
    ├── InvalidArgument        what was asked for breaks a rule
    ├── UnsupportedYet         sensible, not built so far
    ├── UnsupportedEver        cannot be done, and the message says why
    ├── NotInstalled           a package is missing, and the message says which install brings it
    ├── DataError              rows, files or commitments that are not what they should be
    ├── RunError               a run that cannot start, go on, or be opened
    │   └── Diverged           numbers that are none: the same recipe would come to them again
    └── RecordError(code)      evidence that is refused; the code names what was seen

A message is one sentence with the value, the rule, the reason and the way out. It names arguments in backticks, as
`` `noise_key` ``; the command line prints it with flags and exits with status 2; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import re

NO_MEMORY = re.compile(r"(can't|cannot) allocate memory|not enough memory|out of memory", re.IGNORECASE)


class ExpungeError(Exception):
    """Base of all errors that a person can do something about."""


class InvalidArgument(ExpungeError):
    """An argument breaks a rule that the message states."""


class UnsupportedYet(ExpungeError):
    """A sensible request that is not built so far."""


class UnsupportedEver(ExpungeError):
    """A request that cannot be met, for the reason given."""


class NotInstalled(ExpungeError):
    """A package is missing that an install of ours would bring."""


class DataError(ExpungeError):
    """Rows, files or commitments that are not what they should be."""


class RunError(ExpungeError):
    """A run that cannot start, continue or be opened."""


class Diverged(RunError):
    """Weights, losses or answers that are no numbers: no result, and none the next time either."""


class RecordError(ExpungeError):
    """Evidence that is refused. ``code`` names what was seen, not the motive."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so in one of its ways: torch has its own, on the processor and on the GPU."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None
