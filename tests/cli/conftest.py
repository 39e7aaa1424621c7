"""What the tests of the commands share: running one in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from expunge.cli.main import main


class Done(NamedTuple):
    """Exit status, standard output, standard error."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Expunge = Callable[..., Done]


@pytest.fixture
def expunge(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Expunge:
    """Run the command with these arguments."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["expunge", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        found = capsys.readouterr()
        return Done(int(stop.value.code or 0), found.out, found.err)

    return run
