"""Opening ``results.json`` of a study: everything is checked before a page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.core.errors import DataError
from expunge.core.files import read_bytes
from expunge.core.wording import LONGEST_NAME, clean
from expunge.records.document import read_document
from expunge.records.form import to_plain
from expunge.records.results import Results, Setting
from expunge.report.facts import plain


def read_results(results: Results | Path | str) -> Results:
    """The results of a study as pages show them; what is not as it should be is refused."""
    if isinstance(results, Results):
        return read_document(Results, to_plain(results), Results.NAME)
    path = Path(results)
    path = path / Results.NAME if path.is_dir() else path
    return read_document(Results, read_bytes(path, "the results of a study"), str(path))


def find_setting(study: Results, setting_id: str) -> Setting:
    """The setting of that id."""
    for setting in study.settings:
        if setting.id == setting_id:
            return setting
    known = ", ".join(setting.id for setting in study.settings[:12])
    raise DataError(f"the study has no setting {clean(repr(setting_id), LONGEST_NAME)}: it has {known}")


def settled(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings by name, as a person writes them."""
    return {clean(name, LONGEST_NAME): plain(value) for name, value in values.items()}
